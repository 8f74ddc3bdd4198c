//! An answer made ready to be saved: everything a later save needs, so that neither the ontology nor the model is.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::ids::FeatureNodeHash;

use super::ontology::{Attribute, AttributeKind, Choice, Ontology};
use super::{Answer, AnswerValue, dates};

/// An answer as a label row stores it. Goes to the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PreparedAnswer {
    /// Feature node hash of the classification or object class.
    pub feature: FeatureNodeHash,
    /// Where in the row it belongs.
    pub target: Target,
    /// One entry for each answered attribute: children first, root last, as the SDK writes them.
    pub entries: Vec<Entry>,
    /// 0 to 1.
    pub confidence: f64,
    /// When the model answered, in the form label rows are written in.
    pub created: String,
}

/// What an answer belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// A classification of the frame, or of the whole item.
    Classification {
        /// The instance's hash, should a new one be needed. Chosen once, so that saving twice saves once.
        hash: String,
        /// Holds for the whole item instead of for the frame.
        global: bool,
    },
    /// Attributes of an object that an annotator drew.
    Object {
        /// The object's hash.
        hash: String,
        /// The attributes that the answer speaks about: those answered, and all that hang under any of their options,
        /// whose answers it takes away.
        attributes: BTreeSet<FeatureNodeHash>,
    },
}

/// One attribute's answer as a label row stores it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Answered per frame instead of once (objects only).
    #[serde(default)]
    pub dynamic: bool,
    /// `{"name", "value", "answers", "featureHash", "manualAnnotation"}`.
    pub json: Value,
}

/// An answer that does not belong to the ontology it was to be prepared with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the answer does not fit the ontology: {0}")]
pub struct Misfit(String);

impl PreparedAnswer {
    /// Renders an answer to a classification.
    ///
    /// # Errors
    /// [`Misfit`] when the ontology lacks the classification, an attribute or an option, or an answer is of another type.
    pub fn new(ontology: &Ontology, answer: &Answer, confidence: f64, now: OffsetDateTime) -> Result<Self, Misfit> {
        let class = ontology
            .classifications
            .iter()
            .find(|class| class.hash == answer.feature)
            .ok_or_else(|| Misfit(format!("it has no classification {}", answer.feature)))?;
        let entries = render(std::slice::from_ref(&class.attribute), answer)?;
        let target = Target::Classification { hash: random_hash(), global: class.global };
        Ok(Self { feature: class.hash.clone(), target, entries, confidence, created: dates::long(now) })
    }

    /// The answers in words, root attribute first: `Weather: Cloudy`.
    pub fn spoken(&self) -> Vec<String> {
        let label = |option: &Value| option["name"].as_str().unwrap_or_default().to_owned();
        let words = |answers: &Value| match answers {
            Value::String(text) => text.clone(),
            Value::Array(options) => options.iter().map(label).collect::<Vec<_>>().join(", "),
            other => other.to_string(),
        };
        let entries = self.entries.iter().rev();
        entries.map(|entry| format!("{}: {}", entry.json["name"].as_str().unwrap_or_default(), words(&entry.json["answers"]))).collect()
    }

    /// Renders answers to attributes of the object that has this hash in the row.
    ///
    /// # Errors
    /// As [`PreparedAnswer::new`], for the object's class.
    pub fn for_object(
        ontology: &Ontology,
        answer: &Answer,
        object_hash: &str,
        confidence: f64,
        now: OffsetDateTime,
    ) -> Result<Self, Misfit> {
        let class = ontology
            .objects
            .iter()
            .find(|class| class.hash == answer.feature)
            .ok_or_else(|| Misfit(format!("it has no object class {}", answer.feature)))?;
        let mut entries = render(&class.attributes, answer)?;
        for entry in &mut entries {
            // An object's answers have no other place to say that a model gave them.
            entry.json["manualAnnotation"] = Value::Bool(false);
        }
        let mut attributes = BTreeSet::new();
        let answered = class.attributes.iter().filter(|attribute| answer.attributes.iter().any(|given| given.attribute == attribute.hash));
        answered.for_each(|attribute| gather(attribute, &mut attributes));
        let target = Target::Object { hash: object_hash.to_owned(), attributes };
        Ok(Self { feature: class.hash.clone(), target, entries, confidence, created: dates::long(now) })
    }
}

