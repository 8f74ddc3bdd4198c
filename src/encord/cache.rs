//! What Encord said a moment ago, remembered for a bounded time and number, and asked for once when many want it.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::deadline::{Deadline, Expired};

/// One holder at a time per key.
pub(super) struct Turns<K> {
    busy: Mutex<HashSet<K>>,
    freed: Condvar,
}

/// A turn; over when dropped.
pub(super) struct Turn<'a, K: Hash + Eq> {
    turns: &'a Turns<K>,
    key: K,
}

impl<K: Hash + Eq + Clone> Turns<K> {
    pub(super) fn new() -> Self {
        Self { busy: Mutex::new(HashSet::new()), freed: Condvar::new() }
    }

    /// Waits until nobody else has this key's turn.
    pub(super) fn take(&self, key: &K, deadline: &Deadline) -> Result<Turn<'_, K>, Expired> {
        let mut busy = locked(&self.busy);
        while busy.contains(key) {
            let left = deadline.glance()?;
            busy = self.freed.wait_timeout(busy, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        busy.insert(key.clone());
        Ok(Turn { turns: self, key: key.clone() })
    }
}

impl<K: Hash + Eq> Drop for Turn<'_, K> {
    fn drop(&mut self) {
        locked(&self.turns.busy).remove(&self.key);
        self.turns.freed.notify_all();
    }
}

/// A bounded memory of answers.
pub(super) struct Cache<K, V> {
    kept: Mutex<HashMap<K, (Instant, V)>>,
    turns: Turns<K>,
    believed: Duration,
    capacity: usize,
}

impl<K: Hash + Eq + Clone, V: Clone> Cache<K, V> {
    /// Keeps at most `capacity` values, each for the time `believed`.
    pub(super) fn new(believed: Duration, capacity: usize) -> Self {
        Self { kept: Mutex::new(HashMap::new()), turns: Turns::new(), believed, capacity }
    }

    /// The value, if it is remembered and younger than `age`.
    pub(super) fn younger_than(&self, key: &K, age: Duration) -> Option<V> {
        let kept = locked(&self.kept);
        let (since, value) = kept.get(key)?;
        (since.elapsed() < age.min(self.believed)).then(|| value.clone())
    }

    /// The value, if it is remembered.
    pub(super) fn get(&self, key: &K) -> Option<V> {
        self.younger_than(key, self.believed)
    }

    /// The remembered value, else the fetched one. Of many callers at once one fetches, the others wait for it; when it
    /// fails, the next tries for itself.
    pub(super) fn get_or<E: From<Expired>>(&self, key: &K, deadline: &Deadline, fetch: impl FnOnce() -> Result<V, E>) -> Result<V, E> {
        if let Some(value) = self.get(key) {
            return Ok(value);
        }
        let _turn = self.turns.take(key, deadline)?;
        if let Some(value) = self.get(key) {
            return Ok(value);
        }
        let value = fetch()?;
        self.put(key.clone(), value.clone());
        Ok(value)
    }

    /// Remembers a value from now on.
    pub(super) fn put(&self, key: K, value: V) {
        let mut kept = locked(&self.kept);
        if kept.len() >= self.capacity && !kept.contains_key(&key) {
            kept.retain(|_, (since, _)| since.elapsed() < self.believed);
            if kept.len() >= self.capacity {
                let oldest = kept.iter().min_by_key(|(_, (since, _))| *since).map(|(key, _)| key.clone());
                oldest.map(|key| kept.remove(&key));
            }
        }
        kept.insert(key, (Instant::now(), value));
    }

    /// Forgets a value.
    pub(super) fn forget(&self, key: &K) {
        locked(&self.kept).remove(key);
    }

    /// Forgets all values that are such.
    pub(super) fn forget_where(&self, is_such: impl Fn(&V) -> bool) {
        locked(&self.kept).retain(|_, (_, value)| !is_such(value));
    }

    /// A remembered value that is such.
    pub(super) fn find(&self, is_such: impl Fn(&V) -> bool) -> Option<V> {
        let kept = locked(&self.kept);
        kept.values().find(|(since, value)| since.elapsed() < self.believed && is_such(value)).map(|(_, value)| value.clone())
    }
}

/// A thread that panicked here left whole values behind: every change is a single insert or remove.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn many_who_want_the_same_at_once_ask_once() {
        let cache: Cache<u8, u8> = Cache::new(Duration::from_secs(60), 10);
        let asked = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let got: Result<u8, Expired> = cache.get_or(&1, &Deadline::after(Duration::from_secs(10)), || {
                        asked.fetch_add(1, Ordering::SeqCst);
                        std::thread::sleep(Duration::from_millis(30));
                        Ok(7)
                    });
                    assert_eq!(got, Ok(7));
                });
            }
        });
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_fetch_that_fails_or_panics_leaves_the_turn_to_the_next() {
        let cache: Cache<u8, u8> = Cache::new(Duration::from_secs(60), 10);
        let soon = Deadline::after(Duration::from_secs(5));
        assert_eq!(cache.get_or(&1, &soon, || Err(Expired::Spent)), Err(Expired::Spent));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _: Result<u8, Expired> = cache.get_or(&1, &soon, || panic!("on purpose"));
        }));
        assert!(panicked.is_err());
        assert_eq!(cache.get_or::<Expired>(&1, &soon, || Ok(2)), Ok(2));
    }

    #[test]
    fn waiting_for_a_turn_ends_with_the_deadline() {
        let turns = Turns::new();
        let _held = turns.take(&1, &Deadline::after(Duration::from_secs(1))).unwrap();
        assert!(turns.take(&1, &Deadline::after(Duration::from_millis(20))).is_err());
        assert!(turns.take(&2, &Deadline::after(Duration::from_millis(20))).is_ok());
    }

    #[test]
    fn the_oldest_goes_when_there_are_too_many() {
        let cache: Cache<u32, u32> = Cache::new(Duration::from_secs(60), 3);
        for key in 0..5 {
            cache.put(key, key);
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!((0..5).filter_map(|key| cache.get(&key)).collect::<Vec<_>>(), [2, 3, 4]);
        cache.forget_where(|value| *value == 3);
        assert_eq!(cache.get(&3), None);
        assert_eq!(cache.younger_than(&4, Duration::ZERO), None);
    }
}
