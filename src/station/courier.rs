//! Delivers the pictures that wait: in order, with back-off, and at once when Encord is seen alive again.

use std::sync::Arc;

use crate::deadline::Deadline;
use crate::encord::Encord;
use crate::http;
use crate::journal::{Bell, Hold, Journal, Rounds, State};

use super::{Failure, Leg, PATIENCE, Route, finish, report};

/// Starts the thread; the first pass is at once. `parties` gives Encord and its store as they are now in force, which a reload
/// may change. `labels` is rung when a delivered picture waits for its label.
pub fn start(
    journal: Arc<Journal>,
    parties: impl Fn() -> (Encord, http::Client) + Send + 'static,
    labels: Bell,
) -> std::io::Result<Rounds> {
    let longest = journal.settings().retry_max;
    Rounds::start("courier", longest, move |bell| pass(&journal, &parties, &labels, bell))
}

/// Tries all that waits, oldest first, until Encord cannot be reached; says whether it always could.
fn pass(journal: &Journal, parties: &dyn Fn() -> (Encord, http::Client), labels: &Bell, bell: &Bell) -> bool {
    let mut place = 0;
    while !bell.is_over() {
        let (number, hold) = match journal.hold_next(place, false) {
            Ok(Some(found)) => found,
            Ok(None) => return true,
            Err(error) => {
                tracing::warn!(%error, "the journal cannot be read, so pictures wait");
                return false;
            }
        };
        place = number;
        match hold {
            // Whoever took it is at work on it.
            Hold::Busy | Hold::Gone => {}
            Hold::Lost(capture) => report(settle_lost(journal, &capture.id, &capture.leg)),
            Hold::Mine(capture, held) => {
                if capture.state != State::Waiting {
                    continue;
                }
                let id = &capture.id;
                let (encord, store) = parties();
                // An end in the middle is no worse than a crash, and nobody waits for a large picture on a slow line.
                let ending = bell.clone();
                let deadline = Deadline::after(PATIENCE).while_awaited(move || !ending.is_over());
                match finish(Route { encord: &encord, store: &store }, journal, &capture, &held, &deadline) {
                    Ok(arrived) => {
                        tracing::info!(picture = %id, title = %capture.title, data = %arrived.data, "a picture that waited is delivered");
                        // Not before it may be taken hold of.
                        drop(held);
                        if capture.labelling.is_some() {
                            labels.ring();
                        }
                    }
                    Err(failure) if failure.may_pass() => {
                        tracing::warn!(picture = %id, cause = %failure, "a picture still waits to be delivered");
                        return false;
                    }
                    Err(failure) => {
                        tracing::error!(picture = %id, cause = %failure, "a picture cannot be delivered; it is kept as refused (edgelabel pending)");
                    }
                }
            }
        }
    }
    true
}

/// A file goes before its row: without one the picture is delivered, or somebody has removed it.
fn settle_lost(journal: &Journal, id: &str, leg: &str) -> Result<(), crate::journal::Error> {
    if matches!(Leg::read(leg), Ok(Leg::Attached { .. })) {
        return journal.remove_capture(id, None);
    }
    let cause = Failure::Unreadable("its file is gone".into());
    journal.note_failed_capture(id, State::Refused, &cause.to_string())
}
