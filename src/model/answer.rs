//! The JSON object in what a model said, wherever it hides: after thoughts, in a fence, in prose, in a list.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// More text than this is not looked through.
const LONGEST: usize = 1 << 20;
/// How many braces that open nothing are tried.
const TRIES: usize = 1_000;

/// Why a text holds no usable object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoObject {
    /// Nothing in it looks like a JSON object.
    None,
    /// An object begins and does not end.
    Cut,
    /// An object has a number that no computer holds.
    HugeNumber,
    /// An object has the same key twice: which value counts is anyone's guess.
    DuplicateKey,
}

impl fmt::Display for NoObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "there is no JSON object in it",
            Self::Cut => "its JSON object is cut off",
            Self::HugeNumber => "it has a number out of range",
            Self::DuplicateKey => "its JSON object has a key twice",
        })
    }
}

/// All complete objects in `text` that are not inside of another, in order; at least one.
pub(super) fn objects(text: &str) -> Result<Vec<Map<String, Value>>, NoObject> {
    let text = spoken(text);
    let mut found = Vec::new();
    let mut nothing = NoObject::None;
    let mut at = 0;
    for _ in 0..TRIES {
        let Some(open) = text[at..].find('{') else { break };
        at += open;
        let mut stream = serde_json::Deserializer::from_str(&text[at..]).into_iter::<Unambiguous>();
        match stream.next() {
            Some(Ok(Unambiguous(Value::Object(object)))) => {
                found.push(object);
                at += stream.byte_offset();
            }
            Some(Err(error)) if error.is_data() => return Err(NoObject::DuplicateKey),
            // What follows is inside of the unfinished object and no answer of its own.
            Some(Err(error)) if error.is_eof() => return if found.is_empty() { Err(NoObject::Cut) } else { Ok(found) },
            // A run of digits without end; the text around it may hold something better.
            Some(Err(error)) if error.to_string().starts_with("number out of range") => {
                nothing = NoObject::HugeNumber;
                at += 1;
            }
            _ => at += 1,
        }
    }
    if found.is_empty() { Err(nothing) } else { Ok(found) }
}

/// The text after the thoughts: some templates write only the closing tag, or leave an empty pair of tags.
fn spoken(text: &str) -> &str {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = &text[..end];
    ["</think>", "</thinking>", "</thought>", "</reasoning>"]
        .iter()
        .filter_map(|tag| text.rfind(tag).map(|at| &text[at + tag.len()..]))
        .min_by_key(|rest| rest.len())
        .unwrap_or(text)
}

/// A JSON value in which no object has a key twice.
struct Unambiguous(Value);

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Unambiguous(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let Unambiguous(value) = entries.next_value()?;
            if object.insert(key, value).is_some() {
                return Err(de::Error::custom("duplicate key"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn first(text: &str) -> Value {
        Value::Object(objects(text).unwrap().swap_remove(0))
    }

    #[test]
    fn the_object_is_found_behind_whatever_stands_before_it() {
        let wanted = json!({"a": "x {y}", "b": [1, 2.5, null, true]});
        let bare = r#"{"a": "x {y}", "b": [1, 2.5, null, true]}"#;
        for text in [
            bare.to_owned(),
            format!("\u{feff}  {bare}\n\n"),
            format!("```json\n{bare}\n```"),
            format!("<think>\nMaybe {{\"a\": \"no\"}}?\n</think>\n\n{bare}"),
            format!("the template swallowed the opening tag {{\"a\": 1}}</think>{bare}"),
            format!("Sure! In {{curly}} braces: {bare} I hope this helps {{}}."),
            format!("[{bare}]"),
        ] {
            assert_eq!(first(&text), wanted, "{text}");
        }
    }

    #[test]
    fn objects_inside_of_objects_are_no_answers_of_their_own() {
        let found = objects(r#"{"a": {"b": 1}} and {"c": [{"d": 2}]}"#).unwrap();
        assert_eq!(found.iter().map(|object| object.keys().next().unwrap().as_str()).collect::<Vec<_>>(), ["a", "c"]);
    }

    #[test]
    fn what_is_no_single_object_is_refused() {
        for (text, why) in [
            ("", NoObject::None),
            ("a cat", NoObject::None),
            ("[1, 2]", NoObject::None),
            ("{'a': 1}", NoObject::None),
            (r#"{"a": "#, NoObject::Cut),
            (r#"{"a": {"b": 1}, "c": "half a sen"#, NoObject::Cut),
            (r#"{"a": 1, "a": 1}"#, NoObject::DuplicateKey),
            (r#"{"a": {"b": 1, "b": 2}}"#, NoObject::DuplicateKey),
            (r#"{"a": 1e999}"#, NoObject::HugeNumber),
            ("<think>{\"a\":1}</think>", NoObject::None),
        ] {
            assert_eq!(objects(text), Err(why), "{text}");
        }
    }

    #[test]
    fn hostile_nesting_ends_quickly() {
        let start = std::time::Instant::now();
        for text in ["{".repeat(LONGEST), r#"{"a":"#.repeat(LONGEST / 5), "{\"".repeat(LONGEST / 2), "{\"a\":[".repeat(90_000)] {
            assert!(objects(&text).is_err());
        }
        assert!(start.elapsed().as_secs() < 5);
    }
}
