//! What an H.264 sample says of its picture (ITU-T H.264, 7.3).

use super::bits::Bits;
use super::nal::plain;
use super::{Begins, Opening, Opens, Place};

/// Bytes of a slice's header or a parameter set that are looked at.
const MOST: usize = 256;
/// Bytes of messages that are looked at; encoders write their settings among them.
const MESSAGES: usize = 4096;

/// What a sequence parameter set says that matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sequence {
    /// Pictures that others may refer to at a time.
    pub(super) references: u32,
    /// Whether pictures may be shown in another order than they are coded in.
    pub(super) reorders: bool,
    /// What stands in a slice's header before the picture's place in the order.
    header: Header,
}

/// Lengths of fields in bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Header {
    separate_planes: bool,
    frame_number: u32,
    /// 0 where the order is not counted in the slices.
    order: u32,
    frames_only: bool,
}

impl Sequence {
    /// Of the first sequence parameter set among `units`.
    pub(super) fn of<'a>(units: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let unit = units.into_iter().find(|unit| unit[0] & 31 == 7)?;
        let unit = plain(unit.get(1..)?, MOST);
        let mut bits = Bits::new(&unit);
        let profile = bits.number(8)?;
        bits.skip(16);
        bits.ue()?;
        let mut header = Header::default();
        if [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135].contains(&profile) {
            header.separate_planes = chroma_and_scaling(&mut bits)?;
        }
        header.frame_number = bits.ue()?.min(12) + 4;
        let order = bits.ue()?;
        match order {
            0 => header.order = bits.ue()?.min(12) + 4,
            1 => {
                bits.skip(1);
                bits.se()?;
                bits.se()?;
                for _ in 0..bits.ue()?.min(255) {
                    bits.se()?;
                }
            }
            _ => {}
        }
        let references = bits.ue()?;
        let may_reorder = order != 2 && profile != 66;
        bits.skip(1);
        bits.ue()?;
        bits.ue()?;
        header.frames_only = bits.bit()?;
        let reorders = may_reorder && most_reordered(&mut bits, header.frames_only) != Some(0);
        Some(Self { references, reorders, header })
    }
}

/// `max_num_reorder_frames` (E.1.1), if it is said; the bits are behind `frame_mbs_only_flag`.
fn most_reordered(bits: &mut Bits<'_>, frames_only: bool) -> Option<u32> {
    bits.skip(if frames_only { 1 } else { 2 });
    if bits.bit()? {
        for _ in 0..4 {
            bits.ue()?;
        }
    }
    if !bits.bit()? {
        return None;
    }
    if bits.bit()? && bits.number(8)? == 255 {
        bits.skip(32);
    }
    if bits.bit()? {
        bits.skip(1);
    }
    if bits.bit()? {
        bits.skip(4);
        if bits.bit()? {
            bits.skip(24);
        }
    }
    if bits.bit()? {
        bits.ue()?;
        bits.ue()?;
    }
    if bits.bit()? {
        bits.skip(65);
    }
    let mut buffered = false;
    for _ in 0..2 {
        if bits.bit()? {
            buffered = true;
            let count = bits.ue()?.min(31) + 1;
            bits.skip(8);
            for _ in 0..count {
                bits.ue()?;
                bits.ue()?;
                bits.skip(1);
            }
            bits.skip(20);
        }
    }
    bits.skip(if buffered { 2 } else { 1 });
    if !bits.bit()? {
        return None;
    }
    bits.skip(1);
    for _ in 0..4 {
        bits.ue()?;
    }
    bits.ue()
}

/// Where the picture of these NAL units stands in the order of showing.
pub(super) fn place<'a>(mut units: impl Iterator<Item = &'a [u8]>, sequence: Sequence) -> Option<Place> {
    let unit = units.find(|unit| matches!(unit[0] & 31, 1 | 2 | 5))?;
    if unit[0] & 31 == 5 {
        return Some(Place::First);
    }
    let Header { separate_planes, frame_number, order, frames_only } = sequence.header;
    let header = plain(&unit[1..], MOST);
    let mut bits = Bits::new(&header);
    for _ in 0..3 {
        bits.ue()?;
    }
    bits.skip(frame_number as usize + if separate_planes { 2 } else { 0 });
    if !frames_only && bits.bit()? {
        bits.skip(1);
    }
    (order > 0).then_some(Place::At { count: bits.number(order)?, bits: order })
}

