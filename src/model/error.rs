//! What can go wrong with a model endpoint, told apart by what it means for the trigger.

use std::time::Duration;

use crate::deadline::Expired;

/// Why there is no valid answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The endpoint does not accept the key (401, 403): names the setting to mend.
    #[error("model {model} at {host} refuses its key ({status}): check {setting}")]
    KeyRefused {
        /// Model name.
        model: String,
        /// Host of the endpoint.
        host: String,
        /// 401 or 403.
        status: u16,
        /// The setting or variable the key came from.
        setting: String,
    },
    /// Rate limit beyond the budget.
    #[error("model {model} is at its rate limit")]
    RateLimited {
        /// Model name.
        model: String,
        /// When to come back, if the endpoint said so.
        retry_after: Option<Duration>,
    },
    /// As many tokens as the table's `daily_tokens` allows have been used.
    #[error("model {model} has used up the daily_tokens of {section} until midnight UTC")]
    CapReached {
        /// Model name.
        model: String,
        /// The table as written in the configuration.
        section: String,
        /// Until midnight.
        retry_after: Duration,
    },
    /// The account has no credit left: retrying does not help.
    #[error("the account of model {model} has no quota left: {cause}")]
    NoQuota {
        /// Model name.
        model: String,
        /// The endpoint's short code.
        cause: String,
    },
    /// The model would not answer about this picture: refusal or content filter.
    #[error("model {model} refused to answer: {cause}")]
    Refusal {
        /// Model name.
        model: String,
        /// `refusal` or `content_filter`.
        cause: String,
    },
    /// No answer that fits the ontology, also after the repair turn.
    #[error("model {model} gave no valid answer: {cause}")]
    Invalid {
        /// Model name.
        model: String,
        /// What did not fit, by our own keys; never the answer's text.
        cause: String,
    },
    /// The endpoint failed or could not be reached.
    #[error("model {model} at {host} failed: {cause}")]
    Endpoint {
        /// Model name.
        model: String,
        /// Host of the endpoint.
        host: String,
        /// Status or fault.
        cause: String,
    },
    /// The ontology cannot be asked of this model, or the agent names an endpoint that is not configured.
    #[error("{0}")]
    Unaskable(String),
    /// The request's budget is spent.
    #[error(transparent)]
    Deadline(#[from] Expired),
}

impl Error {
    /// Whether another model may still answer. Not after a refusal: no picture is carried round a filter.
    pub fn lets_fall_back(&self) -> bool {
        match self {
            Self::KeyRefused { .. }
            | Self::RateLimited { .. }
            | Self::CapReached { .. }
            | Self::NoQuota { .. }
            | Self::Invalid { .. }
            | Self::Endpoint { .. } => true,
            Self::Refusal { .. } | Self::Unaskable(_) | Self::Deadline(_) => false,
        }
    }
}
