//! What the configuration says about one camera (`[[camera]]`).

use std::path::Path;
use std::time::Duration;

/// One camera.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What people and addresses call it.
    pub name: String,
    /// A path (`/dev/v4l/by-id/…`, `/dev/video0`), or the bus id that `edgelabel capture` lists.
    pub device: String,
    /// Which of the camera's formats is asked for.
    pub format: Format,
    /// Width and height to ask for; the camera's own choice without.
    pub size: Option<(u32, u32)>,
    /// Bound on one picture, the settling included.
    pub timeout: Duration,
    /// How long the exposure may take to settle; zero takes the first whole frame.
    pub settle: Duration,
    /// Of pictures that do not come as JPEG, 1 to 100.
    pub jpeg_quality: u8,
}

impl Settings {
    /// Whether the device is there, if a look at its path tells; of one that is named by its bus id, a picture does.
    pub fn is_plugged_in(&self) -> Option<bool> {
        // A path that may not be looked at tells nothing.
        self.device.starts_with('/').then(|| Path::new(&self.device).try_exists().ok()).flatten()
    }
}

/// A camera's pixel format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JPEG where the camera makes it, else the first that is understood.
    Auto,
    /// One JPEG a frame.
    Mjpeg,
    /// 4:2:2, packed.
    Yuyv,
    /// 4:2:0, two planes.
    Nv12,
    /// 24 bits a pixel.
    Rgb,
}
