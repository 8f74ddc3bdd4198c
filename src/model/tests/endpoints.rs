//! Which endpoint is asked, with which key, how often and how much.

use std::time::{Duration, Instant};

use serde_json::json;

use super::server::{Played, Server};
use super::{GOOD, ask, models, rung, settings, text_of};
use crate::deadline::Deadline;
use crate::ids::ProjectHash;
use crate::model::{Error, Models, Settings};

#[test]
fn the_key_goes_into_the_header_that_is_configured() {
    let server = Server::start(|_, _| Played::says(GOOD));
    let models = Models::new(vec![Settings { api_key_header: "Api-Key".into(), ..settings(&server.url) }]).unwrap();
    ask(&models).unwrap();
    assert_eq!(server.asked()[0].header("api-key"), Some("sk-test"));
    assert_eq!(server.asked()[0].header("authorization"), None);
    assert!(Models::new(vec![Settings { api_key_header: "no good".into(), ..settings(&server.url) }]).is_err());
}

#[test]
fn one_call_at_a_time_goes_to_a_local_endpoint() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static INSIDE: AtomicUsize = AtomicUsize::new(0);
    // The server's own lock is held while it plays, so the most that were inside shows by the time that all took.
    let server = Server::start(|_, _| {
        INSIDE.fetch_add(1, Ordering::SeqCst);
        Played::says(GOOD).after(Duration::from_millis(150))
    });
    let models = models(&server.url);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| ask(&models).unwrap());
        }
    });
    assert!(start.elapsed() >= Duration::from_millis(600));
    assert_eq!(INSIDE.load(Ordering::SeqCst), 4);
}

#[test]
fn a_fallback_answers_when_the_first_endpoint_cannot() {
    let broken = Server::start(|_, _| Played::status(401, ""));
    let local = Server::start(|_, _| Played::says(GOOD));
    let cloud = Settings { fallback: vec!["local".into()], ..settings(&broken.url) };
    let models = Models::new(vec![cloud.clone(), Settings { table: "local".into(), ..settings(&local.url) }]).unwrap();
    let reply = ask(&models).unwrap();
    assert_eq!((reply.table.as_str(), text_of(&reply)), ("local", "A cat on a mat."));

    let missing = Models::new(vec![cloud]).err().unwrap();
    assert!(missing.to_string().contains("[models.local] is not configured; there is [model]"), "{missing}");
}

#[test]
fn a_project_that_is_not_allowed_is_never_shown_to_the_model() {
    let cloud = Server::start(|_, _| Played::says(GOOD));
    let local = Server::start(|_, _| Played::says(GOOD));
    let other: ProjectHash = "99999999-2222-3333-4444-555555555555".parse().unwrap();
    let cloud_settings = Settings { allowed_projects: vec![other], ..settings(&cloud.url) };
    let error = ask(&Models::new(vec![cloud_settings.clone()]).unwrap()).unwrap_err();
    assert!(matches!(&error, Error::Unaskable(cause) if cause.contains("allowed_projects of [model]")), "{error}");

    let with_local = Settings { fallback: vec!["local".into()], ..cloud_settings };
    let models = Models::new(vec![with_local, Settings { table: "local".into(), ..settings(&local.url) }]).unwrap();
    assert_eq!(ask(&models).unwrap().table, "local");
    assert_eq!(cloud.asked().len(), 0);
}

#[test]
fn a_daily_cap_refuses_when_it_is_reached() {
    let server = Server::start(|_, _| Played::says(GOOD));
    let models = Models::new(vec![Settings { daily_tokens: 200, ..settings(&server.url) }]).unwrap();
    ask(&models).unwrap();
    ask(&models).unwrap();
    let error = ask(&models).unwrap_err();
    assert!(matches!(&error, Error::CapReached { section, .. } if section == "[model]"), "{error}");
    assert_eq!((server.asked().len(), models.stats()[0].tokens_today), (2, 220));
}

#[test]
fn the_probe_tells_whether_pictures_are_seen_and_how_answers_are_held() {
    let play = |colour: &'static str| {
        Server::start(move |_, asked| match rung(asked) {
            "strict" => Played::status(400, json!({ "error": "'response_format' is not supported" })),
            _ => Played::says(&json!({ "colour_of_the_picture": colour }).to_string()),
        })
    };
    let told = |server: &Server| models(&server.url).probe("", &Deadline::after(Duration::from_secs(10)));
    let report = told(&play("red")).unwrap();
    assert!(report.contains("sees pictures; answers by plain json_schema, 2 request(s), 110 tokens"), "{report}");
    let report = told(&play("blue")).unwrap();
    assert!(report.contains("does not seem to see pictures (called a red square blue)"), "{report}");
    let blind = Server::start(|_, _| Played::status(400, json!({ "error": "Model does not support images." })));
    assert!(told(&blind).unwrap_err().to_string().contains("takes no pictures"));
}
