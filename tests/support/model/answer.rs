//! An answer within a schema, from what was measured in the picture or from what a test has fixed.

use serde_json::{Map, Value, json};

use super::Picture;
use super::picture::COLOURS;

/// What an answer is made from.
pub(super) struct View<'a> {
    pub(super) picture: Option<&'a Picture>,
    /// Title of an attribute → label, labels, text, number or null.
    pub(super) fixed: &'a [(String, Value)],
}

/// A free text that nobody takes for the word of a model.
pub(super) fn description(picture: Option<&Picture>) -> String {
    match picture {
        None => "STAND-IN: no picture was sent".into(),
        Some(seen) => {
            format!("STAND-IN: a {}x{} picture, mean colour {} ({}), {}", seen.width, seen.height, seen.hex(), seen.colour(), seen.light())
        }
    }
}

/// A value that fits `schema`.
pub(super) fn within(schema: &Value, view: &View<'_>) -> Value {
    Maker { root: schema, view }.make(schema, "", None)
}

struct Maker<'a> {
    root: &'a Value,
    view: &'a View<'a>,
}

impl Maker<'_> {
    /// `about` is the title and description that lead here; `wanted` a fixed answer.
    fn make(&self, schema: &Value, about: &str, wanted: Option<&Value>) -> Value {
        let schema = self.resolve(schema);
        let about = &format!("{about} {}", words(schema));
        if let Some(constant) = schema.get("const") {
            return constant.clone();
        }
        if let Some(options) = choices(schema) {
            return self.choose(&options, about, wanted);
        }
        if let Some(branches) = ["anyOf", "oneOf"].iter().find_map(|key| schema[*key].as_array()) {
            return self.make_branch(branches, about, wanted);
        }
        match type_of(schema, wanted) {
            "object" => self.make_object(schema),
            "array" => self.make_array(schema, about, wanted),
            "number" => wanted.cloned().unwrap_or_else(|| self.measure(schema, false)),
            "integer" => match wanted {
                Some(Value::String(label)) => number_of(label, about).unwrap_or(Value::Null),
                Some(number) => number.clone(),
                None => self.measure(schema, true),
            },
            "boolean" => wanted.cloned().unwrap_or_else(|| json!(self.view.picture.is_some_and(|seen| seen.brightness() >= 50.0))),
            "null" => Value::Null,
            _ => wanted.cloned().unwrap_or_else(|| self.describe(schema)),
        }
    }

    fn resolve<'s>(&'s self, schema: &'s Value) -> &'s Value {
        match schema["$ref"].as_str().and_then(|link| link.strip_prefix('#')) {
            Some(pointer) => self.root.pointer(pointer).unwrap_or(schema),
            None => schema,
        }
    }

    fn make_object(&self, schema: &Value) -> Value {
        let mut object = Map::new();
        for (key, property) in schema["properties"].as_object().into_iter().flatten() {
            let property = self.resolve(property);
            let wanted = self.wanted(key, property);
            let unfixed = wanted.is_none() && !self.view.fixed.is_empty();
            if nullable(property) && (unfixed || !condition_met(property, &object)) {
                object.insert(key.clone(), Value::Null);
            } else {
                object.insert(key.clone(), self.make(property, key, wanted));
            }
        }
        Value::Object(object)
    }

    /// What was fixed for the attribute that a property stands for: its title says so, or else its description.
    fn wanted(&self, key: &str, property: &Value) -> Option<&Value> {
        let title = property["title"].as_str().unwrap_or_default();
        let description = property["description"].as_str().unwrap_or_default();
        let named = |test: &dyn Fn(&str) -> bool| self.view.fixed.iter().filter(|(name, _)| test(name)).max_by_key(|(name, _)| name.len());
        named(&|name| name == title || name == key)
            .or_else(|| named(&|name| !title.is_empty() && title.contains(name)))
            .or_else(|| named(&|name| description.starts_with(name) || description.starts_with(&format!("\"{name}\""))))
            .or_else(|| named(&|name| title.is_empty() && description.contains(name)))
            .map(|(_, value)| value)
    }

    fn make_branch(&self, branches: &[Value], about: &str, wanted: Option<&Value>) -> Value {
        if wanted.is_some_and(Value::is_null) {
            return Value::Null;
        }
        let real: Vec<&Value> = branches.iter().map(|branch| self.resolve(branch)).filter(|branch| branch["type"] != "null").collect();
        let fits = |branch: &&&Value| wanted.and_then(Value::as_str).is_some_and(|wanted| branch.to_string().contains(wanted));
        match real.iter().find(fits).or_else(|| real.get(by_hash(about, real.len()))) {
            Some(branch) => self.make(branch, about, wanted),
            None => Value::Null,
        }
    }

    fn make_array(&self, schema: &Value, about: &str, wanted: Option<&Value>) -> Value {
        let items = self.resolve(&schema["items"]);
        if let Some(list) = wanted.and_then(Value::as_array) {
            return list.iter().map(|wanted| self.make(items, about, Some(wanted))).collect();
        }
        let at_least = schema["minItems"].as_u64().unwrap_or(0) as usize;
        let Some(options) = choices(items) else {
            return (0..at_least.max(1)).map(|_| self.make(items, about, None)).collect();
        };
        let about = &format!("{about} {}", words(items));
        let first = self.choose(&options, about, None);
        let rest = options.iter().filter(|option| **option != first).take(at_least.saturating_sub(1)).cloned();
        std::iter::once(first.clone()).chain(rest).collect()
    }

    /// Picks an option: the fixed one; or one whose label names the colour or light that is seen; or any, but
    /// always the same for the same question.
    fn choose(&self, options: &[Value], about: &str, wanted: Option<&Value>) -> Value {
        if let Some(wanted) = wanted {
            return find_option(options, about, wanted).unwrap_or_else(|| wanted.clone());
        }
        let real: Vec<&Value> = options.iter().filter(|option| !option.is_null()).collect();
        let meant = self.view.picture.and_then(|seen| {
            let scored = real.iter().map(|option| (meaning(&legend(option, options, about), seen), *option));
            scored.filter(|(score, _)| *score > 0).max_by_key(|(score, _)| *score).map(|(_, option)| option)
        });
        meant.or_else(|| real.get(by_hash(about, real.len())).copied()).cloned().unwrap_or(Value::Null)
    }

    fn measure(&self, schema: &Value, whole: bool) -> Value {
        let mut value = self.view.picture.map_or(0.0, |seen| (seen.brightness() * 10.0).round() / 10.0);
        if let Some(least) = schema["minimum"].as_f64() {
            value = value.max(least);
        }
        if let Some(most) = schema["maximum"].as_f64() {
            value = value.min(most);
        }
        if whole { json!(value.round() as i64) } else { json!(value) }
    }

    fn describe(&self, schema: &Value) -> Value {
        let text = description(self.view.picture);
        let most = schema["maxLength"].as_u64().map_or(usize::MAX, |most| most as usize);
        json!(text.chars().take(most).collect::<String>())
    }
}

