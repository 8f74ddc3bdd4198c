//! From a validated answer to the label row: merged into the row as it is now, and looked after when that took long.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::deadline::Deadline;
use crate::encord::prepared::Target;
use crate::encord::{self, Encord, Fingerprint, LabelRow, Merged, PreparedAnswer};
use crate::ids::{LabelHash, ProjectHash};

use super::locks::RowLocks;

/// Everything that a save needs, also days later and without the ontology.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct SaveOrder {
    pub(super) project: ProjectHash,
    pub(super) label: LabelHash,
    pub(super) frame: u64,
    pub(super) answers: Vec<Ordered>,
}

/// One answer, and what stood in its place before the model was asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Ordered {
    pub(super) answer: PreparedAnswer,
    pub(super) seen: Fingerprint,
}

/// How a save ended well: which answers of the order are in the row, by this save or an earlier one, and which are not
/// because a person answered meanwhile. Both by their place in the order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Saved {
    pub(super) written: Vec<usize>,
    pub(super) superseded: Vec<usize>,
    /// What a look at the row after a slow save showed.
    pub(super) read_back: Option<ReadBack>,
}

/// What the row held some time after a save.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadBack {
    /// Our answer.
    Same,
    /// What had been there before: somebody saved an older copy of the row over ours, so it was merged in again.
    Restored,
    /// Another answer: somebody changed ours, which is theirs to do.
    Changed,
    /// It could not be read, or not in time. The save itself was confirmed.
    Unread,
}

impl ReadBack {
    /// For the metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Restored => "restored",
            Self::Changed => "changed",
            Self::Unread => "unread",
        }
    }
}

/// A save that took this long, from the reading of the row, is looked after: others had time to save in between.
const SLOW: Duration = Duration::from_secs(1);

/// What must be left of the budget for it: a read, and a save on top if need be.
const TIME_TO_LOOK: Duration = Duration::from_secs(3);

/// Most places whose last answer of ours is remembered.
const REMEMBERED: usize = 10_000;

/// Saves, one at a time for each row.
pub(super) struct Saver {
    encord: Encord,
    under_way: Arc<Saves>,
}

/// What is being saved and was saved. There is one for the whole life of the daemon: a trigger that runs with the
/// configuration from before a reload and one that runs with the new one must not save a row at once.
#[derive(Default)]
pub struct Saves {
    rows: RowLocks,
    /// What we last wrote where, so that our own earlier answer is not taken for a person's.
    written: Mutex<HashMap<Place, Fingerprint>>,
    /// Journal entries whose trigger is saving them at this moment, so that the late saves leave them alone.
    in_flight: Mutex<HashSet<String>>,
}

impl Saves {
    /// Marks a journal entry as being saved by its own trigger, until the guard is dropped.
    pub(super) fn enter(&self, entry: String) -> InFlight<'_> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner).insert(entry.clone());
        InFlight { all: &self.in_flight, entry }
    }

    /// Whether the entry's own trigger is still at work on it.
    pub(super) fn is_in_flight(&self, entry: &str) -> bool {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner).contains(entry)
    }
}

/// While this lives, its entry is left to its trigger, whichever way that ends.
pub(super) struct InFlight<'a> {
    all: &'a Mutex<HashSet<String>>,
    entry: String,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.entry);
    }
}

type Place = (LabelHash, String, u64);

fn place(order: &SaveOrder, answer: &PreparedAnswer) -> Place {
    let what = match &answer.target {
        Target::Classification { .. } => answer.feature.to_string(),
        Target::Object { hash, .. } => hash.clone(),
    };
    (order.label.clone(), what, order.frame)
}

impl Saver {
    pub(super) fn new(encord: Encord, under_way: Arc<Saves>) -> Self {
        Self { encord, under_way }
    }

    /// Reads the row, merges what nobody changed meanwhile, and saves. `late` is a save from the journal: there our own
    /// newer answer counts like a person's.
    pub(super) fn save(&self, order: &SaveOrder, late: bool, deadline: &Deadline) -> Result<Saved, encord::Error> {
        let _row_is_ours = self.under_way.rows.lock(&order.label, deadline)?;
        let row = self.encord.read_row(&order.project, &order.label, deadline)?;
        let read_at = Instant::now();
        let (mut saved, sent) = self.merge_and_save(order, row, late, deadline)?;
        if sent && read_at.elapsed() > SLOW {
            saved.read_back = Some(self.look_again(order, &saved, deadline)?);
        }
        Ok(saved)
    }

