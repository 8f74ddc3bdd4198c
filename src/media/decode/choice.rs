//! Which decoder makes the frame: hardware that proved itself, else software.

use super::elements;
use super::hardware;
use super::link::Link;
use super::picture::Rgb;
use crate::deadline::Deadline;
use crate::media::index::Codec;
use crate::media::worker::protocol::{Candidate, Failure, FrameJob, FromWorker};

/// A picture and who made it.
pub(super) struct Choice {
    pub(super) candidate: Candidate,
    pub(super) picture: Rgb,
    /// Hardware decoders that failed at this frame, with the reason.
    pub(super) fell_back: Vec<String>,
}

/// Decodes with the first decoder that may be used. Where the setting is `auto`, one failure of hardware in the middle is
/// made good by software; a family that was asked for by name is not replaced.
pub(super) fn first_that_works(
    link: &Link,
    job: &FrameJob,
    codec: &Codec,
    deadline: &Deadline,
    decode: &mut dyn FnMut(&Candidate) -> Result<Rgb, Failure>,
) -> Result<Choice, Failure> {
    let strict = job.decoder != "auto" && job.decoder != "software";
    let mut reasons = Vec::new();
    for candidate in hardware::of(codec, &job.decoder) {
        if job.left_out.contains(&candidate.key()) {
            reasons.push(format!("{} failed a short while ago", candidate.element));
            continue;
        }
        tell(link, &FromWorker::Using(Some(candidate.clone())))?;
        if !job.proven.contains(&candidate.key()) {
            let failure = hardware::prove(&candidate, deadline).err().map(|failure| failure.to_string());
            tell(link, &FromWorker::Tried { failure: failure.clone() })?;
            if let Some(reason) = failure {
                reasons.push(format!("{}: {reason}", candidate.element));
                continue;
            }
        }
        match decode(&candidate) {
            Ok(picture) => {
                tell(link, &FromWorker::Using(None))?;
                return Ok(Choice { candidate, picture, fell_back: Vec::new() });
            }
            Err(failure) if strict || failure == Failure::Expired => return Err(failure),
            Err(failure) => {
                tell(link, &FromWorker::Using(None))?;
                let reason = format!("{}: {failure}", candidate.element);
                return software(codec, decode).map(|choice| Choice { fell_back: vec![reason], ..choice });
            }
        }
    }
    if strict {
        let found = if reasons.is_empty() { "no such decoder is registered".to_owned() } else { reasons.join("; ") };
        let remedy = format!("media.decoder is {:?}, and {found}; mend it, or choose \"auto\"", job.decoder);
        return Err(Failure::NoDecoder { codec: codec.name().to_owned(), remedy });
    }
    tell(link, &FromWorker::Using(None))?;
    software(codec, decode)
}

fn software(codec: &Codec, decode: &mut dyn FnMut(&Candidate) -> Result<Rgb, Failure>) -> Result<Choice, Failure> {
    let element = elements::software_decoder(codec)?.to_owned();
    let candidate = Candidate { element, family: "software".to_owned(), codec: codec.name().to_owned() };
    Ok(Choice { picture: decode(&candidate)?, candidate, fell_back: Vec::new() })
}

fn tell(link: &Link, message: &FromWorker) -> Result<(), Failure> {
    link.send(message, &[]).map_err(|error| Failure::Internal(error.to_string()))
}
