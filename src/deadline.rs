//! One moment by which a trigger must be over, handed down to every step, and whether anybody still waits for it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long a wait may go on before it looks whether anybody still waits for its outcome.
const GLANCE: Duration = Duration::from_millis(100);

/// Why nothing more is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Expired {
    /// The request's budget is spent.
    #[error("the time for this request ran out")]
    Spent,
    /// Nobody waits for the outcome any more, and nothing was paid for yet.
    #[error("the caller left before the model was asked")]
    Left,
}

/// The moment by which all steps must be over. Every wait is bounded by what is left of it, and ends when the caller
/// leaves, unless the work is seen through by then.
#[derive(Clone)]
pub struct Deadline {
    at: Instant,
    audience: Option<Arc<Audience>>,
}

/// Those for whom work is done.
struct Audience {
    waits: Box<dyn Fn() -> bool + Send + Sync>,
    /// From here on it no longer matters whether anybody waits.
    seen_through: AtomicBool,
}

impl Deadline {
    /// A deadline `budget` from now.
    pub fn after(budget: Duration) -> Self {
        Self { at: Instant::now() + budget, audience: None }
    }

    /// The same, over as soon as `waits` says that nobody waits any more. It is asked often, and from many threads.
    pub fn while_awaited(self, waits: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { audience: Some(Arc::new(Audience { waits: Box::new(waits), seen_through: AtomicBool::new(false) })), ..self }
    }

    /// From now on the work is done to its end, whoever leaves: for all copies of this deadline.
    ///
    /// # Errors
    /// There is nothing left, or nobody waits any more.
    pub fn see_through(&self) -> Result<(), Expired> {
        self.left()?;
        if let Some(audience) = &self.audience {
            audience.seen_through.store(true, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Whether the outcome is still of use.
    pub fn is_awaited(&self) -> bool {
        self.audience.as_ref().is_none_or(|audience| audience.seen_through.load(Ordering::SeqCst) || (audience.waits)())
    }

    /// What is left, never zero.
    pub fn left(&self) -> Result<Duration, Expired> {
        let left = self.at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Expired::Spent);
        }
        if self.is_awaited() { Ok(left) } else { Err(Expired::Left) }
    }

    /// What is left, but at most `bound`: the time-out of one step.
    pub fn bounded(&self, bound: Duration) -> Result<Duration, Expired> {
        Ok(self.left()?.min(bound))
    }

    /// For how long a wait may go on before it calls this again: all that is left when nobody could leave meanwhile.
    pub fn glance(&self) -> Result<Duration, Expired> {
        let left = self.left()?;
        Ok(if self.audience.is_some() { left.min(GLANCE) } else { left })
    }

    /// The earlier of this deadline and `bound` from now.
    pub fn within(&self, bound: Duration) -> Self {
        Self { at: self.at.min(Instant::now() + bound), audience: self.audience.clone() }
    }

    /// Whether the deadline passed more than `grace` ago.
    pub fn is_past_by(&self, grace: Duration) -> bool {
        Instant::now().saturating_duration_since(self.at) > grace
    }

    /// Waits for `pause`, or says at once that the deadline would pass meanwhile.
    pub fn sleep(&self, pause: Duration) -> Result<(), Expired> {
        if self.left()? <= pause {
            return Err(Expired::Spent);
        }
        let end = Instant::now() + pause;
        loop {
            let rest = end.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return Ok(());
            }
            std::thread::sleep(rest.min(self.glance()?));
        }
    }
}

impl fmt::Debug for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deadline").field("at", &self.at).field("is_awaited", &self.is_awaited()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A deadline, and the switch with which its caller leaves.
    fn awaited(budget: Duration) -> (Deadline, Arc<AtomicBool>) {
        let stays = Arc::new(AtomicBool::new(true));
        let asked = Arc::clone(&stays);
        (Deadline::after(budget).while_awaited(move || asked.load(Ordering::SeqCst)), stays)
    }

    #[test]
    fn a_sleep_that_would_overrun_is_refused_at_once() {
        let start = Instant::now();
        assert_eq!(Deadline::after(Duration::from_millis(50)).sleep(Duration::from_secs(5)), Err(Expired::Spent));
        assert!(start.elapsed() < Duration::from_secs(1));
    }

    #[test]
    fn nothing_is_left_of_a_spent_budget() {
        let spent = Deadline::after(Duration::ZERO);
        assert_eq!(spent.left(), Err(Expired::Spent));
        assert_eq!(spent.bounded(Duration::from_secs(1)), Err(Expired::Spent));
        assert_eq!(spent.see_through(), Err(Expired::Spent));
        assert!(Deadline::after(Duration::from_secs(9)).within(Duration::from_secs(1)).left().unwrap() <= Duration::from_secs(1));
    }

    #[test]
    fn a_sleep_ends_when_the_caller_leaves() {
        let (deadline, stays) = awaited(Duration::from_secs(60));
        assert!(deadline.sleep(Duration::from_millis(1)).is_ok());
        let start = Instant::now();
        std::thread::scope(|scope| {
            let asleep = scope.spawn(|| deadline.within(Duration::from_secs(50)).sleep(Duration::from_secs(30)));
            stays.store(false, Ordering::SeqCst);
            assert_eq!(asleep.join().unwrap(), Err(Expired::Left));
        });
        assert!(start.elapsed() < Duration::from_secs(20));
        assert_eq!(
            (deadline.left(), deadline.glance(), deadline.see_through()),
            (Err(Expired::Left), Err(Expired::Left), Err(Expired::Left))
        );
    }

    #[test]
    fn what_is_seen_through_does_not_end_with_its_caller() {
        let (deadline, stays) = awaited(Duration::from_secs(60));
        let handed_down = deadline.within(Duration::from_secs(50));
        assert!(deadline.glance().unwrap() <= GLANCE, "a wait looks up now and then");
        handed_down.see_through().unwrap();
        stays.store(false, Ordering::SeqCst);
        assert!(deadline.left().is_ok() && handed_down.left().is_ok() && deadline.is_awaited());
        assert!(Deadline::after(Duration::from_secs(60)).glance().unwrap() > GLANCE, "nobody can leave");
    }
}
