//! A picture's way from a file to a dataset at Encord, against the emulator: whatever goes wrong on the way, it is there
//! once or it is said that it is not.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::late::{pending, wait_for};
use crate::spine::World;
use crate::support::backend::Call;
use crate::support::daemon::{Daemon, Setup};
use crate::support::faults::Fault;
use crate::support::media::jpeg;

/// The calls of one capture; the job says once that it is pending.
const STEPS: [Call; 6] = [Call::UploadLink, Call::Upload, Call::Register, Call::UploadJob, Call::UploadJob, Call::LinkItem];

pub const ALWAYS: usize = usize::MAX;

pub struct Station {
    pub world: World,
    pub setup: Setup,
    picture: PathBuf,
    pub bytes: Vec<u8>,
}

impl Station {
    fn new() -> Self {
        let world = World::new();
        let lines = format!("folder = \"{}\"\ndataset = \"{}\"", world.fixture.folder, world.fixture.dataset);
        Self::with(world, &lines)
    }

    fn with(world: World, lines: &str) -> Self {
        let setup = world.setup();
        Self::of(world, setup, lines)
    }

    /// With these lines for the camera.
    pub fn of(world: World, setup: Setup, lines: &str) -> Self {
        let setup = setup.text(&format!("[[camera]]\nname = \"gate\"\ndevice = \"/dev/video0\"\n{lines}"));
        setup.write();
        let (picture, bytes) = (setup.folder().join("gate-1.jpg"), jpeg(320, 240, [10, 200, 90]));
        std::fs::write(&picture, &bytes).unwrap();
        Self { world, setup, picture, bytes }
    }

    fn capture(&self) -> Output {
        self.command().output().unwrap()
    }

    pub fn command(&self) -> Command {
        let mut command = self.setup.command(&["capture", "gate", "--json", "--picture"]);
        command.arg(&self.picture).arg("--config").arg(self.setup.config_file());
        command
    }

    /// What waits in the journal, by the command.
    pub fn pending(&self, arguments: &[&str]) -> Output {
        let arguments = [&["pending"], arguments, &["--config"]].concat();
        self.setup.command(&arguments).arg(self.setup.config_file()).output().unwrap()
    }

    pub fn listed(&self) -> Vec<Value> {
        serde_json::from_slice(&self.pending(&["list", "--json"]).stdout).unwrap()
    }

    /// The daemon delivers what waits; afterwards the picture is in the dataset once.
    fn delivered_by_the_daemon(self, told: &str) {
        let (daemon, world) = (self.setup.start(), self.world);
        wait_for(told, Duration::from_secs(60), || pending(&daemon).is_empty());
        assert_eq!(dataset(&world), [("gate-1.jpg".to_owned(), self.bytes)], "{told}\n{}", daemon.log());
        let left = std::fs::read_dir(daemon.setup.folder().join("journal.pictures")).unwrap().count();
        assert_eq!((left, daemon.log().contains("sig=")), (0, false), "{told}");
    }

    fn dataset(&self) -> Vec<(String, Vec<u8>)> {
        dataset(&self.world)
    }
}

