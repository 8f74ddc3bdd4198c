//! What an answer of Encord says, wherever it says it: in the HTTP status, inside an envelope of HTTP 200, or not at all.

use std::time::SystemTime;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::http::{self, Answer};

use super::dates;

/// The clock may be this far off before it is named as the reason for a refusal, in seconds.
const CLOCK_TOLERANCE: i64 = 60;

/// A v1 answer: `{"status": 200, "response": …}` or `{"status": N, "response": ["CODE"], "payload": …}`.
#[derive(Deserialize)]
struct Envelope<'a> {
    status: u16,
    #[serde(borrow, default)]
    response: Option<&'a RawValue>,
}

/// Why a call did not succeed, before it is told what that means for the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The key is not known there.
    Key,
    /// The key has no right to this.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// It may work later.
    Busy {
        /// Status, in the head or inside the envelope.
        status: u16,
    },
    /// It will not work, for another reason.
    Other {
        /// Status, in the head or inside the envelope.
        status: u16,
        /// Encord's code, or a word that there is none.
        code: String,
    },
    /// It is no answer of Encord's API.
    Nonsense,
}

impl Refusal {
    fn new(status: u16, code: Option<&str>) -> Self {
        match code {
            Some("AUTHENTICATION_ERROR" | "SSH_KEY_NOT_FOUND_ERROR") => Self::Key,
            Some("AUTHORISATION_ERROR") => Self::Forbidden,
            Some("RESOURCE_NOT_FOUND_ERROR") => Self::NotFound,
            Some("RATE_LIMIT_ERROR") => Self::Busy { status: 429 },
            Some(code) if is_final(code) => Self::Other { status, code: code.to_owned() },
            _ => match status {
                401 => Self::Key,
                403 => Self::Forbidden,
                404 => Self::NotFound,
                status if http::is_transient_status(status) => Self::Busy { status },
                status => Self::Other { status, code: code.unwrap_or("(no code given)").to_owned() },
            },
        }
    }
}

/// Codes that trying again does not change, whatever status stands beside them.
fn is_final(code: &str) -> bool {
    matches!(
        code,
        "OPERATION_NOT_ALLOWED"
            | "ANSWER_DICTIONARY_ERROR"
            | "CORRUPTED_LABEL_ERROR"
            | "FEATURE_DOES_NOT_EXIST_ERROR"
            | "INVALID_ARGUMENTS_ERROR"
            | "INVALID_DATE_FORMAT_ERROR"
            | "RESOURCE_EXISTS_ERROR"
            | "MULTI_LABEL_LIMIT_ERROR"
            | "WRONG_PROJECT_TYPE_ERROR"
            | "METHOD_NOT_ALLOWED_ERROR"
            | "DUPLICATE_SSH_KEY_ERROR"
    )
}

/// The response of a v1 answer, `None` when it is `null` or absent.
pub(super) fn open_v1(answer: &Answer) -> Result<Option<&RawValue>, Refusal> {
    let head_is_fine = (200..300).contains(&answer.status);
    let Ok(envelope) = serde_json::from_slice::<Envelope<'_>>(&answer.body) else {
        return Err(if head_is_fine { Refusal::Nonsense } else { Refusal::new(answer.status, None) });
    };
    let status = if head_is_fine { envelope.status } else { answer.status };
    if (200..300).contains(&status) {
        return Ok(envelope.response.filter(|response| response.get() != "null"));
    }
    let codes = envelope.response.and_then(|response| serde_json::from_str::<Vec<String>>(response.get()).ok());
    let code = codes.and_then(|codes| codes.into_iter().next()).filter(|code| is_code(code));
    Err(Refusal::new(status, code.as_deref()))
}

/// The JSON text of a v2 answer.
pub(super) fn open_v2(answer: &Answer) -> Result<&RawValue, Refusal> {
    if !(200..300).contains(&answer.status) {
        return Err(Refusal::new(answer.status, None));
    }
    serde_json::from_slice(&answer.body).map_err(|_| Refusal::Nonsense)
}

