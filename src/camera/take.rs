//! One picture from a camera: the device found anew each time, so that one that was unplugged and plugged in again is
//! there again; frames dropped until the exposure has settled; an end to every wait.

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::{Error, FourCc, Node, Settings};
use crate::telemetry::CameraStep;

/// A driver that hangs in the kernel cannot be interrupted: it is given so much longer than the configured time, and left.
pub const DRIVERS_GRACE: Duration = Duration::from_secs(5);

/// A picture that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shot {
    /// A JPEG without metadata.
    pub jpeg: Vec<u8>,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// How the camera gave it.
    pub format: FourCc,
    /// The node it came from.
    pub path: PathBuf,
    /// Frames that were left out while the exposure settled, or because they were spoilt.
    pub dropped: u32,
    /// Whether the exposure had settled; otherwise its time was up.
    pub settled: bool,
    /// When it was taken.
    pub at: time::OffsetDateTime,
    /// How long it took.
    pub times: Times,
}

/// How long a picture took, and what of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// From opening the device to its first whole frame.
    pub first_frame: Duration,
    /// From then to the frame of the picture, in which the exposure has settled.
    pub settling: Duration,
    /// Making a JPEG of that frame.
    pub encoding: Duration,
    /// From opening the device to the finished JPEG.
    pub total: Duration,
}

impl Times {
    /// The parts.
    pub fn steps(&self) -> [(CameraStep, Duration); 3] {
        [(CameraStep::FirstFrame, self.first_frame), (CameraStep::Settling, self.settling), (CameraStep::Encoding, self.encoding)]
    }

    /// The parts in milliseconds, by name.
    pub fn milliseconds(&self) -> serde_json::Value {
        let tenths = |took: Duration| (took.as_secs_f64() * 10_000.0).round() / 10.0;
        self.steps().iter().map(|(step, took)| (step.name().to_owned(), serde_json::json!(tenths(*took)))).collect()
    }
}

impl std::fmt::Display for Times {
    /// As in the log line of a trigger: `first_frame=84.1 settling=66.7 encoding=9.8`, in milliseconds.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (place, (step, took)) in self.steps().iter().enumerate() {
            let gap = if place > 0 { " " } else { "" };
            write!(f, "{gap}{}={:.1}", step.name(), took.as_secs_f64() * 1e3)?;
        }
        Ok(())
    }
}

/// What looks at the scene: V4L2, or what stands in for it where there is no device. It may take its time, hang and panic.
pub type Eye = dyn Fn(&Settings) -> Result<Shot, Error> + Send + Sync;

/// A camera of the configuration.
pub struct Camera {
    settings: Settings,
    eye: Arc<Eye>,
    at_work: Arc<AtomicBool>,
}

impl Camera {
    /// Touches no device yet.
    pub fn new(settings: Settings) -> Self {
        Self::seen_by(settings, Arc::new(find_and_take))
    }

    /// One that looks through another eye.
    pub fn seen_by(settings: Settings, eye: Arc<Eye>) -> Self {
        Self { settings, eye, at_work: Arc::default() }
    }

    /// What the configuration says.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Takes a picture, on a thread of its own: a driver that hangs costs that thread and this camera, nothing else.
    pub fn take(&self) -> Result<Shot, Error> {
        let device = self.settings.device.clone();
        if self.at_work.swap(true, Ordering::SeqCst) {
            return Err(Error::Busy { device });
        }
        let (settings, eye, at_work) = (self.settings.clone(), Arc::clone(&self.eye), Arc::clone(&self.at_work));
        let (sender, taken) = channel();
        let work = move || {
            let done = Done(at_work);
            // The crate panics on values of a driver that it does not know.
            let result = std::panic::catch_unwind(AssertUnwindSafe(|| eye(&settings)));
            // Free before anyone learns the result; whoever asked may have given up.
            drop(done);
            let _ = sender.send(result.unwrap_or_else(|_| {
                let cause = "its driver says something that the V4L2 library does not understand".into();
                Err(Error::Failed { device: settings.device.clone(), cause })
            }));
        };
        if let Err(error) = std::thread::Builder::new().name(format!("camera {}", self.settings.name)).spawn(work) {
            self.at_work.store(false, Ordering::SeqCst);
            return Err(Error::Failed { device, cause: format!("no thread can be made: {error}") });
        }
        match taken.recv_timeout(self.settings.timeout + DRIVERS_GRACE) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => Err(Error::Silent { device, patience: self.settings.timeout }),
            Err(RecvTimeoutError::Disconnected) => Err(Error::Failed { device, cause: "taking the picture broke off".into() }),
        }
    }
}

