//! From a click to a saved label: image, image group, video; every kind of classification; few requests.

use serde_json::{Value, json};

use crate::support::backend::{Call, Options};
use crate::support::daemon::{Daemon, Setup, write_private};
use crate::support::fixture::{Fixture, GROUP_COLOURS, IMAGE_COLOUR, add_video};
use crate::support::media::{VideoRecipe, colour_of_frame, moving_bars};
use crate::support::model::{Picture, StandIn};
use crate::support::tls::LocalCertificate;

/// GOPs of one second, about as large as a camera's.
pub const LONG: &str = "x264enc key-int-max=30 speed-preset=ultrafast bitrate=2000 ! video/x-h264,profile=main ! mp4mux faststart=true";

pub struct World {
    pub fixture: Fixture,
    pub model: StandIn,
}

impl World {
    pub fn new() -> Self {
        Self { fixture: Fixture::new(), model: StandIn::start(0, None).unwrap() }
    }

    /// Everything upstream answers HTTPS, by a certificate of an authority that nobody trusts by itself.
    pub fn on_https(certificate: &LocalCertificate) -> Self {
        let fixture = Fixture::start(Options { tls: Some(certificate.server.clone()), ..Options::default() });
        Self { fixture, model: StandIn::start(0, Some(certificate.server.clone())).unwrap() }
    }

    pub fn setup(&self) -> Setup {
        Setup::new(env!("CARGO_BIN_EXE_edgelabel"), &self.fixture.backend, &self.fixture.key, &self.model)
    }

    /// The answers to one classification of a stored row, in no order.
    pub fn answers(&self, data: &str, feature: &str) -> Vec<Value> {
        let row = self.fixture.backend.row(data).unwrap();
        let answers = row["classification_answers"].as_object().unwrap();
        answers.values().filter(|answer| answer["featureHash"] == feature).cloned().collect()
    }

    pub fn click(&self, daemon: &Daemon, path: &str, data: &str, frame: u64) {
        let answer = daemon.trigger(path, &self.fixture.project, data, frame);
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{}", daemon.log());
    }

    pub fn last_picture(&self) -> Picture {
        self.model.questions().last().unwrap().pictures[0].clone()
    }
}

/// The answer to one attribute within a saved answer.
pub fn attribute(answer: &Value, hash: &str) -> Value {
    let list = answer["classifications"].as_array().unwrap();
    list.iter().find(|entry| entry["featureHash"] == hash).map_or(Value::Null, |entry| entry["answers"].clone())
}

#[track_caller]
fn assert_colour(picture: &Picture, wanted: [u8; 3]) {
    let near = picture.mean.iter().zip(wanted).all(|(mean, wanted)| (mean - f64::from(wanted)).abs() < 8.0);
    assert!(near, "mean colour {:?} instead of {wanted:?}", picture.mean);
}

#[test]
fn a_description_of_the_scene_is_saved_for_exactly_the_frame_that_was_clicked() {
    let world = World::new();
    let daemon = world.setup().agent("/", "Scene description", "").start();
    world.click(&daemon, "/", &world.fixture.video, 17);
    let [answer] = &world.answers(&world.fixture.video, "Cls+Scen")[..] else { panic!("not one answer") };
    assert_eq!((&answer["range"], &answer["confidence"], &answer["manualAnnotation"]), (&json!([[17, 17]]), &json!(0.5), &json!(false)));
    let text = attribute(answer, "AttScene");
    assert!(text.as_str().unwrap().starts_with("STAND-IN: a 320x192 picture"), "{text}");
    assert_colour(&world.last_picture(), colour_of_frame(17));
    assert_eq!(world.fixture.backend.store().remarks, Vec::<String>::new());
}

