//! Every upstream call of a trigger × every way in which it can fail. What is expected of each stands in
//! `docs/faults.md`: the tables there are read, each of their rows is provoked at the real daemon, and what comes of it
//! is compared. `EDGELABEL_REFRESH=1` writes what was measured into the tables instead.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::spine::{LONG, World};
use crate::support::backend::{Call, Clip};
use crate::support::daemon::{Answer, Daemon};
use crate::support::faults::Fault;
use crate::support::fixture::ontology;
use crate::support::media::{VideoRecipe, jpeg, moving_bars};

/// Daemons that work through the rows side by side; they mostly wait.
const LANES: usize = 12;
const ALWAYS: usize = usize::MAX;
const TABLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/faults.md");
/// The request's budget in this test, and the bound on one call to Encord and to the model.
const BUDGET: Duration = Duration::from_secs(9);
const CALL: &str = "\"3s\"";
/// Of the video.
const FRAMES: u64 = 600;
/// Longer than the budget.
const NEVER: Duration = Duration::from_secs(13);
/// Any trigger of this test is answered this soon, whatever fails.
const KEPT: Duration = Duration::from_secs(14);

/// The calls, as the headings of the tables name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Project,
    Ontology,
    List,
    Create,
    Open,
    Link,
    Media,
    Range,
    Model,
    Reread,
    Save,
}

impl Place {
    fn named(heading: &str) -> Option<Self> {
        Some(match heading.split(':').next()?.trim() {
            "Read the project" => Self::Project,
            "Read the ontology" => Self::Ontology,
            "List the label row" => Self::List,
            "Create the label row" => Self::Create,
            "Open the label row" => Self::Open,
            "Get the media link" => Self::Link,
            "Fetch an image" => Self::Media,
            "Fetch a later range of a video" => Self::Range,
            "Ask the model" => Self::Model,
            "Read the row before the save" => Self::Reread,
            "Save the row" => Self::Save,
            _ => return None,
        })
    }

    /// How the emulated backend counts it; the model counts its own.
    fn call(self) -> Option<Call> {
        Some(match self {
            Self::Project => Call::Project,
            Self::Ontology => Call::Ontology,
            Self::List => Call::ListRows,
            Self::Create => Call::CreateRow,
            Self::Open | Self::Reread => Call::GetRow,
            Self::Link => Call::DataLinks,
            Self::Media | Self::Range => Call::Media,
            Self::Save => Call::SaveRow,
            Self::Model => return None,
        })
    }
}

/// One row of a table: what is provoked, and what is expected.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    place: Place,
    fault: String,
    expected: Expected,
}

#[derive(Debug, Clone, PartialEq)]
struct Expected {
    status: u16,
    /// A part of the message.
    told: String,
    /// Requests that the call's server saw.
    requests: usize,
    /// Whether the row holds the answer when the annotator is answered.
    saved: bool,
    /// `empty`, `waiting` or `refused`.
    journal: String,
    /// Status when only the first request meets the fault.
    once: u16,
}

impl Expected {
    fn parse(cells: &[&str]) -> Self {
        Self {
            status: cells[0].parse().unwrap(),
            told: cells[1].to_owned(),
            requests: cells[2].parse().unwrap(),
            saved: cells[3] == "yes",
            journal: cells[4].to_owned(),
            once: cells[5].parse().unwrap(),
        }
    }

    fn cells(&self) -> String {
        let saved = if self.saved { "yes" } else { "no" };
        format!("{} | {} | {} | {} | {} | {}", self.status, self.told, self.requests, saved, self.journal, self.once)
    }
}

