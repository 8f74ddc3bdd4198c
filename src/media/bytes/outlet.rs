//! Spans that are handed out in order while their bytes come in any.

use std::collections::VecDeque;

use super::Span;
use super::entry::Entry;
use super::folder::{Files, LARGEST_PIECE};

/// What of some spans is still to be handed out.
pub(super) struct Outlet {
    left: VecDeque<Span>,
    /// Bytes handed out so far.
    pub(super) given: u64,
}

impl Outlet {
    pub(super) fn new(spans: &[Span]) -> Self {
        Self { left: spans.iter().copied().filter(|span| span.length > 0).collect(), given: 0 }
    }

    /// The spans to come, the first without what was handed out of it.
    pub(super) fn left(&self) -> impl Iterator<Item = Span> {
        self.left.iter().copied()
    }

    /// Hands on those of `bytes`, which stand at `at`, that are next.
    pub(super) fn give(&mut self, at: u64, bytes: &[u8], sink: &mut dyn FnMut(&[u8])) {
        let end = at + bytes.len() as u64;
        while let Some(next) = self.left.front().filter(|next| (at..end).contains(&next.offset)) {
            let until = next.end().min(end);
            sink(&bytes[(next.offset - at) as usize..(until - at) as usize]);
            self.advance(until);
        }
    }

    /// Hands on what is kept of the next bytes.
    pub(super) fn give_kept(&mut self, entry: &Entry, files: Option<&Files>, sink: &mut dyn FnMut(&[u8])) {
        while let Some(next) = self.left.front().copied() {
            let part = Span { offset: next.offset, length: next.length.min(LARGEST_PIECE) };
            let kept_to = entry.missing(part).first().map_or(part.end(), |missing| missing.offset);
            let kept = Span::between(part.offset, kept_to);
            let mut bytes = vec![0; kept.length as usize];
            // What turns out damaged is missing from now on.
            if kept.length == 0 || !entry.copy(files, kept, &mut bytes).is_empty() {
                return;
            }
            sink(&bytes);
            self.advance(kept_to);
        }
    }

    fn advance(&mut self, to: u64) {
        let Some(next) = self.left.front_mut() else { return };
        self.given += to - next.offset;
        *next = Span::between(to, next.end());
        if next.length == 0 {
            self.left.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_out_in_the_order_of_the_spans_whatever_comes_along() {
        let item: Vec<u8> = (0..100).collect();
        let mut outlet = Outlet::new(&[Span { offset: 10, length: 5 }, Span { offset: 0, length: 0 }, Span { offset: 20, length: 10 }]);
        let mut out = Vec::new();
        for (from, to) in [(20, 25), (8, 12), (12, 13), (13, 22), (22, 40)] {
            outlet.give(from as u64, &item[from..to], &mut |bytes| out.extend_from_slice(bytes));
        }
        assert_eq!(out, [&item[10..15], &item[20..30]].concat());
        assert_eq!((outlet.left().count(), outlet.given), (0, 15));
    }
}
