//! JSON objects whose values stay the text they were: what is not changed is written back literally.

use std::borrow::Cow;

use indexmap::IndexMap;
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer as _, Serialize};
use serde_json::value::{RawValue, to_raw_value};

/// An object's fields in their order, each value as its literal text.
pub(super) type Fields = IndexMap<String, Box<RawValue>>;

/// Reads an object one level deep.
pub(super) fn fields(json: &RawValue) -> Option<Fields> {
    serde_json::from_str(json.get()).ok()
}

/// One field of an object that may have a hundred thousand: the others are passed over, not copied.
pub(super) fn pick<'a>(json: &'a RawValue, key: &str) -> Option<&'a RawValue> {
    struct Pick<'k>(&'k str);
    impl<'de> Visitor<'de> for Pick<'_> {
        type Value = Option<&'de RawValue>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found = None;
            while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                if key == self.0 {
                    found = Some(map.next_value()?);
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(found)
        }
    }
    serde_json::Deserializer::from_str(json.get()).deserialize_map(Pick(key)).ok().flatten()
}

/// How many fields an object has, without copying them.
pub(super) fn count(json: &RawValue) -> Option<u64> {
    let fields: IndexMap<String, IgnoredAny> = serde_json::from_str(json.get()).ok()?;
    Some(fields.len() as u64)
}

/// Reads a list one level deep, without copying its items.
pub(super) fn items(json: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(json.get()).ok()
}

/// Reads a field, if it is there and of this type; `null` counts as absent.
pub(super) fn read<T: DeserializeOwned>(fields: &Fields, key: &str) -> Option<T> {
    fields.get(key).and_then(|value| serde_json::from_str::<Option<T>>(value.get()).ok()).flatten()
}

/// Whether a field is there and is not `null`.
pub(super) fn has(fields: &Fields, key: &str) -> bool {
    fields.get(key).is_some_and(|value| value.get() != "null")
}

/// Writes JSON text of a value that is always writable: strings, numbers, lists and maps with string keys.
#[allow(clippy::expect_used)] // Serialising fails only for maps with other keys than strings, and for writers that fail.
pub(super) fn written(value: &(impl Serialize + ?Sized)) -> Box<RawValue> {
    to_raw_value(value).expect("plain data is writable as JSON")
}

/// Sets a field in place, or adds it at the end.
pub(super) fn set(fields: &mut Fields, key: &str, value: &(impl Serialize + ?Sized)) {
    fields.insert(key.to_owned(), written(value));
}

/// A whole number that may be written as a text or as `5.0`; old rows do both.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Lenient {
    /// As a number.
    Number(f64),
    /// As a text.
    Text(String),
}

impl Lenient {
    /// The number, where it is one that counts something.
    pub(super) fn whole(&self) -> Option<u64> {
        match self {
            Self::Number(number) => (*number >= 0.0 && number.fract() == 0.0 && *number < 9e15).then_some(*number as u64),
            Self::Text(text) => text.trim().parse().ok(),
        }
    }
}