/// Whether a question that is asked `only if` some choice was made is to be answered: the choice, in quotes after
/// those words, is among the answers given so far.
fn condition_met(property: &Value, so_far: &Map<String, Value>) -> bool {
    let about = words(property);
    let Some(at) = about.to_ascii_lowercase().find("only if") else { return true };
    // It was chosen in an earlier call.
    if about[at..].contains("which it is") {
        return true;
    }
    let Some(choice) = about[at..].split('"').nth(1) else { return true };
    so_far.values().any(|answer| answer == choice)
}

/// The number that an explanation such as `1 = Red; 2 = Green` gives to a label.
fn number_of(label: &str, about: &str) -> Option<Value> {
    let at = find_word(about, &format!("= {label}"), 0)?;
    let number = about[..at].trim_end().rsplit(|c: char| !c.is_ascii_digit()).next()?;
    number.parse::<u64>().ok().map(Value::from)
}

fn words(schema: &Value) -> String {
    ["title", "description"].iter().filter_map(|key| schema[*key].as_str()).collect::<Vec<_>>().join(" ")
}

/// The values of an enum, also when written as alternatives of constants.
fn choices(schema: &Value) -> Option<Vec<Value>> {
    if let Some(options) = schema["enum"].as_array() {
        return Some(options.clone());
    }
    let branches = ["anyOf", "oneOf"].iter().find_map(|key| schema[*key].as_array())?;
    branches.iter().map(|branch| branch.get("const").or((branch["type"] == "null").then_some(&Value::Null)).cloned()).collect()
}

