//! How an answer comes out: the message that carries the JSON, and the body around it.

use serde_json::{Value, json};

use super::super::server::Reply;
use super::quirks::{Dress, Quirks, Wrapping};

/// The message that carries `content`.
pub(super) fn message(body: &Value, dress: Dress, content: &str) -> Value {
    let name = &body["tools"][0]["function"]["name"];
    if dress == Dress::ToolObject || (body.get("tools").is_some() && body["response_format"]["type"].as_str() != Some("json_schema")) {
        let object = serde_json::from_str::<Value>(content).unwrap_or_default();
        let arguments = if dress == Dress::ToolObject { object } else { json!(content) };
        let call = json!({"id": "call_standin", "type": "function", "function": {"name": name, "arguments": arguments}});
        return json!({"role": "assistant", "content": null, "refusal": null, "tool_calls": [call]});
    }
    let content = match dress {
        Dress::Plain | Dress::ToolObject => content.to_owned(),
        Dress::Fenced => format!("```json\n{content}\n```"),
        Dress::Thinking => format!("<think>A {{curly}} thought about the picture.</think>\n{content}"),
        Dress::ThinkingClosed => format!("Perhaps {{\"weather\": \"Sunny\"}}?\n</think>\n\n{content}"),
        Dress::Prose => format!("Here is the answer you asked for:\n{content}\nLet me know if you need more."),
        Dress::ByteOrderMark => format!("\u{feff}{content}"),
        Dress::Listed => format!("[{content}]"),
        Dress::Nested => format!("{{\"answer\": {content}}}"),
        Dress::KeyTwice => key_twice(content),
        Dress::Reasoning => return json!({"role": "assistant", "content": null, "reasoning_content": content}),
        Dress::Parts => return json!({"role": "assistant", "content": [{"type": "text", "text": content}]}),
        Dress::FunctionCall => {
            return json!({"role": "assistant", "content": null, "function_call": {"name": "annotation", "arguments": content}});
        }
    };
    json!({"role": "assistant", "content": content, "refusal": null})
}

fn key_twice(content: &str) -> String {
    let object = serde_json::from_str::<serde_json::Map<String, Value>>(content).unwrap_or_default();
    let first = object.keys().next().cloned().unwrap_or_default();
    format!("{{{}: null, {}", json!(first), content.trim_start_matches('{'))
}

/// The whole answer over HTTP.
pub(super) fn wrap(body: &Value, quirks: &Quirks) -> Reply {
    match quirks.wrapping {
        Wrapping::Plain => Reply::json(200, body),
        Wrapping::ByteOrderMark => Reply::new(200, "application/json", format!("\u{feff}{body}")),
        Wrapping::Events => Reply::new(200, "text/event-stream", events(body)),
        Wrapping::NoChoices => {
            let mut body = body.clone();
            body["choices"] = json!([]);
            Reply::json(200, &body)
        }
    }
}

/// The same answer as a stream: the role, the text in two pieces, the end.
fn events(body: &Value) -> String {
    let choice = &body["choices"][0];
    let content = choice["message"]["content"].as_str().unwrap_or_default();
    let (first, rest) = content.split_at(content.floor_char_boundary(content.len() / 2));
    let chunk = |delta: Value, finish: &Value| {
        let choices = json!([{"index": 0, "delta": delta, "finish_reason": finish}]);
        format!("data: {}\n\n", json!({"id": body["id"], "object": "chat.completion.chunk", "model": body["model"], "choices": choices}))
    };
    let open = &Value::Null;
    let mut text = format!(": keep-alive\n\n{}", chunk(json!({"role": "assistant", "content": ""}), open));
    text.push_str(&chunk(json!({"content": first}), open));
    text.push_str(&chunk(json!({"content": rest}), open));
    text.push_str(&chunk(json!({}), &choice["finish_reason"]));
    text.push_str("data: [DONE]\n\n");
    text
}
