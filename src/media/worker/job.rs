//! One job on one worker: its questions are answered, its pictures collected, its end noticed, whatever it is.

use std::time::Duration;

use super::pool::{Lease, Pool};
use super::proofs::Proofs;
use super::protocol::{Candidate, Facts, Failure, FromWorker, Job, MAX_INDEX, MAX_PICTURE, MAX_READ, MAX_SPANS, ToWorker};
use super::wire::WireError;
use crate::deadline::{Deadline, Expired};
use crate::media::{Error, Picture};

/// A worker that says nothing for so long hangs: the slowest decode of a frame stays far below it.
const SILENCE: Duration = Duration::from_secs(30);

/// The same while a hardware decoder has the word: those are fast, or they are stuck, and software needs time too.
const HARDWARE_SILENCE: Duration = Duration::from_secs(10);

/// Time for a worker to tidy up after it was told that there are no bytes.
const FAREWELL: Duration = Duration::from_secs(2);

/// Most bytes of all pictures of one job.
const MOST_PICTURES: usize = 2 * MAX_PICTURE;

/// Why a job has no result.
#[derive(Debug)]
pub enum JobError {
    /// The worker said why.
    Failed(Failure),
    /// The bytes could not be had, the time ran out, or no worker could be started.
    Here(Error),
    /// The worker crashed or hung and is gone; `using` names the decoder that had the word, if it was not software.
    Lost {
        /// How it ended.
        how: String,
        /// Decoder in use.
        using: Option<Candidate>,
    },
}

impl From<Error> for JobError {
    fn from(error: Error) -> Self {
        Self::Here(error)
    }
}

/// Takes the next bytes of an answer.
pub type Sink<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), WireError>;

/// Where the bytes of an item come from.
pub trait Bytes {
    /// Hands `(offset, length)` spans to `sink`, one after the other, in pieces of any size; all of them, or an error.
    fn hand_out(&mut self, spans: &[(u64, u64)], deadline: &Deadline, sink: Sink<'_>) -> Result<(), NoBytes>;
}

/// Why bytes were not handed out.
#[derive(Debug)]
pub enum NoBytes {
    /// They cannot be had.
    Missing(Error),
    /// The sink takes no more.
    Unwanted(WireError),
}

impl From<Error> for NoBytes {
    fn from(error: Error) -> Self {
        Self::Missing(error)
    }
}

impl From<WireError> for NoBytes {
    fn from(error: WireError) -> Self {
        Self::Unwanted(error)
    }
}

impl<F: FnMut(&[(u64, u64)], &Deadline) -> Result<Vec<u8>, Error>> Bytes for F {
    fn hand_out(&mut self, spans: &[(u64, u64)], deadline: &Deadline, sink: Sink<'_>) -> Result<(), NoBytes> {
        Ok(sink(&self(spans, deadline)?)?)
    }
}

/// What a job brought.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Pictures, in the order asked for.
    pub pictures: Vec<Picture>,
    /// How the frame came about.
    pub facts: Facts,
    /// The item's sample table, if it had to be read from the file.
    pub index: Option<Vec<u8>>,
    /// Answer to [`Job::Candidates`].
    pub candidates: Vec<Candidate>,
}

/// Gives `job` to a worker and sees it through; `index` is the sample table that an earlier job brought, or empty.
pub fn run(pool: &Pool, proofs: &Proofs, job: &Job, index: &[u8], bytes: &mut dyn Bytes, deadline: &Deadline) -> Result<Outcome, JobError> {
    let item = if let Job::Frame(job) = job { job.item.as_deref() } else { None };
    let mut lease = pool.take(item, deadline)?;
    match converse(&mut lease, proofs, (job, index), bytes, deadline) {
        Ok(outcome) => {
            lease.done();
            Ok(outcome)
        }
        // The conversation was in order, only the job was not.
        Err(Talk::Failed(failure)) => {
            lease.done();
            Err(JobError::Failed(failure))
        }
        Err(Talk::NoBytes(error)) => {
            if farewell(&mut lease) {
                lease.done();
            }
            Err(JobError::Here(error))
        }
        Err(Talk::Wire { error, using }) => {
            let how = lease.end();
            if let WireError::Deadline(left @ Expired::Left) = error {
                return Err(Error::from(left).into());
            }
            deadline.left().map_err(Error::from)?;
            let what = match error {
                WireError::Closed => "it crashed".to_owned(),
                WireError::Deadline(_) => "it hung".to_owned(),
                other => other.to_string(),
            };
            tracing::warn!(what, how, decoder = using.as_ref().map(Candidate::key), "a decode worker was lost");
            Err(JobError::Lost { how: format!("{what} ({how})"), using })
        }
    }
}

