//! `kill -9` at any moment of a trigger. Whatever the moment: what the annotator was told holds, an answer that was
//! written down gets into its row exactly once, and nothing else in the row is touched.
//!
//! A connection that ends without an answer is an error that the label editor shows, so it counts as being told. Then the
//! row may hold the answer or not, but only in one way: it is there already, or it waits in the journal.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::spine::World;
use crate::support::backend::Call;
use crate::support::daemon::{Daemon, ORIGIN};
use crate::support::faults::Fault;
use crate::support::fixture::GROUP_COLOURS;
use crate::support::media::jpeg;
use crate::support::observe::is_alive;

const LANES: usize = 2;

/// What stands in the daemon's way in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Obstacle {
    None,
    /// The save comes through, its answer does not.
    SaveUnanswered,
    /// The save fails a few times.
    SaveFails,
    /// The row is created, the answer is lost.
    CreateUnanswered,
}

/// A small generator of numbers that can be repeated from its seed.
struct Dice(AtomicU64);

impl Dice {
    fn below(&self, bound: u64) -> u64 {
        // SplitMix64.
        let mut z = self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }
}

/// What a round was about, and what was seen when the process was dead.
struct Round {
    data: String,
    frame: u64,
    obstacle: Obstacle,
    /// The status that the annotator was answered with, if they were.
    told: Option<u16>,
    row_held: usize,
    journal_held: usize,
    foreign: Value,
}

struct Lane<'a> {
    world: World,
    daemon: Daemon,
    dice: &'a Dice,
    /// How long a trigger takes that nobody kills.
    whole: Duration,
}

impl<'a> Lane<'a> {
    fn new(dice: &'a Dice) -> Self {
        let world = World::new();
        let setup = world.setup().set("media", "workers", "1").set("server", "request_budget", "\"10s\"");
        let daemon = setup.agent("/", "Scene description", "").start();
        // Long enough that every stage is hit, short enough for many rounds.
        world.fixture.backend.behave(|behaviour| behaviour.latency = Duration::from_millis(6));
        world.model.quirks(|quirks| quirks.thinking_time = Duration::from_millis(15));
        let begun = Instant::now();
        world.click(&daemon, "/", &world.fixture.image, 0);
        let whole = begun.elapsed();
        Self { world, daemon, dice, whole }
    }

    fn round(&mut self) -> (String, Obstacle) {
        let (data, frame) = self.item();
        let obstacle = match self.dice.below(10) {
            0..=4 => Obstacle::None,
            5..=7 => Obstacle::SaveUnanswered,
            8 => Obstacle::SaveFails,
            _ => Obstacle::CreateUnanswered,
        };
        let (backend, model) = (self.world.fixture.backend.clone(), self.world.model.clone());
        match obstacle {
            Obstacle::None => {}
            Obstacle::SaveUnanswered => backend.fail(Call::SaveRow, Fault::ResetAfter, 1),
            Obstacle::SaveFails => backend.fail(Call::SaveRow, Fault::Status(503, String::new()), 2),
            Obstacle::CreateUnanswered => backend.fail(Call::CreateRow, Fault::ResetAfter, 1),
        }
        if self.dice.below(2) == 0 {
            backend.edit_row(&data, |row| row["classification_answers"]["Person/1"] = weather(frame));
        }
        backend.forget_records();
        model.forget_questions();
        // A retried save takes longer, and is where most can go wrong.
        let span = if obstacle == Obstacle::SaveFails { self.whole + Duration::from_millis(900) } else { self.whole * 5 / 4 };
        let moment = Duration::from_micros(self.dice.below(span.as_micros() as u64));
        let told = self.click_and_kill(&data, frame, moment);
        let stage = self.stage(told);
        let round = Round {
            row_held: self.answers(&data),
            journal_held: self.journal_on_disk(),
            foreign: self.foreign(&data),
            data,
            frame,
            obstacle,
            told,
        };
        backend.heal();
        self.daemon.restart();
        self.check(&round, &stage);
        (stage, obstacle)
    }

    /// An item that nobody has clicked on, and a frame of it.
    fn item(&self) -> (String, u64) {
        let mut store = self.world.fixture.backend.store();
        let project = self.world.fixture.project.clone();
        match self.dice.below(3) {
            0 => {
                let clip = store.items[&self.world.fixture.video].content.clone();
                (store.add_item(&project, "drive.mp4", clip), self.dice.below(30))
            }
            1 => {
                let group = store.items[&self.world.fixture.group].content.clone();
                (store.add_item(&project, "three views", group), self.dice.below(GROUP_COLOURS.len() as u64))
            }
            _ => (store.add_image(&project, "crossing.jpg", "image/jpeg", (320, 200), jpeg(320, 200, [60, 120, 200])), 0),
        }
    }

    fn click_and_kill(&mut self, data: &str, frame: u64, moment: Duration) -> Option<u16> {
        let body = json!({"projectHash": self.world.fixture.project, "dataHash": data, "frame": frame}).to_string();
        let (client, url) = (self.daemon.client(), self.daemon.url("/"));
        let children = self.daemon.children();
        let told = std::thread::scope(|scope| {
            let click = scope.spawn(move || {
                let sent = client.post(url).header("origin", ORIGIN).header("content-type", "application/json").send(body);
                // Half an answer is none.
                sent.ok().and_then(|mut answer| answer.body_mut().read_to_string().is_ok().then(|| answer.status().as_u16()))
            });
            std::thread::sleep(moment);
            self.daemon.signal(Signal::KILL);
            click.join().unwrap()
        });
        self.daemon.wait_exit(Duration::from_secs(20));
        self.daemon.wait_until("the end of the decode workers", Duration::from_secs(10), || !children.iter().any(|child| is_alive(*child)));
        told
    }

