//! Inclusive ranges of frames, as classification answers and object actions carry them.

use serde::{Deserialize, Serialize};

/// A set of frames as sorted, disjoint, inclusive ranges.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// Only this frame.
    pub fn only(frame: u64) -> Self {
        Self(vec![(frame, frame)])
    }

    /// Any frames, in any order.
    pub fn of_frames(frames: impl IntoIterator<Item = u64>) -> Self {
        Self::merged(frames.into_iter().map(|frame| (frame, frame)).collect())
    }

    /// `[[first, last], …]` in any order, overlapping or not; `None` when it is anything else. Old rows hold whole
    /// numbers written as `5.0`.
    pub fn parse(json: &str) -> Option<Self> {
        let pairs: Vec<(Frame, Frame)> = serde_json::from_str(json).ok()?;
        Some(Self::merged(pairs.into_iter().map(|(Frame(a), Frame(b))| (a.min(b), a.max(b))).collect()))
    }

    fn merged(mut pairs: Vec<(u64, u64)>) -> Self {
        pairs.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(pairs.len());
        for (first, last) in pairs {
            match merged.last_mut() {
                Some(previous) if first <= previous.1.saturating_add(1) => previous.1 = previous.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        Self(merged)
    }

    /// No frame at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the frame is among them.
    pub fn contains(&self, frame: u64) -> bool {
        self.0.iter().any(|&(first, last)| first <= frame && frame <= last)
    }

    /// Whether this frame, and no other, is among them.
    pub fn is_only(&self, frame: u64) -> bool {
        self.0 == [(frame, frame)]
    }

    /// All of them but this one; the range that holds it is split.
    pub fn without(&self, frame: u64) -> Self {
        let mut left = Vec::with_capacity(self.0.len() + 1);
        for &(first, last) in &self.0 {
            if frame < first || last < frame {
                left.push((first, last));
                continue;
            }
            if first < frame {
                left.push((first, frame - 1));
            }
            if frame < last {
                left.push((frame + 1, last));
            }
        }
        Self(left)
    }
}

impl Serialize for Ranges {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

struct Frame(u64);

impl<'de> Deserialize<'de> for Frame {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = serde_json::Number::deserialize(deserializer)?;
        let whole = |x: f64| (x >= 0.0 && x.fract() == 0.0 && x < 9e15).then_some(x as u64);
        number
            .as_u64()
            .or_else(|| number.as_f64().and_then(whole))
            .map(Frame)
            .ok_or_else(|| serde::de::Error::custom("a frame is a whole number from 0"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn ranges_are_read_in_any_order_and_in_old_spellings() {
        assert_eq!(Ranges::parse("[[12, 12], [5.0, 9]]"), Some(Ranges(vec![(5, 9), (12, 12)])));
        assert_eq!(Ranges::parse("[]"), Some(Ranges::default()));
        for odd in ["[[1]]", "[[-1, 2]]", "[[0.5, 2]]", "null", "{}", "[1, 2]"] {
            assert_eq!(Ranges::parse(odd), None, "{odd}");
        }
    }

    proptest! {
        #[test]
        fn cutting_a_frame_out_leaves_every_other(frames in proptest::collection::btree_set(0u64..40, 0..30), cut in 0u64..40) {
            let ranges = Ranges::of_frames(frames.iter().copied());
            prop_assert_eq!(ranges.contains(cut), frames.contains(&cut));
            let rest = ranges.without(cut);
            let expected: BTreeSet<u64> = frames.iter().copied().filter(|&frame| frame != cut).collect();
            prop_assert_eq!((0..41).filter(|&frame| rest.contains(frame)).collect::<BTreeSet<_>>(), expected);
            prop_assert_eq!(Ranges::parse(&serde_json::to_string(&ranges).unwrap()), Some(ranges));
        }
    }
}
