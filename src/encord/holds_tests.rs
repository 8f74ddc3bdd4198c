//! When a row counts as holding an answer already: its save went through, though nobody was told.

use serde_json::{Value, json};

use super::label_row::LabelRow;
use super::merge::Merged;
use super::merge_tests::{OURS, answer, answers_of, hash_of, instance, video};
use super::prepared::PreparedAnswer;

/// A row after this answer has been merged into it, with some fields of the instance changed since.
fn saved(row: &LabelRow, prepared: &PreparedAnswer, frame: u64, key: &str, changes: &[(&str, Value)]) -> LabelRow {
    let mut row = row.clone();
    row.merge(prepared, frame).unwrap();
    let mut answers = answers_of(&row);
    for (field, value) in changes {
        answers[key][*field] = value.clone();
    }
    video(&answers.to_string())
}

#[test]
fn an_answer_under_its_own_hash_is_there_whoever_confirmed_or_widened_it_since() {
    let prepared = answer(OURS, "new");
    let hash = hash_of(&prepared);
    let confirmed = [("manualAnnotation", json!(true)), ("confidence", json!(1.0))];
    assert!(saved(&video("{}"), &prepared, 7, hash, &confirmed).holds(&prepared, 7).unwrap());
    let widened = saved(&video("{}"), &prepared, 7, hash, &[("range", json!([[5, 9]]))]);
    assert!(widened.holds(&prepared, 7).unwrap());
}

#[test]
fn an_answer_is_there_only_on_its_own_frame() {
    let prepared = answer(OURS, "new");
    let mut row = saved(&video("{}"), &prepared, 7, hash_of(&prepared), &[]);
    assert!(row.holds(&prepared, 7).unwrap());
    assert!(!row.holds(&prepared, 8).unwrap());
    assert_eq!(row.merge(&prepared, 8).unwrap(), Merged::Added);
    assert!(row.holds(&prepared, 7).unwrap() && row.holds(&prepared, 8).unwrap(), "the second time under another hash");
}

#[test]
fn an_answer_that_took_anothers_place_is_there_by_the_models_mark() {
    let before = video(&format!("{{{}}}", instance("H1", OURS, "[[7, 7]]", "\"old\"")));
    let prepared = answer(OURS, "new");
    let holds = |changes: &[(&str, Value)]| saved(&before, &prepared, 7, "H1", changes).holds(&prepared, 7).unwrap();
    assert!(holds(&[]));
    assert!(holds(&[("lastEditedAt", json!("Mon, 23 Nov 2026 12:00:01 UTC"))]));
    // The same words, but of another save.
    assert!(!holds(&[("confidence", json!(0.75))]));
    assert!(!holds(&[("lastEditedAt", json!("Mon, 23 Nov 2026 11:59:59 UTC"))]));
    assert!(!holds(&[("lastEditedAt", Value::Null)]));
    // Ours goes to one frame; an answer for more of them that is not under our hash is somebody else's.
    assert!(!holds(&[("range", json!([[5, 9]]))]));
}

#[test]
fn an_answer_for_the_whole_item_that_took_anothers_place_is_there_on_every_frame() {
    let mut row = video(&format!("{{{}}}", instance("G1", "global", "[]", "\"old\"")));
    let prepared = answer("global", "new");
    assert_eq!(row.merge(&prepared, 7).unwrap(), Merged::Replaced);
    assert_eq!(row.merge(&prepared, 9).unwrap(), Merged::AlreadyThere);
    assert!(row.holds(&prepared, 0).unwrap());
}
