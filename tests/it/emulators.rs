//! The emulators themselves: they refuse what is wrong, and go wrong when told to.

use base64::Engine as _;
use serde_json::{Value, json};

use crate::support::backend::Call;
use crate::support::faults::Fault;
use crate::support::fixture::Fixture;
use crate::support::media::{VideoRecipe, colour_of_frame, jpeg, png};
use crate::support::model::StandIn;

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).build().new_agent()
}

fn get(url: &str, range: Option<&str>) -> (u16, Vec<u8>) {
    let agent = agent();
    let mut request = agent.get(url);
    if let Some(range) = range {
        request = request.header("range", range);
    }
    let mut answer = request.call().unwrap();
    (answer.status().as_u16(), answer.body_mut().read_to_vec().unwrap())
}

fn post(url: &str, body: &Value) -> (u16, Value) {
    let mut answer = agent().post(url).content_type("application/json").send(body.to_string()).unwrap();
    let text = answer.body_mut().read_to_string().unwrap();
    (answer.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

#[test]
fn the_store_serves_ranges_under_links_that_expire_and_cannot_be_altered() {
    let fixture = Fixture::new();
    let path = fixture.backend.store().add_file("a b+c.bin", "application/octet-stream", vec![7_u8; 1000]);
    let link = fixture.backend.link(&path);
    assert_eq!(get(&link, None), (200, vec![7; 1000]));
    assert_eq!(get(&link, Some("bytes=10-19")), (206, vec![7; 10]));
    assert_eq!(get(&link, Some("bytes=-5")), (206, vec![7; 5]));
    assert_eq!(get(&link, Some("bytes=1000-")).0, 416);
    assert_eq!(get(&link.replace("a%20b", "a%20c"), None).0, 403);
    fixture.backend.behave(|behaviour| behaviour.link_life = std::time::Duration::ZERO);
    let short = fixture.backend.link(&path);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(get(&short, None).0, 400);
    fixture.backend.fail(Call::Media, Fault::Cut(100), 1);
    let mut cut = agent().get(&link).call().unwrap();
    assert!(cut.body_mut().read_to_vec().is_err());
    assert_eq!(fixture.backend.records().iter().map(|record| record.bytes).sum::<u64>() / 100 * 100, 1500);
}

#[test]
fn an_unsigned_call_is_refused_in_the_manner_of_each_flavour() {
    let fixture = Fixture::new();
    let project = format!("{}/v2/public/projects/{}", fixture.backend.url(), fixture.project);
    assert_eq!(get(&project, None).0, 401);
    let body = json!({"query_type": "labelrowmetadata", "query_method": "GET", "values": {"uid": null, "payload": {}}});
    let (status, answer) = post(&format!("{}/public", fixture.backend.url()), &body);
    assert_eq!((status, &answer["response"][0]), (200, &json!("AUTHENTICATION_ERROR")));
}

fn question(picture: &[u8], mime: &str, schema: Option<Value>) -> Value {
    let link = format!("data:{mime};base64,{}", base64::engine::general_purpose::STANDARD.encode(picture));
    let mut body = json!({"model": "m", "messages": [
        {"role": "user", "content": [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": link}}]},
    ]});
    if let Some(schema) = schema {
        body["response_format"] = json!({"type": "json_schema", "json_schema": {"name": "a", "strict": true, "schema": schema}});
    }
    body
}

fn ask(model: &StandIn, body: &Value) -> Value {
    let (status, answer) = post(&format!("{}/chat/completions", model.url()), body);
    assert_eq!(status, 200, "{answer}");
    serde_json::from_str(answer["choices"][0]["message"]["content"].as_str().unwrap()).unwrap()
}

#[test]
fn the_stand_in_answers_from_the_picture_within_the_schema() {
    let model = StandIn::start(0, None).unwrap();
    let schema = json!({"type": "object", "properties": {
        "c1": {"type": "string", "title": "Scene description"},
        "c2": {"type": "string", "title": "Dominant colour", "enum": ["o1", "o2", "o3"], "description": "o1 = Blue, o2 = Red, o3 = Green"},
        "c3": {"type": "number", "title": "Brightness"},
        "c4": {"anyOf": [{"type": "string", "enum": ["Day", "Night"]}, {"type": "null"}], "title": "Time of day"},
    }});
    let answer = ask(&model, &question(&jpeg(64, 32, [220, 30, 30]), "image/jpeg", Some(schema.clone())));
    assert!(answer["c1"].as_str().unwrap().starts_with("STAND-IN: a 64x32 picture, mean colour #d"), "{answer}");
    assert_eq!(answer["c2"], "o2");
    assert!((10.0..40.0).contains(&answer["c3"].as_f64().unwrap()), "{answer}");
    assert_eq!(answer["c4"], "Night");

    model.fix("Dominant colour", "Green");
    let fixed = ask(&model, &question(&png(8, 8, [0, 0, 0]), "image/png", Some(schema)));
    assert_eq!((&fixed["c2"], &fixed["c4"]), (&json!("o3"), &Value::Null));
}

#[test]
fn the_stand_in_refuses_a_picture_that_is_broken_or_not_what_it_is_declared_as() {
    let model = StandIn::start(0, None).unwrap();
    let url = format!("{}/chat/completions", model.url());
    let whole = jpeg(64, 64, [1, 2, 3]);
    assert_eq!(post(&url, &question(&whole, "image/png", None)).0, 400);
    assert_eq!(post(&url, &question(b"GIF89a no", "image/gif", None)).0, 400);
    assert_eq!(post(&url, &question(&whole, "image/jpeg", None)).0, 200);
    assert_eq!(model.questions().len(), 3);
}

#[test]
fn every_frame_of_a_test_video_has_a_colour_of_its_own() {
    let recipe = VideoRecipe { frames: 30, ..VideoRecipe::default() };
    assert!(recipe.coloured().len() > 1000);
    for one in 0..30 {
        for other in 0..one {
            let far = colour_of_frame(one).iter().zip(colour_of_frame(other)).any(|(a, b)| a.abs_diff(b) >= 24);
            assert!(far, "frames {other} and {one} look alike");
        }
    }
}
