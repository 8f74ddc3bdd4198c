//! Whatever a person does to a row while the model thinks: it survives literally, and ours lands once or gives way.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use crate::ids::FeatureNodeHash;

use super::frames::Ranges;
use super::label_row::LabelRow;
use super::merge_tests::{NOISE, OURS, THEIRS, answer, hash_of};
use super::raw::{self, Fields};

const FRAMES: u64 = 6;

/// Names of fields that nobody has heard of, some like those that have a meaning elsewhere.
const NAMES: [&str; 5] = ["noise", "x/y", "labels", "reviews", "ünknown"];

/// How a classification instance is placed: by its own range, by entries of the frames, or both.
#[derive(Debug, Clone, Copy)]
enum Form {
    Range,
    Entries,
    Both,
}

/// Unknown fields by name; the value is a place in `NOISE`.
type Extra = BTreeMap<&'static str, usize>;

#[derive(Debug, Clone)]
struct Instance {
    key: usize,
    ours: bool,
    form: Form,
    frames: BTreeSet<u64>,
    text: String,
    extra: Extra,
}

/// A row as people make it.
#[derive(Debug, Clone, Default)]
struct Model {
    group: bool,
    instances: Vec<Instance>,
    made: usize,
    objects: BTreeMap<u64, Vec<usize>>,
    object_answers: BTreeMap<&'static str, usize>,
    top: Extra,
    unit: Extra,
    labels: BTreeMap<u64, Extra>,
}

/// What a person, or another program, does to it.
#[derive(Debug, Clone)]
enum Edit {
    Classify { ours: bool, form: Form, frames: BTreeSet<u64>, text: String },
    Declassify(usize),
    Say(usize, String),
    Move(usize, BTreeSet<u64>),
    Mark(usize, usize, usize),
    Draw(u64, usize),
    Erase(u64),
    Describe(usize, usize),
    Top(usize, usize),
    Unit(usize, usize),
    Labels(u64, usize, usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    let form = prop_oneof![Just(Form::Range), Just(Form::Entries), Just(Form::Both)];
    let frames = || prop::collection::btree_set(0..FRAMES, 1..4);
    let (name, noise) = (0..NAMES.len(), 0..NOISE.len());
    prop_oneof![
        4 => (any::<bool>(), form, frames(), "[a-c]{0,2}").prop_map(|(ours, form, frames, text)| Edit::Classify { ours, form, frames, text }),
        2 => any::<usize>().prop_map(Edit::Declassify),
        2 => (any::<usize>(), "[a-c]{0,2}").prop_map(|(at, text)| Edit::Say(at, text)),
        2 => (any::<usize>(), frames()).prop_map(|(at, frames)| Edit::Move(at, frames)),
        1 => (any::<usize>(), name.clone(), noise.clone()).prop_map(|(at, name, noise)| Edit::Mark(at, name, noise)),
        1 => (0..FRAMES, noise.clone()).prop_map(|(frame, noise)| Edit::Draw(frame, noise)),
        1 => (0..FRAMES).prop_map(Edit::Erase),
        1 => (name.clone(), noise.clone()).prop_map(|(name, noise)| Edit::Describe(name, noise)),
        1 => (name.clone(), noise.clone()).prop_map(|(name, noise)| Edit::Top(name, noise)),
        1 => (name.clone(), noise.clone()).prop_map(|(name, noise)| Edit::Unit(name, noise)),
        1 => (0..FRAMES, name, noise).prop_map(|(frame, name, noise)| Edit::Labels(frame, name, noise)),
    ]
}

impl Model {
    fn edited<'a>(mut self, edits: impl IntoIterator<Item = &'a Edit>) -> Self {
        edits.into_iter().for_each(|edit| self.edit(edit));
        self
    }

    fn edit(&mut self, edit: &Edit) {
        let count = self.instances.len().max(1);
        let instances = &mut self.instances;
        match edit.clone() {
            Edit::Classify { ours, form, frames, text } => {
                self.made += 1;
                instances.push(Instance { key: self.made, ours, form, frames, text, extra: Extra::new() });
            }
            Edit::Declassify(at) if !instances.is_empty() => drop(instances.remove(at % count)),
            Edit::Declassify(_) => {}
            Edit::Say(at, text) => instances.get_mut(at % count).into_iter().for_each(|one| one.text.clone_from(&text)),
            Edit::Move(at, frames) => instances.get_mut(at % count).into_iter().for_each(|one| one.frames.clone_from(&frames)),
            Edit::Mark(at, name, noise) => {
                instances.get_mut(at % count).into_iter().for_each(|one| _ = one.extra.insert(NAMES[name], noise))
            }
            Edit::Draw(frame, noise) => self.objects.entry(frame).or_default().push(noise),
            Edit::Erase(frame) => _ = self.objects.remove(&frame),
            Edit::Describe(name, noise) => _ = self.object_answers.insert(NAMES[name], noise),
            Edit::Top(name, noise) => _ = self.top.insert(NAMES[name], noise),
            // A unit's own labels are not unknown.
            Edit::Unit(name, _) if NAMES[name] == "labels" => {}
            Edit::Unit(name, noise) => _ = self.unit.insert(NAMES[name], noise),
            Edit::Labels(frame, name, noise) => _ = self.labels.entry(frame).or_default().insert(NAMES[name], noise),
        }
    }

