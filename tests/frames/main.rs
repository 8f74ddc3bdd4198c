//! Frames through real decode workers: the right one, upright, in the asked form, whatever happens to a worker.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod build;
mod clip;
mod contained;
mod contradictions;
mod damage;
mod hardware;
mod kept;
mod pictures;
mod without_libav;
mod workers;

use std::path::Path;
use std::time::Duration;

use edgelabel::deadline::Deadline;
use edgelabel::http;
use edgelabel::media::{Media, Settings, Want};

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_edgelabel");

/// Media with one warm worker and its cache in `dir`.
fn media(dir: &Path) -> Media {
    Media::new(settings(dir)).unwrap()
}

fn settings(dir: &Path) -> Settings {
    Settings {
        decoder: "software".to_owned(),
        cache_dir: dir.join("cache"),
        cache_bytes: 64 << 20,
        max_image_side: 1536,
        max_pixels: 50_000_000,
        jpeg_quality: 90,
        http: http::Settings::default(),
        workers: 1,
        program: PROGRAM.into(),
    }
}

/// The whole frame, lossless.
fn whole(frame: u64) -> Want {
    Want { frame, lossless: true, ..Want::default() }
}

/// Generous: other tests run meanwhile.
fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}