fn nullable(schema: &Value) -> bool {
    let in_type = schema["type"].as_array().is_some_and(|types| types.iter().any(|kind| kind == "null"));
    let in_branch = ["anyOf", "oneOf"]
        .iter()
        .filter_map(|key| schema[*key].as_array())
        .flatten()
        .any(|branch| branch["type"] == "null" || branch.get("const").is_some_and(Value::is_null));
    let in_enum = schema["enum"].as_array().is_some_and(|options| options.contains(&Value::Null));
    in_type || in_branch || in_enum
}

fn type_of<'s>(schema: &'s Value, wanted: Option<&Value>) -> &'s str {
    match &schema["type"] {
        Value::String(kind) => kind,
        Value::Array(_) if wanted.is_some_and(Value::is_null) => "null",
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or("null"),
        _ if schema["properties"].is_object() => "object",
        _ => "string",
    }
}

/// The option that a label means: the label itself, or the key that stands before it in the explanation.
fn find_option(options: &[Value], about: &str, wanted: &Value) -> Option<Value> {
    if options.contains(wanted) {
        return Some(wanted.clone());
    }
    let label = wanted.as_str()?;
    options.iter().find(|option| legend(option, options, about).contains(label)).cloned()
}

/// An option's text and what the explanation says between it and the next option.
fn legend(option: &Value, options: &[Value], about: &str) -> String {
    let Some(key) = option.as_str() else { return option.to_string() };
    let Some(at) = find_word(about, key, 0) else { return key.to_owned() };
    let others = options.iter().filter_map(Value::as_str).filter(|other| *other != key);
    let end = others.filter_map(|other| find_word(about, other, at + key.len())).min().unwrap_or(about.len());
    format!("{key} {}", &about[at + key.len()..end])
}

/// Where `word` stands by itself in `text`, from `start` on.
fn find_word(text: &str, word: &str, start: usize) -> Option<usize> {
    let alone = |at: &usize| {
        let before = text[..*at].chars().next_back();
        let after = text[*at + word.len()..].chars().next();
        !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
    };
    text.get(start..)?.match_indices(word).map(|(at, _)| at + start).find(alone)
}

/// How well a label says what is seen; 0 when it speaks of something else.
fn meaning(label: &str, seen: &Picture) -> u32 {
    let label = label.to_ascii_lowercase();
    let says = |word: &str| find_word(&label, word, 0).is_some();
    let colour = COLOURS.iter().any(|(name, _)| says(name) && *name == seen.colour());
    let light = match seen.light() {
        "bright" => ["bright", "light", "day", "sunny"].iter().any(|word| says(word)),
        "dark" => ["dark", "night", "dim"].iter().any(|word| says(word)),
        _ => ["medium", "dusk", "overcast", "cloudy"].iter().any(|word| says(word)),
    };
    2 * u32::from(colour) + u32::from(light)
}

/// An index that is always the same for the same text (FNV-1a).
fn by_hash(text: &str, count: usize) -> usize {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    if count == 0 { 0 } else { (hash % count as u64) as usize }
}
