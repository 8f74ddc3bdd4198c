//! The chat completion request as OpenAI publishes it: what is not valid against it is refused by every stand-in.

use std::sync::LazyLock;

use serde_json::Value;

static FORM: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
    let published = include_str!("../../data/openai-chat-request.json");
    let schema: Value = serde_json::from_str(published).expect("the published schema is JSON");
    jsonschema::draft202012::new(&schema).expect("the published schema is a schema")
});

/// `Err` names the place.
pub fn check(body: &Value) -> Result<(), String> {
    FORM.validate(body).map_err(|error| format!("the request is not as OpenAI publishes it: {error} at {}", error.instance_path()))
}
