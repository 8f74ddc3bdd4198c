//! Our merge against rows that the official SDK wrote (`tests/sdk/make_rows.py`): equal in everything.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use time::macros::datetime;

use super::label_row::LabelRow;
use super::prepared::{PreparedAnswer, Target};
use super::{Answer, Ontology};

#[derive(Deserialize)]
struct Golden {
    merged: String,
    frame: u64,
    hash: String,
    object: Option<String>,
    answer: Answer,
    listing: Map<String, Value>,
    before: Box<RawValue>,
    after: Value,
}

#[test]
fn merged_rows_equal_those_of_the_sdk() {
    let tests = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let ontology = Ontology::from_json(&std::fs::read_to_string(tests.join("support/ontology.json")).unwrap()).unwrap();
    let mut compared = 0;
    for entry in std::fs::read_dir(tests.join("data/sdk-rows")).unwrap() {
        let path = entry.unwrap().path();
        let golden: Golden = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let now = datetime!(2026-11-23 12:00 UTC);
        let mut prepared = match &golden.object {
            None => PreparedAnswer::new(&ontology, &golden.answer, 0.5, now).unwrap(),
            Some(object) => PreparedAnswer::for_object(&ontology, &golden.answer, object, 0.5, now).unwrap(),
        };
        if let Target::Classification { hash, .. } = &mut prepared.target {
            *hash = golden.hash;
        }
        let mut row = LabelRow::from_json(golden.before.get(), false).unwrap();
        row.complete_from(&golden.listing);
        let merged = row.merge(&prepared, golden.frame).unwrap();
        assert_eq!(format!("{merged:?}"), golden.merged, "{}", path.display());
        let mut ours: Value = serde_json::from_str(row.to_save().unwrap().get()).unwrap();
        let mut theirs = golden.after;
        sort_object_entries(&mut ours);
        sort_object_entries(&mut theirs);
        for (key, expected) in theirs.as_object().unwrap() {
            assert_eq!(ours.get(key), Some(expected), "{key} in {}", path.display());
        }
        assert_eq!(ours.as_object().unwrap().len(), theirs.as_object().unwrap().len(), "{}", path.display());
        compared += 1;
    }
    assert_eq!(compared, 20);
}

/// Readers do not depend on the order of an object's entries, and the SDK does not keep it.
fn sort_object_entries(row: &mut Value) {
    for (section, list) in [("object_answers", "classifications"), ("object_actions", "actions")] {
        for object in row[section].as_object_mut().unwrap().values_mut() {
            object[list].as_array_mut().unwrap().sort_by_key(Value::to_string);
        }
    }
}
