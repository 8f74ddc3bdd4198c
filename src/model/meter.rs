//! What an endpoint was asked and what it cost.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;

/// Counters of one endpoint since the start, and its tokens of the present day.
#[derive(Debug, Default)]
pub(super) struct Meter {
    statuses: Mutex<BTreeMap<u16, u64>>,
    prompt_tokens: AtomicU64,
    answer_tokens: AtomicU64,
    today: Mutex<Day>,
}

/// The tokens of one UTC day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Day {
    /// Days since 1970.
    number: i64,
    tokens: u64,
    /// So many of them are noted outside, where other programs of this box note theirs.
    noted: u64,
}

impl Meter {
    /// One request was answered with `status`; 0 if there was no answer.
    pub(super) fn request(&self, status: u16) {
        *self.statuses.lock().unwrap_or_else(PoisonError::into_inner).entry(status).or_default() += 1;
    }

    /// Tokens of one completion.
    pub(super) fn tokens(&self, prompt: u64, answer: u64, now: OffsetDateTime) {
        self.prompt_tokens.fetch_add(prompt, Ordering::Relaxed);
        self.answer_tokens.fetch_add(answer, Ordering::Relaxed);
        self.on(day(now), |today| today.tokens = today.tokens.saturating_add(prompt).saturating_add(answer));
    }

    /// Tokens of a day that are not noted outside.
    pub(super) fn unnoted(&self, number: i64) -> u64 {
        let today = self.today.lock().unwrap_or_else(PoisonError::into_inner);
        if today.number == number { today.tokens.saturating_sub(today.noted) } else { 0 }
    }

    /// `new` more tokens of a day are noted outside, where there are `total` now: what others have used counts here, too.
    pub(super) fn noted(&self, number: i64, new: u64, total: u64) {
        self.on(number, |today| {
            let ours = today.noted.saturating_add(new);
            today.tokens = today.tokens.saturating_add(total.saturating_sub(ours));
            today.noted = total.max(ours);
        });
    }

    /// Changes the count of a day; a day that is over does not count any more.
    fn on(&self, number: i64, change: impl FnOnce(&mut Day)) {
        let mut today = self.today.lock().unwrap_or_else(PoisonError::into_inner);
        if number > today.number {
            *today = Day { number, ..Day::default() };
        }
        if number == today.number {
            change(&mut today);
        }
    }

    /// Tokens used on the day of `now`.
    pub(super) fn used_today(&self, now: OffsetDateTime) -> u64 {
        let today = self.today.lock().unwrap_or_else(PoisonError::into_inner);
        if today.number == day(now) { today.tokens } else { 0 }
    }

    /// Requests by status, and tokens of prompts and answers.
    pub(super) fn totals(&self) -> (BTreeMap<u16, u64>, u64, u64) {
        let statuses = self.statuses.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (statuses, self.prompt_tokens.load(Ordering::Relaxed), self.answer_tokens.load(Ordering::Relaxed))
    }
}

/// The UTC day in days since 1970.
pub fn day(now: OffsetDateTime) -> i64 {
    now.unix_timestamp().div_euclid(86_400)
}

/// Until the next UTC midnight.
pub(super) fn until_midnight(now: OffsetDateTime) -> Duration {
    Duration::from_secs(86_400 - now.unix_timestamp().rem_euclid(86_400).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_new_day_starts_from_nothing() {
        let meter = Meter::default();
        meter.tokens(100, 20, datetime!(2026-05-01 23:59:59 UTC));
        assert_eq!(meter.used_today(datetime!(2026-05-01 12:00 UTC)), 120);
        assert_eq!(meter.used_today(datetime!(2026-05-02 00:00 UTC)), 0);
        meter.tokens(1, 1, datetime!(2026-05-02 00:00 UTC));
        meter.tokens(7, 0, datetime!(2026-05-01 23:59:59 UTC));
        assert_eq!(meter.used_today(datetime!(2026-05-02 01:00 UTC)), 2);
        assert_eq!(meter.totals(), (BTreeMap::new(), 108, 21));
        assert_eq!(until_midnight(datetime!(2026-05-01 23:59:00 UTC)), Duration::from_secs(60));
    }

    #[test]
    fn what_others_have_used_counts_once_and_what_is_noted_is_not_noted_again() {
        let (meter, noon) = (Meter::default(), datetime!(2026-05-01 12:00 UTC));
        let today = day(noon);
        // As at the start.
        meter.noted(today, 0, 70);
        assert_eq!((meter.used_today(noon), meter.unnoted(today)), (70, 0));
        meter.tokens(4, 1, noon);
        assert_eq!((meter.used_today(noon), meter.unnoted(today)), (75, 5));
        // Meanwhile another program has used 10.
        meter.noted(today, 5, 85);
        assert_eq!((meter.used_today(noon), meter.unnoted(today)), (85, 0));
        // Outside all was forgotten: nothing is taken back.
        meter.tokens(3, 0, noon);
        meter.noted(today, 3, 3);
        assert_eq!((meter.used_today(noon), meter.unnoted(today)), (88, 0));
        meter.noted(today - 1, 0, 1000);
        assert_eq!((meter.used_today(noon), meter.unnoted(today + 1)), (88, 0));
        meter.tokens(2, 0, noon + Duration::from_secs(86_400));
        assert_eq!((meter.unnoted(today), meter.unnoted(today + 1)), (0, 2));
    }
}
