//! What a V4L2 device is, told from what the kernel says about it, and which GStreamer element would use it.

use std::fmt;

use serde::{Serialize, Serializer};

// `linux/videodev2.h`, V4L2_CAP_*.
const VIDEO_CAPTURE: u32 = 0x0000_0001;
const VIDEO_OUTPUT: u32 = 0x0000_0002;
const VIDEO_CAPTURE_MPLANE: u32 = 0x0000_1000;
const VIDEO_OUTPUT_MPLANE: u32 = 0x0000_2000;
const VIDEO_M2M_MPLANE: u32 = 0x0000_4000;
const VIDEO_M2M: u32 = 0x0000_8000;
const META_CAPTURE: u32 = 0x0080_0000;

/// A pixel or stream format by its four characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FourCc(pub [u8; 4]);

impl fmt::Display for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: String = self.0.iter().map(|&b| if b.is_ascii_graphic() || b == b' ' { char::from(b) } else { '?' }).collect();
        f.write_str(shown.trim_end())
    }
}

impl fmt::Debug for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for FourCc {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A device as its driver describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Device {
    /// V4L2_CAP_* of this node.
    #[serde(skip)]
    pub capabilities: u32,
    /// The driver's name.
    pub driver: String,
    /// The device's name.
    pub card: String,
    /// Where it is: `usb-0000:00:14.0-1`, `platform:vivid-000`.
    pub bus: String,
    /// Formats that come out: a camera's pictures, a decoder's pixels, an encoder's stream.
    pub gives: Vec<FourCc>,
    /// Formats that go in: a decoder's streams, an encoder's pixels.
    pub takes: Vec<FourCc>,
}

/// What a device is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Gives pictures.
    Camera,
    /// Tells of a camera's pictures, and gives none.
    CameraMetadata,
    /// Takes a stream as it is.
    StatefulDecoder,
    /// Takes single slices with parameters that the program has read from the stream.
    StatelessDecoder,
    /// Gives a stream.
    Encoder,
    /// Takes and gives pixels.
    Converter,
    /// Works from memory to memory; which formats it takes could not be read.
    Codec,
    /// Shows pictures.
    Output,
    /// None of these.
    Other,
}

/// Streams by the kernel's name, with the name that GStreamer's elements have for them; `true`: fed slice by slice.
const STREAMS: [(&[u8; 4], &str, bool); 19] = [
    (b"H264", "h264", false),
    (b"AVC1", "h264", false),
    (b"HEVC", "h265", false),
    (b"VP80", "vp8", false),
    (b"VP90", "vp9", false),
    (b"AV01", "av1", false),
    (b"MPG1", "mpeg", false),
    (b"MPG2", "mpeg", false),
    (b"MPG4", "mpeg4", false),
    (b"H263", "h263", false),
    (b"FWHT", "fwht", false),
    (b"S264", "h264", true),
    (b"S265", "h265", true),
    (b"VP8F", "vp8", true),
    (b"VP9F", "vp9", true),
    (b"AV1F", "av1", true),
    (b"MG2S", "mpeg2", true),
    (b"SFWH", "fwht", true),
    (b"MJPG", "jpeg", false),
];

fn stream(format: FourCc) -> Option<(&'static str, bool)> {
    STREAMS.iter().find(|(name, ..)| **name == format.0).map(|&(_, codec, stateless)| (codec, stateless))
}

impl Device {
    fn can(&self, flags: u32) -> bool {
        self.capabilities & flags != 0
    }

    /// What it is for.
    pub fn kind(&self) -> Kind {
        // A memory-to-memory device may say so, or say that it both captures and puts out.
        let both = (self.can(VIDEO_CAPTURE) && self.can(VIDEO_OUTPUT)) || (self.can(VIDEO_CAPTURE_MPLANE) && self.can(VIDEO_OUTPUT_MPLANE));
        if self.can(VIDEO_M2M | VIDEO_M2M_MPLANE) || both {
            return self.codec_kind();
        }
        if self.can(VIDEO_CAPTURE | VIDEO_CAPTURE_MPLANE) {
            Kind::Camera
        } else if self.can(META_CAPTURE) {
            Kind::CameraMetadata
        } else if self.can(VIDEO_OUTPUT | VIDEO_OUTPUT_MPLANE) {
            Kind::Output
        } else {
            Kind::Other
        }
    }

    fn codec_kind(&self) -> Kind {
        let streams = |formats: &[FourCc]| formats.iter().filter_map(|&format| stream(format)).collect::<Vec<_>>();
        let takes = streams(&self.takes);
        if takes.iter().any(|&(_, stateless)| stateless) {
            Kind::StatelessDecoder
        } else if !takes.is_empty() {
            Kind::StatefulDecoder
        } else if !streams(&self.gives).is_empty() {
            Kind::Encoder
        } else if self.takes.is_empty() && self.gives.is_empty() {
            Kind::Codec
        } else {
            Kind::Converter
        }
    }

    /// A camera that pictures can be taken with here: the crate that streams knows devices of one plane only.
    pub fn is_usable_camera(&self) -> bool {
        self.kind() == Kind::Camera && self.can(VIDEO_CAPTURE)
    }

