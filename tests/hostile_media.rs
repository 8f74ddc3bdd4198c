//! The fuzzers' seeds, cut, flipped and mixed: what `cargo test` can do of what the fuzzers do with more patience.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

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