/// What a fault of this name is at the emulators; `None` for one that is not an answer at all.
fn fault(name: &str, place: Place) -> Option<Fault> {
    let status = |status: u16| Fault::Status(status, "<html>upstream's own words</html>".into());
    Some(match name {
        "connection refused" => return None,
        "reset before the answer" => Fault::ResetBefore,
        "reset after it took effect" => Fault::ResetAfter,
        "no answer in time" => Fault::Delay(NEVER),
        "body cut off" => Fault::Cut(20),
        "body too slow" => Fault::Slow(30),
        "not HTTP" => Fault::Garbage,
        "a page of HTML, 200" => Fault::Body("<html>sign in</html>".into()),
        "an error inside a 200" => match place {
            Place::Model => Fault::Body(r#"{"error": {"message": "upstream's own words", "code": 500}}"#.into()),
            Place::Media | Place::Range => Fault::Body("<?xml version='1.0'?><Error><Code>InternalError</Code></Error>".into()),
            _ => Fault::Envelope(500, "UNKNOWN_ERROR"),
        },
        "a refusal inside a 200" => match place {
            Place::Model => Fault::Body(r#"{"error": {"message": "upstream's own words", "type": "invalid_request_error"}}"#.into()),
            Place::Media | Place::Range => Fault::Body("<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>".into()),
            _ => Fault::Envelope(400, "OPERATION_NOT_ALLOWED"),
        },
        number => status(number.parse().unwrap_or_else(|_| panic!("no fault is called {number:?}"))),
    })
}

/// A world with its daemon, used for one row after another; each row has a project and an item of its own.
struct Lane<'a> {
    world: World,
    daemon: Daemon,
    /// Too long to be fetched by one request.
    video: &'a Arc<[u8]>,
}

/// What a trigger is about.
struct Target {
    project: String,
    data: String,
    frame: u64,
}

impl<'a> Lane<'a> {
    fn new(video: &'a Arc<[u8]>) -> Self {
        let world = World::new();
        let daemon = world
            .setup()
            .set("server", "request_budget", format!("\"{}s\"", BUDGET.as_secs()))
            .set("encord", "timeout", CALL)
            .set("model", "timeout", CALL)
            .set("media", "workers", "1")
            .agent("/", "Scene description", "")
            .start();
        // What is asked for the first time is asked in more ways: here the model has proven itself.
        world.click(&daemon, "/", &world.fixture.image, 0);
        Self { world, daemon, video }
    }

    /// A project and an item that the daemon has not heard of.
    fn target(&self, place: Place) -> Target {
        let mut store = self.world.fixture.backend.store();
        let project = store.add_project("Road scenes", ontology());
        let data = match place {
            Place::Range => {
                let file = store.add_file("long.mp4", "video/mp4", Arc::clone(self.video));
                let clip = Clip { file, mime: "video/mp4".into(), width: 320, height: 192, fps: 30.0, frames: FRAMES };
                store.add_video(&project, "long.mp4", clip)
            }
            _ => store.add_image(&project, "crossing.jpg", "image/jpeg", (640, 360), jpeg(640, 360, [60, 120, 200])),
        };
        if place == Place::Open {
            store.open_row(&data).unwrap();
        }
        drop(store);
        self.world.fixture.backend.behave(|behaviour| {
            behaviour.editor_ontology = place != Place::Ontology;
            behaviour.links_in_rows = place != Place::Link;
        });
        Target { project, data, frame: if place == Place::Range { FRAMES * 2 / 3 } else { 0 } }
    }

    fn click(&self, target: &Target) -> Answer {
        let answer = self.daemon.trigger("/", &target.project, &target.data, target.frame);
        assert!(answer.took < KEPT, "the budget of {BUDGET:?} was not kept: {answer:?}");
        answer
    }

    /// A click on another item of the same project: then the project is known, and Encord seen alive.
    fn click_beside(&self, project: &str) {
        let data = {
            let mut store = self.world.fixture.backend.store();
            store.add_image(project, "beside.jpg", "image/jpeg", (64, 64), jpeg(64, 64, [9, 9, 9]))
        };
        let answer = self.click(&Target { project: project.to_owned(), data, frame: 0 });
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// Lets the next request, or all of them, meet the fault.
    fn spoil(&self, row: &Row, target: &Target, times: usize) {
        let (backend, model) = (&self.world.fixture.backend, &self.world.model);
        match (fault(&row.fault, row.place), row.place.call()) {
            (None, _) => self.refuse(row.place, target),
            (Some(fault), None) => model.fail(fault, times),
            (Some(fault), Some(call)) => {
                if row.place == Place::Range {
                    // The first request finds the index, the later ones the frame.
                    backend.fail(call, Fault::Delay(Duration::ZERO), 1);
                }
                backend.fail(call, fault, times);
            }
        }
    }

    /// Connections are refused from just before the call on.
    fn refuse(&self, place: Place, target: &Target) {
        let backend = self.world.fixture.backend.clone();
        if !matches!(place, Place::Project | Place::Ontology) {
            self.click_beside(&target.project);
        }
        match place {
            Place::Project | Place::List => backend.refuse(),
            Place::Ontology => backend.refuse_after(Call::Project),
            Place::Create | Place::Open => backend.refuse_after(Call::ListRows),
            Place::Link => backend.refuse_after(Call::CreateRow),
            Place::Media => backend.refuse_media(),
            Place::Range => backend.refuse_after(Call::Media),
            Place::Model => self.world.model.refuse(),
            Place::Reread => self.world.model.meanwhile(move || backend.refuse()),
            Place::Save => backend.refuse_after(Call::GetRow),
        }
    }

    fn forget(&self) {
        self.world.fixture.backend.forget_records();
        self.world.model.forget_questions();
    }

    fn heal(&self) {
        self.world.fixture.backend.heal();
        self.world.model.heal();
    }

    fn requests(&self, place: Place) -> usize {
        match place.call() {
            None => self.world.model.questions().len(),
            Some(call) => self.world.fixture.backend.count(call),
        }
    }

    fn answers(&self, target: &Target) -> usize {
        self.world.fixture.backend.row(&target.data).map_or(0, |_| self.world.answers(&target.data, "Cls+Scen").len())
    }

    /// Provokes one row and says what came of it; afterwards the daemon must have recovered, on its own.
    fn measure(&self, row: &Row) -> Expected {
        let target = self.target(row.place);
        self.spoil(row, &target, ALWAYS);
        self.forget();
        let answer = self.click(&target);
        let requests = self.requests(row.place);
        let saved = self.answers(&target) == 1;
        let told = if answer.body.is_empty() { String::new() } else { answer.message() };
        let told = told.split(" · request").next().unwrap_or_default().to_owned();
        assert!(!told.contains("own words"), "an upstream body is shown: {told}");
        let journal = self.journal();
        self.heal();
        self.recover(&target, &journal);
        let once = self.once(row);
        Expected { status: answer.status, told, requests, saved, journal, once }
    }

    /// `empty`, or the state of the one entry.
    fn journal(&self) -> String {
        match &self.daemon.pending()[..] {
            [] => "empty".to_owned(),
            [one] => one["state"].as_str().unwrap().to_owned(),
            more => panic!("{} entries wait: {more:?}", more.len()),
        }
    }

    /// Once all is well again an answer that was paid for gets into the row, exactly once and without asking the model
    /// anew; and a click is answered as if nothing had been.
    fn recover(&self, target: &Target, journal: &str) {
        let begun = Instant::now();
        match journal {
            "waiting" => self.click_beside(&target.project),
            "refused" => {
                let mut retry = self.daemon.setup.command(&["pending", "retry", "--config"]);
                assert!(retry.arg(self.daemon.setup.config_file()).output().unwrap().status.success());
            }
            _ => {
                // A model endpoint that was down is left alone for a while.
                while self.click(target).status != 200 {
                    assert!(begun.elapsed() < Duration::from_secs(30), "no recovery\n{}", self.daemon.log());
                    std::thread::sleep(Duration::from_millis(200));
                }
            }
        }
        self.daemon.wait_until("the answer in its row", Duration::from_secs(30), || self.answers(target) == 1);
        self.daemon.wait_until("an empty journal", Duration::from_secs(30), || self.daemon.pending().is_empty());
    }

    /// The status when only the first request meets the fault.
    fn once(&self, row: &Row) -> u16 {
        let target = self.target(row.place);
        self.spoil(row, &target, 1);
        let status = std::thread::scope(|scope| {
            if fault(&row.fault, row.place).is_none() {
                scope.spawn(|| {
                    std::thread::sleep(Duration::from_millis(400));
                    self.heal();
                });
            }
            self.click(&target).status
        });
        self.heal();
        if status == 200 {
            assert_eq!(self.answers(&target), 1, "200 without an answer in the row");
        }
        let journal = self.journal();
        if journal != "empty" {
            self.recover(&target, &journal);
        }
        status
    }
}

/// The rows of the tables, and the text around them.
fn read_tables(text: &str) -> Vec<Row> {
    let mut place = None;
    let mut rows = Vec::new();
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            place = Place::named(heading);
        }
        if let (Some(place), Some(cells)) = (place, cells_of(line)) {
            rows.push(Row { place, fault: cells[0].to_owned(), expected: Expected::parse(&cells[1..]) });
        }
    }
    rows
}

