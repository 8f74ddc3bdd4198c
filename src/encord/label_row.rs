//! A label row: everything foreign in it stays byte for byte, our answers are merged in.

use serde_json::Value;
use serde_json::value::RawValue;

use crate::ids::LabelHash;

use super::raw::{self, Fields, Lenient};
use super::{Error, dates};

/// What Encord computes itself and does not take back.
const READ_ONLY: [&str; 6] = ["is_valid", "is_image_sequence", "video_link", "export_history", "export_hash", "exported_at"];

/// What a save holds beside the answers; the list of label rows knows those that a row may lack.
const FROM_LISTING: [&str; 8] =
    ["branch_name", "dataset_hash", "dataset_title", "data_title", "data_hash", "annotation_task_status", "is_shadow_data", "label_status"];

/// A label row as Encord sent it.
#[derive(Debug, Clone)]
pub struct LabelRow {
    pub(super) fields: Fields,
    label_hash: LabelHash,
    data_hash: String,
    title: String,
    kind: RowKind,
    with_links: bool,
}

/// What there is to see in a row's item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowKind {
    /// One image: frame 0.
    Image,
    /// An image group or image sequence of this many images: frame `k` is the image with `data_sequence` `k`.
    ImageGroup(u64),
    /// A video; how many frames it has only its bytes tell.
    Video,
}

/// One image or video of a row.
#[derive(Debug, Clone)]
pub(super) struct Unit {
    /// Key within `data_units`.
    pub(super) key: String,
    /// Its fields, literal.
    pub(super) fields: Fields,
    /// Position in a group; 0 for images and videos.
    pub(super) sequence: u64,
}

impl LabelRow {
    /// Reads a row. `with_links` says that it was asked for with signed links, which must never be saved.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is no object, has no label hash or no data units; [`Error::Unsupported`] when it is
    /// neither image, image group nor video, or keeps its labels in spaces.
    pub fn from_json(json: &str, with_links: bool) -> Result<Self, Error> {
        let fields: Fields = serde_json::from_str(json).map_err(|error| malformed(&error.to_string()))?;
        let text = |key: &str| raw::read::<String>(&fields, key);
        let label_hash = text("label_hash").map(LabelHash::new).ok_or_else(|| malformed("label_hash is missing"))?;
        let data_hash = text("data_hash").unwrap_or_default();
        let title = text("data_title").unwrap_or_default();
        if fields.get("spaces").and_then(|spaces| raw::fields(spaces)).is_some_and(|spaces| !spaces.is_empty()) {
            return Err(Error::Unsupported { what: "an item that keeps its labels in spaces (data group or scene)".into() });
        }
        let data_type = text("data_type").ok_or_else(|| malformed("data_type is missing"))?;
        let units = fields.get("data_units").and_then(|units| raw::count(units)).ok_or_else(|| malformed("data_units is missing"))?;
        let kind = match data_type.to_ascii_lowercase().as_str() {
            "image" => RowKind::Image,
            "img_group" => RowKind::ImageGroup(units),
            "video" => RowKind::Video,
            other => return Err(unsupported_type(other)),
        };
        Ok(Self { label_hash, data_hash, title, kind, with_links, fields })
    }

    /// The row's own hash.
    pub fn label_hash(&self) -> &LabelHash {
        &self.label_hash
    }

    /// The hash of its data item.
    pub fn data_hash(&self) -> &str {
        &self.data_hash
    }

    /// The item's title as the annotator sees it.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// What there is to see.
    pub fn kind(&self) -> RowKind {
        self.kind
    }

    /// Whether its data units hold signed links; such a row is for looking, not for saving.
    pub fn with_links(&self) -> bool {
        self.with_links
    }

    /// Checks a frame number where the row alone can tell: images and image groups.
    pub fn check_frame(&self, frame: u64) -> Result<(), Error> {
        let count = match self.kind {
            RowKind::Image => 1,
            RowKind::ImageGroup(count) => count,
            RowKind::Video => return Ok(()),
        };
        if frame < count { Ok(()) } else { Err(Error::FrameOutOfRange { frame, count, title: self.title.clone() }) }
    }

