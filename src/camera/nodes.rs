//! The device nodes of the box, each with what its driver says, or with what keeps it from being asked.

use std::path::{Path, PathBuf};

use super::Device;
#[cfg(feature = "v4l")]
use super::FourCc;

/// One `/dev/video*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The node now: `/dev/video0`. Numbers change with the order in which devices appear.
    pub path: PathBuf,
    /// Names of the node that stay the same: under `/dev/v4l/by-id` and `/dev/v4l/by-path`.
    pub stable: Vec<PathBuf>,
    /// The media controllers (`/dev/media*`) that it belongs to; stateless decoders need theirs.
    pub media: Vec<PathBuf>,
    /// What it is, or why that is not known.
    pub device: Result<Device, Trouble>,
}

/// Why a node cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Its permissions, or those of the unit.
    #[error("this user may not open it")]
    Permission,
    /// The driver does not answer properly.
    #[error("{0}")]
    Driver(String),
}

impl Trouble {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Permission => "add the service's user to the group video, and allow char-video4linux in its unit (DeviceAllow=)",
            Self::Driver(_) => "look at `dmesg` for what its driver says; plug the device in again, or load the driver anew",
        }
    }
}

impl Node {
    /// The name to write into the configuration.
    pub fn best_name(&self) -> String {
        self.stable.first().unwrap_or(&self.path).display().to_string()
    }

    /// In a line: where it is, what it is, and the GStreamer elements that would use it.
    pub fn line(&self) -> String {
        let path = self.path.display();
        match &self.device {
            Ok(device) if device.elements().is_empty() => format!("{path}: {}", device.described()),
            Ok(device) => format!("{path}: {}; for GStreamer's {}", device.described(), device.elements().join(", ")),
            Err(trouble) => format!("{path}: {trouble}: {}", trouble.remedy()),
        }
    }
}

/// All nodes, in order of their numbers.
pub fn all() -> Vec<Node> {
    let links: Vec<(PathBuf, PathBuf)> =
        ["/dev/v4l/by-id", "/dev/v4l/by-path"].iter().flat_map(|folder| links_in(Path::new(folder))).collect();
    let mut numbered: Vec<(u32, PathBuf)> = entries(Path::new("/dev")).filter_map(|path| Some((number(&path, "video")?, path))).collect();
    numbered.sort();
    let node = |(number, path): (u32, PathBuf)| Node {
        stable: links.iter().filter(|(_, target)| *target == path).map(|(link, _)| link.clone()).collect(),
        media: media_of(number),
        device: ask(&path),
        path,
    };
    numbered.into_iter().map(node).collect()
}

/// The media controllers of the box (`/dev/media*`).
pub fn media_controllers() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = entries(Path::new("/dev")).filter(|path| number(path, "media").is_some()).collect();
    found.sort();
    found
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// 7 of `/dev/video7`.
fn number(path: &Path, kind: &str) -> Option<u32> {
    path.file_name()?.to_str()?.strip_prefix(kind)?.parse().ok()
}

fn links_in(folder: &Path) -> Vec<(PathBuf, PathBuf)> {
    let mut links: Vec<_> =
        entries(folder).filter_map(|link| Some((std::fs::canonicalize(&link).ok()?, link))).map(|(to, from)| (from, to)).collect();
    links.sort();
    links
}

/// The kernel lists a device's media controllers beside it.
fn media_of(video: u32) -> Vec<PathBuf> {
    let device = PathBuf::from(format!("/sys/class/video4linux/video{video}/device"));
    let mut found: Vec<PathBuf> = entries(&device)
        .filter(|path| number(path, "media").is_some())
        .filter_map(|path| Some(Path::new("/dev").join(path.file_name()?)))
        .collect();
    found.sort();
    found
}

#[cfg(not(feature = "v4l"))]
fn ask(_: &Path) -> Result<Device, Trouble> {
    Err(Trouble::Driver("is not asked: this edgelabel was built without the feature v4l".into()))
}

