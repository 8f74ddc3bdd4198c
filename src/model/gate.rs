//! How many calls one endpoint gets at once.

use std::sync::{Condvar, Mutex, PoisonError};

use crate::deadline::{Deadline, Expired};

/// Lets a bounded number in; the others wait outside, as long as their deadline allows.
#[derive(Debug, Default)]
pub(super) struct Gate {
    inside: Mutex<usize>,
    left: Condvar,
}

/// A place inside, given back when dropped.
pub(super) struct Pass<'a>(&'a Gate);

impl Gate {
    /// Waits until fewer than `places` are inside.
    pub(super) fn enter(&self, places: usize, deadline: &Deadline) -> Result<Pass<'_>, Expired> {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        while *inside >= places.max(1) {
            inside = self.left.wait_timeout(inside, deadline.glance()?).unwrap_or_else(PoisonError::into_inner).0;
        }
        *inside += 1;
        Ok(Pass(self))
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        *self.0.inside.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.left.notify_one();
    }
}
