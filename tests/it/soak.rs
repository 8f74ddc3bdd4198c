//! Many triggers of every kind at once while everything upstream fails at random: each one is accounted for, no answer is
//! lost or doubled, and the daemon is as light at the end as it was at the start.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::spine::World;
use crate::support::backend::Call;
use crate::support::caller::Caller;
use crate::support::daemon::{Daemon, ORIGIN};
use crate::support::faults::Fault;
use crate::support::media::jpeg;
use crate::support::observe::{Weight, is_alive};

/// People who press buttons.
const PEOPLE: usize = 6;
/// Memory is measured from here on: caches and allocator have found their size.
const WARM_UP: f64 = 0.25;
/// What the daemon and its workers may weigh more at the end than at the start of the measured part, in KiB.
const GROWTH_KIB: u64 = 24 << 10;
const MORE_DESCRIPTORS: usize = 24;

/// What one click was about; no two clicks are about the same.
type Place = (String, u64, &'static str);

/// How a click ended, as the person saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Status(u16),
    /// They left on purpose.
    Left,
    /// The connection broke, and nobody had asked for that.
    Silence,
}

struct Soak {
    world: World,
    daemon: Daemon,
    until: Instant,
    dice: AtomicU64,
    clicks: Mutex<Vec<(Place, Seen)>>,
    faults: Mutex<BTreeMap<String, usize>>,
    client: ureq::Agent,
}

impl Soak {
    fn below(&self, bound: u64) -> u64 {
        let mut z = self.dice.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }

    /// Presses buttons on item after item until the time is over.
    fn person(&self) {
        while Instant::now() < self.until {
            let (data, frames, object) = self.new_item();
            for frame in 0..frames {
                if Instant::now() >= self.until {
                    return;
                }
                let agent = match (object.is_some(), self.below(4)) {
                    (true, _) => "/objects",
                    (false, 0) => "/weather",
                    _ => "/",
                };
                let body = json!({"projectHash": self.world.fixture.project, "dataHash": data, "frame": frame, "objectHashes": object});
                self.press((data.clone(), frame, agent), &body.to_string());
                std::thread::sleep(Duration::from_millis(self.below(60)));
            }
        }
    }