/// `chroma_format_idc` up to the scaling lists (7.3.2.1.1); returns `separate_colour_plane_flag`.
fn chroma_and_scaling(bits: &mut Bits<'_>) -> Option<bool> {
    let chroma = bits.ue()?;
    let separate = chroma == 3 && bits.bit()?;
    bits.ue()?;
    bits.ue()?;
    bits.skip(1);
    if !bits.bit()? {
        return Some(separate);
    }
    for list in 0..if chroma == 3 { 12 } else { 8 } {
        if !bits.bit()? {
            continue;
        }
        let (mut last, mut next) = (8, 8);
        for _ in 0..if list < 6 { 16 } else { 64 } {
            if next != 0 {
                next = (last + bits.se()?).rem_euclid(256);
            }
            last = if next == 0 { last } else { next };
        }
    }
    Some(separate)
}

/// Whether decoding can begin with the picture of these NAL units, of which the last may be cut short; `None` where its slices
/// are not among them.
pub(super) fn begins<'a>(units: impl Iterator<Item = &'a [u8]>, sequence: Option<Sequence>) -> Option<Begins> {
    let mut recovery = None;
    let mut found = None;
    for unit in units {
        match unit[0] & 31 {
            5 => return Some(Begins::Here),
            6 => recovery = recovery_point(&unit[1..]).or(recovery),
            1 | 2 => {
                let header = plain(&unit[1..], MOST);
                let mut bits = Bits::new(&header);
                let intra = bits.ue().and_then(|_| bits.ue()).is_some_and(|kind| matches!(kind % 5, 2 | 4));
                if !intra {
                    return Some(Begins::Not);
                }
                found = Some(Begins::Intra);
            }
            _ => {}
        }
    }
    // What follows can refer to nothing else.
    let alone = sequence.is_some_and(|sequence| sequence.references <= 1);
    found.map(|intra| if recovery == Some(0) || alone { Begins::Here } else { intra })
}

/// What the picture of these NAL units means for the beginning of a stream.
pub(super) fn opening<'a>(units: impl Iterator<Item = &'a [u8]>) -> Option<Opening> {
    let mut recovery = None;
    for unit in units {
        match unit[0] & 31 {
            5 => return Some(Opening { opens: Opens::Whole, refers: true }),
            6 => recovery = recovery_point(&unit[1..]).or(recovery),
            1 | 2 => {
                // Whatever is shown before the first picture that came out right is dropped.
                let opens = match recovery {
                    None => Opens::Leading,
                    Some(0) => Opens::Open,
                    Some(later) => Opens::Later(later),
                };
                return Some(Opening { opens, refers: unit[0] >> 5 & 3 > 0 });
            }
            _ => {}
        }
    }
    None
}

/// `recovery_frame_cnt` among messages (D.1.8): from so many pictures further on everything is right.
fn recovery_point(messages: &[u8]) -> Option<u32> {
    let messages = plain(messages, MESSAGES);
    let mut rest = &messages[..];
    loop {
        let (kind, after) = in_steps(rest)?;
        let (size, body) = in_steps(after)?;
        if kind == 6 {
            return Bits::new(body).ue();
        }
        rest = body.get(size..)?;
    }
}

