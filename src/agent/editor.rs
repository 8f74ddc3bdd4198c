//! The story of one trigger, top to bottom.

use std::sync::Arc;
use std::time::Duration;

use crate::deadline::Expired;
use crate::encord::ontology::Topic;
use crate::encord::{Encord, LabelRow, Ontology, PreparedAnswer, RowKind, RowSummary};
use crate::journal::Journal;
use crate::media::{DataType, Frame, Hdr, Media, Picture, Region, Want};
use crate::model::{Models, Question, Reply};
use crate::telemetry::Step;

use super::report::Report;
use super::save::{Ordered, SaveOrder, Saved, Saver, Saves};
use super::{Error, Existing, Kind, Outcome, ReplyStyle, Settings, Target, Trigger, select};

/// Answers triggers for all configured agents.
pub struct EditorAgent {
    pub(super) agents: Vec<Settings>,
    pub(super) encord: Encord,
    pub(super) media: Media,
    pub(super) models: Models,
    pub(super) journal: Arc<Journal>,
    pub(super) saver: Saver,
    pub(super) saves: Arc<Saves>,
}

/// Where a trigger begins: the row's place in the list and the ontology.
pub(super) struct Ground {
    pub(super) summary: RowSummary,
    pub(super) ontology: Arc<Ontology>,
    project_title: String,
}

impl EditorAgent {
    /// Puts the parts together; calls nothing. `saves` is shared with whatever ran before a reload.
    pub fn new(agents: Vec<Settings>, encord: Encord, media: Media, models: Models, journal: Arc<Journal>, saves: Arc<Saves>) -> Self {
        let saver = Saver::new(encord.clone(), Arc::clone(&saves));
        Self { agents, encord, media, models, journal, saver, saves }
    }

    /// From a press of the button to a saved label. What became known on the way is left in `report`, whatever the end.
    /// Up to the model's question it ends when nobody waits for it any more; from there on the answer is paid for.
    pub fn handle(&self, trigger: &Trigger, report: &mut Report) -> Result<Outcome, Error> {
        let verdict = self.answer(trigger, report);
        // Whatever a step made of it: a trigger that was left in the middle has no other fault.
        verdict.map_err(|error| trigger.deadline.left().err().filter(|expired| *expired == Expired::Left).map_or(error, Error::from))
    }

    fn answer(&self, trigger: &Trigger, report: &mut Report) -> Result<Outcome, Error> {
        report.step(Step::Wait, |_| Ok(trigger.deadline.left()?))?;
        let agent = self.agent(trigger)?;
        let ground = report.step(Step::LabelRow, |report| self.look_up(trigger, agent, report))?;
        match agent.target {
            Target::Frame => self.answer_frame(trigger, agent, &ground, report),
            Target::Objects => self.answer_objects(trigger, agent, &ground, report),
        }
    }

    fn answer_frame(&self, trigger: &Trigger, agent: &Settings, ground: &Ground, report: &mut Report) -> Result<Outcome, Error> {
        let mut topics: Vec<Topic<'_>> = select::choose(&ground.ontology, &agent.classification)?.into_iter().map(Topic::from).collect();
        let row = report.step(Step::Link, |_| self.open(trigger, ground))?;
        if trigger.unasked && is_begun(&row, trigger.frame, &topics)? {
            return Ok(Outcome::Kept { message: None });
        }
        if let Some(outcome) = respect_existing(agent, &row, trigger.frame, &mut topics)? {
            return Ok(outcome);
        }
        let frame = report.step(Step::Fetch, |report| self.frame(trigger, agent, &row, Vec::new(), report))?;
        let reply = report.step(Step::Model, |report| self.ask(trigger, agent, ground, &row, &topics, &frame.pictures, report))?;
        if reply.answers.is_empty() {
            let message = format!("model {} left everything unanswered for this frame; nothing was saved", reply.model);
            return Err(Error::new(Kind::Unprocessable, message));
        }
        let order = order(trigger, agent, ground, &row, &reply)?;
        report.answer = order.answers.iter().flat_map(|ordered| ordered.answer.spoken()).collect();
        let told = |saved: &Saved| (agent.reply == ReplyStyle::Summary).then(|| summary(&order, saved, &reply.left_out));
        self.deliver(trigger, agent, &order, told, report)
    }

