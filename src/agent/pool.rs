//! A bounded pool of threads that run triggers, apart from the connections they came from.
//!
//! A closed browser tab must not cut a save in half, so a run outlives its connection; its deadline tells it when nobody
//! waits any more, up to the moment from which it is seen through. Two equal triggers at once share one run.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::telemetry::Step;

use super::trigger::Key;
use super::{Error, Kind, Outcome, Trigger, report};

type Verdict = Result<Outcome, Error>;
/// Gets the trigger, and how long that has waited for a thread.
type Work = dyn Fn(&Trigger, Duration) -> Verdict + Send + Sync;

/// Bounds of the pool.
#[derive(Debug, Clone, Copy)]
pub struct PoolLimits {
    /// Triggers that run at once.
    pub concurrent: usize,
    /// Triggers that wait besides those.
    pub waiting: usize,
}

/// What the pool is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolStats {
    /// Triggers that run.
    pub running: usize,
    /// Triggers that wait for a thread.
    pub waiting: usize,
    /// Triggers that are past their deadline by more than the grace: the pool does not move.
    pub overdue: usize,
}

/// The pool. Dropping it lets the running triggers finish and ends the threads.
pub struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    limits: PoolLimits,
    work: Box<Work>,
    state: Mutex<State>,
    /// Rung when there is work, and when the pool closes.
    work_ready: Condvar,
    /// Rung when a trigger ends.
    idle: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Waiting>,
    /// Everyone who waits for a run, by what it is about; an entry exists from submission to verdict.
    listeners: HashMap<Key, Vec<Listener>>,
    running: HashMap<Key, Trigger>,
    draining: bool,
    closed: bool,
}

/// A trigger that waits for a thread.
struct Waiting {
    trigger: Trigger,
    since: Instant,
}

impl Waiting {
    fn now(trigger: Trigger) -> Self {
        Self { trigger, since: Instant::now() }
    }
}

/// One who waits for a run.
struct Listener {
    /// What they asked for, should the run that they joined have been given up already.
    trigger: Trigger,
    ear: oneshot::Sender<Verdict>,
}

impl Pool {
    /// Starts `limits.concurrent` threads that do `work`.
    pub fn new(limits: PoolLimits, work: impl Fn(&Trigger, Duration) -> Verdict + Send + Sync + 'static) -> std::io::Result<Self> {
        let shared =
            Arc::new(Shared { limits, work: Box::new(work), state: Mutex::default(), work_ready: Condvar::new(), idle: Condvar::new() });
        for number in 0..limits.concurrent.max(1) {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().name(format!("trigger-{number}")).spawn(move || shared.run())?;
        }
        Ok(Self { shared })
    }

    /// Runs a trigger, or joins an equal one that is already under way. Busy at once when the pool is full or draining.
    ///
    /// When the returned future is dropped and nobody else listens, the trigger is taken out of the queue; if it runs
    /// already, its deadline ends it as long as it is not seen through. One that still waits at its deadline is
    /// answered then, whatever the threads do.
    pub async fn submit(&self, trigger: Trigger) -> Verdict {
        let key = trigger.key();
        let (id, left) = (trigger.id, trigger.deadline.left()?);
        let (sender, receiver) = oneshot::channel();
        self.shared.enqueue(trigger, sender)?;
        let withdraw = Withdraw { shared: &self.shared, key };
        // Gone before `withdraw`, which looks who still listens.
        let mut receiver = receiver;
        let verdict = match tokio::time::timeout(left, &mut receiver).await {
            Ok(verdict) => verdict,
            Err(_) if self.shared.is_waiting(&withdraw.key) => {
                tracing::info!(request = %id, "its time ran out while it waited for other triggers");
                return Err(Error::new(Kind::Deadline, report::ran_out(Step::Wait)));
            }
            // What runs keeps to the deadline itself.
            Err(_) => receiver.await,
        };
        verdict.unwrap_or_else(|_| Err(Error::new(Kind::Internal, "the trigger was dropped unanswered")))
    }

