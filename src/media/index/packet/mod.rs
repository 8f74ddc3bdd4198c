//! What a sample's own bytes say of the pictures in it. Containers say so too, but writers get it wrong: a decoder goes by
//! the bytes.

mod av1;
mod bits;
mod h264;
mod h265;
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

/// Where a picture stands in the order of showing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Behind all before it; counting begins anew.
    First,
    /// By a count of so many bits that runs over.
    At { count: u32, bits: u32 },
    /// Behind those that were shown so far.
    Ahead,
    /// Before the one that was coded before it.
    Back,
}

impl Place {
    /// Whether it is shown before a picture that was coded before it.
    pub(super) fn is_before(self, earlier: Option<Place>) -> bool {
        match (self, earlier) {
            (Self::Back, _) => true,
            (Self::At { count, bits }, Some(Self::At { count: earlier, .. })) => {
                let distance = count.wrapping_sub(earlier) & ((1 << bits) - 1);
                distance >= 1 << (bits - 1)
            }
            // Where counting begins anew it begins with 0.
            (Self::At { count, bits }, Some(Self::First)) => count >= 1 << (bits - 1),
            _ => false,
        }
    }
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
            (Codec::H265, Some(prefix)) => h265::begins(nal::begun(head, prefix)),
            (Codec::H265, None) => h265::begins(nal::between_start_codes(head)),
            (Codec::Vp8, _) => head.first().map(|tag| key(tag & 1 == 0)),
            (Codec::Vp9, _) => vpx::is_key(head).map(key),
            (Codec::Av1, _) => av1::is_key(head).map(key),
            (Codec::Mpeg4, _) => mpeg::begins_mpeg4(head),
            (Codec::Mpeg1 | Codec::Mpeg2, _) => mpeg::begins_mpeg2(head),
            (Codec::H263 | Codec::Mjpeg | Codec::ProRes(_), _) => None,
        }
    }

    /// Whether pictures may be shown in another order than they are coded in, as far as the decoder's configuration says.
    pub(super) fn reorders(&self) -> bool {
        let data = self.data.unwrap_or_default();
        match self.codec {
            Codec::H264 => h264::Sequence::of(nal::of_avcc(data)).is_some_and(|sequence| sequence.reorders),
            Codec::H265 => h265::Sequence::of(&nal::of_hvcc(data)).is_some_and(|sequence| sequence.reorders),
            Codec::Mpeg1 | Codec::Mpeg2 | Codec::Mpeg4 => true,
            _ => false,
        }
    }

    /// Where a sample that begins with `head` stands in the order of showing. `None` where more of it has to be seen, or where
    /// that is not read here.
    pub(super) fn place(&self, head: &[u8]) -> Option<Place> {
        let data = self.data.unwrap_or_default();
        match (self.codec, nal::length_size(self.format, self.data)) {
            (Codec::H264, Some(prefix)) => h264::place(nal::begun(head, prefix), h264::Sequence::of(nal::of_avcc(data))?),
            (Codec::H265, Some(prefix)) => h265::place(nal::begun(head, prefix), h265::Sequence::of(&nal::of_hvcc(data))?),
            (Codec::Mpeg4, _) => mpeg::mpeg4_opens(head).map(shown_back),
            (Codec::Mpeg1 | Codec::Mpeg2, _) => mpeg::mpeg2_opens(head).map(shown_back),
            _ => None,
        }
    }

    /// What a sample that begins with `head` means for the beginning of a stream. `None` where more of it has to be seen, or where
    /// its codec drops nothing.
    pub(super) fn opening(&self, head: &[u8]) -> Option<Opening> {
        let alone = |opens| Opening { opens, refers: true };
        match (self.codec, nal::length_size(self.format, self.data)) {
            (Codec::H264, Some(prefix)) => h264::opening(nal::begun(head, prefix)),
            (Codec::H264, None) => h264::opening(nal::between_start_codes(head)),
            (Codec::H265, Some(prefix)) => h265::opens(nal::begun(head, prefix)).map(alone),
            (Codec::H265, None) => h265::opens(nal::between_start_codes(head)).map(alone),
            (Codec::Mpeg4, _) => mpeg::mpeg4_opens(head).map(alone),
            (Codec::Mpeg1 | Codec::Mpeg2, _) => mpeg::mpeg2_opens(head).map(alone),
            _ => None,
        }
    }
}

/// B pictures of MPEG are shown before the picture that was coded before them.
fn shown_back(opens: Opens) -> Place {
    if opens == Opens::Leading { Place::Back } else { Place::Ahead }
}

fn key(is_key: bool) -> Begins {
    if is_key { Begins::Here } else { Begins::Not }
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
    fn a_count_that_runs_over_goes_on() {
        let at = |count| Place::At { count, bits: 4 };
        assert!(at(2).is_before(Some(at(8))) && at(14).is_before(Some(at(1))) && at(15).is_before(Some(Place::First)));
        assert!(!at(8).is_before(Some(at(2))) && !at(1).is_before(Some(at(14))) && !at(3).is_before(Some(Place::First)));
        assert!(Place::Back.is_before(None) && !Place::First.is_before(Some(at(3))) && !at(1).is_before(None));
    }
}