struct Done(Arc<AtomicBool>);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

/// The node that a configured name stands for: a path, or the bus id of a camera.
#[cfg_attr(not(feature = "v4l"), allow(dead_code))]
fn node_of(device: &str, nodes: impl FnOnce() -> Vec<Node>) -> Result<PathBuf, Error> {
    if device.starts_with('/') {
        return Ok(device.into());
    }
    let is_it = |node: &Node| node.device.as_ref().is_ok_and(|found| found.bus == device && found.is_usable_camera());
    nodes().into_iter().find(is_it).map(|node| node.path).ok_or_else(|| Error::Missing { device: device.to_owned() })
}

#[cfg(not(feature = "v4l"))]
fn find_and_take(_: &Settings) -> Result<Shot, Error> {
    Err(Error::NotBuilt)
}

#[cfg(feature = "v4l")]
fn find_and_take(settings: &Settings) -> Result<Shot, Error> {
    let begin = Instant::now();
    let path = node_of(&settings.device, super::nodes::all)?;
    let mut sitting = Sitting::new(settings, begin);
    let until = begin + settings.timeout;
    loop {
        match super::stream::watch(&path, settings, until, |frame, layout| sitting.see(frame, layout)) {
            Ok((jpeg, width, height, format)) => {
                let (dropped, settled) = (sitting.dropped, sitting.settled);
                let at = time::OffsetDateTime::now_utc();
                return Ok(Shot { jpeg, width, height, format, path, dropped, settled, at, times: sitting.times() });
            }
            // A stream that broke is begun anew while there is time: cables shake, and hubs reset.
            Err(Error::Failed { .. }) if until.saturating_duration_since(Instant::now()) > RESTART_PAUSE && sitting.restarts > 0 => {
                sitting.restarts -= 1;
                std::thread::sleep(RESTART_PAUSE);
            }
            Err(Error::Silent { device, .. }) => return Err(Error::Silent { device, patience: settings.timeout }),
            Err(error) => return Err(error),
        }
    }
}

/// Before a broken stream is begun anew.
#[cfg(feature = "v4l")]
const RESTART_PAUSE: Duration = Duration::from_millis(200);

/// What has been seen of a camera on the way to one picture.
#[cfg_attr(not(feature = "v4l"), allow(dead_code))]
struct Sitting {
    begin: Instant,
    first_frame: Option<Instant>,
    /// When the frame that is made a picture was there.
    chosen: Option<Instant>,
    /// When it was one.
    made: Option<Instant>,
    exposure: super::settle::Exposure,
    settle_until: Instant,
    quality: u8,
    dropped: u32,
    settled: bool,
    restarts: u32,
}

#[cfg_attr(not(feature = "v4l"), allow(dead_code))]
impl Sitting {
    fn new(settings: &Settings, begin: Instant) -> Self {
        Self {
            begin,
            first_frame: None,
            chosen: None,
            made: None,
            exposure: super::settle::Exposure::default(),
            settle_until: begin + settings.settle,
            quality: settings.jpeg_quality,
            dropped: 0,
            settled: false,
            restarts: 2,
        }
    }

    /// Makes a JPEG of the first readable frame after the exposure has settled, or its time is up.
    fn see(&mut self, frame: &[u8], layout: &super::picture::Layout) -> Option<(Vec<u8>, u32, u32, FourCc)> {
        let now = Instant::now();
        self.first_frame.get_or_insert(now);
        let brightness = super::picture::brightness(frame, layout);
        self.settled = brightness.is_ok_and(|mean| self.exposure.settled(mean));
        if !self.settled && now < self.settle_until {
            self.dropped += 1;
            return None;
        }
        self.chosen = Some(Instant::now());
        match super::picture::jpeg(frame, layout, self.quality) {
            Ok((jpeg, width, height)) => {
                self.made = Some(Instant::now());
                Some((jpeg, width, height, layout.format))
            }
            Err(cause) => {
                tracing::debug!(%cause, "a frame of the camera is left out");
                self.dropped += 1;
                None
            }
        }
    }

