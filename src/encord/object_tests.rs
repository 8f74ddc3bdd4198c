//! Objects on a frame, and answers to their attributes merged beside everything else.

use serde_json::{Value, json};
use time::macros::datetime;

use crate::ids::FeatureNodeHash;

use super::label_row::LabelRow;
use super::merge::Merged;
use super::prepared::PreparedAnswer;
use super::{Answer, AnswerValue, AttributeAnswer, Error, Ontology};

fn ontology() -> Ontology {
    let radio = |hash: &str, name: &str, dynamic: bool, nested: Value| {
        json!({"id": "1", "name": name, "type": "radio", "featureNodeHash": hash, "dynamic": dynamic, "options": [
            {"id": "1", "label": "Yes", "value": "yes", "featureNodeHash": format!("{hash}-yes"), "options": nested},
            {"id": "2", "label": "No", "value": "no", "featureNodeHash": format!("{hash}-no")}]})
    };
    let text = |hash: &str| json!({"id": "1", "name": "Which one", "type": "text", "featureNodeHash": hash});
    Ontology::from_json(
        &json!({"classifications": [], "objects": [{"id": "1", "name": "Car", "color": "#fff", "shape": "bounding_box", "featureNodeHash": "car",
            "attributes": [radio("taxi", "Taxi", false, json!([text("firm")])), radio("moving", "Moving", true, json!([])), text("make")]}]})
        .to_string(),
    )
    .unwrap()
}

fn answer(given: &[(&str, AnswerValue)]) -> PreparedAnswer {
    let attributes =
        given.iter().map(|(hash, value)| AttributeAnswer { attribute: FeatureNodeHash::new(*hash), value: value.clone() }).collect();
    let answer = Answer { feature: FeatureNodeHash::new("car"), attributes };
    PreparedAnswer::for_object(&ontology(), &answer, "o1", 0.5, datetime!(2026-11-23 12:00 UTC)).unwrap()
}

fn choice(hash: &str) -> AnswerValue {
    AnswerValue::Choice(FeatureNodeHash::new(hash))
}

fn row(answers: &str, actions: &str) -> LabelRow {
    let object = |hash: &str| {
        format!(
            r#"{{"objectHash": "{hash}", "featureHash": "car", "shape": "bounding_box", "boundingBox": {{"x": 0.1, "y": 0.2, "w": 0.3, "h": 0.4}}}}"#
        )
    };
    let json = format!(
        r#"{{"label_hash": "l", "data_hash": "d", "data_title": "t", "data_type": "video", "object_answers": {answers}, "object_actions": {actions},
        "data_units": {{"d": {{"width": 100, "height": 50, "labels": {{
            "7": {{"objects": [{}, {}, {{"objectHash": "gone", "featureHash": "car", "isDeleted": true}}], "classifications": []}},
            "8": {{"objects": [{}], "classifications": []}}}}}}}}}}"#,
        object("o1"),
        object("o2"),
        object("o2"),
    );
    LabelRow::from_json(&json, false).unwrap()
}

fn section(row: &LabelRow, name: &str) -> Value {
    serde_json::from_str(row.fields[name].get()).unwrap()
}

#[test]
fn the_objects_of_a_frame_are_listed_with_their_place() {
    let row = row("{}", "{}");
    let found = row.objects_on(7).unwrap();
    assert_eq!(found.iter().map(|object| object.hash.as_str()).collect::<Vec<_>>(), ["o1", "o2"]);
    assert_eq!(found[0].feature, FeatureNodeHash::new("car"));
    assert!((found[0].region.unwrap().width - 0.3).abs() < 1e-9);
    assert_eq!(row.objects_on(8).unwrap().len(), 1);
    assert!(row.objects_on(9).unwrap().is_empty());
}

