//! Where older clients placed classifications: as entries in the frames' label lists. Newer clients write a `range`
//! into the answer instead, some wrote both.

use std::collections::HashMap;

use serde_json::value::RawValue;

use super::Error;
use super::frames::Ranges;
use super::label_row::{LabelRow, RowKind, Unit, malformed};
use super::raw::{self, Fields};

/// All frame entries of one classification instance.
#[derive(Debug, Default)]
pub(super) struct Placed {
    frames: Vec<u64>,
    /// The first entry: it has what an old answer lacks (feature, dates, persons).
    pub(super) first: Fields,
}

impl Placed {
    pub(super) fn ranges(&self) -> Ranges {
        Ranges::of_frames(self.frames.iter().copied())
    }
}

impl LabelRow {
    /// The frame entries of every classification instance, by classification hash.
    pub(super) fn frame_entries(&self) -> Result<HashMap<String, Placed>, Error> {
        let mut placed: HashMap<String, Placed> = HashMap::new();
        if !self.mentions_frame_entries() {
            return Ok(placed);
        }
        for unit in self.units()? {
            for (frame, labels) in self.labels_of(&unit)? {
                let Some(entries) = labels.get("classifications").and_then(|list| raw::items(list)) else { continue };
                for entry in entries {
                    let Some(entry) = raw::fields(entry) else { continue };
                    let Some(hash) = raw::read::<String>(&entry, "classificationHash") else { continue };
                    let instance = placed.entry(hash).or_default();
                    instance.frames.push(frame);
                    if instance.first.is_empty() {
                        instance.first = entry;
                    }
                }
            }
        }
        Ok(placed)
    }

    /// Takes the entries of these classification instances off a frame.
    pub(super) fn remove_frame_entries(&mut self, hashes: &[String], frame: u64) -> Result<(), Error> {
        if !self.mentions_frame_entries() {
            return Ok(());
        }
        let mut unit = self.unit_of(frame)?;
        let Some(mut labels) = unit.fields.get("labels").and_then(|labels| raw::fields(labels)) else { return Ok(()) };
        if self.kind() == RowKind::Video {
            let key = frame.to_string();
            let Some(mut of_frame) = labels.get(&key).and_then(|labels| raw::fields(labels)) else { return Ok(()) };
            if !remove_entries(&mut of_frame, hashes) {
                return Ok(());
            }
            raw::set(&mut labels, &key, &of_frame);
        } else if !remove_entries(&mut labels, hashes) {
            return Ok(());
        }
        raw::set(&mut unit.fields, "labels", &labels);
        let mut units = self.section("data_units")?;
        raw::set(&mut units, &unit.key, &unit.fields);
        raw::set(&mut self.fields, "data_units", &units);
        Ok(())
    }

    /// New rows have no frame entries at all; looking for the word spares them the walk through every frame.
    fn mentions_frame_entries(&self) -> bool {
        self.fields.get("data_units").is_some_and(|units| units.get().contains("classificationHash"))
    }

    /// The label lists of each frame of a unit.
    pub(super) fn labels_of(&self, unit: &Unit) -> Result<Vec<(u64, Fields)>, Error> {
        let Some(labels) = unit.fields.get("labels").filter(|labels| labels.get() != "null") else { return Ok(Vec::new()) };
        let labels = raw::fields(labels).ok_or_else(|| malformed(&format!("data_units.{}.labels is not an object", unit.key)))?;
        if self.kind() != RowKind::Video {
            return Ok(vec![(unit.sequence, labels)]);
        }
        Ok(labels.iter().filter_map(|(key, labels)| Some((key.parse().ok()?, raw::fields(labels)?))).collect())
    }
}

/// Removes entries from one frame's list; says whether there were any.
fn remove_entries(labels: &mut Fields, hashes: &[String]) -> bool {
    let Some(list) = labels.get("classifications") else { return false };
    let Some(entries) = raw::items(list) else { return false };
    let ours = |entry: &&RawValue| {
        let hash = raw::fields(entry).and_then(|entry| raw::read::<String>(&entry, "classificationHash"));
        hash.is_some_and(|hash| hashes.contains(&hash))
    };
    let count = entries.len();
    let left: Vec<&RawValue> = entries.into_iter().filter(|entry| !ours(entry)).collect();
    if left.len() == count {
        return false;
    }
    let left = raw::written(&left);
    labels.insert("classifications".to_owned(), left);
    true
}
