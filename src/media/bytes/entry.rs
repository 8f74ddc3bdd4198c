//! What is kept of one item: pieces of its content on disk or in memory, and who is fetching which.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Span;
use super::folder::{self, FOLDER, Files, Kept, Line};
use super::version::{Key, Version};
use crate::deadline::{Deadline, Expired};

/// How long the store's word that an item is unchanged is taken without asking again.
pub(super) const FRESH: Duration = Duration::from_secs(5 * 60);

/// One content of one item, as far as it is kept.
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) version: Version,
    pub(super) media_type: Option<String>,
    dir: Option<PathBuf>,
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Default)]
struct State {
    pieces: BTreeMap<u64, Piece>,
    /// Bytes in `pieces`, by place.
    on_disk: u64,
    in_memory: u64,
    claims: Vec<Span>,
    index: Option<Kept>,
    memory_index: Option<Arc<[u8]>>,
    checked: Option<SystemTime>,
    used: Option<SystemTime>,
    files: Weak<Files>,
    outgrown: bool,
}

#[derive(Clone)]
struct Piece {
    length: u64,
    place: Place,
}

#[derive(Clone)]
enum Place {
    /// In `data`; `proven` once the checksum was compared in this process.
    Disk {
        checksum: u32,
        proven: bool,
    },
    Memory(Arc<[u8]>),
}

/// Where new bytes of an item may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    Disk,
    Memory,
    Nowhere,
}

/// Spans of an item that this holder alone fetches; given back when dropped.
pub(super) struct Claim<'a> {
    entry: &'a Entry,
    spans: Vec<Span>,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut state = self.entry.state();
        for span in &self.spans {
            if let Some(at) = state.claims.iter().position(|claimed| claimed == span) {
                state.claims.swap_remove(at);
            }
        }
        drop(state);
        self.entry.moved.notify_all();
    }
}

impl Entry {
    /// An empty entry that keeps what it is given in memory.
    pub(super) fn in_memory(key: Key, version: Version, media_type: Option<String>) -> Self {
        let state = State { used: Some(SystemTime::now()), ..State::default() };
        Self { key, version, media_type, dir: None, state: Mutex::new(state), moved: Condvar::new() }
    }

    /// An empty entry with its folder and files.
    pub(super) fn on_disk(key: Key, version: Version, media_type: Option<String>, dir: PathBuf) -> io::Result<(Self, Arc<Files>)> {
        let files = Arc::new(Files::create(&dir, &version, media_type.as_deref())?);
        let mut entry = Self::in_memory(key, version, media_type);
        entry.dir = Some(dir);
        entry.state().files = Arc::downgrade(&files);
        Ok((entry, files))
    }

