//! The way in for the fuzzer: bytes as an endpoint could send them.

use serde_json::Value;

use crate::encord::AnswerValue;
use crate::encord::ontology::{Attribute, AttributeKind, Choice, Topic};
use crate::ids::FeatureNodeHash;

use super::answer;
use super::chat::Completion;
use super::complaint::Complaint;
use super::dialect::Dialect;
use super::events;
use super::outline::{Outline, Values};
use super::sheet::Sheet;
use super::validate;

/// Reads `bytes` as an error body, as a completion and as what a model said, and holds every accepted answer against the
/// ontology it was asked for. Panics if one does not fit.
#[doc(hidden)]
pub fn fuzz_answer(bytes: &[u8]) {
    let complaint = Complaint::read(500, bytes);
    let _ = (complaint.meaning(&Dialect::default()), complaint.name());
    let text = String::from_utf8_lossy(bytes).into_owned();
    let streamed = events::gathered(&text).as_ref().and_then(Completion::read).unwrap_or_default();
    let mut texts = vec![text];
    texts.extend(streamed.texts);
    if let Ok(body) = serde_json::from_slice::<Value>(bytes) {
        texts.extend(Completion::read(&body).unwrap_or_default().texts);
    }
    let attributes = attributes();
    let feature = FeatureNodeHash::new("feature");
    let topics = [Topic { feature: &feature, title: "Thing", attributes: attributes.iter().collect() }];
    let outline = Outline::new(&topics);
    let Some(sheet) = Sheet::next(&outline, &mut outline.roots()) else { return };
    for object in texts.iter().filter_map(|text| answer::objects(text).ok()).flatten() {
        let mut values: Values = vec![None; outline.nodes.len()];
        if validate::read(&outline, &sheet, &object, &mut values).is_ok() {
            hold(&outline, &values);
        }
    }
}

fn hold(outline: &Outline<'_>, values: &Values) {
    let (answers, _) = outline.answers(values);
    for found in answers.iter().flat_map(|answer| &answer.attributes) {
        let node = outline.nodes.iter().find(|node| node.attribute.hash == found.attribute);
        let known = |hash: &FeatureNodeHash| node.is_some_and(|node| node.choices.iter().any(|choice| &choice.hash == hash));
        let fits = match (&found.value, node.map(|node| &node.attribute.kind)) {
            (AnswerValue::Text(text), Some(AttributeKind::Text)) => !text.trim().is_empty(),
            (AnswerValue::Number(_), Some(AttributeKind::Numeric)) => true,
            (AnswerValue::Choice(hash), Some(AttributeKind::Radio(_))) => known(hash),
            (AnswerValue::Choices(hashes), Some(AttributeKind::Checklist(_))) => hashes.iter().all(known),
            _ => false,
        };
        assert!(fits, "an answer that does not fit was accepted: {found:?}");
    }
}

/// One attribute of each kind, and one under an option.
fn attributes() -> Vec<Attribute> {
    let attribute = |name: &str, kind| Attribute {
        hash: FeatureNodeHash::new(name),
        name: name.to_owned(),
        required: name == "text",
        archived: false,
        dynamic: false,
        kind,
    };
    let choice = |label: &str, attributes| Choice {
        hash: FeatureNodeHash::new(label),
        label: label.to_owned(),
        value: label.to_owned(),
        archived: false,
        attributes,
    };
    let below = attribute("below", AttributeKind::Numeric);
    vec![
        attribute("text", AttributeKind::Text),
        attribute("number", AttributeKind::Numeric),
        attribute("radio", AttributeKind::Radio(vec![choice("A", vec![below]), choice("a", vec![]), choice("3", vec![])])),
        attribute("list", AttributeKind::Checklist(vec![choice("x", vec![]), choice("true", vec![])])),
    ]
}

#[cfg(test)]
mod tests {
    /// The seeds of the fuzzer, and each of them cut short and with its bytes turned.
    #[test]
    fn the_seeds_hold() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus-seeds/model_answer");
        let mut count = 0;
        for seed in std::fs::read_dir(folder).unwrap() {
            let bytes = std::fs::read(seed.unwrap().path()).unwrap();
            super::fuzz_answer(&bytes);
            for at in 0..bytes.len() {
                super::fuzz_answer(&bytes[..at]);
                let mut turned = bytes.clone();
                turned[at] ^= 1 << (at % 8);
                super::fuzz_answer(&turned);
            }
            count += 1;
        }
        assert!(count >= 15);
    }
}
