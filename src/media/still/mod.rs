//! Still pictures: what kind they are, decoding within limits, and the encoders for pictures that go to the model.

mod colour;
pub mod encode;
mod jpeg;
mod raster;
#[cfg(test)]
mod tests;

use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};

use colour::{Conversion, Samples};
use raster::Raster;

/// Kinds of still pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StillKind {
    /// JPEG.
    Jpeg,
    /// PNG (also animated: its default picture).
    Png,
    /// WebP.
    WebP,
    /// GIF.
    Gif,
    /// BMP.
    Bmp,
    /// TIFF.
    Tiff,
    /// AVIF.
    Avif,
    /// HEIC / HEIF.
    Heic,
}

impl StillKind {
    /// By the first bytes of a file.
    pub fn of(head: &[u8]) -> Option<Self> {
        let at = |offset: usize, bytes: &[u8]| head.get(offset..offset + bytes.len()) == Some(bytes);
        if at(0, b"\xff\xd8\xff") {
            Some(Self::Jpeg)
        } else if at(0, b"\x89PNG\r\n\x1a\n") {
            Some(Self::Png)
        } else if at(0, b"RIFF") && at(8, b"WEBP") {
            Some(Self::WebP)
        } else if at(0, b"GIF87a") || at(0, b"GIF89a") {
            Some(Self::Gif)
        } else if at(0, b"BM") && at(6, &[0; 4]) {
            Some(Self::Bmp)
        } else if at(0, b"II*\0") || at(0, b"MM\0*") {
            Some(Self::Tiff)
        } else if at(4, b"ftypavif") {
            Some(Self::Avif)
        } else if at(4, b"ftypheic") || at(4, b"ftypheix") || at(4, b"ftypmif1") {
            Some(Self::Heic)
        } else {
            None
        }
    }

    /// Its name, such as `jpeg`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::Png => "png",
            Self::WebP => "webp",
            Self::Gif => "gif",
            Self::Bmp => "bmp",
            Self::Tiff => "tiff",
            Self::Avif => "avif",
            Self::Heic => "heic",
        }
    }
}

/// Bounds on a still.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Larger pictures are refused before anything is allocated for them.
    pub max_pixels: u64,
    /// The result's longer side is at most this; smaller pictures are never enlarged.
    pub max_side: u32,
    /// The file itself may be the result, where nothing needs to be done to it but to remove its metadata.
    pub passthrough: bool,
}

impl Limits {
    fn check(&self, width: u32, height: u32) -> Result<(), StillError> {
        let pixels = u64::from(width) * u64::from(height);
        if pixels > self.max_pixels {
            return Err(StillError::TooLarge { pixels, limit: self.max_pixels });
        }
        Ok(())
    }
}

/// A decoded still: eight bits of sRGB, alpha on white, turned as its EXIF orientation says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Still {
    /// Pixels, row by row, `width * height * 3` bytes; empty when `passthrough` is there.
    pub rgb: Vec<u8>,
    /// Width in pixels of `rgb`, or of `passthrough`.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Width as displayed, before scaling.
    pub full_width: u32,
    /// Height as displayed, before scaling.
    pub full_height: u32,
    /// What it was.
    pub kind: StillKind,
    /// The file itself where it can go to the model as it is: a JPEG that is whole, sRGB, small enough and needs no turn, rid of
    /// its metadata (a photo's location is nobody's business).
    pub passthrough: Option<Vec<u8>>,
}

/// Why a still could not be decoded.
#[derive(Debug, thiserror::Error)]
pub enum StillError {
    /// More pixels than allowed.
    #[error("{pixels} pixels are more than the limit of {limit}")]
    TooLarge {
        /// Its pixels.
        pixels: u64,
        /// The bound.
        limit: u64,
    },
    /// Damaged, or cut short.
    #[error("damaged {kind}: {cause}")]
    Broken {
        /// What kind of file.
        kind: &'static str,
        /// What the decoder says.
        cause: String,
    },
    /// A kind, or a flavour of a kind, that is not decoded.
    #[error("{0}")]
    Unsupported(String),
}

