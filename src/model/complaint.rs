//! What an endpoint says when it does not answer: error bodies of every shape, and what they mean for the next try.

use serde_json::Value;

use super::dialect::{Dialect, Rung, TokenBound};

/// An error body, taken apart. Its message is only read for what it means and never shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Complaint {
    /// HTTP status; 200 where an error hides behind a good status.
    pub(super) status: u16,
    /// `error.code`, a number or a text.
    pub(super) code: String,
    /// `error.type`.
    pub(super) kind: String,
    /// `error.param`.
    pub(super) param: String,
    /// The text, in lower case.
    message: String,
}

/// What to make of a complaint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The key is not accepted.
    Key,
    /// The account is empty.
    NoQuota,
    /// A content filter stopped the request.
    Filtered,
    /// Too many requests or tokens just now.
    Limited,
    /// The server is starting up or loads the model.
    Loading,
    /// It may work when tried again.
    Failing,
    /// There is nothing under this address.
    NoSuchPath,
    /// The parameter that bounds the answer has another name here.
    Bound,
    /// The answer may not be as long; the largest bound, if it was named.
    BoundTooLarge(Option<u32>),
    /// `temperature` is not taken.
    Temperature,
    /// `reasoning_effort` is not taken.
    ReasoningEffort,
    /// `detail` is not taken.
    Detail,
    /// `strict` is not taken.
    Strict,
    /// A system message is not taken.
    System,
    /// A tool cannot be chosen by name.
    NamedTool,
    /// This way to ask for the answer's form is not taken.
    Form,
    /// It cannot succeed with this endpoint; why, for people.
    Hopeless(&'static str),
    /// A refusal without a recognisable reason.
    Unclear,
}

impl Complaint {
    /// Takes a body apart: the usual `error` object, a bare text in `error`, `detail` or `message`, plain text, HTML.
    pub(super) fn read(status: u16, body: &[u8]) -> Self {
        let mut complaint = Self { status, ..Self::default() };
        // Enough for any message; a proxy's page or a dump of our own request follows after that.
        let text = String::from_utf8_lossy(&body[..body.len().min(64 << 10)]);
        match serde_json::from_slice::<Value>(body) {
            Ok(Value::Array(list)) => complaint.take(list.first().unwrap_or(&Value::Null)),
            Ok(value) => complaint.take(&value),
            Err(_) => complaint.message = text.into_owned(),
        }
        complaint.message = complaint.message.chars().take(4_000).collect::<String>().to_lowercase();
        complaint
    }

    /// An error under a good status, if the body is one.
    pub(super) fn under_good_status(status: u16, body: &Value) -> Option<Self> {
        let error = [body.get("error"), body.pointer("/choices/0/error")].into_iter().flatten().find(|error| !error.is_null())?;
        let mut complaint = Self { status, ..Self::default() };
        complaint.take(&serde_json::json!({ "error": error }));
        complaint.message = complaint.message.to_lowercase();
        // The status the server would have sent is often in the code.
        if let Some(status) = complaint.code.parse().ok().filter(|code| (400..600).contains(code)) {
            complaint.status = status;
        }
        Some(complaint)
    }

    fn take(&mut self, body: &Value) {
        let error = ["error", "detail", "message", "errors"].iter().find_map(|key| body.get(key)).unwrap_or(body);
        let error = error.as_array().and_then(|list| list.first()).unwrap_or(error);
        if let Some(text) = error.as_str() {
            text.clone_into(&mut self.message);
        } else {
            self.code = short(error.get("code"));
            self.kind = short(error.get("type"));
            self.param = short(error.get("param").or_else(|| error.get("loc")));
            self.message = ["message", "msg", "detail"]
                .iter()
                .find_map(|key| error.get(key)?.as_str())
                .map_or_else(|| error.to_string(), str::to_owned);
            // Azure tells the filter's verdict one level down.
            if let Some(inner) = error.pointer("/innererror/code").and_then(Value::as_str) {
                self.kind.push_str(inner);
            }
        }
    }

    /// Status and short codes, for messages and logs: nothing that could repeat what was sent.
    pub(super) fn name(&self) -> String {
        let mut name = format!("HTTP {}", self.status);
        for part in [&self.kind, &self.code] {
            let plain = !part.is_empty() && part.len() <= 48 && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
            if plain && !name.contains(part.as_str()) {
                name.push(' ');
                name.push_str(part);
            }
        }
        name
    }

