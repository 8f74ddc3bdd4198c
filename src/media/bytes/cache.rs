//! The items that are kept: found by key, bounded in bytes, the longest unused dropped first.
//!
//! One process owns a cache directory at a time, held by a lock on the file `lock` in it; a second one keeps what it
//! fetches in memory, as does a process whose directory cannot be written, until it can. Only `lock` and `items` are touched there.

use std::collections::{HashMap, HashSet};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use super::entry::{Entry, Room};
use super::folder::{self, Files, LARGEST_PIECE};
use super::spool::Spool;
use super::version::{Key, Version};
use crate::deadline::{Deadline, Expired};

/// Bound on what is kept in memory when the disk cannot be used.
const MEMORY: u64 = 48 << 20;

/// Free space that is left to others: this, or a twentieth of a smaller disk.
const FREE_FLOOR: u64 = 1 << 30;

/// All entries.
pub(super) struct Cache {
    dir: PathBuf,
    limit: u64,
    /// Once the directory could be taken over.
    disk: OnceLock<Disk>,
    /// The disk has refused something since it was last looked at.
    refused: AtomicBool,
    entries: Mutex<Entries>,
    opened: Condvar,
}

struct Disk {
    items: PathBuf,
    limit: u64,
    /// Held for as long as the process owns the directory.
    _lock: File,
}

#[derive(Default)]
struct Entries {
    by_key: HashMap<Key, Arc<Entry>>,
    opening: HashSet<Key>,
}

/// The right to open one key; others that open the same one wait, and then find what this one learnt.
pub(super) struct Turn<'a> {
    cache: &'a Cache,
    key: Key,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.cache.entries().opening.remove(&self.key);
        self.cache.opened.notify_all();
    }
}

impl Cache {
    /// Takes over `dir`, drops what is damaged or too much; without a usable directory, keeps things in memory.
    pub(super) fn open(dir: &Path, limit: u64) -> Self {
        let (disk, refused, entries, opened) = (OnceLock::new(), AtomicBool::new(false), Mutex::default(), Condvar::new());
        let cache = Self { dir: dir.to_owned(), limit, disk, refused, entries, opened };
        if let Err(error) = cache.take_over() {
            let directory = dir.display();
            if error.kind() == io::ErrorKind::ResourceBusy {
                tracing::info!(%directory, "the media cache is used by another edgelabel; this one keeps media in memory");
            } else {
                tracing::warn!(%directory, %error, "the media cache cannot be used; media is kept in memory only");
            }
        }
        cache
    }

    fn take_over(&self) -> io::Result<()> {
        let disk = Disk::open(&self.dir, self.limit)?;
        // What was learnt in memory meanwhile is newer.
        let mut found = disk.load();
        let mut entries = self.entries();
        found.extend(entries.by_key.drain());
        entries.by_key = found;
        drop(entries);
        self.room_on(&disk, 0);
        // Two that look at once: the lock lets only one of them get here.
        let _ = self.disk.set(disk);
        Ok(())
    }

    /// What keeps media from being kept on the disk, if anything does. A directory that was mended is in use from then on.
    pub(super) fn problem(&self) -> Option<String> {
        let told = |cause: String| Some(format!("{}: {cause}; media is kept in memory and fetched more often", self.dir.display()));
        let Some(disk) = self.disk.get() else { return self.take_over().err().and_then(|error| told(error.to_string())) };
        if !self.refused.load(Ordering::Relaxed) {
            return None;
        }
        if let Err(error) = prove_writable(&disk.items) {
            return told(error.to_string());
        }
        if !self.room_on(disk, LARGEST_PIECE) {
            let (free, floor) = disk.free();
            return told(format!("only {} MB are free, of which {} stay free for others", free >> 20, floor >> 20));
        }
        self.refused.store(false, Ordering::Relaxed);
        None
    }

