//! The fuzzers' seeds, cut, flipped and mixed: what `cargo test` can do of what the fuzzers do with more patience.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use edgelabel::encord::auth::Key;
use edgelabel::encord::{Answer, AnswerValue, AttributeAnswer, Ontology, PreparedAnswer};
use edgelabel::ids::{FeatureNodeHash, Secret};
use edgelabel::media::{index, still};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Beyond this a target stops where it is.
const PATIENCE: Duration = Duration::from_secs(10);
const CASES: u32 = 20_000;

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus-seeds").join(target);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let seeds: Vec<Vec<u8>> = entries.map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect();
    assert!(seeds.len() > 4, "{} has only {} seeds", folder.display(), seeds.len());
    seeds
}

/// One thing that happens to bytes on their way.
#[derive(Debug, Clone)]
enum Harm {
    Flip(prop::sample::Index, u8),
    /// A 32-bit number becomes one that tempts: a length, a count, a size.
    Number(prop::sample::Index, u32),
    Cut(prop::sample::Index),
    Remove(prop::sample::Index, u8),
    /// A stretch is written once more behind itself.
    Repeat(prop::sample::Index, u8),
}

fn harm() -> impl Strategy<Value = Harm> {
    let number = prop::sample::select(vec![0, 1, 2, 7, 8, 0x7f, 0xff, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_fff0, u32::MAX]);
    prop_oneof![
        6 => (any::<prop::sample::Index>(), 1..=u8::MAX).prop_map(|(at, bits)| Harm::Flip(at, bits)),
        4 => (any::<prop::sample::Index>(), number).prop_map(|(at, number)| Harm::Number(at, number)),
        1 => any::<prop::sample::Index>().prop_map(Harm::Cut),
        1 => (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, length)| Harm::Remove(at, length)),
        1 => (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, length)| Harm::Repeat(at, length)),
    ]
}

impl Harm {
    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let place = |at: &prop::sample::Index| at.index(bytes.len());
        match self {
            Self::Flip(at, bits) => {
                let at = place(at);
                bytes[at] ^= bits;
            }
            Self::Number(at, number) => {
                let at = place(at);
                bytes.iter_mut().skip(at).zip(number.to_be_bytes()).for_each(|(byte, new)| *byte = new);
            }
            Self::Cut(at) => bytes.truncate(place(at)),
            Self::Remove(at, length) => {
                let at = place(at);
                bytes.drain(at..(at + usize::from(*length)).min(bytes.len()));
            }
            Self::Repeat(at, length) => {
                let at = place(at);
                let stretch = bytes[at..(at + usize::from(*length)).min(bytes.len())].to_vec();
                bytes.splice(at..at, stretch);
            }
        }
    }
}

/// Runs `target` over harmed seeds; a panic in it is a failure, with the bytes shrunk to the least harm.
fn survive(name: &str, target: fn(&[u8])) {
    let seeds = seeds(name);
    let started = Instant::now();
    for seed in &seeds {
        target(seed);
        (0..seed.len().min(600)).for_each(|cut| target(&seed[..cut]));
    }
    let strategy = (prop::sample::select(seeds), prop::collection::vec(harm(), 1..6));
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&strategy, |(mut bytes, harms)| {
        if started.elapsed() < PATIENCE {
            harms.iter().for_each(|harm| harm.apply(&mut bytes));
            target(&bytes);
        }
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{name}: {error}");
    }
}

#[test]
fn harmed_movies_are_read_or_refused() {
    survive("mp4", index::fuzz_index);
}

#[test]
fn harmed_matroska_files_are_read_or_refused() {
    survive("matroska", index::fuzz_index);
}

#[test]
fn harmed_pictures_are_decoded_or_refused() {
    survive("still", still::fuzz_still);
}

type Target = fn(&[u8]);

/// What each target of `fuzz/` does with its input.
const TARGETS: [(&str, Target); 14] = [
    ("config", |bytes| edgelabel::config::fuzz_config(&String::from_utf8_lossy(bytes))),
    ("encord_answer", |bytes| edgelabel::encord::fuzz_encord_answer(&String::from_utf8_lossy(bytes))),
    ("kept_index", index::fuzz_kept_index),
    ("label_row", label_row),
    ("matroska", index::fuzz_index),
    ("model_answer", edgelabel::model::fuzz_answer),
    ("mp4", index::fuzz_index),
    ("ontology", |bytes| drop(Ontology::from_json(&String::from_utf8_lossy(bytes)))),
    ("payload", edgelabel::server::fuzz_payload),
    ("range_answer", |bytes| edgelabel::media::bytes::fuzz_range_answer(&String::from_utf8_lossy(bytes))),
    ("signature", edgelabel::server::fuzz_signature),
    ("ssh_key", |bytes| drop(Key::parse(&Secret::new(String::from_utf8_lossy(bytes)), "fuzzed", None))),
    ("still", still::fuzz_still),
    ("worker_says", edgelabel::media::worker::fuzz_worker_says),
];

fn label_row(bytes: &[u8]) {
    let ontology = Ontology::from_json(include_str!("support/ontology.json")).unwrap();
    let value = AnswerValue::Choice(FeatureNodeHash::new("Opt+Rain"));
    let attributes = vec![AttributeAnswer { attribute: FeatureNodeHash::new("AttWeath"), value }];
    let answer = Answer { feature: FeatureNodeHash::new("Cls/Weat"), attributes };
    let prepared = PreparedAnswer::new(&ontology, &answer, 0.5, time::OffsetDateTime::UNIX_EPOCH).unwrap();
    let Some((&frame, text)) = bytes.split_first() else { return };
    edgelabel::encord::fuzz_label_row(&String::from_utf8_lossy(text), &prepared, u64::from(frame % 16));
}

#[test]
fn what_the_fuzzers_found_once_holds_ever_after() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let names = |folder: &str| -> BTreeSet<String> {
        let entries = std::fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    let known: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names("corpus-seeds"), known);
    assert_eq!(names("fuzz_targets"), known);
    for (name, target) in TARGETS {
        for entry in std::fs::read_dir(root.join("corpus-seeds").join(name)).unwrap() {
            let path = entry.unwrap().path();
            eprintln!("{}", path.display());
            target(&std::fs::read(&path).unwrap());
        }
    }
}
