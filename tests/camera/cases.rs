//! What happens to pictures, case by case.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::backend::Call;
use crate::support::daemon::{Daemon, Setup};
use crate::support::faults::Fault;
use crate::support::fixture::Fixture;
use crate::support::media::jpeg;
use crate::support::model::StandIn;

/// Each by its name.
pub const ALL: [(&str, fn()); 7] = [
    ("a_picture_on_demand_is_delivered_and_labelled", a_picture_on_demand_is_delivered_and_labelled),
    ("a_camera_that_is_pulled_out_is_told_and_works_again", a_camera_that_is_pulled_out_is_told_and_works_again),
    ("without_encord_a_picture_waits_and_is_labelled_later", without_encord_a_picture_waits_and_is_labelled_later),
    ("without_the_model_a_picture_is_delivered_and_labelled_later", without_the_model_a_picture_is_delivered_and_labelled_later),
    ("pictures_at_an_interval_are_labelled_once_each", pictures_at_an_interval_are_labelled_once_each),
    ("what_a_command_has_used_counts_in_the_daemons_day", what_a_command_has_used_counts_in_the_daemons_day),
    ("a_kill_at_any_step_leaves_one_picture_with_one_answer", a_kill_at_any_step_leaves_one_picture_with_one_answer),
];

const ALWAYS: usize = usize::MAX;

struct Bench {
    fixture: Fixture,
    model: StandIn,
    daemon: Daemon,
    /// What the camera sees; without it the camera is not there.
    scene: PathBuf,
}

impl Bench {
    fn new(lines: &str) -> Self {
        let (fixture, model) = (Fixture::new(), StandIn::start(0, None).unwrap());
        let setup =
            Setup::new(std::env::current_exe().unwrap(), &fixture.backend, &fixture.key, &model).set("journal", "retry_max", "\"1s\"");
        let setup = setup.set("model", "daily_tokens", "1000000");
        let scene = setup.folder().join("scene.jpg");
        std::fs::write(&scene, jpeg(320, 240, [10, 200, 90])).unwrap();
        let Fixture { folder, dataset, project, .. } = &fixture;
        let camera = format!(
            "[[camera]]\nname = \"gate\"\ndevice = {scene:?}\nfolder = \"{folder}\"\ndataset = \"{dataset}\"\nagent = \"/\"\nproject = \"{project}\"\n{lines}"
        );
        let daemon = setup.agent("/", "Scene description", "").text(&camera).start();
        Self { fixture, model, daemon, scene }
    }

    fn press(&self) -> (u16, Value) {
        let request = ureq::post(self.daemon.admin_url("/camera/gate/capture")).config().http_status_as_error(false);
        let mut answer = request.timeout_global(Some(Duration::from_secs(120))).build().send_empty().unwrap();
        let facts = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
        (answer.status().as_u16(), facts)
    }

    /// How many pictures the dataset has, and how many answers their rows.
    fn there(&self) -> (usize, usize) {
        let store = self.fixture.backend.store();
        let data: Vec<String> = store.data_of(&self.fixture.dataset).into_iter().map(|item| item.hash.clone()).collect();
        let answers = |data: &String| store.row_of(data).map_or(0, |row| row["classification_answers"].as_object().unwrap().len());
        (data.len(), data.iter().map(answers).sum())
    }

    fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.page(path)).unwrap()
    }

    fn page(&self, path: &str) -> String {
        ureq::get(self.daemon.admin_url(path)).call().unwrap().body_mut().read_to_string().unwrap()
    }

    /// In the end nothing waits, and there is as much as is said here.
    fn ends_with(&self, there: (usize, usize), told: &str) {
        wait_for(told, || self.waiting().is_empty());
        assert_eq!(self.there(), there, "{told}\n{}", self.daemon.log());
        assert_eq!(self.fixture.backend.store().remarks, Vec::<String>::new(), "{told}");
    }

    fn waiting(&self) -> Vec<Value> {
        let mut command = self.daemon.setup.command(&["pending", "list", "--json", "--config"]);
        let shown = command.arg(self.daemon.setup.config_file()).output().unwrap();
        serde_json::from_slice(&shown.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&shown.stderr)))
    }
}

