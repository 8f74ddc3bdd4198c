//! What an endpoint says when it does not answer: error bodies of every shape, taken apart.

use serde_json::Value;

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
    pub(super) message: String,
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
        let error = ["error", "detail", "errors"].iter().find_map(|key| body.get(key)).unwrap_or(body);
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
            let plain = !part.is_empty() && part.len() <= 48 && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            if plain && !name.contains(part.as_str()) {
                name.push(' ');
                name.push_str(part);
            }
        }
        name
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

    #[test]
    fn an_error_under_a_good_status_has_the_status_of_its_code() {
        let of = |body: Value| Complaint::under_good_status(200, &body);
        let error = |code: Value| serde_json::json!({ "message": "Overloaded", "code": code });
        for (code, status) in [(503.into(), 503), ("429".into(), 429), (42.into(), 200), ("none".into(), 200)] {
            let complaint = of(serde_json::json!({ "error": error(code) })).unwrap();
            assert_eq!((complaint.status, complaint.message.as_str()), (status, "overloaded"));
        }
        assert_eq!(of(serde_json::json!({ "choices": [{ "error": error(502.into()) }] })).unwrap().status, 502);
        assert_eq!(of(serde_json::json!({ "error": null, "choices": [{ "message": {} }] })), None);
    }

    #[test]
    fn what_is_named_to_people_repeats_nothing_that_was_sent() {
        let body = r#"{"error":{"message":"Incorrect key sk-123","type":"invalid_request_error","code":"sk-123 is wrong"}}"#;
        assert_eq!(Complaint::read(401, body.as_bytes()).name(), "HTTP 401 invalid_request_error");
        assert_eq!(Complaint::read(500, b"sk-123").name(), "HTTP 500");
    }
}
