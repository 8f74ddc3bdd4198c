//! What an endpoint refuses, and in whose words it says so.

use serde_json::{Value, json};

use super::super::server::Reply;
use super::quirks::{ErrorStyle, Quirks};

/// Why a question is refused.
pub(super) struct Complaint {
    pub(super) status: u16,
    pub(super) message: String,
    pub(super) param: Option<String>,
    pub(super) kind: &'static str,
}

impl Complaint {
    pub(super) fn new(status: u16, message: &str) -> Self {
        Self { status, message: message.to_owned(), param: None, kind: "invalid_request_error" }
    }

    pub(super) fn about(param: &str, message: String) -> Self {
        Self { param: Some(param.to_owned()), ..Self::new(400, &message) }
    }

    /// In the words and with the status of the endpoint's kind.
    pub(super) fn reply(&self, quirks: &Quirks) -> Reply {
        let status = if self.status == 400 { quirks.refusal_status } else { self.status };
        let (message, param) = (&self.message, &self.param);
        let full = json!({"error": {"message": message, "type": self.kind, "param": param, "code": null}});
        match quirks.errors {
            ErrorStyle::OpenAi => Reply::json(status, &full),
            ErrorStyle::Bare => Reply::json(status, &json!({"error": message})),
            ErrorStyle::LlamaCpp => Reply::json(status, &json!({"error": {"code": status, "message": message, "type": self.kind}})),
            ErrorStyle::Vllm => Reply::json(
                status,
                &json!({"object": "error", "message": message, "type": "BadRequestError", "param": null, "code": status}),
            ),
            ErrorStyle::Detail => match param {
                Some(param) => {
                    let entry =
                        json!({"type": "extra_forbidden", "loc": ["body", param], "msg": "Extra inputs are not permitted", "input": 1});
                    Reply::json(422, &json!({"detail": [entry]}))
                }
                None => Reply::json(status, &json!({"detail": message})),
            },
            ErrorStyle::LiteLlm => {
                let message = format!("litellm.BadRequestError: OpenAIException - {message}");
                Reply::json(status, &json!({"error": {"message": message, "type": null, "param": null, "code": status.to_string()}}))
            }
            ErrorStyle::Text => Reply::new(status, "text/plain", message.as_str()),
            ErrorStyle::UnderOk => Reply::json(200, &full),
            ErrorStyle::EventUnderOk => Reply::new(200, "text/event-stream", format!("data: {full}\n\ndata: [DONE]\n\n")),
        }
    }
}

/// Refuses what the request's body asks for beside its messages.
pub(super) fn unsupported(body: &Value, quirks: &Quirks) -> Result<(), Complaint> {
    let name = body["model"].as_str().unwrap_or_default();
    if quirks.model.as_deref().is_some_and(|served| served != name) {
        return Err(Complaint::new(404, &format!("The model `{name}` does not exist or you do not have access to it.")));
    }
    if let Some(param) = quirks.refused_parameters.iter().find(|param| holds(body, param)) {
        if param == "reasoning_effort" && quirks.errors == ErrorStyle::Bare {
            return Err(Complaint::new(400, &format!("\"{name}\" does not support thinking")));
        }
        return Err(Complaint::about(param, format!("Unsupported parameter: '{param}' is not supported with this model.")));
    }
    let bound = ["max_completion_tokens", "max_tokens"].iter().find_map(|key| Some((*key, body[*key].as_u64()?)));
    if let (Some((key, bound)), Some(most)) = (bound, quirks.largest_bound)
        && bound > most
    {
        let message = format!("{key} is too large: {bound}. This model supports at most {most} completion tokens.");
        return Err(Complaint::about(key, message));
    }
    form(body, quirks)
}

/// Whether a parameter stands in the body, beside the schema, or beside a picture.
fn holds(body: &Value, param: &str) -> bool {
    let of_parts = body["messages"].as_array().into_iter().flatten().filter_map(|message| message["content"].as_array()).flatten();
    body.get(param).is_some()
        || body["response_format"]["json_schema"].get(param).is_some()
        || of_parts.into_iter().any(|part| part["image_url"].get(param).is_some())
}

fn form(body: &Value, quirks: &Quirks) -> Result<(), Complaint> {
    let refused = match body["response_format"]["type"].as_str() {
        Some("json_schema") => !quirks.json_schema,
        Some("json_object") => !quirks.json_object,
        Some("text") | None => false,
        Some(_) => true,
    };
    if refused {
        let mut taken = vec!["'text'"];
        taken.extend(quirks.json_schema.then_some("'json_schema'"));
        taken.extend(quirks.json_object.then_some("'json_object'"));
        return Err(Complaint::about("response_format", format!("'response_format.type' must be {}", taken.join(" or "))));
    }
    if body.get("tools").is_some() && !quirks.tools {
        return Err(Complaint::about("tools", "This model does not support tools.".into()));
    }
    if body["tool_choice"].is_object() && !quirks.named_tools {
        return Err(Complaint::about("tool_choice", "tool_choice must be one of 'none', 'auto', 'required'".into()));
    }
    Ok(())
}
