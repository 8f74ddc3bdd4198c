//! Samples that show no picture, or several: only their own bytes say so.

use super::packet::{self, Coding};
use super::window::Window;
use super::{Care, IndexError, Sample, SampleTable};

/// A table is believed when nothing of this many bytes behind its first sample contradicts it: encoders hide their first
/// picture right behind the key frame.
const STRETCH: u64 = 128 << 10;

/// Read at once while samples are near each other.
pub(super) const STRIDE: usize = 1 << 20;
/// Larger samples are jumped over.
const LARGE: u32 = 256 << 10;

/// What the samples show.
#[derive(Default)]
pub(super) struct Pictures {
    /// For each sample whether nothing comes out of it; empty where something comes out of all.
    pub(super) hidden: Vec<bool>,
    /// Several pictures come out of a sample.
    pub(super) twofold: bool,
}

/// Counts what comes out of `samples`. Most writers keep what is hidden in one sample with
/// what is shown, so that all samples are looked at only if the first, or the clock, show that it may be otherwise here.
pub(super) fn count(window: &mut Window<'_>, coding: Coding<'_>, samples: &[Sample], care: Care) -> Result<Pictures, IndexError> {
    if !coding.codec.hides() {
        return Ok(Pictures::default());
    }
    if care == Care::Usual && !at_one_time(samples) {
        let opening = opening(samples);
        let ahead = opening.iter().map(|sample| sample.size as usize).sum();
        let odd = opening.iter().map(|sample| shown(window, coding, sample, ahead)).find(|shown| !matches!(shown, Ok(1)));
        match odd {
            None => return Ok(Pictures::default()),
            Some(Err(error)) => return Err(error),
            Some(Ok(_)) => {}
        }
    }
    let mut pictures = Pictures { hidden: Vec::with_capacity(samples.len()), twofold: false };
    for sample in samples {
        let shown = shown(window, coding, sample, if sample.size > LARGE { packet::HEAD } else { STRIDE })?;
        pictures.hidden.push(shown == 0);
        pictures.twofold |= shown > 1;
    }
    Ok(pictures)
}

impl SampleTable {
    /// Whether sample `at`, whose bytes are `body`, shows nothing or several pictures though the table counts it as one.
    pub fn miscounts(&self, at: usize, body: &[u8]) -> bool {
        // Matroska's were all looked at.
        if !self.codec.hides() || self.container == "matroska" || body.is_empty() {
            return false;
        }
        match self.coding().shown(body, body.len() as u64) {
            Some(0) => self.shown.contains(&(at as u32)),
            shown => shown.is_some_and(|shown| shown > 1),
        }
    }
}

/// Whether two samples in a row are to be shown at the same time: then one of them hardly is.
fn at_one_time(samples: &[Sample]) -> bool {
    samples.windows(2).any(|pair| pair[0].pts == pair[1].pts)
}

/// The samples behind the first, as far as they follow each other within a stretch.
pub(super) fn opening(samples: &[Sample]) -> &[Sample] {
    let Some((first, rest)) = samples.split_first() else { return &[] };
    let begin = first.offset.saturating_add(first.size.into());
    let end = begin.saturating_add(STRETCH);
    let inside = |sample: &&Sample| sample.offset >= begin && sample.offset.saturating_add(sample.size.into()) <= end;
    &rest[..rest.iter().take_while(inside).count()]
}

/// How many pictures a sample shows; 1 where the file ends before it does, or where it is empty and never counted.
fn shown(window: &mut Window<'_>, coding: Coding<'_>, sample: &Sample, ahead: usize) -> Result<usize, IndexError> {
    let size = sample.size as usize;
    let mut looked_at = size.min(packet::HEAD);
    loop {
        let head = window.get(sample.offset, looked_at, ahead)?;
        if head.len() < looked_at || size == 0 {
            return Ok(1);
        }
        match coding.shown(head, size as u64) {
            None if looked_at < size => looked_at = size,
            shown => return Ok(shown.unwrap_or(1)),
        }
    }
}
