//! The kinds of value a key can have, each checked where it is read, so that an error names the line it stands on.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use url::Url;

use crate::ids::{DatasetHash, FolderUuid, ProjectHash};
use crate::server::Network;
use crate::telemetry::{Format, LogSettings};

/// A duration with its unit: `"500ms"`, `"55s"`, `"2m"`, `"1h"`, `"7d"`; never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub struct Span(pub Duration);

impl Span {
    /// Whole seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = (&text[..digits], text[digits..].trim());
        let scale = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale);
        let milliseconds = match (number.parse::<u64>(), scale) {
            (Ok(number), Some(scale)) => number.checked_mul(scale),
            (Ok(_), None) if unit.is_empty() => {
                return Err(format!("{text:?} has no unit: write {text}s for seconds, {text}ms, {text}m or {text}h"));
            }
            _ => return Err(format!("{text:?} is not a duration: write a whole number and its unit, such as 500ms, 55s, 2m, 1h or 7d")),
        };
        match milliseconds {
            Some(0) => Err("must be longer than zero".into()),
            // A century: beyond it, clock arithmetic could overflow.
            Some(milliseconds) if milliseconds <= 3_155_760_000_000 => Ok(Self(Duration::from_millis(milliseconds))),
            _ => Err(format!("{text:?} is too long")),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = self.0.as_millis() as u64;
        // Seconds read best up to two minutes; beyond, the largest unit that divides evenly.
        let preferred = if milliseconds < 120_000 { &UNITS[..2] } else { &UNITS[..] };
        let fits = preferred.iter().rev().find(|(_, scale)| milliseconds.is_multiple_of(*scale));
        let (unit, scale) = fits.unwrap_or(&UNITS[0]);
        write!(f, "{}{unit}", milliseconds / scale)
    }
}

/// A number of bytes: a whole number, or a text with a unit: `"512MiB"`, `"1GiB"`, `"20GB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let scale: Option<u64> = match text[digits..].trim() {
            "" | "B" => Some(1),
            "kB" | "KB" => Some(1_000),
            "MB" => Some(1_000_000),
            "GB" => Some(1_000_000_000),
            "KiB" => Some(1 << 10),
            "MiB" => Some(1 << 20),
            "GiB" => Some(1 << 30),
            _ => None,
        };
        let wrong = || format!("{text:?} is not a number of bytes: write 1073741824, \"1GiB\" or \"500MB\"");
        let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
        number.checked_mul(scale.ok_or_else(wrong)?).ok_or_else(|| format!("{text:?} is too large")).map(Self)
    }
}

/// A whole number from `MIN` to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Within<const MIN: u64, const MAX: u64>(pub u64);

impl<const MIN: u64, const MAX: u64> FromStr for Within<MIN, MAX> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim().parse() {
            Ok(number) if (MIN..=MAX).contains(&number) => Ok(Self(number)),
            _ => Err(format!("must be a whole number from {MIN} to {MAX}, not {text}")),
        }
    }
}

/// A number from 0 to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct UpTo<const MAX: u64>(pub f64);

impl<'de, const MAX: u64> Deserialize<'de> for UpTo<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match f64::deserialize(deserializer)? {
            number if (0.0..=MAX as f64).contains(&number) => Ok(Self(number)),
            other => Err(D::Error::custom(format!("must be a number from 0 to {MAX}, not {other}"))),
        }
    }
}

/// An address with its port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address(pub SocketAddr);

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse()
            .map(Self)
            .map_err(|_| format!("{text:?} is not an IP address with a port: write \"0.0.0.0:8443\", \"127.0.0.1:8443\" or \"[::]:8443\""))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The base of an HTTP service, without its final slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl(pub String);

impl BaseUrl {
    /// Parsed; it was seen to be an address with a host when it was read.
    pub fn url(&self) -> Option<Url> {
        Url::parse(&self.0).ok()
    }
}

impl FromStr for BaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "https" | "http") && url.has_host() => Ok(Self(text.trim_end_matches('/').to_owned())),
            // The text is not quoted: an address may carry a password.
            _ => Err("is not an address that begins with https://, such as \"https://api.encord.com\"".into()),
        }
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A web page's origin, compared with the browser's `Origin` header as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebOrigin(pub String);

impl FromStr for WebOrigin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Err("\"*\" would let every web page use this box: name the origins, such as \"https://app.encord.com\"".into());
        }
        let wrong = || format!("{text:?} is not an origin: write scheme, host and port only, such as \"https://app.encord.com\"");
        let url = Url::parse(text).map_err(|_| wrong())?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err(wrong());
        }
        // Browsers send origins in this very form: lower case, no default port, no final slash.
        match url.origin().ascii_serialization() {
            origin if origin == text => Ok(Self(origin)),
            origin => Err(format!("{text:?} is not what a browser sends as its origin: write {origin:?}")),
        }
    }
}

