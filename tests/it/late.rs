//! Answers that could not be saved at once: kept, saved later, or refused; never lost and never doubled.

use std::process::Output;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::spine::{World, attribute};
use crate::support::backend::Call;
use crate::support::daemon::Daemon;
use crate::support::faults::Fault;

const ALWAYS: usize = usize::MAX;

pub fn pending(daemon: &Daemon) -> Vec<Value> {
    let shown = pending_command(daemon, &["pending", "list", "--json", "--config"]);
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    serde_json::from_slice(&shown.stdout).unwrap()
}

fn pending_command(daemon: &Daemon, arguments: &[&str]) -> Output {
    daemon.setup.command(arguments).arg(daemon.setup.config_file()).output().unwrap()
}

pub fn wait_for(what: &str, limit: Duration, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < limit, "{what} has not happened within {limit:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn an_answer_that_cannot_be_saved_is_202_listed_and_saved_when_encord_is_back() {
    let world = World::new();
    let daemon = world.setup().set("server", "request_budget", "\"8s\"").agent("/", "Scene description", "").start();
    world.fixture.backend.fail(Call::SaveRow, Fault::Status(503, "maintenance".into()), ALWAYS);
    let answer = daemon.trigger("/", &world.fixture.project, &world.fixture.image, 0);
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.message();
    let waiting = pending(&daemon);
    assert_eq!(waiting.len(), 1);
    assert_eq!((waiting[0]["state"].as_str(), waiting[0]["data"].as_str()), (Some("waiting"), Some(world.fixture.image.as_str())));
    world.fixture.backend.heal();
    wait_for("the late save", Duration::from_secs(30), || world.answers(&world.fixture.image, "Cls+Scen").len() == 1);
    wait_for("the end of the waiting", Duration::from_secs(20), || pending(&daemon).is_empty());
    assert_eq!(world.model.questions().len(), 1);
}

#[test]
fn an_answer_survives_the_death_of_the_daemon() {
    let world = World::new();
    let mut daemon = world.setup().set("server", "request_budget", "\"8s\"").agent("/", "Scene description", "").start();
    world.fixture.backend.fail(Call::SaveRow, Fault::ResetBefore, ALWAYS);
    assert_eq!(daemon.trigger("/", &world.fixture.project, &world.fixture.image, 0).status, 202);
    daemon.signal(Signal::KILL);
    daemon.wait_exit(Duration::from_secs(20));
    world.fixture.backend.heal();
    daemon.restart();
    wait_for("the late save", Duration::from_secs(30), || world.answers(&world.fixture.image, "Cls+Scen").len() == 1);
}

#[test]
fn a_save_that_encord_refuses_is_kept_as_refused_and_tried_again_on_command() {
    let world = World::new();
    let daemon = world.setup().agent("/", "Scene description", "").start();
    world.fixture.backend.fail(Call::SaveRow, Fault::Envelope(403, "AUTHORISATION_ERROR"), ALWAYS);
    let answer = daemon.trigger("/", &world.fixture.project, &world.fixture.image, 0);
    assert_eq!(answer.status, 403, "{answer:?}");
    let refused = pending(&daemon);
    assert_eq!((refused.len(), refused[0]["state"].as_str()), (1, Some("refused")));
    world.fixture.backend.heal();
    let retried = pending_command(&daemon, &["pending", "retry", "--config"]);
    assert!(retried.status.success(), "{}", String::from_utf8_lossy(&retried.stderr));
    wait_for("the save on command", Duration::from_secs(15), || world.answers(&world.fixture.image, "Cls+Scen").len() == 1);
}

