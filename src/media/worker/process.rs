//! One decode worker: started, talked to, watched, killed.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use super::protocol::{FromWorker, ToWorker};
use super::wire::{Wire, WireError};
use crate::deadline::Deadline;

/// The first start on a box scans all GStreamer plugins: seconds, and a good part of a minute on a small or busy one. A trigger's
/// own deadline is shorter; what is scanned is kept for the next worker.
const START_LIMIT: Duration = Duration::from_secs(80);

/// How long a worker that was dismissed may take to leave. One that is just starting up leaves when it is ready.
const LEAVE: Duration = Duration::from_secs(1);

/// A worker's last words that are kept for the error message.
const LAST_WORDS: usize = 512;

/// Longest line of a worker's stderr that is logged.
const LONGEST_LINE: u64 = 2048;

/// Environment that decoders and drivers read; a worker sees nothing else of the daemon's.
const PASSED_ON: [&str; 7] = ["GST_", "LIBVA_", "CUDA_", "NVIDIA_", "LD_LIBRARY_PATH", "MESA_", "RUST_"];

/// How workers are started.
#[derive(Debug, Clone)]
pub struct Start {
    /// The binary that has the `decode-worker` command.
    pub program: PathBuf,
    /// GStreamer's list of plugins, kept between workers.
    pub registry: PathBuf,
}

/// A running worker.
pub struct Process {
    child: Option<Child>,
    wire: Wire,
    last_words: Arc<Mutex<String>>,
    ready: bool,
    /// Jobs it has taken.
    pub jobs: u32,
    /// The content it worked on last, of which it may keep something.
    pub item: Option<String>,
    /// Limits that the kernel did not grant; empty when it is contained as meant, and before it is ready.
    pub uncontained: Vec<String>,
}

impl Process {
    /// Starts a worker and does not wait until it is ready.
    pub fn start(start: &Start) -> std::io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut child = Command::new(&start.program)
            .arg("decode-worker")
            .env_clear()
            .envs(passed_on())
            .env("GST_REGISTRY", &start.registry)
            // Decoding needs few allocations at once; a heap for each thread only costs memory.
            .env("MALLOC_ARENA_MAX", "2")
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let last_words = Arc::new(Mutex::new(String::new()));
        if let Some(stderr) = child.stderr.take() {
            let (pid, last_words) = (child.id(), Arc::clone(&last_words));
            std::thread::Builder::new().name("worker-stderr".to_owned()).spawn(move || log_stderr(pid, stderr, &last_words))?;
        }
        Ok(Self { child: Some(child), wire: Wire::new(ours), last_words, ready: false, jobs: 0, item: None, uncontained: Vec::new() })
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Waits until the worker can take jobs.
    pub fn wait_ready(&mut self, deadline: &Deadline) -> Result<(), WireError> {
        if self.ready {
            return Ok(());
        }
        match self.wire.receive(0, Some(&deadline.within(START_LIMIT)))? {
            (FromWorker::Ready { uncontained }, _) => {
                if !uncontained.is_empty() {
                    // The same for all workers of this box.
                    static SAID: Once = Once::new();
                    let missing = uncontained.join("; ");
                    SAID.call_once(|| tracing::warn!(missing, "decode workers are not fully contained"));
                }
                (self.ready, self.uncontained) = (true, uncontained);
                Ok(())
            }
            (other, _) => Err(WireError::Form(format!("{other:?} instead of ready"))),
        }
    }

    /// Sends a message.
    pub fn send(&mut self, message: &ToWorker, payload: &[u8], deadline: &Deadline) -> Result<(), WireError> {
        self.wire.send(message, payload, Some(deadline))
    }

    /// Waits for a message.
    pub fn receive(&mut self, max_payload: usize, deadline: &Deadline) -> Result<(FromWorker, Vec<u8>), WireError> {
        self.wire.receive(max_payload, Some(deadline))
    }

    /// Whether the worker still runs.
    pub fn is_alive(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Resident memory in bytes, as the kernel counts it.
    pub fn resident(&self) -> Option<u64> {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.pid())).ok()?;
        let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
        Some(pages * rustix::param::page_size() as u64)
    }

    /// Says that no further job comes.
    pub fn dismiss(&self) {
        self.wire.close();
    }

    /// Waits until the worker has gone by itself, as one does that was dismissed; kills it when it does not.
    pub fn wait(mut self) {
        if let Some(child) = self.child.as_mut() {
            // Either way it is reaped when this is dropped.
            let _ = wait_a_moment(child, LEAVE);
        }
    }

    /// Ends the worker and says how it ended, with its last words.
    pub fn end(mut self) -> String {
        let status = self.kill();
        // The reader of stderr has seen the end of the pipe by now, or sees it within moments.
        std::thread::sleep(Duration::from_millis(5));
        let words = self.last_words.lock().unwrap_or_else(PoisonError::into_inner).trim().to_owned();
        let how = status.map_or_else(|| "it does not die".to_owned(), |s| s.to_string());
        if words.is_empty() { how } else { format!("{how}; its last words: {words}") }
    }

    fn kill(&mut self) -> Option<ExitStatus> {
        let mut child = self.child.take()?;
        // A worker that crashed has a status of its own, which says more than our signal.
        if let Ok(Some(status)) = wait_a_moment(&mut child, Duration::from_millis(20)) {
            return Some(status);
        }
        let _ = child.kill();
        match wait_a_moment(&mut child, Duration::from_millis(500)) {
            Ok(Some(status)) => Some(status),
            // Stuck in a driver: it dies when the kernel lets go of it, and is reaped then.
            _ => {
                let _ = std::thread::Builder::new().name("worker-reaper".to_owned()).spawn(move || child.wait());
                None
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn wait_a_moment(child: &mut Child, moment: Duration) -> std::io::Result<Option<ExitStatus>> {
    let end = Instant::now() + moment;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn passed_on() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| {
        let name = name.to_string_lossy();
        PASSED_ON.iter().any(|prefix| name.starts_with(prefix))
    })
}

/// Logs what a worker writes, and keeps the end of it. Libraries complain a lot about damaged files: that is no news.
fn log_stderr(pid: u32, stderr: ChildStderr, last_words: &Mutex<String>) {
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        tracing::debug!(worker = pid, "{text}");
        let mut words = last_words.lock().unwrap_or_else(PoisonError::into_inner);
        words.push_str(text);
        words.push(' ');
        if words.len() > LAST_WORDS {
            let cut = (words.len() - LAST_WORDS..words.len()).find(|&at| words.is_char_boundary(at)).unwrap_or(words.len());
            words.drain(..cut);
        }
    }
}
