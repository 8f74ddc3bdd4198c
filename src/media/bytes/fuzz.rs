//! The way in for the fuzzer: the head of a store's answer, and a link.

use ureq::http::{HeaderMap, HeaderName, HeaderValue};

use super::origin::parse_content_range;
use super::version::{Key, Version};
use crate::http;
use crate::ids::SignedUrl;

/// The first line is a link, each further one a header. Ranges lie within their item, a version is itself, only a strong
/// validator is offered for `If-Range`, and an object's key outlives a renewed signature.
#[doc(hidden)]
pub fn fuzz_range_answer(text: &str) {
    let mut lines = text.lines();
    let link = lines.next().unwrap_or_default();
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.trim().as_bytes()), HeaderValue::from_str(value.trim())) {
            headers.append(name, value);
        }
    }
    let range = headers.get("content-range").and_then(|value| value.to_str().ok()).and_then(parse_content_range);
    if let Some((span, size)) = range {
        assert!(span.length > 0 && span.offset.checked_add(span.length).is_some_and(|end| end <= size), "{span} of {size}");
    }
    let _ = http::retry_after(&headers);
    let size = range.map(|(_, size)| size).or_else(|| http::content_length(&headers)).unwrap_or(0);
    let version = Version::of(&headers, size);
    assert!(version.is_same_as(&version));
    assert!(version.if_range().is_none_or(|etag| etag.starts_with('"')));
    let other = Version { etag: version.etag.as_ref().map(|etag| format!("{etag}x")), ..version.clone() };
    assert_eq!(version.is_same_as(&other), other.is_same_as(&version));
    assert!(!version.is_same_as(&version.sized(size.wrapping_add(1))));

    let Ok(link) = link.parse::<SignedUrl>() else { return };
    let key = Key::of(&link);
    assert!(Key::parse(&key.to_string()) == Some(key));
    let mut renewed = link.expose().clone();
    renewed.query_pairs_mut().append_pair("X-Amz-Signature", "another");
    if let Ok(renewed) = renewed.as_str().parse::<SignedUrl>() {
        assert_eq!(Key::of(&renewed).to_string(), key.to_string(), "a renewed link leads to the same object");
    }
    let shown = format!("{link} {link:?}");
    assert!(!shown.contains(['?', '#', '@']) || link.expose().path().contains('@'), "{shown} shows more than the item");
}
