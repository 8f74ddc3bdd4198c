//! Log lines that a stranger can cause must not fill the disk.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lets one line through per period and counts the rest.
#[derive(Debug)]
pub struct Seldom {
    period: Duration,
    state: Mutex<(Option<Instant>, u64)>,
}

impl Seldom {
    /// One line every `period`.
    pub fn every(period: Duration) -> Self {
        Self { period, state: Mutex::new((None, 0)) }
    }

    /// Calls `line` with the number of lines left out since the last one, or counts it as left out.
    pub fn say(&self, line: impl FnOnce(u64)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.0.is_some_and(|last| last.elapsed() < self.period) {
            state.1 += 1;
            return;
        }
        let unsaid = std::mem::take(&mut state.1);
        state.0 = Some(Instant::now());
        drop(state);
        line(unsaid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_period_and_the_rest_are_counted() {
        let seldom = Seldom::every(Duration::from_millis(40));
        let mut said = Vec::new();
        for _ in 0..5 {
            seldom.say(|unsaid| said.push(unsaid));
        }
        std::thread::sleep(Duration::from_millis(60));
        seldom.say(|unsaid| said.push(unsaid));
        assert_eq!(said, [0, 4]);
    }
}
