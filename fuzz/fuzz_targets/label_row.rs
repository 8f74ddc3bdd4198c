//! Any label row: read or refused; merged once it holds the answer, merged twice it is the same.
#![no_main]

use std::sync::LazyLock;

use edgelabel::encord::{Answer, AnswerValue, AttributeAnswer, LabelRow, Merged, Ontology, PreparedAnswer};
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
    let (frame, Ok(text)) = (u64::from(frame % 16), std::str::from_utf8(text)) else { return };
    let Ok(mut row) = LabelRow::from_json(text, false) else { return };
    let _ = row.objects_on(frame);
    let Ok(_) = row.merge(&PREPARED, frame) else { return };
    let saved = row.to_save().unwrap();
    let mut again = LabelRow::from_json(saved.get(), false).unwrap();
    assert_eq!(again.merge(&PREPARED, frame).unwrap(), Merged::AlreadyThere);
    assert_eq!(again.to_save().unwrap().get(), saved.get());
});
