//! The answers that wait to be saved, and the history of triggers: one SQLite file.

use std::path::PathBuf;
use std::time::Duration;

/// What the configuration says about the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The database file.
    pub path: PathBuf,
    /// Longest pause between late saves.
    pub retry_max: Duration,
    /// Most answers that may wait; beyond, a trigger whose save fails is answered as failed.
    pub max_entries: usize,
}
