//! Which of the parties the daemon depends on are well, as far as their last use showed.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

/// One dependency's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct State {
    /// `ok` or `degraded`.
    pub(crate) status: &'static str,
    /// Why it is degraded.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) reason: String,
    /// Since when it is in this state, seconds since 1970.
    pub(crate) since: i64,
}

/// The states by dependency.
#[derive(Debug, Default)]
pub(crate) struct Health {
    states: Mutex<BTreeMap<&'static str, State>>,
}

impl Health {
    /// Notes how a dependency's last use ended. The time is that of the change, not of the last use.
    pub(crate) fn note(&self, name: &'static str, result: Result<(), String>) {
        let (status, reason) = match result {
            Ok(()) => ("ok", String::new()),
            Err(reason) => ("degraded", reason),
        };
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let before = states.get(name).map(|state| state.status);
        if before != Some(status) {
            match status {
                "ok" if before.is_some() => tracing::info!(dependency = name, "well again"),
                "degraded" => tracing::warn!(dependency = name, %reason, "degraded"),
                _ => {}
            }
        }
        let since = match states.get(name) {
            Some(state) if state.status == status => state.since,
            _ => time::OffsetDateTime::now_utc().unix_timestamp(),
        };
        states.insert(name, State { status, reason, since });
    }

    /// Whether a dependency's last use went wrong.
    pub(crate) fn is_degraded(&self, name: &str) -> bool {
        self.states.lock().unwrap_or_else(PoisonError::into_inner).get(name).is_some_and(|state| state.status == "degraded")
    }

    /// All states, by name.
    pub(crate) fn all(&self) -> BTreeMap<&'static str, State> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
