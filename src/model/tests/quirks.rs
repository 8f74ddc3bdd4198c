//! What real servers are known to do, each with what comes of it: the outcome and the number of requests.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::ontologies;
use super::server::{Asked, Played, Server};
use super::strict;
use crate::deadline::Deadline;
use crate::encord::AnswerValue;
use crate::encord::ontology::{AttributeKind, Classification, Topic};
use crate::ids::{ProjectHash, Secret};
use crate::media::Picture;
use crate::model::{Error, Models, Question, Reply, Settings};

pub(super) const PROJECT: &str = "11111111-2222-3333-4444-555555555555";
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
        max_concurrent: 0,
        daily_tokens: 0,
        temperature: None,
        reasoning_effort: String::new(),
        api_key_header: String::new(),
        allowed_projects: Vec::new(),
        fallback: Vec::new(),
    }
}

pub(super) fn models(url: &str) -> Models {
    Models::new(vec![settings(url)]).unwrap()
}

pub(super) fn ask_about(models: &Models, ontology: &[Classification], seconds: u64) -> Result<Reply, Error> {
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

#[test]
fn a_scene_description_is_asked_as_openai_documents_it() {
    let asked = good_after(vec![Played::says(GOOD)], 1);
    let Asked { path, body, .. } = &asked[0];
    assert_eq!(path, "/v1/chat/completions");
    assert_eq!(asked[0].header("authorization"), Some("Bearer sk-test"));
    assert_eq!(asked[0].header("content-type"), Some("application/json"));
    assert_eq!(body["model"], "test");
    assert_eq!(body["max_completion_tokens"], 200);
    assert_eq!(body["response_format"]["type"], "json_schema");
    let named = &body["response_format"]["json_schema"];
    assert_eq!((&named["name"], &named["strict"]), (&json!("annotation"), &json!(true)));
    strict::check(&named["schema"]).unwrap();
    assert_eq!(named["schema"]["properties"]["scene_description"]["title"], "Scene description");
    assert_eq!(body["messages"][0]["role"], "system");
    assert_eq!(body["messages"][1]["content"][1]["image_url"]["url"], "data:image/jpeg;base64,/9j/4AECAw==");
    let sent = body.to_string();
    assert!(sent.contains("Streets of Zürich") && sent.contains("drive-7.mp4") && sent.contains("Frame: 42") && sent.contains("Be brief."));
    assert!(!sent.contains(PROJECT) && !sent.contains("c-text"));
}

#[test]
fn every_kind_of_attribute_comes_back_by_the_ontologys_hashes() {
    let said = json!({ "weather": "Rain", "rain_intensity": "Heavy", "snow_depth": 3, "hazards": ["Road works", "Ice", "Ice"], "number_of_cars": 3, "note": null });
    let server = Server::start(move |_, _| Played::says(&said.to_string()));
    let reply = ask_about(&models(&server.url), &ontologies::driving(), 20).unwrap();
    let flat: Vec<Value> = reply.answers.iter().map(|answer| serde_json::to_value(answer).unwrap()).collect();
    assert_eq!(
        Value::from(flat),
        json!([
            { "feature": "c-weather", "attributes": [
                { "attribute": "weather", "value": { "choice": "rain" } }, { "attribute": "intensity", "value": { "choice": "heavy" } }] },
            { "feature": "c-hazards", "attributes": [{ "attribute": "hazards", "value": { "choices": ["ice", "works"] } }] },
            { "feature": "c-cars", "attributes": [{ "attribute": "cars", "value": { "number": 3 } }] },
        ])
    );
    assert_eq!(reply.left_out, ["Note"]);
    assert_eq!((reply.prompt_tokens, reply.answer_tokens, reply.requests), (100, 10, 1));
}

#[test]
fn wrapped_answers_are_unwrapped() {
    for said in [
        format!("```json\n{GOOD}\n```"),
        format!("<think>\nA cat? {{\"scene_description\": \"no\"}}\n</think>\n{GOOD}"),
        format!("Here it is: {GOOD} Have a nice day."),
        format!("[{GOOD}]"),
        format!("\u{feff}{GOOD}"),
        format!("{{\"answer\": {GOOD}}}"),
        r#"{"Scene description": "A cat on a mat."}"#.to_owned(),
    ] {
        good_after(vec![Played::says(&said)], 1);
    }
}

#[test]
fn answers_in_unusual_places_are_found() {
    for message in [
        json!({ "content": null, "reasoning_content": GOOD }),
        json!({ "content": "", "reasoning": GOOD }),
        json!({ "content": [{ "type": "text", "text": GOOD }] }),
        json!({ "content": null, "tool_calls": [{ "type": "function", "function": { "name": "annotation", "arguments": GOOD } }] }),
        json!({ "content": null, "tool_calls": [{ "function": { "name": "annotation", "arguments": { "scene_description": "A cat on a mat." } } }] }),
        json!({ "content": GOOD, "reasoning_content": "{\"scene_description\": \"thinking …\"}" }),
    ] {
        good_after(vec![Played::message(message, "stop")], 1);
    }
}

#[test]
fn an_invalid_answer_gets_one_repair_turn_that_quotes_the_error() {
    let asked = good_after(vec![Played::says(r#"{"description": "A cat."}"#), Played::says(GOOD)], 2);
    let messages = asked[1].body["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 4);
    assert_eq!(messages[2], json!({ "role": "assistant", "content": "{\"description\": \"A cat.\"}" }));
    assert!(messages[3]["content"].as_str().unwrap().contains("none of the keys is there (scene_description)"));

    for said in ["a cat", r#"{"scene_description": 1, "scene_description": 2}"#, r#"{"scene_description": ["x"]}"#, ""] {
        let error = fails_after(vec![Played::says(said)], 2);
        assert!(matches!(error, Error::Invalid { .. }), "{error}");
    }
}

#[test]
fn a_cut_off_answer_gets_one_larger_try() {
    let cut = || Played::message(json!({ "content": "{\"scene_description\": \"A cat on" }), "length");
    let asked = good_after(vec![cut(), Played::says(GOOD)], 2);
    assert_eq!(asked[1].body["max_completion_tokens"], 400);
    let error = fails_after(vec![cut()], 2);
    assert!(error.to_string().contains("cut off at 400 tokens: raise max_answer_tokens"), "{error}");
}

#[test]
fn refusals_and_filters_are_final() {
    for (play, cause) in [
        (Played::message(json!({ "content": null, "refusal": "I can't help with that." }), "stop"), "refusal"),
        (Played::message(json!({ "content": "{\"scene_desc" }), "content_filter"), "content_filter"),
        (
            Played::error(
                400,
                "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
                json!("prompt"),
                json!("content_filter"),
            ),
            "content_filter",
        ),
    ] {
        match fails_after(vec![play], 1) {
            Error::Refusal { cause: found, .. } => assert_eq!(found, cause),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn refused_parameters_are_swapped_or_dropped_and_remembered() {
    let server = Server::start(|_, asked| {
        if asked.has("/max_completion_tokens") {
            Played::error(400, "Unrecognized request argument supplied: max_completion_tokens", Value::Null, Value::Null)
        } else if asked.has("/temperature") {
            Played::error(
                400,
                "Unsupported value: 'temperature' does not support 0.2 with this model.",
                json!("temperature"),
                json!("unsupported_value"),
            )
        } else if asked.has("/reasoning_effort") {
            Played::status(
                400,
                json!({ "error": { "message": "\"test\" does not support thinking", "type": "invalid_request_error", "param": null, "code": null } }),
            )
        } else if asked.has("/messages/1/content/1/image_url/detail") {
            Played::status(
                422,
                json!({ "detail": [{ "loc": ["body", "messages", 1, "content", 1, "image_url", "detail"], "msg": "extra fields not permitted" }] }),
            )
        } else if asked.has("/response_format/json_schema/strict") {
            Played::status(400, json!({ "error": "unknown field 'strict' in json_schema" }))
        } else {
            Played::says(GOOD)
        }
    });
    let models = Models::new(vec![Settings {
        temperature: Some(0.2),
        detail: "low".into(),
        reasoning_effort: "low".into(),
        ..settings(&server.url)
    }])
    .unwrap();
    assert_eq!(ask(&models).unwrap().requests, 6);
    let last = server.asked().pop().unwrap();
    assert_eq!(last.body["max_tokens"], 200);
    assert_eq!(last.body["response_format"]["type"], "json_schema");
    assert_eq!(ask(&models).unwrap().requests, 1);
}

#[test]
fn max_tokens_is_swapped_back_where_the_server_wants_the_new_name() {
    let refuse = |name: &str| Played::error(400, &format!("Unsupported parameter: '{name}'"), json!(name), json!("unsupported_parameter"));
    let asked = good_after(vec![refuse("max_completion_tokens"), refuse("max_tokens"), Played::says(GOOD)], 3);
    assert!(!asked[2].has("/max_tokens") && !asked[2].has("/max_completion_tokens"));
    let large = Played::error(
        400,
        "max_tokens is too large: 200. This model supports at most 128 completion tokens",
        json!("max_tokens"),
        json!("invalid_value"),
    );
    let asked = good_after(vec![refuse("max_completion_tokens"), large, Played::says(GOOD)], 3);
    assert_eq!(asked[2].body["max_tokens"], 128);
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

#[test]
fn the_ladder_is_climbed_down_once_and_remembered() {
    let ladder = ["strict", "schema", "tool", "object", "prompt"];
    for (step, taken) in ladder.iter().enumerate() {
        let server = Server::start(move |_, asked| match ladder.iter().position(|name| *name == rung(asked)) {
            Some(found) if found < step => Played::error(400, "something is wrong with this request", Value::Null, Value::Null),
            _ => Played::says(GOOD),
        });
        let models = models(&server.url);
        assert_eq!(ask(&models).unwrap().requests as usize, step + 1);
        assert_eq!(ask(&models).unwrap().requests, 1);
        let last = server.asked().pop().unwrap();
        assert_eq!(rung(&last), *taken);
        // An endpoint that takes no schema is told it in words.
        let told = last.body["messages"][1]["content"][0]["text"].as_str().unwrap().contains("JSON Schema");
        assert_eq!(told, step >= 3);
        assert!(last.body["messages"].to_string().contains("JSON"));
    }
}

#[test]
fn an_endpoint_that_refuses_everything_teaches_nothing() {
    let server = Server::start(
        |number, _| {
            if number < 5 { Played::status(400, "<html><body>Bad Request</body></html>") } else { Played::says(GOOD) }
        },
    );
    let models = models(&server.url);
    let error = ask(&models).unwrap_err();
    assert!(matches!(error, Error::Endpoint { .. }), "{error}");
    assert_eq!(server.asked().len(), 5);
    ask(&models).unwrap();
    assert_eq!(rung(&server.asked()[5]), "strict");
}

#[test]
fn a_remembered_rung_that_is_refused_leads_back_to_the_best() {
    let server = Server::start(|number, asked| match (number, rung(asked)) {
        (0..4, "strict" | "schema" | "tool") => Played::status(400, json!({ "error": "'response_format.type' is not supported" })),
        (4.., "object") => Played::status(400, json!({ "error": "'response_format.type' must be 'json_schema' or 'text'" })),
        _ => Played::says(GOOD),
    });
    let models = models(&server.url);
    assert_eq!(ask(&models).unwrap().requests, 4);
    assert_eq!(ask(&models).unwrap().requests, 2);
    let rungs: Vec<_> = server.asked().iter().map(rung).collect();
    assert_eq!(rungs, ["strict", "schema", "tool", "object", "object", "strict"]);
}

#[test]
fn permanent_faults_are_not_retried_whatever_their_status() {
    for (play, words) in [
        (
            Played::status(
                500,
                json!({ "error": { "code": 500, "message": "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj", "type": "server_error" } }),
            ),
            "takes no pictures",
        ),
        (
            Played::status(
                400,
                json!({ "error": { "code": 400, "message": "Failed to load image or audio file", "type": "invalid_request_error" } }),
            ),
            "cannot read the picture",
        ),
        (
            Played::status(
                400,
                json!({ "error": { "code": 400, "message": "the request exceeds the available context size", "type": "exceed_context_size_error", "n_ctx": 512 } }),
            ),
            "context",
        ),
        (Played::error(404, "The model `test` does not exist", Value::Null, json!("model_not_found")), "no model of this name"),
        (
            Played::status(
                400,
                json!({ "error": { "message": "litellm.BadRequestError: Invalid model name passed in model=test", "code": "400" } }),
            ),
            "no model of this name",
        ),
        (Played::status(301, "").header("location", "https://elsewhere.example/v1"), "redirects"),
        (Played::status(413, "<html>Request Entity Too Large</html>"), "too large"),
    ] {
        let error = fails_after(vec![play], 1);
        assert!(matches!(&error, Error::Endpoint { .. }) && error.to_string().contains(words), "{error}");
    }
}

#[test]
fn a_refused_key_names_where_to_mend_it() {
    for play in [
        Played::error(401, "Incorrect API key provided: sk-test.", Value::Null, json!("invalid_api_key")),
        Played::status(403, "Forbidden"),
        Played::status(
            400,
            json!({ "error": { "message": "Authentication Error, Invalid proxy server token passed", "type": "auth_error", "code": "400" } }),
        ),
        Played::status(500, "Authentication Error, No api key passed in."),
    ] {
        let error = fails_after(vec![play], 1);
        assert!(matches!(error, Error::KeyRefused { .. }), "{error}");
        assert!(error.to_string().contains("check OPENAI_API_KEY") && !error.to_string().contains("sk-test"), "{error}");
    }
}

#[test]
fn rate_limits_are_waited_out_as_the_server_says() {
    let limited = || Played::error(429, "Rate limit reached", Value::Null, json!("rate_limit_exceeded"));
    for play in [
        limited().header("retry-after", "1"),
        limited().header("retry-after-ms", "900"),
        limited(),
        limited().header("x-ratelimit-reset-requests", "-1"),
    ] {
        good_after(vec![play, Played::says(GOOD)], 2);
    }
    let start = Instant::now();
    let error = fails_after(vec![limited().header("retry-after", "90")], 1);
    assert!(matches!(error, Error::RateLimited { retry_after: Some(wait), .. } if wait == Duration::from_secs(90)), "{error}");
    assert!(start.elapsed() < Duration::from_secs(2));
    let error = fails_after(vec![limited().header("x-ratelimit-reset-tokens", "6m0s").header("x-ratelimit-remaining-tokens", "0")], 4);
    assert!(matches!(error, Error::RateLimited { retry_after: Some(wait), .. } if wait == Duration::from_secs(360)), "{error}");
}

#[test]
fn an_empty_account_is_not_retried() {
    for status in [429, 402] {
        let error = fails_after(
            vec![
                Played::error(status, "You exceeded your current quota", Value::Null, json!("insufficient_quota"))
                    .header("retry-after", "1"),
            ],
            1,
        );
        assert!(matches!(error, Error::NoQuota { .. }), "{error}");
    }
}

#[test]
fn passing_failures_are_retried() {
    for play in [Played::status(502, "<html>Bad Gateway</html>"), Played::status(500, "oops"), Played::status(529, ""), Played::hang_up()] {
        good_after(vec![play, Played::says(GOOD)], 2);
    }
    let loading = || Played::status(503, json!({ "error": { "code": 503, "message": "Loading model", "type": "unavailable_error" } }));
    good_after(vec![loading(), loading(), Played::says(GOOD)], 3);
}

#[test]
fn an_error_under_a_good_status_is_an_error() {
    let error = json!({ "message": "overloaded", "code": 503 });
    for hidden in [json!({ "error": error }), json!({ "choices": [{ "error": error, "finish_reason": "error" }] })] {
        good_after(vec![Played::status(200, hidden), Played::says(GOOD)], 2);
    }
    let error = fails_after(vec![Played::status(200, "<html>Welcome to the portal</html>")], 2);
    assert!(error.to_string().contains("no chat completion: check base_url"), "{error}");
}

#[test]
fn a_base_url_without_v1_is_found_and_remembered() {
    let server = Server::start(|_, asked| {
        if asked.path == "/api/v1/chat/completions" { Played::says(GOOD) } else { Played::status(404, json!({ "detail": "Not Found" })) }
    });
    let models = models(&server.url.replace("/v1", "/api/"));
    assert_eq!(ask(&models).unwrap().requests, 2);
    assert_eq!(ask(&models).unwrap().requests, 1);
}

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
fn a_slow_model_costs_a_deadline_or_a_failure_and_no_more() {
    let server = Server::start(|_, _| Played::says(GOOD).after(Duration::from_secs(3)));
    let start = Instant::now();
    let error = ask_about(&models(&server.url), &ontologies::description(), 1).unwrap_err();
    assert!(matches!(error, Error::Deadline(_)), "{error}");
    let models = Models::new(vec![Settings { timeout: Duration::from_millis(300), ..settings(&server.url) }]).unwrap();
    let error = ask_about(&models, &ontologies::description(), 20).unwrap_err();
    assert!(matches!(error, Error::Endpoint { .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(4));
}

#[test]
fn an_endpoint_that_is_down_fails_fast_the_next_time() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let models = models(&format!("http://{closed}/v1"));
    let error = ask(&models).unwrap_err();
    assert!(matches!(error, Error::Endpoint { .. }), "{error}");
    assert!(models.stats()[0].down);
    assert_eq!(models.stats()[0].requests[&0], 4);
    let start = Instant::now();
    let error = ask(&models).unwrap_err();
    assert!(error.to_string().contains("it is down; tried again in"), "{error}");
    assert!(start.elapsed() < Duration::from_millis(50));
    assert_eq!(models.stats()[0].requests[&0], 4);
}

#[test]
fn an_endpoint_that_has_healed_is_used_by_the_next_trigger_and_one_that_has_not_costs_one_request() {
    let healed = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let state = healed.clone();
    let server = Server::start(move |_, asked| match asked.path.as_str() {
        "/v1/models" => Played::status(200, "{}"),
        _ if state.load(std::sync::atomic::Ordering::SeqCst) => Played::says(GOOD),
        _ => Played::status(502, "boom"),
    });
    let models = models(&server.url);
    let chats = || server.asked().iter().filter(|asked| asked.path == "/v1/chat/completions").count();
    ask(&models).unwrap_err();
    assert_eq!((chats(), models.stats()[0].down), (4, true));
    let start = Instant::now();
    ask(&models).unwrap_err();
    assert_eq!(chats(), 5);
    assert!(start.elapsed() < Duration::from_millis(500));
    healed.store(true, std::sync::atomic::Ordering::SeqCst);
    ask(&models).unwrap();
    assert_eq!((chats(), models.stats()[0].down), (6, false));
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
    assert!(matches!(error, Error::RateLimited { retry_after: Some(_), .. }), "{error}");
    assert_eq!((server.asked().len(), models.stats()[0].tokens_today), (2, 220));
}

#[test]
fn a_failure_that_stays_is_asked_in_simpler_ways_and_then_given_up() {
    let error = fails_after(vec![Played::status(500, "Internal Server Error")], 4);
    assert!(matches!(error, Error::Endpoint { .. }), "{error}");

    let server = Server::start(|_, asked| match rung(asked) {
        "object" | "prompt" => Played::says(GOOD),
        _ => Played::status(500, "Internal Server Error"),
    });
    let models = models(&server.url);
    assert_eq!(ask(&models).unwrap().requests, 3);
    assert_eq!(ask(&models).unwrap().requests, 1);
    assert_eq!(rung(&server.asked()[3]), "object");
}

#[test]
fn a_form_that_is_refused_as_an_internal_error_is_still_understood() {
    // llama-cpp-python 0.3.36 word for word.
    let message = "1 validation error:\n  {'type': 'literal_error', 'loc': ('body', 'response_format', 'type'), 'msg': \"Input should be 'text' or 'json_object'\", 'input': 'json_schema'}";
    let refused = json!({ "error": { "message": message, "type": "internal_server_error", "param": null, "code": null } });
    let server = Server::start(move |_, asked| match rung(asked) {
        "strict" | "schema" => Played::status(500, &refused),
        _ => Played::says(GOOD),
    });
    let models = models(&server.url);
    assert_eq!(ask(&models).unwrap().requests, 3);
    assert_eq!(server.asked().iter().map(rung).collect::<Vec<_>>(), ["strict", "schema", "tool"]);
}

#[test]
fn a_server_that_ignores_the_new_name_of_the_bound_is_told_the_old_one() {
    let server = Server::start(|number, _| {
        let choice = json!({ "message": { "content": GOOD }, "finish_reason": "stop" });
        let (usage, build) = if number == 0 { (900, "b1") } else { (9, "b1") };
        Played::status(
            200,
            json!({ "choices": [choice], "usage": { "prompt_tokens": 9, "completion_tokens": usage }, "system_fingerprint": build }),
        )
    });
    let models = models(&server.url);
    ask(&models).unwrap();
    ask(&models).unwrap();
    assert_eq!(server.asked()[0].body["max_completion_tokens"], 200);
    assert_eq!(server.asked()[1].body["max_tokens"], 200);
    assert!(!server.asked()[1].has("/max_completion_tokens"));
}

#[test]
fn an_endpoint_that_is_back_is_noticed_before_the_pause_is_over() {
    let server = Server::start(|number, asked| match asked.path.as_str() {
        "/v1/models" => Played::status(if number < 6 { 503 } else { 200 }, "{}"),
        _ if number < 4 => Played::status(503, "upstream connect error"),
        _ => Played::says(GOOD),
    });
    let models = models(&server.url);
    let error = ask(&models).unwrap_err();
    assert!(matches!(error, Error::Endpoint { .. }) && models.stats()[0].down, "{error}");
    // The watch that `ask` itself started takes longer.
    let endpoint = crate::model::endpoint::Endpoint::new(settings(&server.url)).map(std::sync::Arc::new).unwrap();
    for _ in 0..3 {
        endpoint.breaker.failed(Instant::now());
    }
    crate::model::recovery::look_after(&endpoint, Duration::from_millis(50));
    let soon = Deadline::after(Duration::from_secs(5));
    assert!(endpoint.admit(&soon).is_err());
    std::thread::sleep(Duration::from_millis(500));
    assert!(endpoint.breaker.admit(Instant::now()).is_ok(), "the watch saw it come back");
    assert!(server.asked().iter().filter(|asked| asked.path == "/v1/models").count() >= 3);
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

#[test]
fn the_preview_is_what_would_be_sent() {
    let server = Server::start(|_, _| Played::says(GOOD));
    let models = models(&server.url);
    ask(&models).unwrap();
    let ontology = ontologies::description();
    let topics: Vec<Topic<'_>> = ontology.iter().map(Topic::from).collect();
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
        pictures: &[],
    };
    let preview = models.preview("", &question).unwrap();
    let mut sent = server.asked()[0].body.clone();
    sent["messages"][1]["content"].as_array_mut().unwrap().truncate(1);
    assert_eq!(preview["request"], sent);
    assert_eq!(preview["url"], format!("{}/chat/completions", server.url));
    assert_eq!(preview["schema"], sent["response_format"]["json_schema"]["schema"]);
    assert!(models.preview("nowhere", &question).unwrap_err().to_string().contains("[models.nowhere] is not configured"));
}

#[test]
fn archived_attributes_and_options_are_not_asked() {
    let mut ontology = ontologies::driving();
    ontology[1].attribute.archived = true;
    let AttributeKind::Radio(choices) = &mut ontology[0].attribute.kind else { panic!() };
    choices[1].archived = true;
    let server = Server::start(|_, _| Played::says(r#"{"weather": "Rain", "number_of_cars": 1, "note": null}"#));
    let error = ask_about(&models(&server.url), &ontology, 10).unwrap_err();
    assert!(matches!(&error, Error::Invalid { cause, .. } if cause == "weather is not one of the listed choices"), "{error}");
    let schema = &server.asked()[0].body["response_format"]["json_schema"]["schema"];
    assert_eq!(schema["properties"].as_object().unwrap().keys().collect::<Vec<_>>(), ["weather", "snow_depth", "number_of_cars", "note"]);

    ontology.truncate(2);
    ontology.remove(0);
    let error = ask_about(&models(&server.url), &ontology, 10).unwrap_err();
    assert!(matches!(&error, Error::Unaskable(cause) if cause.contains("Hazards")), "{error}");
}

#[test]
fn types_are_bent_only_where_nothing_is_lost() {
    let answer = |said: Value| {
        let server = Server::start(move |_, _| Played::says(&said.to_string()));
        ask_about(&models(&server.url), &ontologies::driving(), 10)
    };
    let kind = answer(json!({ "weather": " sunny ", "hazards": "ice", "number_of_cars": " 3 ", "note": 5, "confidence": 0.9 })).unwrap();
    assert_eq!(kind.answers.len(), 4);
    assert_eq!(kind.answers[2].attributes[0].value, AnswerValue::Number(3.into()));
    let lazy = answer(json!({ "weather": ["Sunny"], "hazards": [], "number_of_cars": "null" })).unwrap();
    assert_eq!(lazy.left_out, ["Number of cars", "Note"]);
    for (wrong, cause) in [
        (json!({ "weather": "Foggy" }), "weather is not one of the listed choices"),
        (json!({ "weather": ["Sunny", "Rain"] }), "weather is not one single choice"),
        (json!({ "weather": "Sunny", "hazards": ["Ice", "Meteor"] }), "hazards is not one of the listed choices"),
        (json!({ "weather": "Sunny", "number_of_cars": "three" }), "number_of_cars is not a number"),
        (json!({ "weather": "Sunny", "number_of_cars": true }), "number_of_cars is not a number"),
        (json!({ "weather": "Sunny", "note": { "a": 1 } }), "note is not a text"),
        (json!({ "note": "hello" }), "weather is missing"),
    ] {
        match answer(wrong).unwrap_err() {
            Error::Invalid { cause: found, .. } => assert_eq!(found, cause),
            other => panic!("{other}"),
        }
    }
}