/// How a conversation ended before its job was done.
enum Talk {
    Failed(Failure),
    NoBytes(Error),
    Wire { error: WireError, using: Option<Candidate> },
}

fn converse(lease: &mut Lease, proofs: &Proofs, work: (&Job, &[u8]), bytes: &mut dyn Bytes, deadline: &Deadline) -> Result<Outcome, Talk> {
    let mut using: Option<Candidate> = None;
    let mut outcome = Outcome::default();
    let mut total = 0;
    let lost = |error, using: &Option<Candidate>| Talk::Wire { error, using: using.clone() };
    lease.send(&ToWorker::Job(work.0.clone()), work.1, deadline).map_err(|e| lost(e, &using))?;
    loop {
        let silence = if using.is_some() { HARDWARE_SILENCE } else { SILENCE };
        let (message, payload) = lease.receive(MAX_PICTURE, &deadline.within(silence)).map_err(|e| lost(e, &using))?;
        match message {
            FromWorker::Read { spans } => {
                let wanted = spans.iter().try_fold(0_u64, |sum, span| sum.checked_add(span.1)).unwrap_or(u64::MAX);
                if wanted > MAX_READ as u64 || spans.len() > MAX_SPANS {
                    return Err(lost(WireError::Form(format!("it asked for {wanted} bytes at once")), &using));
                }
                let mut pass_on = |piece: &[u8]| lease.send(&ToWorker::Bytes { last: false }, piece, deadline);
                match bytes.hand_out(&spans, deadline, &mut pass_on) {
                    Ok(()) => lease.send(&ToWorker::Bytes { last: true }, &[], deadline).map_err(|e| lost(e, &using))?,
                    Err(NoBytes::Missing(error)) => return Err(Talk::NoBytes(error)),
                    Err(NoBytes::Unwanted(error)) => return Err(lost(error, &using)),
                }
            }
            FromWorker::Using(candidate) => using = candidate,
            FromWorker::Tried { failure } => {
                let Some(candidate) = &using else { return Err(lost(WireError::Form("nothing was tried".to_owned()), &using)) };
                proofs.note(&candidate.key(), failure.map_or(Ok(()), Err));
            }
            FromWorker::Index => outcome.index = Some(payload).filter(|index| index.len() <= MAX_INDEX),
            FromWorker::Picture { png, width, height } => {
                total += payload.len();
                if total > MOST_PICTURES {
                    return Err(lost(WireError::Form("more pictures than asked for".to_owned()), &using));
                }
                let mime = if png { "image/png" } else { "image/jpeg" };
                outcome.pictures.push(Picture { mime, bytes: payload, width, height });
            }
            FromWorker::Done(facts) => {
                outcome.facts = facts;
                return Ok(outcome);
            }
            FromWorker::Candidates(candidates) => {
                outcome.candidates = candidates;
                return Ok(outcome);
            }
            FromWorker::Proven => return Ok(outcome),
            FromWorker::Failed(failure) => return Err(Talk::Failed(failure)),
            FromWorker::Ready { .. } => return Err(lost(WireError::Form("ready twice".to_owned()), &using)),
        }
    }
}

/// Tells the worker that there are no bytes, and whether it took that well.
fn farewell(lease: &mut Lease) -> bool {
    let soon = Deadline::after(FAREWELL);
    if lease.send(&ToWorker::NoBytes, &[], &soon).is_err() {
        return false;
    }
    // It may ask once more before it gives up.
    loop {
        match lease.receive(MAX_PICTURE, &soon) {
            Ok((FromWorker::Failed(_), _)) => return true,
            Ok((FromWorker::Read { .. }, _)) if lease.send(&ToWorker::NoBytes, &[], &soon).is_ok() => {}
            _ => return false,
        }
    }
}
