//! How many pictures an AV1 sample shows. It should be a temporal unit, which shows one; but some writers make samples of
//! what is in it, and the hidden frames among them show nothing.

/// Types of OBUs (AV1 bitstream specification, 6.2.2).
const SEQUENCE_HEADER: u8 = 1;
const FRAME_HEADER: u8 = 3;
const FRAME: u8 = 6;

/// Bytes of `av1C` before its OBUs.
const CONFIGURATION: usize = 4;

/// An OBU, as far as it is there.
struct Obu<'a> {
    kind: u8,
    spatial_layer: u8,
    /// What is there of its body.
    body: &'a [u8],
    /// Whether anything of its body is not.
    cut: bool,
    /// Where the next one begins.
    end: u64,
}

/// Pictures that come out of a sample of `size` bytes that begins with `head`; `None` where more of it has to be seen.
pub(super) fn shown(codec_data: Option<&[u8]>, head: &[u8], size: u64) -> Option<usize> {
    let mut still = codec_data
        .and_then(|data| data.get(CONFIGURATION..))
        .is_some_and(|data| obu(data, 0, data.len() as u64).is_some_and(|obu| obu.kind == SEQUENCE_HEADER && is_still(obu.body)));
    let (mut shown, mut at) = (0, 0);
    let mut last_layer = None;
    while at < size {
        let Some(obu) = obu(head, at, size) else {
            // What is no OBU ends a sample that is there to its end.
            return (head.len() as u64 >= size).then_some(shown);
        };
        if obu.body.is_empty() && obu.cut {
            return None;
        }
        let first = obu.body.first().copied().unwrap_or_default();
        match obu.kind {
            SEQUENCE_HEADER => still = is_still(obu.body),
            FRAME_HEADER | FRAME if still || shows(first) => {
                // Of a picture in several layers the last is given out.
                shown += usize::from(last_layer.is_none_or(|last| obu.spatial_layer <= last));
                last_layer = Some(obu.spatial_layer);
            }
            _ => {}
        }
        at = obu.end;
    }
    Some(shown)
}

/// Whether the first frame of a sample is a key frame that is shown; `None` where it is not there.
pub(super) fn is_key(head: &[u8]) -> Option<bool> {
    let (mut still, mut at) = (false, 0);
    loop {
        let obu = obu(head, at, u64::MAX)?;
        match (obu.kind, obu.body.first()) {
            (SEQUENCE_HEADER, _) => still = is_still(obu.body),
            // Not an existing one, of type 0, and shown.
            (FRAME_HEADER | FRAME, Some(first)) => return Some(still || first & 0b1111_0000 == 0b0001_0000),
            (FRAME_HEADER | FRAME, None) => return None,
            _ => {}
        }
        at = obu.end;
    }
}

/// `show_existing_frame`, or else `show_frame` behind the two bits of the frame's type (5.9.2).
fn shows(first: u8) -> bool {
    first & 0b1000_0000 != 0 || first & 0b0001_0000 != 0
}

/// `reduced_still_picture_header` behind the profile and `still_picture` (5.5.1): its frames are shown without saying so.
fn is_still(sequence_header: &[u8]) -> bool {
    sequence_header.first().is_some_and(|first| first & 0b0000_1000 != 0)
}

/// The OBU at `at` of a sample of `size` bytes, of which `head` are there; `None` where its header is none or not there.
fn obu(head: &[u8], at: u64, size: u64) -> Option<Obu<'_>> {
    let mut rest = head.get(usize::try_from(at).ok()?..)?;
    let (&first, after) = rest.split_first()?;
    rest = after;
    if first & 0x80 != 0 {
        return None;
    }
    let mut spatial_layer = 0;
    if first & 0x04 != 0 {
        let (&extension, after) = rest.split_first()?;
        (spatial_layer, rest) = (extension >> 3 & 3, after);
    }
    let mut length = None;
    if first & 0x02 != 0 {
        let (value, after) = leb128(rest)?;
        (length, rest) = (Some(value), after);
    }
    let begin = (head.len() - rest.len()) as u64;
    // Without a length it runs to the end.
    let end = length.map_or(size, |length| begin.saturating_add(length)).min(size).max(begin);
    let body = &rest[..(end - begin).min(rest.len() as u64) as usize];
    Some(Obu { kind: first >> 3 & 15, spatial_layer, body, cut: (body.len() as u64) < end - begin, end })
}

/// Seven bits a byte, the lowest first.
fn leb128(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (at, &byte) in bytes.iter().take(8).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[at + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A temporal delimiter, and OBUs with a length of one byte each.
    fn unit(obus: &[(u8, &[u8])]) -> Vec<u8> {
        let obus = obus.iter().flat_map(|(kind, body)| [&[kind << 3 | 2, body.len() as u8], *body].concat());
        [0x12, 0].into_iter().chain(obus).collect()
    }

    fn all(unit: &[u8]) -> Option<usize> {
        shown(None, unit, unit.len() as u64)
    }

    #[test]
    fn frames_are_shown_or_hidden() {
        let (visible, hidden, existing) = (&[0x30, 1, 2][..], &[0x20, 1][..], &[0x80][..]);
        assert_eq!(all(&unit(&[(1, &[0, 0]), (6, visible)])), Some(1));
        assert_eq!(all(&unit(&[(6, hidden)])), Some(0));
        assert_eq!(all(&unit(&[(6, hidden), (6, hidden), (3, visible), (4, &[9])])), Some(1));
        assert_eq!(all(&unit(&[(3, existing)])), Some(1));
        assert_eq!(all(&unit(&[(6, visible), (3, existing)])), Some(2));
        assert_eq!(all(&unit(&[(5, &[1, 2])])), Some(0));
        // A still's frames are shown without saying so; its header may stand in the configuration.
        assert_eq!(all(&unit(&[(1, &[0x18]), (6, &[0, 1])])), Some(1));
        let still = [0x81, 0, 0, 0, 0x0a, 1, 0x18];
        assert_eq!(shown(Some(&still), &unit(&[(6, &[0, 1])]), 6), Some(1));
    }

    #[test]
    fn a_key_frame_is_one_that_is_shown() {
        let first = |first: u8| is_key(&unit(&[(1, &[0, 0]), (6, &[first])]));
        assert_eq!([0x10, 0x00, 0x30, 0x90].map(first), [true, false, false, false].map(Some));
        assert_eq!(is_key(&unit(&[(1, &[0x18]), (6, &[0])])), Some(true));
        assert_eq!(is_key(&unit(&[(5, &[1])])), None);
    }

    #[test]
    fn layers_of_one_picture_count_once() {
        let layer = |number: u8| [0x36, number << 3, 2, 0x30, 1];
        assert_eq!(all(&[layer(0), layer(1)].concat()), Some(1));
        assert_eq!(all(&[layer(0), layer(0)].concat()), Some(2));
    }

    #[test]
    fn more_is_asked_for_until_the_last_header_is_there() {
        let unit = unit(&[(6, &[0x20; 90]), (6, &[0x30; 20])]);
        let size = unit.len() as u64;
        for length in 0..unit.len() {
            let found = shown(None, &unit[..length], size);
            assert_eq!(found, (length > 2 + 92 + 2).then_some(1), "{length}");
        }
        // The last needs no length.
        let open = [&unit[..94], &[0x30, 0x30, 7, 7]].concat();
        assert_eq!(shown(None, &open, 5000), Some(1));
        assert_eq!(all(&[0xff, 1, 2]), Some(0));
    }
}