    /// Reads an entry back from its folder. One without a validator is not: nothing could tell it from another content.
    pub(super) fn load(key: Key, dir: PathBuf) -> Option<Self> {
        let record = folder::read(&dir)?;
        let mut entry = Self::in_memory(key, record.header.version, record.header.media_type);
        entry.dir = Some(dir);
        let mut state = State { used: record.used, ..State::default() };
        for line in record.lines {
            match line {
                Line::Piece { span, checksum } => state.note(span, Place::Disk { checksum, proven: false }),
                Line::Lost { offset } => state.forget(offset),
                Line::Index(kept) => state.index = Some(kept),
                Line::Seen(at) => state.checked = Some(at),
            }
        }
        entry.state = Mutex::new(state);
        entry.version.has_validator().then_some(entry)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change under this lock is a single step, so a panicking holder leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The item's files, opened when nobody has them open; none for an entry in memory or one whose folder is gone.
    pub(super) fn files(&self) -> Option<Arc<Files>> {
        let dir = self.dir.as_deref()?;
        let mut state = self.state();
        if let Some(files) = state.files.upgrade() {
            return Some(files);
        }
        let files = Arc::new(Files::open(dir).ok()?);
        state.files = Arc::downgrade(&files);
        Some(files)
    }

    /// Bytes kept on disk and in memory.
    pub(super) fn kept(&self) -> (u64, u64) {
        let state = self.state();
        let index = state.index.map_or(0, |index| index.length);
        let memory_index = state.memory_index.as_ref().map_or(0, |index| index.len() as u64);
        (if self.dir.is_some() { FOLDER } else { 0 } + index + state.on_disk, state.in_memory + memory_index)
    }

    /// When a trigger last opened it.
    pub(super) fn last_used(&self) -> SystemTime {
        self.state().used.unwrap_or(UNIX_EPOCH)
    }

    /// Notes that a trigger opened it.
    pub(super) fn touch(&self, files: Option<&Files>) {
        let now = SystemTime::now();
        self.state().used = Some(now);
        if let Some(files) = files {
            files.touch(now);
        }
    }

    /// Whether the store said not long ago that this is the item's content.
    pub(super) fn is_fresh(&self) -> bool {
        // A time in the future is a clock that was set back: not fresh.
        self.state().checked.and_then(|at| SystemTime::now().duration_since(at).ok()).is_some_and(|age| age < FRESH)
    }

    /// Notes that the store just said so.
    pub(super) fn note_checked(&self, files: Option<&Files>) {
        let now = SystemTime::now();
        let mut state = self.state();
        // Every range answer says it again; one line a minute is enough.
        let noted = state.checked.and_then(|at| now.duration_since(at).ok()).is_some_and(|age| age < Duration::from_secs(60));
        state.checked = Some(now);
        drop(state);
        if let (false, Some(files)) = (noted, files) {
            files.note(Line::Seen(now));
        }
    }

    #[cfg(test)]
    pub(super) fn age_for_test(&self) {
        self.state().checked = Some(SystemTime::now() - 2 * FRESH);
    }

    /// Notes that there was no room left for this item, so that it starts over when it is opened next.
    pub(super) fn note_outgrown(&self) {
        self.state().outgrown = true;
    }

    /// Whether [`Entry::note_outgrown`] was called.
    pub(super) fn is_outgrown(&self) -> bool {
        self.state().outgrown
    }

    /// Copies what is kept of `span` into `out`, which has its length, and returns what is not.
    pub(super) fn copy(&self, files: Option<&Files>, span: Span, out: &mut [u8]) -> Vec<Span> {
        let pieces: Vec<(u64, Piece)> = self.state().overlapping(span);
        let mut missing = Vec::new();
        let mut at = span.offset;
        for (offset, piece) in pieces {
            let from = offset.max(span.offset);
            let to = (offset + piece.length).min(span.end());
            let part = &mut out[(from - span.offset) as usize..(to - span.offset) as usize];
            if !self.copy_piece(files, offset, &piece, from, part) {
                continue;
            }
            if from > at {
                missing.push(Span::between(at, from));
            }
            at = to;
        }
        if at < span.end() {
            missing.push(Span::between(at, span.end()));
        }
        missing
    }

    /// Which parts of `span` are not kept.
    pub(super) fn missing(&self, span: Span) -> Vec<Span> {
        self.state().missing(span)
    }

    /// Copies from one piece; a piece that turns out damaged is forgotten.
    fn copy_piece(&self, files: Option<&Files>, offset: u64, piece: &Piece, from: u64, out: &mut [u8]) -> bool {
        let skip = (from - offset) as usize;
        match &piece.place {
            Place::Memory(bytes) => {
                out.copy_from_slice(&bytes[skip..skip + out.len()]);
                true
            }
            Place::Disk { checksum, proven } => {
                let intact = files.is_some_and(|files| match proven {
                    true => files.read(from, out),
                    false => files.read_proving(Span { offset, length: piece.length }, *checksum).is_some_and(|bytes| {
                        out.copy_from_slice(&bytes[skip..skip + out.len()]);
                        true
                    }),
                });
                let mut state = self.state();
                match state.pieces.get_mut(&offset) {
                    Some(Piece { place: Place::Disk { proven, .. }, .. }) if intact => *proven = true,
                    Some(Piece { place: Place::Disk { .. }, .. }) => {
                        state.forget(offset);
                        if let Some(files) = files {
                            files.note(Line::Lost { offset });
                        }
                    }
                    _ => {}
                }
                intact
            }
        }
    }

    /// Keeps `bytes` that stand at `offset`, as far as they are not kept yet; false when they could not be.
    pub(super) fn keep(&self, files: Option<&Files>, offset: u64, bytes: &[u8], room: Room) -> bool {
        let missing = self.state().missing(Span { offset, length: bytes.len() as u64 });
        for span in missing {
            let part = &bytes[(span.offset - offset) as usize..(span.end() - offset) as usize];
            let place = match (room, files) {
                (Room::Nowhere, _) => return false,
                (Room::Disk, Some(files)) => match files.write(span, part) {
                    Ok(checksum) => Place::Disk { checksum, proven: true },
                    Err(_) => return false,
                },
                _ => Place::Memory(part.into()),
            };
            let mut state = self.state();
            // Someone may have kept the same bytes meanwhile.
            state.note(span, place);
        }
        true
    }

    /// Claims spans for fetching. None when someone fetches, or has meanwhile kept, a part of them: look again then,
    /// after [`Entry::wait`].
    pub(super) fn claim(&self, spans: &[Span]) -> Option<Claim<'_>> {
        let mut state = self.state();
        let taken = spans.iter().any(|span| state.claims.iter().any(|claimed| claimed.overlaps(span)) || state.missing(*span) != [*span]);
        if taken {
            return None;
        }
        state.claims.extend_from_slice(spans);
        Some(Claim { entry: self, spans: spans.to_vec() })
    }

