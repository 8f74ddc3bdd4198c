//! A trigger about objects that the annotator selected: their own attributes are answered, each from its own cut-out.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::encord::ontology::{ObjectClass, Topic};
use crate::encord::{LabelRow, PreparedAnswer, answer::Answer};
use crate::media::{Picture, Region};
use crate::model::Reply;
use crate::telemetry::Step;
use crate::trace::Trace;

use super::editor::{EditorAgent, Ground};
use super::report::Report;
use super::save::{Ordered, SaveOrder, Saved};
use super::{Error, Existing, Kind, Outcome, ReplyStyle, Settings, Trigger, select};

/// Each object is a picture and a model call of its own, so their number is bounded.
const MOST_OBJECTS: usize = 20;

/// How much of its surroundings a cut-out shows, as a part of the object's own size on each side.
const CONTEXT: f64 = 0.2;

/// An object that can be worked on.
struct Selected<'a> {
    hash: String,
    region: Region,
    class: &'a ObjectClass,
    topic: Topic<'a>,
}

impl Selected<'_> {
    /// As people and logs are told which one is meant.
    fn called(&self) -> String {
        called(&self.class.name, &self.hash)
    }
}

/// Why one of several objects has no answer, for the message.
struct Skipped {
    name: String,
    why: String,
}

/// The answer to one object, and what the object is called.
struct Answered {
    name: String,
    ordered: Ordered,
}

impl EditorAgent {
    pub(super) fn answer_objects(
        &self,
        trigger: &Trigger,
        agent: &Settings,
        ground: &Ground,
        report: &mut Report,
    ) -> Result<Outcome, Error> {
        if trigger.objects.is_empty() {
            return Err(unprocessable("this agent works on objects: select one or more in the editor, then press the button"));
        }
        if trigger.objects.len() > MOST_OBJECTS {
            return Err(unprocessable(format!(
                "{} objects are selected; this agent takes at most {MOST_OBJECTS} at once",
                trigger.objects.len()
            )));
        }
        let row = report.step(Step::Link, |_| self.open(trigger, ground))?;
        let mut skipped = Vec::new();
        let selected = select(trigger, agent, ground, &row, &mut skipped)?;
        if selected.is_empty() {
            report.skipped = skipped.iter().map(Skipped::told).collect();
            return nothing_to_do(agent, &skipped);
        }
        let regions = selected.iter().map(|object| with_context(object.region)).collect();
        let frame = report.step(Step::Fetch, |report| self.frame(trigger, agent, &row, regions, report))?;
        let answered = report.step(Step::Model, |report| {
            let answered = self.ask_about_each(trigger, agent, ground, &row, &selected, &frame.pictures, &mut skipped, report);
            report.skipped = skipped.iter().map(Skipped::told).collect();
            answered
        })?;
        let (names, answers): (Vec<String>, Vec<Ordered>) = answered.into_iter().map(|object| (object.name, object.ordered)).unzip();
        let spoken = |(name, ordered): (&String, &Ordered)| format!("{name}: {}", ordered.answer.spoken().join(", "));
        report.answer = names.iter().zip(&answers).map(spoken).collect();
        let order = SaveOrder { project: trigger.project.clone(), label: row.label_hash().clone(), frame: trigger.frame, answers };
        let left_out = report.left_out.clone();
        let told = |saved: &Saved| {
            let why = "somebody answered meanwhile, which stays";
            let kept = saved.superseded.iter().map(|&place| Skipped { name: names[place].clone(), why: why.into() });
            let skipped: Vec<Skipped> = skipped.into_iter().chain(kept).collect();
            (!skipped.is_empty() || agent.reply == ReplyStyle::Summary).then(|| summary(saved.written.len(), &skipped, &left_out))
        };
        self.deliver(trigger, agent, &order, told, report)
    }

