//! Answers that come as a stream of events though nobody asked for a stream: some proxies always send one, and some
//! servers tell their errors that way under a good status.

use serde_json::{Map, Value, json};

/// What of a message comes in pieces, as texts to be joined.
const PIECES: [&str; 4] = ["content", "reasoning_content", "reasoning", "refusal"];

/// The events of `body` as the one answer they amount to: the first error among them, or a chat completion put together
/// from its pieces. `None` if it is no stream of events.
pub(super) fn gathered(body: &str) -> Option<Value> {
    let is_field = |line: &&str| ["data:", "event:", "id:", "retry:", ":"].iter().any(|field| line.starts_with(field));
    body.lines().find(|line| !line.trim().is_empty()).filter(is_field)?;
    let mut whole = Map::new();
    let mut message = Map::new();
    let mut arguments = String::new();
    let mut finish = Value::Null;
    for event in body.lines().filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data:")?.trim()).ok()) {
        if event.get("error").is_some_and(|error| !error.is_null()) {
            return Some(event);
        }
        let choice = event.pointer("/choices/0").unwrap_or(&Value::Null);
        // One event may hold the whole message.
        if choice.get("message").is_some_and(Value::is_object) {
            return Some(event);
        }
        for key in PIECES {
            if let Some(piece) = choice.pointer(&format!("/delta/{key}")).and_then(Value::as_str) {
                append(&mut message, key, piece);
            }
        }
        arguments.push_str(choice.pointer("/delta/tool_calls/0/function/arguments").and_then(Value::as_str).unwrap_or_default());
        if let Some(said) = choice.get("finish_reason").filter(|said| !said.is_null()) {
            finish = said.clone();
        }
        for key in ["model", "system_fingerprint", "usage"] {
            if let Some(value) = event.get(key).filter(|value| !value.is_null()) {
                whole.insert(key.into(), value.clone());
            }
        }
    }
    if message.is_empty() && arguments.is_empty() && finish.is_null() {
        return None;
    }
    if !arguments.is_empty() {
        message.insert("tool_calls".into(), json!([{ "function": { "arguments": arguments } }]));
    }
    whole.insert("choices".into(), json!([{ "message": message, "finish_reason": finish }]));
    Some(Value::Object(whole))
}

fn append(message: &mut Map<String, Value>, key: &str, piece: &str) {
    match message.get_mut(key) {
        Some(Value::String(text)) => text.push_str(piece),
        _ => {
            message.insert(key.into(), piece.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(all: &[Value]) -> String {
        all.iter().map(|event| format!("event: message\ndata: {event}\n\n")).collect::<String>() + "data: [DONE]\n\n"
    }

    #[test]
    fn pieces_become_one_message() {
        let delta = |delta: Value, finish: Value| json!({"model": "m", "choices": [{"delta": delta, "finish_reason": finish}]});
        let text = events(&[
            delta(json!({"role": "assistant", "content": ""}), Value::Null),
            delta(json!({"reasoning_content": "hm"}), Value::Null),
            delta(json!({"content": "{\"a\": "}), Value::Null),
            delta(json!({"content": "1}"}), json!("stop")),
            json!({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}),
        ]);
        assert_eq!(
            gathered(&format!(": keep-alive\n\n{text}")).unwrap(),
            json!({"model": "m", "usage": {"prompt_tokens": 3, "completion_tokens": 2},
                "choices": [{"message": {"content": "{\"a\": 1}", "reasoning_content": "hm"}, "finish_reason": "stop"}]})
        );
        let call = |piece: &str| delta(json!({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}), Value::Null);
        let whole = gathered(&events(&[call("{\"a\""), call(": 1}")])).unwrap();
        assert_eq!(whole["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"], "{\"a\": 1}");
    }

    #[test]
    fn an_error_among_the_events_is_the_answer() {
        let error = json!({"error": {"message": "bad grammar", "code": 400}});
        let begun = json!({"choices": [{"delta": {"content": "{"}}]});
        assert_eq!(gathered(&events(&[begun, error.clone()])).unwrap(), error);
    }

    #[test]
    fn what_is_no_stream_of_events_is_left_alone() {
        for text in [
            "",
            "\n",
            "<html>data: {}</html>",
            "{\"choices\": []}",
            "data: [DONE]\n\n",
            "data: not json\n",
            "event: ping\n\n",
            "data: {}\n",
        ] {
            assert_eq!(gathered(text), None, "{text}");
        }
    }
}
