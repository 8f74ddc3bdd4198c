//! The table of statuses: each row provoked for real, each answer readable by a page of the label editor.

use std::time::Duration;

use serde_json::json;

use crate::spine::World;
use crate::support::backend::{Call, Clip, Content, Still};
use crate::support::daemon::{Answer, Daemon, write_private};
use crate::support::faults::Fault;
use crate::support::media::png;
use crate::support::model::Turn;

const ALWAYS: usize = usize::MAX;

fn click(world: &World, daemon: &Daemon) -> Answer {
    daemon.trigger("/", &world.fixture.project, &world.fixture.image, 0)
}

/// A fresh daemon with one text agent, asked once about the image after `spoil` has been at work.
fn spoiled(spoil: impl FnOnce(&World)) -> (Answer, World, Daemon) {
    let world = World::new();
    let daemon = world.setup().set("server", "request_budget", "\"12s\"").agent("/", "Scene description", "").start();
    spoil(&world);
    let answer = click(&world, &daemon);
    (answer, world, daemon)
}

#[test]
fn test_requests_are_answered_null_and_nothing_upstream_is_called() {
    let world = World::new();
    let daemon = world.setup().agent("/", "Scene description", "").start();
    let calls = world.fixture.backend.calls().len();
    for header in ["x-encord-editor-agent", "x-encord-agent"] {
        for body in ["{}", "not json", ""] {
            let answer = daemon.post("/", body, &[(header, "1")]);
            assert_eq!((answer.status, answer.body.as_str()), (200, "null"), "{header} {body:?}");
        }
    }
    assert_eq!(world.fixture.backend.calls().len(), calls);
    assert_eq!(world.model.questions().len(), 0);
}

#[test]
fn a_wrong_body_is_400_and_names_the_field() {
    let world = World::new();
    let daemon = world.setup().agent("/", "Scene description", "").start();
    let (project, data) = (&world.fixture.project, &world.fixture.image);
    for (body, named) in [
        ("{".to_owned(), "JSON"),
        (json!({"dataHash": data, "frame": 0}).to_string(), "projectHash"),
        (json!({"projectHash": project, "frame": 0}).to_string(), "dataHash"),
        (json!({"projectHash": "p", "dataHash": data}).to_string(), "projectHash"),
        (json!({"projectHash": project, "dataHash": data, "frame": -1}).to_string(), "frame"),
        (json!({"projectHash": project, "dataHash": data, "frame": "3"}).to_string(), "frame"),
        (json!({"projectHash": project, "dataHash": data, "frame": true}).to_string(), "frame"),
        (json!({"projectHash": project, "dataHash": data, "frame": 1.5}).to_string(), "frame"),
    ] {
        let answer = daemon.post("/", &body, &[]);
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
        assert!(answer.message().contains(named), "{body}: {answer:?}");
    }
    for body in [
        json!({"projectHash": project, "dataHash": data, "frame": null, "unknown": {"a": 1}}),
        json!({"projectHash": project, "dataHash": data}),
    ] {
        assert_eq!(daemon.post("/", &body.to_string(), &[]).status, 200);
    }
}

#[test]
fn an_unknown_path_a_wrong_method_a_wrong_type_and_too_large_a_body_each_have_their_status() {
    let world = World::new();
    let daemon = world.setup().agent("/scene", "Scene description", "").start();
    assert_eq!(daemon.post("/other", "{}", &[]).status, 404);
    assert_eq!(daemon.post("/scene", "{}", &[("content-type", "text/plain")]).status, 415);
    assert_eq!(daemon.post("/scene", &"x".repeat(200_000), &[]).status, 413);
    let client = daemon.client();
    let got = client.get(daemon.url("/scene")).header("origin", crate::support::daemon::ORIGIN).call().unwrap();
    assert_eq!(got.status(), 405);
    assert_eq!(got.headers().get("allow").unwrap(), "POST");
    assert_eq!(got.headers().get("access-control-allow-origin").unwrap(), crate::support::daemon::ORIGIN);
}

