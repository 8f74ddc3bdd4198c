//! Where a reader gets its bytes: memory, a local file, or somebody who answers `(offset, length)`.
//!
//! In the decode worker that somebody is the parent process at the other end of a pipe: the worker itself has no network.
//! Every read is one question there, so readers ask for a whole box or a whole span of samples at once.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Answers `(offset, length)` with bytes; fewer than asked for only at the end.
pub type Remote = Box<dyn FnMut(u64, usize) -> io::Result<Vec<u8>> + Send>;

/// Bytes at offsets, of a known total size.
pub struct Source {
    bytes: Bytes,
    size: u64,
}

enum Bytes {
    Memory(Vec<u8>),
    File(File),
    Remote(Remote),
}

/// Why bytes could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file, or whoever answers, failed.
    #[error("bytes {offset}+{length} could not be read: {cause}")]
    Io {
        /// First byte wanted.
        offset: u64,
        /// Bytes wanted.
        length: usize,
        /// The fault.
        cause: io::Error,
    },
    /// The bytes wanted lie, in part or all, beyond the end.
    #[error("bytes {offset}+{length} are not there: the file ends after {size} bytes")]
    Missing {
        /// First byte wanted.
        offset: u64,
        /// Bytes wanted.
        length: usize,
        /// Size of the whole file.
        size: u64,
    },
}

impl Source {
    /// A whole file in memory.
    pub fn memory(bytes: Vec<u8>) -> Self {
        Self { size: bytes.len() as u64, bytes: Bytes::Memory(bytes) }
    }

    /// A local file; its size is taken now.
    pub fn file(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { bytes: Bytes::File(file), size })
    }

    /// Whoever answers `(offset, length)`, for a file of `size` bytes.
    pub fn remote(size: u64, answer: Remote) -> Self {
        Self { bytes: Bytes::Remote(answer), size }
    }

    /// Size of the whole file in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Up to `length` bytes from `offset`: shorter only where the file ends, empty beyond it.
    ///
    /// Nothing is allocated beyond what the file can hold, however large `length` is.
    pub fn read(&mut self, offset: u64, length: usize) -> Result<Vec<u8>, SourceError> {
        let there = self.size.saturating_sub(offset).min(length as u64) as usize;
        if there == 0 {
            return Ok(Vec::new());
        }
        let bytes = match &mut self.bytes {
            // `offset + there <= size`, the length of the vector.
            Bytes::Memory(all) => Ok(all[offset as usize..offset as usize + there].to_vec()),
            Bytes::File(file) => read_file(file, offset, there),
            Bytes::Remote(answer) => answer(offset, there),
        }
        .map_err(|cause| SourceError::Io { offset, length, cause })?;
        if bytes.len() > there {
            let cause = io::Error::new(io::ErrorKind::InvalidData, "more bytes came than were asked for");
            return Err(SourceError::Io { offset, length, cause });
        }
        // A file that shrank, or an answer cut short: never take it for the end of the file.
        if bytes.len() < there {
            return Err(SourceError::Missing { offset, length, size: offset + bytes.len() as u64 });
        }
        Ok(bytes)
    }

    /// Exactly `length` bytes from `offset`, or [`SourceError::Missing`].
    pub fn read_exact_at(&mut self, offset: u64, length: usize) -> Result<Vec<u8>, SourceError> {
        if offset.checked_add(length as u64).is_none_or(|end| end > self.size) {
            return Err(SourceError::Missing { offset, length, size: self.size });
        }
        self.read(offset, length)
    }
}

fn read_file(file: &mut File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::with_capacity(length);
    file.take(length as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_is_short_only_at_the_end() {
        let mut source = Source::memory((0..10).collect());
        assert_eq!(source.read(8, 100).unwrap(), [8, 9]);
        assert!(source.read(u64::MAX, usize::MAX).unwrap().is_empty());
        assert!(matches!(source.read_exact_at(8, 3), Err(SourceError::Missing { size: 10, .. })));
        assert!(matches!(source.read_exact_at(u64::MAX, 3), Err(SourceError::Missing { .. })));
    }

    #[test]
    fn an_answer_cut_short_is_an_error_and_not_the_end() {
        let mut source = Source::remote(10, Box::new(|_, length| Ok(vec![0; length.min(4)])));
        assert_eq!(source.read(0, 4).unwrap().len(), 4);
        assert!(matches!(source.read(0, 6), Err(SourceError::Missing { size: 4, .. })));
        let mut generous = Source::remote(10, Box::new(|_, length| Ok(vec![0; length + 1])));
        assert!(matches!(generous.read(0, 4), Err(SourceError::Io { .. })));
    }

    #[test]
    fn a_local_file_is_read_at_offsets() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ten");
        std::fs::write(&path, (0..10).collect::<Vec<u8>>()).unwrap();
        let mut source = Source::file(&path).unwrap();
        assert_eq!(source.size(), 10);
        assert_eq!(source.read(7, 2).unwrap(), [7, 8]);
        assert_eq!(source.read(2, 2).unwrap(), [2, 3]);
    }
}
