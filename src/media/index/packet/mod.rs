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
}

fn key(is_key: bool) -> Begins {
    if is_key { Begins::Here } else { Begins::Not }
}

/// By the type of the first slice (ITU-T H.265, 7.4.2.2): those of random access points are 16 to 23.
fn h265<'a>(mut units: impl Iterator<Item = &'a [u8]>) -> Option<Begins> {
    units.find_map(|unit| Some(unit[0] >> 1 & 63).filter(|kind| *kind < 32)).map(|kind| key((16..24).contains(&kind)))
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
