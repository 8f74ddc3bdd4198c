//! What can go wrong with Encord, told apart by what it means for the trigger.

use crate::deadline::Expired;
use crate::ids::{DataHash, ProjectHash};

use super::place::Place;

/// Why a call to Encord, or the reading of its answer, failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The SSH key cannot be used; never holds key text.
    #[error("the Encord SSH key {origin} cannot be used: {cause}")]
    Key {
        /// Where the key came from: a path, a variable, a credential.
        origin: String,
        /// What is wrong and what would be right.
        cause: String,
    },
    /// Encord does not know the key, or not in this region (401, AUTHENTICATION_ERROR, SSH_KEY_NOT_FOUND_ERROR).
    #[error(
        "Encord at {domain} does not accept the SSH key (public key {public_key}…): register it there, or set encord.domain to the region that has it"
    )]
    KeyRefused {
        /// The domain asked.
        domain: String,
        /// The first digits of the public key, enough to tell keys apart.
        public_key: String,
    },
    /// Encord refused, and by its own date the box's clock is off: so the signature's date was refused.
    #[error(
        "the clock of this box is {} {} Encord's, so Encord refuses its signatures: set the clock",
        crate::http::span(seconds.unsigned_abs()),
        if *seconds > 0 { "ahead of" } else { "behind" }
    )]
    Clock {
        /// How far the clock is from Encord's, in seconds; positive when the box is ahead.
        seconds: i64,
    },
    /// The key may not use the project, the dataset or the folder (403, AUTHORISATION_ERROR).
    #[error("the Encord key may not {action} in {place}")]
    Forbidden {
        /// What was tried.
        action: &'static str,
        /// Where.
        place: Place,
    },
    /// No label row has this data hash.
    #[error("data item {data} is not in project {project}")]
    NotInProject {
        /// The project.
        project: ProjectHash,
        /// The data item.
        data: DataHash,
    },
    /// More than one label row has this data hash.
    #[error("data item {data} has {count} label rows in this project; the agent needs exactly one")]
    ManyRows {
        /// The data item.
        data: DataHash,
        /// How many rows there are.
        count: usize,
    },
    /// A kind of item that has no single picture to show.
    #[error("{what} is not supported: only images, image groups and videos are")]
    Unsupported {
        /// The kind of item.
        what: String,
    },
    /// A frame beyond the row's last.
    #[error("frame {frame} does not exist: {title:?} ends with frame {last} ({count} in all)", last = count.saturating_sub(1))]
    FrameOutOfRange {
        /// The frame asked for.
        frame: u64,
        /// How many there are.
        count: u64,
        /// The item's title.
        title: String,
    },
    /// Encord could not be reached, or kept failing, after the retries.
    #[error("Encord could not be reached to {action}: {cause}")]
    Unreachable {
        /// What was tried.
        action: &'static str,
        /// Status or fault of the last try.
        cause: String,
    },
    /// Encord refused the call with a code that retrying does not change.
    #[error("Encord refused to {action}: {status} {code}")]
    Refused {
        /// What was tried.
        action: &'static str,
        /// HTTP status, or the status inside the envelope.
        status: u16,
        /// Encord's code or message, cut to one short line.
        code: String,
    },
    /// Encord's answer does not have the shape it should have.
    #[error("Encord's answer to {action} is not understood: {cause}")]
    Malformed {
        /// What was tried.
        action: &'static str,
        /// The path and what was found there.
        cause: String,
    },
    /// The request's budget is spent.
    #[error(transparent)]
    Deadline(#[from] Expired),
}

impl Error {
    /// Whether the same call may succeed later without anybody's help.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Malformed { .. } | Self::Clock { .. } | Self::Deadline(_) => true,
            Self::Key { .. }
            | Self::KeyRefused { .. }
            | Self::Forbidden { .. }
            | Self::NotInProject { .. }
            | Self::ManyRows { .. }
            | Self::Unsupported { .. }
            | Self::FrameOutOfRange { .. }
            | Self::Refused { .. } => false,
        }
    }
}
