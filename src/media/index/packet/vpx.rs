//! How many pictures a VP8 or VP9 packet shows: encoders hide reference frames in the stream.

/// RFC 6386, 9.1: the frame tag's `show_frame` bit.
pub(super) fn vp8(packet: &[u8]) -> usize {
    packet.first().map_or(0, |tag| usize::from(tag >> 4 & 1))
}

/// Pictures that come out of a whole packet.
pub(super) fn vp9(packet: &[u8]) -> usize {
    superframe(packet).map_or_else(|| usize::from(vp9_shows(packet)), |frames| frames.into_iter().filter(|frame| vp9_shows(frame)).count())
}

/// The uncompressed header's `show_existing_frame` and `show_frame` (VP9 bitstream specification, 6.2).
fn vp9_shows(frame: &[u8]) -> bool {
    let Some(&[first, second]) = frame.first_chunk::<2>() else {
        // A lone byte can only say that an existing frame is shown.
        return frame.first().is_some_and(|first| first >> 6 == 2 && first & 0x08 != 0);
    };
    let bits = u16::from_be_bytes([first, second]);
    // Frame marker (2 bits) and profile (2 bits); profile 3 has a reserved bit more.
    let at = if first >> 4 & 3 == 3 { 5 } else { 4 };
    let bit = |number: u32| bits >> (15 - number) & 1 == 1;
    let (existing, show) = (bit(at), bit(at + 2));
    existing || show
}

/// Whether the first frame of a VP9 packet is a key frame; `None` where it is not there.
pub(super) fn is_key(head: &[u8]) -> Option<bool> {
    let first = *head.first()?;
    let (existing, inter) = if first >> 4 & 3 == 3 { (first & 0x04, first & 0x02) } else { (first & 0x08, first & 0x04) };
    Some(existing == 0 && inter == 0)
}

/// The frames of a superframe (Annex B): sizes lie at the packet's end, between two equal marker bytes.
fn superframe(packet: &[u8]) -> Option<Vec<&[u8]>> {
    let marker = *packet.last()?;
    if marker >> 5 != 6 {
        return None;
    }
    let (bytes, frames) = (usize::from(marker >> 3 & 3) + 1, usize::from(marker & 7) + 1);
    let index = 2 + bytes * frames;
    let (mut data, index) = packet.split_at(packet.len().checked_sub(index)?);
    if index[0] != marker {
        return None;
    }
    let mut found = Vec::with_capacity(frames);
    for size in index[1..=bytes * frames].chunks_exact(bytes) {
        let size = size.iter().rev().fold(0, |size, &byte| size << 8 | usize::from(byte));
        let (frame, rest) = data.split_at_checked(size)?;
        data = rest;
        found.push(frame);
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_frames_show_nothing() {
        // Marker 2, profile 0, not existing, key frame, shown or not.
        assert_eq!(vp9(&[0b1000_0010, 0x49]), 1);
        assert_eq!(vp9(&[0b1000_0000, 0x49]), 0);
        // Profile 2 (bits 10 swapped in the stream) and 3, which is longer by a bit.
        assert_eq!(vp9(&[0b1001_0010, 0x49]), 1);
        assert_eq!(vp9(&[0b1011_0001, 0x49]), 1);
        assert_eq!(vp9(&[0b1011_0000, 0x49]), 0);
        // An existing frame is shown.
        assert_eq!(vp9(&[0b1000_1000]), 1);
        assert_eq!(vp8(&[0x10, 0, 0]), 1);
        assert_eq!(vp8(&[0x00, 0, 0]), 0);
    }

    #[test]
    fn key_frames_say_so() {
        // Profile 0 and 3, whose header is longer by a bit; then an existing frame.
        assert_eq!(
            [0b1000_0010, 0b1000_0110, 0b1011_0001, 0b1011_0011, 0b1000_1000].map(|first| is_key(&[first])),
            [true, false, true, false, false].map(Some)
        );
        assert_eq!(is_key(&[]), None);
    }

    #[test]
    fn a_superframe_shows_what_its_frames_show() {
        let (hidden, visible) = ([0b1000_0100, 1, 2], [0b1000_0110, 1]);
        let packet = [&hidden[..], &visible, &[0b1100_0001, 3, 2, 0b1100_0001]].concat();
        assert_eq!(vp9(&packet), 1);
        let both = [&visible[..], &visible, &[0b1100_0001, 2, 2, 0b1100_0001]].concat();
        assert_eq!(vp9(&both), 2);
        // An index that does not fit is none.
        assert_eq!(vp9(&[0b1000_0010, 0b1100_0001, 200, 2, 0b1100_0001]), 1);
    }
}
