//! The story of one trigger, top to bottom.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::deadline::Deadline;
use crate::encord::ontology::Topic;
use crate::encord::{Encord, LabelRow, Ontology, PreparedAnswer, RowKind, RowSummary};
use crate::journal::{Journal, Pending, State};
use crate::media::{DataType, Frame, Media, Want};
use crate::model::{Models, Question, Reply};
use crate::telemetry::Step;

use super::report::Report;
use super::save::{Failure, Ordered, SaveOrder, Saved, Saver, failure, state_of};
use super::{Error, Existing, Kind, Outcome, ReplyStyle, Settings, Trigger, select};

/// Answers triggers for all configured agents.
pub struct EditorAgent {
    agents: Vec<Settings>,
    encord: Encord,
    media: Media,
    models: Models,
    journal: Arc<Journal>,
    saver: Saver,
    /// Journal entries whose trigger is saving them at this moment, so that the late saves leave them alone.
    in_flight: Mutex<HashSet<String>>,
}

/// Where a trigger begins: the row's place in the list and the ontology.
struct Ground {
    summary: RowSummary,
    ontology: Arc<Ontology>,
    project_title: String,
}

impl EditorAgent {
    /// Puts the parts together; calls nothing.
    pub fn new(agents: Vec<Settings>, encord: Encord, media: Media, models: Models, journal: Arc<Journal>) -> Self {
        let saver = Saver::new(encord.clone());
        Self { agents, encord, media, models, journal, saver, in_flight: Mutex::default() }
    }

    /// From a press of the button to a saved label. What became known on the way is left in `report`, whatever the end.
    pub fn handle(&self, trigger: &Trigger, report: &mut Report) -> Result<Outcome, Error> {
        let agent = self.agent(trigger)?;

        let ground = report.step(Step::LabelRow, |report| self.look_up(trigger, agent, report))?;
        let mut topics: Vec<Topic<'_>> = select::choose(&ground.ontology, &agent.classification)?.into_iter().map(Topic::from).collect();

        let row = report.step(Step::Link, |_| Ok(self.encord.open_row(&trigger.project, &ground.summary, &trigger.deadline)?))?;
        if let Some(outcome) = respect_existing(agent, &row, trigger.frame, &mut topics)? {
            return Ok(outcome);
        }
        let frame = report.step(Step::Fetch, |report| self.frame(trigger, agent, &row, report))?;
        let reply = report.step(Step::Model, |report| self.ask(trigger, agent, &ground, &row, &topics, &frame, report))?;
        if reply.answers.is_empty() {
            return Err(Error::new(
                Kind::Unprocessable,
                format!("model {} left everything unanswered for this frame; nothing was saved", reply.model),
            ));
        }

        let order = self.order(trigger, agent, &ground, &row, &reply)?;
        self.deliver(trigger, agent, &order, &reply, report)
    }

    fn agent(&self, trigger: &Trigger) -> Result<&Settings, Error> {
        let found = self.agents.iter().find(|agent| agent.path == trigger.agent);
        found.ok_or_else(|| Error::new(Kind::NotFound, "the configuration was reloaded and has no such agent any more"))
    }

    /// Label row and ontology do not need each other, so they are asked for at once. Nothing is created before the
    /// ontology is known to have what the agent answers.
    fn look_up(&self, trigger: &Trigger, agent: &Settings, report: &mut Report) -> Result<Ground, Error> {
        let (project, deadline) = (&trigger.project, &trigger.deadline);
        let (summary, known) = std::thread::scope(|scope| {
            let known = scope.spawn(|| Ok::<_, Error>((self.encord.project(project, deadline)?, self.encord.ontology(project, deadline)?)));
            let summary = self.encord.find_row(project, &trigger.data, deadline);
            (summary, known.join().unwrap_or_else(|_| Err(Error::new(Kind::Internal, "reading the ontology panicked"))))
        });
        let (about, mut ontology) = known?;
        let summary = summary?;
        report.title = summary.data_title.clone();
        if select::choose(&ontology, &agent.classification).is_err() {
            // It may have been added since the ontology was last asked for.
            ontology = self.encord.fresh_ontology(project, deadline)?;
            select::choose(&ontology, &agent.classification)?;
        }
        Ok(Ground { summary, ontology, project_title: about.title.clone() })
    }

    fn frame(&self, trigger: &Trigger, agent: &Settings, row: &LabelRow, report: &mut Report) -> Result<Frame, Error> {
        let deadline = &trigger.deadline;
        let link = self.encord.link(&trigger.project, row, trigger.frame, deadline)?;
        let want = Want {
            frame: if link.data_type == DataType::Video { trigger.frame } else { 0 },
            regions: Vec::new(),
            lossless: false,
            max_side: self.models.max_image_side(&agent.model),
        };
        let mut renew = || self.encord.renewed_link(&trigger.project, row, trigger.frame, deadline).ok().map(|link| link.url);
        let frame = self.media.frame(&link, &want, &mut renew, deadline)?;
        let milliseconds = |ms: f64| Duration::from_secs_f64(ms.max(0.0) / 1000.0);
        report.note(Step::Fetch, milliseconds(frame.timings.fetch));
        report.note(Step::Decode, milliseconds(frame.timings.total - frame.timings.fetch));
        report.decoder = frame.decoder.clone();
        report.container = frame.container.clone();
        report.bytes = frame.bytes_fetched;
        report.media_requests = frame.requests;
        Ok(frame)
    }

