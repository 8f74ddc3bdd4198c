//! Where the pool's triggers are worked on: by the parts now in force, with a log line, metrics and a history entry each.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::agent::editor::EditorAgent;
use crate::agent::report::{Report, outcome_word};
use crate::agent::{Error, Kind, Outcome, Trigger};
use crate::config::Config;
use crate::journal::{Bell, Episode, Journal};
use crate::model;
use crate::telemetry::{Metrics, Step};

use super::gallery::Gallery;
use super::health::Health;
use super::parts::Parts;

pub(super) struct Desk {
    parts: RwLock<Arc<Parts>>,
    /// One reload at a time.
    reloading: Mutex<()>,
    /// One note of tokens at a time.
    tallying: Mutex<()>,
    journal: Arc<Journal>,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    bells: OnceLock<Vec<Bell>>,
    pub(super) gallery: Gallery,
}

impl Desk {
    pub(super) fn new(parts: Parts, journal: Arc<Journal>, metrics: Arc<Metrics>, health: Arc<Health>) -> Self {
        Self {
            parts: RwLock::new(Arc::new(parts)),
            reloading: Mutex::default(),
            tallying: Mutex::default(),
            journal,
            metrics,
            health,
            bells: OnceLock::new(),
            gallery: Gallery::default(),
        }
    }

    /// The bells to ring when Encord is seen alive.
    pub(super) fn set_bells(&self, bells: Vec<Bell>) {
        // Set once, right after all exist; a second time would change nothing.
        let _ = self.bells.set(bells);
    }

