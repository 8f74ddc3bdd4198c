//! Start, reload, drain, end.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::spine::World;
use crate::support::backend::Call;
use crate::support::caller::Caller;
use crate::support::faults::Fault;
use crate::support::model::StandIn;

#[test]
fn a_trigger_in_flight_is_finished_after_sigterm_and_a_new_one_is_sent_away() {
    let world = World::new();
    let mut daemon = world.setup().agent("/", "Scene description", "").start();
    world.model.quirks(|quirks| quirks.thinking_time = Duration::from_millis(1500));
    let client = daemon.client();
    let body = serde_json::json!({"projectHash": world.fixture.project, "dataHash": world.fixture.image, "frame": 0}).to_string();
    let (first, late) = std::thread::scope(|scope| {
        let in_flight = scope.spawn(|| daemon.trigger("/", &world.fixture.project, &world.fixture.image, 0));
        while world.fixture.backend.calls().is_empty() {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(300));
        daemon.signal(Signal::TERM);
        std::thread::sleep(Duration::from_millis(200));
        // Either told so on a new connection, or the listener is closed already.
        let late = client.post(daemon.url("/")).header("content-type", "application/json").send(&body);
        let late = late.map(|answer| answer.status().as_u16());
        (in_flight.join().unwrap(), late)
    });
    assert_eq!(first.status, 200, "{first:?}");
    assert!(late.is_err() || late.is_ok_and(|status| status == 503));
    let status = daemon.wait_exit(Duration::from_secs(10));
    assert_eq!(status.code(), Some(0));
    assert_eq!(world.answers(&world.fixture.image, "Cls+Scen").len(), 1);
}

#[test]
fn a_connection_that_has_sent_nothing_is_told_of_the_end_and_the_journal_is_in_order() {
    let world = World::new();
    let mut daemon = world.setup().agent("/", "Scene description", "").start();
    world.model.quirks(|quirks| quirks.thinking_time = Duration::from_millis(2500));
    let body = serde_json::json!({"projectHash": world.fixture.project, "dataHash": world.fixture.video, "frame": 1}).to_string();
    let mut silent = Caller::connect(&daemon);
    let mut used = Caller::connect(&daemon);
    used.ask("/nowhere", "{}").unwrap();
    assert!(used.read_head().starts_with("HTTP/1.1 404 "));
    let first = std::thread::scope(|scope| {
        let in_flight = scope.spawn(|| daemon.trigger("/", &world.fixture.project, &world.fixture.image, 0));
        daemon.wait_until("the running trigger", Duration::from_secs(10), || daemon.status()["running"] == 1);
        daemon.signal(Signal::TERM);
        daemon.wait_until("the drain", Duration::from_secs(10), || daemon.status()["state"] == "draining");
        for connection in [&mut silent, &mut used] {
            connection.ask("/", &body).unwrap();
        }
        let told = silent.read_to_end();
        let lower = told.to_ascii_lowercase();
        assert!(told.starts_with("HTTP/1.1 503 ") && lower.contains("connection: close") && lower.contains("retry-after:"), "{told}");
        assert!(used.read_to_end().contains("HTTP/1.1 503 "));
        in_flight.join().unwrap()
    });
    assert_eq!(first.status, 200, "{first:?}");
    // Nobody else is connected, so nothing is waited for.
    assert_eq!(daemon.wait_exit(Duration::from_secs(20)).code(), Some(0));
    let wal = daemon.setup.folder().join("journal.db-wal");
    assert!(std::fs::metadata(wal).map_or(0, |facts| facts.len()) == 0, "the write-ahead log is merged");
}

#[test]
fn a_trigger_that_outlasts_the_grace_is_left_behind_and_its_answer_is_not() {
    let world = World::new();
    let mut daemon = world.setup().set("server", "shutdown_grace", "\"1s\"").agent("/", "Scene description", "").start();
    // It is in the middle of its save, which Encord puts off for longer than the grace.
    world.fixture.backend.fail(Call::SaveRow, Fault::RetryAfter(503, "20".into()), usize::MAX);
    let body = serde_json::json!({"projectHash": world.fixture.project, "dataHash": world.fixture.image, "frame": 0}).to_string();
    let mut caller = Caller::connect(&daemon);
    caller.ask("/", &body).unwrap();
    daemon.wait_until("the save", Duration::from_secs(10), || world.fixture.backend.count(Call::SaveRow) > 0);
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait_exit(Duration::from_secs(8)).code(), Some(0));
    assert!(caller.read_to_end().is_empty(), "nobody was told that it is saved");
    world.fixture.backend.heal();
    daemon.restart();
    daemon.wait_until("the late save", Duration::from_secs(20), || daemon.pending().is_empty());
    assert_eq!(world.answers(&world.fixture.image, "Cls+Scen").len(), 1);
}

