//! What is known of a trigger while it runs and after: for its log line, the metrics and the history.

use std::time::{Duration, Instant};

use crate::media::Picture;
use crate::telemetry::Step;

use super::select::shortened;
use super::{Error, Kind, Outcome};

/// What the box was doing in a step, for "the time ran out while …".
fn doing(step: Step) -> &'static str {
    match step {
        Step::Wait => "waiting for other triggers",
        Step::LabelRow => "looking up the label row and the ontology at Encord",
        Step::Link => "opening the label row at Encord",
        Step::Fetch | Step::Decode => "fetching and decoding the frame",
        Step::Model => "waiting for the model",
        Step::Journal => "writing the journal",
        Step::Save | Step::Total => "saving to Encord",
    }
}

/// What is known of a trigger.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Finished steps with their time, in order.
    pub steps: Vec<(Step, Duration)>,
    /// Title of the data item, once known.
    pub title: String,
    /// Which decoder made the frame.
    pub decoder: String,
    /// Hardware decoders that failed at the frame before software made it, each with the reason.
    pub fell_back: Vec<String>,
    /// The transfer function of a frame with high dynamic range, `pq` or `hlg`; empty for all others.
    pub hdr: &'static str,
    /// Container of the item.
    pub container: String,
    /// Bytes of media that came over the network.
    pub bytes: u64,
    /// Requests to the media store.
    pub media_requests: u32,
    /// The model that answered.
    pub model: String,
    /// Tokens of the prompts, as the endpoint counted them.
    pub prompt_tokens: u64,
    /// Tokens of the answers, likewise.
    pub answer_tokens: u64,
    /// What was answered, one piece for each classification or object, in words for people.
    pub answer: Vec<String>,
    /// Titles of what the model left unanswered.
    pub left_out: Vec<String>,
    /// Selected objects that have no answer, each with the reason.
    pub skipped: Vec<String>,
    /// What a look at the row after a slow save showed: `same`, `restored`, `changed` or `unread`.
    pub read_back: Option<&'static str>,
    /// Whether the picture that the model was shown is to be kept.
    pub keeps_picture: bool,
    /// That picture, or the first of several.
    pub picture: Option<Picture>,
}

/// Most characters of an answer that the history keeps.
const LONGEST_ANSWER: usize = 300;

impl Report {
    /// What was answered, for the history; the whole of it is in the label row.
    pub fn answered(&self) -> String {
        shortened(&self.answer.join("; "), LONGEST_ANSWER)
    }

    /// Notes a step that was timed elsewhere. What a step has noted already on its own is not counted twice.
    pub(super) fn note(&mut self, step: Step, took: Duration) {
        if !self.steps.iter().any(|(noted, _)| *noted == step) {
            self.steps.push((step, took));
        }
    }

    /// Times one step, and names it when the request's time runs out in it.
    pub(super) fn step<T>(&mut self, step: Step, work: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        let start = Instant::now();
        let result = work(self);
        self.note(step, start.elapsed());
        result.map_err(|error| match error.kind {
            Kind::Deadline => Error::new(Kind::Deadline, self.told(step)),
            _ => error,
        })
    }

    /// The step in which the time ran out, and where the time was really lost if that was before it began.
    fn told(&self, step: Step) -> String {
        let waited = self.steps.iter().find(|(noted, _)| *noted == Step::Wait).map_or(Duration::ZERO, |(_, took)| *took);
        match waited.as_secs() {
            0 => ran_out(step),
            _ if step == Step::Wait => ran_out(step),
            seconds => format!("{}; it had waited {seconds} s for other triggers before", ran_out(step)),
        }
    }
}

/// What is told of a trigger whose time ran out in this step.
pub(super) fn ran_out(step: Step) -> String {
    format!("the time for this request ran out while {}", doing(step))
}

/// One word for how a trigger ended: `saved`, `kept`, `queued`, or the kind of error.
pub fn outcome_word(verdict: &Result<Outcome, Error>) -> &'static str {
    match verdict {
        Ok(Outcome::Saved { .. }) => "saved",
        Ok(Outcome::Kept { .. }) => "kept",
        Ok(Outcome::Queued { .. }) => "queued",
        Err(error) => match error.kind {
            Kind::Forbidden => "forbidden",
            Kind::NotFound => "not_found",
            Kind::Unprocessable => "unprocessable",
            Kind::Upstream => "upstream",
            Kind::Busy => "busy",
            Kind::Deadline => "deadline",
            Kind::Abandoned => "abandoned",
            Kind::Internal => "internal",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_names_its_step_and_the_time_that_was_lost_before_it() {
        let told = |waited: u64, step| {
            let mut report = Report { steps: vec![(Step::Wait, Duration::from_secs(waited))], ..Report::default() };
            report.step(step, |_| Err::<(), _>(Error::new(Kind::Deadline, "late"))).unwrap_err().message
        };
        assert_eq!(told(0, Step::Model), "the time for this request ran out while waiting for the model");
        assert_eq!(
            told(7, Step::LabelRow),
            "the time for this request ran out while looking up the label row and the ontology at Encord; it had waited 7 s for other triggers before"
        );
        assert_eq!(told(9, Step::Wait), "the time for this request ran out while waiting for other triggers");
        let other = Report::default().step(Step::Model, |_| Err::<(), _>(Error::new(Kind::Busy, "as it was")));
        assert_eq!(other.unwrap_err().message, "as it was");
    }
}
