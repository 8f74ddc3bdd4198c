//! V4L2 devices: cameras, and the codec devices of small boards.

use super::Check;
use crate::config::Config;

#[cfg(not(feature = "v4l"))]
pub(super) fn check(_: &Config) -> Vec<Check> {
    Vec::new()
}

/// One line for each device node.
#[cfg(feature = "v4l")]
pub(super) fn check(config: &Config) -> Vec<Check> {
    use crate::config::file::Decoder;

    let mut nodes = v4l::context::enum_devices();
    nodes.sort_by_key(|node| node.path().to_owned());
    if nodes.is_empty() {
        let detail = "none (/dev/video*)";
        return vec![match config.file.media.decoder {
            Decoder::V4l2 => {
                Check::failed("V4L2 devices", detail, "media.decoder = \"v4l2\" needs a codec device: load its driver, or choose \"auto\"")
            }
            _ => Check::ok("V4L2 devices", detail),
        }];
    }
    nodes.iter().map(|node| device(node.path())).collect()
}

#[cfg(feature = "v4l")]
fn device(path: &std::path::Path) -> Check {
    let name = format!("V4L2 device {}", path.display());
    let opened = match v4l::Device::with_path(path) {
        Ok(opened) => opened,
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            let remedy = "add the service's user to the group video, and allow char-video4linux in its unit (DeviceAllow=)";
            return Check::warning(name, "this user may not open it", remedy);
        }
        Err(error) => return Check::warning(name, format!("cannot be opened: {error}"), ""),
    };
    // The crate takes the driver's names for UTF-8 and panics when they are not.
    let asked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| opened.query_caps()));
    match asked {
        Ok(Ok(facts)) => Check::ok(name, format!("{}: {} (driver {})", kind(facts.capabilities), facts.card, facts.driver)),
        Ok(Err(error)) => Check::warning(name, format!("does not say what it can do: {error}"), ""),
        Err(_) => Check::warning(name, "has a name that cannot be read", ""),
    }
}

#[cfg(feature = "v4l")]
fn kind(flags: v4l::capability::Flags) -> &'static str {
    use v4l::capability::Flags;
    if flags.intersects(Flags::VIDEO_M2M | Flags::VIDEO_M2M_MPLANE) {
        "codec or converter"
    } else if flags.intersects(Flags::VIDEO_CAPTURE | Flags::VIDEO_CAPTURE_MPLANE) {
        "camera"
    } else if flags.contains(Flags::META_CAPTURE) {
        "camera's metadata"
    } else {
        "other"
    }
}