#[test]
fn a_preflight_from_the_label_editor_is_granted_and_from_elsewhere_it_is_not() {
    let world = World::new();
    let daemon = world.setup().agent("/", "Scene description", "").start();
    let preflight = |origin: &str| {
        let request = ureq::http::Request::builder()
            .method("OPTIONS")
            .uri(daemon.url("/"))
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type,x-encord-agent")
            .header("access-control-request-private-network", "true")
            .body(())
            .unwrap();
        daemon.client().run(request).unwrap()
    };
    let granted = preflight("https://app.us.encord.com");
    assert!(granted.status().is_success());
    let header = |name: &str| granted.headers().get(name).map(|value| value.to_str().unwrap().to_ascii_lowercase()).unwrap_or_default();
    assert_eq!(header("access-control-allow-origin"), "https://app.us.encord.com");
    assert_eq!(header("access-control-allow-private-network"), "true");
    assert!(header("access-control-allow-headers").contains("content-type"));
    assert!(header("vary").contains("origin"));
    let refused = preflight("https://app.encord.com.evil.example");
    assert!(refused.headers().get("access-control-allow-origin").is_none());
}

#[test]
fn the_access_token_is_part_of_the_path() {
    let world = World::new();
    let setup = world.setup().set("server", "access_token_file", "\"token\"").agent("/", "Scene description", "");
    write_private(&setup.folder().join("token"), "correct-horse-battery-staple-0123456789\n");
    let daemon = setup.start();
    assert_eq!(click(&world, &daemon).status, 404);
    assert_eq!(daemon.trigger("/wrong-horse-battery-staple-0123456789/", &world.fixture.project, &world.fixture.image, 0).status, 404);
    world.click(&daemon, "/correct-horse-battery-staple-0123456789/", &world.fixture.image, 0);
}

