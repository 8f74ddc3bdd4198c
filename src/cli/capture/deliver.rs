//! A picture's way from the camera, or from a file, to a dataset at Encord, and to its label there: written into the journal
//! first, so that it gets there whatever happens.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use serde_json::{Value, json};

use super::super::frame::usable_cache;
use super::super::progress::Progress;
use super::super::{WrongUsage, print};
use super::Arguments;
use crate::camera::{Camera, Settings, Times};
use crate::config::Config;
use crate::daemon::Alone;
use crate::deadline::Deadline;
use crate::encord::{Arrived, Encord, Picture};
use crate::http;
use crate::journal::{Bell, Capture, Held, Journal, Labelling};
use crate::station::{self, Failure, Labelled, Leg, PATIENCE, Route};

/// Takes a picture, or a file that holds one, to the camera's dataset. One that cannot be delivered, or labelled, now waits in
/// the journal.
pub(super) fn run(mut config: Config, camera: &Camera, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let (settings, file) = (camera.settings(), arguments.picture.as_deref());
    let lacks = |what: &str, remedy: &str| WrongUsage(format!("camera {:?} has no {what} in the configuration: {remedy}", settings.name));
    let shelf = config.shelf(&settings.name).ok_or_else(|| lacks("folder and dataset", "add them, or name a file with --output"))?;
    let labelling = match config.labelling(&settings.name) {
        None if arguments.label => return Err(lacks("agent and project", "add them, or leave --label out").into()),
        found => found.filter(|_| arguments.label),
    };
    // Whatever is wrong with the keys is told before anybody holds still for a picture.
    let journal = Arc::new(Journal::to_inspect(config.journal()));
    let (alone, (encord, store)) = if labelling.is_some() {
        config.file.media.cache_dir.0 = usable_cache(config.media().cache_dir);
        let alone = Alone::new(config, &journal)?;
        let parties = alone.parties();
        (Some(alone), parties)
    } else {
        (None, (Encord::new(config.encord()?)?, http::Client::new(&config.media().http)?))
    };
    let (picture, times) = match file {
        Some(file) => (kept(settings, file)?, None),
        None => {
            let progress = Progress::new("waiting for the camera");
            let shot = camera.take()?;
            drop(progress);
            let times = shot.times;
            (station::picture_of(settings, shot), Some(times))
        }
    };
    let entry = station::entry(&settings.name, &shelf, labelling, &picture);
    let route = Route { encord: &encord, store: &store };
    let way = Way { route, alone: alone.as_ref(), picture: &picture, times, begin: Instant::now() };
    let told = match journal.put_capture(&entry, &picture.jpeg) {
        Ok(held) => way.by_journal(&journal, &entry, &held)?,
        Err(error) => {
            eprintln!("warning: {error}; the picture is taken to Encord without it");
            way.without_journal(settings, &entry, file)?
        }
    };
    print(&if arguments.json { format!("{}\n", told.facts) } else { told.text })?;
    Ok(ExitCode::SUCCESS)
}

struct Way<'a> {
    route: Route<'a>,
    alone: Option<&'a Alone>,
    picture: &'a Picture,
    /// How long the camera took, if one did.
    times: Option<Times>,
    begin: Instant,
}

/// For people, and for programs.
struct Told {
    text: String,
    facts: Value,
}

