//! Saves what waits in the journal: in order, with back-off, and at once when Encord is seen alive again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::journal::{Episode, Journal, Pending, State};

use super::deliver::Late;
use super::editor::EditorAgent;
use super::save::Saved;

/// The first pause after a failed save; each further one doubles it up to `journal.retry_max`.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// The thread that saves late. Dropping it ends the thread after the save it is in.
pub struct Replay {
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    ending: AtomicBool,
    rung: Mutex<bool>,
    bell: Condvar,
}

/// Lets others say that Encord answers again, so that waiting answers are saved at once.
#[derive(Clone)]
pub struct Bell(Arc<Shared>);

impl Bell {
    /// Encord was seen alive.
    pub fn ring(&self) {
        *self.0.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.bell.notify_all();
    }
}

impl Replay {
    /// Starts the thread; the first pass is at once. `agent` gives the one now in force, which a reload may change.
    pub fn start(journal: Arc<Journal>, agent: impl Fn() -> Arc<EditorAgent> + Send + 'static) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("late-saves".into()).spawn(move || run(&journal, &agent, &for_thread))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Begins no further save; returns at once.
    pub fn end(&self) {
        self.shared.ending.store(true, Ordering::SeqCst);
        self.bell().ring();
    }

    /// The bell that starts a pass.
    pub fn bell(&self) -> Bell {
        Bell(Arc::clone(&self.shared))
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        self.end();
        if let Some(thread) = self.thread.take() {
            // Its panic has been logged by the panic hook; there is nothing left to do for it.
            let _ = thread.join();
        }
    }
}

fn run(journal: &Journal, agent: &dyn Fn() -> Arc<EditorAgent>, shared: &Shared) {
    let longest = journal.settings().retry_max.max(Duration::from_millis(1));
    let mut pause = FIRST_PAUSE.min(longest);
    while !shared.ending.load(Ordering::SeqCst) {
        let all_done = pass(journal, &agent(), shared);
        pause = if all_done { FIRST_PAUSE.min(longest) } else { pause };
        wait(shared, pause);
        if !all_done {
            pause = (pause * 2).min(longest);
        }
    }
}

/// Waits for the bell, at most `pause`. The pause also bounds how long another process's `pending retry` goes unseen.
fn wait(shared: &Shared, pause: Duration) {
    let mut rung = shared.rung.lock().unwrap_or_else(PoisonError::into_inner);
    if !*rung {
        rung = shared.bell.wait_timeout(rung, pause).unwrap_or_else(PoisonError::into_inner).0;
    }
    *rung = false;
}

/// Tries all that waits, oldest first, until Encord cannot be reached; says whether it always could.
fn pass(journal: &Journal, agent: &EditorAgent, shared: &Shared) -> bool {
    let mut place = 0;
    while !shared.ending.load(Ordering::SeqCst) {
        let (number, entry) = match journal.next_waiting(place) {
            Ok(Some(found)) => found,
            Ok(None) => return true,
            Err(error) => {
                tracing::warn!(%error, "the journal cannot be read, so late saves wait");
                return false;
            }
        };
        place = number;
        if agent.is_running(&entry.id) {
            continue;
        }
        if !save_one(journal, agent, &entry) {
            return false;
        }
    }
    true
}

/// Says whether Encord could be reached.
fn save_one(journal: &Journal, agent: &EditorAgent, entry: &Pending) -> bool {
    let noted = match agent.save_late(entry) {
        Ok(how) => {
            let outcome = if how.written.is_empty() { "superseded" } else { "late" };
            let superseded = how.superseded.len();
            tracing::info!(request = %entry.id, data = %entry.data, frame = entry.frame, outcome, superseded, "an answer that waited is settled");
            remember(journal, entry, &how);
            journal.remove(&entry.id).map(drop)
        }
        Err(Late::GivenUp) => {
            tracing::info!(request = %entry.id, "an answer that waited was dropped");
            Ok(())
        }
        Err(Late::Unreached(cause)) => {
            tracing::warn!(request = %entry.id, %cause, "an answer still waits to be saved");
            report(journal.note_failure(&entry.id, State::Waiting, &cause));
            return false;
        }
        Err(Late::Refused(cause) | Late::Unreadable(cause)) => {
            tracing::error!(request = %entry.id, %cause, "an answer cannot be saved; it is kept as refused (edgelabel pending)");
            journal.note_failure(&entry.id, State::Refused, &cause)
        }
    };
    report(noted);
    true
}

fn report(noted: Result<(), crate::journal::Error>) {
    if let Err(error) = noted {
        tracing::warn!(%error, "the journal cannot be written");
    }
}

/// The history says what became of an answer that waited: also that a person was faster, for all of it or for a part.
fn remember(journal: &Journal, entry: &Pending, how: &Saved) {
    let (outcome, message) = match (how.written.is_empty(), how.superseded.len()) {
        (true, _) => ("superseded", "somebody answered this frame before the late save; that answer stays".to_owned()),
        (false, 0) => ("late", "saved late, after Encord could not be reached".to_owned()),
        (false, theirs) => {
            let all = theirs + how.written.len();
            (
                "late",
                format!("saved late, after Encord could not be reached; {theirs} of {all} were answered by somebody before, which stay"),
            )
        }
    };
    let episode = Episode {
        id: entry.id.clone(),
        at: time::OffsetDateTime::now_utc().unix_timestamp(),
        agent: entry.agent.clone(),
        project: entry.project.to_string(),
        data: entry.data.to_string(),
        title: String::new(),
        frame: entry.frame,
        outcome: outcome.into(),
        message,
        steps: Vec::new(),
        decoder: String::new(),
        bytes: 0,
        model: String::new(),
        tokens: 0,
    };
    report(journal.remember(&episode));
}
