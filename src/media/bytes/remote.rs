//! An item behind a link: what is kept of it, and the store for the rest.

use std::sync::Arc;

use super::cache::Cache;
use super::entry::Entry;
use super::folder::{Files, LARGEST_PIECE};
use super::origin::{Body, Fetched, Origin, Refusal, Reply};
use super::outlet::Outlet;
use super::plan::requests_for;
use super::version::{Key, Version};
use super::{Facts, HEAD, Span};
use crate::deadline::Deadline;
use crate::http::Fault;
use crate::media::{DataType, Error};

/// The first request for a picture: most fit, and then it is the only one.
const PICTURE: u64 = 8 << 20;

/// How often a transfer of a whole item is begun again within one read.
const RESTARTS: u32 = 3;

/// An item behind a link while a trigger reads it.
pub(super) struct Remote<'a> {
    cache: &'a Cache,
    origin: Origin<'a>,
    entry: Arc<Entry>,
    files: Option<Arc<Files>>,
    /// The whole item on its way, from a store that serves no ranges.
    stream: Option<Stream>,
    /// The store said lately that the kept bytes are of its item.
    checked: bool,
    changed: bool,
}

struct Stream {
    body: Body,
    at: u64,
}

impl<'a> Remote<'a> {
    /// Finds the item in the cache or asks for its first bytes; returns them too.
    pub(super) fn open(
        cache: &'a Cache,
        origin: Origin<'a>,
        key: Key,
        data_type: DataType,
        deadline: &Deadline,
    ) -> Result<(Self, Vec<u8>), Error> {
        // Two triggers on one item: the second waits here and finds what the first learnt.
        let _turn = cache.turn(key, deadline)?;
        if let Some(entry) = cache.find(key) {
            let files = entry.files();
            let mut head = vec![0; HEAD.min(entry.version.size) as usize];
            // Without a validator nothing would tell an old content from a new one later on.
            let usable = entry.is_fresh() || entry.version.has_validator();
            if usable && entry.copy(files.as_deref(), Span::between(0, head.len() as u64), &mut head).is_empty() {
                entry.touch(files.as_deref());
                let checked = entry.is_fresh();
                return Ok((Self { cache, origin, entry, files, stream: None, checked, changed: false }, head));
            }
        }
        let first = if data_type == DataType::Image { PICTURE } else { HEAD };
        let mut remote = Self::ask_first(cache, origin, key, Span::between(0, first), deadline)?;
        let head = remote.read(Span::between(0, HEAD).clipped(remote.size()), deadline)?;
        Ok((remote, head))
    }

    /// Learns size and version from the first request, and keeps what came with it.
    fn ask_first(cache: &'a Cache, mut origin: Origin<'a>, key: Key, first: Span, deadline: &Deadline) -> Result<Self, Error> {
        let (version, part, body) = match origin.ask(first, deadline)? {
            Reply::Part { span, version, body } if span.offset == 0 && span.end() <= first.end() => (version, Some(span), Some(body)),
            Reply::Part { .. } => return Err(origin.wrong("asked for the first bytes, it sent others")),
            Reply::Whole { version, body } => (version, None, Some(body)),
            Reply::WholeUnsized { version, body } => {
                let media_type = body.media_type.clone();
                let mut spool = cache.spool();
                let version = origin.receive_unsized(body, version, &mut spool, deadline)?;
                let remote = Self::over(cache, origin, key, version, media_type);
                let poured = spool.pour(|at, bytes| remote.keep(at, bytes));
                return if poured { Ok(remote) } else { Err(remote.no_room()) };
            }
            Reply::Beyond { size: 0 } => (Version { size: 0, etag: None, last_modified: None }, None, None),
            Reply::Beyond { size } => return Err(origin.wrong(format!("it has no first byte of an item of {size} bytes"))),
        };
        let media_type = body.as_ref().and_then(|body| body.media_type.clone());
        let mut remote = Self::over(cache, origin, key, version, media_type);
        match (part, body) {
            (Some(part), Some(body)) => {
                let (entry, files) = (&remote.entry, &remote.files);
                let mut at = 0;
                // A transfer that breaks here is taken up again by the read that follows.
                let _ = remote.origin.receive(body, &mut at, part.end(), &mut |at, bytes| {
                    cache.keep(entry, files.as_deref(), at, bytes);
                });
            }
            (None, Some(body)) => remote.stream = Some(Stream { body, at: 0 }),
            _ => {}
        }
        Ok(remote)
    }

