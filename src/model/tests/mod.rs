//! The room as a whole: against a server that plays every known quirk, and with ontologies made up at random.

mod answers;
mod dialects;
mod endpoints;
mod failures;
mod ontologies;
mod properties;
mod published;
mod server;
mod strict;

use std::time::Duration;

use self::server::{Asked, Played, Server};
use super::{Error, Models, Question, Reply, Settings};
use crate::deadline::Deadline;
use crate::encord::AnswerValue;
use crate::encord::ontology::{Classification, Topic};
use crate::ids::{ProjectHash, Secret};
use crate::media::Picture;

const PROJECT: &str = "11111111-2222-3333-4444-555555555555";
const GOOD: &str = r#"{"scene_description": "A cat on a mat."}"#;

pub(super) fn settings(url: &str) -> Settings {
    Settings {
        table: String::new(),
        base_url: url.into(),
        name: "test".into(),
        api_key: Some(Secret::new("sk-test")),
        api_key_setting: "OPENAI_API_KEY".into(),
        ca_file: None,
        timeout: Duration::from_secs(10),
        max_answer_tokens: 200,
        detail: "auto".into(),
        max_image_side: 0,
        jpeg_quality: 0,
        max_concurrent: 0,
        daily_tokens: 0,
        temperature: None,
        reasoning_effort: String::new(),
        api_key_header: String::new(),
        allowed_projects: Vec::new(),
        fallback: Vec::new(),
    }
}

fn models(url: &str) -> Models {
    Models::new(vec![settings(url)]).unwrap()
}

fn ask_about(models: &Models, ontology: &[Classification], seconds: u64) -> Result<Reply, Error> {
    let topics: Vec<Topic<'_>> = ontology.iter().map(Topic::from).collect();
    let picture = Picture { mime: "image/jpeg", bytes: vec![0xff, 0xd8, 0xff, 0xe0, 1, 2, 3], width: 8, height: 8 };
    let project: ProjectHash = PROJECT.parse().unwrap();
    let question = Question {
        project: &project,
        project_title: "Streets of Zürich",
        data_title: "drive-7.mp4",
        frame: Some(42),
        instructions: "Be brief.",
        template: "",
        language: "",
        topics: &topics,
        pictures: std::slice::from_ref(&picture),
    };
    models.ask("", &question, &Deadline::after(Duration::from_secs(seconds)))
}

fn ask(models: &Models) -> Result<Reply, Error> {
    ask_about(models, &ontologies::description(), 20)
}

fn text_of(reply: &Reply) -> &str {
    match &reply.answers[0].attributes[0].value {
        AnswerValue::Text(text) => text,
        other => panic!("{other:?}"),
    }
}

/// Plays `plays` in turn, the last one for ever, and checks how many requests it took to get the good answer.
fn good_after(plays: Vec<Played>, requests: usize) -> Vec<Asked> {
    let server = Server::start(move |number, _| plays[number.min(plays.len() - 1)].clone());
    let reply = ask(&models(&server.url)).unwrap();
    assert_eq!(text_of(&reply), "A cat on a mat.");
    assert_eq!((reply.requests as usize, server.asked().len()), (requests, requests));
    server.asked()
}

fn fails_after(plays: Vec<Played>, requests: usize) -> Error {
    let server = Server::start(move |number, _| plays[number.min(plays.len() - 1)].clone());
    let error = ask(&models(&server.url)).unwrap_err();
    assert_eq!(server.asked().len(), requests, "{error}");
    error
}

/// The rung of a request, by what it holds.
fn rung(asked: &Asked) -> &'static str {
    let format = &asked.body["response_format"];
    match format["type"].as_str() {
        Some("json_schema") if format["json_schema"]["strict"] == true => "strict",
        Some("json_schema") => "schema",
        Some("json_object") => "object",
        _ if asked.has("/tools") => "tool",
        _ => "prompt",
    }
}
