//! Merging: what is ours arrives, what is anybody else's stays literally as it was.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};
use time::macros::datetime;

use crate::ids::FeatureNodeHash;

use super::frames::Ranges;
use super::label_row::LabelRow;
use super::merge::Merged;
use super::prepared::{PreparedAnswer, Target};
use super::raw::{self, Fields};
use super::{Answer, AnswerValue, AttributeAnswer, Error, Ontology};

pub(super) const OURS: &str = "c1/+aaaa";
pub(super) const THEIRS: &str = "c2bbbbbb";

fn ontology() -> Ontology {
    let attribute =
        |n: u32, hash: &str| json!({"id": format!("{n}.1"), "name": "Scene Description", "type": "text", "featureNodeHash": hash});
    Ontology::from_json(
        &json!({"objects": [], "classifications": [
            {"id": "1", "featureNodeHash": OURS, "attributes": [attribute(1, "a1")]},
            {"id": "2", "featureNodeHash": THEIRS, "attributes": [attribute(2, "a2")]},
            {"id": "3", "featureNodeHash": "global", "level": "global", "attributes": [attribute(3, "a3")]},
        ]})
        .to_string(),
    )
    .unwrap()
}

pub(super) fn answer(feature: &str, text: &str) -> PreparedAnswer {
    let attribute = match feature {
        OURS => "a1",
        THEIRS => "a2",
        _ => "a3",
    };
    let given = AttributeAnswer { attribute: FeatureNodeHash::new(attribute), value: AnswerValue::Text(text.into()) };
    let answer = Answer { feature: FeatureNodeHash::new(feature), attributes: vec![given] };
    PreparedAnswer::new(&ontology(), &answer, 0.5, datetime!(2026-11-23 12:00 UTC)).unwrap()
}

pub(super) fn row(kind: &str, answers: &str, units: &str) -> LabelRow {
    let json = format!(
        r#"{{"label_hash": "l", "data_hash": "d", "data_title": "t", "data_type": "{kind}", "classification_answers": {answers}, "data_units": {units}}}"#
    );
    LabelRow::from_json(&json, false).unwrap()
}

pub(super) fn video(answers: &str) -> LabelRow {
    row("video", answers, r#"{"d": {"data_hash": "d", "labels": {}}}"#)
}

pub(super) fn instance(hash: &str, feature: &str, range: &str, text: &str) -> String {
    format!(
        r#""{hash}": {{"classificationHash": "{hash}", "featureHash": "{feature}", "range": {range}, "createdBy": "ann@x.org",
        "createdAt": "Thu, 09 Feb 2023 14:12:03 UTC", "confidence": 1.0, "manualAnnotation": true, "odd": 1e5,
        "classifications": [{{"featureHash": "a1", "name": "n", "value": "n", "answers": {text}, "manualAnnotation": true}}]}}"#
    )
}

pub(super) fn answers_of(row: &LabelRow) -> Value {
    serde_json::from_str(row.fields["classification_answers"].get()).unwrap()
}

pub(super) fn hash_of(answer: &PreparedAnswer) -> &str {
    match &answer.target {
        Target::Classification { hash, .. } | Target::Object { hash, .. } => hash,
    }
}

#[test]
fn an_empty_frame_gets_a_new_instance_in_the_sdks_form() {
    let mut row = video("{}");
    let answer = answer(OURS, "a road");
    assert_eq!(row.merge(&answer, 7).unwrap(), Merged::Added);
    let hash = hash_of(&answer);
    assert_eq!(hash.len(), 8);
    assert_eq!(
        answers_of(&row)[hash],
        json!({"classifications": [{"name": "Scene Description", "value": "scene_description", "answers": "a road", "featureHash": "a1",
                "manualAnnotation": true}],
            "classificationHash": hash, "featureHash": OURS, "spaces": {}, "range": [[7, 7]], "createdBy": null,
            "createdAt": "Mon, 23 Nov 2026 12:00:00 UTC", "lastEditedBy": null, "lastEditedAt": "Mon, 23 Nov 2026 12:00:00 UTC",
            "confidence": 0.5, "manualAnnotation": false})
    );
}

