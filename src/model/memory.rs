//! What was learnt about an endpoint's dialect, kept until it may have changed.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::dialect::{Dialect, Rung};

/// A lower rung than the best is tried again from the top after this long.
const EXPIRES: Duration = Duration::from_secs(6 * 3600);
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
    since: Option<Instant>,
    served_by: String,
    address: usize,
    schemas: HashMap<u64, OfSchema>,
}

#[derive(Debug, Default, Clone, Copy)]
struct OfSchema {
    rung: Option<Rung>,
    disappointments: u32,
}

impl Memory {
    /// The dialect to begin with for a schema, and whether its rung has worked before.
    pub(super) fn recall(&self, schema: u64, now: Instant) -> (Dialect, bool) {
        let mut learnt = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if learnt.since.is_some_and(|since| now.duration_since(since) > EXPIRES) {
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

    /// A request in `dialect` at `address` worked.
    pub(super) fn worked(&self, schema: u64, dialect: Dialect, address: usize, served_by: &str, now: Instant) {
        let mut learnt = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let settled = learnt.since.is_some_and(|since| now.duration_since(since) > SETTLES);
        if settled && !learnt.served_by.is_empty() && learnt.served_by != served_by {
            learnt.forget();
        }
        served_by.clone_into(&mut learnt.served_by);
        learnt.address = address;
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
            learnt.since = None;
        } else {
            learnt.since.get_or_insert(now);
        }
    }

    /// The answer was valid, or not even after a repair.
    pub(super) fn judged(&self, schema: u64, rung: Rung, valid: bool, now: Instant) {
        let mut learnt = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = learnt.of(schema);
        of.disappointments = if valid { 0 } else { of.disappointments + 1 };
        if of.disappointments >= DISAPPOINTMENTS {
            of.disappointments = 0;
            // From the last rung back to the first: the model may have been replaced.
            let next = Rung::ALL.iter().position(|&known| known == rung).map_or(0, |at| (at + 1) % Rung::ALL.len());
            of.rung = Some(Rung::ALL[next]);
            learnt.since.get_or_insert(now);
        }
    }
}

impl Learnt {
    fn forget(&mut self) {
        *self = Self { address: self.address, ..Self::default() };
    }

    fn of(&mut self, schema: u64) -> &mut OfSchema {
        if self.schemas.len() >= SCHEMAS && !self.schemas.contains_key(&schema) {
            self.schemas.clear();
        }
        self.schemas.entry(schema).or_default()
    }
}
