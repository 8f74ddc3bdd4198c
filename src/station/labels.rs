//! Delivered pictures get their labels: an agent answers for each, and its answer is in the label row, or in the journal of answers,
//! once. Until then the picture's row stays in the journal, so that a crash, or a model that is down, only delays it.

use std::sync::Arc;

use crate::ids::{DataHash, DatasetHash, RequestId};
use crate::journal::{self, Bell, Capture, Held, Hold, Journal, Labelling, Rounds, State};

use super::{Failure, Leg, report};

/// One picture that an agent is to answer for.
#[derive(Clone)]
pub struct Task {
    /// The picture's id, which is the request's too: what is in the journal of answers under it is not answered again.
    pub id: RequestId,
    /// Which agent, and in which project.
    pub labelling: Labelling,
    /// The dataset that it is in.
    pub dataset: DatasetHash,
    /// The data item.
    pub data: DataHash,
    /// Over when nobody waits for it any more.
    pub ending: Bell,
}

/// What became of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Labelled {
    /// It is in the label row.
    Saved,
    /// There was an answer already, which stays.
    Kept,
    /// It waits in the journal of answers.
    Queued,
}

impl Labelled {
    /// As it is shown.
    pub fn word(self) -> &'static str {
        match self {
            Self::Saved => "saved",
            Self::Kept => "kept",
            Self::Queued => "queued",
        }
    }
}

/// Has an agent answer for a picture. It overwrites nothing, so that it may be done again after a crash.
pub type Labeller = dyn Fn(&Task) -> Result<Labelled, Failure> + Send + Sync;

/// The same, for as long as a call takes.
type Ask<'a> = dyn Fn(&Task) -> Result<Labelled, Failure> + 'a;

/// Starts the thread that labels what is delivered; the first pass is at once.
pub fn start(journal: Arc<Journal>, labeller: Arc<Labeller>) -> std::io::Result<Rounds> {
    let longest = journal.settings().retry_max;
    Rounds::start("labels", longest, move |bell| pass(&journal, &*labeller, bell))
}

/// Tries all that waits, oldest first; says whether all was done. What failed for one agent and project is not tried for the next
/// picture of theirs: a model that is down would be asked as often as pictures wait.
fn pass(journal: &Journal, labeller: &Ask<'_>, bell: &Bell) -> bool {
    let (mut place, mut failed) = (0, Vec::new());
    while !bell.is_over() {
        let (number, hold) = match journal.hold_next(place, true) {
            Ok(Some(found)) => found,
            Ok(None) => break,
            Err(error) => {
                tracing::warn!(%error, "the journal cannot be read, so labels wait");
                return false;
            }
        };
        place = number;
        match hold {
            // Whoever took it is at work on it.
            Hold::Busy | Hold::Gone => {}
            Hold::Lost(capture) => report(settle_lost(journal, &capture)),
            Hold::Mine(capture, held) if capture.state == State::Waiting && !failed.contains(&capture.labelling) => {
                let id = &capture.id;
                match label(journal, &capture, &held, bell, labeller) {
                    Ok(how) => {
                        tracing::info!(picture = %id, title = %capture.title, outcome = how.word(), "a delivered picture is labelled")
                    }
                    Err(failure) if failure.may_pass() => {
                        tracing::warn!(picture = %id, cause = %failure, "a delivered picture still waits for its label");
                        failed.push(capture.labelling);
                    }
                    Err(failure) => {
                        tracing::error!(picture = %id, cause = %failure, "a delivered picture cannot be labelled; `edgelabel pending retry` has it tried again");
                    }
                }
            }
            Hold::Mine(..) => {}
        }
    }
    failed.is_empty()
}

/// Has a delivered picture labelled and takes it out of the journal, or notes why not.
///
/// # Errors
/// As noted in the journal; it is tried again by itself if it may pass.
pub fn label(journal: &Journal, capture: &Capture, held: &Held, ending: &Bell, labeller: &Ask<'_>) -> Result<Labelled, Failure> {
    let done = answer(journal, capture, ending, labeller);
    match &done {
        Ok((leg, _)) => {
            // The file goes before the row, and without it the row must tell that nothing is left to do.
            let out = journal.note_leg(&capture.id, &leg.written()).and_then(|()| journal.remove_capture(&capture.id, Some(held)));
            if let Err(error) = out {
                tracing::warn!(picture = %capture.id, %error, "the labelled picture could not be taken out of the journal");
            }
        }
        Err(failure) => {
            let state = if failure.may_pass() { State::Waiting } else { State::Refused };
            report(journal.note_failed_capture(&capture.id, state, &failure.to_string()));
        }
    }
    done.map(|(_, how)| how)
}

fn answer(journal: &Journal, capture: &Capture, ending: &Bell, labeller: &Ask<'_>) -> Result<(Leg, Labelled), Failure> {
    // As it is by now: who delivered it may have begun with an earlier leg.
    let leg = Leg::read(&journal.capture(&capture.id)?.leg).map_err(|error| Failure::Unreadable(error.to_string()))?;
    let (item, data) = match leg {
        Leg::Attached { item, data } => (item, data),
        Leg::Labelled { .. } => return Ok((leg, Labelled::Kept)),
        _ => return Err(Failure::Unreadable("it is not delivered".into())),
    };
    let labelling = capture.labelling.clone().ok_or_else(|| Failure::Unreadable("nobody is to label it".into()))?;
    let id = capture.id.parse().map_err(|_| Failure::Unreadable(format!("{:?} is no id", capture.id)))?;
    let task = Task { id, labelling, dataset: capture.dataset.clone(), data: data.clone(), ending: ending.clone() };
    // From before a crash, or from a save that Encord did not take: it has been given, and is in the hands of the late saves.
    let waits = || journal.entry(&capture.id).is_ok();
    let how = if waits() {
        Labelled::Queued
    } else {
        labeller(&task).or_else(|failure| if waits() { Ok(Labelled::Queued) } else { Err(failure) })?
    };
    Ok((Leg::Labelled { item, data }, how))
}

