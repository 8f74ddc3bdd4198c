//! Other people's labels, and one's own from before: what is replaced, what stays, what wins.

use serde_json::{Value, json};

use crate::spine::{World, attribute};
use crate::support::backend::Call;
use crate::support::faults::Fault;

/// Puts an answer to Weather on the video, as the SDK writes it.
pub fn weather(hash: &str, range: Value, option: (&str, &str, &str)) -> Value {
    let (label, value, feature) = option;
    json!({
        "classificationHash": hash, "featureHash": "Cls/Weat", "spaces": {}, "range": range,
        "createdBy": "annotator@example.com", "createdAt": "Mon, 02 Nov 2026 10:00:00 UTC",
        "lastEditedBy": "annotator@example.com", "lastEditedAt": "Mon, 02 Nov 2026 10:00:00 UTC",
        "confidence": 1.0, "manualAnnotation": true, "futureField": {"kept": [1, 2]},
        "classifications": [{"name": "Weather", "value": "weather", "featureHash": "AttWeath", "manualAnnotation": true,
            "answers": [{"name": label, "value": value, "featureHash": feature}]}],
    })
}

pub const SUNNY: (&str, &str, &str) = ("Sunny", "sunny", "OptSunny");

fn put_weather(world: &World, range: Value) {
    world.fixture.backend.edit_row(&world.fixture.video, |row| {
        row["classification_answers"]["Person/1"] = weather("Person/1", range, SUNNY);
    });
}

#[test]
fn a_second_click_replaces_its_own_answer() {
    let world = World::new();
    let daemon = world.setup().agent("/", "Weather", "").start();
    world.model.fix("Weather", "Sunny");
    world.click(&daemon, "/", &world.fixture.video, 3);
    let first = world.answers(&world.fixture.video, "Cls/Weat");
    world.model.fix("Weather", "Heavy rain");
    world.click(&daemon, "/", &world.fixture.video, 3);
    let second = world.answers(&world.fixture.video, "Cls/Weat");
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_eq!(first[0]["classificationHash"], second[0]["classificationHash"]);
    assert_eq!(attribute(&second[0], "AttWeath")[0]["name"], "Heavy rain");
}

#[test]
fn an_answer_over_many_frames_is_cut_at_the_clicked_one() {
    let world = World::new();
    let daemon = world.setup().agent("/", "Weather", "").start();
    put_weather(&world, json!([[2, 9]]));
    world.model.fix("Weather", "Cloudy");
    world.click(&daemon, "/", &world.fixture.video, 5);
    let mut found: Vec<(String, Value)> = world
        .answers(&world.fixture.video, "Cls/Weat")
        .iter()
        .map(|answer| (attribute(answer, "AttWeath")[0]["name"].to_string(), answer["range"].clone()))
        .collect();
    found.sort_by_key(|(name, _)| name.clone());
    assert_eq!(found, [("\"Cloudy\"".to_owned(), json!([[5, 5]])), ("\"Sunny\"".to_owned(), json!([[2, 4], [6, 9]]))]);
}

#[test]
fn keep_leaves_an_answer_alone_and_does_not_ask_the_model() {
    let world = World::new();
    let daemon = world.setup().agent("/", "Weather", "existing = \"keep\"").start();
    put_weather(&world, json!([[2, 9]]));
    world.click(&daemon, "/", &world.fixture.video, 5);
    assert_eq!(world.model.questions().len(), 0);
    assert_eq!(world.fixture.backend.count(Call::SaveRow), 0);
    world.click(&daemon, "/", &world.fixture.video, 10);
    assert_eq!(world.model.questions().len(), 1);
    assert_eq!(world.answers(&world.fixture.video, "Cls/Weat").len(), 2);
}

#[test]
fn fail_says_that_there_is_an_answer_already() {
    let world = World::new();
    let daemon = world.setup().agent("/", "Weather", "existing = \"fail\"").start();
    put_weather(&world, json!([[2, 9]]));
    let answer = daemon.trigger("/", &world.fixture.project, &world.fixture.video, 9);
    assert_eq!(answer.status, 422, "{answer:?}");
    answer.message();
    assert_eq!(world.model.questions().len(), 0);
}

