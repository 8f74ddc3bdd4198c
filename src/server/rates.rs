//! How many triggers a minute one address, or one project, may start.
//!
//! Each key has an allowance that refills evenly: a minute's worth may be used at once, after which the refill counts.
//! What is kept of a key is one moment, that at which its allowance will be full again (the generic cell rate algorithm).

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);

/// Keys that are remembered; strangers can make up as many as they like.
const MOST_KEYS: usize = 4096;

/// The allowances that are not full at the moment.
pub(super) struct Rates<K> {
    full_at: Mutex<HashMap<K, Instant>>,
}

impl<K> Default for Rates<K> {
    fn default() -> Self {
        Self { full_at: Mutex::default() }
    }
}

impl<K: Hash + Eq + Clone> Rates<K> {
    /// Takes one from the key's allowance of `per_minute` (0: no limit), or says after which time it can be taken.
    pub(super) fn take(&self, key: &K, per_minute: u32, now: Instant) -> Result<(), Duration> {
        if per_minute == 0 {
            return Ok(());
        }
        let one = MINUTE / per_minute;
        // No code that can panic runs under the lock.
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let lacking = full_at.get(key).map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        if lacking + one > MINUTE {
            return Err(lacking + one - MINUTE);
        }
        if full_at.len() >= MOST_KEYS && !full_at.contains_key(key) {
            make_room(&mut full_at, now);
        }
        full_at.insert(key.clone(), now + lacking + one);
        Ok(())
    }
}

/// Forgets full allowances, and if there are none the one that is nearest to full: whoever uses theirs up stays known.
fn make_room<K: Hash + Eq + Clone>(full_at: &mut HashMap<K, Instant>, now: Instant) {
    full_at.retain(|_, at| *at > now);
    if full_at.len() >= MOST_KEYS
        && let Some(nearest) = full_at.iter().min_by_key(|(_, at)| **at).map(|(key, _)| key.clone())
    {
        full_at.remove(&nearest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minutes_worth_at_once_and_then_as_fast_as_it_refills() {
        let rates = Rates::default();
        let begin = Instant::now();
        for _ in 0..60 {
            assert_eq!(rates.take(&"a", 60, begin), Ok(()));
        }
        assert_eq!(rates.take(&"a", 60, begin), Err(Duration::from_secs(1)));
        assert_eq!(rates.take(&"b", 60, begin), Ok(()), "others have their own");
        assert_eq!(rates.take(&"a", 60, begin + Duration::from_millis(400)), Err(Duration::from_millis(600)));
        assert_eq!(rates.take(&"a", 60, begin + Duration::from_secs(1)), Ok(()));
        assert!(rates.take(&"a", 60, begin + Duration::from_secs(1)).is_err());
        for _ in 0..60 {
            assert_eq!(rates.take(&"a", 60, begin + Duration::from_secs(120)), Ok(()));
        }
        assert!(rates.take(&"a", 60, begin + Duration::from_secs(120)).is_err());
    }

    #[test]
    fn no_limit_and_a_limit_of_one() {
        let rates = Rates::default();
        let now = Instant::now();
        assert!((0..10_000).all(|_| rates.take(&1, 0, now).is_ok()));
        assert_eq!(rates.take(&1, 1, now), Ok(()));
        assert_eq!(rates.take(&1, 1, now), Err(MINUTE));
    }

    #[test]
    fn a_refusal_costs_nothing() {
        let rates = Rates::default();
        let now = Instant::now();
        assert!(rates.take(&1, 2, now).is_ok() && rates.take(&1, 2, now).is_ok());
        assert!((0..100).all(|_| rates.take(&1, 2, now) == Err(Duration::from_secs(30))));
    }

    #[test]
    fn made_up_keys_neither_grow_the_book_nor_free_the_greedy() {
        let rates = Rates::default();
        let now = Instant::now();
        assert!((0..10).all(|_| rates.take(&u64::MAX, 10, now).is_ok()));
        for stranger in 0..3 * MOST_KEYS as u64 {
            assert!(rates.take(&stranger, 10, now).is_ok());
        }
        assert!(rates.full_at.lock().unwrap().len() <= MOST_KEYS);
        assert!(rates.take(&u64::MAX, 10, now).is_err());
        assert!(rates.take(&(u64::MAX - 1), 10, now + MINUTE).is_ok());
        assert_eq!(rates.full_at.lock().unwrap().len(), 1, "what is full again is forgotten");
    }
}
