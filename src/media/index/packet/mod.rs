//! What a sample's own bytes say of the pictures in it. Containers say so too, but writers get it wrong: a decoder goes by
//! the bytes.

mod av1;
mod bits;
mod h264;
mod mpeg;
pub(in crate::media) mod nal;
mod vpx;

use super::{Codec, StreamFormat};

/// Bytes at the start of a sample that mostly say all there is to know of it.
pub(super) const HEAD: usize = 512;

/// Whether decoding can begin with a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begins {
    /// With it, and all that follow come out right.
    Here,
    /// It comes out right itself, but what follows may refer to what lies before it.
    Intra,
    /// It refers to others.
    Not,
}

/// What a sample means for a stream that begins with it, or shortly before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opens {
    /// From here on nothing refers to what lies before.
    Whole,
    /// Only what is shown before it, though stored behind it, does.
    Open,
    /// From so many pictures on that others refer to, nothing does.
    Later(u32),
    /// Shown before a picture that decoding begins with, it is dropped.
    Leading,
    /// None of these.
    Other,
}

/// [`Opens`], and whether other pictures refer to this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Opening {
    pub(super) opens: Opens,
    pub(super) refers: bool,
}

/// How samples are coded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Coding<'a> {
    pub(super) codec: Codec,
    pub(super) format: StreamFormat,
    pub(super) data: Option<&'a [u8]>,
}

impl Coding<'_> {
    /// How many pictures come out of a sample of `size` bytes that begins with `head`; 1 for every codec whose samples are one
    /// picture each. `None` where more of the sample has to be seen.
    pub(super) fn shown(&self, head: &[u8], size: u64) -> Option<usize> {
        match self.codec {
            Codec::Vp8 => Some(vpx::vp8(head)),
            // How a packet is divided stands at its end.
            Codec::Vp9 => (head.len() as u64 == size).then(|| vpx::vp9(head)),
            Codec::Av1 => av1::shown(self.data, head, size),
            _ => Some(1),
        }
    }

    /// Whether decoding can begin with a sample that begins with `head`. `None` where more of it has to be seen, or where its
    /// codec is not read here.
    pub(super) fn begins(&self, head: &[u8]) -> Option<Begins> {
        match (self.codec, nal::length_size(self.format, self.data)) {
            (Codec::H264, Some(prefix)) => {
                let sequence = h264::Sequence::of(nal::of_avcc(self.data.unwrap_or_default()));
                h264::begins(nal::begun(head, prefix), sequence)
            }
            (Codec::H264, None) => h264::begins(nal::between_start_codes(head), h264::Sequence::of(nal::between_start_codes(head))),
            (Codec::H265, Some(prefix)) => h265(nal::begun(head, prefix)),
            (Codec::H265, None) => h265(nal::between_start_codes(head)),
            (Codec::Vp8, _) => head.first().map(|tag| key(tag & 1 == 0)),
            (Codec::Vp9, _) => vpx::is_key(head).map(key),
            (Codec::Av1, _) => av1::is_key(head).map(key),
            (Codec::Mpeg4, _) => mpeg::begins_mpeg4(head),
            (Codec::Mpeg1 | Codec::Mpeg2, _) => mpeg::begins_mpeg2(head),
            (Codec::H263 | Codec::Mjpeg | Codec::ProRes(_), _) => None,
        }
    }

    /// What a sample that begins with `head` means for the beginning of a stream. `None` where more of it has to be seen, or where
    /// its codec drops nothing.
    pub(super) fn opening(&self, head: &[u8]) -> Option<Opening> {
        let alone = |opens| Opening { opens, refers: true };
        match (self.codec, nal::length_size(self.format, self.data)) {
            (Codec::H264, Some(prefix)) => h264::opening(nal::begun(head, prefix)),
            (Codec::H264, None) => h264::opening(nal::between_start_codes(head)),
            (Codec::H265, Some(prefix)) => h265_kind(nal::begun(head, prefix)).map(h265_opens).map(alone),
            (Codec::H265, None) => h265_kind(nal::between_start_codes(head)).map(h265_opens).map(alone),
            (Codec::Mpeg4, _) => mpeg::mpeg4_opens(head).map(alone),
            (Codec::Mpeg1 | Codec::Mpeg2, _) => mpeg::mpeg2_opens(head).map(alone),
            _ => None,
        }
    }
}

fn key(is_key: bool) -> Begins {
    if is_key { Begins::Here } else { Begins::Not }
}

/// Those of random access points are 16 to 23 (ITU-T H.265, 7.4.2.2).
fn h265<'a>(units: impl Iterator<Item = &'a [u8]>) -> Option<Begins> {
    h265_kind(units).map(|kind| key((16..24).contains(&kind)))
}

/// The type of the first slice.
fn h265_kind<'a>(mut units: impl Iterator<Item = &'a [u8]>) -> Option<u8> {
    units.find_map(|unit| Some(unit[0] >> 1 & 63).filter(|kind| *kind < 32))
}

/// Leading pictures that are skipped (8, 9), and the random access points that they lead up to (16 to 18, 21).
fn h265_opens(kind: u8) -> Opens {
    match kind {
        8 | 9 => Opens::Leading,
        16..=18 | 21 => Opens::Open,
        19 | 20 => Opens::Whole,
        _ => Opens::Other,
    }
}

impl Codec {
    /// Whether encoders hide pictures in the stream that only others refer to.
    pub(super) fn hides(&self) -> bool {
        matches!(self, Self::Vp8 | Self::Vp9 | Self::Av1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h265_begins_with_a_random_access_point() {
        let coding = |head: &[u8]| Coding { codec: Codec::H265, format: StreamFormat::ByteStream, data: None }.begins(head);
        assert_eq!(coding(&[0, 0, 1, 0x46, 1, 0x50, 0, 0, 1, 21 << 1, 1]), Some(Begins::Here));
        assert_eq!(coding(&[0, 0, 1, 0x46, 1, 0x50, 0, 0, 1, 1 << 1, 1]), Some(Begins::Not));
        assert_eq!(coding(&[0, 0, 1, 0x46, 1, 0x50]), None);
    }
}
