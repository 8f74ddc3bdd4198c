//! A place for an item whose size the store does not tell: a file without a name, or memory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use super::cache::Cache;
use super::entry::Room;
use super::folder::LARGEST_PIECE;

/// Takes bytes until the item's end shows its size.
pub(super) struct Spool<'a> {
    cache: &'a Cache,
    place: Place,
    size: u64,
}

enum Place {
    File(File),
    Memory(Vec<u8>),
}

impl<'a> Spool<'a> {
    /// Over a file, or over memory.
    pub(super) fn new(cache: &'a Cache, file: Option<File>) -> Self {
        Self { cache, place: file.map_or_else(|| Place::Memory(Vec::new()), Place::File), size: 0 }
    }

    /// A file in `items` that goes when it is closed.
    pub(super) fn file_in(items: &Path) -> io::Result<File> {
        let path = items.join(format!("spool-{:08x}", getrandom::u32().unwrap_or_default()));
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        fs::remove_file(path)?;
        Ok(file)
    }

    /// Bytes taken so far.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Takes the next bytes, or says why not.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        let all = self.size + bytes.len() as u64;
        let fits = match &mut self.place {
            // They are here and, for a moment, in the cache.
            Place::File(file) => {
                all <= self.cache.largest_item() && self.cache.room(all, true) == Room::Disk && file.write_all(bytes).is_ok()
            }
            Place::Memory(kept) => {
                let fits = self.cache.room(all, false) == Room::Memory;
                if fits {
                    kept.extend_from_slice(bytes);
                }
                fits
            }
        };
        self.size = all;
        if fits { Ok(()) } else { Err(format!("it does not tell the item's size, and its first {all} bytes do not fit in the cache")) }
    }

    /// Hands all bytes to `sink` until it refuses; false when it did.
    pub(super) fn pour(self, mut sink: impl FnMut(u64, &[u8]) -> bool) -> bool {
        match self.place {
            Place::Memory(bytes) => {
                bytes.chunks(LARGEST_PIECE as usize).enumerate().all(|(at, part)| sink(at as u64 * LARGEST_PIECE, part))
            }
            Place::File(file) => {
                let mut buffer = vec![0; LARGEST_PIECE as usize];
                (0..self.size).step_by(LARGEST_PIECE as usize).all(|at| {
                    let part = &mut buffer[..LARGEST_PIECE.min(self.size - at) as usize];
                    file.read_exact_at(part, at).is_ok() && sink(at, part)
                })
            }
        }
    }
}