#[test]
fn an_idle_connection_does_not_hold_up_the_end() {
    let world = World::new();
    let mut daemon = world.setup().agent("/", "Scene description", "").start();
    let mut silent = Caller::connect(&daemon);
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait_exit(Duration::from_secs(20)).code(), Some(0));
    assert_eq!(silent.read_to_end(), "");
}

#[test]
fn a_reload_is_taken_whole_or_not_at_all_and_running_triggers_go_on() {
    let world = World::new();
    let daemon = world.setup().agent("/", "Scene description", "").start();
    world.model.quirks(|quirks| quirks.thinking_time = Duration::from_millis(2500));
    let file = daemon.setup.config_file();
    let good = std::fs::read_to_string(&file).unwrap();
    let other_model = StandIn::start(0, None).unwrap();
    let weather = "\n[[agent]]\npath = \"/weather\"\nclassification = [\"Weather\"]\n";
    std::thread::scope(|scope| {
        let running = scope.spawn(|| daemon.trigger("/", &world.fixture.project, &world.fixture.image, 0));
        daemon.wait_until("the running trigger", Duration::from_secs(10), || daemon.status()["running"] == 1);
        // The agent alone would be fine, but the certificate is not there.
        std::fs::write(&file, good.replace("certs/server.pem", "certs/none.pem") + weather).unwrap();
        daemon.signal(Signal::HUP);
        daemon.wait_until("the refusal", Duration::from_secs(10), || daemon.log().contains("the old one stays in force"));
        assert!(daemon.log().contains("certs/none.pem"), "{}", daemon.log());
        assert_eq!(daemon.trigger("/weather", &world.fixture.project, &world.fixture.image, 0).status, 404);
        // Everything that can change does.
        let new = good.replace(&world.model.url(), &other_model.url()).replace("[media]", "[media]\nworkers = 1") + weather;
        std::fs::write(&file, new).unwrap();
        daemon.signal(Signal::HUP);
        daemon.wait_until("the new configuration", Duration::from_secs(10), || daemon.log().contains("is in force"));
        world.click(&daemon, "/weather", &world.fixture.image, 0);
        assert!(!running.is_finished(), "the reload came too late to be a test");
        assert_eq!(running.join().unwrap().status, 200);
    });
    assert_eq!((world.model.questions().len(), other_model.questions().len()), (1, 1));
    // The decode workers of before are gone with their last trigger.
    daemon.wait_until("one worker", Duration::from_secs(10), || daemon.children().len() == 1);
}

#[test]
fn two_saves_of_one_row_do_not_cross_when_a_reload_comes_between_them() {
    let world = World::new();
    let daemon = world.setup().agent("/", "Scene description", "").start();
    world.click(&daemon, "/", &world.fixture.video, 0);
    std::thread::scope(|scope| {
        // The first has read the row and cannot save it yet; the second starts and would be through before.
        world.fixture.backend.fail(Call::SaveRow, Fault::RetryAfter(503, "3".into()), 1);
        let saves = world.fixture.backend.count(Call::SaveRow);
        let first = scope.spawn(|| daemon.trigger("/", &world.fixture.project, &world.fixture.video, 1));
        daemon.wait_until("the first save", Duration::from_secs(10), || world.fixture.backend.count(Call::SaveRow) > saves);
        daemon.signal(Signal::HUP);
        daemon.wait_until("the reload", Duration::from_secs(3), || daemon.log().contains("is in force"));
        let second = daemon.trigger("/", &world.fixture.project, &world.fixture.video, 2);
        assert_eq!((second.status, first.join().unwrap().status), (200, 200));
    });
    assert_eq!(world.answers(&world.fixture.video, "Cls+Scen").len(), 3, "one save has undone the other");
}

