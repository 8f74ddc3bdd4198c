//! What a row answers, in a form that does not depend on spelling: to tell whether a person changed it meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::prepared::PreparedAnswer;
use super::raw::{self, Fields};

/// The state of some classifications on one frame: equal as long as nobody changes an answer there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    pub(super) fn of(state: &impl Serialize) -> Self {
        Self(BASE64.encode(Sha256::digest(raw::written(state).get())))
    }
}

/// What is answered, by attribute, in a form that does not depend on spelling: the chosen options, or the one text or
/// number. Unset attributes are left out.
pub(super) type Answers = BTreeMap<String, BTreeSet<String>>;

/// Adds an entry of a row. The label editor writes one entry for each ticked option of a checklist, the SDK one for all.
pub(super) fn add_answer(answers: &mut Answers, entry: &Fields) {
    let Some(attribute) = raw::read::<String>(entry, "featureHash") else { return };
    let Some(literal) = entry.get("answers").map(|answers| answers.get()) else { return };
    // Not every literal fits a value (half of a surrogate pair, a number beyond the largest); it is an answer all the same.
    let given: Vec<String> = match serde_json::from_str::<Value>(literal) {
        Ok(Value::Null) => Vec::new(),
        Ok(Value::String(text)) if text.is_empty() => Vec::new(),
        Ok(Value::String(text)) => vec![format!("text {text}")],
        Ok(Value::Array(options)) => options.iter().map(|option| format!("option {}", option["featureHash"])).collect(),
        Ok(Value::Number(number)) => match number.as_f64() {
            Some(float) if number.is_f64() => vec![format!("number {float}")],
            _ => vec![format!("number {number}")],
        },
        Ok(other) => vec![format!("other {other}")],
        Err(_) => vec![format!("literal {literal}")],
    };
    if !given.is_empty() {
        answers.entry(attribute).or_default().extend(given);
    }
}

pub(super) fn prepared_answers(answer: &PreparedAnswer) -> Answers {
    let mut answers = Answers::new();
    let entries = answer.entries.iter().filter_map(|entry| raw::fields(&raw::written(&entry.json)));
    entries.for_each(|entry| add_answer(&mut answers, &entry));
    answers
}