    /// How far the trigger had come, as seen from outside.
    fn stage(&self, told: Option<u16>) -> String {
        let calls = self.world.fixture.backend.calls();
        let stage = match (told, calls.iter().rfind(|call| **call != Call::Media)) {
            (Some(status), _) => return format!("7 answered {status}"),
            (None, Some(Call::SaveRow)) => "6 save sent",
            (None, Some(Call::GetRow)) if !self.world.model.questions().is_empty() => "5 row read for the save",
            (None, _) if !self.world.model.questions().is_empty() => "4 model answered",
            (None, _) if calls.contains(&Call::Media) => "3 media asked for",
            (None, Some(_)) => "2 Encord asked",
            (None, None) => "1 nothing asked yet",
        };
        stage.to_owned()
    }

    fn answers(&self, data: &str) -> usize {
        self.world.fixture.backend.row(data).map_or(0, |_| self.world.answers(data, "Cls+Scen").len())
    }

    /// The row without the daemon's own answers, and without what the backend itself stamps.
    fn foreign(&self, data: &str) -> Value {
        let Some(mut row) = self.world.fixture.backend.row(data) else { return Value::Null };
        row["classification_answers"].as_object_mut().unwrap().retain(|_, answer| answer["featureHash"] != "Cls+Scen");
        row["last_edited_at"] = Value::Null;
        row
    }

    fn journal_on_disk(&self) -> usize {
        let mut list = self.daemon.setup.command(&["pending", "list", "--json", "--config"]);
        let shown = list.arg(self.daemon.setup.config_file()).output().unwrap();
        assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
        serde_json::from_slice::<Vec<Value>>(&shown.stdout).unwrap().len()
    }

    #[track_caller]
    fn check(&self, round: &Round, stage: &str) {
        let Round { data, frame, obstacle, told, row_held, journal_held, foreign } = round;
        let about = format!("{stage}, {obstacle:?}, told {told:?}, row {row_held}, journal {journal_held}");
        self.daemon.wait_until("an empty journal", Duration::from_secs(20), || self.daemon.pending().is_empty());
        let held = self.answers(data);
        assert!(*row_held <= 1 && held <= 1, "doubled: {about}, now {held}");
        match told {
            Some(200) => assert_eq!(*row_held, 1, "told that it is saved, and it is not: {about}"),
            Some(202) => assert_eq!(row_held.max(journal_held), &1, "told that it will be saved, and it is nowhere: {about}"),
            _ => {}
        }
        assert_eq!(held, *row_held.max(journal_held), "an answer is lost, or came from nowhere: {about}, now {held}");
        assert!(self.world.model.questions().len() <= 1, "the model was asked again: {about}");
        if !foreign.is_null() {
            assert_eq!(self.foreign(data), *foreign, "somebody else's label changed: {about}");
        }
        // Whoever presses the button again gets their answer.
        self.world.click(&self.daemon, "/", data, *frame);
        assert_eq!(self.answers(data), 1, "{about}");
    }
}

/// A person's answer to something else on the same frame.
fn weather(frame: u64) -> Value {
    json!({
        "classificationHash": "Person/1", "featureHash": "Cls/Weat", "spaces": {}, "range": [[frame, frame]],
        "createdBy": "annotator@example.com", "createdAt": "Mon, 02 Nov 2026 10:00:00 UTC",
        "lastEditedBy": "annotator@example.com", "lastEditedAt": "Mon, 02 Nov 2026 10:00:00 UTC",
        "confidence": 1.0, "manualAnnotation": true,
        "classifications": [{"name": "Weather", "value": "weather", "featureHash": "AttWeath", "manualAnnotation": true,
            "answers": [{"name": "Sunny", "value": "sunny", "featureHash": "OptSunny"}]}],
    })
}

#[test]
#[ignore = "make kill-test; EDGELABEL_KILLS and EDGELABEL_SEED choose how often and which"]
fn killed_at_any_moment_it_loses_and_doubles_nothing() {
    let from = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let rounds = from("EDGELABEL_KILLS").unwrap_or(25) as usize;
    let seed = from("EDGELABEL_SEED").unwrap_or_else(|| getrandom::u64().unwrap());
    println!("kill: {rounds} rounds, seed {seed}");
    let dice = Dice(AtomicU64::new(seed));
    let begun = AtomicUsize::new(0);
    let seen: Mutex<BTreeMap<(String, Obstacle), usize>> = Mutex::default();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                let mut lane = Lane::new(&dice);
                while begun.fetch_add(1, Ordering::SeqCst) < rounds {
                    let what = lane.round();
                    let mut seen = seen.lock().unwrap();
                    *seen.entry(what).or_default() += 1;
                    let done: usize = seen.values().sum();
                    if done.is_multiple_of(10) {
                        println!("kill: {done} of {rounds} after {:.0?}", start.elapsed());
                    }
                }
            });
        }
    });
    let seen = seen.into_inner().unwrap();
    let mut stages: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
    for ((stage, obstacle), count) in &seen {
        stages.entry(&stage[2..]).or_default()[*obstacle as usize] += count;
    }
    println!("{:26}{:>10}{:>18}{:>12}{:>18}", "killed when", "healthy", "save unanswered", "save fails", "create unanswered");
    let mut ordered: Vec<&String> = seen.keys().map(|(stage, _)| stage).collect();
    ordered.dedup();
    for stage in ordered {
        let [none, unanswered, fails, create] = stages[&stage[2..]];
        println!("{:26}{none:>10}{unanswered:>18}{fails:>12}{create:>18}", &stage[2..]);
    }
    println!("kill: {} passed, 0 failed", seen.values().sum::<usize>());
}
