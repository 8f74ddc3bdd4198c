//! One id finds a click in the logs of the label editor, of Encord and of the model.

use serde_json::json;

use crate::spine::World;
use crate::support::backend::Call;

const ID: &str = "0af7651916cd43dd8448eb211c80319c";

/// What was sent on for a click with these headers: to Encord (without the media store) and to the model.
fn sent_on(world: &World, headers: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
    let daemon = world.setup().agent("/", "Scene description", "").start();
    world.fixture.backend.forget_records();
    let body = json!({"projectHash": world.fixture.project, "dataHash": world.fixture.video, "frame": 3}).to_string();
    assert_eq!(daemon.post("/", &body, headers).status, 200, "{}", daemon.log());
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    let records = world.fixture.backend.records();
    let (media, calls): (Vec<_>, Vec<_>) = records.iter().partition(|record| record.call == Call::Media);
    // A store is a third party that checks what it is sent, headers too.
    assert!(media.iter().all(|record| record.request.header("traceparent").or(record.request.header("x-cloud-trace-context")).is_none()));
    let encord = calls.iter().map(|record| text(record.request.header("x-cloud-trace-context"))).collect();
    let model = world.model.questions().iter().map(|question| text(question.request.header("traceparent"))).collect();
    (encord, model)
}

fn assert_of(id: &str, (encord, model): &(Vec<String>, Vec<String>)) {
    assert!(encord.len() >= 4 && encord.iter().all(|value| *value == format!("{id}/1;o=1")), "{encord:?}");
    assert!(model.len() == 1 && model[0].starts_with(&format!("00-{id}-")) && model[0].len() == 55, "{model:?}");
}

#[test]
fn the_callers_trace_is_sent_on_to_encord_and_the_model() {
    assert_of(ID, &sent_on(&World::new(), &[("x-cloud-trace-context", &format!("{ID}/77;o=1"))]));
    assert_of(ID, &sent_on(&World::new(), &[("traceparent", &format!("00-{ID}-b7ad6b7169203331-00"))]));
}

#[test]
fn a_click_without_a_trace_gets_one_of_its_own() {
    for header in [None, Some(("traceparent", "nonsense"))] {
        let sent = sent_on(&World::new(), header.as_slice());
        let id = sent.0[0].split('/').next().unwrap().to_owned();
        assert!(id.len() == 32 && id != ID);
        assert_of(&id, &sent);
    }
}