    /// Whether there is an agent at this path.
    pub fn has(&self, path: &str) -> bool {
        self.agents.iter().any(|agent| agent.path == path)
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
            let known = || Ok::<_, Error>((self.encord.project(project, deadline)?, self.encord.ontology(project, deadline)?));
            let known = scope.spawn(move || trigger.trace.carry(known));
            let summary = self.encord.find_row(project, &trigger.data, deadline);
            (summary, known.join().unwrap_or_else(|_| Err(Error::new(Kind::Internal, "reading the ontology panicked"))))
        });
        let (about, mut ontology) = known?;
        let summary = summary?;
        report.title = summary.data_title.clone();
        if agent.target == Target::Frame && select::choose(&ontology, &agent.classification).is_err() {
            // It may have been added since the ontology was last asked for.
            ontology = self.encord.fresh_ontology(project, deadline)?;
            select::choose(&ontology, &agent.classification)?;
        }
        Ok(Ground { summary, ontology, project_title: about.title.clone() })
    }

    pub(super) fn open(&self, trigger: &Trigger, ground: &Ground) -> Result<LabelRow, Error> {
        Ok(self.encord.open_row(&trigger.project, &ground.summary, &trigger.deadline)?)
    }

    /// The whole picture, or one for each region.
    pub(super) fn frame(
        &self,
        trigger: &Trigger,
        agent: &Settings,
        row: &LabelRow,
        regions: Vec<Region>,
        report: &mut Report,
    ) -> Result<Frame, Error> {
        let deadline = &trigger.deadline;
        let link = self.encord.link(&trigger.project, row, trigger.frame, deadline)?;
        let (max_side, quality) = self.models.picture_bounds(&agent.model, &trigger.project)?;
        let want =
            Want { frame: if link.data_type == DataType::Video { trigger.frame } else { 0 }, regions, lossless: false, max_side, quality };
        let mut renew = || self.encord.renewed_link(&trigger.project, row, trigger.frame, deadline).ok().map(|link| link.url);
        let frame = self.media.frame(&link, &want, &mut renew, deadline)?;
        let milliseconds = |ms: f64| Duration::from_secs_f64(ms.max(0.0) / 1000.0);
        report.note(Step::Fetch, milliseconds(frame.timings.fetch));
        report.note(Step::Decode, milliseconds(frame.timings.total - frame.timings.fetch));
        report.decoder = frame.decoder.clone();
        report.fell_back.clone_from(&frame.fell_back);
        report.hdr = frame.hdr.map_or("", Hdr::name);
        report.container = frame.container.clone();
        report.bytes = frame.bytes_fetched;
        report.media_requests = frame.requests;
        report.picture = frame.pictures.first().filter(|_| report.keeps_picture).cloned();
        Ok(frame)
    }

    #[allow(clippy::too_many_arguments)] // Each is a thing of its own, and a struct for one call would only rename them.
    pub(super) fn ask(
        &self,
        trigger: &Trigger,
        agent: &Settings,
        ground: &Ground,
        row: &LabelRow,
        topics: &[Topic<'_>],
        pictures: &[Picture],
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
            pictures,
        };
        let reply = self.models.ask(&agent.model, &question, &trigger.deadline)?;
        report.model = reply.model.clone();
        report.prompt_tokens += reply.prompt_tokens;
        report.answer_tokens += reply.answer_tokens;
        report.left_out.extend(reply.left_out.iter().cloned());
        Ok(reply)
    }
}

fn order(trigger: &Trigger, agent: &Settings, ground: &Ground, row: &LabelRow, reply: &Reply) -> Result<SaveOrder, Error> {
    let now = time::OffsetDateTime::now_utc();
    let ordered = |answer| {
        // The answer was validated against this very ontology, so a misfit is a mistake of our own.
        let answer = PreparedAnswer::new(&ground.ontology, answer, agent.confidence, now)
            .map_err(|misfit| Error::new(Kind::Internal, misfit.to_string()))?;
        Ok(Ordered { seen: row.state_for(&answer, trigger.frame)?, answer })
    };
    let answers = reply.answers.iter().map(ordered).collect::<Result<_, Error>>()?;
    Ok(SaveOrder { project: trigger.project.clone(), label: row.label_hash().clone(), frame: trigger.frame, answers })
}

fn summary(order: &SaveOrder, saved: &Saved, left_out: &[String]) -> String {
    let spoken = |places: &[usize]| places.iter().flat_map(|&place| order.answers[place].answer.spoken()).collect::<Vec<_>>();
    let said = spoken(&saved.written);
    let mut text = format!("saved for frame {}: {}", order.frame, said.join("; "));
    if !saved.superseded.is_empty() {
        text.push_str(&format!("; {} answered by somebody meanwhile, which stays", saved.superseded.len()));
    }
    if !left_out.is_empty() {
        text.push_str(&format!("; left unanswered: {}", left_out.join(", ")));
    }
    text
}

/// Whether any of the topics has an answer: by us, before a crash, or by somebody who was faster.
fn is_begun(row: &LabelRow, frame: u64, topics: &[Topic<'_>]) -> Result<bool, Error> {
    for topic in topics {
        if row.answer_on(topic.feature, frame)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
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