    /// A video, an image, a group, or an image with an object on it: its frames, and the object.
    fn new_item(&self) -> (String, u64, Option<[&'static str; 1]>) {
        let backend = &self.world.fixture.backend;
        let project = self.world.fixture.project.clone();
        let mut store = backend.store();
        let like = |hash: &str| store.items[hash].content.clone();
        let (video, group) = (like(&self.world.fixture.video), like(&self.world.fixture.group));
        match self.below(6) {
            0 | 1 => (store.add_item(&project, "drive.mp4", video), 30, None),
            2 => (store.add_item(&project, "three views", group), 3, None),
            3 => {
                let data = store.add_image(&project, "car.jpg", "image/jpeg", (320, 200), jpeg(320, 200, [200, 40, 40]));
                drop(store);
                backend.edit_row(&data, |row| put_car(row, &data));
                (data, 1, Some(["Object/1"]))
            }
            _ => (store.add_image(&project, "crossing.jpg", "image/jpeg", (320, 200), jpeg(320, 200, [60, 120, 200])), 1, None),
        }
    }

    fn press(&self, place: Place, body: &str) {
        let note = |seen: Seen| self.clicks.lock().unwrap().push((place.clone(), seen));
        match self.below(10) {
            // Twice at once: a double click, or two people.
            0 => std::thread::scope(|scope| {
                let other = scope.spawn(|| self.ask(place.2, body));
                note(self.ask(place.2, body));
                note(other.join().unwrap());
            }),
            // A tab that is closed.
            1 => {
                let mut caller = Caller::connect(&self.daemon);
                let sent = caller.ask(place.2, body);
                std::thread::sleep(Duration::from_millis(self.below(250)));
                note(if sent.is_ok() { Seen::Left } else { Seen::Silence });
            }
            _ => note(self.ask(place.2, body)),
        }
    }

    fn ask(&self, agent: &str, body: &str) -> Seen {
        let sent = self.client.post(self.daemon.url(agent)).header("origin", ORIGIN).header("content-type", "application/json").send(body);
        match sent {
            Ok(mut answer) => {
                let status = answer.status().as_u16();
                let text = answer.body_mut().read_to_string().unwrap_or_default();
                // Whatever is not a plain success says what happened.
                assert!(status == 200 || text.contains("\"message\""), "{status}: {text:?}");
                Seen::Status(status)
            }
            Err(error) => {
                eprintln!("soak: no answer: {error}");
                Seen::Silence
            }
        }
    }

    /// Lets things go wrong, a few at a time.
    fn trouble(&self) {
        const CALLS: [Call; 7] = [Call::Project, Call::ListRows, Call::CreateRow, Call::GetRow, Call::SaveRow, Call::SaveRow, Call::Media];
        while Instant::now() < self.until {
            std::thread::sleep(Duration::from_millis(100 + self.below(500)));
            let (name, fault) = self.fault();
            let times = 1 + self.below(3) as usize;
            let backend = &self.world.fixture.backend;
            let what = match self.below(20) {
                0..=13 => {
                    let call = CALLS[self.below(CALLS.len() as u64) as usize];
                    backend.fail(call, fault, times);
                    format!("{call:?}: {name}")
                }
                14..=17 => {
                    self.world.model.fail(fault, times);
                    format!("Model: {name}")
                }
                18 => {
                    backend.refuse();
                    std::thread::sleep(Duration::from_millis(500 + self.below(5000)));
                    backend.heal();
                    "Encord: away for a while".to_owned()
                }
                _ => {
                    self.daemon.signal(Signal::HUP);
                    "reload".to_owned()
                }
            };
            *self.faults.lock().unwrap().entry(what).or_default() += times;
        }
    }

    fn fault(&self) -> (&'static str, Fault) {
        match self.below(12) {
            0 => ("reset before", Fault::ResetBefore),
            1 => ("reset after", Fault::ResetAfter),
            2 => ("slow answer", Fault::Delay(Duration::from_millis(1000 + self.below(3000)))),
            3 => ("429", Fault::RetryAfter(429, "1".into())),
            4 => ("500", Fault::Status(500, "<html>".into())),
            5 => ("502", Fault::Status(502, "<html>".into())),
            6 => ("503", Fault::Status(503, String::new())),
            7 => ("504", Fault::Status(504, String::new())),
            8 => ("cut", Fault::Cut(40)),
            9 => ("dripping", Fault::Slow(200)),
            10 => ("not HTTP", Fault::Garbage),
            _ => ("error in a 200", Fault::Envelope(500, "UNKNOWN_ERROR")),
        }
    }

    /// Says how it goes, and weighs the daemon.
    fn watch(&self, start: Instant) -> Vec<(Duration, Weight)> {
        let mut weights = Vec::new();
        let mut told = Instant::now();
        while Instant::now() < self.until {
            std::thread::sleep(Duration::from_secs(1).min(self.until.saturating_duration_since(Instant::now())));
            let weight = self.daemon.weight();
            weights.push((start.elapsed(), weight));
            if told.elapsed() >= Duration::from_secs(10) {
                told = Instant::now();
                let (clicks, faults) = (self.clicks.lock().unwrap().len(), self.faults.lock().unwrap().values().sum::<usize>());
                let left = self.until.saturating_duration_since(Instant::now());
                println!(
                    "soak: {clicks} clicks, {faults} faults, {} waiting; daemon {} MiB, workers {} MiB, {} descriptors; {:.0?} left",
                    self.daemon.pending().len(),
                    weight.daemon_kib >> 10,
                    weight.children_kib >> 10,
                    weight.descriptors,
                    left
                );
            }
        }
        weights
    }

    /// How many answers the row holds at a place.
    fn held(&self, (data, frame, agent): &Place) -> usize {
        let Some(row) = self.world.fixture.backend.row(data) else { return 0 };
        if *agent == "/objects" {
            let answers = row["object_answers"]["Object/1"]["classifications"].as_array();
            return usize::from(answers.is_some_and(|answers| !answers.is_empty()));
        }
        let feature = if *agent == "/" { "Cls+Scen" } else { "Cls/Weat" };
        let covers = |answer: &Value| {
            let ranges = answer["range"].as_array().unwrap();
            ranges.iter().any(|range| (range[0].as_u64().unwrap()..=range[1].as_u64().unwrap()).contains(frame))
        };
        row["classification_answers"].as_object().unwrap().values().filter(|a| a["featureHash"] == feature && covers(a)).count()
    }

    /// All is well from now on; waits until nothing is left to do.
    fn settle(&self) {
        self.world.fixture.backend.heal();
        self.world.model.heal();
        let idle = || {
            let status = self.daemon.status();
            status["running"] == 0 && status["waiting"] == 0
        };
        self.daemon.wait_until("the end of the triggers", Duration::from_secs(60), idle);
        let mut retry = self.daemon.setup.command(&["pending", "retry", "--config"]);
        assert!(retry.arg(self.daemon.setup.config_file()).output().unwrap().status.success());
        self.daemon.wait_until("an empty journal", Duration::from_secs(60), || self.daemon.pending().is_empty());
    }
}

/// A car, as an annotator draws one.
fn put_car(row: &mut Value, data: &str) {
    let object = json!({
        "objectHash": "Object/1", "featureHash": "Obj/Car1", "name": "Car", "color": "#D33115", "shape": "bounding_box", "value": "car",
        "createdAt": "Mon, 02 Nov 2026 10:00:00 UTC", "createdBy": "annotator@example.com", "confidence": 1.0, "manualAnnotation": true,
        "boundingBox": {"h": 0.4, "w": 0.4, "x": 0.2, "y": 0.3},
    });
    row["data_units"][data]["labels"] = json!({"objects": [object], "classifications": []});
    row["object_answers"]["Object/1"] = json!({"objectHash": "Object/1", "classifications": []});
}

/// What the daemon itself says became of each trigger: its outcomes by what they were about, from its log.
fn outcomes(log: &str) -> HashMap<(String, u64, String), Vec<String>> {
    let mut found: HashMap<_, Vec<String>> = HashMap::new();
    for line in log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).filter(|line| line["message"] == "trigger") {
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        found.entry((text("data"), line["frame"].as_u64().unwrap(), text("agent"))).or_default().push(text("outcome"));
    }
    found
}