    /// What the pool is doing; a trigger counts as overdue `grace` after its deadline.
    pub fn stats(&self, grace: Duration) -> PoolStats {
        let state = self.shared.lock();
        let late = |trigger: &&Trigger| trigger.deadline.is_past_by(grace);
        PoolStats {
            running: state.running.len(),
            waiting: state.queue.len(),
            overdue: state.running.values().filter(late).count() + state.queue.iter().map(|waiting| &waiting.trigger).filter(late).count(),
        }
    }

    /// From now on new triggers are refused as busy; those taken go on.
    pub fn drain(&self) {
        self.shared.lock().draining = true;
    }

    /// Waits until nothing runs or waits, at most `patience`; says whether that came about.
    pub fn wait_idle(&self, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        let mut state = self.shared.lock();
        while !(state.queue.is_empty() && state.running.is_empty()) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.shared.idle.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.work_ready.notify_all();
    }
}

/// Tidies the queue when the one who waited is gone.
struct Withdraw<'a> {
    shared: &'a Shared,
    key: Key,
}

impl Drop for Withdraw<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if state.is_unheard(&self.key) && !state.running.contains_key(&self.key) {
            state.listeners.remove(&self.key);
            state.queue.retain(|waiting| waiting.trigger.key() != self.key);
            self.shared.idle.notify_all();
        }
    }
}

impl State {
    /// Whether all who asked for a trigger are gone.
    fn is_unheard(&self, key: &Key) -> bool {
        self.listeners.get(key).is_some_and(|all| all.iter().all(|listener| listener.ear.is_closed()))
    }

    /// A trigger whose time ran out while it waited is run for one who joined it and has some left.
    fn for_the_latest(&self, waiting: Waiting) -> Waiting {
        if waiting.trigger.deadline.left().is_ok() {
            return waiting;
        }
        let listeners = self.listeners.get(&waiting.trigger.key()).into_iter().flatten();
        let in_time = listeners.map(|listener| &listener.trigger).find(|trigger| trigger.deadline.left().is_ok());
        Waiting { trigger: in_time.cloned().unwrap_or(waiting.trigger), ..waiting }
    }

    /// A run was given up because all had left; whoever came since gets a run of their own.
    fn begin_again(&mut self, key: &Key) -> bool {
        let Some(listeners) = self.listeners.get_mut(key) else { return false };
        listeners.retain(|listener| !listener.ear.is_closed());
        let Some(trigger) = listeners.first().map(|listener| listener.trigger.clone()) else { return false };
        self.queue.push_front(Waiting::now(trigger));
        true
    }
}

impl Shared {
    /// No code that can panic runs under the lock, so a poisoned lock still guards sound data.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether no thread has taken it up yet.
    fn is_waiting(&self, key: &Key) -> bool {
        let state = self.lock();
        state.listeners.contains_key(key) && !state.running.contains_key(key)
    }

    fn enqueue(&self, trigger: Trigger, ear: oneshot::Sender<Verdict>) -> Result<(), Error> {
        let key = trigger.key();
        let mut state = self.lock();
        if state.draining {
            return Err(busy("edgelabel is shutting down; press the button again in a moment"));
        }
        if let Some(listeners) = state.listeners.get_mut(&key) {
            listeners.push(Listener { trigger, ear });
            return Ok(());
        }
        let idle_threads = self.limits.concurrent.max(1).saturating_sub(state.running.len());
        if state.queue.len() >= self.limits.waiting + idle_threads {
            return Err(busy("too many triggers are waiting on this box; press the button again in a moment"));
        }
        state.listeners.insert(key, vec![Listener { trigger: trigger.clone(), ear }]);
        state.queue.push_back(Waiting::now(trigger));
        self.work_ready.notify_one();
        Ok(())
    }