/// Titles and bytes of what is in the dataset.
pub fn dataset(world: &World) -> Vec<(String, Vec<u8>)> {
    let store = world.fixture.backend.store();
    let file = |item: &crate::support::backend::Item| match &item.content {
        crate::support::backend::Content::Image(still) => store.files[&still.file].bytes.to_vec(),
        other => panic!("{other:?}"),
    };
    store.data_of(&world.fixture.dataset).into_iter().map(|item| (item.title.clone(), file(item))).collect()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_picture_is_uploaded_registered_and_put_into_the_dataset() {
    let station = Station::new();
    let output = station.capture();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(station.dataset(), [("gate-1.jpg".to_owned(), station.bytes.clone())]);
    let facts: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(facts["requests"], 6);
    let store = station.world.fixture.backend.store();
    let item = &store.items[facts["data"].as_str().unwrap()];
    assert_eq!((item.backing.as_str(), &item.metadata["camera"]), (facts["item"].as_str().unwrap(), &Value::from("gate")));
    drop(store);
    assert_eq!(station.world.fixture.backend.calls(), STEPS);
}

#[test]
fn a_step_that_fails_or_whose_answer_is_lost_leads_to_one_picture_or_to_one_that_waits() {
    for step in [Call::UploadLink, Call::Upload, Call::Register, Call::UploadJob, Call::LinkItem] {
        for fault in [Fault::Status(503, "{}".into()), Fault::ResetBefore, Fault::ResetAfter] {
            let told = format!("{step:?} {fault:?}");
            // A registration is not sent twice on its own: nothing tells whether the first was heard.
            let waits = matches!((step, &fault), (Call::Register, Fault::Status(..) | Fault::ResetBefore));
            let station = Station::new();
            station.world.fixture.backend.fail(step, fault, 1);
            let output = station.capture();
            assert_eq!(output.status.code(), Some(0), "{told}: {}", stderr(&output));
            assert_eq!((station.dataset().len(), station.listed().len()), (usize::from(!waits), usize::from(waits)), "{told}");
            let facts: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(facts["waits"].is_string(), waits, "{told}: {facts}");
        }
    }
}

#[test]
fn a_refusal_names_what_the_key_has_no_right_to() {
    let (world, nobodys) = (World::new(), "027e0c65-c53f-426d-9f02-04fafe8bd80e");
    let lines = format!("folder = \"{nobodys}\"\ndataset = \"{}\"", world.fixture.dataset);
    let output = Station::with(world, &lines).capture();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(&format!("may not get an upload link in storage folder {nobodys}")), "{}", stderr(&output));
    assert!(stderr(&output).contains("pending retry"), "{}", stderr(&output));

    let world = World::new();
    let lines = format!("folder = \"{}\"\ndataset = \"{nobodys}\"", world.fixture.folder);
    let output = Station::with(world, &lines).capture();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(&format!("in dataset {nobodys}")), "{}", stderr(&output));
}

#[test]
fn what_is_no_picture_is_told_and_never_shows_the_upload_link() {
    let station = Station::new();
    // Begins as a JPEG does, and is none.
    std::fs::write(&station.picture, [0xff, 0xd8, 0xff, 0xe0, 0, 0]).unwrap();
    let output = station.capture();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("refused to register the picture") && !stderr(&output).contains("sig="), "{}", stderr(&output));
    assert!(station.dataset().is_empty());

    std::fs::write(&station.picture, b"GIF89a").unwrap();
    let output = station.capture();
    assert_eq!((output.status.code(), stderr(&output).contains("not a JPEG")), (Some(2), true), "{}", stderr(&output));
}

#[test]
fn a_camera_without_a_dataset_keeps_its_pictures_here() {
    let output = Station::with(World::new(), "").capture();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("no folder and dataset") && stderr(&output).contains("--output"), "{}", stderr(&output));
    let world = World::new();
    let lines = format!("folder = \"{}\"", world.fixture.folder);
    let output = Station::with(world, &lines).capture();
    assert_eq!(output.status.code(), Some(78));
    assert!(stderr(&output).contains("needs dataset as well"), "{}", stderr(&output));
}

/// Each step in a world of its own, all at once.
pub fn at_each_step(steps: &[Call], case: impl Fn(Call) + Sync) {
    let case = &case;
    std::thread::scope(|scope| steps.iter().for_each(|step| drop(scope.spawn(move || case(*step)))));
}

#[test]
fn what_cannot_be_delivered_waits_and_is_delivered_once_when_encord_is_back() {
    for fault in [Fault::Status(503, "{}".into()), Fault::ResetAfter] {
        at_each_step(&[Call::UploadLink, Call::Upload, Call::UploadJob, Call::LinkItem], |step| {
            let (told, station) = (format!("{step:?} {fault:?}"), Station::new());
            station.world.fixture.backend.fail(step, fault.clone(), ALWAYS);
            let output = station.capture();
            assert_eq!(output.status.code(), Some(0), "{told}: {}", stderr(&output));
            station.world.fixture.backend.heal();
            station.delivered_by_the_daemon(&told);
        });
    }
}

