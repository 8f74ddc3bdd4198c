//! From samples in decode order to frame numbers in presentation order.

use super::beginnings::{self, look};
use super::packet::{Coding, Place};
use super::window::Window;
use super::{Care, Codec, Edit, IndexError, Sample, SampleTable, hidden};

/// After so many wrong ones nothing called a sync sample is believed to be one.
const MOST_WRONG: usize = 16;

/// The indexes of `samples` (of which the first has index `from`) in presentation order. `begins` says whether decoding can
/// begin with a sample by its own bytes.
///
/// Decoders show pictures by their order within a GOP, whatever the container's clock does between GOPs. So where the clock
/// jumps back from one sync sample to the next (joined recordings), numbering goes on behind what came before. It also does
/// where pictures that are none are called sync samples, which therefore are looked at.
pub(super) fn presentation(
    codec: Codec,
    samples: &[Sample],
    from: usize,
    begins: &mut dyn FnMut(&Sample) -> Result<bool, IndexError>,
) -> Result<Vec<u32>, IndexError> {
    let mut order: Vec<u32> = (from..from + samples.len()).map(|at| at as u32).collect();
    let shown = |&at: &u32| samples[at as usize - from].size > 0;
    if !codec.reorders() {
        order.retain(shown);
        return Ok(order);
    }
    let mut begin = 0;
    let mut last_sync: Option<i64> = None;
    let mut wrong = 0;
    let sort = |stretch: &mut [u32]| stretch.sort_by_key(|&at| samples[at as usize - from].pts);
    for (at, sample) in samples.iter().enumerate().filter(|(_, sample)| sample.sync) {
        if last_sync.is_some_and(|last| sample.pts < last) {
            if wrong == MOST_WRONG || !begins(sample)? {
                wrong = MOST_WRONG.min(wrong + 1);
                continue;
            }
            sort(&mut order[begin..at]);
            begin = at;
        }
        last_sync = Some(sample.pts);
    }
    sort(&mut order[begin..]);
    // A sample without bytes shows nothing.
    order.retain(shown);
    Ok(order)
}

/// Why there is no table then.
pub(super) const IN_DECODE_ORDER: &str = "its timestamps are in the order of decoding, its pictures are not";

/// Samples that are looked at for the order they are shown in.
const LOOKED_AT: usize = 64;

/// Whether `samples` have timestamps in the order of decoding though their pictures are shown in another. Looks at samples only
/// where the timestamps ascend and the codec's configuration allows another order, and only at the first unless closely. Those
/// that are laced have timestamps in the order of decoding in any case.
pub(super) fn is_of_decoding(
    window: &mut Window<'_>,
    coding: Coding<'_>,
    prefix: &[u8],
    samples: &[Sample],
    (care, laced): (Care, bool),
) -> Result<bool, IndexError> {
    let laced = laced && coding.reorders();
    let watch = if laced { Some(Watch { earlier: None }) } else { Watch::of(coding, samples) };
    let Some(mut watch) = watch else { return Ok(false) };
    let first = hidden::opening(samples);
    let (samples, ahead) = match care {
        Care::Usual if !laced => {
            (&first[..first.len().min(LOOKED_AT)], first.iter().take(LOOKED_AT).map(|sample| sample.size as usize).sum())
        }
        _ => (samples, hidden::STRIDE),
    };
    for sample in samples {
        let place = look(window, prefix, sample, beginnings::Stretch::Ahead(ahead), &|head| coding.place(head))?;
        if watch.contradicts(place) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Watches samples in decode order for a picture that is shown before an earlier one.
struct Watch {
    earlier: Option<Place>,
}

impl Watch {
    /// `None` where timestamps and pictures cannot contradict each other.
    fn of(coding: Coding<'_>, samples: &[Sample]) -> Option<Self> {
        let ascend = samples.windows(2).all(|pair| pair[0].pts <= pair[1].pts);
        (ascend && coding.reorders()).then_some(Self { earlier: None })
    }

    fn contradicts(&mut self, place: Option<Place>) -> bool {
        let before = place.is_some_and(|place| place.is_before(self.earlier));
        self.earlier = place.or(self.earlier);
        before
    }
}

impl SampleTable {
    /// Judges samples, handed in in decode order, by whether their pictures are shown in another order than the table says.
    pub fn order_judge(&self) -> impl FnMut(&[u8]) -> bool {
        let mut watch = Watch::of(self.coding(), &self.samples);
        move |body| {
            let Some(watch) = &mut watch else { return false };
            let place =
                if self.prefix.is_empty() { self.coding().place(body) } else { self.coding().place(&[&self.prefix, body].concat()) };
            watch.contradicts(place)
        }
    }
}

/// A stretch of media that an edit list shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    /// First timestamp shown.
    pub(super) start: i64,
    /// First timestamp no longer shown; `None` for all the rest.
    pub(super) end: Option<i64>,
    /// The timestamp that would be shown at time 0.
    pub(super) origin: i64,
}

/// What of `order` is shown when only `stretches` are, one after the other.
pub(super) fn edited(order: &[u32], samples: &[Sample], stretches: &[Stretch]) -> (Vec<u32>, Vec<Edit>) {
    let mut shown = Vec::with_capacity(order.len());
    let mut edits = Vec::new();
    for stretch in stretches {
        edits.push(Edit { first: shown.len() as u32, origin: stretch.origin });
        let inside = |pts: i64| pts >= stretch.start && stretch.end.is_none_or(|end| pts < end);
        shown.extend(order.iter().filter(|&&at| inside(samples[at as usize].pts)));
    }
    (shown, edits)
}
