//! Puts an answer into a row: at most one instance of a classification on a frame, nobody else's work touched.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::ids::FeatureNodeHash;

use super::frames::Ranges;
use super::label_row::{LabelRow, malformed};
use super::prepared::{PreparedAnswer, Target};
use super::raw::{self, Fields};
use super::state::{Answers, Fingerprint, add_answer, prepared_answers};
use super::{Error, dates};

/// What merging came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merged {
    /// The frame had no answer of its own to this; now it has.
    Added,
    /// The frame's own answer was replaced in place.
    Replaced,
    /// The row holds this very answer already; it is unchanged and need not be saved.
    AlreadyThere,
}

/// An answer that a row holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExistingAnswer {
    /// The classification instance.
    pub hash: String,
    /// It holds for more frames than the one asked about.
    pub wider: bool,
}

/// A classification instance within the row.
struct Instance {
    key: String,
    fields: Fields,
    place: Place,
}

enum Place {
    /// On these frames, and whether the answer itself says so.
    Frames { ranges: Ranges, written: bool },
    /// On no frame: a classification of the whole item.
    Item,
}

impl Instance {
    fn covers(&self, frame: u64) -> bool {
        match &self.place {
            Place::Frames { ranges, .. } => ranges.contains(frame),
            Place::Item => true,
        }
    }

    fn is_on(&self, frame: u64) -> bool {
        matches!(&self.place, Place::Frames { ranges, .. } if ranges.contains(frame))
    }

    fn is_only_on(&self, frame: u64) -> bool {
        matches!(&self.place, Place::Frames { ranges, .. } if ranges.is_only(frame))
    }

    fn answers(&self) -> Answers {
        let entries = self.fields.get("classifications").and_then(|list| raw::items(list)).unwrap_or_default();
        let mut answers = Answers::new();
        entries.into_iter().filter_map(raw::fields).for_each(|entry| add_answer(&mut answers, &entry));
        answers
    }
}

impl LabelRow {
    /// The answer to a classification that a frame has, if any. An instance all of whose attributes are unset, as the
    /// label editor leaves them behind, is none.
    pub fn answer_on(&self, feature: &FeatureNodeHash, frame: u64) -> Result<Option<ExistingAnswer>, Error> {
        let answers = self.section("classification_answers")?;
        let found = self
            .instances(&answers, feature)?
            .into_iter()
            .find(|instance| instance.covers(frame) && !instance.answers().is_empty())
            .map(|instance| ExistingAnswer { wider: !instance.is_only_on(frame), hash: instance.key });
        Ok(found)
    }

    /// What a person could change under the model's hands: the answers to these classifications that hold on a frame.
    pub fn fingerprint(&self, features: &[FeatureNodeHash], frame: u64) -> Result<Fingerprint, Error> {
        let answers = self.section("classification_answers")?;
        let mut state = BTreeMap::new();
        for feature in features {
            for instance in self.instances(&answers, feature)? {
                let given = instance.answers();
                if instance.covers(frame) && !given.is_empty() {
                    state.insert(instance.key.clone(), (feature.as_str(), instance.is_only_on(frame), given));
                }
            }
        }
        Ok(Fingerprint::of(&state))
    }

    /// What stands in an answer's place: as [`LabelRow::fingerprint`] for a classification, and for an object whether it
    /// is on the frame and what is answered about the same attributes.
    pub fn state_for(&self, answer: &PreparedAnswer, frame: u64) -> Result<Fingerprint, Error> {
        let Target::Object { hash, .. } = &answer.target else {
            return self.fingerprint(std::slice::from_ref(&answer.feature), frame);
        };
        let drawn = self.objects_on(frame)?.iter().any(|object| object.hash == *hash);
        let mut state = self.object_state(hash, frame)?;
        state.retain(|attribute, _| answer.speaks_about(attribute));
        Ok(Fingerprint::of(&(drawn, state)))
    }