#[test]
fn the_frames_own_answer_is_replaced_in_place() {
    let mut row = video(&format!("{{{}}}", instance("H1", OURS, "[[7, 7]]", "\"old\"")));
    assert_eq!(row.merge(&answer(OURS, "new"), 7).unwrap(), Merged::Replaced);
    let after = &answers_of(&row)["H1"];
    assert_eq!(after["classifications"][0]["answers"], "new");
    assert_eq!(after["createdBy"], "ann@x.org");
    assert_eq!(after["createdAt"], "Thu, 09 Feb 2023 14:12:03 UTC");
    assert_eq!(after["lastEditedAt"], "Mon, 23 Nov 2026 12:00:00 UTC");
    assert_eq!((&after["confidence"], &after["manualAnnotation"]), (&json!(0.5), &json!(false)));
    assert_eq!(answers_of(&row).as_object().unwrap().len(), 1);
}

#[test]
fn a_wider_answer_keeps_its_other_frames() {
    let mut row = video(&format!("{{{}}}", instance("H1", OURS, "[[12, 12], [5, 9]]", "\"old\"")));
    let answer = answer(OURS, "new");
    assert_eq!(row.merge(&answer, 7).unwrap(), Merged::Added);
    assert_eq!(answers_of(&row)["H1"]["range"], json!([[5, 6], [8, 9], [12, 12]]));
    assert_eq!(answers_of(&row)["H1"]["classifications"][0]["answers"], "old");
    assert_eq!(answers_of(&row)[hash_of(&answer)]["range"], json!([[7, 7]]));
}

#[test]
fn an_answer_for_the_whole_item_is_replaced_whatever_the_frame() {
    let mut row = video("{}");
    let first = answer("global", "one");
    assert_eq!(row.merge(&first, 7).unwrap(), Merged::Added);
    assert_eq!(answers_of(&row)[hash_of(&first)]["range"], json!([]));
    assert_eq!(row.merge(&first, 9).unwrap(), Merged::AlreadyThere);
    assert_eq!(row.merge(&answer("global", "two"), 9).unwrap(), Merged::Replaced);
    assert_eq!(answers_of(&row).as_object().unwrap().len(), 1);
    assert!(row.answer_on(&FeatureNodeHash::new("global"), 3).unwrap().is_some());
}