#[test]
fn a_signature_must_verify_and_be_there_where_it_is_required() {
    use hmac::{Hmac, Mac};
    let world = World::new();
    let setup = world.setup().set("server", "webhook_secret_file", "\"secret\"").set("server", "webhook_signature", "\"required\"").agent(
        "/",
        "Scene description",
        "",
    );
    write_private(&setup.folder().join("secret"), "whsec_old\nwhsec_test\n");
    let daemon = setup.start();
    let body = json!({"projectHash": world.fixture.project, "dataHash": world.fixture.image, "frame": 0}).to_string();
    let now = time::OffsetDateTime::now_utc().unix_timestamp();
    let sign = |secret: &str, at: i64| {
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(format!("{at}.{body}").as_bytes());
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let status = |secret: &str, at: i64| {
        let (signature, stamp) = (sign(secret, at), at.to_string());
        daemon.post("/", &body, &[("x-encord-signature", &signature), ("x-encord-timestamp", &stamp)]).status
    };
    assert_eq!(daemon.post("/", &body, &[]).status, 401);
    assert_eq!(status("whsec_other", now), 401);
    assert_eq!(status("whsec_test", now - 1000), 401);
    assert_eq!(status("whsec_test", now), 200);
}

#[test]
fn what_encord_refuses_is_403() {
    let (answer, ..) = spoiled(|world| world.fixture.backend.store().keys.clear());
    assert_eq!(answer.status, 403, "{answer:?}");
    answer.message();
    let (answer, ..) = spoiled(|world| {
        let project = world.fixture.project.clone();
        world.fixture.backend.store().projects[&project].members = vec!["somebody else".into()];
    });
    assert_eq!(answer.status, 403, "{answer:?}");
    answer.message();
}

#[test]
fn a_project_that_is_not_allowed_here_is_403_and_encord_is_not_asked() {
    let world = World::new();
    let daemon = world
        .setup()
        .set("server", "allowed_projects", "[\"00000000-0000-4000-8000-000000000000\"]")
        .agent("/", "Scene description", "")
        .start();
    world.fixture.backend.forget_records();
    let answer = click(&world, &daemon);
    assert_eq!(answer.status, 403, "{answer:?}");
    assert_eq!(world.fixture.backend.calls(), []);
}

#[test]
fn a_data_item_of_another_project_is_404() {
    let world = World::new();
    let daemon = world.setup().agent("/", "Scene description", "").start();
    let answer = daemon.trigger("/", &world.fixture.project, "00000000-0000-4000-8000-000000000000", 0);
    assert_eq!(answer.status, 404, "{answer:?}");
    answer.message();
}

#[test]
fn what_cannot_be_answered_is_422_and_says_why() {
    let world = World::new();
    let daemon = world
        .setup()
        .agent("/", "Scene description", "")
        .agent("/none", "No such title", "")
        .agent("/twice", "Twice", "")
        .agent("/old", "Old question", "")
        .start();
    let (project, image, video) = (&world.fixture.project, &world.fixture.image, &world.fixture.video);
    let check = |answer: Answer, named: &str| {
        assert_eq!(answer.status, 422, "{answer:?}");
        assert!(answer.message().contains(named), "{named}: {answer:?}");
    };
    check(daemon.trigger("/", project, video, 30), "30");
    check(daemon.trigger("/", project, image, 1), "1");
    check(daemon.trigger("/none", project, image, 0), "No such title");
    check(daemon.trigger("/twice", project, image, 0), "Twice");
    check(daemon.trigger("/old", project, image, 0), "Old question");
    world.fixture.backend.store().items[&world.fixture.group].listed = 2;
    check(daemon.trigger("/", project, &world.fixture.group, 0), "2");
    assert_eq!(world.model.questions().len(), 0);
}

#[test]
fn broken_or_unsupported_media_is_422() {
    let world = World::new();
    let daemon = world.setup().agent("/", "Scene description", "").start();
    let project = world.fixture.project.clone();
    let mut store = world.fixture.backend.store();
    let still = |file: String, mime: &str| Still { file, mime: mime.into(), width: 64, height: 64 };
    let mut half = png(640, 480, [9, 99, 199]);
    half.truncate(half.len() / 2);
    let half = store.add_file("half.png", "image/png", half);
    let empty = store.add_file("empty.jpg", "image/jpeg", Vec::new());
    let html = store.add_file("film.mp4", "video/mp4", b"<html>not found</html>".repeat(20));
    let sound = store.add_file("talk.mp3", "audio/mpeg", b"ID3\x04\0\0\0\0\0\0".repeat(50));
    let clip = Clip { file: html, mime: "video/mp4".into(), width: 64, height: 64, fps: 10.0, frames: 10 };
    let items = [
        store.add_item(&project, "half.png", Content::Image(still(half, "image/png"))),
        store.add_item(&project, "empty.jpg", Content::Image(still(empty, "image/jpeg"))),
        store.add_item(&project, "film.mp4", Content::Video(clip)),
        store.add_item(&project, "talk.mp3", Content::Other("AUDIO".into(), still(sound, "audio/mpeg"))),
    ];
    drop(store);
    for item in items {
        let answer = daemon.trigger("/", &project, &item, 0);
        assert_eq!(answer.status, 422, "{answer:?}");
        answer.message();
    }
    assert_eq!(world.model.questions().len(), 0);
}

#[test]
fn an_upstream_that_answers_wrongly_is_502() {
    for spoil in [
        |world: &World| world.fixture.backend.fail(Call::Project, Fault::Body("<html>login</html>".into()), ALWAYS),
        |world: &World| world.fixture.backend.fail(Call::ListRows, Fault::Garbage, ALWAYS),
        |world: &World| world.fixture.backend.fail(Call::Media, Fault::Status(404, "<Error/>".into()), ALWAYS),
        |world: &World| world.model.fail(Fault::Status(500, "boom".into()), ALWAYS),
        |world: &World| world.model.fail(Fault::Body("<html>".into()), ALWAYS),
        |world: &World| world.model.quirks(|quirks| quirks.api_key = Some("sk-another".into())),
        |world: &World| (0..4).for_each(|_| world.model.script(Turn::Content("I would rather not say".into()))),
        |world: &World| world.model.script(Turn::Refusal("I cannot help with that.".into())),
    ] {
        let (answer, _, daemon) = spoiled(spoil);
        assert_eq!(answer.status, 502, "{answer:?}\n{}", daemon.log());
        let message = answer.message();
        assert!(!message.contains("<html>") && !message.contains("boom"), "an upstream body is shown: {message}");
    }
}

#[test]
fn the_message_about_a_refused_model_key_names_the_key_and_does_not_show_it() {
    let (answer, ..) = spoiled(|world| world.model.quirks(|quirks| quirks.api_key = Some("sk-another".into())));
    let message = answer.message();
    assert!(message.contains("key") && !message.contains("sk-"), "{message}");
}

#[test]
fn a_hiccup_upstream_is_not_seen_by_the_annotator() {
    for spoil in [
        |world: &World| world.fixture.backend.fail(Call::Project, Fault::Status(503, "later".into()), 1),
        |world: &World| world.fixture.backend.fail(Call::ListRows, Fault::ResetBefore, 1),
        |world: &World| world.fixture.backend.fail(Call::ListRows, Fault::Cut(20), 1),
        |world: &World| world.fixture.backend.fail(Call::CreateRow, Fault::ResetAfter, 1),
        |world: &World| world.fixture.backend.fail(Call::GetRow, Fault::RetryAfter(429, "1".into()), 1),
        |world: &World| world.fixture.backend.fail(Call::SaveRow, Fault::Status(502, "<html>".into()), 2),
        |world: &World| world.fixture.backend.fail(Call::SaveRow, Fault::ResetAfter, 1),
        |world: &World| world.fixture.backend.fail(Call::Media, Fault::Cut(100), 1),
        |world: &World| world.model.fail(Fault::Status(503, "loading".into()), 1),
    ] {
        let (answer, world, daemon) = spoiled(spoil);
        assert_eq!(answer.status, 200, "{answer:?}\n{}", daemon.log());
        assert_eq!(world.answers(&world.fixture.image, "Cls+Scen").len(), 1);
    }
}

#[test]
fn an_expired_media_link_is_renewed_once() {
    let (answer, world, daemon) = spoiled(|world| {
        let expired = "<?xml version='1.0'?><Error><Code>ExpiredToken</Code></Error>";
        world.fixture.backend.fail(Call::Media, Fault::Status(400, expired.into()), 1);
    });
    assert_eq!(answer.status, 200, "{answer:?}\n{}", daemon.log());
    let calls = world.fixture.backend.calls();
    assert!(calls.iter().filter(|call| matches!(call, Call::GetRow | Call::DataLinks)).count() >= 1, "{calls:?}");
}

#[test]
fn when_too_many_triggers_wait_the_next_is_503_and_told_when_to_come_back() {
    let world = World::new();
    let daemon = world
        .setup()
        .set("server", "max_concurrent_triggers", "1")
        .set("server", "max_waiting_triggers", "1")
        .agent("/", "Scene description", "")
        .start();
    world.model.quirks(|quirks| quirks.thinking_time = Duration::from_millis(1500));
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let clicks: Vec<_> = (0..4)
            .map(|frame| {
                let (world, daemon) = (&world, &daemon);
                let click = scope.spawn(move || daemon.trigger("/", &world.fixture.project, &world.fixture.video, frame));
                std::thread::sleep(Duration::from_millis(150));
                click
            })
            .collect();
        clicks.into_iter().map(|click| click.join().unwrap()).collect()
    });
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 200, 503, 503]);
    assert!(answers[3].headers.contains_key("retry-after"), "{:?}", answers[3]);
    answers[3].message();
}