#[test]
fn everything_else_in_the_row_stays_as_it_was() {
    let world = World::new();
    let daemon = world.setup().agent("/", "Scene description", "").start();
    put_weather(&world, json!([[0, 29]]));
    let video = world.fixture.video.clone();
    world.fixture.backend.edit_row(&video, |row| {
        row["futureOfRows"] = json!({"deep": [1, {"er": 1.50}]});
        row["data_units"][&video]["futureOfUnits"] = json!("x");
        row["data_units"][&video]["labels"]["4"] = json!({"classifications": [], "objects": [{
            "objectHash": "Object/1", "featureHash": "Obj/Car1", "name": "Car", "color": "#D33115", "shape": "bounding_box", "value": "car",
            "createdAt": "Mon, 02 Nov 2026 10:00:00 UTC", "createdBy": "annotator@example.com", "confidence": 1.0, "manualAnnotation": true,
            "boundingBox": {"h": 0.123456789012345, "w": 0.1, "x": 0.2, "y": 0.3}, "futureOfObjects": null,
        }]});
        row["object_answers"]["Object/1"] = json!({"objectHash": "Object/1", "classifications": [], "objectNumber": 3});
        row["object_actions"]["Object/1"] = json!({"objectHash": "Object/1", "actions": []});
    });
    let before = world.fixture.backend.row(&video).unwrap();
    world.click(&daemon, "/", &video, 4);
    let mut after = world.fixture.backend.row(&video).unwrap();
    let answers = after["classification_answers"].as_object_mut().unwrap();
    answers.retain(|_, answer| answer["featureHash"] != "Cls+Scen");
    after["last_edited_at"] = before["last_edited_at"].clone();
    assert_eq!(after, before);
}

#[test]
fn what_a_person_saves_while_the_model_thinks_is_not_lost() {
    let world = World::new();
    let daemon = world.setup().agent("/", "Scene description", "").start();
    let (backend, video) = (world.fixture.backend.clone(), world.fixture.video.clone());
    world.model.meanwhile(move || {
        backend.edit_row(&video, |row| row["classification_answers"]["Person/1"] = weather("Person/1", json!([[5, 5]]), SUNNY));
    });
    world.click(&daemon, "/", &world.fixture.video, 5);
    assert_eq!(world.answers(&world.fixture.video, "Cls/Weat").len(), 1);
    assert_eq!(world.answers(&world.fixture.video, "Cls+Scen").len(), 1);
}

#[test]
fn a_person_who_changed_this_very_answer_meanwhile_wins() {
    let world = World::new();
    let daemon = world.setup().agent("/", "Weather", "").start();
    world.model.fix("Weather", "Heavy rain");
    let (backend, video) = (world.fixture.backend.clone(), world.fixture.video.clone());
    world.model.meanwhile(move || {
        backend.edit_row(&video, |row| row["classification_answers"]["Person/1"] = weather("Person/1", json!([[5, 5]]), SUNNY));
    });
    world.click(&daemon, "/", &world.fixture.video, 5);
    let answers = world.answers(&world.fixture.video, "Cls/Weat");
    assert_eq!(answers.len(), 1);
    assert_eq!(attribute(&answers[0], "AttWeath")[0]["name"], "Sunny");
}

#[test]
fn two_frames_of_one_row_at_once_both_get_their_answers() {
    let world = World::new();
    let daemon = world.setup().agent("/", "Scene description", "").start();
    world.model.quirks(|quirks| quirks.thinking_time = std::time::Duration::from_millis(200));
    std::thread::scope(|scope| {
        for frame in [1, 2, 3] {
            let (world, daemon) = (&world, &daemon);
            scope.spawn(move || world.click(daemon, "/", &world.fixture.video, frame));
        }
    });
    let mut ranges: Vec<String> =
        world.answers(&world.fixture.video, "Cls+Scen").iter().map(|answer| answer["range"].to_string()).collect();
    ranges.sort();
    assert_eq!(ranges, ["[[1,1]]", "[[2,2]]", "[[3,3]]"]);
}

#[test]
fn triggers_on_one_row_read_and_save_it_one_after_the_other() {
    let world = World::new();
    let daemon = world.setup().agent("/", "Scene description", "").start();
    let backend = &world.fixture.backend;
    backend.edit_row(&world.fixture.video, |_| {});
    // Each sees the row as it was some time ago: without a lock around reading and saving the last would win.
    backend.fail(Call::GetRow, Fault::Delay(std::time::Duration::from_millis(400)), 20);
    std::thread::scope(|scope| {
        for frame in [1, 2, 3] {
            let (world, daemon) = (&world, &daemon);
            scope.spawn(move || world.click(daemon, "/", &world.fixture.video, frame));
        }
    });
    assert_eq!(world.answers(&world.fixture.video, "Cls+Scen").len(), 3);
}

