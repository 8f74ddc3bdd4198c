//! One moment by which a trigger must be over, handed down to every step.

use std::time::{Duration, Instant};

/// The request's budget is spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the time for this request ran out")]
pub struct Expired;

/// The moment by which all steps must be over. Copied freely; every wait is bounded by what is left of it.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    at: Instant,
}

impl Deadline {
    /// A deadline `budget` from now.
    pub fn after(budget: Duration) -> Self {
        Self { at: Instant::now() + budget }
    }

    /// What is left, never zero.
    pub fn left(&self) -> Result<Duration, Expired> {
        let left = self.at.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(Expired) } else { Ok(left) }
    }

    /// What is left, but at most `bound`: the time-out of one step.
    pub fn bounded(&self, bound: Duration) -> Result<Duration, Expired> {
        Ok(self.left()?.min(bound))
    }

    /// The earlier of this deadline and `bound` from now.
    pub fn within(&self, bound: Duration) -> Self {
        Self { at: self.at.min(Instant::now() + bound) }
    }

    /// Whether the deadline passed more than `grace` ago.
    pub fn is_past_by(&self, grace: Duration) -> bool {
        Instant::now().saturating_duration_since(self.at) > grace
    }

    /// Waits for `pause`, or says at once that the deadline would pass meanwhile.
    pub fn sleep(&self, pause: Duration) -> Result<(), Expired> {
        if self.left()? <= pause {
            return Err(Expired);
        }
        std::thread::sleep(pause);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_that_would_overrun_is_refused_at_once() {
        let start = Instant::now();
        assert_eq!(Deadline::after(Duration::from_millis(50)).sleep(Duration::from_secs(5)), Err(Expired));
        assert!(start.elapsed() < Duration::from_secs(1));
    }

    #[test]
    fn nothing_is_left_of_a_spent_budget() {
        let spent = Deadline::after(Duration::ZERO);
        assert_eq!(spent.left(), Err(Expired));
        assert_eq!(spent.bounded(Duration::from_secs(1)), Err(Expired));
        assert!(Deadline::after(Duration::from_secs(9)).within(Duration::from_secs(1)).left().unwrap() <= Duration::from_secs(1));
    }
}
