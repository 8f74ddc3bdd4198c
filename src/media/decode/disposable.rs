//! Coded pictures that no other picture refers to, told from their NAL unit headers.
//!
//! Containers say so too (`sdtp`, sample flags), but writers get it wrong; a header that is wrong would break every player.

use crate::media::index::packet::nal::{length_size, units};
use crate::media::index::{Codec, SampleTable};

/// Tells which samples of a table can be left out without harm to the others.
#[derive(Debug, Clone, Copy)]
pub(super) enum Judge {
    /// H.264, with so many bytes of length before each NAL unit.
    H264(usize),
    /// H.265, likewise.
    H265(usize),
    /// Every sample counts.
    None,
}

impl Judge {
    pub(super) fn of(table: &SampleTable) -> Self {
        match (table.codec, length_size(table.stream_format, table.codec_data.as_deref())) {
            (Codec::H264, Some(prefix)) => Self::H264(prefix),
            (Codec::H265, Some(prefix)) => Self::H265(prefix),
            _ => Self::None,
        }
    }

    /// Whether a sample is judged by what lies behind it.
    pub(super) fn needs_all(self) -> bool {
        matches!(self, Self::H265(_))
    }

    /// For each of `samples`, in decode order: whether it can be left out.
    pub(super) fn disposable(self, samples: &[&[u8]]) -> Vec<bool> {
        match self {
            Self::H264(prefix) => samples.iter().map(|sample| h264(sample, prefix)).collect(),
            Self::H265(prefix) => h265(samples, prefix),
            Self::None => vec![false; samples.len()],
        }
    }

    /// The temporal layer of a sample: what is disposable below it was judged without knowing of it.
    pub(super) fn layer(self, sample: &[u8]) -> u8 {
        match self {
            Self::H265(prefix) => top_of(&[sample], prefix),
            _ => 0,
        }
    }
}

/// Whether the NAL units of a sample, if that is what it consists of, fill it exactly. One that was damaged rarely does.
pub(super) fn sound(table: &SampleTable, sample: &[u8]) -> bool {
    length_size(table.stream_format, table.codec_data.as_deref())
        .is_none_or(|prefix| units(sample, prefix).map(|unit| unit.len() + prefix).sum::<usize>() == sample.len())
}

/// `nal_ref_idc` is 0 in every slice (H.264, 7.4.1).
fn h264(sample: &[u8], prefix: usize) -> bool {
    let mut slices = units(sample, prefix).filter_map(|unit| unit.first()).filter(|header| (1..=5).contains(&(*header & 31))).peekable();
    slices.peek().is_some() && slices.all(|header| header >> 5 & 3 == 0)
}

/// A sub-layer non-reference picture (H.265, 7.4.2.2) of the highest temporal layer there is: those of lower layers may be
/// referred to from above.
fn h265(samples: &[&[u8]], prefix: usize) -> Vec<bool> {
    let top = top_of(samples, prefix);
    let alone = |sample: &&[u8]| {
        let mut all = slices(sample, prefix).peekable();
        all.peek().is_some() && all.all(|(kind, layer)| kind < 16 && kind % 2 == 0 && layer == top)
    };
    samples.iter().map(alone).collect()
}

fn top_of(samples: &[&[u8]], prefix: usize) -> u8 {
    samples.iter().flat_map(|sample| slices(sample, prefix)).map(|(_, layer)| layer).max().unwrap_or(0)
}

/// Type and `nuh_temporal_id_plus1` of the slices of an H.265 sample.
fn slices(sample: &[u8], prefix: usize) -> impl Iterator<Item = (u8, u8)> {
    units(sample, prefix).filter(|unit| unit.len() >= 2).map(|unit| (unit[0] >> 1 & 63, unit[1] & 7)).filter(|(kind, _)| *kind < 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(units: &[&[u8]]) -> Vec<u8> {
        units.iter().flat_map(|unit| [&(unit.len() as u16).to_be_bytes()[..], unit].concat()).collect()
    }

    #[test]
    fn an_h264_picture_is_disposable_when_no_slice_is_a_reference() {
        let (sei, parameter, slice_ref, slice_non) = (&[6_u8, 1][..], &[0x67_u8, 1][..], &[0x41_u8, 1][..], &[1_u8, 1][..]);
        assert!(h264(&sample(&[sei, slice_non, slice_non]), 2));
        assert!(!h264(&sample(&[slice_non, slice_ref]), 2));
        assert!(!h264(&sample(&[sei, parameter]), 2));
        assert!(!h264(&[0, 9, 1], 2), "a length beyond the end");
    }

    #[test]
    fn an_h265_picture_is_disposable_only_in_the_highest_temporal_layer() {
        let unit = |kind: u8, layer: u8| vec![kind << 1, layer + 1, 0];
        let samples: Vec<Vec<u8>> =
            [unit(19, 0), unit(1, 0), unit(0, 0), unit(0, 1), unit(1, 1), unit(8, 1)].iter().map(|u| sample(&[u])).collect();
        let samples: Vec<&[u8]> = samples.iter().map(Vec::as_slice).collect();
        assert_eq!(h265(&samples, 2), [false, false, false, true, false, true]);
        assert_eq!(h265(&samples[..3], 2), [false, false, true]);
    }
}
