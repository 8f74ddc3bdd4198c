//! What a save must satisfy before it replaces a label row.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::{Iso8601, Rfc2822};

use super::rows::READ_ONLY;
use super::store::{Content, Item};
use super::v1::Refusal;

type Checked<T = ()> = Result<T, Refusal>;

fn invalid(reason: impl Into<String>) -> Refusal {
    Refusal::because(400, "INVALID_ARGUMENTS_ERROR", reason)
}

fn corrupted(reason: impl Into<String>) -> Refusal {
    Refusal::because(400, "CORRUPTED_LABEL_ERROR", reason)
}

fn no_feature(reason: impl Into<String>) -> Refusal {
    Refusal::because(400, "FEATURE_DOES_NOT_EXIST_ERROR", reason)
}

const ROW_KEYS: [&str; 15] = [
    "label_hash",
    "branch_name",
    "created_at",
    "last_edited_at",
    "data_hash",
    "dataset_hash",
    "dataset_title",
    "data_title",
    "data_type",
    "object_answers",
    "classification_answers",
    "object_actions",
    "label_status",
    "data_units",
    "spaces",
];
const UNIT_KEYS: [&str; 8] = ["data_hash", "data_title", "data_link", "data_type", "data_sequence", "width", "height", "labels"];

/// Refuses a label that the row must not be replaced by. Returns remarks on what is taken but odd.
pub(super) fn label(label: &Value, stored: &Value, item: &Item, ontology: &Value) -> Checked<Vec<String>> {
    let mut remarks = Vec::new();
    if !label.is_object() {
        return Err(invalid("a label is an object"));
    }
    if let Some(missing) = ROW_KEYS.iter().find(|key| label.get(**key).is_none()) {
        return Err(invalid(format!("the label lacks {missing}")));
    }
    for key in ["data_hash", "dataset_hash", "branch_name", "data_type"] {
        if label[key] != stored[key] {
            return Err(invalid(format!("{key} is {}, the row has {}", label[key], stored[key])));
        }
    }
    for key in ["created_at", "last_edited_at"] {
        date(&label[key])?;
    }
    remarks.extend(READ_ONLY.iter().filter(|key| label.get(**key).is_some()).map(|key| format!("read-only field {key} was sent")));
    units(label, stored, item)?;
    let features = Features::of(ontology);
    let frames = frame_entries(label, item)?;
    objects(label, &frames, &features)?;
    classifications(label, &frames, item, &features, &mut remarks)?;
    Ok(remarks)
}

fn units(label: &Value, stored: &Value, item: &Item) -> Checked {
    let keys = |value: &Value| -> HashSet<String> { value.as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect() };
    if keys(&label["data_units"]) != keys(&stored["data_units"]) {
        return Err(invalid("data_units are not those of the row"));
    }
    for (hash, unit) in label["data_units"].as_object().into_iter().flatten() {
        if let Some(missing) = UNIT_KEYS.iter().find(|key| unit.get(**key).is_none()) {
            return Err(invalid(format!("data unit {hash} lacks {missing}")));
        }
        if unit["data_sequence"].is_string() != matches!(item.content, Content::Group(_)) {
            return Err(invalid("data_sequence is a string in image groups and a number elsewhere"));
        }
        if unit["data_link"].as_str().is_some_and(|link| link.contains("sig=")) {
            return Err(invalid("data_link is a signed link: it would be kept in the row and expire there"));
        }
    }
    Ok(())
}

/// Object and classification entries by frame.
struct Entries<'a> {
    objects: Vec<(u64, &'a Value)>,
    classifications: Vec<(u64, &'a Value)>,
}

fn frame_entries<'a>(label: &'a Value, item: &Item) -> Checked<Entries<'a>> {
    let mut entries = Entries { objects: Vec::new(), classifications: Vec::new() };
    for unit in label["data_units"].as_object().into_iter().flatten().map(|(_, unit)| unit) {
        let labels = unit["labels"].as_object().ok_or_else(|| invalid("labels of a data unit is not an object"))?;
        let frames: Vec<(u64, &Value)> = if matches!(item.content, Content::Video(_)) {
            let numbered = labels.iter().map(|(frame, entry)| frame.parse().map(|frame| (frame, entry)));
            numbered.collect::<Result<_, _>>().map_err(|_| invalid("a key of labels is no frame number"))?
        } else if labels.is_empty() {
            Vec::new()
        } else {
            let sequence = unit["data_sequence"].as_str().map_or(Ok(0), str::parse).map_err(|_| invalid("data_sequence is no number"))?;
            vec![(sequence, &unit["labels"])]
        };
        for (frame, entry) in frames {
            if frame >= item.frames() {
                return Err(invalid(format!("frame {frame} is beyond the last, {}", item.frames() - 1)));
            }
            let list = |key: &str| entry[key].as_array().ok_or_else(|| invalid(format!("frame {frame} lacks the list {key}")));
            entries.objects.extend(list("objects")?.iter().map(|object| (frame, object)));
            entries.classifications.extend(list("classifications")?.iter().map(|entry| (frame, entry)));
        }
    }
    Ok(entries)
}

