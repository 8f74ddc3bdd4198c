//! `edgelabel schema`: what an agent asks the model for this project's ontology.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use super::progress::Progress;
use super::{ConfigArgument, print};
use crate::agent::{self, Target};
use crate::config::Config;
use crate::deadline::Deadline;
use crate::encord::ontology::Topic;
use crate::encord::{Encord, Ontology};
use crate::ids::ProjectHash;
use crate::model::{Models, Question};

/// Prints the JSON Schema and the prompt that an agent sends for a project's ontology
///
/// Signs in at Encord, reads the project's ontology, and prints as JSON exactly what a trigger would send to the model,
/// without the picture; for an agent that works on objects, one entry for each class of them. The model is not called.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  edgelabel schema --project PROJECT --agent /cars | jq .schema

Exit codes: 0 printed, 1 it failed, 78 wrong configuration.")]
pub(super) struct Arguments {
    /// Project hash
    #[arg(long, value_name = "HASH")]
    project: ProjectHash,
    /// Path of the agent
    #[arg(long, default_value = "/", value_name = "PATH")]
    agent: String,
    #[command(flatten)]
    config: ConfigArgument,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = arguments.config.load()?;
    let agents = config.agents();
    let agent = agents.iter().find(|agent| agent.path == arguments.agent).with_context(|| {
        let paths: Vec<&str> = agents.iter().map(|agent| agent.path.as_str()).collect();
        format!("no [[agent]] has the path {:?}; there are: {}", arguments.agent, paths.join(", "))
    })?;
    print(&preview(&config, agent, &arguments.project)?)?;
    Ok(ExitCode::SUCCESS)
}

fn preview(config: &Config, agent: &agent::Settings, project: &ProjectHash) -> anyhow::Result<String> {
    let encord = Encord::new(config.encord()?)?;
    let models = Models::new(config.models()?)?;
    let deadline = Deadline::after(Duration::from_secs(60));
    let progress = Progress::new("reading the ontology");
    let about = encord.project(project, &deadline)?;
    let ontology = encord.fresh_ontology(project, &deadline)?;
    drop(progress);
    let ask = |topics: &[Topic<'_>]| {
        let question = Question {
            project,
            project_title: &about.title,
            data_title: "(title of the data item)",
            frame: Some(0),
            instructions: &agent.prompt,
            template: &agent.template,
            language: &agent.language,
            topics,
            pictures: &[],
        };
        models.preview(&agent.model, &question)
    };
    let shown = match agent.target {
        Target::Frame => {
            let topics: Vec<Topic<'_>> = agent::choose(&ontology, &agent.classification)?.into_iter().map(Topic::from).collect();
            ask(&topics)?
        }
        // Each object is asked about in a call of its own.
        Target::Objects => {
            let asked: Result<Vec<Value>, _> = classes(&ontology, agent)?.iter().map(|topic| ask(std::slice::from_ref(topic))).collect();
            json!({ "objects": asked? })
        }
    };
    Ok(format!("{}\n", serde_json::to_string_pretty(&shown)?))
}

/// Each class of objects with the attributes that the agent answers.
fn classes<'a>(ontology: &'a Ontology, agent: &agent::Settings) -> anyhow::Result<Vec<Topic<'a>>> {
    let classes = ontology.objects.iter().filter(|class| !class.archived);
    let topics: Vec<Topic<'a>> = classes
        .map(|class| Topic { feature: &class.hash, title: &class.name, attributes: agent::choose_attributes(class, &agent.classification) })
        .filter(|topic| !topic.attributes.is_empty())
        .collect();
    anyhow::ensure!(!topics.is_empty(), "no class of objects in this project's ontology has attributes that this agent answers");
    Ok(topics)
}
