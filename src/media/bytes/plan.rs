//! Arithmetic on spans: what is missing, and which gaps are cheaper fetched along than asked around.

use std::fmt;

use super::Span;

impl Span {
    /// The span from `start` up to, not including, `end`.
    pub(super) fn between(start: u64, end: u64) -> Self {
        Self { offset: start, length: end.saturating_sub(start) }
    }

    /// One past the last byte.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.length)
    }

    /// Whether the two have a byte in common.
    pub(super) fn overlaps(&self, other: &Span) -> bool {
        self.offset < other.end() && other.offset < self.end()
    }

    /// What of this span lies before `size`.
    pub(super) fn clipped(&self, size: u64) -> Span {
        Span::between(self.offset.min(size), self.end().min(size))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes {} to {}", self.offset, self.end().saturating_sub(1))
    }
}

/// A gap is never fetched along when it is larger than this: about what a round trip of 20 ms is worth at 100 Mbit/s.
const LARGEST_GAP: u64 = 256 << 10;

/// Merges spans into the requests to make: those that touch, and across gaps, smallest first, as long as all the gaps
/// together stay below a quarter of what is wanted plus 32 KiB.
pub(super) fn requests_for(mut spans: Vec<Span>) -> Vec<Span> {
    spans.retain(|span| span.length > 0);
    spans.sort_by_key(|span| span.offset);
    let mut merged: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        match merged.last_mut() {
            Some(last) if span.offset <= last.end() => *last = Span::between(last.offset, last.end().max(span.end())),
            _ => merged.push(span),
        }
    }

    let wanted: u64 = merged.iter().map(|span| span.length).sum();
    let mut gaps: Vec<(u64, usize)> =
        merged.windows(2).enumerate().map(|(at, pair)| (pair[1].offset - pair[0].end(), at)).filter(|gap| gap.0 <= LARGEST_GAP).collect();
    gaps.sort_unstable();
    let mut budget = wanted / 4 + (32 << 10);
    let mut bridged = vec![false; merged.len()];
    for (gap, at) in gaps {
        if gap > budget {
            break;
        }
        budget -= gap;
        bridged[at] = true;
    }

    let mut requests: Vec<Span> = Vec::with_capacity(merged.len());
    let mut joined = false;
    for (span, bridge_follows) in merged.into_iter().zip(bridged) {
        match requests.last_mut() {
            Some(last) if joined => *last = Span::between(last.offset, span.end()),
            _ => requests.push(span),
        }
        joined = bridge_follows;
    }
    requests
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spans(list: &[(u64, u64)]) -> Vec<Span> {
        list.iter().map(|&(offset, length)| Span { offset, length }).collect()
    }

    #[test]
    fn audio_between_the_samples_is_fetched_along_and_a_distant_sample_is_not() {
        let chunks = spans(&[(0, 50_000), (58_000, 50_000), (116_000, 50_000), (900_000, 50_000)]);
        assert_eq!(requests_for(chunks), spans(&[(0, 166_000), (900_000, 50_000)]));
    }

    #[test]
    fn touching_and_overlapping_spans_are_one_request() {
        assert_eq!(requests_for(spans(&[(10, 5), (0, 10), (12, 8), (20, 0)])), spans(&[(0, 20)]));
        assert_eq!(requests_for(spans(&[(10, 0)])), spans(&[]));
    }

    proptest! {
        #[test]
        fn requests_cover_what_is_wanted_in_order_and_little_else(
            list in proptest::collection::vec((0..2_000_000u64, 0..300_000u64), 0..20)
        ) {
            let wanted = spans(&list);
            let requests = requests_for(wanted.clone());
            for span in wanted.iter().filter(|span| span.length > 0) {
                prop_assert!(requests.iter().any(|r| r.offset <= span.offset && span.end() <= r.end()));
            }
            prop_assert!(requests.windows(2).all(|pair| pair[0].end() < pair[1].offset));
            let total: u64 = requests.iter().map(|r| r.length).sum();
            let asked: u64 = wanted.iter().map(|r| r.length).sum();
            prop_assert!(total <= asked + asked / 4 + (32 << 10));
        }
    }
}
