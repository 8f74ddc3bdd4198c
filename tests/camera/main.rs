//! The daemon with a camera, on a box without one: this program is edgelabel itself, whose cameras see the file that their device
//! names. From a picture to a labelled item, over real sockets, and by real processes that can be killed.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod cases;

use std::panic::catch_unwind;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use edgelabel::camera::{Camera, Error, FourCc, Settings, Shot, Times};

/// Sees the file, if it is there, as a camera that was plugged in.
fn camera(settings: Settings) -> Camera {
    Camera::seen_by(settings, std::sync::Arc::new(look))
}

fn look(settings: &Settings) -> Result<Shot, Error> {
    let begin = Instant::now();
    let jpeg = std::fs::read(&settings.device).map_err(|_| Error::Missing { device: settings.device.clone() })?;
    Ok(Shot {
        jpeg,
        width: 320,
        height: 240,
        format: FourCc(*b"MJPG"),
        path: settings.device.clone().into(),
        dropped: 0,
        settled: true,
        at: time::OffsetDateTime::now_utc(),
        times: Times { total: begin.elapsed().max(Duration::from_millis(1)), ..Times::default() },
    })
}

/// Runs the cases whose names contain the words, or all; or is the program, where a case or its decode worker wants that.
fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--config" || word == "decode-worker") {
        return edgelabel::cli::main_seeing(camera);
    }
    let wanted: Vec<&String> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let cases: Vec<_> = cases::ALL.iter().filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|word| name.contains(*word))).collect();
    if words.iter().any(|word| word == "--list") {
        cases.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", cases.len());
    let (begin, mut failed) = (Instant::now(), 0);
    for (name, case) in &cases {
        let passed = catch_unwind(case).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed += usize::from(!passed);
    }
    let (word, passed, out) = (if failed == 0 { "ok" } else { "FAILED" }, cases.len() - failed, cases::ALL.len() - cases.len());
    let took = begin.elapsed().as_secs_f64();
    println!(
        "\ntest result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured; {out} filtered out; finished in {took:.2}s\n"
    );
    ExitCode::from(if failed == 0 { 0 } else { 101 })
}
