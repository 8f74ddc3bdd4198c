//! Why a picture could not be taken, and what to do about it.

use std::path::PathBuf;
use std::time::Duration;

/// Why a camera gave no picture. Each names the camera's device and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// This build has no V4L2.
    #[error("this edgelabel was built without the feature v4l, so it has no cameras: build it with default features (needs libclang)")]
    NotBuilt,
    /// No device has this path or bus id.
    #[error(
        "camera {device} is not there: plug it in, or name one that `edgelabel capture` lists (a path under /dev/v4l/by-id stays the same)"
    )]
    Missing {
        /// As configured.
        device: String,
    },
    /// The user may not open it.
    #[error("this user may not open {}: add it to the group video, and allow char-video4linux in the unit (DeviceAllow=)", path.display())]
    Permission {
        /// The device node.
        path: PathBuf,
    },
    /// Another program streams from it, or a picture is being taken.
    #[error("camera {device} is in use: end the other program that has it open (fuser -v {device}), or try again")]
    Busy {
        /// The device.
        device: String,
    },
    /// It is no camera, or offers nothing that is understood.
    #[error("{device}: {what}")]
    Unusable {
        /// The device.
        device: String,
        /// What is wrong with it, and what would be right.
        what: String,
    },
    /// No frame within the time.
    #[error("camera {device} gave no usable frame within {} s: look at its cable and at `dmesg`, or raise the camera's timeout", patience.as_secs_f64())]
    Silent {
        /// The device.
        device: String,
        /// How long was waited.
        patience: Duration,
    },
    /// It was unplugged, or the driver failed.
    #[error("camera {device} failed: {cause}")]
    Failed {
        /// The device.
        device: String,
        /// In the system's words.
        cause: String,
    },
}

impl Error {
    /// For metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::NotBuilt => "not_built",
            Self::Missing { .. } => "missing",
            Self::Permission { .. } => "permission",
            Self::Busy { .. } => "busy",
            Self::Unusable { .. } => "unusable",
            Self::Silent { .. } => "silent",
            Self::Failed { .. } => "failed",
        }
    }
}