impl Way<'_> {
    fn by_journal(&self, journal: &Journal, entry: &Capture, held: &Held) -> anyhow::Result<Told> {
        let progress = Progress::new("taking the picture to Encord");
        let done = station::finish(self.route, journal, entry, held, &Deadline::after(PATIENCE));
        drop(progress);
        let arrived = match done {
            Ok(arrived) => arrived,
            Err(failure) if failure.may_pass() => return Ok(self.waits(entry, &failure)),
            Err(failure) => {
                let told = format!("the picture is kept as {}: once that is mended, `edgelabel pending retry {0}`", entry.id);
                return Err(anyhow::Error::new(failure).context(told));
            }
        };
        let Some(alone) = self.alone else { return Ok(self.arrived(&arrived)) };
        let progress = Progress::new("waiting for the label");
        let done = station::label(journal, entry, held, &Bell::default(), &*alone.labeller());
        drop(progress);
        match done {
            Ok(how) => Ok(self.labelled(&arrived, how)),
            Err(failure) if failure.may_pass() => Ok(self.label_waits(&arrived, entry, &failure)),
            Err(failure) => {
                let told = format!(
                    "the picture is delivered as data item {}, and its label is kept open as {}: once that is mended, `edgelabel pending retry {1}`",
                    arrived.data, entry.id
                );
                Err(anyhow::Error::new(failure).context(told))
            }
        }
    }

    /// What nobody would deliver later is kept as a file.
    fn without_journal(&self, settings: &Settings, entry: &Capture, file: Option<&Path>) -> anyhow::Result<Told> {
        let progress = Progress::new("taking the picture to Encord");
        let shelf = crate::encord::Shelf { folder: entry.folder.clone(), dataset: entry.dataset.clone() };
        let done = self.route.deliver(&shelf, self.picture, Leg::Taken, |_| Ok(()), &Deadline::after(PATIENCE));
        drop(progress);
        let arrived = done.with_context(|| match file {
            Some(file) => format!("{} is not at Encord", file.display()),
            None => keep(settings, self.picture),
        })?;
        let (Some(alone), Some(labelling)) = (self.alone, &entry.labelling) else { return Ok(self.arrived(&arrived)) };
        let how = answer(alone, entry, labelling, &arrived)
            .with_context(|| format!("the picture is delivered as data item {}, without its label", arrived.data))?;
        Ok(self.labelled(&arrived, how))
    }

    fn arrived(&self, arrived: &Arrived) -> Told {
        let Picture { title, jpeg, .. } = self.picture;
        let (bytes, requests, took) = (jpeg.len(), self.route.encord.requests().total(), self.begin.elapsed().as_millis() as u64);
        let camera = self.times.map_or(String::new(), |times| format!("camera {} ms ({times}), ", times.total.as_millis()));
        let text = format!("{title}: {bytes} bytes, data item {}, {camera}{requests} requests, {took} ms\n", arrived.data);
        let mut facts = json!({
            "title": title,
            "bytes": bytes,
            "item": arrived.item,
            "data": arrived.data,
            "requests": requests,
            "milliseconds": took,
        });
        self.with_times(&mut facts);
        Told { text, facts }
    }

    fn with_times(&self, facts: &mut Value) {
        if let Some(times) = self.times {
            facts["capture"] = json!({ "milliseconds": times.total.as_millis() as u64, "steps": times.milliseconds() });
        }
    }

    fn labelled(&self, arrived: &Arrived, how: Labelled) -> Told {
        let mut told = self.arrived(arrived);
        told.facts["label"] = json!(how.word());
        told.text += match how {
            Labelled::Saved => "labelled\n",
            Labelled::Kept => "it was labelled already, which stays\n",
            Labelled::Queued => "the label waits to be saved, which the daemon does (edgelabel pending)\n",
        };
        told
    }

    fn label_waits(&self, arrived: &Arrived, entry: &Capture, failure: &Failure) -> Told {
        let mut told = self.arrived(arrived);
        told.facts["label"] = json!("waiting");
        told.facts["waits"] = json!(entry.id);
        told.facts["error"] = json!(failure.to_string());
        told.text +=
            &format!("the label waits as {}, and the daemon has it made once that has passed (edgelabel pending): {failure}\n", entry.id);
        told
    }

    fn waits(&self, entry: &Capture, failure: &Failure) -> Told {
        let Picture { title, jpeg, .. } = self.picture;
        let id = &entry.id;
        let text = format!("{title}: waits as {id}, and is delivered by the daemon once that has passed (edgelabel pending): {failure}\n");
        let mut facts = json!({"title": title, "bytes": jpeg.len(), "waits": id, "error": failure.to_string()});
        self.with_times(&mut facts);
        Told { text, facts }
    }
}

fn answer(alone: &Alone, entry: &Capture, labelling: &Labelling, arrived: &Arrived) -> anyhow::Result<Labelled> {
    let task = station::Task {
        id: entry.id.parse()?,
        labelling: labelling.clone(),
        dataset: entry.dataset.clone(),
        data: arrived.data.clone(),
        ending: Bell::default(),
    };
    let progress = Progress::new("waiting for the label");
    let done = (alone.labeller())(&task);
    drop(progress);
    Ok(done?)
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