/// The text with what was measured in its tables. A short part of a message that still fits stays.
fn refreshed(text: &str, measured: &[(Row, Expected)]) -> String {
    let mut place = None;
    let lines = text.lines().map(|line| {
        if let Some(heading) = line.strip_prefix("## ") {
            place = Place::named(heading);
        }
        let found = cells_of(line).and_then(|cells| measured.iter().find(|(row, _)| Some(row.place) == place && row.fault == cells[0]));
        match found {
            None => line.to_owned(),
            Some((row, found)) => {
                let fits = !row.expected.told.is_empty() && found.told.contains(&row.expected.told);
                let told = if fits { row.expected.told.clone() } else { found.told.clone() };
                format!("| {} | {} |", row.fault, Expected { told, ..found.clone() }.cells())
            }
        }
    });
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

/// The cells of a line that is a row of a table of faults.
fn cells_of(line: &str) -> Option<Vec<&str>> {
    let cells: Vec<&str> = line.strip_prefix("| ")?.strip_suffix('|')?.split('|').map(str::trim).collect();
    (cells.len() == 7 && cells[1].parse::<u16>().is_ok()).then_some(cells)
}

#[test]
fn every_fault_of_every_call_ends_as_the_table_says() {
    let text = std::fs::read_to_string(TABLES).unwrap();
    let only = std::env::var("EDGELABEL_FAULTS").unwrap_or_default();
    let rows: Vec<Row> = read_tables(&text).into_iter().filter(|row| format!("{:?} {}", row.place, row.fault).contains(&only)).collect();
    assert!(!rows.is_empty());
    let queue: Mutex<VecDeque<(usize, Row)>> = Mutex::new(rows.iter().cloned().enumerate().collect());
    let measured: Mutex<Vec<(usize, Expected)>> = Mutex::default();
    let begun = Instant::now();
    let recipe = VideoRecipe { frames: FRAMES, fps: 30, encode: LONG, ..VideoRecipe::default() };
    let video: Arc<[u8]> = recipe.painted(|frame, x, y| moving_bars(frame, FRAMES, x, y)).into();
    std::thread::scope(|scope| {
        for _ in 0..LANES.min(rows.len()) {
            scope.spawn(|| {
                let lane = Lane::new(&video);
                loop {
                    let Some((number, row)) = queue.lock().unwrap().pop_front() else { return };
                    let found = lane.measure(&row);
                    let mut measured = measured.lock().unwrap();
                    measured.push((number, found));
                    if measured.len().is_multiple_of(20) {
                        eprintln!("faults: {} of {} provoked after {:.0?}", measured.len(), rows.len(), begun.elapsed());
                    }
                }
            });
        }
    });
    let mut measured = measured.into_inner().unwrap();
    measured.sort_by_key(|(number, _)| *number);
    let measured: Vec<(Row, Expected)> = rows.into_iter().zip(measured.into_iter().map(|(_, found)| found)).collect();
    if std::env::var_os("EDGELABEL_REFRESH").is_some() {
        std::fs::write(TABLES, refreshed(&text, &measured)).unwrap();
        return;
    }
    let wrong: Vec<String> = measured
        .iter()
        .filter(|(row, found)| {
            !found.told.contains(&row.expected.told) || Expected { told: row.expected.told.clone(), ..found.clone() } != row.expected
        })
        .map(|(row, found)| format!("{:?}, {}:\n  expected {}\n  found    {}", row.place, row.fault, row.expected.cells(), found.cells()))
        .collect();
    eprintln!("faults: {} passed, {} failed, in {:.0?}", measured.len() - wrong.len(), wrong.len(), begun.elapsed());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
