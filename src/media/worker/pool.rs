//! A few warm workers, more when they are all busy, and a queue before them.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::process::{Process, Start};
use crate::deadline::Deadline;
use crate::media::Error;

/// After so many jobs a worker is replaced: drivers and decoders leak.
const JOBS_PER_WORKER: u32 = 500;

/// A worker that keeps more than this after a job is replaced, so that one huge picture does not cost memory for ever.
const RESIDENT_LIMIT: u64 = 160 << 20;

/// The workers. Clones share them.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    start: Start,
    warm: usize,
    most: usize,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Default)]
struct State {
    idle: Vec<Process>,
    /// Workers out on a job.
    busy: usize,
    /// No worker is started or kept any more.
    closed: bool,
}

impl Pool {
    /// Starts `warm` workers; up to one for each core run at once.
    pub fn new(program: PathBuf, cache_dir: &Path, warm: usize) -> Result<Self, Error> {
        let start = Start { program, registry: registry(cache_dir)? };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let shared = Shared { start, warm, most: warm.max(cores).max(2), state: Mutex::default(), freed: Condvar::new() };
        let pool = Self { shared: Arc::new(shared) };
        pool.shared.keep_warm(&mut pool.shared.lock());
        Ok(pool)
    }

    /// A ready worker of one's own until the lease is dropped; for an item by preference the one that worked on it last, and
    /// for another one that keeps nothing yet.
    pub fn take(&self, item: Option<&str>, deadline: &Deadline) -> Result<Lease, Error> {
        let shared = &self.shared;
        let mut state = shared.lock();
        let waiting = loop {
            if let Some(process) = state.choose(item) {
                state.busy += 1;
                break Some(process);
            }
            if state.busy < shared.most {
                state.busy += 1;
                break None;
            }
            let left = deadline.glance()?;
            state = shared.freed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        };
        drop(state);
        // From here on the lease gives the place back, whatever happens.
        let mut lease = Lease { process: waiting, shared: Arc::clone(shared), fit: false };
        lease.make_ready(deadline)?;
        lease.item = item.map(str::to_owned);
        Ok(lease)
    }

    /// What of its containment a worker of this box lacks; empty when it has all.
    pub fn uncontained(&self, deadline: &Deadline) -> Result<Vec<String>, Error> {
        let lease = self.take(None, deadline)?;
        let missing = lease.uncontained.clone();
        lease.done();
        Ok(missing)
    }

    /// Ends the idle workers in good order, and keeps no other: the daemon stops. Whoever is still on a job ends with it.
    pub fn close(&self) {
        let mut state = self.shared.lock();
        state.closed = true;
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        // All are told before the first is waited for.
        idle.iter().for_each(Process::dismiss);
        idle.into_iter().for_each(Process::wait);
    }

    /// Process ids of the idle workers, for tests and diagnostics.
    pub fn idle(&self) -> Vec<u32> {
        self.shared.lock().idle.iter().map(Process::pid).collect()
    }
}

impl State {
    /// The idle worker that had the item last, else one that has none, else the one that was idle longest.
    fn choose(&mut self, item: Option<&str>) -> Option<Process> {
        let had = |process: &Process| item.is_some() && process.item.as_deref() == item;
        let at = self.idle.iter().position(had).or_else(|| self.idle.iter().rposition(|process| process.item.is_none())).unwrap_or(0);
        (at < self.idle.len()).then(|| self.idle.remove(at))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep_warm(&self, state: &mut State) {
        while !state.closed && state.idle.len() + state.busy < self.warm {
            match Process::start(&self.start) {
                Ok(process) => state.idle.push(process),
                // Tried again, and reported, by the next job.
                Err(error) => return tracing::warn!(%error, program = %self.start.program.display(), "no decode worker could be started"),
            }
        }
    }
}

/// A worker on a job. Dropped without [`Lease::done`], it is killed and replaced.
pub struct Lease {
    process: Option<Process>,
    shared: Arc<Shared>,
    fit: bool,
}

impl Lease {
    /// The job ended in good order: the worker may take another.
    pub fn done(mut self) {
        self.fit = true;
    }

    /// Kills the worker and says how it ended.
    pub fn end(mut self) -> String {
        self.process.take().map(Process::end).unwrap_or_default()
    }

    fn make_ready(&mut self, deadline: &Deadline) -> Result<(), Error> {
        // An idle worker may have died meanwhile (out of memory, an operator): that is found out here, and once more is tried.
        for attempt in 0..2 {
            let mut process = match self.process.take() {
                Some(process) => process,
                None => Process::start(&self.shared.start)
                    .map_err(|e| Error::Worker(format!("{} could not be started: {e}", self.shared.start.program.display())))?,
            };
            match process.wait_ready(deadline) {
                Ok(()) if process.is_alive() => {
                    process.jobs += 1;
                    self.process = Some(process);
                    return Ok(());
                }
                result => {
                    deadline.left()?;
                    let cause = result.err().map(|e| e.to_string()).unwrap_or_default();
                    let how = process.end();
                    tracing::warn!(attempt, cause, how, "a decode worker was not ready");
                    if attempt == 1 {
                        return Err(Error::Worker(format!("it did not become ready ({cause}): {how}")));
                    }
                }
            }
        }
        unreachable!("the second attempt returns")
    }
}

impl Deref for Lease {
    type Target = Process;
    #[allow(clippy::expect_used)] // taken only by `end` and `drop`, which consume the lease
    fn deref(&self) -> &Process {
        self.process.as_ref().expect("a lease has a process")
    }
}

impl DerefMut for Lease {
    #[allow(clippy::expect_used)] // as above
    fn deref_mut(&mut self) -> &mut Process {
        self.process.as_mut().expect("a lease has a process")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let keep = self
            .process
            .take()
            .filter(|process| self.fit && process.jobs < JOBS_PER_WORKER && process.resident().is_none_or(|bytes| bytes < RESIDENT_LIMIT));
        let mut state = self.shared.lock();
        state.busy -= 1;
        match keep {
            Some(process) if !state.closed && state.idle.len() + state.busy < self.shared.warm.max(1) => state.idle.push(process),
            // Killed outside the lock: that may take a moment.
            surplus => {
                drop(state);
                drop(surplus);
                state = self.shared.lock();
            }
        }
        self.shared.keep_warm(&mut state);
        drop(state);
        self.shared.freed.notify_one();
    }
}

/// GStreamer's plugin list: kept, because scanning takes seconds, but never across a boot, because elements of hardware that
/// was not there at the scan would stay unseen.
fn registry(cache_dir: &Path) -> Result<PathBuf, Error> {
    let mut dir = cache_dir.join("gstreamer");
    if let Err(cause) = std::fs::create_dir_all(&dir) {
        // A cache that cannot be used costs time, not the trigger.
        tracing::warn!(folder = %dir.display(), %cause, "GStreamer's registry goes to the temporary folder");
        dir = std::env::temp_dir().join(format!("edgelabel-gstreamer-{}", std::process::id()));
        std::fs::create_dir_all(&dir).map_err(|e| Error::Worker(format!("{} cannot be made: {e}", dir.display())))?;
    }
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let boot: String = boot.chars().filter(char::is_ascii_hexdigit).collect();
    let name = format!("registry-{boot}.bin");
    for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("registry-") && entry.file_name() != *name {
            let _ = std::fs::remove_file(entry.path());
        }
    }
    Ok(dir.join(name))
}