    fn says(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.message.contains(word))
    }

    fn is(&self, codes: &[&str]) -> bool {
        codes.iter().any(|code| self.code.eq_ignore_ascii_case(code) || self.kind.eq_ignore_ascii_case(code))
    }

    /// What it means for a request that was made in `dialect`.
    pub(super) fn meaning(&self, dialect: &Dialect) -> Meaning {
        self.plain_meaning()
            .or_else(|| self.refused_parameter(dialect))
            .or_else(|| self.hopeless().map(Meaning::Hopeless))
            .unwrap_or_else(|| self.by_status())
    }

    /// What is clear from codes and well-known phrases.
    fn plain_meaning(&self) -> Option<Meaning> {
        if self.is(&["insufficient_quota", "billing_hard_limit_reached", "billing_not_active"])
            || self.status == 402
            || self.says(&["exceeded your current quota", "insufficient_quota", "insufficient credits", "credit balance is too low"])
        {
            return Some(Meaning::NoQuota);
        }
        if self.is(&["content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation"])
            || self.kind.contains("ResponsibleAI")
            || self.says(&["content management policy", "content_filter", "safety system"])
        {
            return Some(Meaning::Filtered);
        }
        let key_words = ["invalid api key", "incorrect api key", "invalid_api_key", "authentication error", "no api key passed"];
        if matches!(self.status, 401 | 403) || self.is(&["invalid_api_key", "authentication_error", "auth_error"]) || self.says(&key_words)
        {
            return Some(Meaning::Key);
        }
        if self.status == 503 && self.says(&["loading"]) {
            return Some(Meaning::Loading);
        }
        (self.status == 429).then_some(Meaning::Limited)
    }

    /// Which of the parameters that were sent is not taken.
    fn refused_parameter(&self, dialect: &Dialect) -> Option<Meaning> {
        if matches!(self.status, 404 | 405 | 502..=504) {
            return None;
        }
        let names = |name: &str| self.names(name);
        // Servers that know both names complain about either.
        if dialect.bound != TokenBound::None && (names("max_completion_tokens") || names("max_tokens")) {
            if self.says(&["too large", "at most", "less than or equal", "greater than", "maximum value", "<=", "above_max"]) {
                return Some(Meaning::BoundTooLarge(self.largest_number_allowed()));
            }
            let sent = if dialect.bound == TokenBound::Completion { "max_completion_tokens" } else { "max_tokens" };
            if names(sent) {
                return Some(Meaning::Bound);
            }
        }
        if dialect.temperature && names("temperature") {
            return Some(Meaning::Temperature);
        }
        // Ollama speaks of thinking, whatever the parameter is called.
        if dialect.reasoning_effort && (names("reasoning_effort") || self.says(&["does not support thinking"])) {
            return Some(Meaning::ReasoningEffort);
        }
        if dialect.detail && (names("detail") || self.param.ends_with("detail")) {
            return Some(Meaning::Detail);
        }
        if dialect.strict
            && matches!(dialect.rung, Rung::StrictSchema | Rung::Schema)
            && (names("strict") || self.param.ends_with("strict"))
        {
            return Some(Meaning::Strict);
        }
        if dialect.system && self.says(&["system role not supported", "system role is not supported", "only user and assistant roles"]) {
            return Some(Meaning::System);
        }
        if dialect.rung == Rung::Tool && dialect.named_tool && names("tool_choice") {
            return Some(Meaning::NamedTool);
        }
        let form: &[&str] = match dialect.rung {
            Rung::StrictSchema | Rung::Schema => {
                &["response_format", "json_schema", "json schema", "structured output", "grammar", "schema", "guided"]
            }
            Rung::Tool => &["tool", "function"],
            Rung::JsonObject => &["response_format", "json_object", "json mode", "json_schema"],
            Rung::Prompt => &[],
        };
        (form.iter().any(|word| self.param.contains(word)) || self.says(form)).then_some(Meaning::Form)
    }

    /// Whether the complaint is about the parameter `name`: by `param`, or as a word of the text.
    fn names(&self, name: &str) -> bool {
        if !self.param.is_empty() && self.param != "null" {
            return self.param == name || self.param.split(['.', '[', ']', ',', '"', ' ']).any(|part| part == name);
        }
        // `detail` and `strict` are words of the language too: as parameters they come quoted or as part of a path.
        let quoted = |q: char| self.message.contains(&format!("{q}{name}{q}"));
        let common = matches!(name, "detail" | "strict");
        quoted('\'') || quoted('"') || quoted('`') || self.message.contains(&format!(".{name}")) || (!common && self.has_word(name))
    }

    fn has_word(&self, name: &str) -> bool {
        let part_of_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        self.message
            .match_indices(name)
            .any(|(at, _)| !self.message[..at].ends_with(part_of_word) && !self.message[at + name.len()..].starts_with(part_of_word))
    }

    /// The number in "supports at most 4096 completion tokens".
    fn largest_number_allowed(&self) -> Option<u32> {
        let after = ["at most ", "less than or equal to ", "maximum value ", "<= ", "<="]
            .iter()
            .find_map(|phrase| self.message.find(phrase).map(|at| &self.message[at + phrase.len()..]))?;
        let digits: String = after.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
        digits.parse().ok().filter(|&bound| bound > 0)
    }

    /// Faults that no other way of asking mends, also when the server calls them 500.
    fn hopeless(&self) -> Option<&'static str> {
        let no_pictures = [
            "image input is not supported",
            "does not support image",
            "not support vision",
            "not a multimodal",
            "not multimodal",
            "mmproj",
            "image_url is not supported",
            "image_url is only supported",
            "no endpoints found that support image",
            "does not support multimodal",
            "content must be a string",
            "missing data required for image input",
            "image content is",
            "unknown variant `image_url`",
            "content type 'image_url'",
        ];
        let bad_picture =
            ["failed to load image", "invalid image", "image_parse_error", "could not process image", "cannot identify image"];
        if self.says(&no_pictures) {
            Some("the model takes no pictures: choose one with vision, or load its projector")
        } else if self.says(&bad_picture) || self.code.contains("image") || self.code == "invalid_base64" {
            Some("it cannot read the picture")
        } else if self.is(&["context_length_exceeded", "exceed_context_size_error"])
            || self.says(&[
                "maximum context length",
                "input is too long",
                "context length",
                "context size",
                "context window",
                "contextwindow",
                "prompt is too long",
            ])
        {
            Some("question and picture exceed the model's context: enlarge it on the server, or lower max_image_side")
        } else if self.is(&["model_not_found", "DeploymentNotFound"])
            || self.says(&["invalid model name", "model not found", "no such model", "does not exist", "try pulling it first"])
        {
            Some("it has no model of this name")
        } else if self.says(&["images may be provided", "at most 1 image", "only one image"]) {
            Some("it takes only one picture at a time")
        } else {
            None
        }
    }

    fn by_status(&self) -> Meaning {
        match self.status {
            300..=399 => Meaning::Hopeless("it redirects: write the final address into base_url"),
            404 | 405 => Meaning::NoSuchPath,
            413 => Meaning::Hopeless("the request is too large for it: lower max_image_side"),
            408 | 409 | 425 | 500 | 502..=599 => Meaning::Failing,
            _ => Meaning::Unclear,
        }
    }
}