#[test]
#[ignore = "make soak; EDGELABEL_SOAK chooses how many seconds, EDGELABEL_SEED which ones"]
fn under_random_faults_every_trigger_is_accounted_for() {
    let from = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let length = Duration::from_secs(from("EDGELABEL_SOAK").unwrap_or(120));
    let seed = from("EDGELABEL_SEED").unwrap_or_else(|| getrandom::u64().unwrap());
    println!("soak: {length:?}, seed {seed}");
    let world = World::new();
    let daemon = world
        .setup()
        .set("server", "request_budget", "\"10s\"")
        .set("server", "max_waiting_triggers", "4")
        .set("server.limits", "triggers_per_address", "0")
        .set("server.limits", "triggers_per_project", "0")
        .set("encord", "timeout", "\"2s\"")
        .set("encord", "ontology_ttl", "\"20s\"")
        .set("model", "timeout", "\"3s\"")
        .set("media", "cache_bytes", "20000000")
        .set("journal", "retry_max", "\"3s\"")
        .set("log", "format", "\"json\"")
        .agent("/", "Scene description", "")
        .agent("/weather", "Weather", "reply = \"summary\"")
        .agent("/objects", "*", "target = \"objects\"")
        .start();
    world.model.fix("Weather", "Sunny");
    let client = daemon.client();
    let start = Instant::now();
    let soak = Soak {
        world,
        daemon,
        until: start + length,
        dice: AtomicU64::new(seed),
        clicks: Mutex::default(),
        faults: Mutex::default(),
        client,
    };
    let weights = std::thread::scope(|scope| {
        for _ in 0..PEOPLE {
            scope.spawn(|| soak.person());
        }
        scope.spawn(|| soak.trouble());
        soak.watch(start)
    });
    soak.settle();

    let clicks = soak.clicks.lock().unwrap().clone();
    let said = outcomes(&soak.daemon.log());
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let (mut lost, mut doubled, mut unaccounted, mut silent) = (Vec::new(), Vec::new(), Vec::new(), 0);
    let mut places: HashMap<Place, Vec<Seen>> = HashMap::new();
    for (place, one) in &clicks {
        *seen
            .entry(match one {
                Seen::Status(status) => status.to_string(),
                other => format!("{other:?}"),
            })
            .or_default() += 1;
        silent += usize::from(*one == Seen::Silence);
        places.entry(place.clone()).or_default().push(*one);
    }
    for (place, all) in &places {
        let by_daemon = said.get(&(place.0.clone(), place.1, place.2.to_owned())).cloned().unwrap_or_default();
        let promised = all.iter().any(|one| matches!(one, Seen::Status(200 | 202)));
        let worked = by_daemon.iter().any(|outcome| matches!(outcome.as_str(), "saved" | "queued"));
        let held = soak.held(place);
        if held == 0 && (promised || worked) {
            lost.push(format!("{place:?}: {all:?}, {by_daemon:?}"));
        }
        if held > 1 {
            doubled.push(format!("{place:?}: {all:?}, {by_daemon:?}, {held} answers"));
        }
        // A busy refusal, and one who left while waiting, never became a run.
        let never_ran = all.iter().all(|one| matches!(one, Seen::Left | Seen::Status(503)));
        if by_daemon.is_empty() && !never_ran {
            unaccounted.push(format!("{place:?}: {all:?}"));
        }
    }
    let runs: usize = said.values().map(Vec::len).sum();
    let counted = soak.daemon.metric("edgelabel_triggers_total", "") as usize;
    let mut outcome_counts: BTreeMap<&str, usize> = BTreeMap::new();
    for outcome in said.values().flatten() {
        *outcome_counts.entry(outcome).or_default() += 1;
    }
    let read_backs = soak.daemon.metric("edgelabel_read_backs_total", "");

    let measured: Vec<Weight> =
        weights.iter().filter(|(at, _)| at.as_secs_f64() > WARM_UP * length.as_secs_f64()).map(|(_, w)| *w).collect();
    let part = (measured.len() / 8).max(1);
    let median = |of: &dyn Fn(&Weight) -> u64, all: &[Weight]| {
        let mut values: Vec<u64> = all.iter().map(of).collect();
        values.sort_unstable();
        values[values.len() / 2]
    };
    let (first, last) = (&measured[..part], &measured[measured.len() - part..]);
    let daemon_kib = (median(&|w| w.daemon_kib, first), median(&|w| w.daemon_kib, last));
    let workers_kib = (median(&|w| w.children_kib, first), median(&|w| w.children_kib, last));
    let descriptors = (median(&|w| w.descriptors as u64, first), median(&|w| w.descriptors as u64, last));
    let threads = (median(&|w| w.threads as u64, first), median(&|w| w.threads as u64, last));

    let faults = soak.faults.lock().unwrap().values().sum::<usize>();
    println!(
        "soak: {} clicks about {} places in {length:?}; {faults} faults of {} kinds",
        clicks.len(),
        places.len(),
        soak.faults.lock().unwrap().len()
    );
    println!("soak: seen by people {seen:?}");
    println!("soak: {runs} runs by the daemon {outcome_counts:?}; {read_backs} rows read back");
    println!("soak: lost = {}, doubled = {}, unaccounted = {}, silent = {silent}", lost.len(), doubled.len(), unaccounted.len());
    println!(
        "soak: from {:.0}% on: daemon {} to {} KiB, workers {} to {} KiB, descriptors {} to {}, threads {} to {}",
        WARM_UP * 100.0,
        daemon_kib.0,
        daemon_kib.1,
        workers_kib.0,
        workers_kib.1,
        descriptors.0,
        descriptors.1,
        threads.0,
        threads.1
    );

    let Soak { daemon: mut ended, .. } = soak;
    let children = ended.children();
    ended.signal(Signal::TERM);
    let status = ended.wait_exit(Duration::from_secs(30));
    // A worker notices that its daemon is gone at the end of its input, a moment later.
    let patience = Instant::now() + Duration::from_secs(5);
    while children.iter().any(|child| is_alive(*child)) && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(50));
    }
    let orphans = children.iter().filter(|child| is_alive(**child)).count();
    let kept: u64 = files_under(&ended.setup.folder().join("cache")).iter().map(|(_, size)| size).sum();
    println!("soak: exit {:?}, {orphans} orphaned workers of {}, {kept} bytes in the cache", status.code(), children.len());

    let checks: [(&str, bool); 11] = [
        ("no answer is lost", lost.is_empty()),
        ("no answer is doubled", doubled.is_empty()),
        ("every click is accounted for", unaccounted.is_empty()),
        ("nobody was left without an answer", silent == 0),
        ("the metrics agree with the log", counted == runs),
        ("memory is flat", daemon_kib.1 <= daemon_kib.0 + GROWTH_KIB && workers_kib.1 <= workers_kib.0 + 4 * GROWTH_KIB),
        ("descriptors are flat", descriptors.1 as usize <= descriptors.0 as usize + MORE_DESCRIPTORS),
        ("the workers are those that are configured", children.len() <= 2),
        ("no worker is orphaned", orphans == 0),
        ("it ends with 0", status.code() == Some(0)),
        ("the cache keeps to its bound", kept <= 20_000_000),
    ];
    let failed: Vec<&str> = checks.iter().filter(|(_, holds)| !holds).map(|(name, _)| *name).collect();
    println!("soak: {} passed, {} failed", checks.len() - failed.len(), failed.len());
    assert!(failed.is_empty(), "{failed:?}\nlost {lost:#?}\ndoubled {doubled:#?}\nunaccounted {unaccounted:#?}");
}

fn files_under(folder: &std::path::Path) -> Vec<(std::path::PathBuf, u64)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| match entry.metadata() {
            Ok(facts) if facts.is_dir() => files_under(&entry.path()),
            Ok(facts) => vec![(entry.path(), facts.len())],
            Err(_) => Vec::new(),
        })
        .collect()
}
