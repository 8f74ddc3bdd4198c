//! NAL units, of which samples of H.264 and H.265 consist, and the parameter sets in a decoder's configuration.

use super::super::StreamFormat;

/// Bytes of the length before each NAL unit, from avcC or hvcC; `None` where start codes stand between them.
pub(in crate::media) fn length_size(format: StreamFormat, codec_data: Option<&[u8]>) -> Option<usize> {
    let at = match format {
        StreamFormat::Avc | StreamFormat::Avc3 => 4,
        StreamFormat::Hvc1 | StreamFormat::Hev1 => 21,
        StreamFormat::ByteStream | StreamFormat::Frame => return None,
    };
    Some(usize::from(*codec_data?.get(at)? & 3) + 1)
}

/// The NAL units of a sample that have a length of so many bytes before them; ends early where a length is wrong.
pub(in crate::media) fn units(sample: &[u8], prefix: usize) -> impl Iterator<Item = &[u8]> {
    let mut rest = sample;
    std::iter::from_fn(move || {
        let (length, body) = rest.split_at_checked(prefix)?;
        let (unit, after) = body.split_at_checked(number(length))?;
        rest = after;
        Some(unit)
    })
}

/// As [`units`], of the first bytes of a sample: the last unit may be cut short.
pub(super) fn begun(head: &[u8], prefix: usize) -> impl Iterator<Item = &[u8]> {
    let mut rest = head;
    std::iter::from_fn(move || {
        let (length, body) = rest.split_at_checked(prefix)?;
        let (unit, after) = body.split_at(number(length).min(body.len()));
        rest = after;
        (!unit.is_empty()).then_some(unit)
    })
}

/// The NAL units between start codes; the last may be cut short.
pub(super) fn between_start_codes(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let start = |from: &[u8]| from.windows(3).position(|three| three == [0, 0, 1]);
    let mut rest = start(head).map_or(&[][..], |at| &head[at + 3..]);
    std::iter::from_fn(move || {
        let unit = &rest[..start(rest).unwrap_or(rest.len())];
        rest = rest.get(unit.len() + 3..).unwrap_or_default();
        (!unit.is_empty()).then_some(unit)
    })
}

/// The parameter sets in avcC (ISO/IEC 14496-15, 5.3.3.1).
pub(super) fn of_avcc(avcc: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    let Some((&count, mut rest)) = avcc.get(5..).and_then(<[u8]>::split_first) else { return found };
    let mut left = count & 31;
    let mut pictures = false;
    loop {
        for _ in 0..left {
            let Some((unit, after)) = sized(rest) else { return found };
            found.extend((!unit.is_empty()).then_some(unit));
            rest = after;
        }
        match rest.split_first() {
            Some((&count, after)) if !pictures => (pictures, left, rest) = (true, count, after),
            _ => return found,
        }
    }
}

/// The parameter sets in hvcC (8.3.3.1).
pub(super) fn of_hvcc(hvcc: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    let Some((&arrays, mut rest)) = hvcc.get(22..).and_then(<[u8]>::split_first) else { return found };
    for _ in 0..arrays {
        let Some((&[_, high, low], after)) = rest.split_first_chunk::<3>() else { return found };
        rest = after;
        for _ in 0..u16::from_be_bytes([high, low]) {
            let Some((unit, after)) = sized(rest) else { return found };
            found.extend((!unit.is_empty()).then_some(unit));
            rest = after;
        }
    }
    found
}

/// What stands behind a length of two bytes.
fn sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&[high, low], rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes([high, low])))
}

fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte))
}

/// The first bytes of a NAL unit without its emulation prevention.
pub(super) fn plain(unit: &[u8], most: usize) -> Vec<u8> {
    let mut plain = Vec::with_capacity(unit.len().min(most));
    let mut zeros = 0;
    for &byte in unit.iter().take(most) {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        plain.push(byte);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_told_apart() {
        let sample = [0, 2, 7, 8, 0, 1, 9, 0, 5, 1, 2];
        assert_eq!(units(&sample, 2).collect::<Vec<_>>(), [&[7, 8][..], &[9]]);
        assert_eq!(begun(&sample, 2).collect::<Vec<_>>(), [&[7, 8][..], &[9], &[1, 2]]);
        let stream = [9, 0, 0, 0, 1, 7, 8, 0, 0, 1, 9, 0, 0];
        assert_eq!(between_start_codes(&stream).collect::<Vec<_>>(), [&[7, 8][..], &[9, 0, 0]]);
        assert_eq!(between_start_codes(&[1, 2]).count(), 0);
    }

    #[test]
    fn configurations_have_parameter_sets() {
        let avcc = [1, 100, 0, 30, 0xff, 0xe2, 0, 2, 0x67, 1, 0, 0, 1, 0, 1, 0x68, 99];
        assert_eq!(of_avcc(&avcc), [&[0x67, 1][..], &[0x68]]);
        let hvcc = [&[1; 22][..], &[2, 0xa0, 0, 1, 0, 1, 5, 0xa1, 0, 2, 0, 1, 6, 0, 2, 7, 7]].concat();
        assert_eq!(of_hvcc(&hvcc), [&[5][..], &[6], &[7, 7]]);
        for cut in 0..hvcc.len() {
            let _ = (of_avcc(&avcc[..cut.min(avcc.len())]), of_hvcc(&hvcc[..cut]));
        }
    }

    #[test]
    fn emulation_prevention_is_taken_out() {
        assert_eq!(plain(&[0, 0, 3, 1, 0, 0, 3, 0, 0, 3], 9), [0, 0, 1, 0, 0, 0, 0]);
    }
}
