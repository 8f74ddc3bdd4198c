//! A stretch of the file held while a reader walks over it, so that small steps do not each cost a read.

use super::super::source::{Source, SourceError};

/// The stretch held last, and the file's first bytes.
pub(super) struct Window<'a> {
    source: &'a mut Source,
    head: Vec<u8>,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    /// Begins with the file's first bytes, which were read to see what it is.
    pub(super) fn new(source: &'a mut Source, head: Vec<u8>) -> Self {
        Self { source, head, start: 0, bytes: Vec::new() }
    }

    /// Size of the whole file in bytes.
    pub(super) fn size(&self) -> u64 {
        self.source.size()
    }

    /// Up to `length` bytes from `offset`, shorter only where the file ends. When they must be read, at least `ahead`
    /// bytes are read from there, for the next steps.
    pub(super) fn get(&mut self, offset: u64, length: usize, ahead: usize) -> Result<&[u8], SourceError> {
        let length = self.size().saturating_sub(offset).min(length as u64) as usize;
        let at_head = usize::try_from(offset).ok().filter(|at| at + length <= self.head.len());
        if let Some(at) = at_head {
            return Ok(&self.head[at..at + length]);
        }
        if self.bytes.is_empty() && offset < self.head.len() as u64 {
            (self.start, self.bytes) = (0, self.head.clone());
        }
        let held = self.start + self.bytes.len() as u64;
        if offset < self.start || offset > held {
            self.bytes = self.source.read(offset, length.max(ahead))?;
            self.start = offset;
        } else if held - offset < length as u64 {
            // Begun already: only the rest is read.
            let rest = self.source.read(held, (length - (held - offset) as usize).max(ahead))?;
            self.bytes.drain(..(offset - self.start) as usize);
            self.bytes.extend_from_slice(&rest);
            self.start = offset;
        }
        let at = (offset - self.start) as usize;
        Ok(&self.bytes[at..at + length])
    }
}
