//! What an H.265 sample says of its picture (ITU-T H.265, 7.3).

use super::bits::Bits;
use super::nal::plain;
use super::{Begins, Opens, Place, key};

/// Bytes of a slice's header or a parameter set that are looked at.
const MOST: usize = 256;

/// What the parameter sets say that matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sequence {
    /// Whether pictures may be shown in another order than they are coded in.
    pub(super) reorders: bool,
    separate_planes: bool,
    /// Bits of a picture's place in the order.
    order: u32,
    /// Bits in a slice's header that mean nothing.
    extra: usize,
    /// Whether a slice's header says that the picture is not given out.
    says_output: bool,
}

impl Sequence {
    /// Of the first sequence and picture parameter sets among `units`.
    pub(super) fn of(units: &[&[u8]]) -> Option<Self> {
        let find = |kind: u8| units.iter().find(|unit| unit[0] >> 1 == kind).and_then(|unit| unit.get(2..)).map(|unit| plain(unit, MOST));
        let (sequence, picture) = (find(33)?, find(34)?);
        let mut bits = Bits::new(&sequence);
        bits.skip(4);
        let layers = bits.number(3)? as usize;
        bits.skip(1);
        profile(&mut bits, layers)?;
        bits.ue()?;
        let separate_planes = bits.ue()? == 3 && bits.bit()?;
        bits.ue()?;
        bits.ue()?;
        if bits.bit()? {
            for _ in 0..4 {
                bits.ue()?;
            }
        }
        bits.ue()?;
        bits.ue()?;
        let order = bits.ue()?.min(12) + 4;
        let mut reordered = 0;
        for _ in if bits.bit()? { 0 } else { layers }..=layers {
            bits.ue()?;
            reordered = bits.ue()?;
            bits.ue()?;
        }
        let mut bits = Bits::new(&picture);
        bits.ue()?;
        bits.ue()?;
        bits.skip(1);
        let says_output = bits.bit()?;
        Some(Self { reorders: reordered > 0, separate_planes, order, extra: bits.number(3)? as usize, says_output })
    }
}

/// Goes over `profile_tier_level` (7.3.3).
fn profile(bits: &mut Bits<'_>, layers: usize) -> Option<()> {
    bits.skip(96);
    let mut present = Vec::new();
    for _ in 0..layers {
        present.push((bits.bit()?, bits.bit()?));
    }
    if layers > 0 {
        bits.skip(2 * (8 - layers));
    }
    for (profile, level) in present {
        bits.skip(if profile { 88 } else { 0 } + if level { 8 } else { 0 });
    }
    Some(())
}

/// Where the picture of these NAL units stands in the order of showing.
pub(super) fn place<'a>(mut units: impl Iterator<Item = &'a [u8]>, sequence: Sequence) -> Option<Place> {
    let unit = units.find(|unit| unit[0] >> 1 & 63 < 32)?;
    let kind = unit[0] >> 1 & 63;
    if matches!(kind, 19 | 20) {
        return Some(Place::First);
    }
    let header = plain(unit.get(2..)?, MOST);
    let mut bits = Bits::new(&header);
    // The first slice of a picture says so.
    if !bits.bit()? {
        return None;
    }
    bits.skip(usize::from((16..24).contains(&kind)));
    bits.ue()?;
    bits.skip(sequence.extra);
    bits.ue()?;
    bits.skip(usize::from(sequence.says_output) + if sequence.separate_planes { 2 } else { 0 });
    Some(Place::At { count: bits.number(sequence.order)?, bits: sequence.order })
}

/// Those of random access points are 16 to 23 (7.4.2.2).
pub(super) fn begins<'a>(units: impl Iterator<Item = &'a [u8]>) -> Option<Begins> {
    kind(units).map(|kind| key((16..24).contains(&kind)))
}

/// Leading pictures that are skipped (8, 9), and the random access points that they lead up to (16 to 18, 21).
pub(super) fn opens<'a>(units: impl Iterator<Item = &'a [u8]>) -> Option<Opens> {
    kind(units).map(|kind| match kind {
        8 | 9 => Opens::Leading,
        16..=18 | 21 => Opens::Open,
        19 | 20 => Opens::Whole,
        _ => Opens::Other,
    })
}

/// The type of the first slice.
fn kind<'a>(mut units: impl Iterator<Item = &'a [u8]>) -> Option<u8> {
    units.find_map(|unit| Some(unit[0] >> 1 & 63).filter(|kind| *kind < 32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_says_where_decoding_can_begin() {
        let slice = |kind: u8| [kind << 1, 1, 0x80];
        let units = |kind: u8| [[0x46, 1, 0x50], slice(kind)];
        let judged = |kind: u8| {
            let units = units(kind);
            (begins(units.iter().map(|unit| &unit[..])), opens(units.iter().map(|unit| &unit[..])))
        };
        assert_eq!(judged(1), (Some(Begins::Not), Some(Opens::Other)));
        assert_eq!(judged(8), (Some(Begins::Not), Some(Opens::Leading)));
        assert_eq!(judged(21), (Some(Begins::Here), Some(Opens::Open)));
        assert_eq!(judged(19), (Some(Begins::Here), Some(Opens::Whole)));
        assert_eq!(begins([&[0x46, 1, 0x50][..]].into_iter()), None);
    }

    #[test]
    fn parameter_sets_say_whether_and_how_pictures_are_reordered() {
        // Of x265, with and without B pictures; the order is counted in 8 bits.
        let with: [&[u8]; 2] = [
            &[
                0x42, 1, 1, 4, 8, 0, 0, 3, 0, 0x9e, 8, 0, 0, 3, 0, 0, 0x1e, 0x90, 2, 0x84, 0x0c, 0x2c, 0xb2, 0xb2, 0xc9, 0x26, 0x57, 0x80,
                0xb7, 2, 2, 0, 4, 0, 0, 3, 0, 4, 0, 0, 3, 0, 0x64, 0x20,
            ],
            &[0x44, 1, 0xc1, 0x72, 0x86, 0x0c, 0x46, 0x24],
        ];
        let without: [&[u8]; 2] = [
            &[
                0x42, 1, 1, 4, 8, 0, 0, 3, 0, 0x9e, 8, 0, 0, 3, 0, 0, 0x1e, 0x90, 2, 0x84, 0x0c, 0x2c, 0xb2, 0x54, 0x92, 0x65, 0x78, 0x0b,
                0x40, 0x40, 0, 0, 3, 0, 0x40, 0, 0, 6, 0x42,
            ],
            &[0x44, 1, 0xc1, 0x72, 0x86, 0x0c, 0x46, 0x24],
        ];
        let found = Sequence::of(&with).unwrap();
        assert_eq!((found.reorders, found.order), (true, 8));
        assert!(!Sequence::of(&without).unwrap().reorders);
        // The first slice of picture set 0, of type B (0), 5 pictures on.
        let slice: &[u8] = &[2, 1, 0b1110_0000, 0b1010_0000];
        assert_eq!(place([slice].into_iter(), found), Some(Place::At { count: 5, bits: 8 }));
        assert_eq!(place([&[20 << 1, 1, 0x80][..]].into_iter(), found), Some(Place::First));
        for cut in 0..with[0].len() {
            let _ = Sequence::of(&[&with[0][..cut.max(1)], with[1]]);
        }
    }
}
