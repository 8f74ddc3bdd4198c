//! Agents for objects: each selected object from its own cut-out, its own attributes, beside everybody else's.

mod scene;

use serde_json::{Value, json};

use self::scene::{FRAME, Scene, assert_from, mask, spot, upright};
use crate::support::backend::Call;
use crate::support::model::Turn;

const MOVING: &str = r#"{"kind": "Van", "firm": "Acme", "lights": "On", "speed": 30}"#;

#[test]
fn every_shape_is_cut_out_with_some_of_its_surroundings_within_the_picture() {
    let scene = Scene::new();
    let daemon = scene.agent("");
    let objects = [
        ("Box/1234", "Box", upright(0.4, 0.3, 0.2, 0.2)),
        // At the corner, and beyond the edge.
        ("Edge/123", "Box", upright(0.9, 0.8, 0.2, 0.3)),
        // A square of 128 pixels turned by 45 degrees: its corners reach 90.5 pixels from its middle.
        ("Tilt+123", "Tilted", json!({"rotatableBoundingBox": {"x": 0.4, "y": 0.3, "w": 0.2, "h": 0.4, "theta": 45.0}})),
        (
            "Poly/123",
            "Outline",
            json!({"polygon": {"0": {"x": 0.2, "y": 0.2}, "1": {"x": 0.4, "y": 0.5}, "2": {"x": 0.3, "y": 0.6}},
            "polygons": [[[0.2, 0.2, 0.4, 0.5, 0.3, 0.6]]]}),
        ),
        ("Mask/123", "Mask", mask(320, 32, 64, 160)),
    ];
    let expected = [
        [0.36, 0.26, 0.64, 0.54],
        [0.88, 0.76, 1.0, 1.0],
        [0.5 - 1.4 * 0.1414, 0.5 - 1.4 * 0.2828, 0.5 + 1.4 * 0.1414, 0.5 + 1.4 * 0.2828],
        [0.16, 0.12, 0.44, 0.68],
        [0.48, 0.0, 0.62, 0.7],
    ];
    let hashes: Vec<&str> = objects.iter().map(|(hash, ..)| *hash).collect();
    for (data, frame) in [(&scene.video, FRAME), (&scene.image, 0), (&scene.group, 1)] {
        scene.world.model.forget_questions();
        scene.draw(data, frame, &objects);
        objects.iter().for_each(|_| scene.world.model.script(Turn::Content(MOVING.into())));
        let answer = scene.click(&daemon, data, frame, &hashes);
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{}", daemon.log());
        let pictures = scene.pictures();
        assert_eq!(pictures.len(), objects.len());
        pictures.iter().zip(expected).for_each(|(picture, wanted)| assert_from(picture, wanted));
        for hash in &hashes {
            let (once, per_frame) = scene.answers(data, hash);
            assert_eq!(once, json!([["Firm", "Acme", null], ["Kind", "Van", null]]));
            assert_eq!(per_frame, json!([["Speed", 30, [[frame, frame]]], ["Lights", "On", [[frame, frame]]]]));
        }
    }
    assert_eq!(scene.world.fixture.backend.store().remarks, Vec::<String>::new());
    // One look at the row, one save, however many objects there are.
    assert_eq!(scene.world.fixture.backend.count(Call::SaveRow), 3);
}

