//! The pictures at the beginning of a stream that was cut out of a longer one: what refers to pictures before the cut is not
//! shown by players, and ffmpeg does not count it.

use super::beginnings::{Stretch, look};
use super::packet::{Coding, Opening, Opens};
use super::window::Window;
use super::{Codec, IndexError, Sample};

/// Bytes of the first sample that are looked at. They mostly come along with what is read anyway.
pub(super) const FIRST: usize = 4 << 10;
/// So many samples are looked at, at most, for the first that decoding can begin with.
const MOST: usize = 300;
/// So many behind it may still be shown before it.
const LEADING: usize = 32;
/// Read at once for them.
const STRIDE: usize = 128 << 10;

/// For the first of `samples`, in decode order, whether decoders drop their pictures; empty where they drop none. Looks at the
/// first sample, and at more only where that leaves doubt.
pub(super) fn dropped(window: &mut Window<'_>, coding: Coding<'_>, prefix: &[u8], samples: &[Sample]) -> Result<Vec<bool>, IndexError> {
    let none = Ok(Vec::new());
    let Some(first) = samples.iter().position(|sample| sample.size > 0) else { return none };
    match look(window, prefix, &samples[first], Stretch::Only(FIRST), &|head| coding.opening(head))? {
        None | Some(Opening { opens: Opens::Whole, .. }) => return none,
        Some(_) => {}
    }
    let mut opening = |at: usize| look(window, prefix, &samples[at], Stretch::Ahead(STRIDE), &|head| coding.opening(head));
    let mut dropped = vec![false; first];
    // Pictures that others refer to until all is refreshed.
    let mut refresh = None;
    for at in first..samples.len().min(first + MOST) {
        let Some(Opening { opens, refers }) = opening(at)? else {
            dropped.push(false);
            continue;
        };
        refresh = match (refresh, opens) {
            (Some(left), _) if refers => Some(left - 1),
            (None, Opens::Later(left)) => Some(left),
            (refresh, _) => refresh,
        };
        match opens {
            Opens::Whole => return Ok(dropped),
            Opens::Open => return leading(&mut opening, samples, at, dropped),
            _ if refresh == Some(0) => return leading(&mut opening, samples, at, dropped),
            // MPEG-4 shows what follows the first picture, whatever that was.
            _ if coding.codec == Codec::Mpeg4 => return Ok(Vec::new()),
            Opens::Leading => dropped.push(true),
            // H.265 shows what it makes of missing pictures.
            Opens::Later(_) | Opens::Other => dropped.push(coding.codec != Codec::H265),
        }
    }
    if refresh.is_some() && samples.len() <= first + MOST {
        return Err(IndexError::Unsupported(
            "it was cut out of a longer video, and none of its pictures is complete without that".to_owned(),
        ));
    }
    // Without any beginning it is better to show what there is.
    none
}

/// Adds what is dropped behind `at`, with which decoding begins, to what is before.
fn leading(
    opening: &mut dyn FnMut(usize) -> Result<Option<Opening>, IndexError>,
    samples: &[Sample],
    at: usize,
    mut dropped: Vec<bool>,
) -> Result<Vec<bool>, IndexError> {
    dropped.push(false);
    for behind in at + 1..samples.len().min(at + LEADING) {
        let earlier = samples[behind].pts < samples[at].pts;
        let found = if earlier { opening(behind)? } else { None };
        match found.map(|found| found.opens) {
            Some(Opens::Whole | Opens::Open) => break,
            Some(Opens::Leading) => dropped.push(true),
            _ => dropped.push(false),
        }
    }
    Ok(dropped)
}
