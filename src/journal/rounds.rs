//! A thread that tries what waits in the journal: again and again with back-off, and at once when it is told that all may be
//! well.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// The first pause after a pass that failed; each further one doubles it up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// The thread. Dropping it ends the thread after what it is in the middle of.
pub struct Rounds {
    bell: Bell,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    ending: AtomicBool,
    rung: Mutex<bool>,
    bell: Condvar,
}

/// Lets others say that there is something to do, or that Encord answers again.
#[derive(Clone, Default)]
pub struct Bell(Arc<Shared>);

impl Bell {
    /// The next pass is now.
    pub fn ring(&self) {
        *self.0.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.bell.notify_all();
    }

    /// Whether nothing further is to be begun.
    pub fn is_over(&self) -> bool {
        self.0.ending.load(Ordering::SeqCst)
    }
}

impl Rounds {
    /// Starts the thread; the first pass is at once. `pass` says whether all was done that can be done.
    pub fn start(name: &str, longest: Duration, pass: impl Fn(&Bell) -> bool + Send + 'static) -> std::io::Result<Self> {
        let bell = Bell::default();
        let for_thread = bell.clone();
        let longest = longest.max(Duration::from_millis(1));
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || run(&for_thread, longest, &pass))?;
        Ok(Self { bell, thread: Some(thread) })
    }

    /// Begins nothing further; returns at once.
    pub fn end(&self) {
        self.bell.0.ending.store(true, Ordering::SeqCst);
        self.bell.ring();
    }

    /// The bell that starts a pass.
    pub fn bell(&self) -> Bell {
        self.bell.clone()
    }
}

impl Drop for Rounds {
    fn drop(&mut self) {
        self.end();
        if let Some(thread) = self.thread.take() {
            // Its panic has been logged by the panic hook; there is nothing left to do for it.
            let _ = thread.join();
        }
    }
}

fn run(bell: &Bell, longest: Duration, pass: &dyn Fn(&Bell) -> bool) {
    let mut pause = FIRST_PAUSE.min(longest);
    while !bell.is_over() {
        let all_done = pass(bell);
        pause = if all_done { FIRST_PAUSE.min(longest) } else { pause };
        wait(&bell.0, pause);
        if !all_done {
            pause = (pause * 2).min(longest);
        }
    }
}

/// Waits for the bell, at most `pause`. The pause also bounds how long what another process wrote goes unseen.
fn wait(shared: &Shared, pause: Duration) {
    let mut rung = shared.rung.lock().unwrap_or_else(PoisonError::into_inner);
    if !*rung {
        rung = shared.bell.wait_timeout(rung, pause).unwrap_or_else(PoisonError::into_inner).0;
    }
    *rung = false;
}
