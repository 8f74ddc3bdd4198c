//! What servers refuse to take, how they are asked instead, and that it is remembered.

use serde_json::{Value, json};

use super::server::{Played, Server};
use super::{GOOD, ask, fails_after, good_after, models, rung, settings};
use crate::model::{Error, Models, Settings};

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
fn a_base_url_without_v1_is_found_and_remembered() {
    let server = Server::start(|_, asked| {
        if asked.path == "/api/v1/chat/completions" { Played::says(GOOD) } else { Played::status(404, json!({ "detail": "Not Found" })) }
    });
    let models = models(&server.url.replace("/v1", "/api/"));
    assert_eq!(ask(&models).unwrap().requests, 2);
    assert_eq!(ask(&models).unwrap().requests, 1);
}
