//! From a question to a valid reply of one endpoint: sheet after sheet, with one larger try and one repair for each.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::time::Instant;

use serde_json::Value;

use crate::deadline::Deadline;

use super::Error;
use super::answer;
use super::call::{Ask, Caller, Got};
use super::chat::{self, Completion, Repair};
use super::endpoint::Endpoint;
use super::facade::{Question, Reply};
use super::memory::Verdict;
use super::outline::{Outline, Values};
use super::prompt::prompt;
use super::schema::schema;
use super::sheet::Sheet;
use super::shrink;
use super::validate;

/// Calls one picture may need; an ontology that needs more is not for one click.
const MOST_SHEETS: usize = 24;

/// Asks `endpoint` all of `question`.
pub(super) fn ask(endpoint: &Endpoint, question: &Question<'_>, outline: &Outline<'_>, deadline: &Deadline) -> Result<Reply, Error> {
    endpoint.admit(deadline)?;
    let pictures = shrink::fitted(question.pictures, &endpoint.settings).map_err(Error::Unaskable)?;
    let images = chat::image_parts(&pictures, &endpoint.settings.detail);
    let mut caller = Caller { endpoint, deadline, images: &images, requests: 0, prompt_tokens: 0, answer_tokens: 0 };
    let mut values: Values = vec![None; outline.nodes.len()];
    let mut pending = first_questions(outline)?;
    let mut sheets = 0;
    while let Some(sheet) = Sheet::next(outline, &mut pending) {
        sheets += 1;
        if sheets > MOST_SHEETS {
            return Err(Error::Unaskable(format!("the ontology needs more than {MOST_SHEETS} model calls: ask for fewer classifications")));
        }
        answer_sheet(&mut caller, question, outline, &sheet, &mut values)?;
        pending.extend(sheet.follow_up(outline, &values));
    }
    let (answers, left_out) = outline.answers(&values);
    Ok(Reply {
        answers,
        left_out,
        table: endpoint.settings.table.clone(),
        model: endpoint.settings.name.clone(),
        prompt_tokens: caller.prompt_tokens,
        answer_tokens: caller.answer_tokens,
        requests: caller.requests,
    })
}

/// The attributes to begin with; none is an error that says so.
pub(super) fn first_questions(outline: &Outline<'_>) -> Result<Vec<usize>, Error> {
    let roots: Vec<usize> = outline.roots().into_iter().filter(|&root| outline.is_askable(root)).collect();
    if roots.is_empty() {
        let titles: Vec<&str> = outline.topics.iter().map(|topic| topic.title).collect();
        return Err(Error::Unaskable(format!("there is nothing to ask: {} has no active attribute or option", titles.join(", "))));
    }
    Ok(roots)
}

fn answer_sheet(
    caller: &mut Caller<'_>,
    question: &Question<'_>,
    outline: &Outline<'_>,
    sheet: &Sheet,
    values: &mut Values,
) -> Result<(), Error> {
    let schema = schema(sheet);
    let prompts = [prompt(question, sheet, None), prompt(question, sheet, Some(&schema))];
    let schema_id = identity(&schema);
    let settings = &caller.endpoint.settings;
    let invalid = |cause: String| Error::Invalid { model: settings.name.clone(), cause };
    let larger = settings.max_answer_tokens.max(1).saturating_mul(2);
    // A model that thinks longer than it may is not cut off each time anew.
    let mut enlarged = caller.endpoint.memory.is_long(schema_id);
    let mut bound = if enlarged { larger } else { settings.max_answer_tokens.max(1) };
    let mut repair: Option<Repair> = None;
    let mut held = true;
    loop {
        let ask = Ask { prompts: &prompts, schema: &schema, schema_id, max_answer_tokens: bound, repair: repair.as_ref() };
        let Got { completion, rung, bound: sent } = caller.complete(&ask)?;
        if let Some(cause) = completion.refused {
            return Err(Error::Refusal { model: settings.name.clone(), cause: cause.into() });
        }
        let cause = match read(outline, sheet, &completion, values) {
            Ok(()) => {
                let verdict = if held || rung.needs_schema_in_prompt() { Verdict::Fits } else { Verdict::Unheld };
                caller.endpoint.memory.judged(schema_id, rung, verdict, Instant::now());
                if enlarged {
                    caller.endpoint.memory.was_long(schema_id, Instant::now());
                }
                return Ok(());
            }
            Err(cause) => cause,
        };
        if completion.cut {
            if enlarged || sent < bound {
                return Err(invalid(format!("cut off at {sent} tokens: raise max_answer_tokens")));
            }
            enlarged = true;
            bound = larger;
        } else if repair.is_some() {
            caller.endpoint.memory.judged(schema_id, rung, if held { Verdict::Misfit } else { Verdict::Unheld }, Instant::now());
            return Err(invalid(format!("{cause}{}", completion.hint())));
        } else {
            tracing::info!(model = settings.name, cause, "the model's answer does not fit, asking it to mend it");
            held = was_held(sheet, &completion);
            repair = Some(Repair { said: completion.texts.into_iter().next().unwrap_or_default(), cause });
        }
    }
}

/// Takes the first object that fits, out of the likeliest place first; otherwise what is wrong with the likeliest.
fn read(outline: &Outline<'_>, sheet: &Sheet, completion: &Completion, values: &mut Values) -> Result<(), String> {
    let mut cause = None;
    for text in &completion.texts {
        match answer::objects(text) {
            Err(none) => cause = cause.or(Some(none.to_string())),
            Ok(objects) => {
                for object in objects {
                    match validate::read(outline, sheet, &object, values) {
                        Ok(()) => return Ok(()),
                        Err(misfit) => cause = cause.or(Some(misfit.to_string())),
                    }
                }
            }
        }
    }
    Err(cause.unwrap_or_else(|| "it is empty".into()))
}

/// Whether an answer that does not fit may still come from a model that was held to the schema. What cannot be taken
/// apart, a number that no computer holds among it, is no proof of the contrary; the absence of an object is.
fn was_held(sheet: &Sheet, completion: &Completion) -> bool {
    completion.texts.iter().any(|text| match answer::objects(text) {
        Ok(objects) => objects.iter().any(|object| validate::has_keys(sheet, object)),
        Err(none) => none != answer::NoObject::None,
    })
}

fn identity(schema: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    schema.to_string().hash(&mut hasher);
    hasher.finish()
}
