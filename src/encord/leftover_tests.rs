//! What other programs and older clients leave in a row, and what becomes of it when an answer is merged.

use serde_json::json;

use crate::ids::FeatureNodeHash;

use super::merge::Merged;
use super::merge_tests::{OURS, THEIRS, answer, answers_of, instance, row, video};

fn entry(hash: &str, feature: &str, by: &str) -> String {
    format!(r#"{{"classificationHash": "{hash}", "featureHash": "{feature}", "createdBy": "{by}", "createdAt": "2020-01-01 00:00:00"}}"#)
}

#[test]
fn of_two_answers_for_one_frame_alone_the_first_is_replaced_and_the_second_is_taken_away() {
    let mut row = video(&format!(
        "{{{}, {}, {}}}",
        instance("H1", OURS, "[[7, 7]]", "\"one\""),
        instance("H2", OURS, "[[7, 7]]", "\"two\""),
        instance("H3", THEIRS, "[[7, 7]]", "\"three\"")
    ));
    assert_eq!(row.merge(&answer(OURS, "new"), 7).unwrap(), Merged::Replaced);
    let after = answers_of(&row);
    assert_eq!(after.as_object().unwrap().keys().collect::<Vec<_>>(), ["H1", "H3"]);
    assert_eq!(after["H1"]["classifications"][0]["answers"], "new");
}

#[test]
fn of_several_answers_for_the_whole_item_one_is_left_and_it_holds_everywhere() {
    // The first was given while the classification still belonged to frames.
    let mut row = video(&format!(
        "{{{}, {}, {}}}",
        instance("G1", "global", "[[3, 3]]", "\"one\""),
        instance("G2", "global", "[]", "\"two\""),
        instance("H3", OURS, "[]", "\"three\"")
    ));
    assert_eq!(row.merge(&answer("global", "new"), 7).unwrap(), Merged::Replaced);
    let after = answers_of(&row);
    assert_eq!(after.as_object().unwrap().keys().collect::<Vec<_>>(), ["G1", "H3"]);
    assert_eq!((&after["G1"]["range"], &after["G1"]["classifications"][0]["answers"]), (&json!([]), &json!("new")));
}

#[test]
fn an_instance_without_a_range_and_on_no_frame_answers_nothing() {
    let left = format!(r#"{{"H1": {{"featureHash": "{OURS}", "classifications": [{{"featureHash": "a1", "answers": "old"}}]}}}}"#);
    let mut row = video(&left);
    let ours = FeatureNodeHash::new(OURS);
    assert_eq!(row.answer_on(&ours, 7).unwrap(), None);
    let nothing = video("{}").fingerprint(std::slice::from_ref(&ours), 7).unwrap();
    assert_eq!(row.fingerprint(&[ours], 7).unwrap(), nothing);
    assert_eq!(row.merge(&answer(OURS, "new"), 7).unwrap(), Merged::Added);
    assert_eq!(answers_of(&row)["H1"]["classifications"][0]["answers"], "old", "it is nobody's to take away");
}

#[test]
fn an_old_answer_gets_only_what_it_lacks_and_from_its_first_frame() {
    let old = r#"{"H1": {"createdBy": "own@x.org", "classifications": [{"featureHash": "a1", "answers": "old"}]},
        "H2": {"classifications": [{"featureHash": "a1", "answers": "older"}]}}"#;
    let lists = |by: &str| format!(r#"{{"objects": [], "classifications": [{}, {}]}}"#, entry("H1", OURS, by), entry("H2", OURS, by));
    let units = format!(r#"{{"d": {{"data_hash": "d", "labels": {{"6": {}, "7": {}}}}}}}"#, lists("first@x.org"), lists("second@x.org"));
    let mut row = row("video", old, &units);
    assert_eq!(row.merge(&answer(OURS, "new"), 7).unwrap(), Merged::Added);
    let after = answers_of(&row);
    assert_eq!((&after["H1"]["createdBy"], &after["H1"]["createdAt"]), (&json!("own@x.org"), &json!("2020-01-01 00:00:00")));
    assert_eq!(after["H2"]["createdBy"], "first@x.org");
}

#[test]
fn a_frames_list_without_our_entries_stays_literally() {
    let theirs = entry("H2", THEIRS, "ann@x.org");
    for kind in ["video", "img_group"] {
        let list = format!(r#"{{"objects": [ 1.0 ], "classifications": [  {theirs}  ] }}"#);
        let labels = if kind == "video" { format!(r#"{{ "0": {list} }}"#) } else { list };
        let units = format!(r#"{{ "d": {{"data_hash": "d", "data_sequence": "0", "labels": {labels}}} }}"#);
        let mut row = row(kind, &format!("{{{}}}", instance("H1", OURS, "[[0, 0]]", "\"old\"")), &units);
        assert_eq!(row.merge(&answer(OURS, "new"), 0).unwrap(), Merged::Replaced);
        assert_eq!(row.fields["data_units"].get(), units, "{kind}");
    }
}

#[test]
fn an_image_whose_labels_are_null_has_no_entries() {
    let old = r#"{"H1": {"classifications": [{"featureHash": "a1", "answers": "old"}]}}"#;
    let units = format!(
        r#"{{"x": {{"data_hash": "x", "data_sequence": "0", "labels": null}},
            "y": {{"data_hash": "y", "data_sequence": "1", "labels": {{"objects": [], "classifications": [{}]}}}}}}"#,
        entry("H1", OURS, "ann@x.org")
    );
    let mut row = row("img_group", old, &units);
    let ours = FeatureNodeHash::new(OURS);
    assert_eq!(row.answer_on(&ours, 0).unwrap(), None);
    assert_eq!(row.answer_on(&ours, 1).unwrap().unwrap().hash, "H1");
    assert_eq!(row.merge(&answer(OURS, "new"), 0).unwrap(), Merged::Added);
    assert!(row.answer_on(&ours, 0).unwrap().is_some());
}
