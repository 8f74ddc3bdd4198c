//! What a sample's own bytes say of the pictures in it. Containers say so too, but writers get it wrong: a decoder goes by
//! the bytes.

mod av1;
mod vpx;

use super::Codec;

/// Bytes at the start of a sample that mostly say all there is to know of it.
pub(super) const HEAD: usize = 512;

/// How many pictures come out of a sample of `size` bytes that begins with `head`; 1 for every codec whose samples are one
/// picture each. `None` where more of the sample has to be seen.
pub(super) fn shown(codec: Codec, codec_data: Option<&[u8]>, head: &[u8], size: u64) -> Option<usize> {
    match codec {
        Codec::Vp8 => Some(vpx::vp8(head)),
        // How a packet is divided stands at its end.
        Codec::Vp9 => (head.len() as u64 == size).then(|| vpx::vp9(head)),
        Codec::Av1 => av1::shown(codec_data, head, size),
        _ => Some(1),
    }
}

impl Codec {
    /// Whether encoders hide pictures in the stream that only others refer to.
    pub(super) fn hides(&self) -> bool {
        matches!(self, Self::Vp8 | Self::Vp9 | Self::Av1)
    }
}
