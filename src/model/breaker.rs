//! Fails calls at once while an endpoint is down, instead of letting every trigger find out for itself.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Failures in a row after which the endpoint counts as down.
const FAILURES: u32 = 3;
/// How long it is left alone at first; doubled after each failed probe …
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// … up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Counts failures in a row. After three the endpoint is left alone for a while; then one call goes through as a probe.
#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    pause: Duration,
    left_alone_until: Option<Instant>,
    probing: bool,
}

impl Breaker {
    /// Whether a call may be made now; otherwise how long the endpoint is still left alone.
    pub(super) fn admit(&self, now: Instant) -> Result<(), Duration> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match state.left_alone_until {
            None => Ok(()),
            Some(until) if now < until => Err(until - now),
            // One call finds out; should it never report back, the next may follow after a pause.
            Some(_) => {
                state.probing = true;
                state.left_alone_until = Some(now + state.pause);
                Ok(())
            }
        }
    }

    /// The endpoint answered, whatever it said.
    pub(super) fn alive(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = State::default();
    }

    /// The endpoint could not be reached, or failed inside.
    pub(super) fn failed(&self, now: Instant) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.failures = state.failures.saturating_add(1);
        let waiting = state.left_alone_until.is_some_and(|until| now < until) && !state.probing;
        if state.failures < FAILURES || waiting {
            return;
        }
        state.pause = if state.pause.is_zero() { FIRST_PAUSE } else { (state.pause * 2).min(LONGEST_PAUSE) };
        state.left_alone_until = Some(now + state.pause);
        state.probing = false;
    }

    /// The endpoint gives a sign of life: the next call may go through, as a probe.
    pub(super) fn try_again(&self, now: Instant) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.left_alone_until.is_some() {
            state.left_alone_until = Some(now);
        }
    }

    /// Whether the endpoint counts as down, its pause over or not.
    pub(super) fn is_down(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).left_alone_until.is_some()
    }

    /// Whether calls fail at once at the moment.
    pub(super) fn is_open(&self, now: Instant) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).left_alone_until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_three_failures_it_is_left_alone_until_a_probe_succeeds() {
        let breaker = Breaker::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        for _ in 0..2 {
            breaker.failed(start);
            assert_eq!(breaker.admit(start), Ok(()));
        }
        breaker.failed(start);
        assert_eq!(breaker.admit(at(1)), Err(Duration::from_secs(9)));
        assert_eq!(breaker.admit(at(11)), Ok(()), "a probe goes through");
        assert!(breaker.admit(at(11)).is_err(), "only one at a time");
        breaker.alive();
        assert_eq!(breaker.admit(at(11)), Ok(()));
    }

    #[test]
    fn failed_probes_make_the_pause_longer_up_to_a_minute() {
        let breaker = Breaker::default();
        let mut now = Instant::now();
        for _ in 0..3 {
            breaker.failed(now);
        }
        for pause in [10, 20, 40, 60, 60] {
            assert_eq!(breaker.admit(now), Err(Duration::from_secs(pause)));
            now += Duration::from_secs(pause);
            assert_eq!(breaker.admit(now), Ok(()));
            breaker.failed(now);
        }
    }

    #[test]
    fn late_failures_of_calls_already_under_way_do_not_prolong_the_pause() {
        let breaker = Breaker::default();
        let now = Instant::now();
        for _ in 0..9 {
            breaker.failed(now);
        }
        assert_eq!(breaker.admit(now), Err(FIRST_PAUSE));
    }
}