    /// The data units, in frame order.
    pub(super) fn units(&self) -> Result<Vec<Unit>, Error> {
        let raw_units = self.section("data_units")?;
        let mut units = Vec::with_capacity(raw_units.len());
        for (key, unit) in &raw_units {
            let fields = raw::fields(unit).ok_or_else(|| malformed(&format!("data_units.{key} is not an object")))?;
            let sequence = match self.kind {
                RowKind::ImageGroup(_) => raw::read::<Lenient>(&fields, "data_sequence")
                    .and_then(|sequence| sequence.whole())
                    .ok_or_else(|| malformed(&format!("data_units.{key}.data_sequence is not a number")))?,
                RowKind::Image | RowKind::Video => 0,
            };
            units.push(Unit { key: key.clone(), fields, sequence });
        }
        units.sort_by_key(|unit| unit.sequence);
        Ok(units)
    }

    /// The unit that a frame is in.
    pub(super) fn unit_of(&self, frame: u64) -> Result<Unit, Error> {
        self.check_frame(frame)?;
        let units = self.units()?;
        let count = units.len() as u64;
        let found = match self.kind {
            RowKind::ImageGroup(_) => units.into_iter().find(|unit| unit.sequence == frame),
            RowKind::Image | RowKind::Video => units.into_iter().next(),
        };
        found.ok_or_else(|| Error::FrameOutOfRange { frame, count, title: self.title.clone() })
    }

    /// A part of the row that is an object; absent and `null` count as empty.
    pub(super) fn section(&self, name: &str) -> Result<Fields, Error> {
        match self.fields.get(name) {
            None => Ok(Fields::new()),
            Some(section) if section.get() == "null" => Ok(Fields::new()),
            Some(section) => raw::fields(section).ok_or_else(|| malformed(&format!("{name} is not an object"))),
        }
    }

    /// Takes over what the list of label rows says and the row itself does not.
    pub(super) fn complete_from(&mut self, listing: &serde_json::Map<String, Value>) {
        for key in FROM_LISTING {
            if let (false, Some(value)) = (self.fields.contains_key(key), listing.get(key)) {
                raw::set(&mut self.fields, key, value);
            }
        }
    }

    /// The row as a save sends it: without what is Encord's own, with dates in the long form, every image with its two
    /// lists, everything else literally as it was read.
    pub fn to_save(&self) -> Result<Box<RawValue>, Error> {
        let mut fields = self.fields.clone();
        fields.retain(|key, _| !READ_ONLY.contains(&key.as_str()));
        for key in ["created_at", "last_edited_at"] {
            if let Some(at) = raw::read::<String>(&fields, key).as_deref().and_then(dates::parse) {
                raw::set(&mut fields, key, &dates::long(at));
            }
        }
        for key in ["object_answers", "classification_answers", "object_actions", "spaces"] {
            if !raw::has(&fields, key) {
                raw::set(&mut fields, key, &Fields::new());
            }
        }
        if self.kind != RowKind::Video {
            raw::set(&mut fields, "data_units", &self.units_with_both_lists()?);
        }
        Ok(raw::written(&fields))
    }

    fn units_with_both_lists(&self) -> Result<Fields, Error> {
        let mut units = self.section("data_units")?;
        for (key, unit) in &mut units {
            let mut fields = raw::fields(unit).ok_or_else(|| malformed(&format!("data_units.{key} is not an object")))?;
            let labels = fields.get("labels").filter(|labels| labels.get() != "null");
            let mut labels = match labels {
                None => Fields::new(),
                Some(labels) => raw::fields(labels).ok_or_else(|| malformed(&format!("data_units.{key}.labels is not an object")))?,
            };
            if raw::has(&labels, "objects") && raw::has(&labels, "classifications") {
                continue;
            }
            for list in ["objects", "classifications"] {
                if !raw::has(&labels, list) {
                    raw::set(&mut labels, list, &[(); 0]);
                }
            }
            raw::set(&mut fields, "labels", &labels);
            *unit = raw::written(&fields);
        }
        Ok(units)
    }
}

/// A data type with no single picture to show.
pub(super) fn unsupported_type(data_type: &str) -> Error {
    let shown: String = data_type.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(32).collect();
    Error::Unsupported { what: format!("data type {}", shown.to_ascii_lowercase()) }
}

pub(super) fn malformed(cause: &str) -> Error {
    Error::Malformed { action: "read the label row", cause: cause.to_owned() }
}
