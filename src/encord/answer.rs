//! The door between a model's answer and a label row: which attributes were answered, and how.

use serde::{Deserialize, Serialize};

use crate::ids::FeatureNodeHash;

/// One classification, or one object's attributes, answered. Valid against the ontology it was made for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Feature node hash of the classification or object class.
    pub feature: FeatureNodeHash,
    /// Answered attributes, depth first: the root attribute, then those that hang under its chosen option.
    pub attributes: Vec<AttributeAnswer>,
}

/// One attribute and its value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttributeAnswer {
    /// The attribute's feature node hash.
    pub attribute: FeatureNodeHash,
    /// What was answered.
    pub value: AnswerValue,
}

/// The value of an attribute, by the attribute's kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerValue {
    /// Free text.
    Text(String),
    /// A number.
    Number(serde_json::Number),
    /// The one chosen option of a radio.
    Choice(FeatureNodeHash),
    /// The ticked options of a checklist, in ontology order; may be none.
    Choices(Vec<FeatureNodeHash>),
}