    /// The GStreamer elements that would use it, by their names on a box where it is the only one of its kind. A second
    /// device's elements carry the name of its node: `v4l2video11h264dec`.
    pub fn elements(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut add = |name: String| {
            if !names.contains(&name) {
                names.push(name);
            }
        };
        match self.kind() {
            Kind::Camera => add("v4l2src".into()),
            Kind::Output => add("v4l2sink".into()),
            Kind::Converter => add("v4l2convert".into()),
            Kind::StatefulDecoder => {
                self.takes.iter().filter_map(|&format| stream(format)).for_each(|(codec, _)| add(format!("v4l2{codec}dec")));
            }
            Kind::StatelessDecoder => {
                // GStreamer has none for what only the kernel's own test drivers make.
                let known =
                    self.takes.iter().filter_map(|&format| stream(format)).filter(|&(codec, stateless)| stateless && codec != "fwht");
                known.for_each(|(codec, _)| add(format!("v4l2sl{codec}dec")));
            }
            Kind::Encoder => {
                self.gives.iter().filter_map(|&format| stream(format)).for_each(|(codec, _)| add(format!("v4l2{codec}enc")));
            }
            Kind::CameraMetadata | Kind::Codec | Kind::Other => {}
        }
        names
    }

    /// The Debian package that has those elements.
    pub fn package(&self) -> &'static str {
        if self.kind() == Kind::StatelessDecoder { "gstreamer1.0-plugins-bad" } else { "gstreamer1.0-plugins-good" }
    }

    /// In a line: what it is, its name, what goes in and what comes out.
    pub fn described(&self) -> String {
        let list = |formats: &[FourCc]| {
            let mut shown: Vec<String> = formats.iter().take(8).map(ToString::to_string).collect();
            if formats.len() > shown.len() {
                shown.push(format!("{} more", formats.len() - shown.len()));
            }
            shown.join(" ")
        };
        let mut text = format!("{}: {} (driver {}, {})", self.kind(), self.card, self.driver, self.bus);
        if !self.takes.is_empty() {
            text += &format!("; takes {}", list(&self.takes));
        }
        if !self.gives.is_empty() {
            text += &format!("; gives {}", list(&self.gives));
        }
        text
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Camera => "camera",
            Self::CameraMetadata => "camera's metadata",
            Self::StatefulDecoder => "decoder (stateful)",
            Self::StatelessDecoder => "decoder (stateless)",
            Self::Encoder => "encoder",
            Self::Converter => "converter",
            Self::Codec => "codec or converter",
            Self::Output => "output",
            Self::Other => "other",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(capabilities: u32, takes: &[&[u8; 4]], gives: &[&[u8; 4]]) -> Device {
        let formats = |names: &[&[u8; 4]]| names.iter().map(|name| FourCc(**name)).collect();
        Device { capabilities, driver: "d".into(), card: "c".into(), bus: "b".into(), takes: formats(takes), gives: formats(gives) }
    }

    /// What real drivers announce: uvcvideo, bcm2835-codec, hantro, vicodec, vivid.
    #[test]
    fn devices_are_told_by_what_they_take_and_give() {
        let m2m = VIDEO_M2M_MPLANE | 0x0400_0000;
        for (capabilities, takes, gives, kind, elements) in [
            (VIDEO_CAPTURE, &[][..], &[b"MJPG", b"YUYV"][..], Kind::Camera, &["v4l2src"][..]),
            (META_CAPTURE, &[], &[], Kind::CameraMetadata, &[]),
            (VIDEO_OUTPUT, &[], &[], Kind::Output, &["v4l2sink"]),
            (m2m, &[b"H264", b"MJPG"], &[b"YU12"], Kind::StatefulDecoder, &["v4l2h264dec", "v4l2jpegdec"]),
            (m2m, &[b"YU12"], &[b"H264"], Kind::Encoder, &["v4l2h264enc"]),
            (m2m, &[b"YU12", b"RGB3"], &[b"YU12"], Kind::Converter, &["v4l2convert"]),
            (m2m, &[b"S264", b"MG2S", b"VP8F"], &[b"NV12"], Kind::StatelessDecoder, &["v4l2slh264dec", "v4l2slmpeg2dec", "v4l2slvp8dec"]),
            (VIDEO_M2M, &[b"FWHT"], &[b"YU12"], Kind::StatefulDecoder, &["v4l2fwhtdec"]),
            (VIDEO_M2M, &[b"SFWH"], &[b"YU12"], Kind::StatelessDecoder, &[]),
            (VIDEO_CAPTURE | VIDEO_OUTPUT, &[b"YU12"], &[b"FWHT"], Kind::Encoder, &["v4l2fwhtenc"]),
            (m2m, &[], &[], Kind::Codec, &[]),
            (0x0010_0000, &[], &[], Kind::Other, &[]),
        ] {
            let device = device(capabilities, takes, gives);
            assert_eq!((device.kind(), device.elements()), (kind, elements.iter().map(|name| (*name).to_owned()).collect()), "{device:?}");
        }
    }

    #[test]
    fn one_plane_is_what_pictures_are_taken_with() {
        assert!(device(VIDEO_CAPTURE, &[], &[]).is_usable_camera());
        assert!(!device(VIDEO_CAPTURE_MPLANE, &[], &[]).is_usable_camera());
        assert!(!device(VIDEO_M2M | VIDEO_CAPTURE, &[b"H264"], &[]).is_usable_camera());
    }

    #[test]
    fn a_line_tells_all_and_stays_a_line() {
        let many = [b"MJPG"; 11];
        let text = device(VIDEO_CAPTURE, &[], &many).described();
        assert_eq!(text, format!("camera: c (driver d, b); gives {}3 more", "MJPG ".repeat(8)));
        assert_eq!(FourCc(*b"Y8\n\xff").to_string(), "Y8??");
    }
}