fn objects(label: &Value, frames: &Entries<'_>, features: &Features<'_>) -> Checked {
    for (frame, object) in &frames.objects {
        let hash = object["objectHash"].as_str().unwrap_or_default();
        if label["object_answers"].get(hash).is_none() {
            return Err(Refusal::because(400, "ANSWER_DICTIONARY_ERROR", format!("object {hash} of frame {frame} has no object answer")));
        }
        let feature = object["featureHash"].as_str().unwrap_or_default();
        if !features.objects.contains(feature) {
            return Err(no_feature(format!("no object class {feature}")));
        }
    }
    Ok(())
}

fn classifications(label: &Value, frames: &Entries<'_>, item: &Item, features: &Features<'_>, remarks: &mut Vec<String>) -> Checked {
    let answers = label["classification_answers"].as_object().ok_or_else(|| invalid("classification_answers is not an object"))?;
    for (frame, entry) in &frames.classifications {
        let hash = entry["classificationHash"].as_str().unwrap_or_default();
        if !answers.contains_key(hash) {
            let reason = format!("classification {hash} of frame {frame} has no answer");
            return Err(Refusal::because(400, "ANSWER_DICTIONARY_ERROR", reason));
        }
    }
    // Feature → frames taken, to find two instances on one frame.
    let mut taken: HashMap<&str, Vec<(u64, u64)>> = HashMap::new();
    for (hash, answer) in answers {
        if answer["classificationHash"].as_str() != Some(hash) || hash.len() != 8 {
            return Err(corrupted(format!("classification answer {hash} does not carry its own hash of 8 characters")));
        }
        let feature = answer["featureHash"].as_str().unwrap_or_default();
        let classification = features.classifications.get(feature).ok_or_else(|| no_feature(format!("no classification {feature}")))?;
        let global = classification["level"] == "global";
        if global && answer["range"].as_array().is_some_and(|range| !range.is_empty()) {
            remarks.push(format!("global classification {hash} has a range"));
        }
        for (first, last) in ranges(hash, answer, frames, item, global)? {
            let others = taken.entry(feature).or_default();
            if others.iter().any(|&(from, to)| first <= to && from <= last) {
                return Err(corrupted(format!("two answers to {feature} on one frame")));
            }
            others.push((first, last));
        }
        if let Some(confidence) = answer.get("confidence")
            && !confidence.as_f64().is_some_and(|value| (0.0..=1.0).contains(&value))
        {
            return Err(invalid(format!("confidence {confidence} is not between 0 and 1")));
        }
        for key in ["createdAt", "lastEditedAt"] {
            if let Some(value) = answer.get(key) {
                date(value)?;
            }
        }
        attributes(hash, answer, features, feature, remarks)?;
    }
    Ok(())
}

fn ranges(hash: &str, answer: &Value, frames: &Entries<'_>, item: &Item, global: bool) -> Checked<Vec<(u64, u64)>> {
    let Some(listed) = answer.get("range").filter(|range| !range.is_null()) else {
        // Older clients place an answer by the entries of the frames alone.
        let placed = frames.classifications.iter().filter(|(_, entry)| entry["classificationHash"] == hash);
        return Ok(placed.map(|&(frame, _)| (frame, frame)).collect());
    };
    let pair = |pair: &Value| match (pair[0].as_u64(), pair[1].as_u64(), pair.as_array().map(Vec::len)) {
        (Some(first), Some(last), Some(2)) if first <= last && last < item.frames() => Ok((first, last)),
        _ => Err(invalid(format!("range {pair} of {hash} is not [first, last] within {} frames", item.frames()))),
    };
    let list = listed.as_array().ok_or_else(|| invalid(format!("range of {hash} is not a list")))?;
    let list: Vec<(u64, u64)> = list.iter().map(pair).collect::<Result<_, _>>()?;
    if list.is_empty() && !global {
        return Err(invalid(format!("classification {hash} is on no frame")));
    }
    Ok(list)
}

