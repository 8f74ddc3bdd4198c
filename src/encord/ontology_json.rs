//! Reads an ontology from Encord's JSON, tolerant of what it does not know.

use serde::{Deserialize, Deserializer};

use crate::ids::FeatureNodeHash;

use super::Error;
use super::envelope::read_json;
use super::ontology::{Attribute, AttributeKind, Choice, Classification, ObjectClass, Ontology};

impl Ontology {
    /// Reads the structure `{"objects": […], "classifications": […]}`. Unknown fields are ignored; an attribute of an
    /// unknown type is left out, and with it a classification that has no other.
    ///
    /// # Errors
    /// [`Error::Malformed`] with the path of what is missing or of the wrong type.
    pub fn from_json(editor: &str) -> Result<Self, Error> {
        let raw: RawOntology = read_json(editor).map_err(|cause| Error::Malformed { action: "read the ontology", cause })?;
        Ok(Self {
            objects: raw.objects.into_iter().map(ObjectClass::from).collect(),
            classifications: raw.classifications.into_iter().filter_map(RawClassification::known).collect(),
        })
    }

    /// Whether it asks for nothing at all.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.classifications.is_empty()
    }
}

#[derive(Deserialize)]
struct RawOntology {
    objects: Vec<RawObject>,
    classifications: Vec<RawClassification>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawObject {
    feature_node_hash: FeatureNodeHash,
    name: String,
    shape: String,
    #[serde(default, deserialize_with = "or_default")]
    archived: bool,
    #[serde(default, deserialize_with = "or_default")]
    attributes: Vec<RawAttribute>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawClassification {
    feature_node_hash: FeatureNodeHash,
    level: Option<String>,
    attributes: Vec<RawAttribute>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawAttribute {
    feature_node_hash: FeatureNodeHash,
    name: String,
    r#type: String,
    #[serde(default, deserialize_with = "or_default")]
    required: bool,
    #[serde(default, deserialize_with = "or_default")]
    dynamic: bool,
    #[serde(default, deserialize_with = "or_default")]
    archived: bool,
    #[serde(default, deserialize_with = "or_default")]
    options: Vec<RawOption>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawOption {
    feature_node_hash: FeatureNodeHash,
    label: String,
    value: String,
    #[serde(default, deserialize_with = "or_default")]
    archived: bool,
    /// Nested attributes, though the key does not say so.
    #[serde(default, deserialize_with = "or_default")]
    options: Vec<RawAttribute>,
}

/// `null` counts as absent.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl From<RawObject> for ObjectClass {
    fn from(raw: RawObject) -> Self {
        Self {
            hash: raw.feature_node_hash,
            name: raw.name,
            shape: raw.shape,
            archived: raw.archived,
            attributes: known_attributes(raw.attributes),
        }
    }
}

impl RawClassification {
    fn known(self) -> Option<Classification> {
        let global = self.level.as_deref() == Some("global");
        let attribute = known_attributes(self.attributes).into_iter().next()?;
        Some(Classification { hash: self.feature_node_hash, global, attribute })
    }
}

fn known_attributes(raw: Vec<RawAttribute>) -> Vec<Attribute> {
    raw.into_iter().filter_map(RawAttribute::known).collect()
}

impl RawAttribute {
    fn known(self) -> Option<Attribute> {
        let choices = |options: Vec<RawOption>| options.into_iter().map(Choice::from).collect();
        let kind = match self.r#type.as_str() {
            "text" => AttributeKind::Text,
            "numeric" => AttributeKind::Numeric,
            "radio" => AttributeKind::Radio(choices(self.options)),
            "checklist" => AttributeKind::Checklist(choices(self.options)),
            _ => return None,
        };
        Some(Attribute {
            hash: self.feature_node_hash,
            name: self.name,
            required: self.required,
            archived: self.archived,
            dynamic: self.dynamic,
            kind,
        })
    }
}

impl From<RawOption> for Choice {
    fn from(raw: RawOption) -> Self {
        Self {
            hash: raw.feature_node_hash,
            label: raw.label,
            value: raw.value,
            archived: raw.archived,
            attributes: known_attributes(raw.options),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_attributes_flags_and_levels_are_read() {
        let ontology = Ontology::from_json(
            r##"{"objects": [{"id": "1", "name": "Car", "color": "#fff", "shape": "bounding_box", "featureNodeHash": "aa/+bb11",
                 "attributes": [{"id": "1.1", "name": "Moving", "type": "radio", "featureNodeHash": "a1", "required": true, "dynamic": true,
                   "options": [{"id": "1.1.1", "label": "Yes", "value": "yes", "featureNodeHash": "o1"}]}]}],
               "classifications": [
                 {"id": "1", "featureNodeHash": "c1", "level": "global", "attributes": [{"id": "1.1", "name": "Weather", "type": "radio",
                   "featureNodeHash": "a2", "required": false, "options": [{"id": "1.1.1", "label": "Rain", "value": "wet", "archived": true,
                     "featureNodeHash": "o2", "options": [{"id": "1.1.1.1", "name": "How much", "type": "numeric", "featureNodeHash": "a3", "required": null}]}]}]},
                 {"id": "2", "featureNodeHash": "c2", "attributes": [{"id": "2.1", "name": "?", "type": "hologram", "featureNodeHash": "a4"}]}],
               "skeleton_templates": [{"template": {}}]}"##,
        )
        .unwrap();
        assert!(ontology.objects[0].attributes[0].dynamic && ontology.objects[0].attributes[0].required);
        assert_eq!(ontology.classifications.len(), 1, "a classification of an unknown type cannot be answered");
        let weather = &ontology.classifications[0];
        assert!(weather.global);
        assert_eq!(weather.title(), "Weather");
        let AttributeKind::Radio(choices) = &weather.attribute.kind else { panic!("{weather:?}") };
        assert!(choices[0].archived);
        assert_eq!((choices[0].label.as_str(), choices[0].value.as_str()), ("Rain", "wet"));
        assert_eq!(choices[0].attributes[0].kind, AttributeKind::Numeric);
    }

    #[test]
    fn what_is_missing_is_named_with_its_path() {
        let error = Ontology::from_json(r#"{"objects": [], "classifications": [{"featureNodeHash": "c", "attributes": [{"name": 3}]}]}"#);
        assert!(error.unwrap_err().to_string().contains("classifications[0].attributes[0].name"));
        assert!(Ontology::from_json(r#"{"objects": []}"#).is_err());
    }
}
