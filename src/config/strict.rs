//! Reads a tree of values into the types of `file.rs` without coercion, and reports every error, not only the first.
//!
//! serde stops at its first error. Here each error knows its path, so what is wrong can be cut out of the tree and the
//! rest read again, until nothing is left to complain about.

use std::fmt;
use std::path::Path;

use config::{Value, ValueKind};
use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor};

use super::problem::{Problem, nearest};

/// Where values from the environment come from; they are text whatever their key's type, and are parsed by it.
pub(super) const ENVIRONMENT: &str = "environment ";

/// Reads `tree`; what could not be read keeps its default and is added to `problems`.
pub(super) fn read<T: Default + for<'de> Deserialize<'de>>(mut tree: Value, problems: &mut Vec<Problem>) -> T {
    loop {
        match T::deserialize(Strict { value: &tree }) {
            Ok(read) => return read,
            Err(fault) => {
                let key = fault.path.iter().rev().map(|segment| shown(segment)).collect::<Vec<_>>().join(".");
                problems.push(Problem::new(fault.origin.unwrap_or_default(), key, fault.what));
                if !cut(&mut tree, &fault.path) {
                    return T::default();
                }
            }
        }
    }
}

/// Keys that are not plain words, such as an agent's path, are quoted as TOML would.
pub(super) fn shown(segment: &str) -> String {
    let plain = !segment.is_empty() && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if plain { segment.to_owned() } else { quoted(&serde_json::Value::from(segment).to_string()) }
}

/// JSON's texts are TOML's, but for one character that TOML wants escaped.
pub(super) fn quoted(json: &str) -> String {
    json.replace('\u{7f}', "\\u007f")
}

/// Removes what stands at `path` (innermost first); false if there is nothing.
fn cut(tree: &mut Value, path: &[String]) -> bool {
    let Some((segment, inner)) = path.split_last() else { return false };
    match &mut tree.kind {
        ValueKind::Table(table) if inner.is_empty() => table.remove(segment).is_some(),
        ValueKind::Table(table) => table.get_mut(segment).is_some_and(|child| cut(child, inner)),
        ValueKind::Array(items) => match segment.parse::<usize>() {
            Ok(index) if index < items.len() => {
                items.remove(index);
                true
            }
            _ => false,
        },
        _ => false,
    }
}

/// One thing that serde could not read.
#[derive(Debug)]
struct Fault {
    /// Innermost first.
    path: Vec<String>,
    origin: Option<String>,
    what: String,
}

impl Fault {
    fn under(mut self, segment: &str, value: &Value) -> Self {
        self.origin = self.origin.or_else(|| value.origin().map(Into::into));
        self.path.push(segment.to_owned());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { path: Vec::new(), origin: None, what: message.to_string() }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::custom(format_args!("must be {}, not {}", plainly(&expected.to_string()), found_plainly(found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(found: &str, allowed: &'static [&'static str]) -> Self {
        let listed = allowed.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ");
        let hint = nearest(found, allowed.iter().copied()).map_or(String::new(), |word| format!("; did you mean {word:?}?"));
        Self::custom(format_args!("{found:?} is none of {listed}{hint}"))
    }

    fn unknown_field(found: &str, known: &'static [&'static str]) -> Self {
        let hint = match nearest(found, known.iter().copied()) {
            Some(key) => format!("the nearest known one is {key}"),
            None => format!("known here: {}", known.join(", ")),
        };
        Self::custom(format_args!("unknown key {found}; {hint}"))
    }
}

/// serde's words for what it expects, in the words of a configuration file.
fn plainly(expected: &str) -> String {
    match expected {
        "i64" | "u64" | "u32" | "u16" | "u8" | "usize" => "a whole number without quotes".into(),
        "f64" => "a number without quotes".into(),
        "a boolean" => "true or false without quotes".into(),
        "a string" | "path string" => "a text in quotes".into(),
        "a sequence" => "a list in brackets".into(),
        text if text.starts_with("struct ") || text == "a map" => "a table of keys".into(),
        text if text.starts_with("tuple struct ") => "a text in quotes".into(),
        text => text.into(),
    }
}

fn found_plainly(found: Unexpected<'_>) -> String {
    match found {
        // Cut: whatever somebody pasted here is not for a log.
        Unexpected::Str(text) if text.chars().count() > 24 => "a long text".into(),
        Unexpected::Str(text) => format!("the text {text:?}"),
        Unexpected::Bool(word) => word.to_string(),
        Unexpected::Unsigned(number) => format!("the number {number}"),
        Unexpected::Signed(number) => format!("the number {number}"),
        Unexpected::Float(number) => format!("the number {number}"),
        Unexpected::Seq => "a list".into(),
        Unexpected::Map => "a table".into(),
        other => other.to_string(),
    }
}

/// A value that is read as exactly what it is; only text from the environment is parsed by the type that is wanted.
#[derive(Clone, Copy)]
struct Strict<'a> {
    value: &'a Value,
}

impl<'a> Strict<'a> {
    fn environment_text(self) -> Option<&'a str> {
        let from_environment = self.value.origin().is_some_and(|origin| origin.starts_with(ENVIRONMENT));
        match &self.value.kind {
            ValueKind::String(text) if from_environment => Some(text),
            _ => None,
        }
    }

