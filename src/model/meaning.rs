//! What a complaint means for the next try: words and codes of many servers, none of which agrees with another.

use super::complaint::Complaint;
use super::dialect::{Dialect, Rung, TokenBound};

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

    fn says(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.message.contains(word))
    }

    fn is(&self, codes: &[&str]) -> bool {
        codes.iter().any(|code| self.code.eq_ignore_ascii_case(code) || self.kind.eq_ignore_ascii_case(code))
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
            r#"{"error":"give more detail, and be strict about it"}"#,
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
    fn what_is_no_matter_of_parameters_is_told_by_codes_words_and_status() {
        let error = |kind: &str, message: &str| serde_json::json!({ "error": { "message": message, "type": kind } }).to_string();
        for (status, body, expected) in [
            (400, error("authentication_error", "no"), Meaning::Key),
            (500, error("", "No api key passed in."), Meaning::Key),
            (503, error("unavailable_error", "Loading model"), Meaning::Loading),
            (503, error("", "overloaded"), Meaning::Failing),
            (429, error("", "slow down"), Meaning::Limited),
            (429, error("insufficient_quota", "slow down"), Meaning::NoQuota),
            // A proxy's page may quote the request; what it says is not the model's word.
            (502, "max_completion_tokens, temperature, json_schema".into(), Meaning::Failing),
            (404, "json_schema".into(), Meaning::NoSuchPath),
            (400, error("", "System role not supported"), Meaning::System),
            (529, String::new(), Meaning::Failing),
            (418, String::new(), Meaning::Unclear),
        ] {
            assert_eq!(meaning(status, &body), expected, "{status} {body}");
        }
        let tool = Dialect { rung: Rung::Tool, ..Dialect::default() };
        let named = Complaint::read(400, error("", "tool_choice must be one of 'none', 'auto', 'required'").as_bytes());
        assert_eq!(named.meaning(&tool), Meaning::NamedTool);
        assert_eq!(named.meaning(&Dialect { named_tool: false, ..tool }), Meaning::Form);
    }

    #[test]
    fn a_bound_that_is_too_large_is_told_from_one_that_is_unknown() {
        let of = |message: &str| meaning(400, &serde_json::json!({ "error": { "message": message } }).to_string());
        assert_eq!(of("Unsupported parameter: 'max_tokens'"), Meaning::Unclear, "it was not sent");
        assert_eq!(
            of("max_completion_tokens is too large: 9. This model supports at most 8 completion tokens"),
            Meaning::BoundTooLarge(Some(8))
        );
        assert_eq!(of("max_tokens (1024) cannot be greater than the model's window"), Meaning::BoundTooLarge(None));
        assert_eq!(of("Unrecognized request argument supplied: max_completion_tokens"), Meaning::Bound);
    }
}