#[test]
fn a_kept_answer_can_be_looked_at_and_given_up() {
    let world = World::new();
    let daemon = world.setup().agent("/", "Scene description", "").start();
    world.fixture.backend.fail(Call::SaveRow, Fault::Envelope(403, "AUTHORISATION_ERROR"), ALWAYS);
    for frame in [3, 4] {
        assert_eq!(daemon.trigger("/", &world.fixture.project, &world.fixture.video, frame).status, 403);
    }
    let waiting = pending(&daemon);
    let id = |place: usize| waiting[place]["id"].as_str().unwrap().to_owned();
    let command = |arguments: &[&str]| pending_command(&daemon, &[arguments, &["--config"]].concat());

    let shown: Value = serde_json::from_slice(&command(&["pending", "show", &id(0), "--json"]).stdout).unwrap();
    assert_eq!((&shown["frame"], &shown["state"], &shown["project"]), (&json!(3), &json!("refused"), &json!(world.fixture.project)));
    assert!(shown["order"].to_string().contains("STAND-IN"), "the answer itself is shown: {shown}");
    let words = String::from_utf8(command(&["pending", "show", &id(0)]).stdout).unwrap();
    assert!(words.contains(&id(0)) && words.contains("tried 1×"), "{words}");

    assert_eq!(command(&["pending", "drop", &id(0)]).status.code(), Some(0));
    for verb in ["show", "drop", "retry"] {
        let gone = command(&["pending", verb, &id(0)]);
        assert_eq!(gone.status.code(), Some(1), "{verb}");
        assert!(String::from_utf8_lossy(&gone.stderr).contains("pending list"), "{gone:?}");
    }
    world.fixture.backend.heal();
    assert_eq!(command(&["pending", "retry", &id(1)]).status.code(), Some(0));
    wait_for("the late save", Duration::from_secs(20), || pending(&daemon).is_empty());
    let ranges: Vec<Value> = world.answers(&world.fixture.video, "Cls+Scen").iter().map(|answer| answer["range"].clone()).collect();
    assert_eq!(ranges, [json!([[4, 4]])], "what was given up is not saved");
}

#[test]
fn an_answer_that_is_being_saved_cannot_be_dropped_and_one_that_waits_again_can() {
    let world = World::new();
    let daemon = world.setup().set("server", "request_budget", "\"8s\"").agent("/", "Scene description", "").start();
    let (backend, data) = (&world.fixture.backend, &world.fixture.image);
    backend.fail(Call::SaveRow, Fault::ResetBefore, ALWAYS);
    assert_eq!(daemon.trigger("/", &world.fixture.project, data, 0).status, 202);
    let id = pending(&daemon)[0]["id"].as_str().unwrap().to_owned();
    let drop = || pending_command(&daemon, &["pending", "drop", &id, "--config"]);
    // The late save is on its way for a while.
    backend.heal();
    backend.forget_records();
    backend.fail(Call::SaveRow, Fault::Delay(Duration::from_secs(6)), 1);
    pending_command(&daemon, &["pending", "retry", "--config"]);
    wait_for("the late save's request", Duration::from_secs(20), || backend.count(Call::SaveRow) > 0);
    let refused = drop();
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains(&id) && said.contains("is being saved at this moment"), "{said}");
    wait_for("the end of the waiting", Duration::from_secs(20), || pending(&daemon).is_empty());
    assert_eq!(world.answers(data, "Cls+Scen").len(), 1);
    assert!(String::from_utf8_lossy(&drop().stderr).contains("no answer"), "it is saved by now");

    // Another, whose late saves fail: between two of them it can be given up, and is not saved then.
    backend.fail(Call::SaveRow, Fault::Status(503, String::new()), ALWAYS);
    assert_eq!(daemon.trigger("/", &world.fixture.project, &world.fixture.video, 2).status, 202);
    let id = pending(&daemon)[0]["id"].as_str().unwrap().to_owned();
    wait_for("the drop", Duration::from_secs(40), || pending_command(&daemon, &["pending", "drop", &id, "--config"]).status.success());
    backend.heal();
    world.click(&daemon, "/", &world.fixture.video, 4);
    assert_eq!(world.answers(&world.fixture.video, "Cls+Scen").len(), 1, "only the click's own answer");
    assert_eq!(pending(&daemon).len(), 0);
}

