//! How a trigger ended badly: what kind of failure it is, and what the annotator is told.

use std::time::Duration;

use crate::deadline::Expired;
use crate::{encord, media, model};

/// The kinds of failure that the label editor is answered with. Only the server knows their status codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Encord refuses the key or the project.
    Forbidden,
    /// The data item is not in the project.
    NotFound,
    /// The request is understood but cannot be done: frame, media, label rows, ontology.
    Unprocessable,
    /// A media store, a model or Encord answered wrongly.
    Upstream,
    /// Too much to do, a rate limit, or shutting down: come back later.
    Busy,
    /// The request's budget ran out.
    Deadline,
    /// Nobody waits for the answer any more, and the model had not been asked yet.
    Abandoned,
    /// Anything unforeseen.
    Internal,
}

/// A failed trigger.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What kind of failure it is.
    pub kind: Kind,
    /// For the person in the label editor: what happened and who can mend it. Holds no secret, link or upstream body.
    pub message: String,
    /// When coming back makes sense, for [`Kind::Busy`].
    pub retry_after: Option<Duration>,
    /// Whether another try by itself would end the same, or cost another answer of the model.
    pub lasts: bool,
}

impl Error {
    /// An error without a time to come back.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        let lasts = matches!(kind, Kind::Forbidden | Kind::Unprocessable);
        Self { kind, message: message.into(), retry_after: None, lasts }
    }

    /// A mistake of this program.
    pub fn own_mistake() -> Self {
        Self::new(Kind::Internal, "edgelabel made a mistake of its own; its log tells more")
    }
}

impl From<Expired> for Error {
    fn from(expired: Expired) -> Self {
        Self::new(over(expired), expired.to_string())
    }
}

fn over(expired: Expired) -> Kind {
    match expired {
        Expired::Spent => Kind::Deadline,
        Expired::Left => Kind::Abandoned,
    }
}

impl From<encord::Error> for Error {
    fn from(error: encord::Error) -> Self {
        use encord::Error as E;
        let kind = match &error {
            E::KeyRefused { .. } | E::Forbidden { .. } | E::Refused { status: 401 | 403, .. } => Kind::Forbidden,
            E::NotInProject { .. } => Kind::NotFound,
            E::ManyRows { .. } | E::Unsupported { .. } | E::FrameOutOfRange { .. } => Kind::Unprocessable,
            E::Key { .. } | E::Clock { .. } | E::Unreachable { .. } | E::Refused { .. } | E::Malformed { .. } => Kind::Upstream,
            E::Deadline(expired) => over(*expired),
        };
        // An item comes into a project with its dataset.
        let lasts = !error.may_pass() && kind != Kind::NotFound;
        Self { lasts, ..Self::new(kind, error.to_string()) }
    }
}

impl From<media::Error> for Error {
    fn from(error: media::Error) -> Self {
        use media::Error as E;
        let kind = match &error {
            E::Store { .. } | E::LinkRefused { .. } => Kind::Upstream,
            E::FrameOutOfRange { .. } | E::Unsupported { .. } | E::Broken { .. } | E::NoDecoder { .. } | E::TooLarge { .. } => {
                Kind::Unprocessable
            }
            E::Worker(_) => Kind::Internal,
            E::Deadline(expired) => over(*expired),
        };
        Self::new(kind, error.to_string())
    }
}

impl From<model::Error> for Error {
    fn from(error: model::Error) -> Self {
        use model::Error as E;
        let kind = match &error {
            E::RateLimited { .. } | E::CapReached { .. } => Kind::Busy,
            E::Unaskable(_) => Kind::Unprocessable,
            E::KeyRefused { .. } | E::NoQuota { .. } | E::Refusal { .. } | E::Invalid { .. } | E::Endpoint { .. } => Kind::Upstream,
            E::Deadline(expired) => over(*expired),
        };
        let retry_after = match &error {
            E::RateLimited { retry_after, .. } => Some(retry_after.unwrap_or(Duration::from_secs(10))),
            E::CapReached { retry_after, .. } => Some(*retry_after),
            _ => None,
        };
        let lasts = matches!(error, E::Refusal { .. } | E::Invalid { .. } | E::Unaskable(_));
        Self { kind, message: error.to_string(), retry_after, lasts }
    }
}
