//! Names of things at Encord, secrets and links: parsed once at the door, trusted afterwards.

use std::cell::RefCell;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

/// A text that is not a UUID in its usual form of 8-4-4-4-12 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a UUID (8-4-4-4-12 hexadecimal digits)")]
pub struct NotAUuid(String);

fn parse_uuid(text: &str) -> Result<String, NotAUuid> {
    let groups = [8, 4, 4, 4, 12];
    let mut parts = text.split('-');
    let fits =
        groups.iter().all(|&length| parts.next().is_some_and(|part| part.len() == length && part.bytes().all(|b| b.is_ascii_hexdigit())))
            && parts.next().is_none();
    // Cut by characters: the text comes from a stranger and is quoted in an answer of bounded length.
    if fits { Ok(text.to_ascii_lowercase()) } else { Err(NotAUuid(text.chars().take(48).collect())) }
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The identifier as 36 lower-case characters.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NotAUuid;
            fn from_str(text: &str) -> Result<Self, NotAUuid> {
                parse_uuid(text).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NotAUuid;
            fn try_from(text: String) -> Result<Self, NotAUuid> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

uuid_id! {
    /// A project at Encord.
    ProjectHash
}
uuid_id! {
    /// A data item at Encord: a video, an image, or an image group.
    DataHash
}
uuid_id! {
    /// A dataset at Encord: the data items that projects take theirs from.
    DatasetHash
}
uuid_id! {
    /// A storage folder at Encord.
    FolderUuid
}
uuid_id! {
    /// A storage item at Encord: what lies in a folder, and what a data item is backed by.
    ItemUuid
}

macro_rules! opaque_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes the identifier as Encord wrote it.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The identifier as Encord wrote it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

opaque_id! {
    /// An initialised label row. Opaque: it is only handed back to Encord.
    LabelHash
}
opaque_id! {
    /// An ontology. Opaque: it is only handed back to Encord.
    OntologyHash
}
opaque_id! {
    /// A class, attribute or option of an ontology: 8 characters, base64 or hexadecimal; may hold `+` and `/`.
    FeatureNodeHash
}

/// The id of one request: 12 hexadecimal digits, at the end of every message and in every log line of that request.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(u64);

impl RequestId {
    /// A fresh random id.
    pub fn random() -> Self {
        Self(RANDOM.with_borrow_mut(Random::next) & 0xffff_ffff_ffff)
    }
}

thread_local! {
    static RANDOM: RefCell<Random> = const { RefCell::new(Random { bytes: [0; Random::BYTES], used: Random::BYTES }) };
}

/// Random bytes drawn in advance: asking the kernel for each id would be the costliest step of answering a test request.
struct Random {
    bytes: [u8; Random::BYTES],
    used: usize,
}

impl Random {
    const BYTES: usize = 512;

    fn next(&mut self) -> u64 {
        if self.used + 8 > Self::BYTES {
            if getrandom::fill(&mut self.bytes).is_err() {
                // Ids only need to differ from each other; without a random source the clock serves.
                return std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
            }
            self.used = 0;
        }
        let mut bits = [0; 8];
        bits.copy_from_slice(&self.bytes[self.used..self.used + 8]);
        self.used += 8;
        u64::from_ne_bytes(bits)
    }
}

impl FromStr for RequestId {
    type Err = std::num::ParseIntError;

    /// As it is shown.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012x}", self.0)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({self})")
    }
}

/// A text that must never be seen: a key, a password, a token. It prints as `***` and is wiped when dropped.
#[derive(Clone, PartialEq, Eq, Zeroize)]
#[zeroize(drop)]
pub struct Secret(String);

impl Secret {
    /// Takes a secret's text as it is; trim it first where the source is a file.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for the one place that sends or checks it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is no text at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A link to media whose query grants access to it: whoever reads it can download the item. Prints without its query.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedUrl(url::Url);

impl SignedUrl {
    /// The link itself, for the one place that fetches it.
    pub fn expose(&self) -> &url::Url {
        &self.0
    }

    /// The link without its query and credentials: names the item, grants nothing.
    pub fn identity(&self) -> String {
        let mut bare = self.0.clone();
        bare.set_query(None);
        bare.set_fragment(None);
        // Both setters fail only on links without a host, which have no credentials either.
        let _ = bare.set_username("");
        let _ = bare.set_password(None);
        bare.into()
    }
}

impl FromStr for SignedUrl {
    type Err = url::ParseError;
    fn from_str(text: &str) -> Result<Self, url::ParseError> {
        text.parse().map(Self)
    }
}

impl fmt::Display for SignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.identity())
    }
}

impl fmt::Debug for SignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignedUrl({})", self.identity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_parsed_in_any_case_and_nothing_else_is() {
        let hash: ProjectHash = "027E0C65-c53f-426d-9f02-04fafe8bd80e".parse().unwrap();
        assert_eq!(hash.as_str(), "027e0c65-c53f-426d-9f02-04fafe8bd80e");
        for wrong in [
            "",
            "p",
            "027e0c65c53f426d9f0204fafe8bd80e",
            "027e0c65-c53f-426d-9f02-04fafe8bd80",
            "027e0c65-c53f-426d-9f02-04fafe8bd80e-",
            "g27e0c65-c53f-426d-9f02-04fafe8bd80e",
        ] {
            assert!(wrong.parse::<ProjectHash>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn secrets_and_signed_links_do_not_print() {
        let link: SignedUrl = "https://user:pass@store.example/a/b.mp4?X-Goog-Signature=abc#frag".parse().unwrap();
        for shown in [format!("{link}"), format!("{link:?}")] {
            assert!(shown.contains("https://store.example/a/b.mp4"), "{shown}");
            assert!(!shown.contains("abc") && !shown.contains("pass") && !shown.contains("frag"), "{shown}");
        }
        let key = Secret::new("sk-123");
        assert_eq!(format!("{key} {key:?}"), "*** ***");
    }

    #[test]
    fn a_request_id_is_twelve_hexadecimal_digits() {
        let id = RequestId::random();
        let shown = id.to_string();
        assert_eq!((shown.len(), shown.parse()), (12, Ok(id)));
        assert!(shown.bytes().all(|b| b.is_ascii_hexdigit()));
    }

    #[test]
    fn request_ids_differ_on_one_thread_and_between_threads() {
        let draw = || (0..1000).map(|_| RequestId::random()).collect::<Vec<_>>();
        let other = std::thread::spawn(draw).join().unwrap();
        let ids: std::collections::HashSet<_> = draw().into_iter().chain(other).collect();
        assert_eq!(ids.len(), 2000);
    }
}
