//! An ontology as the agent needs it: classes, attributes and options, archived ones left out by `active_*`.

use crate::ids::FeatureNodeHash;

/// The structure under `editor` of an ontology.
#[derive(Debug, Clone, PartialEq)]
pub struct Ontology {
    /// Object classes.
    pub objects: Vec<ObjectClass>,
    /// Classifications.
    pub classifications: Vec<Classification>,
}

/// A class of objects with a shape.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectClass {
    /// Feature node hash.
    pub hash: FeatureNodeHash,
    /// Name as the annotator sees it.
    pub name: String,
    /// `bounding_box`, `rotatable_bounding_box`, `polygon`, `bitmask`, …
    pub shape: String,
    /// No longer offered to annotators.
    pub archived: bool,
    /// Attributes of each object.
    pub attributes: Vec<Attribute>,
}

/// A classification of a frame or of the whole item. Its title is the name of its root attribute.
#[derive(Debug, Clone, PartialEq)]
pub struct Classification {
    /// Feature node hash.
    pub hash: FeatureNodeHash,
    /// Answered once for the whole item instead of per frame.
    pub global: bool,
    /// The one root attribute.
    pub attribute: Attribute,
}

impl Classification {
    /// The title as the annotator sees it.
    pub fn title(&self) -> &str {
        &self.attribute.name
    }
}

/// A question with its kind of answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Attribute {
    /// Feature node hash.
    pub hash: FeatureNodeHash,
    /// The question as the annotator sees it.
    pub name: String,
    /// An answer is expected.
    pub required: bool,
    /// No longer offered to annotators.
    pub archived: bool,
    /// Answered per frame instead of once (objects only).
    pub dynamic: bool,
    /// What an answer looks like.
    pub kind: AttributeKind,
}

/// What an answer to an attribute looks like.
#[derive(Debug, Clone, PartialEq)]
pub enum AttributeKind {
    /// Free text.
    Text,
    /// A number.
    Numeric,
    /// Exactly one option, each with attributes of its own.
    Radio(Vec<Choice>),
    /// Any number of options.
    Checklist(Vec<Choice>),
}

/// An option of a radio or checklist.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// Feature node hash.
    pub hash: FeatureNodeHash,
    /// As the annotator sees it.
    pub label: String,
    /// As label rows store it; editable, so always copied from here.
    pub value: String,
    /// No longer offered to annotators.
    pub archived: bool,
    /// Attributes asked when a radio's option is chosen.
    pub attributes: Vec<Attribute>,
}

/// What a model is asked to answer at once: a classification, or the attributes of an object class.
#[derive(Debug, Clone)]
pub struct Topic<'a> {
    /// Feature node hash of the classification or object class.
    pub feature: &'a FeatureNodeHash,
    /// Title of the classification, name of the object class.
    pub title: &'a str,
    /// The classification's one root attribute, or the object's attributes that are to be answered.
    pub attributes: Vec<&'a Attribute>,
}

impl<'a> From<&'a Classification> for Topic<'a> {
    fn from(classification: &'a Classification) -> Self {
        Self { feature: &classification.hash, title: classification.title(), attributes: vec![&classification.attribute] }
    }
}
