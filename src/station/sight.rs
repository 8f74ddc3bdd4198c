//! How the daemon's cameras are: what came of the last picture, and whether the device is there now.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;

use super::shutter::{Duty, Trouble};
use crate::camera::Error;

/// One camera at the moment it is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// Its name.
    pub camera: String,
    /// Where it is.
    pub device: String,
    /// How often it takes a picture unasked.
    pub interval: Option<Duration>,
    /// When it last gave a picture to the daemon that runs, as it is configured.
    pub last_picture: Option<OffsetDateTime>,
    /// Why it gives none, and the remedy; nothing while it is well.
    pub trouble: Option<String>,
}

/// What a camera's thread remembers of its pictures.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<(Option<OffsetDateTime>, Option<Cause>)>);

#[derive(Debug)]
struct Cause {
    told: String,
    /// Whether all that was wrong is seen without taking another picture.
    missing: bool,
}

impl Memory {
    pub(super) fn note_picture(&self) {
        *self.lock() = (Some(OffsetDateTime::now_utc()), None);
    }

    /// What says nothing about the camera is not remembered.
    pub(super) fn note_trouble(&self, trouble: &Trouble) {
        if trouble.word().is_some() {
            let missing = matches!(trouble, Trouble::Camera(Error::Missing { .. }));
            self.lock().1 = Some(Cause { told: trouble.to_string(), missing });
        }
    }

    /// A camera that is pulled out or put back is seen to be, whether or not anybody wants a picture of it.
    pub(super) fn sight(&self, duty: &Duty) -> Sight {
        let camera = &duty.camera;
        let held = self.lock();
        let trouble = match camera.is_plugged_in() {
            Some(false) => Some(Error::Missing { device: camera.device.clone() }.to_string()),
            Some(true) => held.1.as_ref().filter(|cause| !cause.missing).map(|cause| cause.told.clone()),
            None => held.1.as_ref().map(|cause| cause.told.clone()),
        };
        let (camera, device) = (camera.name.clone(), camera.device.clone());
        Sight { camera, device, interval: duty.interval, last_picture: held.0, trouble }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (Option<OffsetDateTime>, Option<Cause>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::camera::{Format, Settings};

    fn duty(device: &str) -> Duty {
        let camera = Settings {
            name: "gate".into(),
            device: device.into(),
            format: Format::Auto,
            size: None,
            timeout: Duration::from_secs(1),
            settle: Duration::ZERO,
            jpeg_quality: 90,
        };
        Duty { camera, shelf: None, labelling: None, interval: None }
    }

    fn missing(device: &str) -> Trouble {
        Trouble::Camera(Error::Missing { device: device.into() })
    }

    #[test]
    fn a_camera_that_is_away_is_seen_without_a_picture_and_so_is_its_return() {
        let folder = tempfile::tempdir().unwrap();
        let device = folder.path().join("video0").display().to_string();
        let (memory, duty) = (Memory::default(), duty(&device));
        assert!(memory.sight(&duty).trouble.unwrap().contains("is not there"));
        memory.note_trouble(&missing(&device));
        std::fs::write(&device, "").unwrap();
        assert_eq!(memory.sight(&duty).trouble, None);
        // What else was wrong is wrong until there is a picture.
        memory.note_trouble(&Trouble::Camera(Error::Busy { device: device.clone() }));
        assert!(memory.sight(&duty).trouble.unwrap().contains("is in use"));
        memory.note_trouble(&Trouble::Over { camera: "gate".into() });
        assert!(memory.sight(&duty).trouble.unwrap().contains("is in use"));
        memory.note_picture();
        let sight = memory.sight(&duty);
        assert!(sight.trouble.is_none() && sight.last_picture.is_some(), "{sight:?}");
    }

    #[test]
    fn a_camera_that_is_named_by_its_bus_is_as_its_last_picture_was() {
        let (memory, duty) = (Memory::default(), duty("usb-0000:00:14.0-1"));
        assert_eq!(memory.sight(&duty).trouble, None);
        memory.note_trouble(&missing("usb-0000:00:14.0-1"));
        assert!(memory.sight(&duty).trouble.unwrap().contains("is not there"));
    }
}
