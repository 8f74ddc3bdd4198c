//! Whether an object answers a sheet: every value checked against the ontology, whatever the endpoint promised.

use serde_json::{Map, Number, Value};

use crate::encord::AnswerValue;

use super::choices::{self, Word};
use super::outline::{Outline, Values};
use super::sheet::{self, Field, Shape, Sheet};

/// What does not fit, by our own keys, in words that may be shown to the model and to people. Never the answer's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Misfit(pub(super) Vec<String>);

impl std::fmt::Display for Misfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const SHOWN: usize = 8;
        f.write_str(&self.0[..self.0.len().min(SHOWN)].join("; "))?;
        if self.0.len() > SHOWN { write!(f, "; and {} more", self.0.len() - SHOWN) } else { Ok(()) }
    }
}

/// Checks `object` and adds its values to `values`. On a misfit `values` stays as it was.
pub(super) fn read(outline: &Outline<'_>, sheet: &Sheet, object: &Map<String, Value>, values: &mut Values) -> Result<(), Misfit> {
    let Some(object) = unwrapped(sheet, object) else {
        let keys: Vec<&str> = sheet.fields.iter().take(8).map(|field| field.key.as_str()).collect();
        return Err(Misfit(vec![format!("none of the keys is there ({})", keys.join(", "))]));
    };
    let mut read = values.clone();
    let mut misfits = Vec::new();
    for field in &sheet.fields {
        // What hangs under an option that was not chosen does not matter, right or wrong.
        if !outline.is_open(field.node, &read) {
            continue;
        }
        match value_of(sheet, field, object) {
            None if field.only_if.is_none() && outline.nodes[field.node].attribute.required => {
                misfits.push(format!("{} is missing", field.key));
            }
            None => {}
            Some(value) => match accept(outline, field, value) {
                Ok(accepted) => read[field.node] = accepted,
                Err(cause) => misfits.push(format!("{} {cause}", field.key)),
            },
        }
    }
    if misfits.is_empty() {
        *values = read;
        Ok(())
    } else {
        Err(Misfit(misfits))
    }
}

/// Whether an object has any of the sheet's keys: a model that is held to the schema cannot but use them.
pub(super) fn has_keys(sheet: &Sheet, object: &Map<String, Value>) -> bool {
    unwrapped(sheet, object).is_some()
}

/// The object itself, or the only object inside of it, whichever has keys of ours.
fn unwrapped<'o>(sheet: &Sheet, object: &'o Map<String, Value>) -> Option<&'o Map<String, Value>> {
    let known = |object: &Map<String, Value>| sheet.fields.iter().any(|field| value_of(sheet, field, object).is_some());
    if known(object) {
        return Some(object);
    }
    let mut inner = object.values().filter_map(Value::as_object);
    match (inner.next(), inner.next()) {
        (Some(only), None) if known(only) => Some(only),
        _ => None,
    }
}

/// The value under the field's key, or under its title where that can only mean this field.
fn value_of<'o>(sheet: &Sheet, field: &Field, object: &'o Map<String, Value>) -> Option<&'o Value> {
    object.get(&field.key).or_else(|| {
        let title = choices::fold(&field.title);
        let namesakes = sheet.fields.iter().filter(|other| choices::fold(&other.title) == title || other.key == title).count();
        let mut titled = object.iter().filter(|(key, _)| choices::fold(key) == title);
        match (titled.next(), titled.next()) {
            (Some((_, value)), None) if namesakes == 1 => Some(value),
            _ => None,
        }
    })
}

/// The value in the ontology's terms; `None` if it was left unanswered. Other types are taken only where nothing is lost.
fn accept(outline: &Outline<'_>, field: &Field, value: &Value) -> Result<Option<AnswerValue>, String> {
    if value.is_null() {
        return Ok(None);
    }
    match &field.shape {
        Shape::Text => text(value),
        Shape::Number => number(value),
        Shape::Words { words, many } => pick(outline, field.node, *many, value, |said| word(words, said)),
        Shape::Numbered { words, many } => {
            pick(outline, field.node, *many, value, |said| numbered(words, said).or_else(|cause| word(words, said).map_err(|_| cause)))
        }
    }
}

fn text(value: &Value) -> Result<Option<AnswerValue>, String> {
    let text = match value {
        Value::String(text) => text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect::<String>(),
        Value::Number(number) => number.to_string(),
        _ => return Err("is not a text".into()),
    };
    let text = text.trim();
    Ok((!text.is_empty()).then(|| AnswerValue::Text(text.to_owned())))
}

fn number(value: &Value) -> Result<Option<AnswerValue>, String> {
    match value {
        Value::Number(number) => Ok(Some(AnswerValue::Number(number.clone()))),
        Value::String(text) if is_nothing(text) => Ok(None),
        Value::String(text) => {
            let number = text.trim().parse::<Number>().map_err(|_| "is not a number".to_owned())?;
            Ok(Some(AnswerValue::Number(number)))
        }
        _ => Err("is not a number".into()),
    }
}

/// One choice, or many, out of a value and a way to tell which choice an item means.
fn pick(
    outline: &Outline<'_>,
    node: usize,
    many: bool,
    value: &Value,
    meant: impl Fn(&Value) -> Result<usize, String>,
) -> Result<Option<AnswerValue>, String> {
    let positions = match value {
        Value::Array(items) => items.iter().map(&meant).collect::<Result<Vec<_>, _>>()?,
        single => match meant(single) {
            Ok(position) => vec![position],
            Err(_) if single.as_str().is_some_and(is_nothing) => return Ok(None),
            Err(cause) => return Err(cause),
        },
    };
    if !many && positions.len() != 1 {
        return Err("is not one single choice".into());
    }
    Ok(sheet::chosen(outline, node, many, positions))
}

fn word(words: &[Word], said: &Value) -> Result<usize, String> {
    let said = match said {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        _ => return Err("is not a choice".into()),
    };
    choices::find(words, &said).ok_or_else(|| "is not one of the listed choices".into())
}

fn numbered(words: &[Word], said: &Value) -> Result<usize, String> {
    let number = match said {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    let in_range = number.and_then(|number| usize::try_from(number).ok()).filter(|number| (1..=words.len()).contains(number));
    in_range.map(|number| number - 1).ok_or_else(|| format!("is not a number from 1 to {}", words.len()))
}

/// A `null` written as a text.
fn is_nothing(text: &str) -> bool {
    let text = text.trim();
    text.is_empty() || text.eq_ignore_ascii_case("null")
}