fn attributes(hash: &str, answer: &Value, features: &Features<'_>, feature: &str, remarks: &mut Vec<String>) -> Checked {
    let list = answer["classifications"].as_array().ok_or_else(|| corrupted(format!("{hash} has no list of classifications")))?;
    let mut seen = HashSet::new();
    let chosen: HashSet<&str> =
        list.iter().filter_map(|entry| entry["answers"].as_array()).flatten().filter_map(|option| option["featureHash"].as_str()).collect();
    for entry in list {
        let attribute_hash = entry["featureHash"].as_str().unwrap_or_default();
        let attribute = features
            .attributes
            .get(attribute_hash)
            .filter(|attribute| attribute.owner == feature)
            .ok_or_else(|| no_feature(format!("no attribute {attribute_hash} in classification {feature}")))?;
        if !seen.insert(attribute_hash) {
            return Err(corrupted(format!("attribute {attribute_hash} is answered twice in {hash}")));
        }
        if let Some(option) = attribute.under
            && !chosen.contains(option)
        {
            return Err(corrupted(format!("attribute {attribute_hash} is answered, but its option {option} is not chosen")));
        }
        if entry["name"] != attribute.json["name"] {
            remarks.push(format!("attribute {attribute_hash} is called {}, the ontology has {}", entry["name"], attribute.json["name"]));
        }
        value(attribute_hash, &entry["answers"], attribute.json)?;
    }
    Ok(())
}

fn value(hash: &str, answers: &Value, attribute: &Value) -> Checked {
    let wrong = |what: &str| Err(invalid(format!("answer {answers} of attribute {hash} is not {what}")));
    let kind = attribute["type"].as_str().unwrap_or_default();
    match kind {
        "text" if answers.is_string() => Ok(()),
        "text" => wrong("a text"),
        "numeric" if answers.is_number() => Ok(()),
        "numeric" => wrong("a number"),
        _ => {
            let Some(list) = answers.as_array() else { return wrong("a list of options") };
            if kind == "radio" && list.len() > 1 {
                return wrong("one option");
            }
            let options = attribute["options"].as_array().map(Vec::as_slice).unwrap_or_default();
            for answer in list {
                let Some(option) = options.iter().find(|option| option["featureNodeHash"] == answer["featureHash"]) else {
                    return Err(no_feature(format!("no option {} in attribute {hash}", answer["featureHash"])));
                };
                if answer["value"] != option["value"] || answer["name"] != option["label"] {
                    return Err(invalid(format!("option {answer} does not carry the label and value of the ontology")));
                }
            }
            Ok(())
        }
    }
}

/// An attribute with the option it hangs under, if any, and the classification it belongs to.
struct Attribute<'a> {
    json: &'a Value,
    under: Option<&'a str>,
    owner: &'a str,
}

struct Features<'a> {
    objects: HashSet<&'a str>,
    classifications: HashMap<&'a str, &'a Value>,
    attributes: HashMap<&'a str, Attribute<'a>>,
}

impl<'a> Features<'a> {
    fn of(ontology: &'a Value) -> Self {
        let hash = |node: &'a Value| node["featureNodeHash"].as_str().unwrap_or_default();
        let list = |key: &str| ontology[key].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut features = Self {
            objects: list("objects").iter().map(hash).collect(),
            classifications: list("classifications").iter().map(|node| (hash(node), node)).collect(),
            attributes: HashMap::new(),
        };
        for classification in list("classifications") {
            features.collect(&classification["attributes"], None, hash(classification));
        }
        features
    }

    fn collect(&mut self, attributes: &'a Value, under: Option<&'a str>, owner: &'a str) {
        for json in attributes.as_array().into_iter().flatten() {
            let hash = json["featureNodeHash"].as_str().unwrap_or_default();
            self.attributes.insert(hash, Attribute { json, under, owner });
            for option in json["options"].as_array().into_iter().flatten() {
                self.collect(&option["options"], option["featureNodeHash"].as_str(), owner);
            }
        }
    }
}

/// The forms in which dates are read: long with UTC or GMT, `YYYY-MM-DD HH:MM:SS`, ISO 8601.
fn date(value: &Value) -> Checked {
    let text = value.as_str().unwrap_or_default();
    let long = text.replace("UTC", "GMT");
    let iso = text.replacen(' ', "T", 1);
    let read = OffsetDateTime::parse(&long, &Rfc2822).is_ok()
        || time::PrimitiveDateTime::parse(&iso, &Iso8601::DEFAULT).is_ok()
        || OffsetDateTime::parse(&iso, &Iso8601::DEFAULT).is_ok();
    if read { Ok(()) } else { Err(Refusal::because(400, "INVALID_DATE_FORMAT_ERROR", format!("{value} is no date"))) }
}