fn wait_for(told: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < Duration::from_secs(90), "not within 90 s: {told}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn a_picture_on_demand_is_delivered_and_labelled() {
    let bench = Bench::new("");
    let (status, facts) = bench.press();
    assert_eq!((status, &facts["state"], &facts["label"]), (200, &"delivered".into(), &"saved".into()), "{facts}");
    let store = bench.fixture.backend.store();
    let item = &store.items[facts["data"].as_str().unwrap()];
    assert_eq!((item.backing.as_str(), &item.metadata["camera"]), (facts["item"].as_str().unwrap(), &Value::from("gate")));
    drop(store);
    assert!(facts["milliseconds"].as_u64().unwrap() > 0 && facts["steps"]["encoding"].is_number(), "{facts}");
    bench.ends_with((1, 1), "on demand");
    let log = bench.daemon.log();
    let line = log.lines().find(|line| line.contains("a picture is taken on demand")).unwrap();
    assert!(line.contains("first_frame=") && line.contains("settling=") && line.contains("encoding="), "{line}");
    let metrics = bench.page("/metrics");
    assert!(metrics.contains("edgelabel_camera_pictures_total{camera=\"gate\",outcome=\"taken\"} 1\n"), "{metrics}");
    assert!(metrics.contains("edgelabel_camera_step_seconds_count{step=\"encoding\"} 1\n"), "{metrics}");
    assert!(bench.page("/status.json").contains(&format!("\"id\":{}", facts["picture"])), "the label is in the history");
    // By the command as well, with the same camera.
    let mut command = bench.daemon.setup.command(&["capture", "gate", "--label", "--json", "--config"]);
    let output = command.arg(bench.daemon.setup.config_file()).output().unwrap();
    let facts: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(facts["label"], "saved");
    assert!(facts["capture"]["milliseconds"].as_u64().unwrap() > 0 && facts["capture"]["steps"]["settling"].is_number(), "{facts}");
    bench.ends_with((2, 2), "by command");
    assert_eq!(bench.model.questions().len(), 2);
}

fn a_camera_that_is_pulled_out_is_told_and_works_again() {
    let bench = Bench::new("");
    let cameras = || bench.json("/ready")["dependencies"]["cameras"].clone();
    let shown = || bench.json("/status.json")["cameras"][0].clone();
    assert_eq!((&cameras()["status"], &shown()["last_picture"]), (&"ok".into(), &Value::Null));
    let away = bench.scene.with_extension("away");
    std::fs::rename(&bench.scene, &away).unwrap();
    // Before anybody wants a picture.
    let missing = cameras();
    assert_eq!((&missing["status"], &bench.json("/ready")["status"]), (&"degraded".into(), &"degraded".into()), "{missing}");
    assert!(missing["since"].as_i64().unwrap() > 0 && missing["reason"].as_str().unwrap().starts_with("gate: camera /"), "{missing}");
    let (status, facts) = bench.press();
    assert!(status == 502 && facts["error"].as_str().unwrap().contains("is not there"), "{status} {facts}");
    assert!(shown()["reason"].as_str().unwrap().contains("plug it in"), "{}", shown());
    let metrics = bench.page("/metrics");
    for line in ["edgelabel_camera_up{camera=\"gate\"} 0\n", "edgelabel_dependency_up{name=\"cameras\"} 0\n", "outcome=\"missing\"} 1\n"] {
        assert!(metrics.contains(line), "{line}{metrics}");
    }
    std::fs::rename(&away, &bench.scene).unwrap();
    assert_eq!(cameras()["status"], "ok");
    assert_eq!(bench.press().0, 200);
    bench.ends_with((1, 1), "put back");
    assert_eq!((&shown()["status"], &shown()["name"]), (&"ok".into(), &"gate".into()));
    assert!(shown()["last_picture"].as_i64().unwrap() > 1_700_000_000, "{}", shown());
    assert!(bench.page("/metrics").contains("edgelabel_camera_up{camera=\"gate\"} 1\n"));
}

