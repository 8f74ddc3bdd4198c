//! The V4L2 devices of the box: cameras, which pictures are taken with, and codec devices, which GStreamer decodes with.
//!
//! What the kernel says is gathered in `nodes`; what it means is decided in `devices`, without a device. A picture is
//! taken in `take`, frame by frame from `stream`, until the exposure has settled (`settle`), and made a JPEG in `picture`.

pub mod devices;
mod error;
pub mod nodes;
pub mod picture;
mod settings;
mod settle;
#[cfg(feature = "v4l")]
mod stream;
mod take;

pub use devices::{Device, FourCc, Kind};
pub use error::Error;
pub use nodes::{Node, Trouble};
pub use settings::{Format, Settings};
pub use take::{Camera, DRIVERS_GRACE, Eye, Shot, Times};

/// Whether this program was built with the crate that speaks to V4L2 devices.
pub const BUILT_IN: bool = cfg!(feature = "v4l");
