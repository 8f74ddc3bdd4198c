//! The corpus in EDGELABEL_CORPUS, cut short and with bytes turned, and the fuzzers' files, through real decode workers.
//! Whatever comes in: the right picture or a clear error, within its time, and nothing is left behind.
//!
//! Run by `scripts/suites hostile_media`, for a minute and as far as that goes, or with EDGELABEL_HOSTILE=all by `make
//! hostile-media`: each file cut at 200 places and with 1,000 bytes turned, 25 in each of 40 copies.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use edgelabel::deadline::Deadline;
use edgelabel::media::index::{self, Found};
use edgelabel::media::source::Source;
use edgelabel::media::{Error, Frame, Media, Settings, Want};

const CUTS: usize = 200;
const COPIES: usize = 40;
const TURNED: usize = 25;

/// A trigger's budget.
const BUDGET: Duration = Duration::from_secs(55);

/// How long the short form goes on once every file had its turn.
const SHORT: Duration = Duration::from_secs(45);

/// Mean difference a channel up to which two small JPEGs show the same picture.
const SAME: f64 = 1.5;

/// What became of one harmed file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// The picture of the intact file.
    Right,
    /// A clear error.
    Refused,
    /// A clear error, and the worker that it cost was replaced.
    Stopped,
    /// Another picture where the harm reached the picture's own bytes or the index: what is shown is not defined.
    Undefined,
    /// Another picture, though nothing that the picture is made of was harmed.
    Wrong,
    /// The time ran out.
    Hung,
}

/// An intact file of the corpus, and one of its frames.
struct Subject {
    name: String,
    bytes: Vec<u8>,
    frame: u64,
    picture: Vec<u8>,
    /// Where each sample lies that the frame does not need; empty where there is no table.
    unneeded: Vec<(usize, usize)>,
}

#[derive(Clone, Copy)]
enum Harm {
    Cut(usize),
    Turned(u64),
}

#[test]
#[ignore = "needs the corpus; scripts/suites hostile"]
fn harmed_files_of_the_corpus_cost_nothing_but_their_own_trigger() {
    let corpus = PathBuf::from(std::env::var_os("EDGELABEL_CORPUS").unwrap_or("../shared/media".into()));
    let all = std::env::var("EDGELABEL_HOSTILE").is_ok_and(|form| form == "all");
    let dir = tempfile::tempdir().unwrap();
    let media = media(dir.path());
    media.prove(&Deadline::after(BUDGET)).unwrap();
    let (files, before) = (left_behind(dir.path()), open_files());

    let subjects = subjects(&media, &corpus);
    assert!(subjects.len() >= 40, "{} has only {} files that can be decoded", corpus.display(), subjects.len());
    let fuzzed = fuzzers_files();
    assert!(fuzzed.len() >= 20, "only {} files of the fuzzers", fuzzed.len());
    let jobs = jobs(subjects.len());
    eprintln!("{} files, {} ways to harm them, {} files of the fuzzers", subjects.len(), jobs.len(), fuzzed.len());

    let outcome = Outcome::default();
    for bytes in &fuzzed {
        outcome.note("fuzzed", fuzzed_verdict(&media, dir.path(), bytes), "a file of the fuzzers");
    }
    run(&media, dir.path(), &subjects, &jobs, all, &outcome);

    media.prove(&Deadline::after(BUDGET)).unwrap();
    assert_eq!(left_behind(dir.path()), files, "files were left behind");
    drop(media);
    assert!(open_files() <= before, "{} descriptors are open, {before} were", open_files());
    outcome.report();
}

fn media(dir: &Path) -> Media {
    Media::new(Settings {
        decoder: "software".to_owned(),
        cache_dir: dir.join("cache"),
        cache_bytes: 64 << 20,
        max_image_side: 256,
        max_pixels: 50_000_000,
        jpeg_quality: 90,
        http: edgelabel::http::Settings::default(),
        workers: 2,
        program: env!("CARGO_BIN_EXE_edgelabel").into(),
    })
    .unwrap()
}

/// Every file of the corpus of which a frame can be had; the frame is drawn by the file's name.
fn subjects(media: &Media, corpus: &Path) -> Vec<Subject> {
    let manifest = corpus.join("manifest.json");
    let text = std::fs::read_to_string(&manifest)
        .unwrap_or_else(|error| panic!("{}: {error}; EDGELABEL_CORPUS names the folder with manifest.json", manifest.display()));
    let manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
    let names = manifest["files"].as_array().unwrap().iter().map(|file| file["file"].as_str().unwrap());
    // What is damaged already has no right picture to compare with.
    let intact = names.filter(|name| !name.starts_with("bad_") && !name.contains("corrupted"));
    intact.filter_map(|name| subject(media, &corpus.join(name), name)).collect()
}

