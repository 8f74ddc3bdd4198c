//! Our merge against rows that the official SDK wrote (`tests/sdk/make_rows.py`): equal in everything.

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use time::macros::datetime;

use super::label_row::LabelRow;
use super::merge::Merged;
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

/// Every place in a JSON tree, by the way to it.
fn places(value: &Value, way: String, all: &mut Vec<String>) {
    all.push(way.clone());
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(key, inner)| places(inner, format!("{way}/{}", key.replace('~', "~0").replace('/', "~1")), all))
        }
        Value::Array(items) => items.iter().enumerate().for_each(|(n, inner)| places(inner, format!("{way}/{n}"), all)),
        _ => {}
    }
}

proptest! {
    /// Rows of the SDK with some values exchanged for others: read or refused, and merged once as good as twice.
    #[test]
    fn damaged_rows_are_refused_or_merged_for_good(
        which in 0usize..6, damage in prop::collection::vec((any::<prop::sample::Index>(), 0usize..12), 1..4), frame in 0u64..9, object: bool,
    ) {
        let tests = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
        let ontology = Ontology::from_json(&std::fs::read_to_string(tests.join("support/ontology.json")).unwrap()).unwrap();
        let name = ["cut-out-of-a-range", "replaced-image", "replaced-img_group", "object-video", "object-image", "object-img_group"][which];
        let golden = std::fs::read_to_string(tests.join(format!("data/sdk-rows/{name}.json"))).unwrap();
        let golden: Golden = serde_json::from_str(&golden).unwrap();
        let mut row: Value = serde_json::from_str(golden.before.get()).unwrap();
        for (place, odd) in damage {
            let mut all = Vec::new();
            places(&row, String::new(), &mut all);
            let odd = ["null", "7", "-1.5", "\"x\"", "\"Cls/Weat\"", "\"Car+obj1\"", "[]", "{}", "[[0,3]]", "[[7,7]]", "true", "[{}]"][odd];
            *row.pointer_mut(&all[place.index(all.len())]).unwrap() = serde_json::from_str(odd).unwrap();
        }
        let now = datetime!(2026-11-23 12:00 UTC);
        let prepared = match (&golden.object, object) {
            (Some(hash), true) => PreparedAnswer::for_object(&ontology, &golden.answer, hash, 0.5, now).unwrap(),
            (Some(_), false) => return Ok(()),
            (None, _) => PreparedAnswer::new(&ontology, &golden.answer, 0.5, now).unwrap(),
        };
        let Ok(mut row) = LabelRow::from_json(&row.to_string(), false) else { return Ok(()) };
        let _ = (row.objects_on(frame), row.state_for(&prepared, frame));
        let Ok(_) = row.merge(&prepared, frame) else { return Ok(()) };
        let Ok(saved) = row.to_save() else { return Ok(()) };
        let mut again = LabelRow::from_json(saved.get(), false).unwrap();
        prop_assert_eq!(again.merge(&prepared, frame).unwrap(), Merged::AlreadyThere);
        let twice = again.to_save().unwrap();
        prop_assert_eq!(twice.get(), saved.get());
    }
}
