//! Containers: from bytes to the sample table, reading no more of the file than that takes.
//!
//! Frame N is the N-th picture, from 0, in presentation order: edit lists applied, hidden frames not counted. That is what
//! a browser shows, and what ffmpeg shows when it decodes the whole file from the start.

mod beginnings;
mod blob;
mod fuzz;
mod hidden;
mod matroska;
mod mp4;
mod opening;
mod order;
pub(super) mod packet;
mod sniff;
mod table;
mod window;

#[doc(hidden)]
pub use fuzz::{fuzz_index, fuzz_kept_index};
pub use table::{Codec, Colour, Crop, Edit, Gop, OutOfRange, Plan, Sample, SampleTable, StreamFormat, Turn};

use super::source::{Source, SourceError};
use super::still::StillKind;
use window::Window;

/// What a file turned out to be.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// A video whose samples can be addressed one by one.
    Table(Box<SampleTable>),
    /// A video whose frames can only be counted by decoding from the start.
    Sequential {
        /// Container, such as `mpegts`.
        container: &'static str,
        /// Why there is no table.
        why: String,
        /// No edit list cuts any of its pictures off.
        unedited: bool,
    },
    /// A picture.
    Still(StillKind),
    /// None of these; `what` says what it looks like, for a person.
    Unknown {
        /// Such as `sound without pictures (mp4)`, `an empty file`.
        what: String,
    },
}

/// Why a container could not be read.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// Its bytes could not be had.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// It contradicts itself or ends too soon.
    #[error("damaged {container}: {cause}")]
    Broken {
        /// Container.
        container: &'static str,
        /// What was found, and where.
        cause: String,
    },
    /// It is fine, but its pictures cannot be had from this file.
    #[error("{0}")]
    Unsupported(String),
}

/// Read first, to see what a file is.
const HEAD: usize = 64 * 1024;
/// No box or element that must be held whole may be larger, in bytes.
const INDEX_LIMIT: u64 = 64 << 20;
/// No table has more entries: eighteen hours at sixty frames a second.
const SAMPLE_LIMIT: u64 = 4_000_000;

/// How closely a file is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Care {
    /// What the container says counts, except where a look at the samples costs little.
    Usual,
    /// The container was found wrong: what the samples' own bytes say counts, though all of them must be read for it.
    Close,
}

/// Reads what the file is and, for a video in MP4, MOV, Matroska or WebM, its sample table.
pub fn read(source: &mut Source) -> Result<Found, IndexError> {
    read_with(source, Care::Usual)
}

/// As [`read`], from every sample's own bytes: for a file whose samples contradict the table that [`read`] made of it.
pub fn read_closely(source: &mut Source) -> Result<Found, IndexError> {
    read_with(source, Care::Close)
}

fn read_with(source: &mut Source, care: Care) -> Result<Found, IndexError> {
    let head = source.read(0, HEAD)?;
    if let Some(kind) = StillKind::of(&head) {
        return Ok(Found::Still(kind));
    }
    if mp4::recognises(&head) {
        return mp4::read(&mut Window::new(source, head), care);
    }
    if matroska::recognises(&head) {
        return matroska::read(&mut Window::new(source, head), care);
    }
    if let Some(what) = sniff::uncompressed(&head) {
        return Err(IndexError::Unsupported(what));
    }
    if let Some(container) = sniff::container(&head) {
        return Ok(Found::Sequential { container, why: format!("{container} has no table of frames"), unedited: false });
    }
    let what = if head.is_empty() { "an empty file" } else { "a file of unknown kind" };
    Ok(Found::Unknown { what: what.to_owned() })
}

/// Refuses a number of samples that is too large to hold, or larger than the file has bytes.
fn limit(samples: u64, file_size: u64, container: &'static str) -> Result<(), IndexError> {
    if samples > file_size {
        return Err(IndexError::Broken { container, cause: format!("{samples} samples are claimed in a file of {file_size} bytes") });
    }
    if samples > SAMPLE_LIMIT {
        return Err(IndexError::Unsupported(format!("the video has {samples} frames, more than the bound of {SAMPLE_LIMIT}")));
    }
    Ok(())
}
