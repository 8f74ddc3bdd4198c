//! What the daemon and a decode worker say to each other.
//!
//! The daemon sends a [`Job`]; until it is done the worker asks for bytes ([`FromWorker::Read`]), and gets them or is told that
//! they cannot be had. It ends with [`FromWorker::Done`], preceded by the pictures, or with [`FromWorker::Failed`].

use serde::{Deserialize, Serialize};

use crate::media::{Hdr, Region};

/// Most bytes asked for at once: longer reads are cut into such pieces.
pub const MAX_READ: usize = 16 << 20;

/// Most bytes of a sample table that is kept.
pub const MAX_INDEX: usize = 32 << 20;

/// Most spans asked for at once.
pub const MAX_SPANS: usize = 4096;

/// Most bytes of one picture: a lossless PNG of the largest frame a decoder makes.
pub const MAX_PICTURE: usize = 1 << 30;

/// From the daemon.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToWorker {
    /// Something to do; for a frame, the payload is the item's sample table, if one was kept.
    Job(Job),
    /// The next of the bytes asked for are the payload, fewer in all than asked for where the file ends. They come in pieces, as
    /// they reach the daemon.
    Bytes {
        /// Nothing more comes.
        last: bool,
    },
    /// The bytes cannot be had; the daemon knows why and answers the trigger itself.
    NoBytes,
}

/// Something for a worker to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Job {
    /// Make a picture of one frame.
    Frame(FrameJob),
    /// Name the decoders of this box.
    Candidates,
    /// Decode the built-in clip with one of them and compare the picture with what it should be.
    Prove {
        /// Which.
        candidate: Candidate,
        /// Milliseconds until the daemon kills a worker that is not done.
        budget_ms: u64,
    },
}

/// Which frame of which item, and in which form.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FrameJob {
    /// 0-based position in presentation order.
    pub frame: u64,
    /// Size of the item in bytes.
    pub size: u64,
    /// Names the item's content, if later jobs may be about the same: the worker then keeps its decoder for them.
    pub item: Option<String>,
    /// Parts to cut out; none means the whole picture.
    pub regions: Vec<Rectangle>,
    /// PNG of full size instead of a JPEG for the model.
    pub lossless: bool,
    /// Longest side of a JPEG in pixels.
    pub max_side: u32,
    /// Quality of a JPEG, 1 to 100.
    pub quality: u8,
    /// Larger pictures are refused before they are allocated.
    pub max_pixels: u64,
    /// `auto`, `software`, `vaapi`, `nvdec` or `v4l2`.
    pub decoder: String,
    /// Keys of decoders that made the right picture of the built-in clip.
    pub proven: Vec<String>,
    /// Keys of decoders that are not to be used.
    pub left_out: Vec<String>,
    /// Milliseconds until the daemon kills a worker that is not done.
    pub budget_ms: u64,
}

/// As [`Region`], for the wire.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rectangle(pub f64, pub f64, pub f64, pub f64);

impl From<&Region> for Rectangle {
    fn from(region: &Region) -> Self {
        // JSON has no word for what is no number.
        let number = |value: f64| if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) };
        Self(number(region.x), number(region.y), number(region.width), number(region.height))
    }
}

/// From the worker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromWorker {
    /// GStreamer is up: jobs can come.
    Ready {
        /// Limits that the kernel did not grant; empty when the worker is contained as meant.
        uncontained: Vec<String>,
    },
    /// Bytes are needed: `(offset, length)` of each span, in all at most [`MAX_READ`]. The answers' payloads are one after the other.
    Read {
        /// Where from, and how many.
        spans: Vec<(u64, u64)>,
    },
    /// From here on this hardware decoder has the word, or software again where there is none: should the worker fall silent
    /// or crash, it is to blame.
    Using(Option<Candidate>),
    /// The hardware decoder in use made the right picture of the built-in clip, or why it is not used.
    Tried {
        /// Why it failed.
        failure: Option<String>,
    },
    /// The item's sample table is the payload, in the form of `SampleTable::to_bytes`: to be kept, and sent with the next job.
    Index,
    /// One encoded picture is the payload.
    Picture {
        /// PNG, else JPEG.
        png: bool,
        /// Pixels across.
        width: u32,
        /// Pixels down.
        height: u32,
    },
    /// The job is done; the pictures came before.
    Done(Facts),
    /// Answer to [`Job::Candidates`].
    Candidates(Vec<Candidate>),
    /// Answer to [`Job::Prove`]: the decoder made the right picture.
    Proven,
    /// The job failed; the worker is fit for the next.
    Failed(Failure),
}

/// A decoder for one codec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Its element, such as `vah264dec`.
    pub element: String,
    /// `vaapi`, `nvdec`, `v4l2` or `software`.
    pub family: String,
    /// The codec, such as `h264`.
    pub codec: String,
}

impl Candidate {
    /// A name for this element in this codec; some elements decode several.
    pub fn key(&self) -> String {
        format!("{}/{}", self.element, self.codec)
    }
}

/// How a frame came about.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Facts {
    /// Width of the displayed picture before scaling.
    pub width: u32,
    /// Height of the displayed picture before scaling.
    pub height: u32,
    /// Presentation timestamp in seconds.
    pub pts_seconds: f64,
    /// `software (avdec_h264)`, `still (jpeg)`, …
    pub decoder: String,
    /// Container, such as `mp4`.
    pub container: String,
    /// Codec, such as `h264`.
    pub codec: String,
    /// Set for a picture with high dynamic range.
    pub hdr: Option<Hdr>,
    /// Milliseconds spent reading the container, waits for bytes left out.
    pub index_ms: f64,
    /// Milliseconds spent decoding, waits for bytes left out.
    pub decode_ms: f64,
    /// Milliseconds spent converting, scaling and encoding.
    pub encode_ms: f64,
    /// Hardware decoders that failed in this job, with the reason, before software did it.
    pub fell_back: Vec<String>,
}

/// Why a job failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// The daemon could not hand out bytes.
    #[error("bytes of the file could not be read")]
    NoBytes,
    /// The frame is beyond the end.
    #[error("there are {count} frames")]
    OutOfRange {
        /// How many frames there are.
        count: u64,
    },
    /// Not a picture or a video, or not what it is said to be.
    #[error("{0}")]
    Unsupported(String),
    /// Damaged, or its decoder gave up.
    #[error("{0}")]
    Broken(String),
    /// No decoder for this codec.
    #[error("no decoder for {codec}: {remedy}")]
    NoDecoder {
        /// The codec.
        codec: String,
        /// What to install or configure.
        remedy: String,
    },
    /// More pixels than allowed.
    #[error("{pixels} pixels are too many")]
    TooLarge {
        /// Its pixels.
        pixels: u64,
    },
    /// The budget ran out inside the worker.
    #[error("the time ran out")]
    Expired,
    /// The worker's own fault.
    #[error("{0}")]
    Internal(String),
}
