//! Any label row: read or refused; merged once it holds the answer, merged twice it is the same, and what is not ours stays
//! byte for byte.
#![no_main]

#[path = "../bound.rs"]
mod bound;

use std::sync::LazyLock;

use edgelabel::encord::{Answer, AnswerValue, AttributeAnswer, Ontology, PreparedAnswer, fuzz_label_row};
use edgelabel::ids::FeatureNodeHash;

static PREPARED: LazyLock<PreparedAnswer> = LazyLock::new(|| {
    let ontology = Ontology::from_json(include_str!("../../tests/support/ontology.json")).unwrap();
    let value = AnswerValue::Choice(FeatureNodeHash::new("Opt+Rain"));
    let attributes = vec![AttributeAnswer { attribute: FeatureNodeHash::new("AttWeath"), value }];
    let answer = Answer { feature: FeatureNodeHash::new("Cls/Weat"), attributes };
    PreparedAnswer::new(&ontology, &answer, 0.5, time::OffsetDateTime::UNIX_EPOCH).unwrap()
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((&frame, text)) = input.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    fuzz_label_row(text, &PREPARED, u64::from(frame % 16));
});