#[test]
fn the_model_sees_the_frame_that_was_clicked_and_no_other() {
    let world = World::new();
    let daemon = world.setup().agent("/", "Scene description", "").start();
    for frame in [0, 1, 9, 10, 11, 20, 28, 29] {
        world.click(&daemon, "/", &world.fixture.video, frame);
        assert_colour(&world.last_picture(), colour_of_frame(frame));
    }
    world.click(&daemon, "/", &world.fixture.image, 0);
    assert_colour(&world.last_picture(), IMAGE_COLOUR);
    for frame in [2, 0, 1] {
        world.click(&daemon, "/", &world.fixture.group, frame);
        assert_colour(&world.last_picture(), GROUP_COLOURS[frame as usize]);
    }
}

#[test]
fn an_image_of_a_group_is_answered_at_its_position() {
    let world = World::new();
    let daemon = world.setup().agent("/", "Dominant colour", "").start();
    for frame in [1, 0] {
        world.click(&daemon, "/", &world.fixture.group, frame);
    }
    let mut found: Vec<(Value, Value)> = world
        .answers(&world.fixture.group, "ClsColou")
        .iter()
        .map(|answer| (answer["range"].clone(), attribute(answer, "AttColou")[0]["name"].clone()))
        .collect();
    found.sort_by_key(|(range, _)| range.to_string());
    assert_eq!(found, [(json!([[0, 0]]), json!("Red")), (json!([[1, 1]]), json!("Green"))]);
}

#[test]
fn nested_answers_go_down_to_the_number_under_the_chosen_options() {
    let world = World::new();
    let daemon = world.setup().agent("/", "Time of day", "").start();
    for (title, value) in [("Time of day", json!("Dusk")), ("Street lights", json!("Lit")), ("Lamps lit", json!(7))] {
        world.model.fix(title, value);
    }
    world.click(&daemon, "/", &world.fixture.image, 0);
    let [answer] = &world.answers(&world.fixture.image, "ClsTimeD")[..] else { panic!("not one answer") };
    assert_eq!(attribute(answer, "AttTimeD")[0]["featureHash"], "OptDusk1");
    assert_eq!(attribute(answer, "AttStLig")[0]["featureHash"], "OptLit+1");
    assert_eq!(attribute(answer, "AttLamps").as_f64(), Some(7.0));
    assert_eq!(attribute(answer, "AttNRema"), Value::Null);
}

#[test]
fn a_checklist_holds_the_ticked_options_in_the_order_of_the_ontology() {
    let world = World::new();
    let daemon = world.setup().agent("/", "Road users", "").start();
    world.model.fix("Road users", json!(["Pedestrian", "Car"]));
    world.click(&daemon, "/", &world.fixture.image, 0);
    let answer = &world.answers(&world.fixture.image, "ClsUsers")[0];
    let ticked = attribute(answer, "AttUsers");
    assert_eq!((&ticked[0]["name"], &ticked[1]["name"]), (&json!("Car"), &json!("Pedestrian")));
}

#[test]
fn a_global_classification_is_answered_once_for_the_whole_item() {
    let world = World::new();
    let daemon = world.setup().agent("/", "Camera position", "").start();
    for frame in [4, 21] {
        world.click(&daemon, "/", &world.fixture.video, frame);
    }
    let answers = world.answers(&world.fixture.video, "ClsCamer");
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0]["range"], json!([]));
}

#[test]
fn one_agent_may_answer_several_classifications_with_one_question() {
    let world = World::new();
    let daemon = world.setup().agent("/", "Weather\", \"Visibility in metres", "").start();
    world.click(&daemon, "/", &world.fixture.image, 0);
    assert_eq!(world.answers(&world.fixture.image, "Cls/Weat").len(), 1);
    assert_eq!(world.answers(&world.fixture.image, "ClsVisib").len(), 1);
    assert_eq!(world.model.questions().len(), 1);
}