/// Decodes a whole file.
pub fn read(bytes: &[u8], limits: &Limits) -> Result<Still, StillError> {
    let kind = StillKind::of(bytes).ok_or_else(|| StillError::Unsupported("this is no kind of picture that is known here".to_owned()))?;
    if kind == StillKind::Jpeg {
        return read_jpeg(bytes, limits);
    }
    let raster = raster::decode(bytes, kind, limits)?;
    let full = turned(raster.rgb.width(), raster.rgb.height(), raster.orientation);
    finish(kind, raster, full, limits)
}

fn read_jpeg(bytes: &[u8], limits: &Limits) -> Result<Still, StillError> {
    let kind = StillKind::Jpeg;
    let header = jpeg::header(bytes)?;
    let (width, height) = (header.width, header.height);
    limits.check(width, height)?;
    let colours = Conversion::new(header.profile.as_deref(), header.samples);
    if limits.passthrough && header.passes() && colours.is_none() && width.max(height) <= limits.max_side {
        let passthrough = Some(header.stripped(bytes));
        return Ok(Still { rgb: Vec::new(), width, height, full_width: width, full_height: height, kind, passthrough });
    }
    let (across, down) = encode::fitted(width, height, limits.max_side);
    let ink = colours.as_ref().filter(|_| header.samples == Samples::Ink);
    let (rgb, decoded_width, decoded_height) = jpeg::decode(bytes, (across, down), limits.max_pixels, ink)?;
    let rgb = match (decoded_width, decoded_height) == (across, down) {
        true => rgb,
        false => encode::scale(&rgb, decoded_width, decoded_height, across, down).map_err(|cause| broken(kind, cause))?,
    };
    let rgb = RgbImage::from_raw(across, down, rgb).ok_or_else(|| broken(kind, "its pixels do not fit its size"))?;
    let full = turned(width, height, header.orientation);
    let colours = colours.filter(|_| header.samples != Samples::Ink);
    finish(kind, Raster { rgb, orientation: header.orientation, colours }, full, limits)
}

/// Scales, then converts colours and turns: the smaller picture costs less.
fn finish(kind: StillKind, raster: Raster, (full_width, full_height): (u32, u32), limits: &Limits) -> Result<Still, StillError> {
    let Raster { rgb, orientation, colours } = raster;
    let (width, height) = rgb.dimensions();
    let (rgb, width, height) = encode::fit(rgb.into_raw(), width, height, limits.max_side).map_err(|cause| broken(kind, cause))?;
    let rgb = match colours {
        Some(colours) => colours.apply(rgb),
        None => rgb,
    };
    let rgb = RgbImage::from_raw(width, height, rgb).ok_or_else(|| broken(kind, "its pixels do not fit its size"))?;
    let mut picture = DynamicImage::ImageRgb8(rgb);
    picture.apply_orientation(orientation);
    let (width, height) = (picture.width(), picture.height());
    Ok(Still { rgb: picture.into_rgb8().into_raw(), width, height, full_width, full_height, kind, passthrough: None })
}

fn turned(width: u32, height: u32, orientation: Orientation) -> (u32, u32) {
    match orientation {
        Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH => (height, width),
        _ => (width, height),
    }
}

fn broken(kind: StillKind, cause: impl ToString) -> StillError {
    StillError::Broken { kind: kind.name(), cause: cause.to_string() }
}

fn from_image(cause: image::ImageError, kind: &'static str) -> StillError {
    match cause {
        image::ImageError::Unsupported(cause) => StillError::Unsupported(cause.to_string()),
        cause => StillError::Broken { kind, cause: cause.to_string() },
    }
}

/// The way in for the fuzzer: whatever the bytes are, they are decoded within the limits or refused.
#[doc(hidden)]
pub fn fuzz_still(bytes: &[u8]) {
    for passthrough in [false, true] {
        let limits = Limits { max_pixels: 1 << 16, max_side: 64, passthrough };
        let Ok(still) = read(bytes, &limits) else { continue };
        assert!(still.width.max(still.height) <= limits.max_side && still.width.min(still.height) > 0);
        match still.passthrough {
            Some(file) => {
                assert!(passthrough && file.len() <= bytes.len() + 16);
                let again = read(&file, &limits).ok().and_then(|again| again.passthrough);
                assert!(again == Some(file), "what was stripped of its metadata once changes when it is stripped again");
            }
            None => assert_eq!(still.rgb.len() as u64, u64::from(still.width) * u64::from(still.height) * 3),
        }
    }
}
