//! The worker's only way to bytes: asking the daemon.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::media::source::Source;
use crate::media::worker::protocol::{FromWorker, Job, MAX_INDEX, MAX_READ, MAX_SPANS, ToWorker};
use crate::media::worker::wire::{Wire, WireError};

/// The connection to the daemon; clones share it.
#[derive(Clone)]
pub(super) struct Link {
    shared: Arc<Shared>,
}

struct Shared {
    wire: Mutex<Wire>,
    /// The daemon said that it cannot hand out bytes: whatever the reader makes of it, that is the reason.
    refused: AtomicBool,
    /// Microseconds spent waiting for bytes in this job.
    waited: AtomicU64,
}

impl Link {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self {
            shared: Arc::new(Shared { wire: Mutex::new(Wire::new(stream)), refused: AtomicBool::new(false), waited: AtomicU64::new(0) }),
        }
    }

    fn wire(&self) -> MutexGuard<'_, Wire> {
        self.shared.wire.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next job, or returns `None` when none came for so long. With it comes what is kept of the item's index.
    pub(super) fn next_job(&self, patience: Duration) -> Result<Option<(Job, Vec<u8>)>, WireError> {
        let mut wire = self.wire();
        if !wire.has_news(patience)? {
            return Ok(None);
        }
        let (message, index) = wire.receive(MAX_INDEX, None)?;
        let ToWorker::Job(job) = message else { return Err(WireError::Form("bytes that nobody asked for".to_owned())) };
        self.shared.refused.store(false, Ordering::Relaxed);
        self.shared.waited.store(0, Ordering::Relaxed);
        Ok(Some((job, index)))
    }

    /// Sends a message to the daemon.
    pub(super) fn send(&self, message: &FromWorker, payload: &[u8]) -> Result<(), WireError> {
        self.wire().send(message, payload, None)
    }

    /// Whether the daemon refused bytes in this job.
    pub(super) fn refused(&self) -> bool {
        self.shared.refused.load(Ordering::Relaxed)
    }

    /// Time spent waiting for bytes in this job.
    pub(super) fn waited(&self) -> Duration {
        Duration::from_micros(self.shared.waited.load(Ordering::Relaxed))
    }

    /// The item as a source of `size` bytes.
    pub(super) fn source(&self, size: u64) -> Source {
        let link = self.clone();
        Source::remote(size, Box::new(move |offset, length| link.read(offset, length)))
    }

    /// `length` bytes from `offset`; fewer where the file ends.
    pub(super) fn read(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let piece = (length - bytes.len()).min(MAX_READ);
            let before = bytes.len();
            self.ask(vec![(offset + before as u64, piece as u64)], &mut |got| bytes.extend_from_slice(got))?;
            if bytes.len() - before < piece {
                break;
            }
        }
        Ok(bytes)
    }

    /// Hands all bytes of some spans that do not overlap to `sink`, in order and as they come; the daemon may fetch them with
    /// fewer requests than there are spans. Fewer where the file ends.
    pub(super) fn stream(&self, spans: &[(u64, u64)], sink: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let mut batch = Vec::new();
        let mut length = 0;
        for &(offset, size) in spans {
            if !batch.is_empty() && (batch.len() == MAX_SPANS || length + size > MAX_READ as u64) {
                self.ask(std::mem::take(&mut batch), sink)?;
                length = 0;
            }
            if size > MAX_READ as u64 {
                sink(&self.read(offset, size as usize)?);
                continue;
            }
            batch.push((offset, size));
            length += size;
        }
        if batch.is_empty() { Ok(()) } else { self.ask(batch, sink) }
    }

    fn ask(&self, spans: Vec<(u64, u64)>, sink: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let mut wire = self.wire();
        let mut start = Instant::now();
        wire.send(&FromWorker::Read { spans }, &[], None).map_err(io::Error::other)?;
        loop {
            let (message, bytes) = wire.receive(MAX_READ, None).map_err(io::Error::other)?;
            self.shared.waited.fetch_add(start.elapsed().as_micros() as u64, Ordering::Relaxed);
            match message {
                ToWorker::Bytes { last } => {
                    if !bytes.is_empty() {
                        sink(&bytes);
                    }
                    if last {
                        return Ok(());
                    }
                }
                ToWorker::NoBytes => {
                    self.shared.refused.store(true, Ordering::Relaxed);
                    return Err(io::Error::other("the daemon cannot read it"));
                }
                ToWorker::Job(_) => return Err(io::Error::other("a job in the middle of a job")),
            }
            start = Instant::now();
        }
    }
}