#[test]
fn an_old_answer_placed_by_frame_entries_is_found_and_upgraded() {
    let entry = |hash: &str| {
        format!(
            r#"{{"name": "n", "value": "n", "classificationHash": "{hash}", "featureHash": "{OURS}", "createdBy": "old@x.org", "createdAt": "2020-01-01 00:00:00", "confidence": 1, "manualAnnotation": true}}"#
        )
    };
    let old = r#"{"H1": {"classificationHash": "H1", "classifications": [{"featureHash": "a1", "answers": "old"}]}}"#;
    let units = format!(
        r#"{{"d": {{"data_hash": "d", "labels": {{"6": {{"objects": [1.0], "classifications": [{0}]}}, "7": {{"objects": [2.0], "classifications": [{0}]}}}}}}}}"#,
        entry("H1")
    );
    let mut wide = row("video", old, &units);
    let found = wide.answer_on(&FeatureNodeHash::new(OURS), 7).unwrap().unwrap();
    assert!(found.wider && found.hash == "H1");
    assert_eq!(wide.merge(&answer(OURS, "new"), 7).unwrap(), Merged::Added);
    let after = &answers_of(&wide)["H1"];
    assert_eq!((&after["range"], &after["featureHash"], &after["createdBy"]), (&json!([[6, 6]]), &json!(OURS), &json!("old@x.org")));
    let labels = wide.section("data_units").unwrap()["d"].get().to_owned();
    assert!(labels.contains(r#""6":{"objects": [1.0], "classifications": ["#), "{labels}");
    assert!(labels.contains(r#""7":{"objects":[2.0],"classifications":[]}"#), "{labels}");

    let units = format!(
        r#"{{"x": {{"data_hash": "x", "data_sequence": "1", "labels": {{"objects": [], "classifications": [{}]}}}}, "y": {{"data_sequence": "0"}}}}"#,
        entry("H1")
    );
    let mut exact = row("img_group", old, &units);
    assert_eq!(exact.merge(&answer(OURS, "new"), 1).unwrap(), Merged::Replaced);
    let after = &answers_of(&exact)["H1"];
    assert_eq!((&after["range"], &after["createdAt"]), (&json!([[1, 1]]), &json!("2020-01-01 00:00:00")));
    assert!(matches!(exact.merge(&answer(OURS, "new"), 2), Err(Error::FrameOutOfRange { count: 2, .. })));
}

#[test]
fn an_instance_with_nothing_set_is_no_answer_but_is_used_again() {
    for unset in ["[]", "null", "\"\""] {
        let mut row = video(&format!("{{{}}}", instance("H1", OURS, "[[7, 7]]", unset)));
        assert_eq!(row.answer_on(&FeatureNodeHash::new(OURS), 7).unwrap(), None, "{unset}");
        assert_eq!(row.merge(&answer(OURS, "new"), 7).unwrap(), Merged::Replaced);
        assert!(row.answer_on(&FeatureNodeHash::new(OURS), 7).unwrap().is_some());
        assert_eq!(row.answer_on(&FeatureNodeHash::new(OURS), 8).unwrap(), None);
    }
    let half_a_pair = video(&format!("{{{}}}", instance("H1", OURS, "[[7, 7]]", r#""\ud83d""#)));
    assert!(half_a_pair.answer_on(&FeatureNodeHash::new(OURS), 7).unwrap().is_some());
}

#[test]
fn the_fingerprint_changes_when_a_person_changes_this_answer_and_only_then() {
    let ours = [FeatureNodeHash::new(OURS)];
    let of = |answers: &[String]| video(&format!("{{{}}}", answers.join(","))).fingerprint(&ours, 7).unwrap();
    let base = of(&[instance("H1", OURS, "[[7, 7]]", "\"a\"")]);
    assert_eq!(base, of(&[instance("H9", THEIRS, "[[7, 7]]", "\"b\""), instance("H1", OURS, "[[7.0,7]]", "\"\\u0061\"")]));
    assert_eq!(base, of(&[instance("H1", OURS, "[[7, 7]]", "\"a\""), instance("H2", OURS, "[[8, 9]]", "\"b\"")]));
    assert_ne!(base, of(&[instance("H1", OURS, "[[7, 7]]", "\"b\"")]));
    assert_ne!(base, of(&[instance("H1", OURS, "[[7, 8]]", "\"a\"")]));
    assert_ne!(base, of(&[instance("H2", OURS, "[[7, 7]]", "\"a\"")]));
    assert_ne!(base, of(&[]));
    let stored: super::Fingerprint = serde_json::from_str(&serde_json::to_string(&base).unwrap()).unwrap();
    assert_eq!(stored, base);
}

#[test]
fn a_save_whose_confirmation_was_lost_is_recognised() {
    let mut row = video(&format!("{{{}}}", instance("H1", OURS, "[[7, 7]]", "\"old\"")));
    let prepared = answer(OURS, "new");
    assert!(!row.holds(&prepared, 7).unwrap());
    row.merge(&prepared, 7).unwrap();
    let text = row.to_save().unwrap().get().replace(r#""lastEditedBy":null"#, r#""lastEditedBy":"key@x.org""#);
    let stored: PreparedAnswer = serde_json::from_str(&serde_json::to_string(&prepared).unwrap()).unwrap();
    assert_eq!(stored, prepared);
    assert!(LabelRow::from_json(&text, false).unwrap().holds(&stored, 7).unwrap());
    let by_a_person = text.replace(r#""manualAnnotation":false"#, r#""manualAnnotation":true"#);
    assert!(!LabelRow::from_json(&by_a_person, false).unwrap().holds(&stored, 7).unwrap());
}

#[test]
fn a_hash_that_is_taken_is_not_taken_again() {
    let prepared = answer(OURS, "new");
    let mut row = video(&format!("{{{}}}", instance(hash_of(&prepared), THEIRS, "[[7, 7]]", "\"theirs\"")));
    let before = row.section("classification_answers").unwrap()[hash_of(&prepared)].get().to_owned();
    assert_eq!(row.merge(&prepared, 7).unwrap(), Merged::Added);
    assert_eq!(row.section("classification_answers").unwrap()[hash_of(&prepared)].get(), before);
    assert_eq!(row.merge(&prepared, 7).unwrap(), Merged::AlreadyThere);
}

#[test]
fn a_save_drops_only_what_is_encords_own() {
    let json = r#"{"label_hash": "l", "branch_name": "main", "created_at": "2023-02-09 14:12:03", "last_edited_at": "never", "data_hash": "d",
        "data_title": "t", "data_type": "image", "is_valid": true, "is_image_sequence": false, "video_link": null, "export_history": [],
        "export_hash": "x", "exported_at": "y", "future": {"a": 1.0, "b": 1e5, "c": 12345678901234567890123, "d": "\u00e9\/"},
        "data_units": {"d": {"data_hash": "d", "data_link": "p", "labels": {}, "width": 1.0}}}"#;
    let saved = LabelRow::from_json(json, false).unwrap().to_save().unwrap();
    let fields: Fields = serde_json::from_str(saved.get()).unwrap();
    assert_eq!(
        fields.keys().map(String::as_str).collect::<Vec<_>>(),
        [
            "label_hash",
            "branch_name",
            "created_at",
            "last_edited_at",
            "data_hash",
            "data_title",
            "data_type",
            "future",
            "data_units",
            "object_answers",
            "classification_answers",
            "object_actions",
            "spaces"
        ]
    );
    assert_eq!(fields["future"].get(), r#"{"a": 1.0, "b": 1e5, "c": 12345678901234567890123, "d": "\u00e9\/"}"#);
    assert_eq!(fields["created_at"].get(), r#""Thu, 09 Feb 2023 14:12:03 UTC""#);
    assert_eq!(fields["last_edited_at"].get(), r#""never""#);
    assert_eq!(
        fields["data_units"].get(),
        r#"{"d":{"data_hash":"d","data_link":"p","labels":{"objects":[],"classifications":[]},"width":1.0}}"#
    );
}

/// How an instance of a generated row is placed.
#[derive(Debug, Clone, Copy)]
enum Form {
    Range,
    Entries,
    Both,
}

#[derive(Debug, Clone)]
struct Made {
    ours: bool,
    form: Form,
    frames: BTreeSet<u64>,
    text: String,
    noise: usize,
}

pub(super) const NOISE: [&str; 6] = ["1.0", "1e5", "123456789012345678901234567890", r#""\u00e9\/""#, "[ 1 , { } ]", "null"];

fn made() -> impl Strategy<Value = Made> {
    let form = prop_oneof![Just(Form::Range), Just(Form::Entries), Just(Form::Both)];
    (any::<bool>(), form, prop::collection::btree_set(0u64..6, 1..5), "[a-c]{0,2}", 0..NOISE.len())
        .prop_map(|(ours, form, frames, text, noise)| Made { ours, form, frames, text, noise })
}

fn generated(kind: &str, made: &[Made]) -> String {
    let mut answers = Vec::new();
    let mut entries: Vec<Vec<String>> = vec![Vec::new(); 6];
    for (n, one) in made.iter().enumerate() {
        let feature = if one.ours { OURS } else { THEIRS };
        let noise = NOISE[one.noise];
        let range = match one.form {
            Form::Entries => String::new(),
            _ => format!(
                r#""range": {}, "featureHash": "{feature}", "#,
                serde_json::to_string(&Ranges::of_frames(one.frames.iter().copied())).unwrap()
            ),
        };
        answers.push(format!(
            r#""K/{n}": {{ "classificationHash":"K/{n}", {range}"noise": {noise}, "classifications": [{{"featureHash": "a1", "answers": "{}", "n": {noise}}}]}}"#,
            one.text
        ));
        if !matches!(one.form, Form::Range) {
            for &frame in &one.frames {
                entries[frame as usize].push(format!(r#"{{"classificationHash": "K/{n}", "featureHash": "{feature}", "noise": {noise}}}"#));
            }
        }
    }
    let labels = |frame: usize| format!(r#"{{"objects": [ {frame}.0 ], "classifications": [{}]}}"#, entries[frame].join(", "));
    let units = if kind == "video" {
        let frames: Vec<String> = (0..6).map(|frame| format!(r#""{frame}": {}"#, labels(frame))).collect();
        format!(r#"{{"d": {{"data_hash": "d", "fps": 25.0, "labels": {{{}}}}}}}"#, frames.join(", "))
    } else {
        let units: Vec<String> = (0..6)
            .rev()
            .map(|frame| {
                format!(r#""u{frame}": {{"data_hash": "u{frame}", "data_sequence": "{frame}", "w": 1.50, "labels": {}}}"#, labels(frame))
            })
            .collect();
        format!("{{{}}}", units.join(", "))
    };
    format!(
        r#"{{"label_hash": "l", "data_hash": "d", "data_title": "t\/", "data_type": "{kind}", "object_answers": {{"o": {{"x": 1e5}}}},
        "classification_answers": {{{}}}, "data_units": {units}, "future": [ 1.0 ]}}"#,
        answers.join(", ")
    )
}

/// All label lists by unit and frame, literal: objects, and one text per frame entry.
fn lists(row: &LabelRow) -> Vec<(u64, String, Vec<String>)> {
    let mut lists = Vec::new();
    for unit in row.units().unwrap() {
        for (frame, labels) in row.labels_of(&unit).unwrap() {
            let entries = raw::items(&labels["classifications"]).unwrap().iter().map(|entry| entry.get().to_owned()).collect();
            lists.push((frame, labels["objects"].get().to_owned(), entries));
        }
    }
    lists
}

proptest! {
    #[test]
    fn any_row_keeps_what_is_foreign_and_gets_one_answer_on_the_frame(
        made in prop::collection::vec(made(), 0..7), frame in 0u64..6, text in "[a-c]{1,2}", group: bool,
    ) {
        let before = LabelRow::from_json(&generated(if group { "img_group" } else { "video" }, &made), false).unwrap();
        let prepared = answer(OURS, &text);
        let mut after = before.clone();
        let merged = after.merge(&prepared, frame).unwrap();
        prop_assert_ne!(merged, Merged::AlreadyThere);

        // Through a save and back, as Encord would return it.
        let saved = LabelRow::from_json(after.to_save().unwrap().get(), false).unwrap();
        for name in ["label_hash", "data_title", "object_answers", "future"] {
            prop_assert_eq!(saved.fields[name].get(), before.fields[name].get());
        }
        let (old, new) = (before.section("classification_answers").unwrap(), saved.section("classification_answers").unwrap());
        let mut touched = BTreeSet::new();
        let mut on_frame = 0;
        for (n, one) in made.iter().enumerate() {
            let key = format!("K/{n}");
            let entry_of = |row: &Fields| raw::fields(&row[&key]).unwrap();
            if !(one.ours && one.frames.contains(&frame)) {
                prop_assert_eq!(old[&key].get(), new[&key].get());
                continue;
            }
            touched.insert(key.clone());
            if one.frames.len() > 1 {
                let mut rest = one.frames.clone();
                rest.remove(&frame);
                let now = entry_of(&new);
                prop_assert_eq!(Ranges::parse(now["range"].get()), Some(Ranges::of_frames(rest)));
                for (field, value) in entry_of(&old) {
                    if field != "range" {
                        prop_assert_eq!(value.get(), now[&field].get());
                    }
                }
            } else if let Some(now) = new.get(&key) {
                on_frame += 1;
                let now = raw::fields(now).unwrap();
                prop_assert_eq!(now["noise"].get(), NOISE[one.noise]);
            }
        }
        let added: Vec<&String> = new.keys().filter(|key| !old.contains_key(*key)).collect();
        on_frame += added.len();
        prop_assert_eq!(on_frame, 1);
        let held = saved.answer_on(&FeatureNodeHash::new(OURS), frame).unwrap().unwrap();
        prop_assert!(!held.wider);
        prop_assert!(saved.holds(&prepared, frame).unwrap());

        // Frame entries: only those of touched instances on this frame are gone.
        for ((at, objects, entries), (_, objects_now, entries_now)) in lists(&before).into_iter().zip(lists(&saved)) {
            prop_assert_eq!(objects, objects_now);
            let ours = |entry: &String| at == frame && touched.iter().any(|key| entry.contains(&format!("\"{key}\"")));
            let left: Vec<String> = entries.into_iter().filter(|entry| !ours(entry)).collect();
            prop_assert_eq!(left, entries_now);
        }

        let mut twice = saved.clone();
        prop_assert_eq!(twice.merge(&prepared, frame).unwrap(), Merged::AlreadyThere);
        let (once, again) = (saved.to_save().unwrap(), twice.to_save().unwrap());
        prop_assert_eq!(once.get(), again.get());
    }

    #[test]
    fn no_text_is_too_odd_for_a_row(text in "\\PC{0,60}", wrapped in 0usize..4) {
        let text = match wrapped {
            0 => text,
            1 => format!(r#"{{"label_hash": "l", "data_type": "video", "data_units": {{{text}}}}}"#),
            2 => format!(r#"{{"label_hash": "l", "data_type": "video", "data_units": {{"d": {text}}}}}"#),
            _ => format!(r#"{{"label_hash": "l", "data_type": "video", "data_units": {{}}, "classification_answers": {{"k": {text}}}}}"#),
        };
        if let Ok(mut row) = LabelRow::from_json(&text, false) {
            let _ = row.merge(&answer(OURS, "x"), 3);
            let _ = row.to_save();
        }
    }
}