fn without_encord_a_picture_waits_and_is_labelled_later() {
    let bench = Bench::new("");
    bench.fixture.backend.fail(Call::UploadLink, Fault::Status(503, "{}".into()), ALWAYS);
    let (status, facts) = bench.press();
    assert_eq!((status, &facts["state"], &facts["label"]), (202, &"waiting".into(), &Value::Null), "{facts}");
    assert_eq!(bench.there(), (0, 0));
    let shown = bench.json("/status.json")["cameras"][0].clone();
    assert_eq!((&shown["waiting"], &shown["unlabelled"], &shown["status"]), (&1.into(), &0.into(), &"ok".into()), "{shown}");
    let mut doctor = bench.daemon.setup.command(&["doctor", "--offline", "--json", "--config"]);
    let report: Value = serde_json::from_slice(&doctor.arg(bench.daemon.setup.config_file()).output().unwrap().stdout).unwrap();
    let told = report["checks"].as_array().unwrap().iter().find(|check| check["name"] == "camera gate").unwrap()["detail"].to_string();
    assert!(told.contains("its last picture was taken at 2") && told.contains("pictures that wait: 1 to be delivered"), "{told}");
    bench.fixture.backend.heal();
    bench.ends_with((1, 1), "Encord is back");
}

fn without_the_model_a_picture_is_delivered_and_labelled_later() {
    let bench = Bench::new("");
    bench.model.fail(Fault::Status(503, "{}".into()), ALWAYS);
    let (status, facts) = bench.press();
    assert_eq!((status, &facts["state"], &facts["label"]), (202, &"delivered".into(), &"waiting".into()), "{facts}");
    assert!(facts["error"].as_str().unwrap().contains("stand-in"), "{facts}");
    assert_eq!(bench.there(), (1, 0));
    // Another camera's picture, or this one's next, is not held up.
    assert_eq!((bench.press().0, bench.there()), (202, (2, 0)));
    bench.model.heal();
    bench.ends_with((2, 2), "the model is back");
}

fn pictures_at_an_interval_are_labelled_once_each() {
    let bench = Bench::new("interval = \"1s\"");
    wait_for("three pictures", || bench.there().1 >= 3);
    std::fs::remove_file(&bench.scene).unwrap();
    wait_for("the last", || bench.waiting().is_empty());
    let (pictures, answers) = bench.there();
    assert_eq!((pictures, bench.model.questions().len()), (answers, answers), "{}", bench.daemon.log());
}

fn what_a_command_has_used_counts_in_the_daemons_day() {
    let bench = Bench::new("");
    let used = || {
        let (metrics, name) = (bench.page("/metrics"), "edgelabel_model_tokens_today{");
        let line = metrics.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(bench.press().0, 200);
    let once = used();
    assert!(once > 0);
    let mut command = bench.daemon.setup.command(&["capture", "gate", "--label", "--json", "--config"]);
    assert!(command.arg(bench.daemon.setup.config_file()).output().unwrap().status.success());
    assert_eq!(bench.press().0, 200);
    assert_eq!((used(), bench.model.questions().len()), (3 * once, 3));
}

fn a_kill_at_any_step_leaves_one_picture_with_one_answer() {
    for step in [Call::Register, Call::LinkItem, Call::ListRows, Call::GetRow, Call::SaveRow] {
        let (told, mut bench) = (format!("killed at {step:?}"), Bench::new(""));
        // The step takes effect, and nobody hears of it.
        bench.fixture.backend.fail(step, Fault::Delay(Duration::from_secs(30)), 1);
        let url = bench.daemon.admin_url("/camera/gate/capture");
        let pressed = std::thread::spawn(move || ureq::post(url).send_empty().is_err());
        wait_for(&told, || bench.fixture.backend.count(step) > 0);
        bench.daemon.signal(Signal::KILL);
        bench.daemon.wait_exit(Duration::from_secs(20));
        assert!(pressed.join().unwrap(), "{told}");
        bench.fixture.backend.heal();
        bench.daemon.restart();
        bench.ends_with((1, 1), &told);
        assert_eq!(bench.model.questions().len(), 1, "{told}: what was answered is not asked again\n{}", bench.daemon.log());
    }
}
