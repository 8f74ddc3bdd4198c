//! Objects that annotators drew: which there are on a frame, and answers to their attributes.

use std::collections::BTreeSet;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::ids::FeatureNodeHash;
use crate::media::Region;

use super::Error;
use super::frames::Ranges;
use super::label_row::{LabelRow, RowKind, malformed};
use super::merge::Merged;
use super::prepared::PreparedAnswer;
use super::raw::{self, Fields};
use super::regions::region_of;
use super::state::{Answers, add_answer, prepared_answers};

/// An object on a frame.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameObject {
    /// The object's hash, as `objectHashes` of a trigger names it.
    pub hash: String,
    /// Feature node hash of its class.
    pub feature: FeatureNodeHash,
    /// `bounding_box`, `polygon`, …
    pub shape: String,
    /// The upright rectangle around it. `None` for shapes that enclose nothing (a point) or are not known, and for
    /// objects outside of the picture.
    pub region: Option<Region>,
}

impl LabelRow {
    /// The objects on a frame, in the row's order.
    pub fn objects_on(&self, frame: u64) -> Result<Vec<FrameObject>, Error> {
        let unit = self.unit_of(frame)?;
        let Some(labels) = self.labels_on(&unit, frame) else { return Ok(Vec::new()) };
        let side = |key: &str| raw::read::<f64>(&unit.fields, key).filter(|&side| side >= 1.0);
        let aspect = side("width").zip(side("height")).map_or(1.0, |(width, height)| width / height);
        let objects = labels.get("objects").and_then(|list| raw::items(list)).unwrap_or_default();
        Ok(objects.into_iter().filter_map(|object| frame_object(object, aspect)).collect())
    }

    /// The attributes of an object that are answered on a frame. Attributes left unset by the label editor are not.
    pub fn answered_attributes(&self, object: &str, frame: u64) -> Result<BTreeSet<FeatureNodeHash>, Error> {
        Ok(self.object_state(object, frame)?.into_keys().map(FeatureNodeHash::new).collect())
    }

    /// What is answered about an object on a frame: once for all frames, or for this one.
    pub(super) fn object_state(&self, object: &str, frame: u64) -> Result<Answers, Error> {
        let mut state = Answers::new();
        for (_, entry) in entries(&self.section("object_answers")?, object, "classifications")? {
            add_answer(&mut state, &entry);
        }
        for (_, entry) in entries(&self.section("object_actions")?, object, "actions")? {
            if range_of(&entry).is_some_and(|range| range.contains(frame)) {
                add_answer(&mut state, &entry);
            }
        }
        Ok(state)
    }

    /// Whether an object has exactly these answers among the attributes that the answer speaks about.
    pub(super) fn object_holds(&self, answer: &PreparedAnswer, object: &str, frame: u64) -> Result<bool, Error> {
        let mut state = self.object_state(object, frame)?;
        state.retain(|attribute, _| answer.speaks_about(attribute));
        Ok(state == prepared_answers(answer))
    }

    /// Puts answers into an object's attributes: those answered once for all frames among its answers, those answered
    /// per frame among its actions, on this frame only.
    pub(super) fn merge_into_object(&mut self, answer: &PreparedAnswer, object: &str, frame: u64) -> Result<Merged, Error> {
        if self.objects_on(frame)?.iter().all(|found| found.hash != object) {
            let code = "the object is not on this frame any more".to_owned();
            return Err(Error::Refused { action: "save the label row", status: 404, code });
        }
        let before = self.object_state(object, frame)?;
        let (mut once, mut per_frame) = (Vec::new(), Vec::new());
        for (literal, entry) in entries(&self.section("object_answers")?, object, "classifications")? {
            if !about(&entry, answer) {
                once.push(literal);
            }
        }
        for (literal, mut entry) in entries(&self.section("object_actions")?, object, "actions")? {
            let Some(range) = range_of(&entry).filter(|range| range.contains(frame) && about(&entry, answer)) else {
                per_frame.push(literal);
                continue;
            };
            let rest = range.without(frame);
            if !rest.is_empty() {
                raw::set(&mut entry, "range", &rest);
                per_frame.push(raw::written(&entry));
            }
        }
        let (ours_per_frame, ours_once): (Vec<_>, Vec<_>) = answer.entries.iter().partition(|entry| entry.dynamic);
        once.extend(ours_once.into_iter().map(|entry| raw::written(&entry.json)));
        per_frame.extend(ours_per_frame.into_iter().map(|entry| action(&entry.json, frame)));
        self.set_entries("object_answers", object, "classifications", &once)?;
        self.set_entries("object_actions", object, "actions", &per_frame)?;
        let replaced = before.keys().any(|attribute| answer.speaks_about(attribute));
        Ok(if replaced { Merged::Replaced } else { Merged::Added })
    }