    /// What a person can see of our classification on a frame: who would not notice a difference has made none.
    fn shown(&self, frame: u64) -> BTreeSet<(usize, bool, &str)> {
        let here = self.instances.iter().filter(|one| one.ours && one.frames.contains(&frame) && !one.text.is_empty());
        here.map(|one| (one.key, one.frames.len() == 1, one.text.as_str())).collect()
    }

    fn row(&self) -> LabelRow {
        LabelRow::from_json(&self.json(), false).unwrap()
    }

    fn json(&self) -> String {
        let answers: Vec<String> = self.instances.iter().map(Instance::answer).collect();
        let objects: Vec<String> =
            self.object_answers.iter().map(|(name, noise)| format!(r#""{name}": {{ "n":{} }}"#, NOISE[*noise])).collect();
        format!(
            r#"{{"label_hash": "l", "data_title": "t\/", {}"data_type": "{}", "object_answers": {{{}}}, "classification_answers": {{{}}}, "data_units": {{{}}}, "last": [ 1.0 ]}}"#,
            extra(&self.top),
            if self.group { "img_group" } else { "video" },
            objects.join(" , "),
            answers.join(", "),
            self.units().join(",  ")
        )
    }

    fn units(&self) -> Vec<String> {
        let unit = extra(&self.unit);
        if self.group {
            let of =
                |frame: u64| format!(r#""u{frame}": {{{unit}"data_sequence": "{frame}", "w": 1.50, "labels": {}}}"#, self.labels(frame));
            return (0..FRAMES).rev().map(of).collect();
        }
        let frames: Vec<String> = (0..FRAMES).map(|frame| format!(r#""{frame}": {}"#, self.labels(frame))).collect();
        vec![format!(r#""d": {{{unit}"fps": 25.0, "labels": {{{}}}}}"#, frames.join(", "))]
    }

    fn labels(&self, frame: u64) -> String {
        let objects: Vec<&str> = self.objects.get(&frame).into_iter().flatten().map(|&noise| NOISE[noise]).collect();
        let placed = self.instances.iter().filter(|one| !matches!(one.form, Form::Range) && one.frames.contains(&frame));
        let entries: Vec<String> = placed.map(Instance::entry).collect();
        let rest = self.labels.get(&frame).map(extra).unwrap_or_default();
        format!(r#"{{{rest}"objects": [ {} ], "classifications": [{}]}}"#, objects.join(" ,"), entries.join(" , "))
    }
}

impl Instance {
    fn feature(&self) -> &'static str {
        if self.ours { OURS } else { THEIRS }
    }

    fn answer(&self) -> String {
        let Self { key, text, .. } = self;
        let placed = match self.form {
            Form::Entries => String::new(),
            _ => {
                let range = serde_json::to_string(&Ranges::of_frames(self.frames.iter().copied())).unwrap();
                format!(r#""range": {range}, "featureHash": "{}", "#, self.feature())
            }
        };
        let marks = extra(&self.extra);
        format!(
            r#""K/{key}": {{ "classificationHash":"K/{key}", {placed}{marks}"classifications": [{{ "featureHash": "a1", "answers": "{text}", "n": 1e5}}]}}"#
        )
    }

    fn entry(&self) -> String {
        format!(r#"{{ "classificationHash": "K/{}", {}"featureHash": "{}"}}"#, self.key, extra(&self.extra), self.feature())
    }
}

fn extra(fields: &Extra) -> String {
    fields.iter().map(|(name, noise)| format!(r#""{name}": {}, "#, NOISE[*noise])).collect()
}

/// What a save sends, field by field.
fn sent(row: &LabelRow) -> Fields {
    serde_json::from_str(row.to_save().unwrap().get()).unwrap()
}

fn same(before: &Fields, after: &Fields, but: &[&str]) -> Result<(), TestCaseError> {
    let literal = |fields: &Fields| {
        let kept = fields.iter().filter(|(name, _)| !but.contains(&name.as_str()));
        kept.map(|(name, value)| (name.clone(), value.get().to_owned())).collect::<Vec<_>>()
    };
    prop_assert_eq!(literal(before), literal(after));
    Ok(())
}

fn inner(fields: &Fields, name: &str) -> Fields {
    raw::fields(&fields[name]).unwrap()
}

/// Nothing of a row is changed but what stood in our place on this frame.
fn foreign_is_the_same(model: &Model, before: &Fields, after: &Fields, frame: u64) -> Result<(), TestCaseError> {
    same(before, after, &["classification_answers", "data_units"])?;
    let touched: BTreeSet<String> =
        model.instances.iter().filter(|one| one.ours && one.frames.contains(&frame)).map(|one| format!("K/{}", one.key)).collect();
    let (old, new) = (inner(before, "classification_answers"), inner(after, "classification_answers"));
    let mut ours_here = new.keys().filter(|key| !old.contains_key(*key)).count();
    for one in &model.instances {
        let key = format!("K/{}", one.key);
        if !touched.contains(&key) {
            prop_assert_eq!(old[&key].get(), new[&key].get());
            continue;
        }
        let rest: BTreeSet<u64> = one.frames.iter().copied().filter(|at| *at != frame).collect();
        if rest.is_empty() {
            // Our answer took its place, or that of another one here; what nobody has heard of stays on it.
            let Some(now) = new.get(&key) else { continue };
            let now = raw::fields(now).unwrap();
            ours_here += 1;
            for (name, noise) in &one.extra {
                prop_assert_eq!(now[*name].get(), NOISE[*noise]);
            }
        } else {
            let now = inner(&new, &key);
            prop_assert_eq!(Ranges::parse(now["range"].get()), Some(Ranges::of_frames(rest)));
            for (name, value) in inner(&old, &key).iter().filter(|(name, _)| *name != "range") {
                prop_assert_eq!(value.get(), now[name].get());
            }
        }
    }
    prop_assert_eq!(ours_here, 1, "one answer of ours");
    let (old, new) = (inner(before, "data_units"), inner(after, "data_units"));
    prop_assert_eq!(old.keys().collect::<Vec<_>>(), new.keys().collect::<Vec<_>>());
    for unit in old.keys() {
        same(&inner(&old, unit), &inner(&new, unit), &["labels"])?;
        let (labels, labels_now) = (inner(&inner(&old, unit), "labels"), inner(&inner(&new, unit), "labels"));
        if model.group {
            frame_is_the_same(&labels, &labels_now, (*unit == format!("u{frame}")).then_some(&touched))?;
            continue;
        }
        prop_assert_eq!(labels.keys().collect::<Vec<_>>(), labels_now.keys().collect::<Vec<_>>());
        for at in labels.keys() {
            frame_is_the_same(&inner(&labels, at), &inner(&labels_now, at), (*at == frame.to_string()).then_some(&touched))?;
        }
    }
    Ok(())
}

fn frame_is_the_same(before: &Fields, after: &Fields, touched: Option<&BTreeSet<String>>) -> Result<(), TestCaseError> {
    let Some(touched) = touched else { return same(before, after, &[]) };
    same(before, after, &["classifications"])?;
    let texts =
        |fields: &Fields| raw::items(&fields["classifications"]).unwrap().iter().map(|one| one.get().to_owned()).collect::<Vec<_>>();
    let of_touched = |entry: &String| touched.iter().any(|key| entry.contains(&format!("\"{key}\"")));
    prop_assert_eq!(texts(before).into_iter().filter(|entry| !of_touched(entry)).collect::<Vec<_>>(), texts(after));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn whatever_happens_to_a_row_meanwhile_survives_and_ours_lands_once_or_gives_way(
        group: bool, made in prop::collection::vec(edit(), 0..9), meanwhile in prop::collection::vec(edit(), 0..7),
        again in prop::collection::vec(edit(), 0..4), frame in 0..FRAMES, text in "[a-c]{1,2}",
    ) {
        let prepared = answer(OURS, &text);
        let at_first = Model { group, ..Model::default() }.edited(&made);
        let seen = at_first.row().state_for(&prepared, frame).unwrap();
        let now = at_first.clone().edited(&meanwhile);
        let mut row = now.row();

        // A person was faster: exactly if somebody who looks at the frame sees a difference.
        let gives_way = row.state_for(&prepared, frame).unwrap() != seen;
        prop_assert_eq!(gives_way, at_first.shown(frame) != now.shown(frame));
        if gives_way {
            return Ok(());
        }
        let before = sent(&row);
        row.merge(&prepared, frame).unwrap();
        let after = sent(&row);
        foreign_is_the_same(&now, &before, &after, frame)?;
        let saved = LabelRow::from_json(row.to_save().unwrap().get(), false).unwrap();
        prop_assert!(saved.holds(&prepared, frame).unwrap());
        prop_assert!(!saved.answer_on(&FeatureNodeHash::new(OURS), frame).unwrap().unwrap().wider);

        // The confirmation is lost, others work on elsewhere in the row, and the save is made again: there is nothing to do.
        let elsewhere = |edit: &&Edit| matches!(edit, Edit::Draw(..) | Edit::Erase(_) | Edit::Describe(..) | Edit::Top(..) | Edit::Unit(..) | Edit::Labels(..));
        let moved_on = now.clone().edited(again.iter().filter(elsewhere));
        let mut late = moved_on.row();
        late.merge(&prepared, frame).unwrap();
        let once = sent(&late);
        late.merge(&prepared, frame).unwrap();
        same(&once, &sent(&late), &[])?;
        let hashes = inner(&once, "classification_answers");
        prop_assert!(hashes.keys().filter(|key| *key == hash_of(&prepared)).count() <= 1);
    }
}
