//! Which web pages may call, and the headers that let them read the answer.
//!
//! The label editor is a page of another origin, so every answer to it, errors too, must carry these headers:
//! without them the page learns nothing but "Failed to fetch".

use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderName, HeaderValue, ORIGIN, VARY,
};
use hyper::{Method, Request};

use super::settings::DEFAULT_ORIGINS;

const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

const ALLOWED_HEADERS: HeaderValue = HeaderValue::from_static(
    "Content-Type, X-Cloud-Trace-Context, X-Encord-Editor-Agent, X-Encord-Agent, X-Encord-Signature, X-Encord-Timestamp",
);

/// Encord's own label editors besides the two in the configuration's default.
const ENCORDS_OTHER_ORIGINS: [&str; 4] =
    ["https://staging.encord.com", "https://dev.encord.com", "https://staging.us.encord.com", "https://dev.us.encord.com"];

/// The origins whose pages may call, compared as whole strings.
#[derive(Debug, Clone)]
pub(super) struct Origins {
    exact: Vec<String>,
    /// Encord's staging, development and preview sites belong to the default list only.
    encords_others: bool,
}

impl Origins {
    pub(super) fn new(configured: &[String]) -> Self {
        let exact: Vec<String> = configured.iter().map(|origin| origin.trim_end_matches('/').to_ascii_lowercase()).collect();
        let encords_others =
            exact.len() == DEFAULT_ORIGINS.len() && DEFAULT_ORIGINS.iter().all(|default| exact.iter().any(|o| o == default));
        Self { exact, encords_others }
    }

    fn allow(&self, origin: &str) -> bool {
        self.exact.iter().any(|allowed| allowed == origin)
            || (self.encords_others && (ENCORDS_OTHER_ORIGINS.contains(&origin) || is_preview_site(origin)))
    }

    /// Who asks, by the request's `Origin` header.
    pub(super) fn caller(&self, headers: &HeaderMap) -> Caller {
        let mut values = headers.get_all(ORIGIN).iter();
        match (values.next(), values.next()) {
            (None, _) => Caller::NoPage,
            (Some(origin), None) if origin.to_str().is_ok_and(|text| self.allow(text)) => Caller::Page(origin.clone()),
            (Some(origin), _) => Caller::Stranger(origin.to_str().unwrap_or("?").chars().take(120).collect()),
        }
    }
}

/// `https://cord-ai-development--<word>-<word>.web.app`
fn is_preview_site(origin: &str) -> bool {
    let words = origin.strip_prefix("https://cord-ai-development--").and_then(|rest| rest.strip_suffix(".web.app"));
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    words.and_then(|words| words.split_once('-')).is_some_and(|(first, second)| is_word(first) && is_word(second))
}

/// Who sends a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Caller {
    /// Not a web page of another origin: Encord's backend, a script, a person's own request.
    NoPage,
    /// A page of an allowed origin.
    Page(HeaderValue),
    /// A page that may not call.
    Stranger(String),
}

impl Caller {
    /// Adds what lets the page read the answer. Caches must keep the answers to different origins apart in any case.
    pub(super) fn mark(&self, answer: &mut HeaderMap) {
        answer.insert(VARY, HeaderValue::from_static("Origin"));
        if let Self::Page(origin) = self {
            answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        }
    }
}

/// Whether the browser only asks what it may send.
pub(super) fn is_preflight<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    request.method() == Method::OPTIONS && headers.contains_key(ORIGIN) && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// What may be sent, for the answer to an allowed origin's preflight.
pub(super) fn permit(asked: &HeaderMap, answer: &mut HeaderMap) {
    answer.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
    answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS);
    answer.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("3600"));
    if asked.get(REQUEST_PRIVATE_NETWORK).is_some_and(|value| value == "true") {
        answer.insert(ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn default_origins() -> Origins {
        Origins::new(&DEFAULT_ORIGINS.map(String::from))
    }

    #[test]
    fn encords_editors_are_allowed_and_what_looks_like_them_is_not() {
        let origins = default_origins();
        for allowed in [
            "https://app.encord.com",
            "https://app.us.encord.com",
            "https://staging.encord.com",
            "https://dev.us.encord.com",
            "https://cord-ai-development--pr1234-x_y.web.app",
        ] {
            assert!(origins.allow(allowed), "{allowed}");
        }
        for refused in [
            "",
            "null",
            "*",
            "http://app.encord.com",
            "https://app.encord.com:443",
            "https://app.encord.com/",
            "https://app.encord.com.evil.example",
            "https://evil.example?https://app.encord.com",
            "https://xapp.encord.com",
            "https://appXencord.com",
            "https://APP.encord.com",
            "https://app.eu.encord.com",
            "https://cord-ai-development--a-bXwebXapp",
            "https://cord-ai-development--a-b.web.app.evil.example",
            "https://cord-ai-development--a.web.app",
            "https://cord-ai-development--a-b-c.web.app",
            "https://cord-ai-development--a-b.evil.example/.web.app",
            "https://cord-ai-development---b.web.app",
        ] {
            assert!(!origins.allow(refused), "{refused}");
        }
    }

    #[test]
    fn a_configured_list_is_taken_exactly() {
        let origins = Origins::new(&["https://Labels.Example.org/".into()]);
        assert!(origins.allow("https://labels.example.org"));
        assert!(!origins.allow("https://app.encord.com") && !origins.allow("https://staging.encord.com"));
        let longer = Origins::new(&[DEFAULT_ORIGINS[0], DEFAULT_ORIGINS[1], "https://labels.example.org"].map(String::from));
        assert!(longer.allow("https://app.us.encord.com") && longer.allow("https://labels.example.org"));
        assert!(!longer.allow("https://staging.encord.com") && !longer.allow("https://cord-ai-development--a-b.web.app"));
    }

    #[test]
    fn two_origins_in_one_request_are_a_stranger() {
        let mut headers = HeaderMap::new();
        assert_eq!(default_origins().caller(&headers), Caller::NoPage);
        headers.append(ORIGIN, HeaderValue::from_static("https://app.encord.com"));
        assert!(matches!(default_origins().caller(&headers), Caller::Page(_)));
        headers.append(ORIGIN, HeaderValue::from_static("https://evil.example"));
        assert!(matches!(default_origins().caller(&headers), Caller::Stranger(_)));
    }
}