    /// Writes an object's entries back; an object without any is left as it is.
    fn set_entries(&mut self, section: &str, object: &str, list: &str, entries: &[Box<RawValue>]) -> Result<(), Error> {
        let mut objects = self.section(section)?;
        let mut holder = match objects.get(object) {
            None if entries.is_empty() => return Ok(()),
            None => Fields::new(),
            Some(holder) => raw::fields(holder).ok_or_else(|| malformed(&format!("{section}: an entry is not an object")))?,
        };
        if holder.is_empty() {
            raw::set(&mut holder, list, entries);
            raw::set(&mut holder, "objectHash", object);
        } else {
            raw::set(&mut holder, list, entries);
        }
        raw::set(&mut objects, object, &holder);
        raw::set(&mut self.fields, section, &objects);
        Ok(())
    }

    /// The label lists of one frame of a unit.
    fn labels_on(&self, unit: &super::label_row::Unit, frame: u64) -> Option<Fields> {
        let labels = unit.fields.get("labels")?;
        match self.kind() {
            RowKind::Video => raw::fields(raw::pick(labels, &frame.to_string())?),
            RowKind::Image | RowKind::ImageGroup(_) => raw::fields(labels),
        }
    }
}

fn frame_object(object: &RawValue, aspect: f64) -> Option<FrameObject> {
    let object: Value = serde_json::from_str(object.get()).ok()?;
    let text = |key: &str| object.get(key).and_then(Value::as_str).map(str::to_owned);
    let gone = object.get("isDeleted") == Some(&Value::Bool(true)) || text("event").as_deref() == Some("delete");
    let (hash, feature) = (text("objectHash")?, FeatureNodeHash::new(text("featureHash")?));
    (!gone).then(|| FrameObject { hash, feature, shape: text("shape").unwrap_or_default(), region: region_of(&object, aspect) })
}

/// An object's attribute answers, each as its literal and its fields.
fn entries(section: &Fields, object: &str, list: &str) -> Result<Vec<(Box<RawValue>, Fields)>, Error> {
    let Some(holder) = section.get(object).and_then(|holder| raw::fields(holder)) else { return Ok(Vec::new()) };
    let Some(entries) = holder.get(list).filter(|entries| entries.get() != "null") else { return Ok(Vec::new()) };
    let wrong = || malformed(&format!("{list} of an object is not a list of objects"));
    let read = |entry: &RawValue| Ok((entry.to_owned(), raw::fields(entry).ok_or_else(wrong)?));
    raw::items(entries).ok_or_else(wrong)?.into_iter().map(read).collect()
}

fn range_of(entry: &Fields) -> Option<Ranges> {
    Ranges::parse(entry.get("range")?.get())
}

fn about(entry: &Fields, answer: &PreparedAnswer) -> bool {
    raw::read::<String>(entry, "featureHash").is_some_and(|attribute| answer.speaks_about(&attribute))
}

/// An attribute's answer on one frame, its fields in the SDK's order.
fn action(entry: &Value, frame: u64) -> Box<RawValue> {
    let mut action = Fields::new();
    for key in ["name", "value", "featureHash", "answers", "manualAnnotation"] {
        raw::set(&mut action, key, &entry[key]);
    }
    raw::set(&mut action, "dynamic", &true);
    raw::set(&mut action, "range", &Ranges::only(frame));
    raw::set(&mut action, "shouldPropagate", &false);
    raw::written(&action)
}
