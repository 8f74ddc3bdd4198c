//! `POST /camera/NAME/capture`: a picture is taken, written down, and delivered while the caller waits a little.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::camera;
use crate::server::admin::Captured;
use crate::station::{Shutters, Trouble};

use super::desk::Desk;

/// How long the caller waits for the delivery; after that the picture is the courier's.
const DELIVERY: Duration = Duration::from_secs(20);

/// Takes a picture with a camera, for the admin address.
pub(super) fn capture(shutters: &Shutters, desk: &Arc<Desk>, camera: &str) -> Captured {
    let taken = match shutters.press(camera) {
        Ok(taken) => taken,
        Err(trouble) => {
            tracing::warn!(%camera, cause = %trouble, "no picture was taken");
            return Captured { status: status_of(&trouble), facts: json!({ "camera": camera, "error": trouble.to_string() }) };
        }
    };
    let parts = desk.parts();
    let delivered = shutters.deliver(&taken, &parts.encord, &parts.store, DELIVERY);
    let (status, state) = match &delivered {
        Ok(_) => (200, "delivered"),
        Err(failure) if failure.may_pass() => (202, "waiting"),
        Err(_) => (502, "refused"),
    };
    tracing::info!(
        %camera, picture = %taken.capture.id, title = %taken.capture.title, bytes = taken.capture.bytes, state,
        ms = taken.took.as_millis() as u64, cause = delivered.as_ref().err().map(ToString::to_string).unwrap_or_default(),
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
        "milliseconds": taken.took.as_millis() as u64,
    });
    match delivered {
        Ok(arrived) => {
            facts["item"] = json!(arrived.item);
            facts["data"] = json!(arrived.data);
        }
        Err(failure) => facts["error"] = json!(failure.to_string()),
    }
    Captured { status, facts }
}

fn status_of(trouble: &Trouble) -> u16 {
    match trouble {
        Trouble::Unknown { .. } => 404,
        Trouble::NoShelf { .. } => 409,
        Trouble::Busy { .. } | Trouble::Over { .. } | Trouble::Camera(camera::Error::Busy { .. }) => 503,
        Trouble::Late { .. } | Trouble::Camera(camera::Error::Silent { .. }) => 504,
        Trouble::Camera(_) => 502,
        Trouble::Journal(_) => 500,
    }
}