#[test]
fn a_first_trigger_takes_at_most_five_calls_and_a_second_three() {
    let world = World::new();
    let daemon = world.setup().agent("/", "Scene description", "").start();
    // A clip decoded while starting, or a probe, must not be counted.
    world.fixture.backend.forget_records();
    world.click(&daemon, "/", &world.fixture.video, 3);
    let calls = || -> Vec<Call> { world.fixture.backend.calls().into_iter().filter(|call| *call != Call::Media).collect() };
    let first = calls();
    assert!(first.len() <= 5, "{first:?}");
    world.fixture.backend.forget_records();
    world.click(&daemon, "/", &world.fixture.video, 3);
    let second = calls();
    assert!(second.len() <= 3, "{second:?}");
}

#[test]
fn a_frame_of_a_long_video_takes_a_small_part_of_the_file_and_its_neighbour_hardly_more() {
    let world = World::new();
    let recipe = VideoRecipe { frames: 900, fps: 30, encode: LONG, ..VideoRecipe::default() };
    let bytes = recipe.painted(|frame, x, y| moving_bars(frame, 900, x, y));
    let size = bytes.len() as u64;
    let video = add_video(&mut world.fixture.backend.store(), &world.fixture.project, "long.mp4", &recipe, bytes);
    let daemon = world.setup().agent("/", "Scene description", "").start();
    let media = || -> Vec<u64> {
        let records = world.fixture.backend.records();
        records.iter().filter(|record| record.call == Call::Media).map(|record| record.bytes).collect()
    };
    world.click(&daemon, "/", &video, 640);
    let first: u64 = media().iter().sum();
    assert!(first * 5 < size, "{first} of {size} bytes in {:?}", media());
    world.click(&daemon, "/", &video, 641);
    let both: u64 = media().iter().sum();
    assert!((both - first) * 50 < size, "{both} after {first} of {size} bytes in {:?}", media());
}

#[test]
fn without_links_in_rows_and_without_an_ontology_in_the_project_it_works_all_the_same() {
    let world = World::new();
    world.fixture.backend.behave(|behaviour| {
        behaviour.links_in_rows = false;
        behaviour.editor_ontology = false;
        behaviour.ranges = false;
    });
    let daemon = world.setup().agent("/", "Scene description", "").start();
    for (data, frame, colour) in [
        (&world.fixture.video, 12, colour_of_frame(12)),
        (&world.fixture.group, 2, GROUP_COLOURS[2]),
        (&world.fixture.image, 0, IMAGE_COLOUR),
    ] {
        world.click(&daemon, "/", data, frame);
        assert_colour(&world.last_picture(), colour);
    }
    assert!(world.fixture.backend.count(Call::DataLinks) >= 3);
}

#[test]
fn a_summary_is_shown_to_the_annotator_where_the_agent_says_so() {
    let world = World::new();
    let daemon = world.setup().agent("/", "Weather", "reply = \"summary\"").start();
    world.model.fix("Weather", "Cloudy");
    let answer = daemon.trigger("/", &world.fixture.project, &world.fixture.image, 0);
    assert_eq!(answer.status, 200);
    assert!(answer.message().starts_with("saved"), "{answer:?}");
}

#[test]
fn no_secret_and_no_signed_link_is_ever_logged() {
    let world = World::new();
    let setup = world.setup().set("log", "level", "\"trace\"").set("server", "access_token_file", "\"token\"");
    write_private(&setup.folder().join("token"), "token-of-the-webhook\n");
    let daemon = setup.agent("/", "Scene description", "").start();
    world.click(&daemon, "/token-of-the-webhook/", &world.fixture.video, 3);
    assert_eq!(daemon.post("/token-of-another/", "{}", &[]).status, 404);
    world.fixture.backend.behave(|behaviour| behaviour.link_life = std::time::Duration::ZERO);
    daemon.trigger("/token-of-the-webhook/", &world.fixture.project, &world.fixture.image, 0);
    let log = daemon.log();
    let key_line = world.fixture.key.private_text.lines().nth(2).unwrap().to_owned();
    for secret in ["sig=", "sk-secret-of-the-model", "token-of-the-webhook", "token-of-another", key_line.as_str()] {
        assert!(!log.contains(secret), "the log shows {secret}:\n{log}");
    }
}
