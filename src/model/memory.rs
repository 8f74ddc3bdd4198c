//! What was learnt about an endpoint's dialect, kept until it may have changed.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::dialect::{Dialect, Rung};

/// How long a refusal that named its reason is believed.
pub(super) const TOLD: Duration = Duration::from_secs(6 * 3600);
/// How long it is believed that a vague refusal was about what was changed next.
pub(super) const GUESSED: Duration = Duration::from_secs(3600);
/// How long it is believed that a failure was about what was changed next: it may have passed by itself.
pub(super) const DOUBTED: Duration = Duration::from_secs(10 * 60);
/// A server that names another build than before is learnt anew, but not more often than this: some alternate.
const SETTLES: Duration = Duration::from_secs(10 * 60);
/// Schemas with a rung of their own; more are forgotten all at once.
const SCHEMAS: usize = 64;
/// Answers in a row that did not fit their schema, after which the rung is not believed for this schema.
const DISAPPOINTMENTS: u32 = 2;

/// Learns only from what worked, so that a bad hour of the server teaches nothing.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<Learnt>);

#[derive(Debug, Default)]
struct Learnt {
    dialect: Option<Dialect>,
    /// When it was learnt that the endpoint does not speak the best dialect, and until when that is believed.
    since: Option<Instant>,
    until: Option<Instant>,
    served_by: String,
    address: usize,
    schemas: HashMap<u64, OfSchema>,
}

/// What an answer tells of the rung that it was got on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is valid.
    Fits,
    /// It is not, not even after a repair, though it has the schema's form: no grammar rules out every wrong value.
    Misfit,
    /// The model was evidently not held to the schema: what it said first has none of its keys.
    Unheld,
}

#[derive(Debug, Default, Clone, Copy)]
struct OfSchema {
    rung: Option<Rung>,
    disappointments: u32,
    /// Answers, with the thoughts before them, needed the larger bound.
    long: bool,
}

impl Memory {
    /// The dialect to begin with for a schema, and whether its rung has worked before.
    pub(super) fn recall(&self, schema: u64, now: Instant) -> (Dialect, bool) {
        let mut learnt = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if learnt.until.is_some_and(|until| now >= until) {
            learnt.forget();
        }
        let mut dialect = learnt.dialect.unwrap_or_default();
        if let Some(rung) = learnt.schemas.get(&schema).and_then(|of| of.rung) {
            dialect.rung = rung;
        }
        (dialect, learnt.dialect.is_some())
    }

    /// Which of the endpoint's addresses to begin with.
    pub(super) fn address(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).address
    }

    /// The rung that generally works.
    pub(super) fn rung(&self) -> Rung {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).dialect.unwrap_or_default().rung
    }

    /// A request in `dialect` at `address` worked. What had to be changed on the way there is believed for `belief`.
    pub(super) fn worked(&self, schema: u64, dialect: Dialect, address: usize, served_by: &str, belief: Duration, now: Instant) {
        let mut learnt = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let settled = learnt.since.is_some_and(|since| now.duration_since(since) > SETTLES);
        let changed = settled && !learnt.served_by.is_empty() && learnt.served_by != served_by;
        served_by.clone_into(&mut learnt.served_by);
        learnt.address = address;
        if changed {
            learnt.forget();
            return;
        }
        match learnt.dialect {
            // Another schema did better: this one is the exception.
            Some(general) if general.rung < dialect.rung => {
                learnt.dialect = Some(Dialect { rung: general.rung, ..dialect });
                learnt.of(schema).rung = Some(dialect.rung);
            }
            _ => {
                learnt.dialect = Some(dialect);
                learnt.of(schema).rung = None;
            }
        }
        if learnt.dialect == Some(Dialect::default()) && learnt.schemas.values().all(|of| of.rung.is_none()) {
            (learnt.since, learnt.until) = (None, None);
        } else {
            learnt.believe(now, belief);
        }
    }

    /// Whether answers to a schema needed the larger bound before.
    pub(super) fn is_long(&self, schema: u64) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).schemas.get(&schema).is_some_and(|of| of.long)
    }

    /// An answer to a schema needed the larger bound, and fitted into it.
    pub(super) fn was_long(&self, schema: u64, now: Instant) {
        let mut learnt = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        learnt.of(schema).long = true;
        learnt.believe(now, GUESSED);
    }

    /// What became of an answer that was got on a rung.
    pub(super) fn judged(&self, schema: u64, rung: Rung, verdict: Verdict, now: Instant) {
        let mut learnt = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = learnt.of(schema);
        of.disappointments = if verdict == Verdict::Fits { 0 } else { of.disappointments + 1 };
        if of.disappointments >= DISAPPOINTMENTS {
            of.disappointments = 0;
            // An endpoint that does not keep the promise of one schema rung keeps that of no other.
            of.rung = Some(if verdict == Verdict::Unheld && rung < Rung::JsonObject { Rung::JsonObject } else { rung.below() });
            learnt.believe(now, GUESSED);
        }
    }
}