    /// Over a new entry.
    fn over(cache: &'a Cache, origin: Origin<'a>, key: Key, version: Version, media_type: Option<String>) -> Self {
        let (entry, files) = cache.start(key, version, media_type);
        entry.note_checked(files.as_deref());
        Self { cache, origin, entry, files, stream: None, checked: true, changed: false }
    }

    pub(super) fn size(&self) -> u64 {
        self.entry.version.size
    }

    pub(super) fn content(&self) -> Option<String> {
        self.entry.version.has_validator().then(|| self.entry.key.with_version(&self.entry.version))
    }

    pub(super) fn media_type(&self) -> Option<&str> {
        self.entry.media_type.as_deref()
    }

    pub(super) fn changed(&self) -> bool {
        self.changed
    }

    pub(super) fn forget(&self) {
        self.cache.forget(&self.entry);
    }

    pub(super) fn facts(&self) -> Facts {
        Facts { bytes_fetched: self.origin.bytes, requests: self.origin.requests, total_bytes: self.size() }
    }

    pub(super) fn index(&self) -> Option<Vec<u8>> {
        self.entry.index()
    }

    pub(super) fn keep_index(&self, bytes: &[u8]) {
        if !self.changed {
            let room = self.cache.room(bytes.len() as u64, self.files.is_some());
            self.entry.keep_index(self.files.as_deref(), bytes, room);
        }
    }

    /// The bytes of `span`, which lies within the item.
    pub(super) fn read(&mut self, span: Span, deadline: &Deadline) -> Result<Vec<u8>, Error> {
        let mut out = vec![0; span.length as usize];
        loop {
            let missing = self.entry.copy(self.files.as_deref(), span, &mut out);
            let got = self.obtain(missing, deadline, &mut |at, bytes| {
                let both = Span::between(at.max(span.offset), (at + bytes.len() as u64).min(span.end()));
                if both.length > 0 {
                    let from = (both.offset - at) as usize;
                    let to = (both.offset - span.offset) as usize;
                    out[to..to + both.length as usize].copy_from_slice(&bytes[from..from + both.length as usize]);
                }
            })?;
            if got {
                return Ok(out);
            }
        }
    }

    /// Hands the bytes of spans, which lie within the item, to `sink`, in order, each as soon as it is there.
    pub(super) fn stream(&mut self, spans: &[Span], deadline: &Deadline, sink: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        let (entry, files) = (Arc::clone(&self.entry), self.files.clone());
        let mut outlet = Outlet::new(spans);
        loop {
            outlet.give_kept(&entry, files.as_deref(), sink);
            let missing = outlet.left().flat_map(|span| entry.missing(span)).collect();
            let before = outlet.given;
            let got = self.obtain(missing, deadline, &mut |at, bytes| {
                outlet.give(at, bytes, sink);
                outlet.give_kept(&entry, files.as_deref(), sink);
            })?;
            // The spans may be asked for in another order than they lie in the item, and what could not be kept is read again.
            if got && outlet.given == before {
                for span in outlet.left().collect::<Vec<_>>() {
                    sink(&self.read(span, deadline)?);
                }
                return Ok(());
            }
        }
    }