    /// One call for each object, as many at once as the model takes. One that fails does not cost the others their
    /// answers; when all fail, the first failure is the trigger's.
    #[allow(clippy::too_many_arguments)] // Each is a thing of its own, and a struct for one call would only rename them.
    fn ask_about_each(
        &self,
        trigger: &Trigger,
        agent: &Settings,
        ground: &Ground,
        row: &LabelRow,
        selected: &[Selected<'_>],
        pictures: &[Picture],
        skipped: &mut Vec<Skipped>,
        report: &mut Report,
    ) -> Result<Vec<Answered>, Error> {
        let ask = |object: &Selected<'_>, picture: &Picture, own: &mut Report| {
            self.ask(trigger, agent, ground, row, std::slice::from_ref(&object.topic), std::slice::from_ref(picture), own)
        };
        let at_once = self.models.at_once(&agent.model, &trigger.project)?;
        let mut answers = Vec::new();
        let mut first_failure = None;
        for (object, (asked, own)) in selected.iter().zip(in_parallel(at_once, selected, pictures, ask)) {
            report.model.clone_from(&own.model);
            report.prompt_tokens += own.prompt_tokens;
            report.answer_tokens += own.answer_tokens;
            // With several objects of a class, the attribute alone does not say whose it is.
            report.left_out.extend(own.left_out.iter().map(|path| format!("{} {path}", object.hash)));
            let reply = match asked {
                Ok(reply) => reply,
                Err(error) => {
                    skipped.push(Skipped { name: object.called(), why: error.message.clone() });
                    first_failure.get_or_insert(error);
                    continue;
                }
            };
            match reply.answers.first() {
                Some(answer) => {
                    answers.push(Answered { name: object.called(), ordered: ordered(trigger, agent, ground, row, object, answer)? });
                }
                None => skipped.push(Skipped { name: object.called(), why: "the model could not tell".into() }),
            }
        }
        match (answers.is_empty(), first_failure) {
            (false, _) => Ok(answers),
            (true, Some(error)) => Err(error),
            (true, None) => Err(unprocessable("the model left everything unanswered for these objects; nothing was saved")),
        }
    }
}

/// What was asked about each object, in their order, each with a report of its own.
fn in_parallel(
    at_once: usize,
    selected: &[Selected<'_>],
    pictures: &[Picture],
    ask: impl Fn(&Selected<'_>, &Picture, &mut Report) -> Result<Reply, Error> + Sync,
) -> Vec<(Result<Reply, Error>, Report)> {
    let next = AtomicUsize::new(0);
    let trace = Trace::here();
    let work = || {
        let mut done = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let (Some(object), Some(picture)) = (selected.get(place), pictures.get(place)) else { return done };
            let mut own = Report::default();
            done.push((place, ask(object, picture, &mut own), own));
        }
    };
    let mut all: Vec<_> = std::thread::scope(|scope| {
        let helpers: Vec<_> = (1..at_once.min(selected.len())).map(|_| scope.spawn(move || trace.carry(work))).collect();
        let own = work();
        // A helper that panicked leaves its objects unanswered, which is told below.
        own.into_iter().chain(helpers.into_iter().filter_map(|helper| helper.join().ok()).flatten()).collect()
    });
    let unanswered = |place| (place, Err(Error::new(Kind::Internal, "asking about this object went wrong inside")), Report::default());
    let missing: Vec<usize> = (0..selected.len()).filter(|place| all.iter().all(|(done, ..)| done != place)).collect();
    all.extend(missing.into_iter().map(unanswered));
    all.sort_by_key(|(place, ..)| *place);
    all.into_iter().map(|(_, asked, own)| (asked, own)).collect()
}

fn ordered(
    trigger: &Trigger,
    agent: &Settings,
    ground: &Ground,
    row: &LabelRow,
    object: &Selected<'_>,
    answer: &Answer,
) -> Result<Ordered, Error> {
    let now = time::OffsetDateTime::now_utc();
    // The answer was validated against this very ontology, so a misfit is a mistake of our own.
    let answer = PreparedAnswer::for_object(&ground.ontology, answer, &object.hash, agent.confidence, now)
        .map_err(|misfit| Error::new(Kind::Internal, misfit.to_string()))?;
    Ok(Ordered { seen: row.state_for(&answer, trigger.frame)?, answer })
}

/// Finds the selected objects on the frame and what is to be answered about each.
fn select<'a>(
    trigger: &Trigger,
    agent: &Settings,
    ground: &'a Ground,
    row: &LabelRow,
    skipped: &mut Vec<Skipped>,
) -> Result<Vec<Selected<'a>>, Error> {
    let on_frame = row.objects_on(trigger.frame)?;
    let mut selected = Vec::new();
    for (place, hash) in trigger.objects.iter().enumerate() {
        if trigger.objects[..place].contains(hash) {
            continue;
        }
        let mut skip = |name: &str, why: String| skipped.push(Skipped { name: called(name, hash), why });
        let Some(object) = on_frame.iter().find(|object| object.hash == *hash) else {
            skip("object", format!("is not on frame {}, or not saved yet", trigger.frame));
            continue;
        };
        let Some(class) = ground.ontology.objects.iter().find(|class| class.hash == object.feature && !class.archived) else {
            skip("object", "its class is not in the ontology any more".into());
            continue;
        };
        let Some(region) = object.region else {
            skip(&class.name, format!("a {} encloses nothing that could be cut out", object.shape));
            continue;
        };
        let mut attributes = select::choose_attributes(class, &agent.classification);
        if attributes.is_empty() {
            skip(&class.name, "has no attribute that this agent answers".into());
            continue;
        }
        let answered = row.answered_attributes(hash, trigger.frame)?;
        match agent.existing {
            Existing::Replace => {}
            Existing::Keep => attributes.retain(|attribute| !answered.contains(&attribute.hash)),
            Existing::Fail if attributes.iter().any(|attribute| answered.contains(&attribute.hash)) => {
                return Err(unprocessable(format!("{:?} already has answers, and this agent may not replace them", class.name)));
            }
            Existing::Fail => {}
        }
        if attributes.is_empty() {
            skip(&class.name, "already has its answers, which stay".into());
            continue;
        }
        let topic = Topic { feature: &class.hash, title: &class.name, attributes };
        selected.push(Selected { hash: hash.clone(), region, class, topic });
    }
    Ok(selected)
}

