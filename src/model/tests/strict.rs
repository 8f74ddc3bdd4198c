//! OpenAI's published rules for schemas in strict mode, as a checker.

use serde_json::Value;

const KEYWORDS: [&str; 14] = [
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "enum",
    "const",
    "anyOf",
    "title",
    "description",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
];

#[derive(Default)]
struct Totals {
    properties: usize,
    enum_values: usize,
    characters: usize,
}

/// `Err` names the rule and the place.
pub(super) fn check(schema: &Value) -> Result<(), String> {
    if schema["type"] != "object" || schema.get("anyOf").is_some() {
        return Err("the root must be an object without anyOf".into());
    }
    let mut totals = Totals::default();
    walk(schema, "#", 1, &mut totals)?;
    // The narrower limits of older deployments: 100 properties, 5 levels.
    for (name, found, limit) in
        [("properties", totals.properties, 100), ("enum values", totals.enum_values, 1_000), ("characters", totals.characters, 120_000)]
    {
        if found > limit {
            return Err(format!("{found} {name}, {limit} are allowed"));
        }
    }
    Ok(())
}

fn walk(schema: &Value, place: &str, level: usize, totals: &mut Totals) -> Result<(), String> {
    let object = schema.as_object().ok_or_else(|| format!("{place} is no object"))?;
    if level > 5 {
        return Err(format!("{place} is more than 5 levels deep"));
    }
    if let Some(unknown) = object.keys().find(|key| !KEYWORDS.contains(&key.as_str())) {
        return Err(format!("{place} uses {unknown}"));
    }
    if !object.contains_key("type") && !object.contains_key("anyOf") && !object.contains_key("enum") && !object.contains_key("const") {
        return Err(format!("{place} has no type"));
    }
    if schema["type"] == "object" {
        object_rules(schema, place, level, totals)?;
    }
    if schema["type"] == "array" {
        walk(schema.get("items").ok_or_else(|| format!("{place} has no items"))?, &format!("{place}/items"), level + 1, totals)?;
    }
    for (number, branch) in schema["anyOf"].as_array().into_iter().flatten().enumerate() {
        walk(branch, &format!("{place}/anyOf/{number}"), level, totals)?;
    }
    enum_rules(schema, place, totals)
}

fn object_rules(schema: &Value, place: &str, level: usize, totals: &mut Totals) -> Result<(), String> {
    if schema["additionalProperties"] != Value::Bool(false) {
        return Err(format!("{place} allows additional properties"));
    }
    let properties = schema["properties"].as_object().ok_or_else(|| format!("{place} has no properties"))?;
    let mut names: Vec<&str> = properties.keys().map(String::as_str).collect();
    let mut required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    names.sort_unstable();
    required.sort_unstable();
    if names != required {
        return Err(format!("{place} does not require all of its properties"));
    }
    for (name, property) in properties {
        if name.is_empty() || name.len() > 64 || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
            return Err(format!("{place} has a property named {name:?}"));
        }
        totals.properties += 1;
        totals.characters += name.len();
        walk(property, &format!("{place}/{name}"), level + 1, totals)?;
    }
    Ok(())
}

fn enum_rules(schema: &Value, place: &str, totals: &mut Totals) -> Result<(), String> {
    let Some(values) = schema.get("enum") else { return Ok(()) };
    let values = values.as_array().filter(|values| !values.is_empty()).ok_or_else(|| format!("{place} has an empty enum"))?;
    let texts: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
    let characters: usize = texts.iter().map(|text| text.chars().count()).sum();
    if values.iter().collect::<std::collections::HashSet<_>>().len() < values.len() {
        return Err(format!("{place} has the same value twice"));
    }
    if texts.iter().any(|text| text.is_empty() || text.contains(|c: char| c.is_control() || matches!(c, '"' | '\\'))) {
        return Err(format!("{place} has an empty value, or one with a quote, backslash or line break"));
    }
    if values.len() > 250 && characters > 15_000 {
        return Err(format!("{place} has {} values of {characters} characters", values.len()));
    }
    totals.enum_values += values.len();
    totals.characters += characters;
    Ok(())
}

#[test]
fn the_checker_refuses_what_openai_refuses() {
    use serde_json::json;
    let object =
        |property: Value| json!({ "type": "object", "properties": { "a": property }, "required": ["a"], "additionalProperties": false });
    assert_eq!(check(&object(json!({ "type": "string" }))), Ok(()));
    assert_eq!(check(&object(json!({ "anyOf": [{ "type": "string", "enum": ["x"] }, { "type": "null" }] }))), Ok(()));
    for wrong in [
        json!({ "type": "array", "items": { "type": "string" } }),
        json!({ "type": "object", "properties": { "a": { "type": "string" } }, "required": [], "additionalProperties": false }),
        json!({ "type": "object", "properties": { "a": { "type": "string" } }, "required": ["a"] }),
        object(json!({ "type": "string", "pattern": "x" })),
        object(json!({ "type": "string", "enum": [] })),
        object(json!({ "type": "string", "enum": ["x", "x"] })),
        object(json!({ "type": "string", "enum": ["12\" wheel"] })),
        object(json!({ "type": "string", "enum": ["a\nb"] })),
        object(json!({ "type": "string", "default": "x" })),
        object(json!({ "oneOf": [{ "type": "string" }] })),
        object(json!({ "description": "anything" })),
        object(object(object(object(object(json!({ "type": "string" })))))),
    ] {
        assert!(check(&wrong).is_err(), "{wrong}");
    }
}
