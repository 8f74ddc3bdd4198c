//! Pictures of the box's cameras on their way to Encord. Each is written into the journal before anything else, and leaves it
//! when it is in its dataset, and labelled if it is to be: `deliver` takes one there step by step, `courier` sees to those that
//! wait, `labels` to their labels, `shutter` takes the daemon's own, and `sight` tells how its cameras are.

mod courier;
mod deliver;
mod labels;
mod shutter;
mod sight;

use std::time::Duration;

use serde_json::{Map, Value, json};

pub use courier::start as start_courier;
pub use deliver::{Failure, Leg, Route, finish};
pub use labels::{Labelled, Labeller, Task, label, start as start_labels};
pub use shutter::{Duty, Make, Shutters, Taken, Trouble};
pub use sight::Sight;

use crate::camera::{Settings, Shot};
use crate::encord::{Picture, Shelf};
use crate::ids::RequestId;
use crate::journal::{self, Capture, Labelling, State};

/// The time that one delivery may take, retries included.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// What becomes of a camera's shot.
pub fn picture_of(settings: &Settings, shot: Shot) -> Picture {
    let at = shot.at.replace_nanosecond(0).unwrap_or(shot.at).format(&time::format_description::well_known::Rfc3339).unwrap_or_default();
    let mut metadata = about(settings);
    metadata.insert("taken_at".into(), json!(at));
    Picture { jpeg: shot.jpeg, title: format!("{}-{}.jpg", settings.name, at.replace(':', "-")), metadata }
}

/// What is known of every picture of a camera.
pub fn about(settings: &Settings) -> Map<String, Value> {
    Map::from_iter([("camera".to_owned(), json!(settings.name)), ("device".to_owned(), json!(settings.device))])
}

/// A picture as it is written into the journal.
pub fn entry(camera: &str, shelf: &Shelf, labelling: Option<Labelling>, picture: &Picture) -> Capture {
    Capture {
        id: RequestId::random().to_string(),
        camera: camera.to_owned(),
        folder: shelf.folder.clone(),
        dataset: shelf.dataset.clone(),
        title: picture.title.clone(),
        metadata: Value::Object(picture.metadata.clone()).to_string(),
        bytes: picture.jpeg.len() as u64,
        leg: Leg::Taken.written(),
        labelling,
        delivered: false,
        state: State::Waiting,
        since: time::OffsetDateTime::now_utc(),
        attempts: 0,
        error: String::new(),
    }
}

fn report(noted: Result<(), journal::Error>) {
    if let Err(error) = noted {
        tracing::warn!(%error, "the journal cannot be written");
    }
}