    pub(super) fn parts(&self) -> Arc<Parts> {
        Arc::clone(&self.parts.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The agent now in force.
    pub(super) fn agent(&self) -> Arc<EditorAgent> {
        Arc::clone(&self.parts().agent)
    }

    /// Puts a new configuration's parts in force, or changes nothing. `also` is the rest of the configuration: what can
    /// still refuse it, once the parts are there.
    pub(super) fn replace(&self, config: &Config, also: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
        let _one_at_a_time = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let parts = Parts::build(config, &self.journal, Some(&self.parts()))?;
        also()?;
        *self.parts.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(parts);
        self.gallery.switch(config.file.admin.thumbnails);
        Ok(())
    }

    pub(super) fn handle(&self, trigger: &Trigger, waited: Duration) -> Result<Outcome, Error> {
        let start = Instant::now();
        let mut report = Report { keeps_picture: self.gallery.is_on(), steps: vec![(Step::Wait, waited)], ..Report::default() };
        let agent = self.agent();
        // A panic is this trigger's error, counted and told like any other. What it held is freed while it unwinds, and
        // an answer that is in the journal by then is saved from there.
        let story = || trigger.trace.carry(|| agent.handle(trigger, &mut report));
        let verdict = catch_unwind(AssertUnwindSafe(story)).unwrap_or_else(|_| {
            tracing::error!(request = %trigger.id, "the trigger panicked; this is a bug in edgelabel");
            Err(Error::own_mistake())
        });
        let total = waited + start.elapsed();
        self.note_parties(&report, &verdict);
        self.count(&report, &verdict, total);
        log(trigger, &report, &verdict, total);
        self.remember(trigger, &report, &verdict, total);
        self.keep_tokens();
        if let Some(picture) = report.picture {
            self.gallery.keep(trigger.id.to_string(), picture);
        }
        verdict
    }

    /// Each finished step shows that its party is well; the step that a trigger failed in shows that it is not.
    fn note_parties(&self, report: &Report, verdict: &Result<Outcome, Error>) {
        let at_fault = match verdict {
            Err(error) => {
                matches!(error.kind, Kind::Upstream | Kind::Forbidden | Kind::Busy | Kind::Deadline).then(|| error.message.clone())
            }
            Ok(Outcome::Queued { message }) => Some(message.clone()),
            Ok(_) => None,
        };
        let last = report.steps.len().saturating_sub(1);
        for (place, (step, _)) in report.steps.iter().enumerate() {
            let party = match step {
                Step::LabelRow | Step::Link | Step::Save => "encord",
                Step::Fetch | Step::Decode => "media",
                Step::Model => "model",
                Step::Journal | Step::Wait | Step::Total => continue,
            };
            match &at_fault {
                Some(reason) if place == last => self.health.note(party, Err(reason.clone())),
                // A failure of another kind in the last step says nothing about the party.
                None if place == last && verdict.is_err() => {}
                _ => self.health.note(party, Ok(())),
            }
        }
        let encord_answered = matches!(verdict, Ok(Outcome::Saved { .. } | Outcome::Kept { .. }));
        if encord_answered {
            self.bells.get().into_iter().flatten().for_each(Bell::ring);
        }
    }

    fn count(&self, report: &Report, verdict: &Result<Outcome, Error>, total: Duration) {
        self.metrics.trigger(outcome_word(verdict), &report.container);
        for (step, took) in &report.steps {
            self.metrics.step(*step, *took);
        }
        self.metrics.step(Step::Total, total);
        self.metrics.fetched(report.bytes);
        if !report.container.is_empty() {
            self.metrics.cache(report.media_requests == 0);
        }
        if !report.decoder.is_empty() {
            self.metrics.decoded(&report.decoder, !report.fell_back.is_empty());
        }
        self.metrics.tokens(report.prompt_tokens, report.answer_tokens);
        if let Some(outcome) = report.read_back {
            self.metrics.read_back(outcome);
        }
    }

    fn remember(&self, trigger: &Trigger, report: &Report, verdict: &Result<Outcome, Error>, total: Duration) {
        let message = match verdict {
            Ok(Outcome::Saved { message } | Outcome::Kept { message }) => message.clone().unwrap_or_default(),
            Ok(Outcome::Queued { message }) => message.clone(),
            Err(error) => error.message.clone(),
        };
        let mut steps: Vec<(String, f64)> = report.steps.iter().map(|(step, took)| (step.name().to_owned(), milliseconds(*took))).collect();
        steps.push((Step::Total.name().to_owned(), milliseconds(total)));
        let episode = Episode {
            id: trigger.id.to_string(),
            at: time::OffsetDateTime::now_utc().unix_timestamp(),
            agent: trigger.agent.clone(),
            project: trigger.project.to_string(),
            data: trigger.data.to_string(),
            title: report.title.clone(),
            frame: trigger.frame,
            outcome: outcome_word(verdict).into(),
            caller: trigger.caller.map(|address| address.to_canonical().to_string()).unwrap_or_default(),
            answer: report.answered(),
            message,
            steps,
            decoder: report.decoder.clone(),
            bytes: report.bytes,
            model: report.model.clone(),
            tokens: report.prompt_tokens + report.answer_tokens,
        };
        self.health.note("journal", self.journal.remember(&episode).map_err(|error| error.to_string()));
    }

    /// Writes down what capped models have used since the last time, and learns what commands on this box have.
    fn keep_tokens(&self) {
        let _one_at_a_time = self.tallying.lock().unwrap_or_else(PoisonError::into_inner);
        let (today, parts) = (model::day(time::OffsetDateTime::now_utc()), self.parts());
        for (table, new) in parts.models.unnoted_tokens(today) {
            match self.journal.add_tokens(today, table, new) {
                Ok(total) => parts.models.tokens_noted(table, today, new, total),
                Err(error) => tracing::warn!(%error, "the tokens used today are not written down"),
            }
        }
    }
}

fn milliseconds(took: Duration) -> f64 {
    (took.as_secs_f64() * 10_000.0).round() / 10.0
}

/// One line for each trigger, with all that is known of it.
fn log(trigger: &Trigger, report: &Report, verdict: &Result<Outcome, Error>, total: Duration) {
    let steps: Vec<String> = report.steps.iter().map(|(step, took)| format!("{}={:.1}", step.name(), milliseconds(*took))).collect();
    let (outcome, error) = (outcome_word(verdict), verdict.as_ref().err().map(|error| error.message.as_str()).unwrap_or_default());
    tracing::info!(
        request = %trigger.id, outcome, agent = %trigger.agent, project = %trigger.project, data = %trigger.data, frame = trigger.frame,
        ms = milliseconds(total), steps = %steps.join(" "), decoder = %report.decoder,
        fell_back = %report.fell_back.join("; "), hdr = report.hdr, container = %report.container, bytes = report.bytes,
        media_requests = report.media_requests, model = %report.model, prompt_tokens = report.prompt_tokens,
        answer_tokens = report.answer_tokens, left_out = ?report.left_out, skipped = ?report.skipped, trace = %trigger.trace, error,
        "trigger"
    );
}