#[test]
fn a_models_rate_limit_beyond_the_budget_is_503() {
    let (answer, ..) = spoiled(|world| world.model.fail(Fault::RetryAfter(429, "120".into()), ALWAYS));
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
}

#[test]
fn a_request_whose_budget_runs_out_is_504_in_time() {
    let world = World::new();
    let daemon = world.setup().set("server", "request_budget", "\"2s\"").agent("/", "Scene description", "").start();
    world.model.quirks(|quirks| quirks.thinking_time = Duration::from_secs(6));
    let answer = click(&world, &daemon);
    assert_eq!(answer.status, 504, "{answer:?}");
    answer.message();
    assert!(answer.took < Duration::from_millis(3500), "{:?}", answer.took);
}

#[test]
fn a_request_id_in_a_message_is_also_in_the_log() {
    let (answer, _, daemon) = spoiled(|world| world.model.fail(Fault::Status(500, "boom".into()), ALWAYS));
    let message = answer.message();
    let id = message.rsplit(' ').next().unwrap();
    assert!(daemon.log().contains(id), "{id} is not in\n{}", daemon.log());
    assert!(!daemon.log().contains("boom"), "an upstream body is logged");
}

#[test]
fn a_wrong_clock_is_named_when_encord_refuses_for_it() {
    let (answer, ..) = spoiled(|world| world.fixture.backend.behave(|behaviour| behaviour.clock_ahead = 3600));
    assert_eq!(answer.status, 502, "{answer:?}");
    assert!(answer.message().contains("clock"), "{answer:?}");
}
