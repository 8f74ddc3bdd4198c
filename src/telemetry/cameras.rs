//! What the box's cameras give, in Prometheus' text form.

use super::metrics::{Page, plain};

/// What a picture's time goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CameraStep {
    /// Opening the device, up to its first whole frame.
    FirstFrame,
    /// Waiting for the exposure to settle.
    Settling,
    /// Making a JPEG.
    Encoding,
    /// All of it.
    Total,
}

impl CameraStep {
    pub(super) const ALL: [Self; 4] = [Self::FirstFrame, Self::Settling, Self::Encoding, Self::Total];

    /// The name in metrics, logs and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::FirstFrame => "first_frame",
            Self::Settling => "settling",
            Self::Encoding => "encoding",
            Self::Total => "total",
        }
    }
}

/// One configured camera at the moment it is looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CameraReading {
    /// Its name.
    pub name: String,
    /// Whether it is there, and gave a picture when it was last asked for one.
    pub well: bool,
    /// When it last gave one, in seconds since 1970.
    pub last_picture: Option<i64>,
}

pub(super) fn render(cameras: &[CameraReading], page: &mut Page) {
    let labels = |camera: &CameraReading| format!("camera=\"{}\"", plain(&camera.name));
    page.head("edgelabel_camera_up", "gauge", "1 if a camera is there and gave its last picture, 0 if not.");
    for camera in cameras {
        page.line("edgelabel_camera_up", &labels(camera), u8::from(camera.well));
    }
    page.head("edgelabel_camera_last_picture_seconds", "gauge", "When a camera last gave a picture, in seconds since 1970.");
    for camera in cameras {
        if let Some(at) = camera.last_picture {
            page.line("edgelabel_camera_last_picture_seconds", &labels(camera), at);
        }
    }
}