#[test]
fn a_command_that_is_killed_at_any_step_leaves_the_rest_to_the_daemon() {
    at_each_step(&[Call::UploadLink, Call::Upload, Call::Register, Call::UploadJob, Call::LinkItem], |step| {
        let (told, station) = (format!("killed at {step:?}"), Station::new());
        let backend = &station.world.fixture.backend;
        // The step takes effect, and nobody hears of it.
        backend.fail(step, Fault::Delay(Duration::from_secs(20)), 1);
        let mut command = station.command().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for(&told, Duration::from_secs(30), || backend.count(step) > 0);
        command.kill().unwrap();
        command.wait().unwrap();
        backend.heal();
        assert_eq!(station.listed().len(), 1, "{told}");
        station.delivered_by_the_daemon(&told);
    });
}

#[test]
fn a_daemon_that_is_killed_at_any_step_goes_on_from_there() {
    at_each_step(&[Call::Upload, Call::Register, Call::LinkItem], |step| {
        let (told, station) = (format!("killed at {step:?}"), Station::new());
        let (world, setup) = (station.world, station.setup);
        world.fixture.backend.fail(Call::UploadLink, Fault::Status(503, "{}".into()), ALWAYS);
        let mut command = setup.command(&["capture", "gate", "--picture"]);
        let output = command.arg(&station.picture).arg("--config").arg(setup.config_file()).output().unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).contains("waits as"), "{}", stderr(&output));
        world.fixture.backend.heal();
        world.fixture.backend.fail(step, Fault::Delay(Duration::from_secs(20)), 1);
        let mut daemon: Daemon = setup.start();
        wait_for(&told, Duration::from_secs(30), || world.fixture.backend.count(step) > 0);
        daemon.signal(Signal::KILL);
        daemon.wait_exit(Duration::from_secs(20));
        world.fixture.backend.heal();
        daemon.restart();
        wait_for(&told, Duration::from_secs(60), || pending(&daemon).is_empty());
        assert_eq!(dataset(&world), [("gate-1.jpg".to_owned(), station.bytes)], "{told}");
        assert_eq!(world.fixture.backend.count(Call::UploadLink), 5, "{told}: the first berth is kept");
    });
}

#[test]
fn a_link_that_has_expired_is_replaced_and_the_berth_of_a_registered_picture_is_not() {
    let station = Station::new();
    let backend = &station.world.fixture.backend;
    backend.fail(Call::Upload, Fault::Status(403, "<Error>expired</Error>".into()), 1);
    let output = station.capture();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!((station.dataset().len(), backend.count(Call::UploadLink)), (1, 2));

    // A store that refuses always is a refusal, not a circle.
    backend.fail(Call::Upload, Fault::Status(403, "<Error>no</Error>".into()), ALWAYS);
    assert_eq!(station.capture().status.code(), Some(1));
    assert_eq!((station.dataset().len(), backend.count(Call::UploadLink)), (1, 4));
    backend.heal();

    // It waits with its storage item, whatever becomes of links.
    let station = Station::new();
    let backend = &station.world.fixture.backend;
    backend.fail(Call::LinkItem, Fault::Status(503, "{}".into()), ALWAYS);
    assert_eq!(station.capture().status.code(), Some(0));
    assert_eq!(station.listed()[0]["step"], "registered");
    backend.heal();
    backend.fail(Call::Upload, Fault::Status(403, "<Error>expired</Error>".into()), ALWAYS);
    station.delivered_by_the_daemon("registered");
}

