//! A picture's way from the camera, or from a file, to a dataset at Encord.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Map, Value, json};

use super::super::progress::Progress;
use super::super::{WrongUsage, print};
use crate::camera::{Camera, Settings, Shot};
use crate::config::Config;
use crate::deadline::Deadline;
use crate::encord::{Arrived, Encord, Picture};
use crate::http;

/// Bound on all steps at Encord and its store together.
const PATIENCE: Duration = Duration::from_secs(300);

/// Takes a picture, or a file that holds one, to the camera's dataset. One that cannot be delivered is kept as a file.
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
            taken(settings, shot)
        }
    };

    let begin = Instant::now();
    let progress = Progress::new("taking the picture to Encord");
    let arrived = encord.upload(&shelf, &picture, &store, &Deadline::after(PATIENCE));
    drop(progress);
    let arrived = arrived.with_context(|| match file {
        Some(file) => format!("{} is not at Encord", file.display()),
        None => keep(settings, &picture),
    })?;
    let facts = Facts { arrived, requests: encord.requests().total(), took: begin.elapsed() };
    print(&if json { facts.json(&picture) } else { facts.told(&picture) })?;
    Ok(ExitCode::SUCCESS)
}

struct Facts {
    arrived: Arrived,
    requests: u64,
    took: Duration,
}

impl Facts {
    fn json(&self, picture: &Picture) -> String {
        let facts = json!({
            "title": picture.title,
            "bytes": picture.jpeg.len(),
            "item": self.arrived.item,
            "data": self.arrived.data,
            "requests": self.requests,
            "milliseconds": self.took.as_millis() as u64,
        });
        format!("{facts}\n")
    }

    fn told(&self, picture: &Picture) -> String {
        let (title, bytes, data) = (&picture.title, picture.jpeg.len(), &self.arrived.data);
        format!("{title}: {bytes} bytes, data item {data}, {} requests, {} ms\n", self.requests, self.took.as_millis())
    }
}

fn taken(settings: &Settings, shot: Shot) -> Picture {
    let at = shot.at.replace_nanosecond(0).unwrap_or(shot.at).format(&time::format_description::well_known::Rfc3339).unwrap_or_default();
    let mut metadata = about(settings);
    metadata.insert("taken_at".into(), json!(at));
    Picture { jpeg: shot.jpeg, title: format!("{}-{}.jpg", settings.name, at.replace(':', "-")), metadata }
}

fn kept(settings: &Settings, file: &Path) -> anyhow::Result<Picture> {
    let jpeg = std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    if !jpeg.starts_with(&[0xff, 0xd8, 0xff]) {
        return Err(WrongUsage(format!("--picture {}: it is not a JPEG", file.display())).into());
    }
    let title = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Picture { jpeg, title, metadata: about(settings) })
}

fn about(settings: &Settings) -> Map<String, Value> {
    Map::from_iter([("camera".to_owned(), json!(settings.name)), ("device".to_owned(), json!(settings.device))])
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
