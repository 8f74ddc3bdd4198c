//! Captured pictures that an agent labels: whatever goes wrong between the dataset and the label row, the picture is delivered,
//! and its row carries one answer in the end.

use std::process::{Output, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::capture::{ALWAYS, Station, at_each_step, dataset, stderr};
use crate::late::{pending, wait_for};
use crate::spine::World;
use crate::support::backend::Call;
use crate::support::daemon::Daemon;
use crate::support::faults::Fault;
use crate::support::fixture::ontology;

const SCENE: &str = "Scene description";

fn station() -> Station {
    let world = World::new();
    let project = world.fixture.project.clone();
    in_project(world, &project, SCENE)
}

/// A camera whose pictures are labelled in a project, by an agent that answers one classification.
fn in_project(world: World, project: &str, classification: &str) -> Station {
    let setup = world.setup().agent("/", classification, "").set("journal", "retry_max", "\"1s\"");
    let (folder, dataset) = (&world.fixture.folder, &world.fixture.dataset);
    let lines = format!("folder = \"{folder}\"\ndataset = \"{dataset}\"\nagent = \"/\"\nproject = \"{project}\"");
    Station::of(world, setup, &lines)
}

fn label(station: &Station) -> Output {
    station.command().arg("--label").output().unwrap()
}

fn facts(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The answers to the description of the scene in the rows of all that is in the dataset.
fn answers(world: &World) -> Vec<Value> {
    let store = world.fixture.backend.store();
    let data: Vec<String> = store.data_of(&world.fixture.dataset).into_iter().map(|item| item.hash.clone()).collect();
    drop(store);
    data.iter().filter(|data| world.fixture.backend.row(data).is_some()).flat_map(|data| world.answers(data, "Cls+Scen")).collect()
}

/// The picture is there once, answered for once, and nothing waits any more.
fn labelled(daemon: &Daemon, world: &World, told: &str) {
    wait_for(told, Duration::from_secs(90), || pending(daemon).is_empty());
    assert_eq!((dataset(world).len(), answers(world).len()), (1, 1), "{told}\n{}", daemon.log());
    assert_eq!(std::fs::read_dir(daemon.setup.folder().join("journal.pictures")).unwrap().count(), 0, "{told}");
    assert_eq!(world.fixture.backend.store().remarks, Vec::<String>::new(), "{told}");
}

#[test]
fn a_picture_is_taken_to_its_dataset_and_labelled_there() {
    let station = station();
    let facts = facts(&label(&station));
    assert_eq!((&facts["label"], station.listed().len()), (&Value::from("saved"), 0));
    let world = &station.world;
    let [answer] = &world.answers(facts["data"].as_str().unwrap(), "Cls+Scen")[..] else { panic!("not one answer") };
    assert_eq!(answer["manualAnnotation"], false);
    assert_eq!((world.model.questions().len(), dataset(world).len()), (1, 1));
    // Without the word the picture is delivered as it is.
    let plain = station.command().output().unwrap();
    assert_eq!((plain.status.code(), world.model.questions().len(), dataset(world).len()), (Some(0), 1, 2), "{}", stderr(&plain));
}

#[test]
fn a_camera_without_an_agent_is_told_before_a_picture_is_taken() {
    let world = World::new();
    let setup = world.setup();
    let lines = format!("folder = \"{}\"\ndataset = \"{}\"", world.fixture.folder, world.fixture.dataset);
    let station = Station::of(world, setup, &lines);
    let output = label(&station);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("no agent and project") && stderr(&output).contains("--label"), "{}", stderr(&output));
    assert!(dataset(&station.world).is_empty() && station.listed().is_empty());
}

#[test]
fn a_command_that_is_killed_before_the_label_leaves_it_to_the_daemon() {
    at_each_step(&[Call::LinkItem, Call::ListRows, Call::GetRow, Call::Media, Call::SaveRow], |step| {
        let (told, station) = (format!("killed at {step:?}"), station());
        let backend = &station.world.fixture.backend;
        // The step takes effect, and nobody hears of it.
        backend.fail(step, Fault::Delay(Duration::from_secs(30)), 1);
        let mut command = station.command().arg("--label").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for(&told, Duration::from_secs(60), || backend.count(step) > 0);
        command.kill().unwrap();
        command.wait().unwrap();
        backend.heal();
        assert!(station.listed().iter().any(|entry| entry["camera"] == "gate"), "{told}: {:?}", station.listed());
        let (daemon, world) = (station.setup.start(), station.world);
        labelled(&daemon, &world, &told);
        assert_eq!(world.model.questions().len(), 1, "{told}: what was answered is not asked again\n{}", daemon.log());
    });
}

#[test]
fn a_daemon_that_is_killed_before_the_label_goes_on_from_there() {
    at_each_step(&[Call::LinkItem, Call::GetRow, Call::SaveRow], |step| {
        let (told, station) = (format!("killed at {step:?}"), station());
        station.world.fixture.backend.fail(Call::UploadLink, Fault::Status(503, "{}".into()), ALWAYS);
        assert!(facts(&label(&station))["waits"].is_string());
        assert_eq!((&station.listed()[0]["agent"], &station.listed()[0]["data"]), (&Value::from("/"), &Value::Null));
        let (world, setup) = (station.world, station.setup);
        world.fixture.backend.heal();
        world.fixture.backend.fail(step, Fault::Delay(Duration::from_secs(30)), 1);
        let mut daemon = setup.start();
        wait_for(&told, Duration::from_secs(60), || world.fixture.backend.count(step) > 0);
        daemon.signal(Signal::KILL);
        daemon.wait_exit(Duration::from_secs(20));
        world.fixture.backend.heal();
        daemon.restart();
        labelled(&daemon, &world, &told);
        assert_eq!(world.model.questions().len(), 1, "{told}: what was answered is not asked again\n{}", daemon.log());
    });
}

#[test]
fn a_model_that_is_down_delays_the_label_and_not_the_picture() {
    let station = station();
    station.world.model.fail(Fault::Status(503, "{}".into()), ALWAYS);
    let facts = facts(&label(&station));
    assert_eq!((&facts["label"], dataset(&station.world).len()), (&Value::from("waiting"), 1));
    let told = String::from_utf8(station.pending(&[]).stdout).unwrap();
    assert!(told.contains("label of picture gate-1.jpg of gate") && told.contains("stand-in"), "{told}");
    let (daemon, world) = (station.setup.start(), station.world);
    let page = |path: &str| ureq::get(daemon.admin_url(path)).call().unwrap().body_mut().read_to_string().unwrap();
    assert!(page("/metrics").contains("edgelabel_pictures_unlabelled 1\n") && page("/metrics").contains("edgelabel_pictures_waiting 0\n"));
    let ready: Value = serde_json::from_str(&page("/ready")).unwrap();
    let reason = ready["dependencies"]["labels"]["reason"].as_str().unwrap();
    assert!(reason.contains("1 wait for their label"), "{reason}");
    world.model.heal();
    labelled(&daemon, &world, "the model is back");
    assert!(page("/metrics").contains("edgelabel_pictures_unlabelled 0\n"));
    assert!(page("/status.json").contains(&format!("\"data\":{}", facts["data"])), "the trigger is in the history");
}

#[test]
fn an_answer_that_cannot_be_saved_waits_as_any_other() {
    let station = station();
    station.world.fixture.backend.fail(Call::SaveRow, Fault::Status(503, "{}".into()), ALWAYS);
    let facts = facts(&label(&station));
    assert_eq!((&facts["label"], dataset(&station.world).len()), (&Value::from("queued"), 1));
    let waiting = station.listed();
    assert_eq!((waiting.len(), &waiting[0]["data"], &waiting[0]["camera"]), (1, &facts["data"], &Value::Null));
    station.world.fixture.backend.heal();
    let (daemon, world) = (station.setup.start(), station.world);
    labelled(&daemon, &world, "Encord is back");
    assert_eq!(world.model.questions().len(), 1);
}

#[test]
fn a_picture_that_somebody_has_begun_to_label_is_left_to_them() {
    let station = station();
    let first = facts(&label(&station))["data"].as_str().unwrap().to_owned();
    station.world.model.fail(Fault::Status(503, "{}".into()), ALWAYS);
    let second = facts(&label(&station))["data"].as_str().unwrap().to_owned();
    let asked = station.world.model.questions().len();
    // Its row gets the other's answer, as if by hand.
    let mut store = station.world.fixture.backend.store();
    let (before, after) = (store.open_row(&first).unwrap(), store.open_row(&second).unwrap());
    let row = store.rows[&before].to_string().replace(&first, &second).replace(&before, &after);
    store.rows[&after] = serde_json::from_str(&row).unwrap();
    drop(store);
    station.world.model.heal();
    let (daemon, world) = (station.setup.start(), station.world);
    wait_for("the second label", Duration::from_secs(60), || pending(&daemon).is_empty());
    assert_eq!((answers(&world).len(), world.model.questions().len()), (2, asked), "{}", daemon.log());
    assert!(daemon.log().contains("outcome=\"kept\"") || daemon.log().contains("outcome=kept"), "{}", daemon.log());
    assert_eq!(world.fixture.backend.row(&second).unwrap().to_string(), row);
}

#[test]
fn a_project_without_the_dataset_is_told_and_labelled_once_it_has_it() {
    let world = World::new();
    let other = world.fixture.backend.store().add_project("Elsewhere", ontology());
    let station = in_project(world, &other, SCENE);
    let facts = facts(&label(&station));
    let (told, set) = (facts["error"].as_str().unwrap(), station.world.fixture.dataset.clone());
    assert!(told.contains(&format!("dataset {set}")) && told.contains(&format!("project {other}")) && told.contains("attach"), "{told}");
    assert_eq!((&facts["label"], dataset(&station.world).len()), (&Value::from("waiting"), 1));
    let data = facts["data"].as_str().unwrap().to_owned();
    let (daemon, world) = (station.setup.start(), station.world);
    world.fixture.backend.store().items[&data].project = other;
    labelled(&daemon, &world, "the dataset is attached");
}

#[test]
fn what_only_a_person_can_mend_waits_for_them() {
    let world = World::new();
    let project = world.fixture.project.clone();
    let station = in_project(world, &project, "Nobody has this");
    let output = label(&station);
    assert_eq!((output.status.code(), dataset(&station.world).len()), (Some(1), 1));
    let told = stderr(&output);
    assert!(told.contains("delivered as data item") && told.contains("Nobody has this") && told.contains("pending retry"), "{told}");
    let refused = station.listed();
    assert_eq!((&refused[0]["state"], &refused[0]["step"]), (&Value::from("refused"), &Value::from("attached")));
    let id = refused[0]["id"].as_str().unwrap();
    assert_eq!(station.pending(&["drop", id]).status.code(), Some(0));
    assert_eq!(
        (station.listed().len(), dataset(&station.world).len(), answers(&station.world).len()),
        (0, 1, 0),
        "only the label is given up"
    );
}
