//! `POST /camera/NAME/capture`: a picture is taken, written down, delivered, and labelled if its camera has an agent, while the
//! caller waits a little.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::camera;
use crate::server::admin::Captured;
use crate::station::{Labeller, Shutters, Trouble};

use super::desk::Desk;

/// How long the caller waits for the delivery; after that the picture is the courier's.
const DELIVERY: Duration = Duration::from_secs(20);

/// Takes a picture with a camera, for the admin address.
pub(super) fn capture(shutters: &Shutters, desk: &Arc<Desk>, labeller: &Labeller, camera: &str) -> Captured {
    let taken = match shutters.press(camera) {
        Ok(taken) => taken,
        Err(trouble) => {
            tracing::warn!(%camera, cause = %trouble, "no picture was taken");
            return Captured { status: status_of(&trouble), facts: json!({ "camera": camera, "error": trouble.to_string() }) };
        }
    };
    let parts = desk.parts();
    let delivered = shutters.deliver(&taken, &parts.encord, &parts.store, DELIVERY);
    let labelled = delivered.as_ref().ok().and_then(|_| shutters.label(&taken, labeller));
    let failure = delivered.as_ref().err().or(labelled.as_ref().and_then(|labelled| labelled.as_ref().err()));
    let (status, fate) = match failure {
        None => (200, ""),
        Some(failure) if failure.may_pass() => (202, "waiting"),
        Some(_) => (502, "refused"),
    };
    let state = if delivered.is_ok() { "delivered" } else { fate };
    let label = labelled.as_ref().map(|labelled| labelled.as_ref().map_or(fate, |how| how.word()));
    let cause = failure.map(ToString::to_string);
    tracing::info!(
        %camera, picture = %taken.capture.id, title = %taken.capture.title, bytes = taken.capture.bytes, state,
        label = label.unwrap_or_default(), ms = taken.times.total.as_millis() as u64, steps = %taken.times,
        cause = cause.as_deref().unwrap_or_default(),
        "a picture is taken on demand"
    );
    let mut facts = json!({
        "camera": camera,
        "picture": taken.capture.id,
        "state": state,
        "title": taken.capture.title,
        "bytes": taken.capture.bytes,
        "width": taken.width,
        "height": taken.height,
        "settled": taken.settled,
        "milliseconds": taken.times.total.as_millis() as u64,
        "steps": taken.times.milliseconds(),
    });
    if let Ok(arrived) = delivered {
        facts["item"] = json!(arrived.item);
        facts["data"] = json!(arrived.data);
    }
    if let Some(label) = label {
        facts["label"] = json!(label);
    }
    if let Some(cause) = cause {
        facts["error"] = json!(cause);
    }
    Captured { status, facts }
}

fn status_of(trouble: &Trouble) -> u16 {
    match trouble {
        Trouble::Unknown { .. } => 404,
        Trouble::NoShelf { .. } => 409,
        Trouble::Busy { .. } | Trouble::Starting { .. } | Trouble::Over { .. } | Trouble::Camera(camera::Error::Busy { .. }) => 503,
        Trouble::Late { .. } | Trouble::Camera(camera::Error::Silent { .. }) => 504,
        Trouble::Camera(_) => 502,
        Trouble::Journal(_) => 500,
    }
}
