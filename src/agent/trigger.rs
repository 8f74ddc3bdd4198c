//! What the label editor asks for, and what comes of it.

use std::net::IpAddr;

use crate::deadline::Deadline;
use crate::ids::{DataHash, ProjectHash, RequestId};
use crate::trace::Trace;

/// One press of the button.
#[derive(Debug, Clone)]
pub struct Trigger {
    /// In every message and log line of this trigger.
    pub id: RequestId,
    /// Which configured agent, by its path; a place in a list could mean another one after a reload.
    pub agent: String,
    /// The project.
    pub project: ProjectHash,
    /// The data item.
    pub data: DataHash,
    /// 0-based frame in presentation order; 0 for a single image.
    pub frame: u64,
    /// The objects the annotator selected; empty means the whole frame.
    pub objects: Vec<String>,
    /// The station that it came from; nobody's click came from none.
    pub caller: Option<IpAddr>,
    /// When all steps must be over.
    pub deadline: Deadline,
    /// The caller's trace (`X-Cloud-Trace-Context` or `traceparent`), or one of its own: in the log, and in what Encord and
    /// the model are asked.
    pub trace: Trace,
    /// Nobody pressed the button: an answer that is there stays, whatever the agent would make of it.
    pub unasked: bool,
}

impl Trigger {
    /// Two triggers with equal keys ask for the same work, so they share one run.
    pub(super) fn key(&self) -> Key {
        let mut objects = self.objects.clone();
        objects.sort();
        Key { agent: self.agent.clone(), project: self.project.clone(), data: self.data.clone(), frame: self.frame, objects }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    agent: String,
    project: ProjectHash,
    data: DataHash,
    frame: u64,
    objects: Vec<String>,
}

/// How a trigger ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The answer is in the label row.
    Saved {
        /// Shown to the annotator, if the agent is configured to speak.
        message: Option<String>,
    },
    /// There already was an answer, or a person gave one meanwhile: theirs stays.
    Kept {
        /// Shown to the annotator, if the agent is configured to speak.
        message: Option<String>,
    },
    /// The answer waits in the journal until Encord can be reached.
    Queued {
        /// Shown to the annotator.
        message: String,
    },
}