/// Nothing is left to answer: fine when all answers are there already, else the annotator is told what is wrong.
fn nothing_to_do(agent: &Settings, skipped: &[Skipped]) -> Result<Outcome, Error> {
    let told = summary(0, skipped, &[]);
    if agent.existing == Existing::Keep && skipped.iter().all(|skipped| skipped.why.starts_with("already has")) {
        return Ok(Outcome::Kept { message: (agent.reply == ReplyStyle::Summary).then_some(told) });
    }
    Err(unprocessable(told))
}

fn summary(saved: usize, skipped: &[Skipped], left_out: &[String]) -> String {
    let mut text = format!("{saved} of {} objects answered", saved + skipped.len());
    for skipped in skipped {
        text.push_str(&format!("; {}", skipped.told()));
    }
    if !left_out.is_empty() {
        text.push_str(&format!("; left unanswered: {}", left_out.join(", ")));
    }
    text
}

impl Skipped {
    fn told(&self) -> String {
        format!("{}: {}", self.name, self.why)
    }
}

/// An object's class and the hash that the label editor shows for it. What a caller names without being asked may be long.
fn called(class: &str, hash: &str) -> String {
    format!("{class} {}", hash.chars().take(12).collect::<String>())
}

/// The object with some of its surroundings, within the picture.
fn with_context(region: Region) -> Region {
    let (across, down) = (region.width * CONTEXT, region.height * CONTEXT);
    let (left, top) = ((region.x - across).max(0.0), (region.y - down).max(0.0));
    let (right, bottom) = ((region.x + region.width + across).min(1.0), (region.y + region.height + down).min(1.0));
    Region { x: left, y: top, width: right - left, height: bottom - top }
}

fn unprocessable(message: impl Into<String>) -> Error {
    Error::new(Kind::Unprocessable, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_out_shows_its_surroundings_but_stays_in_the_picture() {
        let middle = with_context(Region { x: 0.4, y: 0.4, width: 0.1, height: 0.2 });
        assert!((middle.x - 0.38).abs() < 1e-9 && (middle.width - 0.14).abs() < 1e-9, "{middle:?}");
        assert!((middle.y - 0.36).abs() < 1e-9 && (middle.height - 0.28).abs() < 1e-9, "{middle:?}");
        let corner = with_context(Region { x: 0.9, y: 0.0, width: 0.1, height: 0.5 });
        assert!((corner.x + corner.width - 1.0).abs() < 1e-9 && corner.y == 0.0, "{corner:?}");
    }

    #[test]
    fn a_summary_names_each_object_that_was_left() {
        let skipped = [Skipped { name: called("Car", "AAAA/bb1"), why: "the model could not tell".into() }];
        assert_eq!(summary(2, &skipped, &[]), "2 of 3 objects answered; Car AAAA/bb1: the model could not tell");
        let left_out = ["AAAA/bb2 Car > Make".to_owned()];
        assert_eq!(summary(1, &[], &left_out), "1 of 1 objects answered; left unanswered: AAAA/bb2 Car > Make");
    }
}
