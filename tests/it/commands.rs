//! The commands beside `run`, against the emulators: what they print for people and for machines, and how they exit.

use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::spine::World;
use crate::support::daemon::Setup;

fn run(setup: &Setup, arguments: &[&str]) -> Output {
    setup.command(arguments).arg("--config").arg(setup.config_file()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}\n{}", text(&output.stdout), text(&output.stderr)))
}

#[test]
fn schema_prints_what_the_model_would_be_asked_and_does_not_ask_it() {
    let world = World::new();
    let setup = world.setup().agent("/", "Scene description", "prompt = \"Mind the weather.\"");
    setup.write();
    let output = run(&setup, &["schema", "--project", &world.fixture.project]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let shown = json(&output);
    assert_eq!(shown["model"], "stand-in");
    assert_eq!(shown["schema"]["type"], "object");
    assert!(shown["schema"].to_string().contains("Scene description"), "{shown}");
    assert!(shown["prompt"].to_string().contains("Mind the weather."), "{shown}");
    assert!(world.model.questions().is_empty());
}

#[test]
fn schema_of_an_agent_for_objects_has_an_entry_for_each_class() {
    let world = World::new();
    let setup = world.setup().agent("/", "*", "target = \"objects\"");
    setup.write();
    let output = run(&setup, &["schema", "--project", &world.fixture.project]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let classes = json(&output)["objects"].as_array().unwrap().clone();
    assert!(!classes.is_empty() && classes.iter().all(|class| class["schema"]["type"] == "object"), "{classes:?}");
}

#[test]
fn schema_names_what_there_is_when_agent_or_classification_is_not() {
    let world = World::new();
    let setup = world.setup().agent("/", "Scene", "");
    setup.write();
    let output = run(&setup, &["schema", "--project", &world.fixture.project, "--agent", "/cars"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("there are: /"), "{}", text(&output.stderr));
    let output = run(&setup, &["schema", "--project", &world.fixture.project]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("Scene description"), "{}", text(&output.stderr));
}

#[test]
fn doctor_finds_the_sign_in_the_project_and_a_model_that_sees() {
    let world = World::new();
    let (folder, dataset, nobodys) = (&world.fixture.folder, &world.fixture.dataset, "027e0c65-c53f-426d-9f02-04fafe8bd80e");
    let camera = |name: &str, folder: &str, dataset: &str| {
        format!("[[camera]]\nname = \"{name}\"\ndevice = \"/dev/video99\"\nfolder = \"{folder}\"\ndataset = \"{dataset}\"\n")
    };
    let cameras = camera("gate", folder, dataset) + &camera("yard", nobodys, nobodys);
    let setup = world.setup().agent("/", "Scene description", "").text(&cameras);
    setup.write();
    let output = run(&setup, &["doctor", "--json", "--project", &world.fixture.project]);
    let report = json(&output);
    let check = |name: &str| {
        let checks = report["checks"].as_array().unwrap();
        checks
            .iter()
            .find(|check| check["name"].as_str().unwrap().starts_with(name))
            .unwrap_or_else(|| panic!("no {name}: {report:#}"))
            .clone()
    };
    for name in ["configuration", "clock", "disk: journal", "port", "Encord http", "Encord project", "model stand-in", "browsers"] {
        assert_eq!(check(name)["status"], "ok", "{:#}", check(name));
    }
    for (place, found) in [("folder", "\"Station\" (role admin)"), ("dataset", dataset)] {
        let (gate, yard) = (check(&format!("Encord {place} of camera gate")), check(&format!("Encord {place} of camera yard")));
        assert!(gate["status"] == "ok" && gate["detail"].as_str().unwrap().contains(found), "{gate:#}");
        assert!(yard["status"] == "failed" && yard["detail"].as_str().unwrap().contains(nobodys), "{yard:#}");
        assert!(yard["remedy"].as_str().unwrap().contains("[[camera]]"), "{yard:#}");
    }
    assert!(check("model stand-in")["detail"].as_str().unwrap().contains("sees pictures"), "{report:#}");
    assert_eq!(check("decoding h264")["status"], "ok", "{report:#}");
    assert!(check("decoding h264")["detail"].as_str().unwrap().contains("software"), "{report:#}");
    // There is no certificate yet.
    assert_eq!(check("certificate")["status"], "failed");
    assert!(check("certificate")["remedy"].as_str().unwrap().contains("cert init"));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn doctor_names_the_remedy_when_nothing_answers() {
    let world = World::new();
    let setup = world.setup().agent("/", "Scene description", "").set("encord", "domain", "\"http://127.0.0.1:9\"").set(
        "model",
        "base_url",
        "\"http://127.0.0.1:9/v1\"",
    );
    setup.write();
    let output = run(&setup, &["doctor"]);
    let report = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1));
    assert!(report.contains("FAILED   Encord http://127.0.0.1:9") && report.contains("firewall"), "{report}");
    assert!(report.contains("FAILED   model stand-in") && report.contains("is base_url right"), "{report}");
    assert!(report.contains("LocalNetworkAccessAllowedForUrls"), "{report}");
    assert!(!report.contains("sk-secret-of-the-model"), "{report}");
}

#[test]
fn pending_without_a_journal_lists_nothing_and_makes_no_file() {
    let world = World::new();
    let setup = world.setup().agent("/", "Scene description", "");
    setup.write();
    let output = run(&setup, &["pending", "list", "--json"]);
    assert_eq!((output.status.code(), json(&output)), (Some(0), serde_json::json!([])));
    assert_eq!(text(&run(&setup, &["pending"]).stdout), "nothing waits\n");
    assert_eq!(run(&setup, &["pending", "drop", "abc"]).status.code(), Some(1));
    assert!(!setup.folder().join("journal.db").exists());
}

#[test]
fn run_without_a_key_ends_with_78_and_says_how_to_give_one() {
    let world = World::new();
    let setup = world.setup().agent("/", "Scene description", "").set("encord", "ssh_key_file", "\"\"");
    setup.write();
    for command in ["run", "check"] {
        let output = run(&setup, &[command]);
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{errors}");
        assert!(errors.contains("encord.ssh_key_file") && errors.contains("ENCORD_SSH_KEY_FILE"), "{errors}");
    }
}

#[test]
fn trigger_presses_the_button_and_shows_what_came_of_it() {
    let world = World::new();
    let setup = world.setup().agent("/", "Scene description", "reply = \"summary\"");
    setup.write();
    setup.make_certificate();
    let daemon = setup.launch();
    let (project, video) = (&world.fixture.project, &world.fixture.video);
    // The authority beside the configured certificate is found by itself.
    let url = daemon.url("");
    let test = || run(&daemon.setup, &["trigger", "--project", project, "--data", video, "--test", "--url", &url]);
    let begun = Instant::now();
    while test().status.code() != Some(0) {
        assert!(begun.elapsed() < Duration::from_secs(20), "{}", daemon.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(text(&test().stdout).starts_with("200 the test request"));

    let page = format!("https://app.encord.com/label_editor/{project}/{video}/3");
    let output = run(&daemon.setup, &["trigger", &page, "--url", &url, "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stderr), daemon.log());
    let answer = json(&output);
    assert_eq!(answer["status"], 200);
    assert!(answer["message"].as_str().unwrap().contains("request "), "{answer}");
    assert!(answer["milliseconds"].as_f64().unwrap() > 0.0);
    assert_eq!(world.answers(video, "Cls+Scen").len(), 1);

    let output = run(&daemon.setup, &["trigger", "--project", project, "--data", video, "--frame", "99999", "--url", &url]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).starts_with("422 failed, after "), "{}", text(&output.stdout));

    let output = run(&daemon.setup, &["trigger", "--project", project, "--data", video, "--agent", "/none", "--url", &url]);
    assert_eq!((output.status.code(), text(&output.stdout).starts_with("404 ")), (Some(1), true));
}
