//! Counts of the calls made to Encord, for the metrics and for tests of the request economy.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// GET project.
    Project,
    /// GET ontology.
    Ontology,
    /// List label rows.
    List,
    /// Create a label row.
    Create,
    /// Get a label row.
    Row,
    /// A link to media, asked for separately.
    Link,
    /// Save a label row.
    Save,
    /// Sign-in check.
    Check,
    /// A picture's way into a storage folder.
    Upload,
    /// A storage item put into a dataset.
    Attach,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Project,
        Self::Ontology,
        Self::List,
        Self::Create,
        Self::Row,
        Self::Link,
        Self::Save,
        Self::Check,
        Self::Upload,
        Self::Attach,
    ];

    /// A word for metrics.
    pub fn name(self) -> &'static str {
        ["project", "ontology", "list", "create", "row", "link", "save", "check", "upload", "attach"][self as usize]
    }
}

/// How a call ended, each try counted by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A 2xx status without an error inside.
    Ok,
    /// Refused: a 4xx status but 429, in the head or inside the envelope.
    Refused,
    /// 429 or a 5xx status.
    Busy,
    /// No complete answer.
    Fault,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ok, Self::Refused, Self::Busy, Self::Fault];

    /// A word for metrics.
    pub fn name(self) -> &'static str {
        ["ok", "refused", "busy", "fault"][self as usize]
    }
}

/// Counters by kind and outcome. They only grow.
#[derive(Debug, Default)]
pub struct Requests {
    counts: [[AtomicU64; Outcome::ALL.len()]; Kind::ALL.len()],
}

impl Requests {
    pub(super) fn count(&self, kind: Kind, outcome: Outcome) {
        self.counts[kind as usize][outcome as usize].fetch_add(1, Relaxed);
    }

    /// Calls of this kind that ended so.
    pub fn of(&self, kind: Kind, outcome: Outcome) -> u64 {
        self.counts[kind as usize][outcome as usize].load(Relaxed)
    }

    /// All calls, tries again included.
    pub fn total(&self) -> u64 {
        self.counts.iter().flatten().map(|count| count.load(Relaxed)).sum()
    }
}