#[test]
fn a_persons_newer_answer_stays_before_a_late_save_and_the_history_says_so() {
    let world = World::new();
    let daemon = world.setup().set("server", "request_budget", "\"6s\"").agent("/", "Weather", "").start();
    world.model.fix("Weather", "Heavy rain");
    world.fixture.backend.fail(Call::SaveRow, Fault::ResetBefore, ALWAYS);
    assert_eq!(daemon.trigger("/", &world.fixture.project, &world.fixture.video, 5).status, 202);
    world.fixture.backend.edit_row(&world.fixture.video, |row| {
        row["classification_answers"]["Person/1"] = crate::rows::weather("Person/1", json!([[5, 5]]), crate::rows::SUNNY);
    });
    world.fixture.backend.heal();
    pending_command(&daemon, &["pending", "retry", "--config"]);
    wait_for("the end of the waiting", Duration::from_secs(20), || pending(&daemon).is_empty());
    let answers = world.answers(&world.fixture.video, "Cls/Weat");
    assert_eq!(answers.len(), 1);
    assert_eq!(attribute(&answers[0], "AttWeath")[0]["name"], "Sunny");
    let told = daemon.status()["triggers"][0].clone();
    assert_eq!(told["outcome"], "superseded");
    assert!(told["message"].as_str().unwrap().contains("that answer stays"), "{told}");
    assert_eq!((told["caller"].as_str(), told["answer"].as_str()), (Some("127.0.0.1"), Some("Weather: Heavy rain")));
}

#[test]
fn answers_that_wait_for_one_row_are_saved_in_their_order_and_in_spite_of_each_other() {
    let world = World::new();
    let daemon = world.setup().set("server", "request_budget", "\"6s\"").agent("/", "Scene description", "").start();
    world.fixture.backend.fail(Call::SaveRow, Fault::ResetBefore, ALWAYS);
    std::thread::scope(|scope| {
        for frame in 0..3 {
            let (daemon, world) = (&daemon, &world);
            scope.spawn(move || assert_eq!(daemon.trigger("/", &world.fixture.project, &world.fixture.video, frame).status, 202));
        }
    });
    let order: Vec<Value> = pending(&daemon).iter().map(|entry| entry["frame"].clone()).collect();
    world.fixture.backend.heal();
    world.fixture.backend.forget_records();
    // A click that Encord answers shows that it is back.
    world.click(&daemon, "/", &world.fixture.image, 0);
    wait_for("the late saves", Duration::from_secs(20), || pending(&daemon).is_empty());
    assert_eq!(world.answers(&world.fixture.video, "Cls+Scen").len(), 3);
    let triggers = daemon.status()["triggers"].as_array().unwrap().clone();
    let told = |outcome: &str, key: &str| -> Vec<Value> {
        triggers.iter().rev().filter(|one| one["outcome"] == outcome).map(|one| one[key].clone()).collect()
    };
    assert_eq!(told("late", "frame"), order);
    // A person knows the data item by its title, late as well.
    assert!(told("queued", "title")[0].as_str().is_some_and(|title| !title.is_empty()), "{triggers:?}");
    assert_eq!(told("late", "title"), told("queued", "title"));
}

/// What an answer that waits looks like in a journal of the first schema.
const FIRST_SCHEMA: &str = include_str!("../data/journal-v1.sql");

#[test]
fn an_answer_that_an_older_version_wrote_down_is_saved() {
    let world = World::new();
    let daemon = world.setup().set("server", "request_budget", "\"6s\"").agent("/", "Scene description", "");
    let label = {
        let mut store = world.fixture.backend.store();
        store.open_row(&world.fixture.video).unwrap()
    };
    let sql = FIRST_SCHEMA.replace("PROJECT", &world.fixture.project).replace("DATA", &world.fixture.video).replace("LABEL", &label);
    rusqlite::Connection::open(daemon.folder().join("journal.db")).unwrap().execute_batch(&sql).unwrap();
    let daemon = daemon.start();
    wait_for("the late save", Duration::from_secs(20), || pending(&daemon).is_empty());
    let answers = world.answers(&world.fixture.video, "Cls+Scen");
    assert_eq!(answers.len(), 1);
    assert_eq!((&answers[0]["range"], attribute(&answers[0], "AttScene")), (&json!([[7, 7]]), json!("a red lorry at a crossing")));
    assert_eq!(world.fixture.backend.store().remarks, Vec::<String>::new());
}
