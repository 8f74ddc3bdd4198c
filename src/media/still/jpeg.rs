//! JPEG: what its markers say, the copy without metadata, and decoding no larger than wanted.

use image::metadata::Orientation;
use jpeg_decoder::{Decoder, Error, PixelFormat};

use super::StillError;
use super::colour::{Conversion, Samples};

/// What the markers of a file say.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Header {
    pub(super) width: u32,
    pub(super) height: u32,
    /// How it is to be turned for display.
    pub(super) orientation: Orientation,
    /// What its pixels are made of.
    pub(super) samples: Samples,
    /// Its colour profile.
    pub(super) profile: Option<Vec<u8>>,
    /// Eight bits, one or three components (Y or YCbCr), Huffman-coded, sequential or progressive: what every reader knows.
    plain: bool,
    /// Where the file's segments lie, up to and with the end-of-image marker.
    segments: Vec<Segment>,
    /// Whether it ends with an end-of-image marker.
    pub(super) complete: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Segment {
    marker: u8,
    /// From the marker on; for a scan, its entropy-coded data included.
    start: usize,
    end: usize,
}

/// What a segment with a part of a colour profile begins with.
const PROFILE: &[u8] = b"ICC_PROFILE\0";
const END_OF_IMAGE: u8 = 0xd9;
const START_OF_SCAN: u8 = 0xda;

/// Walks the markers of a whole file.
pub(super) fn header(bytes: &[u8]) -> Result<Header, StillError> {
    let (segments, complete) = segments(bytes);
    let mut size = None;
    let mut orientation = Orientation::NoTransforms;
    let mut adobe = None;
    for segment in &segments {
        // Behind the marker and the length; standalone markers have nothing.
        let body = bytes.get(segment.start + 4..segment.end).unwrap_or_default();
        match segment.marker {
            0xc0..=0xcf if !matches!(segment.marker, 0xc4 | 0xc8 | 0xcc) && size.is_none() => size = Frame::of(segment.marker, body),
            0xe1 if body.starts_with(b"Exif\0\0") => {
                orientation = Orientation::from_exif_chunk(&body[6..]).unwrap_or(Orientation::NoTransforms);
            }
            0xee if body.starts_with(b"Adobe") => adobe = body.get(11).copied(),
            _ => {}
        }
    }
    let frame = size.ok_or_else(|| broken("there is no frame header"))?;
    if frame.width == 0 || frame.height == 0 {
        return Err(StillError::Unsupported("this JPEG does not say its size in front".to_owned()));
    }
    // A frame of motion JPEG may leave the Huffman tables out, which viewers of pictures then lack.
    let tables = segments.iter().any(|segment| segment.marker == 0xc4);
    let plain = frame.plain && tables && (frame.components == 1 || adobe != Some(0));
    let samples = match frame.components {
        1 => Samples::Grey,
        4 => Samples::Ink,
        _ => Samples::Light,
    };
    let profile = profile(bytes, &segments);
    Ok(Header { width: frame.width, height: frame.height, orientation, samples, profile, plain, segments, complete })
}

/// The colour profile, which may be spread over several segments in any order; `None` when a part is missing.
fn profile(bytes: &[u8], segments: &[Segment]) -> Option<Vec<u8>> {
    let part = |segment: &Segment| match bytes.get(segment.start + 4..segment.end)?.strip_prefix(PROFILE)? {
        [place, count, part @ ..] if segment.marker == 0xe2 => Some((*place, *count, part)),
        _ => None,
    };
    let mut parts: Vec<(u8, u8, &[u8])> = segments.iter().filter_map(part).collect();
    parts.sort_by_key(|part| part.0);
    let count = parts.first()?.1;
    let whole = parts.len() == usize::from(count) && parts.iter().zip(1_u16..).all(|(part, place)| u16::from(part.0) == place);
    whole.then(|| parts.iter().flat_map(|part| part.2).copied().collect())
}

struct Frame {
    width: u32,
    height: u32,
    components: u8,
    plain: bool,
}

impl Frame {
    fn of(marker: u8, body: &[u8]) -> Option<Self> {
        let (&[precision, h1, h0, w1, w0, components], rest) = body.split_first_chunk::<6>()?;
        let names: Vec<u8> = rest.chunks_exact(3).map(|component| component[0]).collect();
        let known = matches!(marker, 0xc0..=0xc2) && precision == 8 && matches!(components, 1 | 3) && names != *b"RGB";
        let (width, height) = (u16::from_be_bytes([w1, w0]).into(), u16::from_be_bytes([h1, h0]).into());
        Some(Self { width, height, components, plain: known })
    }
}

/// The segments up to the end of the image or the first that is cut short, and whether the end is there.
fn segments(bytes: &[u8]) -> (Vec<Segment>, bool) {
    let mut segments = Vec::new();
    let mut at = 0;
    loop {
        let start = at;
        // A marker is any number of fill bytes 0xff and then its code.
        let Some(code) = bytes.get(at..).and_then(|rest| rest.iter().position(|&byte| byte != 0xff)) else { return (segments, false) };
        if code == 0 {
            return (segments, false);
        }
        let marker = bytes[at + code];
        // Fill bytes are left out of the segment.
        let start = start + code - 1;
        at += code + 1;
        if !matches!(marker, 0x01 | 0xd0..=END_OF_IMAGE) {
            let length = bytes.get(at..at + 2).map(|length| usize::from(u16::from_be_bytes([length[0], length[1]])));
            let Some(end) = length.filter(|&length| length >= 2).map(|length| at + length).filter(|&end| end <= bytes.len()) else {
                return (segments, false);
            };
            at = end;
        }
        if marker == START_OF_SCAN {
            at = scan_end(bytes, at);
        }
        segments.push(Segment { marker, start, end: at });
        if marker == END_OF_IMAGE {
            return (segments, true);
        }
    }
}