/// A number as the sum of bytes up to the first that is not 255, and what follows.
fn in_steps(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let full = bytes.iter().take_while(|&&byte| byte == 255).count();
    let (&last, rest) = bytes.get(full..)?.split_first()?;
    Some((255 * full + usize::from(last), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sequence parameter set of profile 66 with 1 or 2 references.
    fn sequence(references: u8) -> Vec<u8> {
        // Profile, constraints, level; id 0, frame number 0, order of type 2 (011), references (010 or 011).
        let first = 0b1101_1000 | (references + 1);
        // No gaps, one macroblock each way, frames only, no cropping, nothing more.
        vec![0x67, 66, 0, 30, first, 0b0111_1000]
    }

    fn judged(units: &[&[u8]], references: u8) -> Option<Begins> {
        begins(units.iter().copied(), Sequence::of([&sequence(references)[..]]))
    }

    #[test]
    fn a_sequence_says_how_many_references_there_are() {
        let references = |unit: &[u8]| Sequence::of([unit]).map(|sequence| sequence.references);
        assert_eq!([1, 2].map(|count| references(&sequence(count))), [Some(1), Some(2)]);
        assert_eq!(references(&[0x67, 100]), None);
        assert_eq!(references(&[0x68, 100]), None);
    }

    #[test]
    fn decoding_begins_where_nothing_before_is_needed() {
        // First macroblock 0, and a slice of type 7 (I), 2 (I) or 5 (P).
        let (idr, intra, other, p) = (&[0x65, 0x88][..], &[0x41, 0b1000_1000][..], &[0x41, 0b1011_0000][..], &[0x41, 0b1001_1000][..]);
        // A message of 2 bytes, and a recovery point: at once, or 3 pictures on.
        let (at_once, later) = (&[6, 5, 2, 9, 9, 6, 1, 0x84, 0x80][..], &[6, 6, 1, 0b0010_0000, 0x80][..]);
        assert_eq!(judged(&[idr], 2), Some(Begins::Here));
        assert_eq!(judged(&[p], 1), Some(Begins::Not));
        assert_eq!(judged(&[intra], 2), Some(Begins::Intra));
        assert_eq!(judged(&[other], 2), Some(Begins::Intra));
        assert_eq!(judged(&[intra], 1), Some(Begins::Here));
        assert_eq!(judged(&[at_once, intra], 2), Some(Begins::Here));
        assert_eq!(judged(&[later, intra], 2), Some(Begins::Intra));
        assert_eq!(judged(&[at_once, intra, p], 2), Some(Begins::Not));
        assert_eq!(judged(&[at_once], 2), None);
    }

    #[test]
    fn a_stream_opens_with_an_idr_or_a_recovery_point() {
        let found = |units: &[&[u8]]| opening(units.iter().copied()).map(|opening| (opening.opens, opening.refers));
        assert_eq!(found(&[&[9, 0x10], &[0x65, 0x88]]), Some((Opens::Whole, true)));
        assert_eq!(found(&[&[6, 6, 1, 0x84, 0x80], &[0x41, 0x88]]), Some((Opens::Open, true)));
        assert_eq!(found(&[&[6, 6, 1, 0b0010_0000, 0x80], &[0x41, 0x98]]), Some((Opens::Later(3), true)));
        assert_eq!(found(&[&[0x01, 0x98]]), Some((Opens::Leading, false)));
        assert_eq!(found(&[&[0x67, 1]]), None);
    }

    #[test]
    fn a_sequence_says_whether_pictures_are_reordered() {
        // Of x264, with and without B pictures.
        let with: &[u8] =
            &[0x67, 0xf4, 0, 0x0b, 0x91, 0x9b, 0x28, 0x51, 0xb6, 2, 0x20, 0, 0, 3, 0, 0x20, 0, 0, 6, 0x41, 0xe2, 0x85, 0x32, 0xc0];
        let without: &[u8] =
            &[0x67, 0xf4, 0, 0x0b, 0x91, 0x96, 0x40, 0xa3, 0x6c, 4, 0x40, 0, 0, 3, 0, 0x40, 0, 0, 0x0c, 0x83, 0xc5, 0x0a, 0x92];
        let found = Sequence::of([with]).unwrap();
        assert_eq!((found.reorders, found.header.frame_number, found.header.order, found.header.frames_only), (true, 4, 6, true));
        assert!(!Sequence::of([without]).unwrap().reorders);
        // First macroblock 0, type B (6), set 0, frame number 2, 6 pictures on.
        let slice: &[u8] = &[1, 0b1001_1110, 0b0100_0011, 0b0000_0000];
        assert_eq!(place([slice].into_iter(), found), Some(Place::At { count: 6, bits: 6 }));
        assert_eq!(place([&[0x65, 0x88][..]].into_iter(), found), Some(Place::First));
        for cut in 1..with.len() {
            let _ = Sequence::of([&with[..cut]]);
        }
    }
}