    fn wrong<'de, V: Visitor<'de>>(self, visitor: &V) -> Fault {
        let found = match &self.value.kind {
            ValueKind::String(text) => Unexpected::Str(text),
            ValueKind::Boolean(word) => Unexpected::Bool(*word),
            ValueKind::I64(number) => Unexpected::Signed(*number),
            ValueKind::U64(number) => Unexpected::Unsigned(*number),
            ValueKind::Float(number) => Unexpected::Float(*number),
            ValueKind::Array(_) => Unexpected::Seq,
            ValueKind::Table(_) => Unexpected::Map,
            _ => Unexpected::Other("a value of another kind"),
        };
        de::Error::invalid_type(found, visitor)
    }
}

impl<'de> de::Deserializer<'de> for Strict<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.value.kind {
            ValueKind::Boolean(word) => visitor.visit_bool(*word),
            ValueKind::I64(number) => visitor.visit_i64(*number),
            ValueKind::U64(number) => visitor.visit_u64(*number),
            ValueKind::Float(number) => visitor.visit_f64(*number),
            ValueKind::String(text) => visitor.visit_str(text),
            ValueKind::Array(items) => visitor.visit_seq(Items { items, next: 0 }),
            ValueKind::Table(_) => self.deserialize_map(visitor),
            _ => Err(self.wrong(&visitor)),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.environment_text().map(str::parse) {
            Some(Ok(word)) => visitor.visit_bool(word),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.environment_text().map(str::parse) {
            Some(Ok(number)) => visitor.visit_i64(number),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.environment_text().map(str::parse) {
            Some(Ok(number)) => visitor.visit_f64(number),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    /// Relative paths are relative to the file that names them, and only here is that file still known.
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Fault> {
        match &self.value.kind {
            ValueKind::String(text) if name == "FilePath" && !text.is_empty() => {
                let origin = self.value.origin().unwrap_or_default();
                let beside = origin.rsplit_once(':').and_then(|(file, _)| Path::new(file).parent());
                let whole = beside.map_or_else(|| text.into(), |directory| directory.join(text));
                let whole = std::path::absolute(whole).map_err(de::Error::custom)?;
                visitor.visit_newtype_struct(whole.to_string_lossy().into_owned().into_deserializer())
            }
            _ => visitor.visit_newtype_struct(self),
        }
    }

    /// A list from the environment is written as in TOML, or as words between commas.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let Some(text) = self.environment_text() else { return self.deserialize_any(visitor) };
        let origin = self.value.origin().map(str::to_owned);
        let words: Vec<String> = if text.trim_start().starts_with('[') {
            let listed: Result<toml::Table, _> = format!("list = {text}").parse();
            let list = listed.ok().and_then(|mut table| table.remove("list")).and_then(|list| list.try_into().ok());
            list.ok_or_else(|| <Fault as de::Error>::custom("is not a list of texts: write a,b or [\"a\", \"b\"]"))?
        } else {
            text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
        };
        let items: Vec<Value> = words.into_iter().map(|word| Value::new(origin.as_ref(), word)).collect();
        visitor.visit_seq(Items { items: &items, next: 0 })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let ValueKind::Table(table) = &self.value.kind else { return Err(self.wrong(&visitor)) };
        // In order of name, so that the same file gives the same list of errors.
        let mut entries: Vec<(&String, &Value)> = table.iter().collect();
        entries.sort_by_key(|(key, _)| *key);
        visitor.visit_map(Entries { entries, next: 0 })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if let ValueKind::Table(table) = &self.value.kind {
            let mut unknown: Vec<_> = table.iter().filter(|(key, _)| !fields.contains(&key.as_str())).collect();
            unknown.sort_by_key(|(key, _)| *key);
            if let Some((key, value)) = unknown.first() {
                return Err(<Fault as de::Error>::unknown_field(key, fields).under(key, value));
            }
        }
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.value.kind {
            ValueKind::String(text) => visitor.visit_enum(text.as_str().into_deserializer()),
            _ => Err(self.wrong(&visitor)),
        }
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i128 u8 u16 u32 u64 u128 f32 char str string bytes byte_buf unit unit_struct tuple tuple_struct
        identifier ignored_any
    }
}

struct Items<'a> {
    items: &'a [Value],
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        let Some(value) = self.items.get(self.next) else { return Ok(None) };
        self.next += 1;
        seed.deserialize(Strict { value }).map(Some).map_err(|fault| fault.under(&(self.next - 1).to_string(), value))
    }
}

struct Entries<'a> {
    entries: Vec<(&'a String, &'a Value)>,
    next: usize,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Fault;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        let Some((key, value)) = self.entries.get(self.next) else { return Ok(None) };
        seed.deserialize(key.as_str().into_deserializer()).map(Some).map_err(|fault: Fault| fault.under(key, value))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        let Some((key, value)) = self.entries.get(self.next) else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        self.next += 1;
        seed.deserialize(Strict { value }).map_err(|fault| fault.under(key, value))
    }
}
