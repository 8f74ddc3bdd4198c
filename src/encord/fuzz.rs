//! The ways in for the fuzzer: answers as Encord, or whoever sits in its place, could send them.

use serde_json::value::RawValue;
use ureq::http::{HeaderMap, HeaderValue};

use super::envelope::{Refusal, clock_offset, open_v1, open_v2};
use super::frames::Ranges;
use super::prepared::Target;
use super::raw::{self, Fields};
use super::{LabelRow, Merged, Ontology, PreparedAnswer, dates, link, rows, upload};
use crate::http::Answer;
use crate::ids::FeatureNodeHash;

/// Parts of a row that a merge of a classification writes anew; the rest goes back as it came.
const OURS: [&str; 3] = ["classification_answers", "created_at", "last_edited_at"];

/// The first line is a status, the second a date, the rest a body. It is taken apart or refused, and no refusal says what
/// the body said.
#[doc(hidden)]
pub fn fuzz_encord_answer(text: &str) {
    let mut lines = text.splitn(3, '\n');
    let [status, date, body] = std::array::from_fn(|_| lines.next().unwrap_or_default());
    let Ok(status) = status.trim().parse() else { return };
    let headers = HeaderValue::from_str(date).map(|date| ("date", date)).into_iter();
    let headers: HeaderMap = headers.filter_map(|(name, value)| Some((name.parse().ok()?, value))).collect();
    let answer = Answer { status, headers, body: body.as_bytes().to_vec() };
    if let Some(offset) = clock_offset(&answer) {
        assert!(offset.abs() > 60);
    }
    if let Some(at) = dates::parse(date) {
        let again = dates::parse(&dates::long(at)).map(|again| again.unix_timestamp());
        assert!(!(1900..=9999).contains(&at.year()) || again == Some(at.unix_timestamp()), "{date:?}");
    }
    for response in [open_v1(&answer), open_v2(&answer).map(Some)] {
        match response {
            Ok(json) => json.into_iter().for_each(read_all),
            Err(Refusal::Other { code, .. }) => assert!(code.len() <= 64 && !code.contains("://"), "{code}"),
            Err(_) => {}
        }
    }
}

/// As every kind of answer there is.
fn read_all(json: &RawValue) {
    link::fuzz(json);
    rows::fuzz(json);
    upload::fuzz(json);
    let complaint = Ontology::from_json(json.get()).err().map(|error| error.to_string());
    let keys = keys(json);
    assert!(complaint.is_none_or(|complaint| !complaint.contains("sig=") || keys.contains("sig=")), "a complaint quotes a link");
    if let Some(ranges) = Ranges::parse(json.get()) {
        let written = raw::written(&ranges);
        assert_eq!(Ranges::parse(written.get()), Some(ranges));
    }
}

/// All keys of all objects, which a complaint may name.
fn keys(json: &RawValue) -> String {
    fn walk(value: &serde_json::Value, keys: &mut String) {
        match value {
            serde_json::Value::Object(map) => map.iter().for_each(|(key, value)| {
                keys.push_str(key);
                walk(value, keys);
            }),
            serde_json::Value::Array(list) => list.iter().for_each(|value| walk(value, keys)),
            _ => {}
        }
    }
    let mut all = String::new();
    if let Ok(value) = serde_json::from_str(json.get()) {
        walk(&value, &mut all);
    }
    all
}

/// Any row with any answer merged in: merged twice it is the same as once, and nobody else's work is touched.
#[doc(hidden)]
pub fn fuzz_label_row(text: &str, answer: &PreparedAnswer, frame: u64) {
    let Ok(row) = LabelRow::from_json(text, false) else { return };
    let _ = row.objects_on(frame);
    let Ok(before) = row.to_save() else { return };
    let mut merged = row.clone();
    let Ok(how) = merged.merge(answer, frame) else { return };
    #[allow(clippy::expect_used)] // The row could be saved before the merge.
    let saved = merged.to_save().expect("a merged row can be saved");
    if how == Merged::AlreadyThere {
        assert_eq!(saved.get(), before.get(), "nothing was merged, and yet the row changed");
    }
    let mut again = LabelRow::from_json(saved.get(), false).unwrap_or_else(|error| panic!("{error} in what is saved"));
    assert_eq!(again.merge(answer, frame).ok(), Some(Merged::AlreadyThere));
    assert!(again.holds(answer, frame).is_ok_and(|holds| holds), "the saved row does not hold the answer");
    assert_eq!(again.to_save().map(|again| again.get().to_owned()).ok().as_deref(), Some(saved.get()));
    if let Target::Classification { .. } = answer.target {
        foreign_is_untouched(&before, &saved, &answer.feature);
    }
}

fn foreign_is_untouched(before: &RawValue, after: &RawValue, ours: &FeatureNodeHash) {
    let (Some(before), Some(after)) = (raw::fields(before), raw::fields(after)) else { panic!("a row is an object") };
    // Old clients place a classification in the frame's own list, where a merge takes it off.
    let placed_in_frames = before.get("data_units").is_some_and(|units| units.get().contains("classificationHash"));
    for (key, value) in &before {
        if !(OURS.contains(&key.as_str()) || key == "data_units" && placed_in_frames) {
            assert_eq!(after.get(key).map(|value| value.get()), Some(value.get()), "{key} was changed");
        }
    }
    assert!(after.keys().all(|key| before.contains_key(key)), "a field was added");
    let (before, after) = (answers(&before), answers(&after));
    for (hash, instance) in &before {
        let feature = raw::fields(instance).and_then(|fields| raw::read::<String>(&fields, "featureHash"));
        // An old answer without a feature of its own is its frame entry's.
        let foreign = feature.map_or(!placed_in_frames, |feature| feature != ours.as_str());
        if foreign {
            assert_eq!(after.get(hash).map(|value| value.get()), Some(instance.get()), "the answer {hash} is another's");
        }
    }
}

fn answers(row: &Fields) -> Fields {
    row.get("classification_answers").and_then(|answers| raw::fields(answers)).unwrap_or_default()
}
