//! From a validated answer to the label row: written down first, then merged into the row as it is now.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::deadline::Deadline;
use crate::encord::prepared::Target;
use crate::encord::{self, Encord, Fingerprint, Merged, PreparedAnswer};
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
}

/// Most places whose last answer of ours is remembered.
const REMEMBERED: usize = 10_000;

/// Saves, one at a time for each row.
pub(super) struct Saver {
    encord: Encord,
    rows: RowLocks,
    /// What we last wrote where, so that our own earlier answer is not taken for a person's.
    written: Mutex<HashMap<Place, Fingerprint>>,
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
    pub(super) fn new(encord: Encord) -> Self {
        Self { encord, rows: RowLocks::default(), written: Mutex::default() }
    }

    /// Reads the row, merges what nobody changed meanwhile, and saves. `late` is a save from the journal: there our own
    /// newer answer counts like a person's.
    pub(super) fn save(&self, order: &SaveOrder, late: bool, deadline: &Deadline) -> Result<Saved, encord::Error> {
        let _row_is_ours = self.rows.lock(&order.label, deadline)?;
        let mut row = self.encord.read_row(&order.project, &order.label, deadline)?;
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
        Ok(saved)
    }

    fn is_ours(&self, order: &SaveOrder, answer: &PreparedAnswer, now: &Fingerprint) -> bool {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.get(&place(order, answer)) == Some(now)
    }

    fn remember(&self, order: &SaveOrder, answer: &PreparedAnswer, now: Fingerprint) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
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
    use encord::Error as E;
    match error {
        E::Unreachable { .. } | E::Malformed { .. } | E::Clock { .. } | E::Deadline(_) => Failure::Unreached,
        E::Key { .. }
        | E::KeyRefused { .. }
        | E::Forbidden { .. }
        | E::NotInProject { .. }
        | E::ManyRows { .. }
        | E::Unsupported { .. }
        | E::FrameOutOfRange { .. }
        | E::Refused { .. } => Failure::Refused,
    }
}
