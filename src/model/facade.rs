//! The door of this room: pictures and classifications in, a validated answer out.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::deadline::Deadline;
use crate::encord::Answer;
use crate::encord::ontology::Topic;
use crate::ids::{ProjectHash, Secret};
use crate::media::Picture;

use super::ask;
use super::chat;
use super::dialect::Dialect;
use super::endpoint::{Endpoint, section};
use super::outline::Outline;
use super::prompt::prompt;
use super::schema::schema;
use super::sheet::Sheet;
use super::{Error, probe, recovery};

/// What the configuration says about one endpoint (`[model]` or `[models.NAME]`).
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Name of the table: `` for `[model]`.
    pub table: String,
    /// Base URL, as configured.
    pub base_url: String,
    /// Model name.
    pub name: String,
    /// Key, if any.
    pub api_key: Option<Secret>,
    /// Where the key came from or should be set, for error messages.
    pub api_key_setting: String,
    /// Extra trust anchor.
    pub ca_file: Option<PathBuf>,
    /// Bound on one call.
    pub timeout: Duration,
    /// Bound on the answer in tokens.
    pub max_answer_tokens: u32,
    /// `detail` of the picture: auto, low, high.
    pub detail: String,
    /// Longest side of a picture for this model, below `media.max_image_side`; 0 for no own bound.
    pub max_image_side: u32,
    /// JPEG quality of a picture for this model; 0 for the media part's own.
    pub jpeg_quality: u8,
    /// Calls at once; 0 chooses: 1 for loopback and private addresses, 4 for public ones.
    pub max_concurrent: usize,
    /// Tokens a day; 0 for no cap.
    pub daily_tokens: u64,
    /// Sampling temperature, if one is to be sent.
    pub temperature: Option<f64>,
    /// How much a reasoning model thinks first: `minimal`, `low`, `medium`, `high`; empty to say nothing about it.
    pub reasoning_effort: String,
    /// Name of the header that carries the key; empty for `Authorization: Bearer`.
    pub api_key_header: String,
    /// Projects that may use this model; empty for all.
    pub allowed_projects: Vec<ProjectHash>,
    /// Tables to try when this endpoint fails.
    pub fallback: Vec<String>,
}

/// What to ask about which picture.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// The project, for `allowed_projects`.
    pub project: &'a ProjectHash,
    /// Project title, for the prompt.
    pub project_title: &'a str,
    /// Data title, for the prompt.
    pub data_title: &'a str,
    /// Frame number, for the prompt; `None` for a still.
    pub frame: Option<u64>,
    /// The agent's extra instructions.
    pub instructions: &'a str,
    /// Full prompt template, or empty for the built-in one.
    pub template: &'a str,
    /// Language for free text, or empty.
    pub language: &'a str,
    /// What to answer, in order.
    pub topics: &'a [Topic<'a>],
    /// The pictures, at least one; none only for [`Models::preview`].
    pub pictures: &'a [Picture],
}

/// A validated answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// One for each topic that was answered, in the order asked.
    pub answers: Vec<Answer>,
    /// Titles of topics and attributes that were left unanswered.
    pub left_out: Vec<String>,
    /// The endpoint's table that answered.
    pub table: String,
    /// The model's name.
    pub model: String,
    /// Tokens of the prompts, as reported.
    pub prompt_tokens: u64,
    /// Tokens of the answers, as reported.
    pub answer_tokens: u64,
    /// Requests sent.
    pub requests: u32,
}

/// What one endpoint was asked since the start, and what that cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// Name of the table: empty for `[model]`.
    pub table: String,
    /// Model name.
    pub model: String,
    /// Requests by HTTP status; 0 counts those without an answer.
    pub requests: BTreeMap<u16, u64>,
    /// Tokens of prompts, estimated where the endpoint reports none.
    pub prompt_tokens: u64,
    /// Tokens of answers, estimated where the endpoint reports none.
    pub answer_tokens: u64,
    /// Tokens of both kinds since UTC midnight.
    pub tokens_today: u64,
    /// As many may be used a day; 0 for no cap.
    pub daily_tokens: u64,
    /// It failed several times in a row, and calls fail at once for a while.
    pub down: bool,
}

/// All configured endpoints with what was learnt about them. Cheap to clone; clones share it.
#[derive(Clone)]
pub struct Models {
    endpoints: Arc<IndexMap<String, Arc<Endpoint>>>,
}

impl Models {
    /// Takes the endpoints; calls nothing.
    pub fn new(endpoints: Vec<Settings>) -> Result<Self, Error> {
        let mut known = IndexMap::new();
        for settings in endpoints {
            known.insert(settings.table.clone(), Arc::new(Endpoint::new(settings)?));
        }
        let models = Self { endpoints: Arc::new(known) };
        for endpoint in models.endpoints.values() {
            for table in &endpoint.settings.fallback {
                models.endpoint(table)?;
            }
        }
        Ok(models)
    }

    /// Asks the endpoint of table `table` (empty: `[model]`), falls back as configured, validates.
    pub fn ask(&self, table: &str, question: &Question<'_>, deadline: &Deadline) -> Result<Reply, Error> {
        let outline = Outline::new(question.topics);
        let mut first_error = None;
        for endpoint in self.allowed(table, question.project)? {
            let asked = ask::ask(endpoint, question, &outline, deadline);
            recovery::look_after(endpoint, recovery::EVERY);
            match asked {
                Err(error) if error.lets_fall_back() => {
                    tracing::warn!(model = endpoint.settings.name, host = endpoint.address.host, %error, "no answer from this model");
                    first_error.get_or_insert(error);
                }
                settled => return settled,
            }
        }
        Err(first_error.unwrap_or_else(|| Error::Unaskable(format!("{} has no endpoint to ask", section(table)))))
    }

