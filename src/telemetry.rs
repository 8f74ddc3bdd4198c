//! What the daemon tells about itself: logs for people, metrics for monitoring.

mod cameras;
mod logs;
mod metrics;
mod models;
mod seldom;

pub use cameras::{CameraReading, CameraStep};
pub use logs::{Format, LogControl, LogSettings};
pub use metrics::{Metrics, Readings, Step};
pub use models::ModelReading;
pub use seldom::Seldom;
