//! A service for `bench/frames.py`: `frames PROGRAM` with that `edgelabel` program answers each line
//! `URL FRAME OUTPUT.jpg` on its standard input with `done`, with warm workers and cache, the way the daemon does.
#![allow(missing_docs)]

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow};
use edgelabel::deadline::Deadline;
use edgelabel::http;
use edgelabel::media::{Media, Settings, Want};

fn main() -> anyhow::Result<()> {
    let program = std::env::args().nth(1).context("usage: frames PROGRAM")?.into();
    let cache_dir = std::env::var_os("EDGELABEL__MEDIA__CACHE_DIR").context("EDGELABEL__MEDIA__CACHE_DIR is not set")?;
    let media = Media::new(Settings {
        decoder: "software".into(),
        cache_dir: PathBuf::from(cache_dir),
        cache_bytes: 1 << 30,
        max_image_side: 1536,
        max_pixels: 200_000_000,
        jpeg_quality: 90,
        http: http::Settings::default(),
        workers: 1,
        program,
    })?;
    answer("ready")?;
    for line in std::io::stdin().lock().lines() {
        match frame(&media, &line?) {
            Ok(()) => answer("done")?,
            Err(error) => answer(&format!("failed: {error:#}"))?,
        }
    }
    Ok(())
}

fn frame(media: &Media, line: &str) -> anyhow::Result<()> {
    let [url, frame, output] = line.split(' ').collect::<Vec<_>>()[..] else { return Err(anyhow!("not URL FRAME OUTPUT")) };
    let want = Want { frame: frame.parse()?, ..Want::default() };
    let frame = media.frame_of_url(&url.parse()?, &want, &Deadline::after(Duration::from_secs(60)))?;
    let picture = frame.pictures.first().context("no picture")?;
    Ok(std::fs::write(output, &picture.bytes)?)
}

fn answer(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}