#[test]
fn sighup_reads_the_agents_anew_and_a_broken_file_changes_nothing() {
    let world = World::new();
    let daemon = world.setup().agent("/", "Scene description", "").start();
    let file = daemon.setup.config_file();
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{good}\n[[agent]]\npath = \"/weather\"\nclassification = [\"Weather\"]\n")).unwrap();
    assert_eq!(daemon.trigger("/weather", &world.fixture.project, &world.fixture.image, 0).status, 404);
    daemon.signal(Signal::HUP);
    let answered = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        daemon.trigger("/weather", &world.fixture.project, &world.fixture.image, 0).status == 200
    });
    assert!(answered, "{}", daemon.log());
    std::fs::write(&file, "[server]\nlisten = 5\n").unwrap();
    daemon.signal(Signal::HUP);
    std::thread::sleep(Duration::from_millis(500));
    world.click(&daemon, "/weather", &world.fixture.image, 0);
}

#[test]
fn a_broken_certificate_is_heard_of_though_nobody_calls_and_a_whole_one_is_taken() {
    let world = World::new();
    let daemon = world.setup().agent("/", "Scene description", "").start();
    let file = daemon.setup.folder().join("certs/server.pem");
    let whole = std::fs::read(&file).unwrap();
    let until_log = |words: &str| {
        let begun = Instant::now();
        while !daemon.log().contains(words) {
            assert!(begun.elapsed() < Duration::from_secs(30), "{words:?} is not in\n{}", daemon.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    std::fs::write(&file, "-----BEGIN CERTIFICATE-----\ngarbage").unwrap();
    until_log("the new certificate cannot be used; the old one stays in use");
    let ready = ureq::get(daemon.admin_url("/ready")).call().unwrap().body_mut().read_to_string().unwrap();
    assert!(ready.contains("\"degraded\"") && ready.contains("server.pem"), "{ready}");
    assert_eq!(daemon.trigger("/", &world.fixture.project, &world.fixture.image, 0).status, 200);
    std::fs::write(&file, whole).unwrap();
    until_log("new certificate in use");
    let ready = ureq::get(daemon.admin_url("/ready")).call().unwrap().body_mut().read_to_string().unwrap();
    assert!(!ready.contains("server.pem"), "{ready}");
}

#[test]
fn a_wrong_configuration_ends_with_78_and_names_the_nearest_key() {
    let world = World::new();
    let setup = world.setup().set("server", "listne", "[\"127.0.0.1:1\"]").agent("/", "Scene description", "");
    setup.write();
    for verb in ["run", "check"] {
        let ended = setup.command(&[verb, "--config"]).arg(setup.config_file()).output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(78), "{said}");
        assert!(said.contains("listne") && said.contains("listen") && said.contains("config.toml"), "{said}");
    }
}

#[test]
fn check_shows_where_values_come_from_and_no_secret() {
    let world = World::new();
    let setup = world.setup().agent("/", "Scene description", "");
    setup.write();
    let shown =
        setup.command(&["check", "--config"]).arg(setup.config_file()).env("OPENAI_API_KEY", "sk-from-the-environment").output().unwrap();
    let text = String::from_utf8_lossy(&shown.stdout);
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    assert!(text.contains("config.toml") && text.contains("OPENAI_API_KEY"), "{text}");
    assert!(!text.contains("sk-from-the-environment") && !text.contains("sk-secret-of-the-model"), "{text}");
}

#[test]
fn trigger_sends_what_the_label_editor_sends() {
    let world = World::new();
    let daemon = world.setup().agent("/", "Scene description", "").start();
    let url = format!("https://app.encord.com/label_editor/{}/{}/7", world.fixture.project, world.fixture.video);
    let sent =
        daemon.setup.command(&["trigger", &url, "--url", &daemon.url(""), "--config"]).arg(daemon.setup.config_file()).output().unwrap();
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    assert_eq!(world.answers(&world.fixture.video, "Cls+Scen")[0]["range"], serde_json::json!([[7, 7]]));
}

#[test]
fn a_second_daemon_on_the_same_journal_does_not_start_and_the_first_goes_on() {
    let world = World::new();
    let daemon = world.setup().agent("/", "Scene description", "").start();
    let second = daemon.setup.command(&["run", "--config"]).arg(daemon.setup.config_file()).output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains("another edgelabel works on") && said.contains("journal.path"), "{said}");
    assert_eq!(daemon.trigger("/", &world.fixture.project, &world.fixture.image, 0).status, 200);
}
