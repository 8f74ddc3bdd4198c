//! What goes in and out at the door: where an item is, which of its pictures is wanted, and what came of it.

use crate::ids::SignedUrl;

/// What Encord says the item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataType {
    /// One picture: an image, or one of an image group.
    Image,
    /// A video.
    Video,
}

/// Where an item's bytes are, and what they should be.
#[derive(Debug, Clone)]
pub struct AssetLink {
    /// The signed link.
    pub url: SignedUrl,
    /// What Encord says it is.
    pub data_type: DataType,
    /// MIME type in the label row, if any; often wrong or missing.
    pub mime: Option<String>,
    /// Title as the annotator sees it.
    pub title: String,
}

/// A part of the displayed picture, as fractions 0..1 of its width and height.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Region {
    /// Left edge.
    pub x: f64,
    /// Top edge.
    pub y: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}

/// Which picture is wanted.
#[derive(Debug, Clone, Default)]
pub struct Want {
    /// 0-based position in presentation order; 0 for a still.
    pub frame: u64,
    /// Parts to cut out, one picture each; none means the whole picture.
    pub regions: Vec<Region>,
    /// A lossless PNG of full size instead of a JPEG for the model.
    pub lossless: bool,
    /// Overrides `Settings::max_image_side` downwards for a model with a smaller window.
    pub max_side: Option<u32>,
    /// Instead of `Settings::jpeg_quality`.
    pub quality: Option<u8>,
}

/// One encoded picture.
#[derive(Debug, Clone)]
pub struct Picture {
    /// `image/jpeg` or `image/png`.
    pub mime: &'static str,
    /// The encoded file.
    pub bytes: Vec<u8>,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

/// Milliseconds per step.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Timings {
    /// Waiting for bytes.
    pub fetch: f64,
    /// Reading the container.
    pub index: f64,
    /// Decoding.
    pub decode: f64,
    /// Scaling and encoding.
    pub encode: f64,
    /// Everything, the wait for a worker included.
    pub total: f64,
}

/// A transfer function of high dynamic range (ITU-R BT.2100).
///
/// Its code values are handed on as they are, the way ffmpeg and OpenCV do it: what a model sees is what tools trained on
/// such pictures show, a little flat. Whoever reads the facts knows why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hdr {
    /// Perceptual quantizer (SMPTE ST 2084): HDR10, Dolby Vision.
    Pq,
    /// Hybrid log-gamma (ARIB STD-B67).
    Hlg,
}

impl Hdr {
    /// `pq` or `hlg`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pq => "pq",
            Self::Hlg => "hlg",
        }
    }
}

/// A frame with its facts.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The whole picture, or one for each region.
    pub pictures: Vec<Picture>,
    /// Width of the displayed picture before scaling.
    pub width: u32,
    /// Height of the displayed picture before scaling.
    pub height: u32,
    /// Presentation timestamp in seconds; 0 for a still.
    pub pts_seconds: f64,
    /// Which decoder made it: `software (avdec_h264)`, `vaapi (vah264dec)`, `still (jpeg)`, …
    pub decoder: String,
    /// Hardware decoders that failed at this frame, with the reason, before software made it.
    pub fell_back: Vec<String>,
    /// Container, such as `mp4`, `matroska`, `jpeg`.
    pub container: String,
    /// Codec, such as `h264`.
    pub codec: String,
    /// Set where the video has a high dynamic range; its pictures are not tone-mapped.
    pub hdr: Option<Hdr>,
    /// Bytes that came over the network.
    pub bytes_fetched: u64,
    /// Requests to the store.
    pub requests: u32,
    /// Size of the whole file.
    pub total_bytes: u64,
    /// Milliseconds per step.
    pub timings: Timings,
}