impl Learnt {
    fn forget(&mut self) {
        *self = Self { address: self.address, ..Self::default() };
    }

    fn believe(&mut self, now: Instant, belief: Duration) {
        self.since.get_or_insert(now);
        self.until = Some(self.until.map_or(now + belief, |until| until.min(now + belief)));
    }

    fn of(&mut self, schema: u64) -> &mut OfSchema {
        if self.schemas.len() >= SCHEMAS && !self.schemas.contains_key(&schema) {
            self.schemas.clear();
        }
        self.schemas.entry(schema).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOWER: Dialect = Dialect {
        rung: Rung::JsonObject,
        bound: super::super::dialect::TokenBound::Plain,
        largest_bound: None,
        temperature: true,
        reasoning_effort: true,
        detail: true,
        strict: true,
        system: true,
        named_tool: true,
    };

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_lower_rung_is_believed_as_long_as_its_reason_deserves() {
        for belief in [TOLD, GUESSED, DOUBTED] {
            let (memory, start) = (Memory::default(), Instant::now());
            memory.worked(1, LOWER, 0, "m", belief, start);
            assert_eq!(memory.recall(1, start + belief - Duration::from_secs(1)), (LOWER, true));
            assert_eq!(memory.recall(1, start + belief), (Dialect::default(), false));
        }
    }

    #[test]
    fn success_does_not_prolong_the_belief() {
        let (memory, start) = (Memory::default(), Instant::now());
        memory.worked(1, LOWER, 0, "m", DOUBTED, start);
        memory.worked(1, LOWER, 0, "m", TOLD, after(start, 500));
        assert!(!memory.recall(1, after(start, 600)).1);
    }

    #[test]
    fn a_schema_that_is_refused_where_others_are_taken_has_a_rung_of_its_own() {
        let (memory, now) = (Memory::default(), Instant::now());
        memory.worked(1, Dialect::default(), 0, "m", TOLD, now);
        memory.worked(2, Dialect { rung: Rung::Tool, ..Dialect::default() }, 0, "m", TOLD, now);
        assert_eq!(memory.recall(1, now).0.rung, Rung::StrictSchema);
        assert_eq!(memory.recall(2, now).0.rung, Rung::Tool);
        assert_eq!(memory.recall(3, now).0.rung, Rung::StrictSchema);
        assert_eq!(memory.recall(2, now + TOLD).0.rung, Rung::StrictSchema);
    }

    #[test]
    fn another_build_of_the_server_is_learnt_anew() {
        let (memory, start) = (Memory::default(), Instant::now());
        memory.worked(1, LOWER, 0, "b1", TOLD, start);
        memory.worked(1, LOWER, 0, "b2", TOLD, after(start, 5));
        assert_eq!(memory.recall(2, after(start, 5)).0.rung, Rung::JsonObject, "too soon: it may alternate");
        memory.worked(1, LOWER, 0, "b3", TOLD, start + SETTLES + SETTLES);
        assert_eq!(memory.recall(1, start + SETTLES + SETTLES), (Dialect::default(), false));
    }

    #[test]
    fn a_rung_whose_answers_never_fit_is_left() {
        let (memory, now) = (Memory::default(), Instant::now());
        memory.judged(1, Rung::StrictSchema, Verdict::Misfit, now);
        memory.judged(1, Rung::StrictSchema, Verdict::Fits, now);
        memory.judged(1, Rung::StrictSchema, Verdict::Misfit, now);
        assert_eq!(memory.recall(1, now).0.rung, Rung::StrictSchema);
        memory.judged(1, Rung::StrictSchema, Verdict::Misfit, now);
        assert_eq!(memory.recall(1, now).0.rung, Rung::Schema);
        for _ in 0..2 {
            memory.judged(3, Rung::Schema, Verdict::Unheld, now);
        }
        assert_eq!(memory.recall(3, now).0.rung, Rung::JsonObject);
        assert_eq!(memory.recall(2, now).0.rung, Rung::StrictSchema);
        for _ in 0..2 {
            memory.judged(1, Rung::Prompt, Verdict::Misfit, now);
        }
        assert_eq!(memory.recall(1, now).0.rung, Rung::StrictSchema, "from the last back to the first");
    }

    #[test]
    fn the_memory_is_bounded() {
        let (memory, now) = (Memory::default(), Instant::now());
        for schema in 0..10_000 {
            memory.judged(schema, Rung::StrictSchema, Verdict::Misfit, now);
        }
        assert!(memory.0.lock().unwrap().schemas.len() <= SCHEMAS);
    }
}
