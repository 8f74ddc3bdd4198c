//! Which object a link leads to, and which content that object had.

use std::fmt;

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use ureq::http::{HeaderMap, header};

use crate::ids::SignedUrl;

/// Query parameters that grant access and do not choose the object: the ones of S3, Google and Azure signatures.
const SIGNATURES: [&str; 24] = [
    "signature",
    "sig",
    "expires",
    "policy",
    "key-pair-id",
    "googleaccessid",
    "awsaccesskeyid",
    "x-id",
    "se",
    "sp",
    "sv",
    "sr",
    "st",
    "spr",
    "sip",
    "skoid",
    "sktid",
    "skt",
    "ske",
    "sks",
    "skv",
    "sdd",
    "saoid",
    "scid",
];

/// Names the object behind a link, whatever the link's signature: a hash, so that it tells nothing of the link.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 16]);

impl Key {
    /// The key of the object behind `link`. A parameter that is not known to be a signature belongs to the object's
    /// name, such as S3's `versionId`: taking one too many costs a cache hit, one too few would mix objects.
    pub(super) fn of(link: &SignedUrl) -> Self {
        let mut hash = Context::new(&SHA256);
        let url = link.expose();
        hash.update(link.identity().as_bytes());
        for (name, value) in url.query_pairs() {
            let name_lower = name.to_ascii_lowercase();
            let signature = SIGNATURES.contains(&name_lower.as_str())
                || name_lower.starts_with("x-amz-")
                || name_lower.starts_with("x-goog-")
                || name_lower.starts_with("response-");
            if !signature {
                for part in [&name, &value] {
                    hash.update(&(part.len() as u64).to_le_bytes());
                    hash.update(part.as_bytes());
                }
            }
        }
        let mut key = [0; 16];
        key.copy_from_slice(&hash.finish().as_ref()[..16]);
        Self(key)
    }

    /// Names the object and its content.
    pub(super) fn with_version(self, version: &Version) -> String {
        let mut hash = Context::new(&SHA256);
        for part in [&version.etag, &version.last_modified] {
            let part = part.as_deref().unwrap_or_default();
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        let tag: String = hash.finish().as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{self}-{}-{tag}", version.size)
    }

    /// Reads what `Display` wrote.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let bits = (text.len() == 32).then(|| u128::from_str_radix(text, 16).ok())??;
        Some(Self(bits.to_be_bytes()))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// What tells one content of an object from another: its size and the store's validators.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Version {
    /// Size in bytes.
    pub(super) size: u64,
    /// `ETag` as sent, quotes and all.
    pub(super) etag: Option<String>,
    /// `Last-Modified` as sent.
    pub(super) last_modified: Option<String>,
}

impl Version {
    /// The version of an answer about an object of `size` bytes.
    pub(super) fn of(headers: &HeaderMap, size: u64) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(|text| text.trim().to_owned());
        Self { size, etag: text(header::ETAG), last_modified: text(header::LAST_MODIFIED) }
    }

    /// The same validators with another size.
    pub(super) fn sized(&self, size: u64) -> Self {
        Self { size, ..self.clone() }
    }

    /// Whether the two are one content as far as the store's word goes. A strong `ETag` decides alone: replicas of one
    /// store often differ in `Last-Modified`. A weak one promises less, so there the dates must agree too.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        if self.size != other.size {
            return false;
        }
        let dates = agree(self.last_modified.as_deref(), other.last_modified.as_deref());
        match (&self.etag, &other.etag) {
            (Some(a), Some(b)) if is_strong(a) && is_strong(b) => a == b,
            (Some(a), Some(b)) => opaque(a) == opaque(b) && dates,
            _ => dates,
        }
    }

    /// The validator for `If-Range`: only a strong `ETag` may stand there (RFC 9110 section 13.1.5).
    pub(super) fn if_range(&self) -> Option<&str> {
        self.etag.as_deref().filter(|etag| is_strong(etag))
    }

    /// Whether a later answer can be told to be of the same content at all.
    pub(super) fn has_validator(&self) -> bool {
        self.etag.is_some() || self.last_modified.is_some()
    }
}

fn agree(a: Option<&str>, b: Option<&str>) -> bool {
    a.zip(b).is_none_or(|(a, b)| a == b)
}

fn is_strong(etag: &str) -> bool {
    etag.starts_with('"')
}

fn opaque(etag: &str) -> &str {
    etag.trim_start_matches("W/").trim_matches('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(link: &str) -> String {
        Key::of(&link.parse().unwrap()).to_string()
    }

    #[test]
    fn a_new_signature_is_the_same_object_and_another_object_is_not() {
        let s3 = key("https://b.s3.amazonaws.com/a.mp4?X-Amz-Signature=1&X-Amz-Date=2&versionId=7");
        assert_eq!(s3, key("https://b.s3.amazonaws.com/a.mp4?X-Amz-Signature=9&X-Amz-Date=8&versionId=7"));
        assert_ne!(s3, key("https://b.s3.amazonaws.com/a.mp4?X-Amz-Signature=1&X-Amz-Date=2&versionId=8"));
        assert_ne!(s3, key("https://b.s3.amazonaws.com/b.mp4?X-Amz-Signature=1&X-Amz-Date=2&versionId=7"));
        assert_ne!(key("https://files.local/get?file=a.mp4"), key("https://files.local/get?file=b.mp4"));
        let azure = key("https://x.blob.core.windows.net/c/a.mp4?sv=2023&se=1&sr=b&sp=r&sig=abc");
        assert_eq!(azure, key("https://x.blob.core.windows.net/c/a.mp4?sv=2024&se=9&sr=b&sp=r&sig=xyz"));
        assert_eq!(Key::parse(&s3).map(|key| key.to_string()), Some(s3));
        assert!(Key::parse("zz").is_none() && Key::parse(&"-".repeat(32)).is_none());
    }

    fn version(size: u64, etag: Option<&str>, date: Option<&str>) -> Version {
        Version { size, etag: etag.map(Into::into), last_modified: date.map(Into::into) }
    }

    #[test]
    fn versions_are_compared_by_the_best_validator_both_have() {
        let strong = version(5, Some("\"a\""), Some("Mon"));
        assert!(strong.is_same_as(&version(5, Some("\"a\""), Some("Tue"))));
        assert!(!strong.is_same_as(&version(5, Some("\"b\""), Some("Mon"))));
        assert!(!strong.is_same_as(&version(6, Some("\"a\""), Some("Mon"))));
        assert!(strong.is_same_as(&version(5, None, Some("Mon"))));
        assert!(!strong.is_same_as(&version(5, None, Some("Tue"))));
        let weak = version(5, Some("W/\"a\""), Some("Mon"));
        assert!(weak.is_same_as(&version(5, Some("W/\"a\""), Some("Mon"))));
        assert!(!weak.is_same_as(&version(5, Some("W/\"a\""), Some("Tue"))));
        assert_eq!((strong.if_range(), weak.if_range()), (Some("\"a\""), None));
        assert!(weak.has_validator() && !version(5, None, None).has_validator());
    }
}