fn subject(media: &Media, path: &Path, name: &str) -> Option<Subject> {
    let bytes = std::fs::read(path).unwrap();
    let mut random = Random::new(name.bytes().fold(7, |sum, byte| sum * 31 + u64::from(byte)));
    // An early frame: it is the work before the damage that is cheap.
    let frame = random.below(24) as u64;
    let (frame, shown) = match media.frame_of_file(path, &want(frame), &Deadline::after(BUDGET)) {
        Ok(shown) => (frame, shown),
        Err(Error::FrameOutOfRange { .. }) => (0, media.frame_of_file(path, &want(0), &Deadline::after(BUDGET)).ok()?),
        Err(error) => {
            eprintln!("{name} is left out: {error}");
            return None;
        }
    };
    let unneeded = unneeded(&bytes, frame);
    Some(Subject { name: name.to_owned(), bytes, frame, picture: picture(shown), unneeded })
}

fn want(frame: u64) -> Want {
    Want { frame, regions: Vec::new(), lossless: false, max_side: None, quality: None }
}

fn picture(mut frame: Frame) -> Vec<u8> {
    frame.pictures.pop().unwrap().bytes
}

/// The samples that a frame does not need: whatever happens there must not show.
fn unneeded(bytes: &[u8], frame: u64) -> Vec<(usize, usize)> {
    let Ok(Found::Table(table)) = index::read(&mut Source::memory(bytes.to_vec())) else { return Vec::new() };
    let plan = table.plan(frame).unwrap();
    let span = |at: usize| (table.samples[at].offset as usize, table.samples[at].offset as usize + table.samples[at].size as usize);
    let needed: Vec<_> = plan.samples.clone().map(span).collect();
    let apart = |&(start, end): &(usize, usize)| end <= bytes.len() && needed.iter().all(|&(from, to)| end <= from || to <= start);
    (0..table.samples.len()).filter(|at| !plan.samples.contains(at)).map(span).filter(apart).collect()
}

/// Rounds over all files, so that also a short run sees each of them cut and turned.
fn jobs(files: usize) -> Vec<(usize, Harm)> {
    let round = |round: usize| {
        let harm = if round % 6 == 5 { Harm::Turned(round as u64 / 6) } else { Harm::Cut(round - round / 6) };
        (0..files).map(move |file| (file, harm))
    };
    let rounds = CUTS + COPIES;
    (0..rounds).map(|at| (at * 7 + 5) % rounds).flat_map(round).collect()
}

/// Works through the jobs, two at a time. The short form stops when its time is over, but not before the second round.
fn run(media: &Media, dir: &Path, subjects: &[Subject], jobs: &[(usize, Harm)], all: bool, outcome: &Outcome) {
    let (next, begun) = (AtomicUsize::new(0), Instant::now());
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (media, next) = (media.clone(), &next);
            let path = dir.join(format!("harmed-{thread}"));
            scope.spawn(move || {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(&(file, harm)) = jobs.get(at) else { break };
                    if !all && at >= 2 * subjects.len() && begun.elapsed() > SHORT {
                        break;
                    }
                    let subject = &subjects[file];
                    let (kind, verdict) = attempt(&media, &path, subject, harm);
                    let told = match harm {
                        Harm::Cut(place) => format!("{} frame {} cut at place {place} of {CUTS}", subject.name, subject.frame),
                        Harm::Turned(seed) => format!("{} frame {} turned with seed {seed}", subject.name, subject.frame),
                    };
                    outcome.note(kind, verdict, &told);
                    if at % 1000 == 999 {
                        eprintln!("{} of {} after {} s", at + 1, jobs.len(), begun.elapsed().as_secs());
                    }
                }
                let _ = std::fs::remove_file(&path);
            });
        }
    });
}

fn attempt(media: &Media, path: &Path, subject: &Subject, harm: Harm) -> (&'static str, Verdict) {
    let mut bytes = subject.bytes.clone();
    let (kind, defined) = match harm {
        Harm::Cut(place) => {
            // A byte more or less is not the same place in every file.
            let end = (bytes.len() as u64 * place as u64 / CUTS as u64) as usize + place % 7;
            bytes.truncate(end.min(subject.bytes.len().saturating_sub(1)));
            ("cut", true)
        }
        Harm::Turned(seed) => {
            let mut random = Random::new(seed * 1_000_003 + subject.bytes.len() as u64);
            let places: Vec<usize> = (0..TURNED).map(|_| random.below(subject.bytes.len())).collect();
            for &place in &places {
                bytes[place] ^= 1 + random.below(255) as u8;
            }
            let harmless = |place: usize| subject.unneeded.iter().any(|&(start, end)| (start..end).contains(&place));
            ("turned", places.into_iter().all(harmless))
        }
    };
    std::fs::write(path, &bytes).unwrap();
    let found = media.frame_of_file(path, &want(subject.frame), &Deadline::after(BUDGET));
    (kind, verdict(found, &subject.picture, defined))
}