    /// Notes that the disk has refused something.
    fn refuse(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        // Every change under this lock is a single step, so a panicking holder leaves nothing half done.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody else opens `key`.
    pub(super) fn turn(&self, key: Key, deadline: &Deadline) -> Result<Turn<'_>, Expired> {
        let mut entries = self.entries();
        while entries.opening.contains(&key) {
            let left = deadline.glance()?;
            entries = self.opened.wait_timeout(entries, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        entries.opening.insert(key);
        Ok(Turn { cache: self, key })
    }

    /// What is kept under `key`.
    pub(super) fn find(&self, key: Key) -> Option<Arc<Entry>> {
        let mut entries = self.entries();
        let entry = Arc::clone(entries.by_key.get(&key)?);
        // An item larger than the cache starts over once nobody reads it: the map's and this one are the only holders.
        if entry.is_outgrown() && Arc::strong_count(&entry) == 2 {
            entries.by_key.remove(&key);
            drop(entries);
            entry.remove();
            return None;
        }
        Some(entry)
    }

    /// A new, empty entry in the place of whatever was under `key`.
    pub(super) fn start(&self, key: Key, version: Version, media_type: Option<String>) -> (Arc<Entry>, Option<Arc<Files>>) {
        let on_disk = self.disk.get().filter(|disk| self.room_on(disk, 0)).and_then(|disk| {
            let name = format!("{key}-{:08x}", getrandom::u32().unwrap_or_default());
            Entry::on_disk(key, version.clone(), media_type.clone(), disk.items.join(name)).ok()
        });
        if on_disk.is_none() {
            self.refuse();
        }
        let (entry, files) = match on_disk {
            Some((entry, files)) => (entry, Some(files)),
            None => (Entry::in_memory(key, version, media_type), None),
        };
        let entry = Arc::new(entry);
        let before = self.entries().by_key.insert(key, Arc::clone(&entry));
        if let Some(before) = before {
            before.remove();
        }
        (entry, files)
    }

    /// Forgets an entry whose item has changed.
    pub(super) fn forget(&self, entry: &Arc<Entry>) {
        let mut entries = self.entries();
        if entries.by_key.get(&entry.key).is_some_and(|kept| Arc::ptr_eq(kept, entry)) {
            entries.by_key.remove(&entry.key);
        }
        drop(entries);
        entry.remove();
    }

    /// Makes room for `bytes` more, dropping what was not used for longest.
    pub(super) fn room(&self, bytes: u64, has_files: bool) -> Room {
        match self.disk.get() {
            Some(disk) if has_files && self.room_on(disk, bytes) => Room::Disk,
            _ if self.room_in_memory(bytes) => Room::Memory,
            _ => Room::Nowhere,
        }
    }

    /// Keeps bytes of an item as well as room allows; false when they are not kept.
    pub(super) fn keep(&self, entry: &Entry, files: Option<&Files>, offset: u64, bytes: &[u8]) -> bool {
        let room = self.room(bytes.len() as u64, files.is_some());
        let kept_here = entry.keep(files, offset, bytes, room);
        if files.is_some() && !(kept_here && room == Room::Disk) {
            self.refuse();
        }
        let kept = kept_here
            // A disk that refuses to write, whatever it said about room.
            || (room == Room::Disk && self.room_in_memory(bytes.len() as u64) && entry.keep(None, offset, bytes, Room::Memory));
        if !kept {
            entry.note_outgrown();
        }
        kept
    }

    /// A place for an item of unknown size.
    pub(super) fn spool(&self) -> Spool<'_> {
        let file = self.disk.get().filter(|disk| self.room_on(disk, LARGEST_PIECE)).and_then(|disk| Spool::file_in(&disk.items).ok());
        Spool::new(self, file)
    }

    /// The largest item that could be kept whole, in bytes.
    pub(super) fn largest_item(&self) -> u64 {
        self.disk.get().map_or(MEMORY, |disk| disk.limit.max(MEMORY))
    }

    /// Makes what is known about `key` old.
    #[cfg(test)]
    pub(super) fn age_for_test(&self, key: Key) {
        self.entries().by_key[&key].age_for_test();
    }

    /// Bytes that are kept, on the disk and in memory.
    pub(super) fn kept_bytes(&self) -> u64 {
        self.entries().by_key.values().map(|entry| entry.kept()).map(|(disk, memory)| disk + memory).sum()
    }

    fn room_on(&self, disk: &Disk, bytes: u64) -> bool {
        let short = |kept: u64| {
            let (free, floor) = disk.free();
            let too_much = (kept + bytes).saturating_sub(disk.limit);
            too_much.max((floor.saturating_add(bytes)).saturating_sub(free))
        };
        self.make_room(|kept| kept.0, short)
    }

    fn room_in_memory(&self, bytes: u64) -> bool {
        self.make_room(|kept| kept.1, |kept| (kept + bytes).saturating_sub(MEMORY))
    }

    /// Drops entries that nobody reads, the longest unused first, until `short` says that no bytes are lacking any more.
    fn make_room(&self, holds: impl Fn((u64, u64)) -> u64, short: impl Fn(u64) -> u64) -> bool {
        let mut entries = self.entries();
        let mut kept: u64 = entries.by_key.values().map(|entry| holds(entry.kept())).sum();
        if short(kept) == 0 {
            return true;
        }
        let mut unused: Vec<Arc<Entry>> = entries.by_key.values().filter(|entry| Arc::strong_count(entry) == 1).cloned().collect();
        unused.sort_by_cached_key(|entry| entry.last_used());
        for entry in unused {
            let held = holds(entry.kept());
            if held > 0 {
                entries.by_key.remove(&entry.key);
                entry.remove();
                kept -= held;
                if short(kept) == 0 {
                    return true;
                }
            }
        }
        false
    }
}

impl Disk {
    fn open(dir: &Path, limit: u64) -> io::Result<Self> {
        let items = dir.join("items");
        DirBuilder::new().recursive(true).mode(0o700).create(&items)?;
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(dir.join("lock"))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => io::ErrorKind::ResourceBusy.into(),
            fs::TryLockError::Error(error) => error,
        })?;
        // A file system that was mounted read-only, or that is full of other people's files, says so now.
        prove_writable(&items)?;
        Ok(Self { items, limit, _lock: lock })
    }

    /// Reads all entries back and removes everything that is not one.
    fn load(&self) -> HashMap<Key, Arc<Entry>> {
        let mut found: HashMap<Key, Arc<Entry>> = HashMap::new();
        for file in fs::read_dir(&self.items).into_iter().flatten().flatten() {
            let path = file.path();
            let key = file.file_name().to_str().and_then(|name| Key::parse(name.split_once('-')?.0));
            let Some(entry) = key.and_then(|key| Entry::load(key, path.clone())) else {
                folder::remove(&path);
                let _ = fs::remove_file(&path);
                continue;
            };
            // Two contents of one item are left when a process ended between making the new and removing the old.
            let older = match found.get(&entry.key) {
                Some(other) if other.last_used() > entry.last_used() => Some(Arc::new(entry)),
                _ => found.insert(entry.key, Arc::new(entry)),
            };
            if let Some(older) = older {
                older.remove();
            }
        }
        found
    }

    /// Bytes that are free for us, and how many of them must stay free.
    fn free(&self) -> (u64, u64) {
        match rustix::fs::statvfs(&self.items) {
            Ok(stat) => (stat.f_bavail.saturating_mul(stat.f_frsize), FREE_FLOOR.min(stat.f_blocks.saturating_mul(stat.f_frsize) / 20)),
            Err(_) => (0, FREE_FLOOR),
        }
    }
}

fn prove_writable(items: &Path) -> io::Result<()> {
    let probe = items.join("probe");
    fs::write(&probe, b"edgelabel")?;
    fs::remove_file(&probe)
}