    /// Whether the row holds this very answer already: a save of it went through, though its confirmation may not have.
    pub fn holds(&self, answer: &PreparedAnswer, frame: u64) -> Result<bool, Error> {
        let (hash, global) = match &answer.target {
            Target::Object { hash, .. } => return self.object_holds(answer, hash, frame),
            Target::Classification { hash, global } => (hash, global),
        };
        let answers = self.section("classification_answers")?;
        let wanted = prepared_answers(answer);
        let instances = self.instances(&answers, &answer.feature)?;
        Ok(instances.iter().any(|instance| {
            let (here, alone) = if *global { (true, true) } else { (instance.is_on(frame), instance.is_only_on(frame)) };
            here && instance.answers() == wanted && (instance.key == *hash || alone && was_saved(&instance.fields, answer))
        }))
    }

    /// Merges an answer. Merging it twice is the same as merging it once.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the part of the row that the answer belongs to is not understood;
    /// [`Error::FrameOutOfRange`] for a frame that the row does not have.
    pub fn merge(&mut self, answer: &PreparedAnswer, frame: u64) -> Result<Merged, Error> {
        self.check_frame(frame)?;
        if self.holds(answer, frame)? {
            return Ok(Merged::AlreadyThere);
        }
        match &answer.target {
            Target::Classification { hash, global: false } => self.merge_on_frame(answer, hash, frame),
            Target::Classification { hash, global: true } => self.merge_on_item(answer, hash),
            Target::Object { hash, .. } => self.merge_into_object(answer, hash, frame),
        }
    }

    fn merge_on_frame(&mut self, answer: &PreparedAnswer, hash: &str, frame: u64) -> Result<Merged, Error> {
        let mut answers = self.section("classification_answers")?;
        let here: Vec<Instance> = self.instances(&answers, &answer.feature)?.into_iter().filter(|instance| instance.is_on(frame)).collect();
        let touched: Vec<String> = here.iter().map(|instance| instance.key.clone()).collect();
        let mut replaced = false;
        for mut instance in here {
            let Place::Frames { ranges, written } = &instance.place else { continue };
            if !ranges.is_only(frame) {
                raw::set(&mut instance.fields, "range", &ranges.without(frame));
            } else if replaced {
                // A second answer for this frame alone can only be a leftover: the editor shows one.
                answers.shift_remove(&instance.key);
                continue;
            } else {
                if !written {
                    raw::set(&mut instance.fields, "range", ranges);
                }
                overwrite(&mut instance.fields, answer);
                replaced = true;
            }
            answers.insert(instance.key, raw::written(&instance.fields));
        }
        if !replaced {
            let hash = free_hash(&answers, hash);
            answers.insert(hash.clone(), new_instance(answer, &hash, &Ranges::only(frame)));
        }
        raw::set(&mut self.fields, "classification_answers", &answers);
        self.remove_frame_entries(&touched, frame)?;
        Ok(if replaced { Merged::Replaced } else { Merged::Added })
    }

    fn merge_on_item(&mut self, answer: &PreparedAnswer, hash: &str) -> Result<Merged, Error> {
        let mut answers = self.section("classification_answers")?;
        let mut instances = self.instances(&answers, &answer.feature)?.into_iter();
        let first = instances.next();
        for surplus in instances {
            answers.shift_remove(&surplus.key);
        }
        let merged = match first {
            Some(mut instance) => {
                raw::set(&mut instance.fields, "range", &Ranges::default());
                overwrite(&mut instance.fields, answer);
                answers.insert(instance.key, raw::written(&instance.fields));
                Merged::Replaced
            }
            None => {
                let hash = free_hash(&answers, hash);
                answers.insert(hash.clone(), new_instance(answer, &hash, &Ranges::default()));
                Merged::Added
            }
        };
        raw::set(&mut self.fields, "classification_answers", &answers);
        Ok(merged)
    }

