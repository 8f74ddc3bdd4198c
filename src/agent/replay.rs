//! Saves what waits in the journal: in order, with back-off, and at once when Encord is seen alive again.

use std::sync::Arc;

use crate::journal::{Bell, Episode, Journal, Pending, Rounds, State};

use super::deliver::Late;
use super::editor::EditorAgent;
use super::save::Saved;

/// Starts the thread that saves late; the first pass is at once. `agent` gives the one now in force, which a reload may change.
pub fn start(journal: Arc<Journal>, agent: impl Fn() -> Arc<EditorAgent> + Send + 'static) -> std::io::Result<Rounds> {
    let longest = journal.settings().retry_max;
    Rounds::start("late-saves", longest, move |bell| pass(&journal, &agent(), bell))
}

/// Tries all that waits, oldest first, until Encord cannot be reached; says whether it always could.
fn pass(journal: &Journal, agent: &EditorAgent, bell: &Bell) -> bool {
    let mut place = 0;
    while !bell.is_over() {
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
    // The click knew the data item by its title, who pressed and what the answer is in words; the answer that was kept carries none.
    let click = journal.told(&entry.id).ok().flatten();
    let (title, caller, answer) = click.map(|click| (click.title, click.caller, click.answer)).unwrap_or_default();
    let episode = Episode {
        id: entry.id.clone(),
        at: time::OffsetDateTime::now_utc().unix_timestamp(),
        agent: entry.agent.clone(),
        project: entry.project.to_string(),
        data: entry.data.to_string(),
        title,
        frame: entry.frame,
        outcome: outcome.into(),
        caller,
        answer,
        message,
        steps: Vec::new(),
        decoder: String::new(),
        bytes: 0,
        model: String::new(),
        tokens: 0,
    };
    report(journal.remember(&episode));
}