    fn ask(
        &self,
        trigger: &Trigger,
        agent: &Settings,
        ground: &Ground,
        row: &LabelRow,
        topics: &[Topic<'_>],
        frame: &Frame,
        report: &mut Report,
    ) -> Result<Reply, Error> {
        let question = Question {
            project: &trigger.project,
            project_title: &ground.project_title,
            data_title: &ground.summary.data_title,
            frame: (row.kind() != RowKind::Image).then_some(trigger.frame),
            instructions: &agent.prompt,
            template: &agent.template,
            language: &agent.language,
            topics,
            pictures: &frame.pictures,
        };
        let reply = self.models.ask(&agent.model, &question, &trigger.deadline)?;
        report.model = reply.model.clone();
        report.prompt_tokens = reply.prompt_tokens;
        report.answer_tokens = reply.answer_tokens;
        report.left_out = reply.left_out.clone();
        Ok(reply)
    }

    fn order(&self, trigger: &Trigger, agent: &Settings, ground: &Ground, row: &LabelRow, reply: &Reply) -> Result<SaveOrder, Error> {
        let now = time::OffsetDateTime::now_utc();
        let answers = reply
            .answers
            .iter()
            .map(|answer| {
                // The answer was validated against this very ontology, so a misfit is a mistake of our own.
                let answer = PreparedAnswer::new(&ground.ontology, answer, agent.confidence, now)
                    .map_err(|misfit| Error::new(Kind::Internal, misfit.to_string()))?;
                Ok(Ordered { seen: state_of(row, &answer.feature, trigger.frame)?, answer })
            })
            .collect::<Result<_, Error>>()?;
        Ok(SaveOrder { project: trigger.project.clone(), label: row.label_hash().clone(), frame: trigger.frame, answers })
    }

    /// The answer has been paid for: it goes to the journal before the save is tried, and leaves it when it is saved.
    fn deliver(
        &self,
        trigger: &Trigger,
        agent: &Settings,
        order: &SaveOrder,
        reply: &Reply,
        report: &mut Report,
    ) -> Result<Outcome, Error> {
        let _in_flight = InFlight::enter(&self.in_flight, trigger.id.to_string());
        let written_down = report.step(Step::Journal, |_| Ok(self.write_down(trigger, agent, order)))?;
        let saved = report.step(Step::Save, |_| Ok(self.saver.save(order, false, &trigger.deadline)))?;
        match saved {
            Ok(how) => {
                self.strike_out(trigger, written_down);
                let message = (agent.reply == ReplyStyle::Summary).then(|| told(how, reply, order));
                Ok(if how == Saved::Written { Outcome::Saved { message } } else { Outcome::Kept { message } })
            }
            Err(error) if !written_down => {
                let message = format!("the answer could not be saved, nor kept on this box: {error}");
                Err(Error { kind: Kind::Busy, message, retry_after: Some(Duration::from_secs(30)) })
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
        match self.journal.put(&entry) {
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
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner).contains(entry)
    }

    /// Saves an entry of the journal.
    pub(super) fn save_late(&self, entry: &Pending) -> Result<Saved, Late> {
        let order: SaveOrder = serde_json::from_str(&entry.payload).map_err(|error| Late::Unreadable(error.to_string()))?;
        self.saver.save(&order, true, &Deadline::after(LATE_SAVE_BUDGET)).map_err(|error| match failure(&error) {
            Failure::Unreached => Late::Unreached(error.to_string()),
            Failure::Refused => Late::Refused(error.to_string()),
        })
    }
}

/// The time that one save from the journal may take, retries included; short enough for an orderly end.
const LATE_SAVE_BUDGET: Duration = Duration::from_secs(20);

/// Marks a journal entry as being saved by its own trigger, whichever way that ends.
struct InFlight<'a> {
    all: &'a Mutex<HashSet<String>>,
    entry: String,
}

impl<'a> InFlight<'a> {
    fn enter(all: &'a Mutex<HashSet<String>>, entry: String) -> Self {
        all.lock().unwrap_or_else(PoisonError::into_inner).insert(entry.clone());
        Self { all, entry }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.entry);
    }
}

/// Why a save from the journal did not come about.
pub(super) enum Late {
    Unreached(String),
    Refused(String),
    Unreadable(String),
}

/// Leaves out the topics that already have an answer, or ends the trigger, as the agent is configured.
fn respect_existing(agent: &Settings, row: &LabelRow, frame: u64, topics: &mut Vec<Topic<'_>>) -> Result<Option<Outcome>, Error> {
    if agent.existing == Existing::Replace {
        return Ok(None);
    }
    let mut open = Vec::with_capacity(topics.len());
    for topic in topics.drain(..) {
        if row.answer_on(topic.feature, frame)?.is_none() {
            open.push(topic);
        } else if agent.existing == Existing::Fail {
            let message = format!("frame {frame} already has an answer to {:?}, and this agent may not replace it", topic.title);
            return Err(Error::new(Kind::Unprocessable, message));
        }
    }
    *topics = open;
    let kept = || "the frame already has an answer, which stays".to_owned();
    Ok(topics.is_empty().then(|| Outcome::Kept { message: (agent.reply == ReplyStyle::Summary).then(kept) }))
}

fn told(how: Saved, reply: &Reply, order: &SaveOrder) -> String {
    if how == Saved::Superseded {
        return "somebody answered this frame meanwhile, and that answer stays".into();
    }
    let mut text = format!("saved for frame {}", order.frame);
    if !reply.left_out.is_empty() {
        text.push_str(&format!("; left unanswered: {}", reply.left_out.join(", ")));
    }
    text
}
