//! Still pictures: what kind they are, decoding within limits, and the encoders for pictures that go to the model.

pub mod encode;

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
}

/// A decoded still, turned as its EXIF orientation says, alpha on white, eight bits.
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
    /// The file itself where it can go to the model as it is: a JPEG that is intact, small enough and needs no turn, rid of
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
    use image::{DynamicImage, ImageDecoder, ImageReader};
    let kind = StillKind::of(bytes).ok_or_else(|| StillError::Unsupported("this is no picture that is known here".into()))?;
    let broken = |cause: image::ImageError| match cause {
        image::ImageError::Unsupported(cause) => StillError::Unsupported(cause.to_string()),
        cause => StillError::Broken { kind: kind.name(), cause: cause.to_string() },
    };
    let reader = ImageReader::new(std::io::Cursor::new(bytes)).with_guessed_format();
    let reader = reader.map_err(|cause| StillError::Broken { kind: kind.name(), cause: cause.to_string() })?;
    let mut decoder = reader.into_decoder().map_err(broken)?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if pixels > limits.max_pixels {
        return Err(StillError::TooLarge { pixels, limit: limits.max_pixels });
    }
    let turn = decoder.orientation().map_err(broken)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(broken)?;
    picture.apply_orientation(turn);
    let (full_width, full_height) = (picture.width(), picture.height());
    let rgb = if picture.color().has_alpha() {
        let mut white = image::RgbaImage::from_pixel(full_width, full_height, image::Rgba([255; 4]));
        image::imageops::overlay(&mut white, &picture.to_rgba8(), 0, 0);
        DynamicImage::ImageRgba8(white).to_rgb8().into_raw()
    } else {
        picture.to_rgb8().into_raw()
    };
    let (rgb, width, height) = encode::fit(rgb, full_width, full_height, limits.max_side)
        .map_err(|cause| StillError::Broken { kind: kind.name(), cause: cause.to_string() })?;
    Ok(Still { rgb, width, height, full_width, full_height, kind, passthrough: None })
}
