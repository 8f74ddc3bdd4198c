//! The chat completion request, and what can be told from its answer.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::media::Picture;

use super::dialect::{Dialect, Rung, TokenBound};
use super::prompt::Prompt;
use super::schema;

/// What a request is made of, apart from the dialect.
pub(super) struct Request<'a> {
    /// Model name.
    pub(super) model: &'a str,
    /// System and user text.
    pub(super) prompt: &'a Prompt,
    /// The pictures as they go into the request, from [`image_parts`].
    pub(super) images: &'a [Value],
    /// The schema of the answer.
    pub(super) schema: &'a Value,
    /// Bound on the answer in tokens.
    pub(super) max_answer_tokens: u32,
    /// Sampling temperature.
    pub(super) temperature: Option<f64>,
    /// How much to think first; empty to leave that to the model.
    pub(super) reasoning_effort: &'a str,
    /// An earlier answer and what is wrong with it.
    pub(super) repair: Option<&'a Repair>,
}

/// A second chance for the model.
pub(super) struct Repair {
    /// What it said.
    pub(super) said: String,
    /// What is wrong with that.
    pub(super) cause: String,
}

/// The body of the request.
pub(super) fn body(request: &Request<'_>, dialect: &Dialect) -> Value {
    let mut body = Map::new();
    body.insert("model".into(), json!(request.model));
    body.insert("messages".into(), messages(request, dialect));
    let bound = request.max_answer_tokens.min(dialect.largest_bound.unwrap_or(u32::MAX));
    match dialect.bound {
        TokenBound::Completion => body.insert("max_completion_tokens".into(), json!(bound)),
        TokenBound::Plain => body.insert("max_tokens".into(), json!(bound)),
        TokenBound::None => None,
    };
    if let (Some(temperature), true) = (request.temperature, dialect.temperature) {
        body.insert("temperature".into(), json!(temperature));
    }
    if !request.reasoning_effort.is_empty() && dialect.reasoning_effort {
        body.insert("reasoning_effort".into(), json!(request.reasoning_effort));
    }
    form(&mut body, request.schema, dialect);
    Value::Object(body)
}

fn form(body: &mut Map<String, Value>, schema: &Value, dialect: &Dialect) {
    match dialect.rung {
        Rung::StrictSchema | Rung::Schema => {
            let mut named = json!({ "name": schema::NAME, "schema": schema });
            if dialect.strict {
                named["strict"] = json!(dialect.rung == Rung::StrictSchema);
            }
            body.insert("response_format".into(), json!({ "type": "json_schema", "json_schema": named }));
        }
        Rung::Tool => {
            let function = json!({ "name": schema::NAME, "description": "Takes the answers.", "parameters": schema });
            body.insert("tools".into(), json!([{ "type": "function", "function": function }]));
            let named = json!({ "type": "function", "function": { "name": schema::NAME } });
            body.insert("tool_choice".into(), if dialect.named_tool { named } else { json!("required") });
        }
        Rung::JsonObject => {
            body.insert("response_format".into(), json!({ "type": "json_object" }));
        }
        Rung::Prompt => {}
    }
}

fn messages(request: &Request<'_>, dialect: &Dialect) -> Value {
    let prompt = request.prompt;
    let mut messages = Vec::new();
    let mut text = prompt.user.clone();
    if dialect.system {
        messages.push(json!({ "role": "system", "content": prompt.system }));
    } else {
        text = format!("{}\n\n{text}", prompt.system);
    }
    let mut content = vec![json!({ "type": "text", "text": text })];
    for image in request.images {
        let mut image = image.clone();
        if !dialect.detail
            && let Some(link) = image.get_mut("image_url").and_then(Value::as_object_mut)
        {
            link.remove("detail");
        }
        content.push(image);
    }
    match request.repair {
        None => messages.push(json!({ "role": "user", "content": content })),
        Some(repair) => {
            let again = format!("This answer is not valid: {}. Answer all questions again, with the JSON object only.", repair.cause);
            // Some chat templates refuse an empty message or two of one role in a row.
            if repair.said.trim().is_empty() {
                content.push(json!({ "type": "text", "text": again }));
                messages.push(json!({ "role": "user", "content": content }));
            } else {
                messages.push(json!({ "role": "user", "content": content }));
                messages.push(json!({ "role": "assistant", "content": cut(&repair.said) }));
                messages.push(json!({ "role": "user", "content": again }));
            }
        }
    }
    Value::Array(messages)
}

/// At most 4,000 characters: a run-away answer must not fill the context of the repair.
fn cut(text: &str) -> String {
    text.chars().take(4_000).collect()
}

