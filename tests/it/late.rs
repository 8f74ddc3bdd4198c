//! Answers that could not be saved at once: kept, saved later, or refused; never lost and never doubled.

use std::process::Output;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::spine::World;
use crate::support::backend::Call;
use crate::support::daemon::Daemon;
use crate::support::faults::Fault;

const ALWAYS: usize = usize::MAX;

fn pending(daemon: &Daemon) -> Vec<Value> {
    let shown = pending_command(daemon, &["pending", "list", "--json", "--config"]);
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    serde_json::from_slice(&shown.stdout).unwrap()
}

fn pending_command(daemon: &Daemon, arguments: &[&str]) -> Output {
    daemon.setup.command(arguments).arg(daemon.setup.config_file()).output().unwrap()
}

fn wait_for(what: &str, limit: Duration, mut done: impl FnMut() -> bool) {
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
    wait_for("the end of the waiting", Duration::from_secs(5), || pending(&daemon).is_empty());
    assert_eq!(world.model.questions().len(), 1);
}

#[test]
fn an_answer_survives_the_death_of_the_daemon() {
    let world = World::new();
    let mut daemon = world.setup().set("server", "request_budget", "\"8s\"").agent("/", "Scene description", "").start();
    world.fixture.backend.fail(Call::SaveRow, Fault::ResetBefore, ALWAYS);
    assert_eq!(daemon.trigger("/", &world.fixture.project, &world.fixture.image, 0).status, 202);
    daemon.signal(Signal::KILL);
    daemon.wait_exit(Duration::from_secs(5));
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