/// A code or a path as a short text.
fn short(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.chars().take(200).collect(),
        Some(Value::Array(parts)) => {
            parts.iter().map(|part| part.as_str().map_or_else(|| part.to_string(), str::to_owned)).collect::<Vec<_>>().join(".")
        }
        Some(other) => other.to_string().chars().take(200).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(status: u16, body: &str) -> Meaning {
        Complaint::read(status, body.as_bytes()).meaning(&Dialect::default())
    }

    #[test]
    fn error_bodies_of_every_shape_are_understood() {
        for body in [
            r#"{"error":{"message":"Unsupported parameter: 'temperature'","type":"invalid_request_error","param":"temperature","code":null}}"#,
            r#"{"error":{"code":400,"message":"unknown argument: temperature","type":"invalid_request_error"}}"#,
            r#"{"error":"temperature is not supported"}"#,
            r#"{"detail":"temperature is not supported"}"#,
            r#"{"detail":[{"type":"extra_forbidden","loc":["body","temperature"],"msg":"Extra inputs are not permitted"}]}"#,
            r#"{"object":"error","message":"temperature is not supported","type":"BadRequestError","param":null,"code":400}"#,
            r#"[{"error":{"code":400,"message":"temperature is not supported","status":"INVALID_ARGUMENT"}}]"#,
            "temperature is not supported",
            "<html><body><h1>temperature is not supported</h1></body></html>",
        ] {
            assert_eq!(meaning(400, body), Meaning::Temperature, "{body}");
        }
    }

    #[test]
    fn words_of_the_language_are_not_taken_for_parameters() {
        for body in [
            r#"{"error":"see the details in strictly confidential logs"}"#,
            r#"{"detail":"Bad Request"}"#,
            "",
            "\u{0}\u{1}",
            "null",
            "[]",
            "{}",
        ] {
            assert_eq!(meaning(400, body), Meaning::Unclear, "{body}");
        }
    }

    #[test]
    fn a_bound_that_is_too_large_is_told_from_one_that_is_unknown() {
        let of = |message: &str| meaning(400, &serde_json::json!({ "error": { "message": message } }).to_string());
        assert_eq!(
            of("max_completion_tokens is too large: 9. This model supports at most 8 completion tokens"),
            Meaning::BoundTooLarge(Some(8))
        );
        assert_eq!(of("max_tokens (1024) cannot be greater than the model's window"), Meaning::BoundTooLarge(None));
        assert_eq!(of("Unrecognized request argument supplied: max_completion_tokens"), Meaning::Bound);
    }

    #[test]
    fn what_is_named_to_people_repeats_nothing_that_was_sent() {
        let body = r#"{"error":{"message":"Incorrect key sk-123","type":"invalid_request_error","code":"sk-123 is wrong"}}"#;
        assert_eq!(Complaint::read(401, body.as_bytes()).name(), "HTTP 401 invalid_request_error");
        assert_eq!(Complaint::read(500, b"sk-123").name(), "HTTP 500");
    }
}
