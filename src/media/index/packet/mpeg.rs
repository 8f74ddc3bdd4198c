//! What a picture of MPEG-1, MPEG-2 or MPEG-4 part 2 says of itself, behind its start code.

use super::{Begins, Opens};

/// Whether decoding can begin with a sample of MPEG-4 part 2: `vop_coding_type` (ISO/IEC 14496-2, 6.2.5).
pub(super) fn begins_mpeg4(head: &[u8]) -> Option<Begins> {
    behind(head, 0xb6).map(|picture| if picture[0] >> 6 == 0 { Begins::Here } else { Begins::Not })
}

/// Whether decoding can begin with a sample of MPEG-1 or -2: `picture_coding_type` (ISO/IEC 13818-2, 6.2.3).
pub(super) fn begins_mpeg2(head: &[u8]) -> Option<Begins> {
    let picture = behind(head, 0x00)?;
    picture.get(1).map(|second| if second >> 3 & 7 == 1 { Begins::Here } else { Begins::Not })
}

/// What a sample of MPEG-4 part 2 means for the beginning of a stream.
pub(super) fn mpeg4_opens(head: &[u8]) -> Option<Opens> {
    behind(head, 0xb6).map(|picture| match picture[0] >> 6 {
        0 => Opens::Open,
        2 => Opens::Leading,
        _ => Opens::Other,
    })
}

/// As [`mpeg4_opens`], of MPEG-1 or -2: a group of pictures may say that it is closed (`closed_gop`, 6.2.2.6).
pub(super) fn mpeg2_opens(head: &[u8]) -> Option<Opens> {
    let closed = behind(head, 0xb8).and_then(|group| group.get(3)).is_some_and(|byte| byte & 0x40 != 0);
    let kind = behind(head, 0x00)?.get(1)? >> 3 & 7;
    Some(match kind {
        1 if closed => Opens::Whole,
        1 => Opens::Open,
        3 => Opens::Leading,
        _ => Opens::Other,
    })
}

/// What stands behind the first start code of a kind; not empty.
fn behind(head: &[u8], kind: u8) -> Option<&[u8]> {
    let at = head.windows(4).position(|four| four == [0, 0, 1, kind])?;
    head.get(at + 4..).filter(|rest| !rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_say_of_which_kind_they_are() {
        assert_eq!(begins_mpeg4(&[0, 0, 1, 0xb0, 1, 0, 0, 1, 0xb6, 0x10]), Some(Begins::Here));
        assert_eq!(begins_mpeg4(&[0, 0, 1, 0xb6, 0x50]), Some(Begins::Not));
        assert_eq!(begins_mpeg4(&[0, 0, 1, 0xb6]), None);
        assert_eq!(begins_mpeg2(&[0, 0, 1, 0xb3, 9, 0, 0, 1, 0, 0, 0x08]), Some(Begins::Here));
        assert_eq!(begins_mpeg2(&[0, 0, 1, 0, 0, 0x18]), Some(Begins::Not));
        assert_eq!(begins_mpeg2(&[0, 0, 1, 0, 0]), None);
    }

    #[test]
    fn a_group_of_pictures_may_be_closed() {
        let stream = |closed: u8, kind: u8| [0, 0, 1, 0xb8, 0, 8, 0, closed, 0, 0, 1, 0, 0, kind << 3];
        assert_eq!(
            [(0x40, 1), (0, 1), (0, 2), (0, 3)].map(|(closed, kind)| mpeg2_opens(&stream(closed, kind))),
            [Some(Opens::Whole), Some(Opens::Open), Some(Opens::Other), Some(Opens::Leading)]
        );
        assert_eq!(mpeg4_opens(&[0, 0, 1, 0xb6, 0x80]), Some(Opens::Leading));
    }
}