#[test]
fn objects_that_cannot_be_answered_do_not_cost_the_others_their_answers() {
    let scene = Scene::new();
    let daemon = scene.agent("");
    scene.draw(
        &scene.video,
        FRAME,
        &[
            ("Good/123", "Box", upright(0.1, 0.1, 0.2, 0.2)),
            ("Spot/123", "Spot", spot()),
            ("Bare/123", "Bare", upright(0.5, 0.5, 0.2, 0.2)),
            ("Away/123", "Box", upright(1.2, 0.5, 0.2, 0.2)),
        ],
    );
    scene.draw(&scene.video, FRAME + 1, &[("Late/123", "Box", upright(0.1, 0.1, 0.2, 0.2))]);
    scene.world.model.script(Turn::Content(MOVING.into()));
    let answer = scene.click(&daemon, &scene.video, FRAME, &["Good/123", "Spot/123", "Bare/123", "Away/123", "Late/123", "Good/123"]);
    assert_eq!(answer.status, 200, "{answer:?}\n{}", daemon.log());
    let message = answer.message();
    assert!(message.starts_with("1 of 5 objects answered; Spot Spot/123: a point encloses nothing"), "{message}");
    assert_eq!(scene.answers(&scene.video, "Good/123").0[1], json!(["Kind", "Van", null]));
    // The message is cut at what the label editor shows; the log has all of them.
    let log = daemon.log();
    for reason in [
        "Bare Bare/123: has no attribute that this agent answers",
        "Box Away/123: a bounding_box encloses nothing that could be cut out",
        "object Late/123: is not on frame 7, or not saved yet",
    ] {
        assert!(log.contains(reason), "{reason}\n{log}");
    }
    assert_eq!(scene.world.model.questions().len(), 1);
}

