//! Ontologies to ask about.

use crate::encord::ontology::{Attribute, AttributeKind, Choice, Classification};
use crate::ids::FeatureNodeHash;

fn hash(text: &str) -> FeatureNodeHash {
    FeatureNodeHash::new(text)
}

pub(super) fn attribute(id: &str, name: &str, kind: AttributeKind) -> Attribute {
    Attribute { hash: hash(id), name: name.into(), required: false, archived: false, dynamic: false, kind }
}

pub(super) fn choice(id: &str, label: &str, attributes: Vec<Attribute>) -> Choice {
    let value = label.to_lowercase().replace(' ', "_");
    Choice { hash: hash(id), label: label.into(), value, archived: false, attributes }
}

pub(super) fn required(mut attribute: Attribute) -> Attribute {
    attribute.required = true;
    attribute
}

pub(super) fn classification(attribute: Attribute) -> Classification {
    Classification { hash: hash(&format!("c-{}", attribute.hash)), global: false, attribute }
}

/// What most people begin with: one free text.
pub(super) fn description() -> Vec<Classification> {
    vec![classification(required(attribute("text", "Scene description", AttributeKind::Text)))]
}

/// All kinds of attributes, nested.
pub(super) fn driving() -> Vec<Classification> {
    let intensity = attribute(
        "intensity",
        "Rain intensity",
        AttributeKind::Radio(vec![choice("light", "Light", vec![]), choice("heavy", "Heavy", vec![])]),
    );
    let depth = required(attribute("depth", "Snow depth", AttributeKind::Numeric));
    let weather = attribute(
        "weather",
        "Weather",
        AttributeKind::Radio(vec![
            choice("sunny", "Sunny", vec![]),
            choice("rain", "Rain", vec![intensity]),
            choice("snow", "Snow", vec![depth]),
        ]),
    );
    let hazards = attribute(
        "hazards",
        "Hazards",
        AttributeKind::Checklist(vec![
            choice("ice", "Ice", vec![]),
            choice("debris", "Debris", vec![]),
            choice("works", "Road works", vec![]),
        ]),
    );
    let cars = attribute("cars", "Number of cars", AttributeKind::Numeric);
    vec![
        classification(required(weather)),
        classification(hazards),
        classification(cars),
        classification(attribute("note", "Note", AttributeKind::Text)),
    ]
}

/// One radio with `count` options.
pub(super) fn many_options(count: usize) -> Vec<Classification> {
    let options = (0..count).map(|number| choice(&format!("o{number}"), &format!("Species number {number}"), vec![])).collect();
    vec![classification(attribute("species", "Species", AttributeKind::Radio(options)))]
}
