//! What is known about the hardware decoders of this box: which proved themselves, which are left out and why.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A decoder that failed is tried again after so long: a driver may have come back.
const AGAIN: Duration = Duration::from_secs(600);

/// The record; clones share it.
#[derive(Clone, Default)]
pub struct Proofs {
    known: Arc<Mutex<BTreeMap<String, Proof>>>,
}

struct Proof {
    at: Instant,
    failure: Option<String>,
}

impl Proofs {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Proof>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what became of a decoder.
    pub fn note(&self, key: &str, result: Result<(), String>) {
        let failure = result.err();
        if let Some(reason) = &failure {
            tracing::warn!(decoder = key, reason, "a hardware decoder is left out");
        }
        self.lock().insert(key.to_owned(), Proof { at: Instant::now(), failure });
    }

    /// Decoders that made the right picture of their clip.
    pub fn proven(&self) -> Vec<String> {
        self.lock().iter().filter(|(_, proof)| proof.failure.is_none()).map(|(key, _)| key.clone()).collect()
    }

    /// Decoders that failed a short while ago.
    pub fn left_out(&self) -> Vec<String> {
        let recent = |proof: &Proof| proof.failure.is_some() && proof.at.elapsed() < AGAIN;
        self.lock().iter().filter(|(_, proof)| recent(proof)).map(|(key, _)| key.clone()).collect()
    }
}
