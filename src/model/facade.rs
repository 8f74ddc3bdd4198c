//! The door of this room: pictures and classifications in, a validated answer out.

use std::path::PathBuf;
use std::time::Duration;

use crate::deadline::Deadline;
use crate::encord::Answer;
use crate::encord::ontology::Topic;
use crate::ids::{ProjectHash, Secret};
use crate::media::Picture;

use super::Error;

/// What the configuration says about one endpoint (`[model]` or `[models.NAME]`).
#[derive(Debug, Clone)]
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
    /// Calls at once; 0 chooses: 1 for loopback and private addresses, 4 for public ones.
    pub max_concurrent: usize,
    /// Tokens a day; 0 for no cap.
    pub daily_tokens: u64,
    /// Sampling temperature, if one is to be sent.
    pub temperature: Option<f64>,
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

/// All configured endpoints with what was learnt about them. Cheap to clone; clones share it.
#[derive(Clone)]
pub struct Models {}

impl Models {
    /// Takes the endpoints; calls nothing.
    pub fn new(endpoints: Vec<Settings>) -> Result<Self, Error> {
        let _ = endpoints;
        unimplemented!()
    }

    /// Asks the endpoint of table `table` (empty: `[model]`), falls back as configured, validates.
    pub fn ask(&self, table: &str, question: &Question<'_>, deadline: &Deadline) -> Result<Reply, Error> {
        let _ = (table, question, deadline);
        unimplemented!()
    }

    /// Schema and prompt for `edgelabel schema`: exactly what [`Models::ask`] would send.
    pub fn preview(&self, table: &str, question: &Question<'_>) -> Result<serde_json::Value, Error> {
        let _ = (table, question);
        unimplemented!()
    }

    /// The longest side a picture should have for this table's model, if it has an own bound.
    pub fn max_image_side(&self, table: &str) -> Option<u32> {
        let _ = table;
        unimplemented!()
    }

    /// For `doctor`: reaches the endpoint, and sees whether it takes pictures and schemas.
    pub fn probe(&self, table: &str, deadline: &Deadline) -> Result<String, Error> {
        let _ = (table, deadline);
        unimplemented!()
    }
}