/// Encord's codes look like this; anything else may be a part of something that must not be shown.
fn is_code(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

/// How far our clock is ahead of the server's in seconds, when that is far enough to spoil signatures.
pub(super) fn clock_offset(answer: &Answer) -> Option<i64> {
    let theirs = dates::parse(answer.header("date")?)?.unix_timestamp();
    Some(now() - theirs).filter(|offset| offset.abs() > CLOCK_TOLERANCE)
}

/// Unix time in seconds by this box's clock.
pub(super) fn now() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

/// A complaint about an answer's shape: where, and what kind of thing was expected there, never what was found.
pub(super) fn shape_complaint(error: &serde_path_to_error::Error<serde_json::Error>) -> String {
    let found = error.inner().to_string();
    let told = match found.find(", expected ") {
        Some(at) if found.starts_with("invalid ") => format!("something else, {}", &found[at + 2..]),
        _ if found.starts_with("missing field") || error.inner().is_syntax() || error.inner().is_eof() => found,
        _ => "not what it should be".to_owned(),
    };
    match error.path().to_string().as_str() {
        "." => told,
        path => format!("{path}: {told}"),
    }
}

/// Reads JSON, with the path in the complaint.
pub(super) fn read_json<'de, T: Deserialize<'de>>(json: &'de str) -> Result<T, String> {
    let mut reader = serde_json::Deserializer::from_str(json);
    serde_path_to_error::deserialize(&mut reader).map_err(|error| shape_complaint(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, headers: ureq::http::HeaderMap::new(), body: body.as_bytes().to_vec() }
    }

    #[test]
    fn an_error_is_found_in_the_envelope_and_in_the_head() {
        let of = |status, body: &str| open_v1(&answer(status, body)).map(|response| response.map(|raw| raw.get().to_owned()));
        assert_eq!(of(200, r#"{"status": 200, "response": [1]}"#), Ok(Some("[1]".into())));
        assert_eq!(of(200, r#"{"status": 200, "response": null}"#), Ok(None));
        assert_eq!(of(200, r#"{"status": 400, "response": ["AUTHENTICATION_ERROR"], "payload": null}"#), Err(Refusal::Key));
        assert_eq!(of(400, r#"{"status": 400, "response": ["AUTHORISATION_ERROR"]}"#), Err(Refusal::Forbidden));
        assert_eq!(of(200, r#"{"status": 500, "response": ["UNKNOWN_ERROR"]}"#), Err(Refusal::Busy { status: 500 }));
        assert_eq!(of(200, r#"{"status": 400, "response": ["RATE_LIMIT_ERROR"], "payload": "slow"}"#), Err(Refusal::Busy { status: 429 }));
        assert_eq!(
            of(200, r#"{"status": 500, "response": ["CORRUPTED_LABEL_ERROR"], "payload": "x"}"#),
            Err(Refusal::Other { status: 500, code: "CORRUPTED_LABEL_ERROR".into() })
        );
        assert_eq!(of(200, r#"{"status": 418, "response": ["BRAND_NEW"]}"#), Err(Refusal::Other { status: 418, code: "BRAND_NEW".into() }));
        assert_eq!(of(502, "<html>bad gateway</html>"), Err(Refusal::Busy { status: 502 }));
        assert_eq!(of(200, "<html>sign in</html>"), Err(Refusal::Nonsense));
        assert_eq!(of(429, r#"{"message": "slow down"}"#), Err(Refusal::Busy { status: 429 }));
    }

    #[test]
    fn free_text_of_the_server_is_not_quoted() {
        let body = r#"{"status": 418, "response": ["see https://store/x?sig=abc"]}"#;
        assert_eq!(open_v1(&answer(200, body)).unwrap_err(), Refusal::Other { status: 418, code: "(no code given)".into() });
        #[derive(Deserialize, Debug)]
        struct Title {
            #[allow(dead_code)]
            title: u32,
        }
        let complaint = read_json::<Vec<Title>>(r#"[{"title": "https://store/x?sig=abc"}]"#).unwrap_err();
        assert_eq!(complaint, "[0].title: something else, expected u32 at line 1 column 36");
    }

    #[test]
    fn a_clock_that_is_off_is_measured_by_the_date_header() {
        let mut answer = answer(401, "");
        let at = |offset: i64| dates::long(time::OffsetDateTime::from_unix_timestamp(now() - offset).unwrap()).replace("UTC", "GMT");
        answer.headers.insert("date", at(-3600).parse().unwrap());
        assert!((-3602..=-3598).contains(&clock_offset(&answer).unwrap()));
        answer.headers.insert("date", at(5).parse().unwrap());
        assert_eq!(clock_offset(&answer), None);
    }
}