#[test]
fn a_refused_picture_is_listed_and_tried_again_or_given_up_on_command() {
    let (world, nobodys) = (World::new(), "027e0c65-c53f-426d-9f02-04fafe8bd80e");
    let lines = format!("folder = \"{nobodys}\"\ndataset = \"{}\"", world.fixture.dataset);
    let station = Station::with(world, &lines);
    for _ in 0..2 {
        assert_eq!(station.capture().status.code(), Some(1));
    }
    let (first, second) = (station.listed()[0].clone(), station.listed()[1].clone());
    assert_eq!((&first["state"], &first["camera"], &first["step"]), (&"refused".into(), &"gate".into(), &"taken".into()));
    assert_eq!((&first["project"], &first["title"], &first["attempts"]), (&Value::Null, &"gate-1.jpg".into(), &1.into()));
    let id = |entry: &Value| entry["id"].as_str().unwrap().to_owned();
    let words = |arguments: &[&str]| String::from_utf8(station.pending(arguments).stdout).unwrap();
    assert!(words(&["show", &id(&first)]).contains("picture gate-1.jpg of gate"), "{}", words(&["show", &id(&first)]));
    assert_eq!(words(&["retry", &id(&second)]), "1 picture will be tried again\n");
    assert_eq!(station.listed()[1]["state"], "waiting");
    for code in [0, 1] {
        assert_eq!(station.pending(&["drop", &id(&first)]).status.code(), Some(code));
    }
    assert_eq!(station.listed().len(), 1);
}

#[test]
fn monitoring_sees_what_waits() {
    let station = Station::new();
    station.world.fixture.backend.fail(Call::UploadLink, Fault::Status(503, "{}".into()), ALWAYS);
    assert_eq!(station.capture().status.code(), Some(0));
    let daemon = station.setup.start();
    let page = |path: &str| ureq::get(daemon.admin_url(path)).call().unwrap().body_mut().read_to_string().unwrap();
    let ready: Value = serde_json::from_str(&page("/ready")).unwrap();
    let told = ready["dependencies"]["pictures"]["reason"].as_str().unwrap().to_owned();
    assert!(told.contains("1 wait") && told.contains("get an upload link"), "{told}");
    assert!(page("/metrics").contains("edgelabel_pictures_waiting 1\n"), "{}", page("/metrics"));
    station.world.fixture.backend.heal();
    wait_for("the delivery", Duration::from_secs(30), || page("/metrics").contains("edgelabel_pictures_waiting 0\n"));
    wait_for("health", Duration::from_secs(10), || page("/ready").contains("\"pictures\":{\"status\":\"ok\""));
}

#[test]
fn a_journal_that_cannot_be_written_costs_no_picture() {
    let station = Station::new();
    std::fs::write(station.setup.folder().join("journal.pictures"), "a file where the folder should be").unwrap();
    let output = station.capture();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("journal.pictures") && station.dataset().len() == 1, "{}", stderr(&output));
}

#[test]
fn the_admin_address_tells_of_a_camera_that_is_not_there() {
    let world = World::new();
    let shelf = format!("folder = \"{}\"\ndataset = \"{}\"", world.fixture.folder, world.fixture.dataset);
    let gate = "[[camera]]\nname = \"gate\"\ndevice = \"/dev/v4l/by-id/nobody-plugged-this-in\"";
    let setup = world.setup().text(&format!("{gate}\n{shelf}\ninterval = \"1s\"\n[[camera]]\nname = \"door\"\ndevice = \"/dev/video99\""));
    let daemon = setup.start();
    let press = |camera: &str| {
        let request = ureq::post(daemon.admin_url(&format!("/camera/{camera}/capture"))).config().http_status_as_error(false).build();
        let mut answer = request.send_empty().unwrap();
        let facts: Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
        (answer.status().as_u16(), facts["error"].as_str().unwrap_or_default().to_owned())
    };
    let (status, told) = press("gate");
    assert!(status == 502 && (told.contains("is not there") || told.contains("without the feature v4l")), "{status} {told}");
    let (status, told) = press("door");
    assert!(status == 409 && told.contains("no folder and dataset"), "{status} {told}");
    let (status, told) = press("yard");
    assert!(status == 404 && told.contains("it has door, gate"), "{status} {told}");
    let complaints = || daemon.log().matches("gave no picture at its interval").count();
    wait_for("the complaint", Duration::from_secs(30), || complaints() > 0);
    // It is tried again and again, and told once.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(complaints(), 1, "{}", daemon.log());
}
