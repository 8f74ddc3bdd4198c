//! Shows that something is still going on to whoever waits longer than a second.

use std::io::{IsTerminal, Write};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A line on stderr from the first second until it is dropped: counting on a terminal, every ten seconds elsewhere.
pub(super) struct Progress {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Begins to count; `what` is such as `waiting for the answer`.
    pub(super) fn new(what: &str) -> Self {
        let (stop, stopped) = channel();
        let what = what.to_owned();
        let terminal = std::io::stderr().is_terminal();
        let begin = Instant::now();
        let count = move || {
            let pause = if terminal { Duration::from_secs(1) } else { Duration::from_secs(10) };
            let mut wait = Duration::from_secs(1);
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(wait) {
                let seconds = begin.elapsed().as_secs();
                // Nobody is harmed when stderr is gone.
                let mut out = std::io::stderr().lock();
                let _ = if terminal { write!(out, "\r{what} … {seconds} s ") } else { writeln!(out, "{what} … {seconds} s") };
                let _ = out.flush();
                wait = pause;
            }
            if terminal && begin.elapsed() >= Duration::from_secs(1) {
                eprint!("\r\x1b[K");
            }
        };
        // Without a thread there is no progress to see, and nothing else is lost.
        let thread = std::thread::Builder::new().name("progress".into()).spawn(count).ok();
        Self { stop: Some(stop), thread }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was printed by itself.
            let _ = thread.join();
        }
    }
}
