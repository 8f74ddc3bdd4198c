//! From an order to the label row: written down first, saved, and struck out; or kept for later.

use std::time::Duration;

use crate::deadline::Deadline;
use crate::journal::{Pending, State};
use crate::telemetry::Step;

use super::editor::EditorAgent;
use super::report::Report;
use super::save::{Failure, ReadBack, SaveOrder, Saved, failure};
use super::{Error, Kind, Outcome, ReplyStyle, Settings, Trigger};

impl EditorAgent {
    /// The answer has been paid for: it goes to the journal before the save is tried, and leaves it when it is saved.
    /// `told` makes what the annotator is told of what was saved.
    pub(super) fn deliver(
        &self,
        trigger: &Trigger,
        agent: &Settings,
        order: &SaveOrder,
        told: impl FnOnce(&Saved) -> Option<String>,
        report: &mut Report,
    ) -> Result<Outcome, Error> {
        let _in_flight = self.saves.enter(trigger.id.to_string());
        let written_down = report.step(Step::Journal, |_| Ok(self.write_down(trigger, agent, order)))?;
        let saved = report.step(Step::Save, |_| Ok(self.saver.save(order, false, &trigger.deadline)))?;
        match saved {
            Ok(how) => {
                self.strike_out(trigger, written_down);
                report.read_back = how.read_back.map(ReadBack::name);
                let theirs = || "somebody answered this frame meanwhile, and that answer stays".to_owned();
                Ok(match how {
                    saved if !saved.written.is_empty() => Outcome::Saved { message: told(&saved) },
                    _ => Outcome::Kept { message: (agent.reply == ReplyStyle::Summary).then(theirs) },
                })
            }
            Err(error) if !written_down => {
                let message = format!("the answer could not be saved, nor kept on this box: {error}");
                Err(Error { retry_after: Some(Duration::from_secs(30)), ..Error::new(Kind::Busy, message) })
            }
            Err(error) => {
                let fate = failure(&error);
                let state = if fate == Failure::Refused { State::Refused } else { State::Waiting };
                if let Err(error) = self.journal.note_failure(&trigger.id.to_string(), state, &error.to_string()) {
                    tracing::warn!(request = %trigger.id, %error, "the failed save could not be noted");
                }
                tracing::warn!(request = %trigger.id, %error, ?state, "the answer is not saved yet; it waits in the journal");
                match fate {
                    Failure::Unreached => Ok(Outcome::Queued {
                        message: "Encord cannot be reached, so the answer is kept on this box and will be saved as soon as it can be; nothing is lost".into(),
                    }),
                    Failure::Refused => {
                        let refusal = Error::from(error);
                        Err(Error { message: format!("{}; the answer is kept on this box (edgelabel pending)", refusal.message), ..refusal })
                    }
                }
            }
        }
    }

    /// Says whether the answer is on the disk. A journal that cannot be written does not stop a trigger.
    fn write_down(&self, trigger: &Trigger, agent: &Settings, order: &SaveOrder) -> bool {
        let entry = Pending {
            id: trigger.id.to_string(),
            project: trigger.project.clone(),
            data: trigger.data.clone(),
            frame: trigger.frame,
            agent: agent.path.clone(),
            state: State::Waiting,
            since: time::OffsetDateTime::now_utc(),
            attempts: 0,
            error: String::new(),
            payload: match serde_json::to_string(order) {
                Ok(payload) => payload,
                Err(error) => {
                    tracing::error!(request = %trigger.id, %error, "the answer cannot be written down");
                    return false;
                }
            },
        };
        match self.journal.put(&entry, trigger.deadline.left().unwrap_or_default() + LATITUDE) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(request = %trigger.id, %error, "the answer cannot be written down; the save is tried without");
                false
            }
        }
    }

    fn strike_out(&self, trigger: &Trigger, written_down: bool) {
        if !written_down {
            return;
        }
        // An entry that stays is tried again and found to be saved already.
        if let Err(error) = self.journal.remove(&trigger.id.to_string()) {
            tracing::warn!(request = %trigger.id, %error, "the saved answer could not be taken out of the journal");
        }
    }

    /// Whether the entry's own trigger is still at work on it.
    pub(super) fn is_running(&self, entry: &str) -> bool {
        self.saves.is_in_flight(entry)
    }

    /// Saves an entry of the journal.
    pub(super) fn save_late(&self, entry: &Pending) -> Result<Saved, Late> {
        match self.journal.begin_save(&entry.id, LATE_SAVE_BUDGET + LATITUDE) {
            Ok(true) => {}
            Ok(false) => return Err(Late::GivenUp),
            Err(error) => tracing::warn!(request = %entry.id, %error, "the late save cannot be noted; it is made all the same"),
        }
        let order: SaveOrder = serde_json::from_str(&entry.payload).map_err(|error| Late::Unreadable(error.to_string()))?;
        self.saver.save(&order, true, &Deadline::after(LATE_SAVE_BUDGET)).map_err(|error| match failure(&error) {
            Failure::Unreached => Late::Unreached(error.to_string()),
            Failure::Refused => Late::Refused(error.to_string()),
        })
    }
}

/// The time that one save from the journal may take, retries included; short enough for an orderly end.
const LATE_SAVE_BUDGET: Duration = Duration::from_secs(20);

/// How much longer than its time a save counts as under way: a step's clean-up takes a moment.
const LATITUDE: Duration = Duration::from_secs(5);

/// Why a save from the journal did not come about.
pub(super) enum Late {
    Unreached(String),
    Refused(String),
    Unreadable(String),
    /// Somebody dropped it meanwhile.
    GivenUp,
}