    /// Waits until nobody fetches a part of `spans`.
    pub(super) fn wait(&self, spans: &[Span], deadline: &Deadline) -> Result<(), Expired> {
        let mut state = self.state();
        while state.claims.iter().any(|claimed| spans.iter().any(|span| claimed.overlaps(span))) {
            let left = deadline.glance()?;
            state = self.moved.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    /// The index that was kept, if it is intact.
    pub(super) fn index(&self) -> Option<Vec<u8>> {
        let state = self.state();
        if let Some(index) = &state.memory_index {
            return Some(index.to_vec());
        }
        let kept = state.index?;
        drop(state);
        folder::read_index(self.dir.as_deref()?, kept)
    }

    /// Keeps an index.
    pub(super) fn keep_index(&self, files: Option<&Files>, bytes: &[u8], room: Room) {
        match (room, files, &self.dir) {
            (Room::Nowhere, ..) => {}
            (Room::Disk, Some(files), Some(dir)) => {
                if let Ok(kept) = files.write_index(dir, bytes) {
                    self.state().index = Some(kept);
                }
            }
            _ => self.state().memory_index = Some(bytes.into()),
        }
    }

    /// Removes the folder.
    pub(super) fn remove(&self) {
        if let Some(dir) = &self.dir {
            folder::remove(dir);
        }
    }
}

impl State {
    fn overlapping(&self, span: Span) -> Vec<(u64, Piece)> {
        let before = self.pieces.range(..span.offset).next_back().filter(|(offset, piece)| *offset + piece.length > span.offset);
        before.into_iter().chain(self.pieces.range(span.offset..span.end())).map(|(offset, piece)| (*offset, piece.clone())).collect()
    }

    fn missing(&self, span: Span) -> Vec<Span> {
        let mut missing = Vec::new();
        let mut at = span.offset;
        for (offset, piece) in self.overlapping(span) {
            if offset > at {
                missing.push(Span::between(at, offset));
            }
            at = offset + piece.length;
        }
        if at < span.end() {
            missing.push(Span::between(at, span.end()));
        }
        missing
    }

    /// Takes over a piece, unless a part of it is there already.
    fn note(&mut self, span: Span, place: Place) {
        if self.missing(span) == [span] {
            *self.total(&place) += span.length;
            self.pieces.insert(span.offset, Piece { length: span.length, place });
        }
    }

    fn forget(&mut self, offset: u64) {
        if let Some(piece) = self.pieces.remove(&offset) {
            *self.total(&piece.place) -= piece.length;
        }
    }

    fn total(&mut self, place: &Place) -> &mut u64 {
        match place {
            Place::Disk { .. } => &mut self.on_disk,
            Place::Memory(_) => &mut self.in_memory,
        }
    }
}
