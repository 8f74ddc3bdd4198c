//! The form of a chat completion request: as OpenAI publishes it, and besides as far as this room uses it and not a key further.

use std::sync::LazyLock;

use serde_json::{Value, json};

static FORM: LazyLock<jsonschema::Validator> = LazyLock::new(|| jsonschema::draft202012::new(&form()).unwrap());

static PUBLISHED: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
    let schema = serde_json::from_str(include_str!("../../../tests/data/openai-chat-request.json")).unwrap();
    jsonschema::draft202012::new(&schema).unwrap()
});

/// Panics, with the place, if `body` is not a request as published.
pub(super) fn check(body: &Value) {
    if let Err(error) = PUBLISHED.validate(body) {
        panic!("OpenAI's schema does not allow the request: {error} at {}", error.instance_path());
    }
    if let Err(error) = FORM.validate(body) {
        panic!("the request has more than this room uses: {error} at {}", error.instance_path());
    }
}

fn object(required: &[&str], properties: Value) -> Value {
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn form() -> Value {
    let text = json!({ "type": "string" });
    let link = json!({ "type": "string", "pattern": "^data:image/(jpeg|png|webp|gif);base64,[A-Za-z0-9+/]+={0,2}$" });
    let image = object(&["url"], json!({ "url": link, "detail": { "enum": ["auto", "low", "high"] } }));
    let part = json!({ "oneOf": [
        object(&["type", "text"], json!({ "type": { "const": "text" }, "text": text })),
        object(&["type", "image_url"], json!({ "type": { "const": "image_url" }, "image_url": image })),
    ] });
    let content = json!({ "oneOf": [text, { "type": "array", "minItems": 1, "items": part }] });
    let message = |role: &str, content: &Value| object(&["role", "content"], json!({ "role": { "const": role }, "content": content }));
    let messages = json!({ "type": "array", "minItems": 1, "items": { "oneOf": [
        message("system", &text), message("user", &content), message("assistant", &text),
    ] } });
    let name = json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$" });
    let schema = json!({ "type": "object", "required": ["type"] });
    let named = object(&["name"], json!({ "name": name, "schema": schema, "strict": { "type": "boolean" } }));
    let function = object(&["name"], json!({ "name": name, "description": text, "parameters": schema }));
    let chosen =
        object(&["type", "function"], json!({ "type": { "const": "function" }, "function": object(&["name"], json!({ "name": name })) }));
    let bound = json!({ "type": "integer", "minimum": 1 });
    object(
        &["model", "messages"],
        json!({
            "model": text,
            "messages": messages,
            "max_completion_tokens": bound,
            "max_tokens": bound,
            "temperature": { "type": "number", "minimum": 0, "maximum": 2 },
            "reasoning_effort": { "enum": ["none", "minimal", "low", "medium", "high"] },
            "response_format": { "oneOf": [
                object(&["type"], json!({ "type": { "const": "json_object" } })),
                object(&["type", "json_schema"], json!({ "type": { "const": "json_schema" }, "json_schema": named })),
            ] },
            "tools": { "type": "array", "minItems": 1, "items": object(&["type", "function"], json!({ "type": { "const": "function" }, "function": function })) },
            "tool_choice": { "oneOf": [{ "enum": ["none", "auto", "required"] }, chosen] },
        }),
    )
}