impl PreparedAnswer {
    /// Whether an attribute of an object is this answer's business.
    pub(super) fn speaks_about(&self, attribute: &str) -> bool {
        matches!(&self.target, Target::Object { attributes, .. } if attributes.contains(&FeatureNodeHash::new(attribute)))
    }
}

/// An attribute and all that hang under it.
fn gather(attribute: &Attribute, all: &mut BTreeSet<FeatureNodeHash>) {
    all.insert(attribute.hash.clone());
    if let AttributeKind::Radio(choices) = &attribute.kind {
        choices.iter().flat_map(|choice| &choice.attributes).for_each(|child| gather(child, all));
    }
}

/// Walks the ontology depth first and takes what was answered on the way, then turns the order round: the order of a
/// label row that the SDK wrote.
fn render(attributes: &[Attribute], answer: &Answer) -> Result<Vec<Entry>, Misfit> {
    let mut entries = Vec::with_capacity(answer.attributes.len());
    for attribute in attributes {
        walk(attribute, attribute.dynamic, answer, &mut entries)?;
    }
    if entries.len() != answer.attributes.len() {
        return Err(Misfit("an attribute is not in it, is answered twice, or hangs under an option that was not chosen".into()));
    }
    entries.reverse();
    Ok(entries)
}

fn walk(attribute: &Attribute, dynamic: bool, answer: &Answer, entries: &mut Vec<Entry>) -> Result<(), Misfit> {
    let Some(given) = answer.attributes.iter().find(|given| given.attribute == attribute.hash) else { return Ok(()) };
    let wrong_type = || Misfit(format!("attribute {} ({:?}) wants another type of answer", attribute.hash, attribute.name));
    let (answers, chosen) = match (&attribute.kind, &given.value) {
        (AttributeKind::Text, AnswerValue::Text(text)) => (json!(text), None),
        (AttributeKind::Numeric, AnswerValue::Number(number)) => (json!(number), None),
        (AttributeKind::Radio(choices), AnswerValue::Choice(hash)) => {
            let chosen = choices.iter().find(|choice| choice.hash == *hash).ok_or_else(|| no_option(attribute, hash))?;
            (json!([option_json(chosen)]), Some(chosen))
        }
        (AttributeKind::Checklist(choices), AnswerValue::Choices(ticked)) => {
            if let Some(unknown) = ticked.iter().find(|hash| choices.iter().all(|choice| choice.hash != **hash)) {
                return Err(no_option(attribute, unknown));
            }
            (choices.iter().filter(|choice| ticked.contains(&choice.hash)).map(option_json).collect(), None)
        }
        _ => return Err(wrong_type()),
    };
    entries.push(Entry { dynamic, json: attribute_json(attribute, answers) });
    for child in chosen.into_iter().flat_map(|choice| &choice.attributes) {
        walk(child, dynamic, answer, entries)?;
    }
    Ok(())
}

fn no_option(attribute: &Attribute, hash: &FeatureNodeHash) -> Misfit {
    Misfit(format!("attribute {} ({:?}) has no option {hash}", attribute.hash, attribute.name))
}

/// `manualAnnotation` stays true here: the SDK neither reads nor writes anything else at this level, what tells a
/// model's answer from a person's stands on the answer as a whole.
fn attribute_json(attribute: &Attribute, answers: Value) -> Value {
    json!({
        "name": attribute.name,
        "value": attribute.name.to_lowercase().replace(' ', "_"),
        "answers": answers,
        "featureHash": attribute.hash,
        "manualAnnotation": true,
    })
}

fn option_json(choice: &Choice) -> Value {
    json!({"name": choice.label, "value": choice.value, "featureHash": choice.hash})
}

/// 8 random base64 characters, as the SDK names new instances.
fn random_hash() -> String {
    let bits = getrandom::u64()
        .unwrap_or_else(|_| std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64));
    BASE64.encode(&bits.to_le_bytes()[..6])
}