/// The crate takes the driver's texts for UTF-8 and panics when they are not: that is a trouble of this device only.
#[cfg(feature = "v4l")]
fn ask(path: &Path) -> Result<Device, Trouble> {
    std::panic::catch_unwind(|| try_ask(path)).unwrap_or_else(|_| Err(Trouble::Driver("its driver's texts cannot be read".into())))
}

#[cfg(feature = "v4l")]
fn try_ask(path: &Path) -> Result<Device, Trouble> {
    use linuxvideo::BufType;

    let opened = v4l::Device::with_path(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::PermissionDenied => Trouble::Permission,
        _ => Trouble::Driver(format!("cannot be opened: {error}")),
    })?;
    let facts = opened.query_caps().map_err(|error| Trouble::Driver(format!("does not say what it can do: {error}")))?;
    drop(opened);
    // The other crate asks devices of one plane only, and these lists are all that tells a decoder from a converter.
    let lister = linuxvideo::Device::open(path).map_err(|error| Trouble::Driver(format!("does not list its formats: {error}")))?;
    let formats = |types: [BufType; 2]| {
        // A device without this direction, or with more or fewer planes, lists nothing.
        let listed = types.into_iter().flat_map(|kind| lister.formats(kind).map_while(Result::ok));
        listed.map(|format| FourCc(format.pixel_format().as_fourcc())).collect()
    };
    Ok(Device {
        capabilities: facts.capabilities.bits(),
        driver: facts.driver,
        card: facts.card,
        bus: facts.bus,
        gives: formats([BufType::VIDEO_CAPTURE, BufType::VIDEO_CAPTURE_MPLANE]),
        takes: formats([BufType::VIDEO_OUTPUT, BufType::VIDEO_OUTPUT_MPLANE]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbered_nodes_count() {
        assert_eq!(number(Path::new("/dev/video12"), "video"), Some(12));
        assert_eq!(number(Path::new("/dev/video"), "video"), None);
        assert_eq!(number(Path::new("/dev/video-enc"), "video"), None);
        assert_eq!(number(Path::new("/dev/media0"), "media"), Some(0));
    }

    #[test]
    fn a_line_tells_what_a_node_is_for_or_what_keeps_it_from_being_known() {
        let device = |takes: &[&[u8; 4]]| Device {
            capabilities: 0x8000,
            driver: "d".into(),
            card: "c".into(),
            bus: "b".into(),
            gives: Vec::new(),
            takes: takes.iter().map(|name| super::super::FourCc(**name)).collect(),
        };
        let line = |device| Node { path: "/dev/video1".into(), stable: Vec::new(), media: Vec::new(), device }.line();
        assert_eq!(
            line(Ok(device(&[b"FWHT"]))),
            "/dev/video1: decoder (stateful): c (driver d, b); takes FWHT; for GStreamer's v4l2fwhtdec"
        );
        assert_eq!(line(Ok(device(&[]))), "/dev/video1: codec or converter: c (driver d, b)");
        assert!(
            line(Err(Trouble::Permission)).contains("/dev/video1: this user may not open it: add the service's user to the group video")
        );
    }

    #[test]
    fn links_are_found_with_what_they_lead_to() {
        let folder = tempfile::tempdir().unwrap();
        let node = folder.path().join("video3");
        std::fs::write(&node, "").unwrap();
        std::os::unix::fs::symlink(&node, folder.path().join("usb-Cam")).unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("dangling")).unwrap();
        let links = links_in(folder.path());
        let real = std::fs::canonicalize(&node).unwrap();
        assert!(links.contains(&(folder.path().join("usb-Cam"), real)), "{links:?}");
        assert!(!links.iter().any(|(link, _)| link.ends_with("dangling")));
    }

    #[test]
    fn what_is_no_device_is_a_trouble_and_no_panic() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("video0");
        std::fs::write(&file, "").unwrap();
        assert!(matches!(ask(&file), Err(Trouble::Driver(_))));
    }
}