    /// Once there is a picture.
    fn times(&self) -> Times {
        let end = self.made.unwrap_or_else(Instant::now);
        let first_frame = self.first_frame.unwrap_or(end);
        let chosen = self.chosen.unwrap_or(end);
        Times {
            first_frame: first_frame.saturating_duration_since(self.begin),
            settling: chosen.saturating_duration_since(first_frame),
            encoding: end.saturating_duration_since(chosen),
            total: end.saturating_duration_since(self.begin),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::picture::{Colours, Layout};
    use super::super::{Device, Format};
    use super::*;

    fn settings(device: &str) -> Settings {
        Settings {
            name: "bench".into(),
            device: device.into(),
            format: Format::Auto,
            size: None,
            timeout: Duration::from_secs(2),
            settle: Duration::from_secs(60),
            jpeg_quality: 90,
        }
    }

    #[test]
    fn a_camera_that_is_not_there_is_told_at_once_and_not_busy_afterwards() {
        let camera = Camera::new(settings("/dev/v4l/by-id/nobody-plugged-this-in"));
        for _ in 0..2 {
            let error = camera.take().unwrap_err();
            let expected = if super::super::BUILT_IN { matches!(error, Error::Missing { .. }) } else { error == Error::NotBuilt };
            assert!(expected, "{error}");
        }
    }

    #[test]
    fn a_file_is_no_camera() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Camera::new(settings(file.path().to_str().unwrap())).take().unwrap_err();
        assert!(matches!(error, Error::Unusable { .. } | Error::NotBuilt), "{error}");
    }

    #[test]
    fn a_bus_id_stands_for_the_camera_on_it() {
        let node = |path: &str, bus: &str, capabilities| Node {
            path: path.into(),
            stable: Vec::new(),
            media: Vec::new(),
            device: Ok(Device { capabilities, driver: String::new(), card: String::new(), bus: bus.into(), gives: vec![], takes: vec![] }),
        };
        let nodes = || vec![node("/dev/video0", "usb-1", 0x0080_0000), node("/dev/video1", "usb-1", 1), node("/dev/video2", "usb-2", 1)];
        assert_eq!(node_of("usb-1", nodes), Ok("/dev/video1".into()));
        assert_eq!(node_of("usb-3", nodes), Err(Error::Missing { device: "usb-3".into() }));
        assert_eq!(node_of("/dev/video7", nodes), Ok("/dev/video7".into()));
    }

    #[test]
    fn dark_and_spoilt_frames_are_left_out() {
        let colours = Colours { bt709: false, full_range: false };
        let layout = Layout { format: FourCc(*b"GREY"), width: 16, height: 16, stride: 0, colours };
        let mut sitting = Sitting::new(&settings("x"), Instant::now());
        let mut see = |level: u8, length| sitting.see(&vec![level; length], &layout).is_some();
        let taken: Vec<bool> = [(0, 256), (60, 256), (110, 256), (120, 256), (121, 256), (121, 200), (122, 256)]
            .map(|(level, length)| see(level, length))
            .into();
        assert_eq!(taken, [false, false, false, false, false, false, true]);
        assert_eq!((sitting.dropped, sitting.settled), (6, true));
        // Without patience the first whole frame is taken.
        let hurried = Settings { settle: Duration::ZERO, ..settings("x") };
        let mut sitting = Sitting::new(&hurried, Instant::now());
        assert!(sitting.see(&[7; 100], &layout).is_none());
        assert!(sitting.see(&[7; 256], &layout).is_some());
        assert_eq!((sitting.dropped, sitting.settled), (1, false));
    }

    #[test]
    fn the_time_of_a_picture_is_told_in_parts() {
        let colours = Colours { bt709: false, full_range: false };
        let layout = Layout { format: FourCc(*b"GREY"), width: 16, height: 16, stride: 0, colours };
        let begin = Instant::now();
        let mut sitting = Sitting::new(&settings("x"), begin);
        for taken in [false, false, true] {
            std::thread::sleep(Duration::from_millis(5));
            assert_eq!(sitting.see(&[120; 256], &layout).is_some(), taken);
        }
        let times = sitting.times();
        assert!(times.first_frame >= Duration::from_millis(5) && times.settling >= Duration::from_millis(10), "{times:?}");
        assert_eq!(times.steps().map(|(_, took)| took).iter().sum::<Duration>(), times.total);
        let shown = Times { first_frame: Duration::from_micros(84_120), settling: Duration::from_millis(66), ..times };
        assert!(shown.to_string().starts_with("first_frame=84.1 settling=66.0 encoding="), "{shown}");
    }
}