    /// Schema and prompt for `edgelabel schema`: exactly what [`Models::ask`] would send in its first call, and in
    /// `calls` all that it would send for sure, where one call is not enough.
    pub fn preview(&self, table: &str, question: &Question<'_>) -> Result<Value, Error> {
        let endpoint = self.endpoint(table)?;
        let outline = Outline::new(question.topics);
        let mut pending = ask::first_questions(&outline)?;
        let mut calls = Vec::new();
        while let Some(sheet) = Sheet::next(&outline, &mut pending) {
            let schema = schema(&sheet);
            let prompt = prompt(question, &sheet, None);
            let request = chat::Request {
                model: &endpoint.settings.name,
                prompt: &prompt,
                images: &[],
                schema: &schema,
                max_answer_tokens: endpoint.settings.max_answer_tokens,
                temperature: endpoint.settings.temperature,
                reasoning_effort: &endpoint.settings.reasoning_effort,
                repair: None,
            };
            let body = chat::body(&request, &Dialect::default());
            calls.push(json!({ "schema": schema, "prompt": { "system": prompt.system, "user": prompt.user }, "request": body }));
        }
        let mut preview = json!({ "model": endpoint.settings.name, "url": endpoint.address.chat[0] });
        if let (Some(preview), Some(Value::Object(first))) = (preview.as_object_mut(), calls.first()) {
            preview.extend(first.clone());
            if calls.len() > 1 {
                preview.insert("calls".into(), Value::Array(calls));
            }
        }
        Ok(preview)
    }

    /// What a picture should be like for the model that is asked first about this project: its longest side and its
    /// JPEG quality, where the model's table has bounds of its own.
    pub fn picture_bounds(&self, table: &str, project: &ProjectHash) -> Result<(Option<u32>, Option<u8>), Error> {
        let allowed = self.allowed(table, project)?;
        let settings = allowed.first().map(|endpoint| &endpoint.settings);
        let side = settings.map(|settings| settings.max_image_side).filter(|&side| side > 0);
        Ok((side, settings.map(|settings| settings.jpeg_quality).filter(|&quality| quality > 0)))
    }

    /// How many calls the model that is asked first about this project takes at once.
    pub fn at_once(&self, table: &str, project: &ProjectHash) -> Result<usize, Error> {
        Ok(self.allowed(table, project)?.first().map_or(1, |endpoint| endpoint.places()))
    }

    /// For `doctor`: reaches the endpoint, and sees whether it takes pictures and schemas.
    pub fn probe(&self, table: &str, deadline: &Deadline) -> Result<String, Error> {
        probe::probe(self.endpoint(table)?, deadline)
    }

    /// What every endpoint was asked and what that cost, in the order configured.
    pub fn stats(&self) -> Vec<Stats> {
        let of = |endpoint: &Arc<Endpoint>| {
            let (requests, prompt_tokens, answer_tokens) = endpoint.meter.totals();
            Stats {
                table: endpoint.settings.table.clone(),
                model: endpoint.settings.name.clone(),
                requests,
                prompt_tokens,
                answer_tokens,
                tokens_today: endpoint.meter.used_today(OffsetDateTime::now_utc()),
                daily_tokens: endpoint.settings.daily_tokens,
                down: endpoint.breaker.is_open(Instant::now()),
            }
        };
        self.endpoints.values().map(of).collect()
    }

    /// For whoever notes tokens across restarts, and for all programs of this box: those of a UTC day (see [`day`]) that are not noted
    /// yet, by table, where there is a daily cap.
    pub fn unnoted_tokens(&self, day: i64) -> Vec<(&str, u64)> {
        let capped = self.endpoints.iter().filter(|(_, endpoint)| endpoint.settings.daily_tokens > 0);
        capped.map(|(table, endpoint)| (table.as_str(), endpoint.meter.unnoted(day))).filter(|(_, tokens)| *tokens > 0).collect()
    }

    /// `new` tokens have been noted, which makes `total` of that day: those of others count towards the table's cap, too.
    pub fn tokens_noted(&self, table: &str, day: i64, new: u64, total: u64) {
        if let Some(endpoint) = self.endpoints.get(table) {
            endpoint.meter.noted(day, new, total);
        }
    }

    fn endpoint(&self, table: &str) -> Result<&Arc<Endpoint>, Error> {
        self.endpoints.get(table).ok_or_else(|| {
            let known: Vec<String> = self.endpoints.keys().map(|table| section(table)).collect();
            Error::Unaskable(format!("{} is not configured; there is {}", section(table), known.join(", ")))
        })
    }

    /// The endpoint of `table` and those it falls back to, without those that may not see this project.
    fn allowed(&self, table: &str, project: &ProjectHash) -> Result<Vec<&Arc<Endpoint>>, Error> {
        let first = self.endpoint(table)?;
        let mut chain = vec![first];
        for table in &first.settings.fallback {
            let next = self.endpoint(table)?;
            if !chain.iter().any(|known| Arc::ptr_eq(known, next)) {
                chain.push(next);
            }
        }
        chain.retain(|endpoint| endpoint.settings.allowed_projects.is_empty() || endpoint.settings.allowed_projects.contains(project));
        if chain.is_empty() {
            return Err(Error::Unaskable(format!(
                "this project may not be shown to model {}: it is not in allowed_projects of {}",
                first.settings.name,
                section(table)
            )));
        }
        Ok(chain)
    }
}
