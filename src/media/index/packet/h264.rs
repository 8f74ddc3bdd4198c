//! What an H.264 sample says of its picture (ITU-T H.264, 7.3).

use super::bits::Bits;
use super::nal::plain;
use super::{Begins, Opening, Opens};

/// Bytes of a slice's header or a parameter set that are looked at.
const MOST: usize = 256;
/// Bytes of messages that are looked at; encoders write their settings among them.
const MESSAGES: usize = 4096;

/// What a sequence parameter set says that matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sequence {
    /// Pictures that others may refer to at a time.
    pub(super) references: u32,
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
        if [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135].contains(&profile) {
            chroma_and_scaling(&mut bits)?;
        }
        let _frame_number = bits.ue()?;
        match bits.ue()? {
            0 => drop(bits.ue()?),
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
        Some(Self { references: bits.ue()? })
    }
}

/// `chroma_format_idc` up to the scaling lists (7.3.2.1.1).
fn chroma_and_scaling(bits: &mut Bits<'_>) -> Option<()> {
    let chroma = bits.ue()?;
    if chroma == 3 {
        bits.skip(1);
    }
    bits.ue()?;
    bits.ue()?;
    bits.skip(1);
    if !bits.bit()? {
        return Some(());
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
    Some(())
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

    /// A sequence parameter set of profile 66 with so many references, `ue(v)` in three bits.
    fn sequence(references: u8) -> Vec<u8> {
        // Profile, constraints, level; id 0, frame number 0, order count of type 2 (011), then the references.
        let code = [0b0001_0000, 0b1000, 0b1100][usize::from(references)];
        vec![0x67, 66, 0, 30, 0b1101_1000 | code >> 2, code << 6 | 0x3f]
    }

    fn judged(units: &[&[u8]], references: u8) -> Option<Begins> {
        begins(units.iter().copied(), Sequence::of([&sequence(references)[..]]))
    }

    #[test]
    fn a_sequence_says_how_many_references_there_are() {
        assert_eq!(
            [0, 1, 2].map(|references| Sequence::of([&sequence(references)[..]])),
            [0, 1, 2].map(|references| Some(Sequence { references }))
        );
        assert_eq!(Sequence::of([&[0x67, 100][..]]), None);
        assert_eq!(Sequence::of([&[0x68, 100][..]]), None);
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
}
