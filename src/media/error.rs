//! What can go wrong between a link and a picture.

use crate::deadline::Expired;

/// Why there is no picture.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The store answered wrongly or not at all: status, broken transfer, changed file.
    #[error("the media store at {host} answered wrongly: {cause}")]
    Store {
        /// The store's host.
        host: String,
        /// Status or fault; never the link's query.
        cause: String,
    },
    /// The link has expired and renewing it did not help.
    #[error("the link to the media at {host} is refused ({status}), also after it was renewed")]
    LinkRefused {
        /// The store's host.
        host: String,
        /// 401, 403, 404 or 410.
        status: u16,
    },
    /// The frame is beyond the end.
    #[error("frame {frame} does not exist: {title:?} ends with frame {last} ({count} in all)", last = count.saturating_sub(1))]
    FrameOutOfRange {
        /// The frame asked for.
        frame: u64,
        /// How many there are.
        count: u64,
        /// The item's title.
        title: String,
    },
    /// A kind of content that is not a picture or a video, or contradicts what Encord says it is.
    #[error("{title:?} cannot be shown: {cause}")]
    Unsupported {
        /// The item's title.
        title: String,
        /// What was found.
        cause: String,
    },
    /// The content is damaged, or its decoder gave up.
    #[error("{title:?} cannot be decoded: {cause}")]
    Broken {
        /// The item's title.
        title: String,
        /// What was found, and where.
        cause: String,
    },
    /// No decoder for this codec; names the package that would bring one.
    #[error("no decoder for {codec}: {remedy}")]
    NoDecoder {
        /// The codec.
        codec: String,
        /// What to install or configure.
        remedy: String,
    },
    /// More pixels than `media.max_pixels`.
    #[error("{title:?} has {pixels} pixels, more than media.max_pixels = {limit}")]
    TooLarge {
        /// The item's title.
        title: String,
        /// Its pixels.
        pixels: u64,
        /// The bound.
        limit: u64,
    },
    /// The decode worker could not be started or kept dying; the box's fault, not the media's.
    #[error("the decode worker failed: {0}")]
    Worker(String),
    /// The request's budget is spent.
    #[error(transparent)]
    Deadline(#[from] Expired),
}