impl fmt::Display for WebOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The path of a webhook: begins with `/`, plain characters only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentPath(pub String);

impl FromStr for AgentPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._~".contains(&b);
        if !text.starts_with('/') {
            Err(format!("{text:?} must begin with /"))
        } else if !text.bytes().all(plain) || text.contains("//") || text.split('/').any(|part| part == "." || part == "..") {
            Err(format!("{text:?} is not a plain path: letters, digits and - . _ ~ between single slashes"))
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

impl fmt::Display for AgentPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A camera's name, as it stands in an address: a word of letters, digits, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CameraName(pub String);

impl FromStr for CameraName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if text.is_empty() || text.len() > 64 || !text.bytes().all(plain) {
            return Err(format!("{text:?} is no camera's name: write a word of letters, digits, - and _, such as \"gate\""));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for CameraName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Width and height of a picture: `"1920x1080"`; empty for the camera's own choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PictureSize(pub Option<(u32, u32)>);

impl FromStr for PictureSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        let side = |text: &str| text.parse::<u32>().ok().filter(|side| (1..=65_535).contains(side));
        let sides = text.split_once('x').and_then(|(width, height)| Some((side(width)?, side(height)?)));
        sides.map(|sides| Self(Some(sides))).ok_or_else(|| format!("{text:?} is no size: write \"1920x1080\""))
    }
}

impl fmt::Display for PictureSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |(width, height)| write!(f, "{width}x{height}"))
    }
}

/// A value that may be left out: an empty text stands for none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maybe<T>(pub Option<T>);

impl<T> Default for Maybe<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: FromStr<Err: fmt::Display>> FromStr for Maybe<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        text.parse().map(|id| Self(Some(id))).map_err(|error: T::Err| error.to_string())
    }
}

impl<T: fmt::Display> fmt::Display for Maybe<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |id| id.fmt(f))
    }
}

/// An address range, such as `192.168.4.0/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientNetwork(pub Network);

impl FromStr for ClientNetwork {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self)
    }
}

impl fmt::Display for ClientNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is logged: a level, or `level,target=level,…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLevel(pub String);

impl FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let settings = LogSettings { level: text.to_owned(), format: Format::Auto };
        settings.check().map_err(|what| what.trim_start_matches("log.level ").to_owned())?;
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A file or directory. A relative one is relative to the file that names it; an empty one is not set.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename = "FilePath")]
pub struct FilePath(pub PathBuf);

impl FilePath {
    /// The path, if one is set.
    pub fn get(&self) -> Option<&Path> {
        Some(self.0.as_path()).filter(|path| !path.as_os_str().is_empty())
    }

    /// The path for a part that keeps it, if one is set.
    pub fn owned(&self) -> Option<PathBuf> {
        self.get().map(Path::to_owned)
    }
}

impl From<&str> for FilePath {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

/// Values that are written as text.
macro_rules! written_as_text {
    ($($type:ty => $expecting:literal),* $(,)?) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl Visitor<'_> for Text {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_str<E: Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )*};
}

written_as_text! {
    Span => "a duration in quotes, such as \"500ms\", \"55s\" or \"2m\"",
    Address => "an address with its port in quotes, such as \"0.0.0.0:8443\"",
    BaseUrl => "an address in quotes, such as \"https://api.encord.com\"",
    WebOrigin => "an origin in quotes, such as \"https://app.encord.com\"",
    AgentPath => "a path in quotes, such as \"/cars\"",
    CameraName => "a camera's name in quotes, such as \"gate\"",
    PictureSize => "a width and height in quotes, such as \"1920x1080\"",
    Maybe<FolderUuid> => "the UUID of a storage folder in quotes",
    Maybe<DatasetHash> => "the UUID of a dataset in quotes",
    Maybe<ProjectHash> => "the hash of a project in quotes",
    Maybe<AgentPath> => "the path of an agent in quotes, such as \"/cars\"",
    Maybe<Span> => "a duration in quotes, such as \"10m\"",
    ClientNetwork => "an address range in quotes, such as \"192.168.4.0/24\"",
    LogLevel => "a log level in quotes, such as \"info\"",
}

struct Number<T>(std::marker::PhantomData<T>, &'static str);

impl<T: FromStr<Err = String>> Visitor<'_> for Number<T> {
    type Value = T;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.1)
    }
    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        number.to_string().parse().map_err(E::custom)
    }
    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        number.to_string().parse().map_err(E::custom)
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Number(std::marker::PhantomData, "a number of bytes, such as 1073741824 or \"1GiB\""))
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Within<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        i64::deserialize(deserializer)?.to_string().parse().map_err(D::Error::custom)
    }
}

impl<const MIN: u64, const MAX: u64> Serialize for Within<MIN, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}
