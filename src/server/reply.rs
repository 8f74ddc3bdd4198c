//! Answers: the only place that knows status codes, and the form of every message.

use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode, Version};

use super::cors::Caller;
use crate::agent::{Error, Kind, Outcome};
use crate::ids::RequestId;

/// What the label editor shows of a message, counted as the browser counts: in UTF-16 units.
const MAX_MESSAGE: usize = 256;

/// One answer, before it is put into HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) body: Body,
    /// Sent as `Retry-After`.
    retry_after: Option<Duration>,
    /// The connection is not to be used again.
    close: bool,
}

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Body {
    Empty,
    /// JSON's `null`, the answer to a test request.
    Null,
    /// A message for the person in the label editor; the request's id is added.
    Message(String),
}

impl Reply {
    fn new(status: StatusCode, body: Body) -> Self {
        Self { status, body, retry_after: None, close: false }
    }

    fn saying(status: StatusCode, message: impl Into<String>) -> Self {
        Self::new(status, Body::Message(message.into()))
    }

    pub(super) fn closing(self) -> Self {
        Self { close: true, ..self }
    }

    pub(super) fn own_mistake() -> Self {
        Self::saying(StatusCode::INTERNAL_SERVER_ERROR, "edgelabel made a mistake of its own; its log tells more")
    }

    pub(super) fn preflight() -> Self {
        Self::new(StatusCode::NO_CONTENT, Body::Empty)
    }

    pub(super) fn test() -> Self {
        Self::new(StatusCode::OK, Body::Null)
    }

    /// A notification has been taken note of.
    pub(super) fn noted() -> Self {
        Self::new(StatusCode::OK, Body::Empty)
    }

