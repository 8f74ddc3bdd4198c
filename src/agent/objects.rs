//! A trigger about objects that the annotator selected: their own attributes are answered, each from its own cut-out.

use crate::encord::ontology::{ObjectClass, Topic};
use crate::encord::{LabelRow, PreparedAnswer, answer::Answer};
use crate::media::{Picture, Region};
use crate::telemetry::Step;

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

/// Why one of several objects has no answer, for the message.
struct Skipped {
    name: String,
    why: String,
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
            return nothing_to_do(agent, &skipped);
        }
        let regions = selected.iter().map(|object| with_context(object.region)).collect();
        let frame = report.step(Step::Fetch, |report| self.frame(trigger, agent, &row, regions, report))?;
        let answers = report.step(Step::Model, |report| {
            self.ask_about_each(trigger, agent, ground, &row, &selected, &frame.pictures, &mut skipped, report)
        })?;
        let order = SaveOrder { project: trigger.project.clone(), label: row.label_hash().clone(), frame: trigger.frame, answers };
        let told = |saved: &Saved| {
            let kept =
                saved.superseded.iter().map(|_| Skipped { name: "one".into(), why: "somebody answered meanwhile, which stays".into() });
            let skipped: Vec<Skipped> = skipped.into_iter().chain(kept).collect();
            (!skipped.is_empty() || agent.reply == ReplyStyle::Summary).then(|| summary(saved.written.len(), &skipped))
        };
        self.deliver(trigger, agent, &order, told, report)
    }

    /// One call for each object. One that fails does not cost the others their answers; when all fail, the first
    /// failure is the trigger's.
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
    ) -> Result<Vec<Ordered>, Error> {
        let mut answers = Vec::new();
        let mut first_failure = None;
        for (object, picture) in selected.iter().zip(pictures) {
            let asked = self.ask(trigger, agent, ground, row, std::slice::from_ref(&object.topic), std::slice::from_ref(picture), report);
            let reply = match asked {
                Ok(reply) => reply,
                Err(error) => {
                    skipped.push(Skipped { name: object.class.name.clone(), why: error.message.clone() });
                    first_failure.get_or_insert(error);
                    continue;
                }
            };
            match reply.answers.first() {
                Some(answer) => answers.push(ordered(trigger, agent, ground, row, object, answer)?),
                None => skipped.push(Skipped { name: object.class.name.clone(), why: "the model could not tell".into() }),
            }
        }
        match (answers.is_empty(), first_failure) {
            (false, _) => Ok(answers),
            (true, Some(error)) => Err(error),
            (true, None) => Err(unprocessable("the model left everything unanswered for these objects; nothing was saved")),
        }
    }
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
    for hash in &trigger.objects {
        let mut skip = |name: &str, why: String| skipped.push(Skipped { name: name.to_owned(), why });
        let Some(object) = on_frame.iter().find(|object| object.hash == *hash) else {
            skip(&hash.chars().take(12).collect::<String>(), format!("is not on frame {}, or not saved yet", trigger.frame));
            continue;
        };
        let Some(class) = ground.ontology.objects.iter().find(|class| class.hash == object.feature) else {
            skip(hash, "its class is not in the ontology any more".into());
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
    let told = summary(0, skipped);
    if agent.existing == Existing::Keep && skipped.iter().all(|skipped| skipped.why.starts_with("already has")) {
        return Ok(Outcome::Kept { message: (agent.reply == ReplyStyle::Summary).then_some(told) });
    }
    Err(unprocessable(told))
}

fn summary(saved: usize, skipped: &[Skipped]) -> String {
    let mut text = format!("{saved} of {} objects answered", saved + skipped.len());
    for Skipped { name, why } in skipped {
        text.push_str(&format!("; {name}: {why}"));
    }
    text
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
        let skipped = [Skipped { name: "Car".into(), why: "the model could not tell".into() }];
        assert_eq!(summary(2, &skipped), "2 of 3 objects answered; Car: the model could not tell");
    }
}