    fn run(self: &Arc<Self>) {
        while let Some(Waiting { trigger, since }) = self.next() {
            let key = trigger.key();
            let (shared, asked_for) = (Arc::clone(self), key.clone());
            let deadline = trigger.deadline.clone().while_awaited(move || !shared.lock().is_unheard(&asked_for));
            let trigger = Trigger { deadline, ..trigger };
            let verdict = catch_unwind(AssertUnwindSafe(|| (self.work)(&trigger, since.elapsed()))).unwrap_or_else(|_| {
                tracing::error!(request = %trigger.id, "the trigger panicked; this is a bug in edgelabel");
                Err(Error::own_mistake())
            });
            let mut state = self.lock();
            state.running.remove(&key);
            if verdict.as_ref().is_err_and(|error| error.kind == Kind::Abandoned) && state.begin_again(&key) {
                continue;
            }
            let listeners = state.listeners.remove(&key).unwrap_or_default();
            self.idle.notify_all();
            drop(state);
            for listener in listeners {
                // One who is gone needs no answer.
                let _ = listener.ear.send(verdict.clone());
            }
        }
    }

    fn next(&self) -> Option<Waiting> {
        let mut state = self.lock();
        loop {
            if let Some(waiting) = state.queue.pop_front() {
                let waiting = state.for_the_latest(waiting);
                state.running.insert(waiting.trigger.key(), waiting.trigger.clone());
                return Some(waiting);
            }
            if state.closed {
                return None;
            }
            state = self.work_ready.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn busy(message: &str) -> Error {
    Error { retry_after: Some(Duration::from_secs(2)), ..Error::new(Kind::Busy, message) }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;
    use crate::deadline::Deadline;
    use crate::ids::RequestId;
    use crate::trace::Trace;

    fn trigger(frame: u64) -> Trigger {
        Trigger {
            id: RequestId::random(),
            agent: "/".into(),
            project: "027e0c65-c53f-426d-9f02-04fafe8bd80e".parse().unwrap(),
            data: "038ed92d-dbe8-4991-a3aa-6ede35d6e62d".parse().unwrap(),
            frame,
            objects: Vec::new(),
            caller: None,
            deadline: Deadline::after(Duration::from_secs(10)),
            trace: Trace::fresh(),
            unasked: false,
        }
    }

    /// A pool of one thread whose work waits for a token and counts its runs.
    fn gated(waiting: usize) -> (Arc<Pool>, mpsc::Sender<()>, Arc<AtomicUsize>) {
        gated_doing(waiting, |_| Ok(Outcome::Saved { message: None }))
    }

    /// The same, and what it does then.
    fn gated_doing(
        waiting: usize,
        work: impl Fn(&Trigger) -> Verdict + Send + Sync + 'static,
    ) -> (Arc<Pool>, mpsc::Sender<()>, Arc<AtomicUsize>) {
        let (gate, tokens) = mpsc::channel();
        let tokens = Mutex::new(tokens);
        let runs = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&runs);
        let pool = Pool::new(PoolLimits { concurrent: 1, waiting }, move |trigger, _| {
            tokens.lock().unwrap().recv_timeout(Duration::from_secs(10)).unwrap();
            counter.fetch_add(1, Ordering::SeqCst);
            work(trigger)
        });
        (Arc::new(pool.unwrap()), gate, runs)
    }

    fn submit(pool: &Arc<Pool>, frame: u64) -> tokio::task::JoinHandle<Verdict> {
        let pool = Arc::clone(pool);
        tokio::spawn(async move { pool.submit(trigger(frame)).await })
    }

    async fn until(pool: &Pool, running: usize, waiting: usize) {
        for _ in 0..2000 {
            let stats = pool.stats(Duration::ZERO);
            if (stats.running, stats.waiting) == (running, waiting) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the pool never came to {running} running and {waiting} waiting");
    }

    #[tokio::test]
    async fn equal_triggers_share_one_run() {
        let (pool, gate, runs) = gated(4);
        let first = submit(&pool, 1);
        until(&pool, 1, 0).await;
        let second = submit(&pool, 1);
        tokio::task::yield_now().await;
        gate.send(()).unwrap();
        assert!(first.await.unwrap().is_ok() && second.await.unwrap().is_ok());
        assert_eq!(runs.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn beyond_its_bound_the_pool_is_busy_at_once() {
        let (pool, gate, _) = gated(1);
        let first = submit(&pool, 1);
        until(&pool, 1, 0).await;
        let second = submit(&pool, 2);
        until(&pool, 1, 1).await;
        let refused = pool.submit(trigger(3)).await.unwrap_err();
        assert_eq!(refused.kind, Kind::Busy);
        assert!(refused.retry_after.is_some());
        gate.send(()).unwrap();
        gate.send(()).unwrap();
        assert!(first.await.unwrap().is_ok() && second.await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn what_an_idle_thread_takes_up_at_once_does_not_count_as_waiting() {
        let (pool, gate, _) = gated(0);
        let only = submit(&pool, 1);
        until(&pool, 1, 0).await;
        assert_eq!(pool.submit(trigger(2)).await.unwrap_err().kind, Kind::Busy);
        gate.send(()).unwrap();
        assert!(only.await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn a_waiting_trigger_nobody_listens_to_is_withdrawn_and_a_running_one_is_not() {
        let (pool, gate, runs) = gated(4);
        let running = submit(&pool, 1);
        until(&pool, 1, 0).await;
        let waiting = submit(&pool, 2);
        until(&pool, 1, 1).await;
        waiting.abort();
        running.abort();
        until(&pool, 1, 0).await;
        gate.send(()).unwrap();
        until(&pool, 0, 0).await;
        assert_eq!(runs.load(Ordering::SeqCst), 1);
    }

    /// A pool of one thread whose work waits for a token, then gives up if nobody listens any more.
    fn yielding() -> (Arc<Pool>, mpsc::Sender<()>, mpsc::Receiver<bool>) {
        let (gate, tokens) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        let (tokens, tell) = (Mutex::new(tokens), Mutex::new(tell));
        let pool = Pool::new(PoolLimits { concurrent: 1, waiting: 4 }, move |trigger, _| {
            tokens.lock().unwrap().recv_timeout(Duration::from_secs(10)).unwrap();
            let awaited = trigger.deadline.is_awaited();
            tell.lock().unwrap().send(awaited).unwrap();
            tokens.lock().unwrap().recv_timeout(Duration::from_secs(10)).unwrap();
            if awaited { Ok(Outcome::Saved { message: None }) } else { Err(Error::new(Kind::Abandoned, "nobody waits")) }
        });
        (Arc::new(pool.unwrap()), gate, told)
    }

    #[tokio::test]
    async fn a_run_learns_that_the_last_of_its_callers_has_left() {
        let (pool, gate, told) = yielding();
        let (first, second) = (submit(&pool, 1), submit(&pool, 1));
        until(&pool, 1, 0).await;
        while pool.shared.lock().listeners.values().map(Vec::len).sum::<usize>() < 2 {
            tokio::task::yield_now().await;
        }
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        gate.send(()).unwrap();
        assert!(told.recv().unwrap(), "the second still waits");
        gate.send(()).unwrap();
        assert!(second.await.unwrap().is_ok());

        let alone = submit(&pool, 2);
        until(&pool, 1, 0).await;
        alone.abort();
        assert!(alone.await.unwrap_err().is_cancelled());
        gate.send(()).unwrap();
        assert!(!told.recv().unwrap(), "nobody waits");
        gate.send(()).unwrap();
        until(&pool, 0, 0).await;
    }

    #[tokio::test]
    async fn who_presses_the_button_while_an_abandoned_run_ends_gets_a_run_of_their_own() {
        let (pool, gate, told) = yielding();
        let gone = submit(&pool, 1);
        until(&pool, 1, 0).await;
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        gate.send(()).unwrap();
        assert!(!told.recv().unwrap());
        let again = submit(&pool, 1);
        while pool.shared.lock().is_unheard(&trigger(1).key()) {
            tokio::task::yield_now().await;
        }
        for _ in 0..3 {
            gate.send(()).unwrap();
        }
        assert!(again.await.unwrap().is_ok());
        assert!(told.recv().unwrap(), "the second run was awaited");
    }

    #[tokio::test]
    async fn a_panic_is_that_triggers_error_and_nothing_else() {
        let pool = Pool::new(PoolLimits { concurrent: 1, waiting: 1 }, |trigger, _| {
            assert_ne!(trigger.frame, 13);
            Ok(Outcome::Saved { message: None })
        })
        .unwrap();
        assert_eq!(pool.submit(trigger(13)).await.unwrap_err().kind, Kind::Internal);
        assert!(pool.submit(trigger(14)).await.is_ok());
    }

    #[tokio::test]
    async fn a_trigger_that_waits_too_long_is_told_so_on_time_and_a_joiner_with_time_left_is_served() {
        // As all work does: with a deadline that is past it ends at once.
        let (pool, gate, runs) = gated_doing(4, |trigger| {
            trigger.deadline.left()?;
            Ok(Outcome::Saved { message: None })
        });
        let running = submit(&pool, 1);
        until(&pool, 1, 0).await;
        let short = Trigger { deadline: Deadline::after(Duration::from_millis(200)), ..trigger(2) };
        let handle = {
            let (pool, short) = (Arc::clone(&pool), short.clone());
            tokio::spawn(async move { pool.submit(short).await })
        };
        until(&pool, 1, 1).await;
        let joiner = submit(&pool, 2);
        let late = handle.await.unwrap().unwrap_err();
        assert_eq!((late.kind, late.message.contains("waiting for other triggers")), (Kind::Deadline, true), "{late}");
        until(&pool, 1, 1).await;
        gate.send(()).unwrap();
        gate.send(()).unwrap();
        assert!(running.await.unwrap().is_ok() && joiner.await.unwrap().is_ok());
        assert_eq!(runs.load(Ordering::SeqCst), 2);

        // Alone, it is taken out of the queue.
        let running = submit(&pool, 1);
        until(&pool, 1, 0).await;
        let alone = Trigger { deadline: Deadline::after(Duration::from_millis(100)), ..trigger(3) };
        assert_eq!(pool.submit(alone).await.unwrap_err().kind, Kind::Deadline);
        until(&pool, 1, 0).await;
        gate.send(()).unwrap();
        assert!(running.await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn a_trigger_learns_how_long_it_waited() {
        let (tell, told) = mpsc::channel();
        let tell = Mutex::new(tell);
        let pool = Arc::new(
            Pool::new(PoolLimits { concurrent: 1, waiting: 4 }, move |_, waited| {
                tell.lock().unwrap().send(waited).unwrap();
                std::thread::sleep(Duration::from_millis(150));
                Ok(Outcome::Saved { message: None })
            })
            .unwrap(),
        );
        let first = submit(&pool, 1);
        until(&pool, 1, 0).await;
        let second = submit(&pool, 2);
        assert!(first.await.unwrap().is_ok() && second.await.unwrap().is_ok());
        let (first, second) = (told.recv().unwrap(), told.recv().unwrap());
        assert!(second > first && second > Duration::from_millis(20), "{first:?}, {second:?}");
    }

    #[tokio::test]
    async fn a_draining_pool_finishes_what_it_took_and_takes_no_more() {
        let (pool, gate, _) = gated(4);
        let running = submit(&pool, 1);
        until(&pool, 1, 0).await;
        pool.drain();
        assert_eq!(pool.submit(trigger(2)).await.unwrap_err().kind, Kind::Busy);
        assert!(!pool.wait_idle(Duration::from_millis(20)));
        gate.send(()).unwrap();
        assert!(running.await.unwrap().is_ok());
        assert!(pool.wait_idle(Duration::from_secs(5)));
    }

    #[tokio::test]
    async fn a_trigger_past_its_deadline_is_seen_as_overdue() {
        let (pool, gate, _) = gated(4);
        let late = Trigger { deadline: Deadline::after(Duration::from_millis(200)), ..trigger(1) };
        let handle = {
            let (pool, late) = (Arc::clone(&pool), late.clone());
            tokio::spawn(async move { pool.submit(late).await })
        };
        until(&pool, 1, 0).await;
        while late.deadline.left().is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(pool.stats(Duration::ZERO).overdue, 1);
        assert_eq!(pool.stats(Duration::from_secs(60)).overdue, 0);
        gate.send(()).unwrap();
        handle.await.unwrap().unwrap();
    }
}