/// The pictures as data links. `detail` is left out where it says what is the default anyway.
pub(super) fn image_parts(pictures: &[Picture], detail: &str) -> Vec<Value> {
    pictures
        .iter()
        .map(|picture| {
            let link = format!("data:{};base64,{}", true_mime(picture), STANDARD.encode(&picture.bytes));
            match detail {
                "" | "auto" => json!({ "type": "image_url", "image_url": { "url": link } }),
                detail => json!({ "type": "image_url", "image_url": { "url": link, "detail": detail } }),
            }
        })
        .collect()
}

/// The type by the file's first bytes: servers refuse a picture whose type is not the one announced.
fn true_mime(picture: &Picture) -> &'static str {
    match picture.bytes.as_slice() {
        [0xff, 0xd8, 0xff, ..] => "image/jpeg",
        [0x89, b'P', b'N', b'G', ..] => "image/png",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "image/webp",
        [b'G', b'I', b'F', b'8', ..] => "image/gif",
        _ => picture.mime,
    }
}

/// What came back under a good status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Completion {
    /// Texts that may hold the answer, the likeliest first.
    pub(super) texts: Vec<String>,
    /// Cut off at the token bound.
    pub(super) cut: bool,
    /// `refusal` or `content_filter`, if the model or its keeper would not answer.
    pub(super) refused: Option<&'static str>,
    /// Tokens of the prompt and of the answer, if reported.
    pub(super) tokens: Option<(u64, u64)>,
    /// Model and build, as far as the server says: when they change, other parameters may be understood.
    pub(super) served_by: String,
}

impl Completion {
    /// Reads a chat completion; `None` if the body is nothing of the kind.
    pub(super) fn read(body: &Value) -> Option<Self> {
        let choice = body.get("choices")?.get(0)?;
        let message = choice.get("message").unwrap_or(&Value::Null);
        let finish = choice.get("finish_reason").and_then(Value::as_str).unwrap_or_default();
        let mut texts: Vec<String> = calls(message).collect();
        texts.extend(message.get("content").and_then(content));
        texts.extend(["reasoning_content", "reasoning"].iter().filter_map(|key| message.get(key).and_then(content)));
        texts.retain(|text| !text.trim().is_empty());
        let refusal = message.get("refusal").and_then(Value::as_str).is_some_and(|text| !text.trim().is_empty());
        let refused = match finish {
            "content_filter" => Some("content_filter"),
            _ if refusal => Some("refusal"),
            _ => None,
        };
        let said = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default();
        Some(Self {
            texts,
            cut: finish == "length" || finish == "max_tokens",
            refused,
            tokens: usage(body),
            served_by: format!("{} {}", said("model"), said("system_fingerprint")).chars().take(200).collect(),
        })
    }
}

impl Completion {
    /// What may be behind an answer that does not fit. A prompt of exactly 2,048 or 4,096 tokens was cut to the server's
    /// context: some cut off the front, the instructions with it, without a word.
    pub(super) fn hint(&self) -> String {
        const OF_CONTEXTS: u64 = 1024;
        match self.tokens {
            Some((prompt, _)) if prompt > OF_CONTEXTS && prompt.is_multiple_of(OF_CONTEXTS) => {
                format!(" (question and picture took exactly {prompt} tokens: the server's context is probably too short for them)")
            }
            _ => String::new(),
        }
    }

    /// Whether the server does not know `max_completion_tokens` and ignored that it was `bound`.
    pub(super) fn ignored_bound(&self, bound: u32) -> bool {
        let longer = self.tokens.is_some_and(|(_, answer)| answer > u64::from(bound));
        longer || self.served_by.ends_with(" fp_ollama")
    }
}

/// The arguments of tool calls, in the present and in the old form, as text or, against the protocol, as an object.
fn calls(message: &Value) -> impl Iterator<Item = String> + '_ {
    let listed = message.get("tool_calls").and_then(Value::as_array).into_iter().flatten().filter_map(|call| call.get("function"));
    listed.chain(message.get("function_call")).filter_map(|function| match function.get("arguments")? {
        Value::String(text) => Some(text.clone()),
        object @ Value::Object(_) => Some(object.to_string()),
        _ => None,
    })
}

/// A message's content: a text, a list of parts, or, against the protocol, the object itself.
fn content(content: &Value) -> Option<String> {
    match content {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => {
            Some(parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str).or_else(|| part.as_str())).collect())
        }
        object @ Value::Object(_) => Some(object.to_string()),
        _ => None,
    }
}

fn usage(body: &Value) -> Option<(u64, u64)> {
    let usage = body.get("usage")?;
    let count = |key: &str| usage.get(key).and_then(Value::as_u64);
    Some((count("prompt_tokens")?, count("completion_tokens").unwrap_or(0)))
}