#[test]
fn an_object_that_the_model_fails_at_is_named_and_the_others_are_saved() {
    let scene = Scene::new();
    let daemon = scene.agent("reply = \"summary\"");
    let all = ["Cars/one", "Cars/two", "Cars/six", "Cars/ten"];
    let shape = || upright(0.1, 0.1, 0.2, 0.2);
    scene.draw(&scene.image, 0, &all.map(|hash| (hash, "Box", shape())));
    scene.world.model.script(Turn::Content(MOVING.into()));
    scene.world.model.script(Turn::Refusal("I will not look at this.".into()));
    scene.world.model.script(Turn::Content(r#"{"kind": "Car", "firm": null, "lights": null, "speed": null}"#.into()));
    scene.world.model.script(Turn::Content(r#"{"kind": null, "firm": null, "lights": null, "speed": null}"#.into()));
    let answer = scene.click(&daemon, &scene.image, 0, &all);
    assert_eq!(answer.status, 200, "{answer:?}\n{}", daemon.log());
    let message = answer.message();
    assert!(
        message.starts_with(
            "2 of 4 objects answered; Box Cars/two: model stand-in refused to answer: refusal; Box Cars/ten: the model could not tell"
        ),
        "{message}"
    );
    assert!(message.contains("left unanswered: Cars/six Box > Lights"), "{message}");
    assert!(daemon.log().contains("Cars/six Box > Speed"), "{}", daemon.log());
    assert_eq!(scene.answers(&scene.image, "Cars/six"), (json!([["Kind", "Car", null]]), json!([])));
    assert_eq!(scene.answers(&scene.image, "Cars/two"), (json!([]), json!([])));
}

#[test]
fn when_none_can_be_answered_nothing_is_saved_and_the_reason_is_told() {
    let scene = Scene::new();
    let daemon = scene.agent("");
    scene.draw(&scene.image, 0, &[("Spot/123", "Spot", spot()), ("Good/123", "Box", upright(0.1, 0.1, 0.2, 0.2))]);
    let many: Vec<String> = (0..21).map(|number| format!("Obj{number:05}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (objects, told) in [
        (&["Spot/123"][..], "a point encloses nothing that could be cut out"),
        (&["Nowhere+"][..], "is not on frame 0, or not saved yet"),
        (&[][..], "select one or more in the editor"),
        (&many[..], "at most 20 at once"),
    ] {
        let answer = scene.click(&daemon, &scene.image, 0, objects);
        assert_eq!(answer.status, 422, "{answer:?}");
        assert!(answer.message().contains(told), "{answer:?}");
    }
    assert_eq!(scene.world.model.questions().len(), 0);
    scene.world.model.script(Turn::Refusal("No.".into()));
    assert_eq!(scene.click(&daemon, &scene.image, 0, &["Good/123"]).status, 502);
    assert_eq!(scene.world.fixture.backend.count(Call::SaveRow), 0);
}

#[test]
fn a_second_click_replaces_on_its_frame_alone_and_others_answers_stay() {
    let scene = Scene::new();
    let daemon = scene.agent("");
    let (video, hash) = (&scene.video, "Good/123");
    scene.draw(video, FRAME, &[(hash, "Box", upright(0.1, 0.1, 0.2, 0.2)), ("Other/12", "Box", upright(0.5, 0.5, 0.2, 0.2))]);
    let persons = |name: &str, feature: &str, answers: Value, range: Value| {
        json!({"name": name, "value": name.to_lowercase(), "featureHash": feature, "answers": answers, "manualAnnotation": true,
            "dynamic": true, "range": range, "shouldPropagate": false, "trackHash": "kept"})
    };
    let off = json!([{"name": "Off", "value": "off", "featureHash": "LightNo1"}]);
    scene.world.fixture.backend.edit_row(video, |row| {
        row["object_actions"][hash]["actions"] = json!([persons("Lights", "Light1", off, json!([[2, 9]]))]);
        row["object_answers"]["Other/12"]["futureOfObjects"] = json!({"kept": 1.50});
    });
    let before = scene.world.fixture.backend.row(video).unwrap();
    for speed in [30, 40] {
        scene.world.model.script(Turn::Content(format!(r#"{{"kind": "Car", "firm": null, "lights": "On", "speed": {speed}}}"#)));
        assert_eq!(scene.click(&daemon, video, FRAME, &[hash]).status, 200, "{}", daemon.log());
    }
    let (once, per_frame) = scene.answers(video, hash);
    assert_eq!(once, json!([["Kind", "Car", null]]));
    assert_eq!(per_frame, json!([["Lights", "Off", [[2, 6], [8, 9]]], ["Speed", 40, [[7, 7]]], ["Lights", "On", [[7, 7]]]]));
    let after = scene.world.fixture.backend.row(video).unwrap();
    assert_eq!(after["object_actions"][hash]["actions"][0]["trackHash"], "kept");
    for untouched in ["/object_answers/Other~112", "/object_actions/Other~112", "/data_units", "/classification_answers"] {
        assert_eq!(after.pointer(untouched), before.pointer(untouched), "{untouched}");
    }
}

#[test]
fn an_agent_that_keeps_answers_asks_only_for_what_is_missing() {
    let scene = Scene::new();
    let daemon = scene.agent("existing = \"keep\"");
    scene.draw(&scene.image, 0, &[("Good/123", "Box", upright(0.1, 0.1, 0.2, 0.2))]);
    scene.world.model.script(Turn::Content(r#"{"kind": "Car", "firm": null, "lights": null, "speed": null}"#.into()));
    assert_eq!(scene.click(&daemon, &scene.image, 0, &["Good/123"]).status, 200);
    scene.world.model.script(Turn::Content(r#"{"lights": "On", "speed": 3}"#.into()));
    assert_eq!(scene.click(&daemon, &scene.image, 0, &["Good/123"]).status, 200, "{}", daemon.log());
    let asked = scene.world.model.questions()[1].body["response_format"]["json_schema"]["schema"]["required"].clone();
    assert_eq!(asked, json!(["lights", "speed"]));
    assert_eq!(scene.click(&daemon, &scene.image, 0, &["Good/123"]).status, 200);
    assert_eq!(scene.world.model.questions().len(), 2);
    assert_eq!(scene.answers(&scene.image, "Good/123").0, json!([["Kind", "Car", null]]));
}

#[test]
fn a_person_who_answers_an_object_while_the_model_thinks_wins_for_that_object_alone() {
    let scene = Scene::new();
    let daemon = scene.agent("");
    scene.draw(&scene.image, 0, &[("Cars/one", "Box", upright(0.1, 0.1, 0.2, 0.2)), ("Cars/two", "Box", upright(0.5, 0.5, 0.2, 0.2))]);
    let (backend, image) = (scene.world.fixture.backend.clone(), scene.image.clone());
    scene.world.model.meanwhile(move || {
        backend.edit_row(&image, |row| {
            row["object_answers"]["Cars/two"]["classifications"] = json!([{"name": "Kind", "value": "kind", "featureHash": "Kind/1",
                "answers": [{"name": "Van", "value": "van", "featureHash": "Van+/1"}], "manualAnnotation": true}]);
        });
    });
    let said = r#"{"kind": "Car", "firm": null, "lights": null, "speed": null}"#;
    (0..2).for_each(|_| scene.world.model.script(Turn::Content(said.into())));
    let answer = scene.click(&daemon, &scene.image, 0, &["Cars/one", "Cars/two"]);
    assert_eq!(answer.status, 200, "{answer:?}\n{}", daemon.log());
    assert!(answer.message().starts_with("1 of 2 objects answered; Box Cars/two: somebody answered meanwhile"), "{answer:?}");
    assert_eq!(scene.answers(&scene.image, "Cars/one").0, json!([["Kind", "Car", null]]));
    assert_eq!(scene.answers(&scene.image, "Cars/two").0, json!([["Kind", "Van", null]]));
}

#[test]
fn the_model_is_told_the_attributes_and_no_hash_of_encords() {
    let scene = Scene::new();
    let daemon = scene.agent("");
    scene.draw(&scene.image, 0, &[("Good/123", "Box", upright(0.1, 0.1, 0.2, 0.2))]);
    scene.world.model.script(Turn::Content(MOVING.into()));
    assert_eq!(scene.click(&daemon, &scene.image, 0, &["Good/123"]).status, 200);
    let question = scene.world.model.questions().remove(0);
    let mut body = question.body;
    body["messages"][1]["content"].as_array_mut().unwrap().retain(|part| part["type"] == "text");
    let sent = format!("{body} {:?}", question.request.headers);
    for told in ["Kind", "Firm", "Lights", "Speed", "Car", "Van"] {
        assert!(sent.contains(told), "{told} is not in {sent}");
    }
    let row = scene.world.fixture.backend.row(&scene.image).unwrap();
    for kept in [
        &scene.project,
        &scene.image,
        row["label_hash"].as_str().unwrap(),
        "Good/123",
        "Kind/1",
        "sig=",
        scene.world.fixture.backend.media_url(),
    ] {
        assert!(!sent.contains(kept), "{kept} is in {sent}");
    }
}

#[test]
fn several_objects_are_asked_about_at_once_where_the_model_allows_it() {
    let scene = Scene::new();
    let daemon = scene.world.setup().set("model", "max_concurrent", "4").agent("/", "*", "target = \"objects\"").start();
    let hashes: Vec<String> = (0..8).map(|number| format!("Cars/00{number}")).collect();
    let objects: Vec<(&str, &str, Value)> = hashes.iter().map(|hash| (hash.as_str(), "Box", upright(0.1, 0.1, 0.2, 0.2))).collect();
    scene.draw(&scene.image, 0, &objects);
    [("Kind", json!("Car")), ("Lights", json!("On")), ("Speed", json!(3))]
        .into_iter()
        .for_each(|(title, value)| scene.world.model.fix(title, value));
    scene.world.model.quirks(|quirks| quirks.thinking_time = std::time::Duration::from_millis(200));
    let answer = scene.click(&daemon, &scene.image, 0, &hashes.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(answer.status, 200, "{answer:?}\n{}", daemon.log());
    let most = scene.world.model.most_at_once();
    assert!((2..=4).contains(&most), "{most}");
    hashes.iter().for_each(|hash| assert_eq!(scene.answers(&scene.image, hash).0, json!([["Kind", "Car", null]])));
}
