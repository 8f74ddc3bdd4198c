//! Frames from a device, one after the other, by the `v4l` crate.
//!
//! Its stream must not be asked again after a failure: on the next call it hands the driver a buffer that the driver
//! already has, which is refused from then on. So a stream ends with its first error, and whoever wants more begins anew.

use std::path::Path;
use std::time::{Duration, Instant};

use v4l::buffer::{Flags, Type};
use v4l::format::{FieldOrder, Quantization};
use v4l::io::traits::CaptureStream;
use v4l::video::Capture;

use super::picture::{Colours, KNOWN, Layout};
use super::{Error, Format, FourCc, Settings};

/// Buffers in the driver's hands: one that fills, one that is full, two for a slow reader.
const BUFFERS: u32 = 4;

/// For one frame. The crate counts milliseconds in 31 bits.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// Opens a device, agrees on a format with it, and shows each frame to `see` until that has what it wants. `see` is told
/// the frame, and answers with what it made of it, or `None` to go on.
pub(super) fn watch<T>(
    path: &Path,
    settings: &Settings,
    until: Instant,
    mut see: impl FnMut(&[u8], &Layout) -> Option<T>,
) -> Result<T, Error> {
    let device = settings.device.clone();
    let failed = |error: std::io::Error| of_system(&error, path, &device);
    let opened = v4l::Device::with_path(path).map_err(failed)?;
    let layout = agree(&opened, settings)?;
    let mut stream = v4l::io::mmap::Stream::with_buffers(&opened, Type::VideoCapture, BUFFERS).map_err(failed)?;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::Silent { device, patience: settings.timeout });
        }
        stream.set_timeout(left.clamp(Duration::from_millis(1), LONGEST_WAIT));
        let (buffer, facts) = stream.next().map_err(failed)?;
        let frame = &buffer[..buffer.len().min(facts.bytesused as usize)];
        // The driver marks frames that the cable has spoilt.
        if frame.is_empty() || facts.flags.contains(Flags::ERROR) {
            continue;
        }
        if let Some(made) = see(frame, &layout) {
            return Ok(made);
        }
    }
}

/// Chooses the format, and takes what the driver makes of it.
fn agree(opened: &v4l::Device, settings: &Settings) -> Result<Layout, Error> {
    let unusable = |what: String| Error::Unusable { device: settings.device.clone(), what };
    let failed = |error: std::io::Error| Error::Failed { device: settings.device.clone(), cause: error.to_string() };
    let offered: Vec<FourCc> = opened.enum_formats().map_err(failed)?.iter().map(|format| FourCc(format.fourcc.repr)).collect();
    let format = choose(settings.format, &offered).map_err(unusable)?;
    let mut wanted = opened.format().map_err(failed)?;
    wanted.fourcc = v4l::FourCC::new(&format.0);
    wanted.field_order = FieldOrder::Any;
    // Left to the driver: what it says now is of the former format.
    (wanted.stride, wanted.size) = (0, 0);
    if let Some((width, height)) = settings.size {
        (wanted.width, wanted.height) = (width, height);
    }
    let agreed = opened.set_format(&wanted).map_err(failed)?;
    if agreed.fourcc.repr != format.0 {
        return Err(unusable(format!("the driver offers {format} but chooses {}; name another format", FourCc(agreed.fourcc.repr))));
    }
    if matches!(agreed.field_order, FieldOrder::Top | FieldOrder::Bottom | FieldOrder::Alternate) {
        return Err(unusable("it gives half pictures (single fields), which are not put together here".into()));
    }
    let colours = Colours {
        bt709: matches!(agreed.colorspace, v4l::format::Colorspace::Rec709),
        full_range: matches!(agreed.quantization, Quantization::FullRange) || matches!(agreed.colorspace, v4l::format::Colorspace::JPEG),
    };
    Ok(Layout { format, width: agreed.width, height: agreed.height, stride: agreed.stride, colours })
}

/// The format to ask for among those that a camera offers.
fn choose(wanted: Format, offered: &[FourCc]) -> Result<FourCc, String> {
    if offered.is_empty() {
        return Err("it offers no format that pictures can be taken in: it is no camera, or one of several planes".into());
    }
    let listed = || offered.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let fits = |format: &FourCc| match wanted {
        Format::Auto => true,
        Format::Mjpeg => matches!(&format.0, b"MJPG" | b"JPEG"),
        Format::Yuyv => matches!(&format.0, b"YUYV" | b"UYVY" | b"YVYU"),
        Format::Nv12 => matches!(&format.0, b"NV12" | b"NV21" | b"YU12"),
        Format::Rgb => matches!(&format.0, b"RGB3" | b"BGR3"),
    };
    let found = KNOWN.iter().find(|format| fits(format) && offered.contains(format));
    found.copied().ok_or_else(|| match wanted {
        Format::Auto => format!("none of its formats is understood here: {}", listed()),
        _ => format!("it does not offer the configured format; it has {}", listed()),
    })
}

/// What an error of the system says about a camera.
fn of_system(error: &std::io::Error, path: &Path, device: &str) -> Error {
    let device = device.to_owned();
    match error.raw_os_error() {
        _ if error.kind() == std::io::ErrorKind::TimedOut => Error::Silent { device, patience: Duration::ZERO },
        Some(libc::EACCES | libc::EPERM) => Error::Permission { path: path.to_owned() },
        Some(libc::EBUSY) => Error::Busy { device },
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => Error::Missing { device },
        _ => Error::Failed { device, cause: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_the_best_liked_of_those_wanted_and_offered() {
        let offered = [FourCc(*b"YUYV"), FourCc(*b"H264"), FourCc(*b"MJPG"), FourCc(*b"NV21")];
        assert_eq!(choose(Format::Auto, &offered), Ok(FourCc(*b"MJPG")));
        assert_eq!(choose(Format::Yuyv, &offered), Ok(FourCc(*b"YUYV")));
        assert_eq!(choose(Format::Nv12, &offered), Ok(FourCc(*b"NV21")));
        assert_eq!(choose(Format::Rgb, &offered).unwrap_err(), "it does not offer the configured format; it has YUYV, H264, MJPG, NV21");
        assert!(choose(Format::Auto, &[FourCc(*b"H264")]).unwrap_err().contains("none of its formats"));
    }

    #[test]
    fn errors_of_the_system_name_their_remedy() {
        let of = |code| of_system(&std::io::Error::from_raw_os_error(code), Path::new("/dev/video0"), "/dev/video0").to_string();
        assert!(of(libc::EACCES).contains("group video"));
        assert!(of(libc::ENODEV).contains("plug it in"));
        assert!(of(libc::EBUSY).contains("in use"));
        assert!(of(libc::EIO).contains("failed"));
    }
}