#[test]
fn two_equal_triggers_at_once_share_one_run() {
    let world = World::new();
    let daemon = world.setup().agent("/", "Scene description", "").start();
    world.model.quirks(|quirks| quirks.thinking_time = std::time::Duration::from_millis(400));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let (world, daemon) = (&world, &daemon);
            scope.spawn(move || world.click(daemon, "/", &world.fixture.video, 8));
        }
    });
    assert_eq!(world.model.questions().len(), 1);
    assert_eq!(world.answers(&world.fixture.video, "Cls+Scen").len(), 1);
}

#[test]
fn a_row_that_somebody_else_creates_first_is_used() {
    let world = World::new();
    let daemon = world.setup().agent("/", "Scene description", "").start();
    let backend = &world.fixture.backend;
    let before = backend.listing(&world.fixture.image);
    backend.edit_row(&world.fixture.image, |_| {});
    backend.fail(Call::ListRows, Fault::Body(json!({"status": 200, "response": [before]}).to_string()), 1);
    world.click(&daemon, "/", &world.fixture.image, 0);
    assert_eq!(backend.count(Call::CreateRow), 1);
    assert_eq!(world.answers(&world.fixture.image, "Cls+Scen").len(), 1);
}

/// Lets a save take 1.6 s, and does something to the row meanwhile, when the save has taken effect.
fn click_with_a_slow_save(world: &World, daemon: &crate::support::daemon::Daemon, meanwhile: impl FnOnce() + Send) {
    let slow = std::time::Duration::from_millis(1600);
    world.fixture.backend.fail(Call::SaveRow, Fault::Delay(slow), 1);
    world.fixture.backend.forget_records();
    std::thread::scope(|scope| {
        let click = scope.spawn(|| world.click(daemon, "/", &world.fixture.video, 5));
        while world.fixture.backend.count(Call::SaveRow) == 0 {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        meanwhile();
        click.join().unwrap();
    });
}

#[test]
fn after_a_slow_save_an_answer_that_an_older_copy_has_overwritten_is_merged_in_again() {
    let world = World::new();
    let daemon = world.setup().agent("/", "Weather", "").start();
    world.model.fix("Weather", "Heavy rain");
    world.fixture.backend.edit_row(&world.fixture.video, |_| {});
    let before = world.fixture.backend.row(&world.fixture.video).unwrap();
    click_with_a_slow_save(&world, &daemon, || {
        world.fixture.backend.edit_row(&world.fixture.video, |row| {
            *row = before;
            row["futureOfRows"] = json!("saved by somebody with an older copy");
        });
    });
    assert_eq!(world.fixture.backend.count(Call::SaveRow), 2);
    assert_eq!(world.answers(&world.fixture.video, "Cls/Weat").len(), 1);
    assert_eq!(world.fixture.backend.row(&world.fixture.video).unwrap()["futureOfRows"], "saved by somebody with an older copy");
    assert_eq!(daemon.metric("edgelabel_read_backs_total", "outcome=\"restored\""), 1.0);
}

#[test]
fn after_a_slow_save_what_a_person_made_of_the_answer_stays() {
    let world = World::new();
    let daemon = world.setup().agent("/", "Weather", "").start();
    world.model.fix("Weather", "Heavy rain");
    click_with_a_slow_save(&world, &daemon, || {
        world.fixture.backend.edit_row(&world.fixture.video, |row| {
            let answers = row["classification_answers"].as_object_mut().unwrap();
            answers.retain(|_, answer| answer["featureHash"] != "Cls/Weat");
            answers.insert("Person/1".into(), weather("Person/1", json!([[5, 5]]), SUNNY));
        });
    });
    assert_eq!(world.fixture.backend.count(Call::SaveRow), 1);
    let answers = world.answers(&world.fixture.video, "Cls/Weat");
    assert_eq!(answers.len(), 1);
    assert_eq!(attribute(&answers[0], "AttWeath")[0]["name"], "Sunny");
    assert_eq!(daemon.metric("edgelabel_read_backs_total", "outcome=\"changed\""), 1.0);
}

#[test]
fn a_slow_save_that_went_well_costs_one_look_and_a_quick_one_none() {
    let world = World::new();
    let daemon = world.setup().agent("/", "Weather", "").start();
    click_with_a_slow_save(&world, &daemon, || {});
    // The read before the save, and the one after it; the row was opened by *create*.
    assert_eq!((world.fixture.backend.count(Call::GetRow), world.fixture.backend.count(Call::SaveRow)), (2, 1));
    assert_eq!(daemon.metric("edgelabel_read_backs_total", "outcome=\"same\""), 1.0);
    world.fixture.backend.forget_records();
    world.click(&daemon, "/", &world.fixture.image, 0);
    assert_eq!((world.fixture.backend.count(Call::GetRow), daemon.metric("edgelabel_read_backs_total", "")), (1, 1.0));
}
