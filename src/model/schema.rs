//! The JSON Schema of a sheet: one flat object that every constrained decoder understands.

use serde_json::{Map, Value, json};

use super::choices::Word;
use super::sheet::{Field, Shape, Sheet};

/// The schema's name in a request.
pub(super) const NAME: &str = "annotation";

/// One object with every key required, nothing else allowed, and `null` where a question may stay unanswered. Only
/// keywords are used that OpenAI's strict mode accepts and that local servers are known to enforce.
pub(super) fn schema(sheet: &Sheet) -> Value {
    let mut properties = Map::new();
    for field in &sheet.fields {
        properties.insert(field.key.clone(), property(field));
    }
    let required: Vec<&str> = sheet.fields.iter().map(|field| field.key.as_str()).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn property(field: &Field) -> Value {
    let mut property = Map::new();
    property.insert("title".into(), json!(field.title));
    property.insert("description".into(), json!(describe(field)));
    let one = match &field.shape {
        Shape::Text => json!({ "type": "string" }),
        Shape::Number => json!({ "type": "number" }),
        Shape::Words { words, .. } => {
            let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
            json!({ "type": "string", "enum": texts })
        }
        Shape::Numbered { words, .. } => json!({ "type": "integer", "minimum": 1, "maximum": words.len() }),
    };
    let shape = match field.shape {
        Shape::Words { many: true, .. } | Shape::Numbered { many: true, .. } => json!({ "type": "array", "items": one }),
        _ => one,
    };
    match shape {
        shape if field.nullable => {
            property.insert("anyOf".into(), json!([shape, { "type": "null" }]));
        }
        Value::Object(shape) => property.extend(shape),
        _ => {}
    }
    Value::Object(property)
}

/// What is asked and how it is to be answered, in words; the choices themselves only where a schema cannot hold them.
pub(super) fn describe(field: &Field) -> String {
    let mut text = field.title.clone();
    if let Some(of) = &field.of {
        text.push_str(&format!(" (of: {of})"));
    }
    text.push_str(". ");
    text.push_str(match &field.shape {
        Shape::Text => "Free text.",
        Shape::Number => "A number.",
        Shape::Words { many: false, .. } => "One of the choices.",
        Shape::Words { many: true, .. } => "All choices that apply; an empty list if none does.",
        Shape::Numbered { many: false, .. } => "The number of one of the choices.",
        Shape::Numbered { many: true, .. } => "The numbers of all choices that apply; an empty list if none does.",
    });
    match &field.only_if {
        Some(condition) => {
            let asked = condition.key.as_ref().map_or_else(String::new, |key| format!(" ({key})"));
            text.push_str(&format!(" Only if {}{asked} is \"{}\"", condition.title, condition.choice));
            text.push_str(if condition.key.is_some() { ", otherwise null." } else { ", which it is." });
            text.push_str(" Also null if the picture does not tell.");
        }
        None if field.nullable => text.push_str(" null if the picture does not tell."),
        None => text.push_str(" Empty if the picture does not tell."),
    }
    text.push_str(&legend(&field.shape));
    text
}

fn legend(shape: &Shape) -> String {
    let entries: Vec<String> = match shape {
        Shape::Text | Shape::Number => Vec::new(),
        Shape::Words { words, .. } => {
            words.iter().filter_map(|word| Some(format!("\"{}\": {}", word.text, word.meaning.as_ref()?))).collect()
        }
        Shape::Numbered { words, .. } => {
            words.iter().enumerate().map(|(position, word)| format!("{} = {}", position + 1, spoken(word))).collect()
        }
    };
    if entries.is_empty() { String::new() } else { format!(" {}.", entries.join("; ")) }
}

fn spoken(word: &Word) -> &str {
    word.meaning.as_deref().unwrap_or(&word.text)
}