    /// The instances of a classification, with what only frame entries say about them filled in.
    fn instances(&self, answers: &Fields, feature: &FeatureNodeHash) -> Result<Vec<Instance>, Error> {
        let mut placed = None;
        let mut found = Vec::new();
        for (key, instance) in answers {
            let Some(mut fields) = raw::fields(instance) else { continue };
            let written = raw::has(&fields, "range");
            if !written || !raw::has(&fields, "featureHash") {
                let entries = match &mut placed {
                    Some(entries) => entries,
                    None => placed.insert(self.frame_entries()?),
                };
                if let Some(entries) = entries.get(key) {
                    complete(&mut fields, &entries.first);
                }
            }
            if raw::read::<String>(&fields, "featureHash").as_deref() != Some(feature.as_str()) {
                continue;
            }
            let ranges = match fields.get("range").filter(|_| written) {
                Some(range) => Ranges::parse(range.get())
                    .ok_or_else(|| malformed(&format!("classification_answers.{key}.range is not a list of ranges")))?,
                None => placed.as_ref().and_then(|entries| entries.get(key)).map(super::frame_entries::Placed::ranges).unwrap_or_default(),
            };
            // Without a range and on no frame it is a leftover; an empty range is how an answer for the whole item is written.
            let place = if written && ranges.is_empty() { Place::Item } else { Place::Frames { ranges, written } };
            found.push(Instance { key: key.clone(), fields, place });
        }
        Ok(found)
    }
}

/// Gives an old answer what stands only in its frame entry.
fn complete(fields: &mut Fields, entry: &Fields) {
    for key in ["featureHash", "createdBy", "createdAt", "lastEditedBy", "lastEditedAt", "confidence", "manualAnnotation"] {
        if let (false, Some(value)) = (raw::has(fields, key), entry.get(key)) {
            fields.insert(key.to_owned(), value.clone());
        }
    }
}

/// Puts a new answer into an instance; who made the instance, and when, stays.
fn overwrite(fields: &mut Fields, answer: &PreparedAnswer) {
    raw::set(fields, "classifications", &entries(answer));
    raw::set(fields, "lastEditedBy", &Value::Null);
    raw::set(fields, "lastEditedAt", &answer.created);
    raw::set(fields, "confidence", &answer.confidence);
    raw::set(fields, "manualAnnotation", &false);
}

/// A new instance, its fields in the SDK's order. Encord fills in the key's user for the missing names.
fn new_instance(answer: &PreparedAnswer, hash: &str, ranges: &Ranges) -> Box<RawValue> {
    let mut fields = Fields::new();
    raw::set(&mut fields, "classifications", &entries(answer));
    raw::set(&mut fields, "classificationHash", hash);
    raw::set(&mut fields, "featureHash", &answer.feature);
    raw::set(&mut fields, "spaces", &Fields::new());
    raw::set(&mut fields, "range", ranges);
    raw::set(&mut fields, "createdBy", &Value::Null);
    raw::set(&mut fields, "createdAt", &answer.created);
    raw::set(&mut fields, "lastEditedBy", &Value::Null);
    raw::set(&mut fields, "lastEditedAt", &answer.created);
    raw::set(&mut fields, "confidence", &answer.confidence);
    raw::set(&mut fields, "manualAnnotation", &false);
    raw::written(&fields)
}

fn entries(answer: &PreparedAnswer) -> Vec<&Value> {
    answer.entries.iter().map(|entry| &entry.json).collect()
}

/// Whether an instance with the right answers got them from this very save: the model's mark is on it, and it is not older.
fn was_saved(fields: &Fields, answer: &PreparedAnswer) -> bool {
    let edited = raw::read::<String>(fields, "lastEditedAt").as_deref().and_then(dates::parse);
    raw::read::<bool>(fields, "manualAnnotation") == Some(false)
        && raw::read::<f64>(fields, "confidence") == Some(answer.confidence)
        && edited.is_some_and(|edited| Some(edited) >= dates::parse(&answer.created))
}

/// The wanted hash, or one made from it when a row has it for something else: the same one each time.
fn free_hash(answers: &Fields, wanted: &str) -> String {
    let mut hash = wanted.to_owned();
    while answers.contains_key(&hash) {
        hash = BASE64.encode(&Sha256::digest(&hash)[..6]);
    }
    hash
}