    /// Fetches what is missing, keeps it, and shows it to `sink`. False when another trigger was fetching a part of it:
    /// then the caller looks again at what is missing.
    fn obtain(&mut self, missing: Vec<Span>, deadline: &Deadline, sink: &mut dyn FnMut(u64, &[u8])) -> Result<bool, Error> {
        if self.changed {
            return Err(self.gone());
        }
        let (Some(first), Some(last)) = (missing.first().copied(), missing.last().copied()) else { return Ok(true) };
        if let Some(stream) = self.stream.take().filter(|stream| stream.at <= first.offset) {
            return self.stream_until(stream, last.end(), deadline, sink).map(|()| true);
        }
        let entry = Arc::clone(&self.entry);
        let Some(_claim) = entry.claim(&missing) else {
            entry.wait(&missing, deadline)?;
            return Ok(false);
        };
        for request in requests_for(missing) {
            let (cache, files) = (self.cache, self.files.as_deref());
            let fetched = self.origin.fetch(request, &entry.version, deadline, &mut |at, bytes| {
                cache.keep(&entry, files, at, bytes);
                sink(at, bytes);
            });
            match fetched {
                Ok(Fetched::Done) => {
                    self.checked = true;
                    entry.note_checked(files);
                }
                Ok(Fetched::Streaming(body)) => {
                    let stream = Stream { body, at: 0 };
                    return self.stream_until(stream, last.end(), deadline, sink).map(|()| true);
                }
                Err(Refusal::Failed(error)) => return Err(error),
                Err(Refusal::Changed) => {
                    self.changed = true;
                    self.cache.forget(&entry);
                    return Err(self.gone());
                }
            }
        }
        Ok(true)
    }

    /// Receives a whole item up to `end`; all of it must be kept, because it comes only once. When the transfer breaks,
    /// it begins again from the first byte: a store without ranges knows no other way.
    fn stream_until(&mut self, stream: Stream, end: u64, deadline: &Deadline, sink: &mut dyn FnMut(u64, &[u8])) -> Result<(), Error> {
        if self.size() > self.cache.largest_item() {
            return Err(self.no_room());
        }
        let mut stream = stream;
        let mut restarts = 0;
        let mut buffer = vec![0; LARGEST_PIECE as usize];
        while stream.at < end {
            let wanted = (LARGEST_PIECE.min(self.size() - stream.at)) as usize;
            let (filled, outcome) = stream.body.fill(&mut buffer[..wanted]);
            self.origin.bytes += filled as u64;
            if !self.keep(stream.at, &buffer[..filled]) {
                return Err(self.no_room());
            }
            sink(stream.at, &buffer[..filled]);
            stream.at += filled as u64;
            let fault = match outcome {
                Ok(()) if filled == wanted => continue,
                Ok(()) => Fault::Broken { host: self.origin.host(), cause: "the answer ended early".into() },
                Err(fault) => fault,
            };
            restarts += 1;
            if restarts > RESTARTS || !fault.is_transient() || deadline.left().is_err() {
                return Err(self.origin.failed(fault, deadline));
            }
            let whole = self.origin.ask(Span::between(0, self.size()), deadline)?;
            let Reply::Whole { version, body } = whole else { return Err(self.origin.failed(fault, deadline)) };
            if !version.is_same_as(&self.entry.version) {
                self.changed = true;
                self.cache.forget(&self.entry);
                return Err(self.gone());
            }
            stream = Stream { body, at: 0 };
        }
        if stream.at < self.size() {
            self.stream = Some(stream);
        } else {
            stream.body.finish();
        }
        Ok(())
    }

    /// Makes sure that the store still has this content, with one small request if nothing said so lately.
    pub(super) fn confirm(&mut self, deadline: &Deadline) -> Result<(), Error> {
        if self.changed {
            return Err(self.gone());
        }
        if self.checked || self.entry.is_fresh() {
            return Ok(());
        }
        let version = match self.origin.ask(Span::between(0, 1), deadline)? {
            Reply::Part { version, body, .. } => {
                let _ = self.origin.receive(body, &mut 0, 1, &mut |_, _| {});
                version
            }
            Reply::Whole { version, .. } => version,
            Reply::WholeUnsized { version, .. } => version.sized(self.size()),
            Reply::Beyond { size } => Version { size, etag: None, last_modified: None },
        };
        if !version.is_same_as(&self.entry.version) {
            self.changed = true;
            self.cache.forget(&self.entry);
            return Err(self.gone());
        }
        self.checked = true;
        self.entry.note_checked(self.files.as_deref());
        Ok(())
    }

    fn keep(&self, at: u64, bytes: &[u8]) -> bool {
        self.cache.keep(&self.entry, self.files.as_deref(), at, bytes)
    }

    fn gone(&self) -> Error {
        self.origin.wrong("the item was replaced by another while it was read")
    }

    fn no_room(&self) -> Error {
        self.origin.wrong(format!(
            "it serves no ranges, and all {} bytes of the item do not fit in the cache (media.cache_bytes, free disk space)",
            self.size()
        ))
    }
}