    /// Says what became of each answer, and whether the row was sent.
    fn merge_and_save(
        &self,
        order: &SaveOrder,
        mut row: LabelRow,
        late: bool,
        deadline: &Deadline,
    ) -> Result<(Saved, bool), encord::Error> {
        let mut saved = Saved::default();
        let mut changed = false;
        for (place, Ordered { answer, seen }) in order.answers.iter().enumerate() {
            if row.holds(answer, order.frame)? {
                saved.written.push(place);
                continue;
            }
            let now = row.state_for(answer, order.frame)?;
            if now != *seen && (late || !self.is_ours(order, answer, &now)) {
                saved.superseded.push(place);
                continue;
            }
            changed |= row.merge(answer, order.frame)? != Merged::AlreadyThere;
            saved.written.push(place);
        }
        if changed {
            self.encord.save_row(&order.project, &row, deadline)?;
            for Ordered { answer, .. } in saved.written.iter().map(|&place| &order.answers[place]) {
                self.remember(order, answer, row.state_for(answer, order.frame)?);
            }
        }
        Ok((saved, changed))
    }

    /// Compares the row with what was saved, and merges once more what an older copy of the row has overwritten. An
    /// error means that the answer is not in the row, and could not be put there.
    fn look_again(&self, order: &SaveOrder, saved: &Saved, deadline: &Deadline) -> Result<ReadBack, encord::Error> {
        if deadline.left().is_ok_and(|left| left < TIME_TO_LOOK) {
            return Ok(ReadBack::Unread);
        }
        let row = match self.encord.read_row(&order.project, &order.label, deadline) {
            Ok(row) => row,
            Err(error) => {
                tracing::debug!(%error, "the row could not be read back after a slow save");
                return Ok(ReadBack::Unread);
            }
        };
        let mut verdict = ReadBack::Same;
        for Ordered { answer, seen } in saved.written.iter().map(|&place| &order.answers[place]) {
            if row.holds(answer, order.frame)? {
                continue;
            }
            if row.state_for(answer, order.frame)? == *seen {
                verdict = ReadBack::Restored;
            } else if verdict == ReadBack::Same {
                verdict = ReadBack::Changed;
            }
        }
        if verdict == ReadBack::Restored {
            tracing::warn!(label = %order.label, frame = order.frame, "somebody saved an older copy of the label row over the answer; merging it in again");
            // As late as a save from the journal: whatever differs from what was seen at first is somebody's.
            self.merge_and_save(order, row, true, deadline)?;
        }
        Ok(verdict)
    }

    fn is_ours(&self, order: &SaveOrder, answer: &PreparedAnswer, now: &Fingerprint) -> bool {
        let written = self.under_way.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.get(&place(order, answer)) == Some(now)
    }

    fn remember(&self, order: &SaveOrder, answer: &PreparedAnswer, now: Fingerprint) {
        let mut written = self.under_way.written.lock().unwrap_or_else(PoisonError::into_inner);
        if written.len() >= REMEMBERED {
            // Forgetting all is rare and harmless: at worst one answer of ours is kept as if a person had given it.
            written.clear();
        }
        written.insert(place(order, answer), now);
    }
}

/// What a failed save means for the answer that waits in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// Encord could not be reached or did not make sense: worth another try by itself.
    Unreached,
    /// Encord decided against it: only a person changes that.
    Refused,
}

/// Sorts a save's error (contract: what is kept as waiting, what as refused).
pub(super) fn failure(error: &encord::Error) -> Failure {
    if error.may_pass() { Failure::Unreached } else { Failure::Refused }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn a_panic_in_the_middle_of_a_save_frees_the_row_and_leaves_the_entry_to_the_late_saves() {
        let (saves, row, soon) = (Saves::default(), LabelHash::new("row"), Deadline::after(Duration::from_millis(200)));
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _entered = saves.enter("entry".into());
            let _locked = saves.rows.lock(&row, &soon).unwrap();
            assert!(saves.is_in_flight("entry") && !saves.is_in_flight("another"));
            assert!(saves.rows.lock(&row, &Deadline::after(Duration::from_millis(20))).is_err());
            panic!("on purpose");
        }));
        assert!(panicked.is_err());
        assert!(!saves.is_in_flight("entry"));
        assert!(saves.rows.lock(&row, &Deadline::after(Duration::from_secs(5))).is_ok());
    }

    #[test]
    fn errors_are_sorted_by_whether_another_try_by_itself_makes_sense() {
        use encord::Error as E;
        let action = "save the label row";
        let waits = [E::Unreachable { action, cause: String::new() }, E::Deadline(crate::deadline::Expired::Spent)];
        assert!(waits.iter().all(|error| failure(error) == Failure::Unreached));
        assert_eq!(failure(&E::Refused { action, status: 400, code: String::new() }), Failure::Refused);
    }
}
