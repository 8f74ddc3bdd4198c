//! An answer that does not fit the ontology is refused before anything of it is written down.

use serde_json::json;
use time::macros::datetime;

use crate::ids::FeatureNodeHash;

use super::prepared::PreparedAnswer;
use super::{Answer, AnswerValue, AttributeAnswer, Ontology};

fn ontology() -> Ontology {
    let option = |hash: &str, nested: serde_json::Value| json!({"id": "1", "label": hash, "value": hash, "featureNodeHash": hash, "options": nested});
    let text = json!([{"id": "1", "name": "How much", "type": "text", "featureNodeHash": "much"}]);
    let radio = [option("dry", json!([])), option("wet", text)];
    let checklist = [json!({"id": "1", "label": "Car", "value": "car", "featureNodeHash": "car"})];
    Ontology::from_json(
        &json!({"objects": [], "classifications": [
            {"id": "1", "featureNodeHash": "weather", "attributes": [
                {"id": "1", "name": "Weather", "type": "radio", "featureNodeHash": "sky", "options": radio}]},
            {"id": "2", "featureNodeHash": "traffic", "attributes": [
                {"id": "1", "name": "Traffic", "type": "checklist", "featureNodeHash": "seen", "options": checklist}]},
        ]})
        .to_string(),
    )
    .unwrap()
}

/// The entries that an answer comes to, or why it does not fit.
fn prepared(feature: &str, given: &[(&str, AnswerValue)]) -> Result<usize, String> {
    let attributes =
        given.iter().map(|(hash, value)| AttributeAnswer { attribute: FeatureNodeHash::new(*hash), value: value.clone() }).collect();
    let answer = Answer { feature: FeatureNodeHash::new(feature), attributes };
    PreparedAnswer::new(&ontology(), &answer, 0.5, datetime!(2026-11-23 12:00 UTC))
        .map(|prepared| prepared.entries.len())
        .map_err(|misfit| misfit.to_string())
}

fn text() -> AnswerValue {
    AnswerValue::Text("drizzle".into())
}

fn choice(hash: &str) -> AnswerValue {
    AnswerValue::Choice(FeatureNodeHash::new(hash))
}

fn choices(hashes: &[&str]) -> AnswerValue {
    AnswerValue::Choices(hashes.iter().map(|hash| FeatureNodeHash::new(*hash)).collect())
}

#[test]
fn an_attribute_that_has_no_place_in_the_answer_is_a_misfit() {
    assert_eq!(prepared("weather", &[("sky", choice("wet")), ("much", text())]), Ok(2));
    for surplus in [("elsewhere", text()), ("sky", choice("wet")), ("much", text())] {
        let misfit = prepared("weather", &[("sky", choice("dry")), surplus.clone()]).unwrap_err();
        assert!(misfit.contains("an attribute is not in it, is answered twice, or hangs"), "{surplus:?}: {misfit}");
    }
}

#[test]
fn an_option_that_the_attribute_does_not_have_is_named() {
    assert_eq!(prepared("traffic", &[("seen", choices(&["car"]))]), Ok(1));
    let misfit = prepared("traffic", &[("seen", choices(&["car", "tram"]))]).unwrap_err();
    assert!(misfit.contains("seen") && misfit.contains("no option tram"), "{misfit}");
    let misfit = prepared("weather", &[("sky", choice("hail"))]).unwrap_err();
    assert!(misfit.contains("no option hail"), "{misfit}");
    let misfit = prepared("traffic", &[("seen", choice("car"))]).unwrap_err();
    assert!(misfit.contains("another type"), "{misfit}");
}
