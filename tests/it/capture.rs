//! A picture's way from a file to a dataset at Encord, against the emulator: whatever goes wrong on the way, it is there
//! once or it is said that it is not.

use std::path::PathBuf;
use std::process::Output;

use serde_json::Value;

use crate::spine::World;
use crate::support::backend::Call;
use crate::support::daemon::Setup;
use crate::support::faults::Fault;
use crate::support::media::jpeg;

/// The calls of one capture; the job says once that it is pending.
const STEPS: [Call; 6] = [Call::UploadLink, Call::Upload, Call::Register, Call::UploadJob, Call::UploadJob, Call::LinkItem];

struct Station {
    world: World,
    setup: Setup,
    picture: PathBuf,
    bytes: Vec<u8>,
}

impl Station {
    fn new() -> Self {
        let world = World::new();
        let lines = format!("folder = \"{}\"\ndataset = \"{}\"", world.fixture.folder, world.fixture.dataset);
        Self::with(world, &lines)
    }

    fn with(world: World, lines: &str) -> Self {
        let setup = world.setup().text(&format!("[[camera]]\nname = \"gate\"\ndevice = \"/dev/video0\"\n{lines}"));
        setup.write();
        let (picture, bytes) = (setup.folder().join("gate-1.jpg"), jpeg(320, 240, [10, 200, 90]));
        std::fs::write(&picture, &bytes).unwrap();
        Self { world, setup, picture, bytes }
    }

    fn capture(&self) -> Output {
        let mut command = self.setup.command(&["capture", "gate", "--json", "--picture"]);
        command.arg(&self.picture).arg("--config").arg(self.setup.config_file()).output().unwrap()
    }

    /// Titles and bytes of what is in the dataset.
    fn dataset(&self) -> Vec<(String, Vec<u8>)> {
        let store = self.world.fixture.backend.store();
        let file = |item: &crate::support::backend::Item| match &item.content {
            crate::support::backend::Content::Image(still) => store.files[&still.file].bytes.to_vec(),
            other => panic!("{other:?}"),
        };
        store.data_of(&self.world.fixture.dataset).into_iter().map(|item| (item.title.clone(), file(item))).collect()
    }
}

fn stderr(output: &Output) -> String {
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
fn a_step_that_fails_or_whose_answer_is_lost_leads_to_one_picture_and_no_more() {
    for step in [Call::UploadLink, Call::Upload, Call::Register, Call::UploadJob, Call::LinkItem] {
        for fault in [Fault::Status(503, "{}".into()), Fault::ResetBefore, Fault::ResetAfter] {
            let told = format!("{step:?} {fault:?}");
            // A registration is not sent twice on its own: nothing tells whether the first was heard.
            let fails = matches!((step, &fault), (Call::Register, Fault::Status(..) | Fault::ResetBefore));
            let station = Station::new();
            station.world.fixture.backend.fail(step, fault, 1);
            let output = station.capture();
            assert_eq!(output.status.code(), Some(i32::from(fails)), "{told}: {}", stderr(&output));
            assert_eq!(station.dataset().len(), usize::from(!fails), "{told}");
            if fails {
                assert!(stderr(&output).contains("register the picture"), "{told}: {}", stderr(&output));
            }
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