    pub(super) fn probe() -> Self {
        Self::new(StatusCode::NO_CONTENT, Body::Empty)
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::saying(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn unauthentic() -> Self {
        Self::saying(StatusCode::UNAUTHORIZED, "not authorised")
    }

    /// Tells a stranger nothing of who answers here; the log names the key that would let them in.
    pub(super) fn strange_origin() -> Self {
        Self::saying(StatusCode::FORBIDDEN, "pages of this origin may not call")
    }

    pub(super) fn project_not_allowed() -> Self {
        Self::saying(StatusCode::FORBIDDEN, "this box does not serve this project; its administrator can add it to server.allowed_projects")
    }

    /// The same for a wrong path and a wrong token, and nothing of who answers here.
    pub(super) fn no_such_path() -> Self {
        Self::saying(StatusCode::NOT_FOUND, "there is nothing at this address; is it written as it was handed out?")
    }

    pub(super) fn wrong_method() -> Self {
        Self::saying(StatusCode::METHOD_NOT_ALLOWED, "edgelabel is here and takes the label editor's POST requests")
    }

    pub(super) fn body_too_slow() -> Self {
        Self::saying(StatusCode::REQUEST_TIMEOUT, "the request's body did not arrive in time").closing()
    }

    pub(super) fn body_too_large(limit: usize) -> Self {
        Self::saying(StatusCode::PAYLOAD_TOO_LARGE, format!("the request's body is larger than {limit} bytes")).closing()
    }

    pub(super) fn path_too_long() -> Self {
        Self::saying(StatusCode::URI_TOO_LONG, "the request's path is too long")
    }

    pub(super) fn not_json() -> Self {
        Self::saying(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body must be declared as Content-Type: application/json")
    }

    pub(super) fn headers_too_large() -> Self {
        Self::saying(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the request's headers are too large")
    }

    pub(super) fn unknown_envelope() -> Self {
        Self::saying(StatusCode::NOT_IMPLEMENTED, "this version of the notification is not known here; edgelabel needs an update")
    }

    pub(super) fn shutting_down() -> Self {
        let reply =
            Self::saying(StatusCode::SERVICE_UNAVAILABLE, "edgelabel is shutting down; press the button again in a moment").closing();
        Self { retry_after: Some(Duration::from_secs(5)), ..reply }
    }

    pub(super) fn too_busy() -> Self {
        let reply =
            Self::saying(StatusCode::SERVICE_UNAVAILABLE, "this box has too much to do; press the button again in a moment").closing();
        Self { retry_after: Some(Duration::from_secs(2)), ..reply }
    }

    /// One address or one project starts triggers too fast; `key` is the limit in the configuration.
    pub(super) fn too_many(whose: &str, key: &str, pause: Duration) -> Self {
        let message =
            format!("too many triggers {whose} in the last minute; wait a moment (the limit is {key} in edgelabel's configuration)");
        Self { retry_after: Some(pause), ..Self::saying(StatusCode::TOO_MANY_REQUESTS, message) }
    }

    /// The pool gave no verdict although the trigger's budget, and a while on top, is over.
    pub(super) fn no_verdict() -> Self {
        Self::saying(StatusCode::GATEWAY_TIMEOUT, "the time for this request ran out")
    }

    /// What a trigger came to.
    pub(super) fn verdict(verdict: Result<Outcome, Error>) -> Self {
        match verdict {
            Ok(Outcome::Saved { message } | Outcome::Kept { message }) => {
                Self::new(StatusCode::OK, message.map_or(Body::Empty, Body::Message))
            }
            Ok(Outcome::Queued { message }) => Self::saying(StatusCode::ACCEPTED, message),
            Err(error) => {
                let status = match error.kind {
                    Kind::Forbidden => StatusCode::FORBIDDEN,
                    Kind::NotFound => StatusCode::NOT_FOUND,
                    Kind::Unprocessable => StatusCode::UNPROCESSABLE_ENTITY,
                    Kind::Upstream => StatusCode::BAD_GATEWAY,
                    // An abandoned trigger's caller is gone; should one be there after all, it may come back.
                    Kind::Busy | Kind::Abandoned => StatusCode::SERVICE_UNAVAILABLE,
                    Kind::Deadline => StatusCode::GATEWAY_TIMEOUT,
                    Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
                };
                let comes_back = status == StatusCode::SERVICE_UNAVAILABLE;
                let retry_after = error.retry_after.or(comes_back.then_some(Duration::from_secs(2)));
                Self { retry_after, ..Self::saying(status, error.message) }
            }
        }
    }

    /// The answer as HTTP, marked so that the calling page can read it.
    pub(super) fn into_response(self, id: RequestId, caller: &Caller, version: Version) -> Response<Full<Bytes>> {
        let body = match self.body {
            Body::Empty => Bytes::new(),
            Body::Null => Bytes::from_static(b"null"),
            Body::Message(message) => Bytes::from(message_body(&message, id)),
        };
        let has_body = !body.is_empty();
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        caller.mark(headers);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if has_body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static("POST"));
        }
        if let Some(pause) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(pause.as_secs_f64().ceil().max(1.0) as u64));
        }
        // HTTP/2 has no such header; there the connection says goodbye by a frame.
        if self.close && version < Version::HTTP_2 {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// `{"message": "… · request <id>"}`, cut so that the id always fits.
pub(super) fn message_body(message: &str, id: RequestId) -> String {
    let tail = format!(" · request {id}");
    let room = MAX_MESSAGE - tail.encode_utf16().count();
    serde_json::json!({ "message": cut(message, room) + &tail }).to_string()
}

/// The text on one line, at most `room` UTF-16 units long, ended by `…` at a word's end where it had to be cut.
fn cut(text: &str, room: usize) -> String {
    let line: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.encode_utf16().count() <= room {
        return line;
    }
    let mut used = 0;
    let mut kept: String = line
        .chars()
        .take_while(|c| {
            used += c.len_utf16();
            used < room
        })
        .collect();
    if let Some(space) = kept.rfind(' ').filter(|space| *space > kept.len() / 2) {
        kept.truncate(space);
    }
    kept.truncate(kept.trim_end_matches([' ', ',', ';', ':']).len());
    kept + "…"
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use proptest::prelude::*;

    use super::*;

    fn message_of(body: &str) -> String {
        let value: serde_json::Value = serde_json::from_str(body).unwrap();
        value["message"].as_str().unwrap().to_owned()
    }

    proptest! {
        #[test]
        fn every_message_fits_and_ends_in_the_id(text in "\\PC{0,600}") {
            let id = RequestId::random();
            let message = message_of(&message_body(&text, id));
            prop_assert!(message.encode_utf16().count() <= 256);
            let end = format!("request {}", id);
            prop_assert!(message.ends_with(&end));
        }
    }

    #[test]
    fn a_long_message_is_cut_at_a_word() {
        assert_eq!(cut("one two three", 13), "one two three");
        assert_eq!(cut("one two, three", 12), "one two…");
        assert_eq!(cut("line\nbreak\t", 40), "line break");
        assert_eq!(cut(&"x".repeat(50), 10), format!("{}…", "x".repeat(9)));
    }

    #[tokio::test]
    async fn outcomes_and_errors_have_their_status() {
        let error = |kind| Err(Error::new(kind, "no"));
        for (verdict, status, body) in [
            (Ok(Outcome::Saved { message: None }), 200, ""),
            (Ok(Outcome::Kept { message: Some("kept".into()) }), 200, "kept"),
            (Ok(Outcome::Queued { message: "later".into() }), 202, "later"),
            (error(Kind::Forbidden), 403, "no"),
            (error(Kind::NotFound), 404, "no"),
            (error(Kind::Unprocessable), 422, "no"),
            (error(Kind::Internal), 500, "no"),
            (error(Kind::Upstream), 502, "no"),
            (error(Kind::Busy), 503, "no"),
            (error(Kind::Abandoned), 503, "no"),
            (error(Kind::Deadline), 504, "no"),
        ] {
            let response = Reply::verdict(verdict).into_response(RequestId::random(), &Caller::NoPage, Version::HTTP_11);
            assert_eq!(response.status().as_u16(), status);
            assert_eq!(response.headers().contains_key(RETRY_AFTER), status == 503);
            let bytes = response.into_body().collect().await.unwrap().to_bytes();
            if body.is_empty() {
                assert!(bytes.is_empty());
            } else {
                assert!(message_of(std::str::from_utf8(&bytes).unwrap()).starts_with(body));
            }
        }
    }
}