/// A file goes before its row: without one the picture is labelled, or somebody has removed it.
fn settle_lost(journal: &Journal, capture: &Capture) -> Result<(), journal::Error> {
    if matches!(Leg::read(&capture.leg), Ok(Leg::Labelled { .. })) {
        return journal.remove_capture(&capture.id, None);
    }
    let cause = Failure::Unreadable("its file is gone".into());
    journal.note_failed_capture(&capture.id, State::Refused, &cause.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;
    use crate::encord::{Picture, Shelf};
    use crate::ids::ProjectHash;
    use crate::journal::{Pending, Settings};

    const DATA: &str = "038ed92d-dbe8-4991-a3aa-6ede35d6e62d";

    fn project() -> ProjectHash {
        "027e0c65-c53f-426d-9f02-04fafe8bd80e".parse().unwrap()
    }

    /// A journal with a delivered picture for each of these agents.
    fn delivered(agents: &[&str]) -> (Journal, Vec<String>, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(Settings::roomy(folder.path()));
        let shelf = Shelf { folder: DATA.parse().unwrap(), dataset: DATA.parse().unwrap() };
        let picture = Picture { jpeg: vec![0xff, 0xd8, 0xff], title: "gate.jpg".into(), metadata: serde_json::Map::new() };
        let put = |agent: &&str| {
            let labelling = Labelling { agent: (*agent).into(), project: project() };
            let capture = super::super::entry("gate", &shelf, Some(labelling), &picture);
            let held = journal.put_capture(&capture, &picture.jpeg).unwrap();
            let leg = Leg::Attached { item: DATA.parse().unwrap(), data: DATA.parse().unwrap() };
            journal.note_delivered(&capture.id, &leg.written(), &held).unwrap();
            capture.id
        };
        let ids = agents.iter().map(put).collect();
        (journal, ids, folder)
    }

    /// One pass, with what was asked for, by agent.
    fn passed(journal: &Journal, verdict: impl Fn(&str) -> Result<Labelled, Failure> + Send + Sync) -> (bool, Vec<String>) {
        let asked = Mutex::new(Vec::new());
        let done = pass(
            journal,
            &|task: &Task| {
                asked.lock().unwrap().push(task.labelling.agent.clone());
                verdict(&task.labelling.agent)
            },
            &Bell::default(),
        );
        (done, asked.into_inner().unwrap())
    }

    fn left(journal: &Journal) -> Vec<(String, State, u32)> {
        let all = journal.captures().unwrap();
        all.into_iter().map(|capture| (capture.labelling.unwrap().agent, capture.state, capture.attempts)).collect()
    }

    #[test]
    fn what_fails_for_an_agent_holds_up_its_pictures_only_and_a_refusal_none() {
        let (journal, _ids, _folder) = delivered(&["/down", "/well", "/down", "/never", "/never", "/well"]);
        let verdict = |agent: &str| match agent {
            "/well" => Ok(Labelled::Saved),
            agent => Err(Failure::Unlabelled { cause: agent.into(), passes: agent == "/down" }),
        };
        let (done, asked) = passed(&journal, verdict);
        assert_eq!((done, asked.as_slice()), (false, &["/down", "/well", "/never", "/never", "/well"].map(String::from)[..]));
        let (waiting, refused) = (|tries| ("/down".to_owned(), State::Waiting, tries), ("/never".to_owned(), State::Refused, 1));
        assert_eq!(left(&journal), [waiting(1), waiting(0), refused.clone(), refused.clone()]);
        let (done, asked) = passed(&journal, |_| Ok(Labelled::Kept));
        assert_eq!((done, asked.len(), left(&journal)), (true, 2, vec![refused.clone(), refused]));
    }

    #[test]
    fn an_answer_that_waits_is_not_asked_for_again() {
        let (journal, ids, _folder) = delivered(&["/", "/"]);
        let answer = |id: &str| Pending {
            id: id.into(),
            project: project(),
            data: DATA.parse().unwrap(),
            frame: 0,
            agent: "/".into(),
            state: State::Refused,
            since: time::OffsetDateTime::now_utc(),
            attempts: 1,
            error: "no".into(),
            payload: "{}".into(),
        };
        // One from before a crash; the other's save is refused at this moment.
        journal.put(&answer(&ids[0]), Duration::ZERO).unwrap();
        let verdict = |_: &str| {
            journal.put(&answer(&ids[1]), Duration::ZERO).unwrap();
            Err(Failure::Unlabelled { cause: "refused, and kept".into(), passes: false })
        };
        assert_eq!(passed(&journal, verdict), (true, vec!["/".to_owned()]));
        assert_eq!((left(&journal).len(), journal.pending().unwrap().len()), (0, 2));
    }

    #[test]
    fn a_picture_that_lost_its_file_is_done_with_only_once_it_is_labelled() {
        let (journal, ids, folder) = delivered(&["/", "/"]);
        let leg = Leg::Labelled { item: DATA.parse().unwrap(), data: DATA.parse().unwrap() };
        journal.note_leg(&ids[0], &leg.written()).unwrap();
        std::fs::remove_dir_all(folder.path().join("journal.pictures")).unwrap();
        assert_eq!(passed(&journal, |_| Ok(Labelled::Saved)), (true, Vec::new()));
        assert_eq!(left(&journal), [("/".to_owned(), State::Refused, 1)]);
    }
}
