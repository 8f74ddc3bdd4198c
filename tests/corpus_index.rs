//! Sample tables of the corpus against what ffmpeg says of the same files (`manifest.json` beside them).
//!
//! The corpus is found by `EDGELABEL_CORPUS`, or beside the repository in `../shared/media`; without it these tests fail.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::PathBuf;

use edgelabel::media::index::{self, Found, SampleTable};
use edgelabel::media::source::Source;
use serde_json::Value;

fn corpus() -> PathBuf {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/media");
    std::env::var_os("EDGELABEL_CORPUS").map_or_else(beside, PathBuf::from)
}

fn manifest() -> Vec<Value> {
    let path = corpus().join("manifest.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}; set EDGELABEL_CORPUS", path.display()));
    let manifest: Value = serde_json::from_str(&text).expect("the manifest is JSON");
    manifest["files"].as_array().expect("the manifest lists files").clone()
}

fn open(entry: &Value) -> Source {
    let path = corpus().join(entry["file"].as_str().expect("a file name"));
    Source::file(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Files whose pictures are fewer than their samples because some cannot be decoded: nothing a container could tell.
const DAMAGED: [&str; 3] = ["bad_flipped_bytes.mp4", "bad_truncated_faststart.mp4", "real_decord_corrupted.mp4"];

fn is(entry: &Value, container: &str) -> bool {
    entry["expect"] == "frames" && entry["container"].as_str().is_some_and(|found| found.split(',').any(|name| name == container))
}

fn table_of(entry: &Value) -> SampleTable {
    match index::read(&mut open(entry)) {
        Ok(Found::Table(table)) => *table,
        other => panic!("{}: {other:?}", entry["file"]),
    }
}

/// Everything that is wrong with one table, in words.
fn faults(entry: &Value) -> Vec<String> {
    let table = table_of(entry);
    let name = entry["file"].as_str().unwrap_or_default();
    let mut faults = Vec::new();
    if SampleTable::from_bytes(&table.to_bytes()).as_ref() != Some(&table) {
        faults.push(format!("{name}: the table does not come back from its bytes"));
    }
    let mut compare = |what: &str, ours: u64, theirs: &Value| {
        if theirs.as_u64() != Some(ours) {
            faults.push(format!("{name}: {what} {ours}, ffmpeg says {theirs}"));
        }
    };
    if !DAMAGED.contains(&name) {
        compare("frames", table.count(), &entry["n_frames"]);
        compare("sync samples", table.samples.iter().filter(|sample| sample.sync).count() as u64, &entry["keyframes"]);
    }
    compare("rotation", table.turn.clockwise.into(), &entry["rotation"]);
    let codec = table.codec.name();
    let theirs = entry["codec"].as_str().map(|codec| if codec == "hevc" { "h265" } else { codec });
    if theirs != Some(codec) {
        faults.push(format!("{name}: codec {codec}, ffmpeg says {theirs:?}"));
    }
    for frame in 0..table.count() {
        let plan = table.plan(frame).expect("the frame exists");
        let ends = plan.samples.contains(&plan.target) && plan.tickets.len() == plan.samples.len();
        if !ends || !(table.samples[plan.samples.start].sync || plan.samples.start == 0) {
            faults.push(format!("{name}: frame {frame} has the plan {plan:?}"));
        }
    }
    faults
}

fn no_faults(container: &str, at_least: usize) {
    let files: Vec<Value> = manifest().into_iter().filter(|entry| is(entry, container)).collect();
    assert!(files.len() >= at_least, "the corpus has only {} files in {container}", files.len());
    let faults: Vec<String> = files.iter().flat_map(faults).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn movies_have_the_frames_that_ffmpeg_shows() {
    no_faults("mp4", 40);
}

#[test]
fn matroska_and_webm_have_the_frames_that_ffmpeg_shows() {
    no_faults("matroska", 10);
}

#[test]
fn what_is_no_video_is_told_so() {
    let bad: Vec<Value> = manifest().into_iter().filter(|entry| entry["expect"] == "error").collect();
    assert!(!bad.is_empty());
    for entry in bad {
        let found = index::read(&mut open(&entry));
        assert!(matches!(found, Err(_) | Ok(Found::Unknown { .. })), "{}: {found:?}", entry["file"]);
    }
}

#[test]
fn containers_without_a_table_are_left_to_counting() {
    let others: Vec<Value> =
        manifest().into_iter().filter(|entry| entry["expect"] == "frames" && !is(entry, "mp4") && !is(entry, "matroska")).collect();
    assert!(others.len() >= 5);
    for entry in others {
        let found = index::read(&mut open(&entry));
        let Ok(Found::Sequential { container, .. }) = found else { panic!("{}: {found:?}", entry["file"]) };
        assert_eq!(entry["container"], container, "{}", entry["file"]);
    }
}
