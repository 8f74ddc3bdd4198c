//! When and how often a call is made again.

use std::time::Duration;

use ureq::http::{HeaderMap, header};

use crate::deadline::Deadline;

/// Statuses after which the same call may succeed (contract, "Retries").
pub fn is_transient_status(status: u16) -> bool {
    matches!(status, 429 | 500 | 502 | 503 | 504)
}

/// The pauses before the second, third and fourth try (contract, "Retries"), before jitter.
const PAUSES: [Duration; 3] = [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(3)];

/// What one try came to.
pub enum Try<T, E> {
    /// It is decided, for good or ill.
    Settled(Result<T, E>),
    /// It may succeed later; `after` is the server's own word on when.
    Again {
        /// The error to report when no further try is made.
        error: E,
        /// From `Retry-After`, if the server sent one.
        after: Option<Duration>,
    },
}

impl<T, E> Try<T, E> {
    /// The same with another kind of error.
    pub fn map_err<F>(self, wrap: impl FnOnce(E) -> F) -> Try<T, F> {
        match self {
            Self::Settled(result) => Try::Settled(result.map_err(wrap)),
            Self::Again { error, after } => Try::Again { error: wrap(error), after },
        }
    }
}

/// Makes up to four tries, pausing 0.2, 1 and 3 s with jitter, or as long as the server says. When the pause would
/// outlast the deadline, the last error stands.
pub fn with_retries<T, E>(deadline: &Deadline, mut attempt: impl FnMut(u32) -> Try<T, E>) -> Result<T, E> {
    for (number, pause) in PAUSES.iter().enumerate() {
        match attempt(number as u32) {
            Try::Settled(result) => return result,
            Try::Again { error, after } => {
                if deadline.sleep(after.unwrap_or_else(|| jittered(*pause))).is_err() {
                    return Err(error);
                }
            }
        }
    }
    match attempt(PAUSES.len() as u32) {
        Try::Settled(result) => result,
        Try::Again { error, .. } => Err(error),
    }
}

/// Between half and the whole of `pause`, so that clients that failed together do not come back together.
pub fn jittered(pause: Duration) -> Duration {
    let random = f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX);
    pause.mul_f64(0.5 + 0.5 * random)
}

/// `Retry-After` as seconds or as an HTTP date (RFC 9110 section 10.2.3), at most an hour.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() && seconds >= 0.0 => Duration::from_secs_f64(seconds.min(3600.0)),
        Ok(_) => return None,
        Err(_) => {
            let at = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc2822).ok()?;
            Duration::try_from(at - time::OffsetDateTime::now_utc()).unwrap_or_default()
        }
    };
    Some(wait.min(Duration::from_secs(3600)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", text.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(of("2"), Some(Duration::from_secs(2)));
        assert_eq!(of("99999999"), Some(Duration::from_secs(3600)));
        assert_eq!(of("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert_eq!(of("soon"), None);
        assert_eq!(of("-1"), None);
    }

    #[test]
    fn a_transient_failure_is_tried_four_times_and_a_settled_one_once() {
        let long = Deadline::after(Duration::from_secs(60));
        let mut tries = 0;
        let result: Result<(), &str> = with_retries(&long, |_| {
            tries += 1;
            Try::Again { error: "busy", after: Some(Duration::ZERO) }
        });
        assert_eq!((result, tries), (Err("busy"), 4));

        tries = 0;
        let result: Result<(), &str> = with_retries(&long, |_| {
            tries += 1;
            Try::Settled(Err("no"))
        });
        assert_eq!((result, tries), (Err("no"), 1));
    }

    #[test]
    fn a_pause_beyond_the_deadline_ends_the_tries() {
        let mut tries = 0;
        let result: Result<(), &str> = with_retries(&Deadline::after(Duration::from_millis(300)), |_| {
            tries += 1;
            Try::Again { error: "busy", after: Some(Duration::from_secs(9)) }
        });
        assert_eq!((result, tries), (Err("busy"), 1));
    }
}