/// Where the entropy-coded data that begin at `at` end: at the next marker that is neither stuffing nor a restart.
fn scan_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(step) = bytes.get(at..).and_then(|rest| rest.iter().position(|&byte| byte == 0xff)) {
        at += step;
        match bytes.get(at + 1) {
            Some(0x00 | 0xd0..=0xd7) => at += 2,
            Some(0xff) => at += 1,
            _ => return at,
        }
    }
    bytes.len()
}

impl Header {
    /// Whether the file can be shown as it is: every reader decodes it, it is whole and needs no turn.
    pub(super) fn passes(&self) -> bool {
        self.plain && self.complete && self.orientation == Orientation::NoTransforms
    }

    /// The file without metadata and without what follows the image: of the application segments only those stay that
    /// change how it looks (JFIF without its thumbnail, Adobe without what some writers add). A colour profile goes too:
    /// only files that mean sRGB pass, and profiles have names in them.
    pub(super) fn stripped(&self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        for &Segment { marker, start, end } in &self.segments {
            let segment = &bytes[start..end];
            let body = segment.get(4..).unwrap_or_default();
            match marker {
                0xe0 if body.starts_with(b"JFIF\0") && body.len() >= 14 => {
                    out.extend_from_slice(&[0xff, 0xe0, 0, 16]);
                    out.extend_from_slice(&body[..12]);
                    out.extend_from_slice(&[0, 0]);
                }
                0xee if body.starts_with(b"Adobe") && body.len() >= 12 => {
                    out.extend_from_slice(&[0xff, 0xee, 0, 14]);
                    out.extend_from_slice(&body[..12]);
                }
                0xe0..=0xef | 0xfe => {}
                _ => out.extend_from_slice(segment),
            }
        }
        out
    }
}

/// Pixels of `bytes` in the coded orientation, as RGB, no smaller than `width` x `height` (unless the file is) and as
/// little larger as the transform allows: a half, a quarter or an eighth of the full size cost far less than all of it.
/// Ink becomes light by its profile, if it has one.
pub(super) fn decode(
    bytes: &[u8],
    (width, height): (u32, u32),
    max_pixels: u64,
    ink: Option<&Conversion>,
) -> Result<(Vec<u8>, u32, u32), StillError> {
    let mut decoder = Decoder::new(bytes);
    // One sample per component and pixel, or a coefficient of two bytes.
    decoder.set_max_decoding_buffer_size(usize::try_from(max_pixels.saturating_mul(8)).unwrap_or(usize::MAX));
    // Only the longer side is asked for: the decoder is content when either is large enough.
    let (width, height) = if width >= height {
        (u16::try_from(width).unwrap_or(u16::MAX), u16::MAX)
    } else {
        (u16::MAX, u16::try_from(height).unwrap_or(u16::MAX))
    };
    let scaled = decoder.scale(width, height).and_then(|size| Ok((size, decoder.decode()?)));
    let ((across, down), samples) = match scaled {
        Ok(scaled) => scaled,
        // Rare flavours, such as sampling by thirds, the other decoder knows.
        Err(Error::Unsupported(_)) => return decode_whole(bytes),
        Err(cause) => return Err(broken(cause)),
    };
    let format = decoder.info().map_or(PixelFormat::RGB24, |info| info.pixel_format);
    let rgb = match format {
        PixelFormat::RGB24 => samples,
        PixelFormat::L8 => samples.iter().flat_map(|&grey| [grey; 3]).collect(),
        PixelFormat::L16 => samples.chunks_exact(2).flat_map(|grey| [grey[1]; 3]).collect(),
        PixelFormat::CMYK32 => match ink.and_then(|ink| ink.converted(&samples)) {
            Some(rgb) => rgb,
            None => samples.chunks_exact(4).flat_map(|ink| from_ink([ink[0], ink[1], ink[2], ink[3]])).collect(),
        },
    };
    Ok((rgb, across.into(), down.into()))
}

fn decode_whole(bytes: &[u8]) -> Result<(Vec<u8>, u32, u32), StillError> {
    let picture = image::load_from_memory_with_format(bytes, image::ImageFormat::Jpeg).map_err(|cause| super::from_image(cause, "jpeg"))?;
    let rgb = picture.into_rgb8();
    let (width, height) = rgb.dimensions();
    Ok((rgb.into_raw(), width, height))
}

/// Ink on white paper.
fn from_ink([cyan, magenta, yellow, key]: [u8; 4]) -> [u8; 3] {
    let light = |ink: u8| ((u32::from(255 - ink) * u32::from(255 - key) + 127) / 255) as u8;
    [light(cyan), light(magenta), light(yellow)]
}

fn broken(cause: impl ToString) -> StillError {
    StillError::Broken { kind: "jpeg", cause: cause.to_string() }
}
