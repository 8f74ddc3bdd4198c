//! One save at a time for each label row: a save replaces the whole row, so two at once would lose one.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, PoisonError};

use crate::deadline::{Deadline, Expired};
use crate::ids::LabelHash;

/// The rows that are being saved.
#[derive(Default)]
pub(super) struct RowLocks {
    held: Mutex<HashSet<LabelHash>>,
    freed: Condvar,
}

impl RowLocks {
    /// Waits until nobody else saves this row, at most until the deadline.
    pub(super) fn lock(&self, row: &LabelHash, deadline: &Deadline) -> Result<RowGuard<'_>, Expired> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        while held.contains(row) {
            held = self.freed.wait_timeout(held, deadline.glance()?).unwrap_or_else(PoisonError::into_inner).0;
        }
        held.insert(row.clone());
        Ok(RowGuard { locks: self, row: row.clone() })
    }
}

/// While this lives, nobody else saves the row.
pub(super) struct RowGuard<'a> {
    locks: &'a RowLocks,
    row: LabelHash,
}

impl Drop for RowGuard<'_> {
    fn drop(&mut self) {
        self.locks.held.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.row);
        self.locks.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_held_row_makes_others_wait_and_other_rows_do_not() {
        let locks = RowLocks::default();
        let (one, other) = (LabelHash::new("one"), LabelHash::new("other"));
        let soon = || Deadline::after(Duration::from_millis(30));
        let guard = locks.lock(&one, &soon()).unwrap();
        assert!(locks.lock(&one, &soon()).is_err());
        assert!(locks.lock(&other, &soon()).is_ok());
        drop(guard);
        assert!(locks.lock(&one, &soon()).is_ok());
    }
}