#[test]
fn an_answer_for_all_frames_goes_to_the_answers_and_one_for_this_frame_to_the_actions() {
    let mut row = row(r#"{"o2": {"objectHash": "o2", "classifications": [ 1.0 ]}}"#, "{}");
    let prepared = answer(&[("make", AnswerValue::Text("Tatra".into())), ("moving", choice("moving-yes"))]);
    assert_eq!(row.merge(&prepared, 7).unwrap(), Merged::Added);
    assert_eq!(row.section("object_answers").unwrap()["o2"].get(), r#"{"objectHash": "o2", "classifications": [ 1.0 ]}"#);
    let entry = json!({"name": "Which one", "value": "which_one", "answers": "Tatra", "featureHash": "make", "manualAnnotation": false});
    assert_eq!(section(&row, "object_answers")["o1"], json!({"classifications": [entry], "objectHash": "o1"}));
    assert_eq!(
        section(&row, "object_actions")["o1"],
        json!({"objectHash": "o1", "actions": [{"name": "Moving", "value": "moving", "featureHash": "moving",
            "answers": [{"name": "Yes", "value": "yes", "featureHash": "moving-yes"}], "manualAnnotation": false,
            "dynamic": true, "range": [[7, 7]], "shouldPropagate": false}]})
    );
    assert_eq!(row.merge(&prepared, 7).unwrap(), Merged::AlreadyThere);
    assert_eq!(row.answered_attributes("o1", 7).unwrap().len(), 2);
    assert_eq!(row.answered_attributes("o1", 8).unwrap().len(), 1);
}

#[test]
fn what_the_answer_does_not_speak_about_stays_literally() {
    let answers = r#"{"o1": {"objectHash": "o1", "objectNumber": 3, "classifications": [
        {"featureHash": "firm", "answers": "ACME"}, {"featureHash": "taxi", "answers": [{"featureHash": "taxi-yes"}]},
        {"featureHash":  "make", "answers": "Tatra", "n": 1e5}]}}"#;
    let actions = r#"{"o1": {"objectHash": "o1", "actions": [
        {"featureHash": "moving", "answers": [{"featureHash": "moving-yes"}], "range": [[0, 9]], "trackHash": "t", "n": 1.0},
        {"featureHash":  "other", "answers": "x", "range": [[0, 9]]}]}}"#;
    let mut row = row(answers, actions);
    let seen = row.state_for(&answer(&[("taxi", choice("taxi-no"))]), 7).unwrap();
    assert_eq!(row.merge(&answer(&[("taxi", choice("taxi-no")), ("moving", choice("moving-no"))]), 7).unwrap(), Merged::Replaced);
    let once = section(&row, "object_answers")["o1"].clone();
    let hashes: Vec<&str> =
        once["classifications"].as_array().unwrap().iter().map(|entry| entry["featureHash"].as_str().unwrap()).collect();
    assert_eq!(hashes, ["make", "taxi"], "the firm of what is no taxi any more goes with it");
    assert_eq!(once["objectNumber"], 3);
    assert!(row.fields["object_answers"].get().contains(r#"{"featureHash":  "make", "answers": "Tatra", "n": 1e5}"#));
    let per_frame = section(&row, "object_actions")["o1"]["actions"].clone();
    assert_eq!(per_frame[0]["range"], json!([[0, 6], [8, 9]]));
    assert_eq!(per_frame[2]["range"], json!([[7, 7]]));
    assert!(row.fields["object_actions"].get().contains(r#"{"featureHash":  "other", "answers": "x", "range": [[0, 9]]}"#));
    assert_ne!(row.state_for(&answer(&[("taxi", choice("taxi-no"))]), 7).unwrap(), seen);
}

#[test]
fn the_state_of_an_object_changes_with_its_answers_and_its_presence_only() {
    let prepared = answer(&[("make", AnswerValue::Text("x".into()))]);
    let with = |answers: &str| row(answers, "{}").state_for(&prepared, 7).unwrap();
    let none = with("{}");
    assert_eq!(
        none,
        with(
            r#"{"o1": {"classifications": [{"featureHash": "firm", "answers": "a"}]}, "o2": {"classifications": [{"featureHash": "make", "answers": "a"}]}}"#
        )
    );
    assert_ne!(none, with(r#"{"o1": {"classifications": [{"featureHash": "make", "answers": "a"}]}}"#));
    assert_ne!(none, row("{}", "{}").state_for(&prepared, 8).unwrap(), "it is not drawn on frame 8");
    assert!(matches!(row("{}", "{}").merge(&prepared, 8), Err(Error::Refused { .. })));
}

#[test]
fn a_checklist_written_one_option_at_a_time_is_the_same_checklist() {
    let one = |option: &str| format!(r#"{{"featureHash": "list", "answers": [{{"featureHash": "{option}"}}]}}"#);
    let apart = row(&format!(r#"{{"o1": {{"classifications": [{}, {}]}}}}"#, one("b"), one("a")), "{}");
    let at_once =
        row(r#"{"o1": {"classifications": [{"featureHash": "list", "answers": [{"featureHash": "a"}, {"featureHash": "b"}]}]}}"#, "{}");
    assert_eq!(apart.object_state("o1", 7).unwrap(), at_once.object_state("o1", 7).unwrap());
}
