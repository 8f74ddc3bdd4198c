//! A picture's way from the camera, or from a file, to a dataset at Encord: written into the journal first, so that it gets
//! there whatever happens.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::json;

use super::super::progress::Progress;
use super::super::{WrongUsage, print};
use crate::camera::{Camera, Settings};
use crate::config::Config;
use crate::deadline::Deadline;
use crate::encord::{Arrived, Encord, Picture, Shelf};
use crate::http;
use crate::journal::{Capture, Held, Journal};
use crate::station::{self, Failure, Leg, PATIENCE, Route};

/// Takes a picture, or a file that holds one, to the camera's dataset. One that cannot be delivered now waits in the journal.
pub(super) fn run(config: &Config, settings: &Settings, file: Option<&Path>, json: bool) -> anyhow::Result<ExitCode> {
    let shelf = config.shelf(&settings.name).ok_or_else(|| {
        WrongUsage(format!(
            "camera {:?} has no folder and dataset in the configuration: add them, or name a file with --output",
            settings.name
        ))
    })?;
    // Whatever is wrong with the key is told before anybody holds still for a picture.
    let encord = Encord::new(config.encord()?)?;
    let store = http::Client::new(&config.media().http)?;
    let picture = match file {
        Some(file) => kept(settings, file)?,
        None => {
            let progress = Progress::new("waiting for the camera");
            let shot = Camera::new(settings.clone()).take()?;
            drop(progress);
            station::picture_of(settings, shot)
        }
    };
    let way = Way { route: Route { encord: &encord, store: &store }, shelf: &shelf, picture: &picture, json };
    let (journal, entry) = (Journal::to_inspect(config.journal()), station::entry(&settings.name, &shelf, &picture));
    match journal.put_capture(&entry, &picture.jpeg) {
        Ok(held) => way.by_journal(&journal, &entry, &held),
        Err(error) => {
            eprintln!("warning: {error}; the picture is taken to Encord without it");
            way.without_journal(settings, file)
        }
    }
}

struct Way<'a> {
    route: Route<'a>,
    shelf: &'a Shelf,
    picture: &'a Picture,
    json: bool,
}

impl Way<'_> {
    fn by_journal(&self, journal: &Journal, entry: &Capture, held: &Held) -> anyhow::Result<ExitCode> {
        let begin = Instant::now();
        let progress = Progress::new("taking the picture to Encord");
        let done = station::finish(self.route, journal, entry, held, &Deadline::after(PATIENCE));
        drop(progress);
        match done {
            Ok(arrived) => print(&self.arrived(&arrived, begin.elapsed()))?,
            Err(failure) if failure.may_pass() => print(&self.waits(entry, &failure))?,
            Err(failure) => {
                let told = format!("the picture is kept as {}: once that is mended, `edgelabel pending retry {0}`", entry.id);
                return Err(anyhow::Error::new(failure).context(told));
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    /// What nobody would deliver later is kept as a file.
    fn without_journal(&self, settings: &Settings, file: Option<&Path>) -> anyhow::Result<ExitCode> {
        let begin = Instant::now();
        let progress = Progress::new("taking the picture to Encord");
        let done = self.route.deliver(self.shelf, self.picture, Leg::Taken, |_| Ok(()), &Deadline::after(PATIENCE));
        drop(progress);
        let arrived = done.with_context(|| match file {
            Some(file) => format!("{} is not at Encord", file.display()),
            None => keep(settings, self.picture),
        })?;
        print(&self.arrived(&arrived, begin.elapsed()))?;
        Ok(ExitCode::SUCCESS)
    }

    fn arrived(&self, arrived: &Arrived, took: Duration) -> String {
        let Picture { title, jpeg, .. } = self.picture;
        let (bytes, requests, took) = (jpeg.len(), self.route.encord.requests().total(), took.as_millis() as u64);
        if !self.json {
            return format!("{title}: {bytes} bytes, data item {}, {requests} requests, {took} ms\n", arrived.data);
        }
        let facts = json!({
            "title": title,
            "bytes": bytes,
            "item": arrived.item,
            "data": arrived.data,
            "requests": requests,
            "milliseconds": took,
        });
        format!("{facts}\n")
    }

    fn waits(&self, entry: &Capture, failure: &Failure) -> String {
        let Picture { title, jpeg, .. } = self.picture;
        if self.json {
            return format!("{}\n", json!({"title": title, "bytes": jpeg.len(), "waits": entry.id, "error": failure.to_string()}));
        }
        let id = &entry.id;
        format!("{title}: waits as {id}, and is delivered by the daemon once that has passed (edgelabel pending): {failure}\n")
    }
}

fn kept(settings: &Settings, file: &Path) -> anyhow::Result<Picture> {
    let jpeg = std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    if !jpeg.starts_with(&[0xff, 0xd8, 0xff]) {
        return Err(WrongUsage(format!("--picture {}: it is not a JPEG", file.display())).into());
    }
    let title = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Picture { jpeg, title, metadata: station::about(settings) })
}

/// Saves what could not be delivered, and says how to deliver it.
fn keep(settings: &Settings, picture: &Picture) -> String {
    // Never over a file that is there, nor through a link.
    let file = std::fs::File::create_new(&picture.title);
    match file.and_then(|mut file| std::io::Write::write_all(&mut file, &picture.jpeg)) {
        Ok(()) => format!("the picture is kept: deliver it with `edgelabel capture {} --picture {}`", settings.name, picture.title),
        Err(error) => format!("the picture is lost: {} cannot be written here ({error})", picture.title),
    }
}
