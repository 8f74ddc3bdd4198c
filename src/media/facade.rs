//! The door of this room: a link and a wish in, pictures out.

use std::path::PathBuf;

use crate::deadline::Deadline;
use crate::http;
use crate::ids::SignedUrl;

use super::Error;

/// What the configuration says about media.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `auto`, `software`, `vaapi`, `nvdec` or `v4l2`.
    pub decoder: String,
    /// Where ranges and indexes are cached.
    pub cache_dir: PathBuf,
    /// Bound on the cache in bytes.
    pub cache_bytes: u64,
    /// Longest side of a picture for the model; pictures are never enlarged.
    pub max_image_side: u32,
    /// Larger stills are refused before anything is allocated.
    pub max_pixels: u64,
    /// JPEG quality, 1 to 100.
    pub jpeg_quality: u8,
    /// How media links are fetched.
    pub http: http::Settings,
    /// Warm decode workers.
    pub workers: usize,
    /// The program that has the `decode-worker` command: this binary.
    pub program: PathBuf,
}

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
#[derive(Debug, Clone)]
pub struct Want {
    /// 0-based position in presentation order; 0 for a still.
    pub frame: u64,
    /// Parts to cut out, one picture each; none means the whole picture.
    pub regions: Vec<Region>,
    /// A lossless PNG of full size instead of a JPEG for the model.
    pub lossless: bool,
    /// Overrides `Settings::max_image_side` downwards for a model with a smaller window.
    pub max_side: Option<u32>,
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
    /// Container, such as `mp4`, `matroska`, `jpeg`.
    pub container: String,
    /// Codec, such as `h264`.
    pub codec: String,
    /// Bytes that came over the network.
    pub bytes_fetched: u64,
    /// Requests to the store.
    pub requests: u32,
    /// Size of the whole file.
    pub total_bytes: u64,
    /// Milliseconds per step.
    pub timings: Timings,
}

/// Fetches and decodes. Cheap to clone; clones share workers and cache.
#[derive(Clone)]
pub struct Media {}

impl Media {
    /// Opens the cache and starts the workers.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let _ = settings;
        unimplemented!()
    }

    /// The wanted picture. `renew` is called at most once, when the store refuses the link as expired.
    pub fn frame(
        &self,
        link: &AssetLink,
        want: &Want,
        renew: &mut dyn FnMut() -> Option<SignedUrl>,
        deadline: &Deadline,
    ) -> Result<Frame, Error> {
        let _ = (link, want, renew, deadline);
        unimplemented!()
    }

    /// As [`Media::frame`], from a local file.
    pub fn frame_of_file(&self, path: &std::path::Path, want: &Want, deadline: &Deadline) -> Result<Frame, Error> {
        let _ = (path, want, deadline);
        unimplemented!()
    }

    /// Lets a worker decode the built-in clip: proof that the pool works.
    pub fn prove(&self, deadline: &Deadline) -> Result<(), Error> {
        let _ = deadline;
        unimplemented!()
    }
}