fn verdict(found: Result<Frame, Error>, right: &[u8], defined: bool) -> Verdict {
    match found {
        Ok(frame) => {
            let shown = picture(frame);
            if shown == right || difference(&shown, right) <= SAME {
                Verdict::Right
            } else if defined {
                Verdict::Wrong
            } else {
                Verdict::Undefined
            }
        }
        Err(Error::Deadline(_)) => Verdict::Hung,
        Err(Error::Broken { cause, .. }) if cause.contains("was stopped") => Verdict::Stopped,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            Verdict::Refused
        }
    }
}

fn fuzzed_verdict(media: &Media, dir: &Path, bytes: &[u8]) -> Verdict {
    let path = dir.join("fuzzed");
    std::fs::write(&path, bytes).unwrap();
    let found = media.frame_of_file(&path, &want(0), &Deadline::after(BUDGET));
    std::fs::remove_file(&path).unwrap();
    // Nobody knows what such a file should show.
    verdict(found, &[], false)
}

fn difference(a: &[u8], b: &[u8]) -> f64 {
    let (Ok(a), Ok(b)) = (image::load_from_memory(a), image::load_from_memory(b)) else { return f64::INFINITY };
    let (a, b) = (a.into_rgb8(), b.into_rgb8());
    if a.dimensions() != b.dimensions() {
        return f64::INFINITY;
    }
    let sum: u64 = a.as_raw().iter().zip(b.as_raw()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / a.as_raw().len() as f64
}

/// The seeds, and what the fuzzers found from there if they ran here.
fn fuzzers_files() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for target in ["mp4", "matroska", "still"] {
        for folder in ["fuzz/corpus-seeds", "fuzz/artifacts", "target/fuzz/corpus"] {
            let entries = std::fs::read_dir(root.join(folder).join(target)).into_iter().flatten().flatten();
            let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
            paths.sort();
            // A long run finds thousands: a few hundred spread over all of them will do.
            let every = 1 + paths.len() / 200;
            found.extend(paths.iter().step_by(every).map(|path| std::fs::read(path).unwrap()));
        }
    }
    found
}

/// What lies where a worker could leave something: its daemon's cache, and the shared folders for temporary files.
fn left_behind(dir: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path);
            }
        }
    }
    for folder in ["/tmp", "/dev/shm", "/var/tmp"] {
        let names = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        found.extend(names.filter(|path| path.to_string_lossy().contains("edgelabel") || path.to_string_lossy().contains("gst")));
    }
    found
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[derive(Default)]
struct Outcome {
    counts: Mutex<BTreeMap<(&'static str, Verdict), usize>>,
}

impl Outcome {
    fn note(&self, kind: &'static str, verdict: Verdict, told: &str) {
        *self.counts.lock().unwrap().entry((kind, verdict)).or_default() += 1;
        if matches!(verdict, Verdict::Wrong | Verdict::Hung | Verdict::Stopped) {
            eprintln!("{verdict:?}: {told}");
        }
    }

    fn report(&self) {
        let counts = self.counts.lock().unwrap();
        let of = |kind, verdict| counts.get(&(kind, verdict)).copied().unwrap_or(0);
        const ALL: [Verdict; 6] = [Verdict::Right, Verdict::Refused, Verdict::Stopped, Verdict::Undefined, Verdict::Wrong, Verdict::Hung];
        println!("{:<8} {}", "", ALL.map(|verdict| format!("{:>10}", format!("{verdict:?}").to_lowercase())).join(""));
        for kind in ["cut", "turned", "fuzzed"] {
            println!("{kind:<8} {}", ALL.map(|verdict| format!("{:>10}", of(kind, verdict))).join(""));
        }
        let sum =
            |wanted: &[Verdict]| counts.iter().filter(|((_, verdict), _)| wanted.contains(verdict)).map(|(_, count)| count).sum::<usize>();
        let bad = sum(&[Verdict::Wrong, Verdict::Hung]);
        println!("hostile: {} passed, {bad} failed", sum(&ALL) - bad);
        assert_eq!(bad, 0, "wrong pictures or hangs");
        assert!(of("cut", Verdict::Right) > 0 && of("cut", Verdict::Refused) > 0 && of("turned", Verdict::Right) > 0);
    }
}

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }
}
