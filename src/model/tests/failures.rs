//! How servers fail, how many requests that costs, and what is said about it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::server::{Played, Server};
use super::{GOOD, ask, ask_about, fails_after, good_after, models, ontologies, settings};
use crate::deadline::Deadline;
use crate::model::{Error, Models, Settings};

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
