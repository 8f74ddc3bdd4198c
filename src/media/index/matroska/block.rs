//! Blocks: their header, and the frames laced into them (RFC 9559, 10).

use super::ebml::number;

/// Bytes at the start of a block that surely hold its header, without lacing.
pub(super) const HEADER_LIMIT: usize = 8 + 3;

/// What a block says before its frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) track: u64,
    /// In ticks, relative to the cluster.
    pub(super) time: i16,
    /// Only in a SimpleBlock: decoding can begin here.
    pub(super) key: bool,
    pub(super) lacing: Lacing,
    /// Where what follows begins.
    pub(super) length: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lacing {
    None,
    Xiph,
    Fixed,
    Ebml,
}

pub(super) fn header(bytes: &[u8]) -> Option<Header> {
    let (track, at) = number(bytes, false)?;
    let (&[high, low, flags], _) = bytes.get(at..)?.split_first_chunk::<3>()?;
    let lacing = match flags >> 1 & 3 {
        0 => Lacing::None,
        1 => Lacing::Xiph,
        2 => Lacing::Fixed,
        _ => Lacing::Ebml,
    };
    Some(Header { track, time: i16::from_be_bytes([high, low]), key: flags & 0x80 != 0, lacing, length: at + 3 })
}

/// The sizes of the frames in `body` (what follows a block's header), and where the first begins.
pub(super) fn laced(lacing: Lacing, body: &[u8]) -> Option<(usize, Vec<usize>)> {
    if lacing == Lacing::None {
        return Some((0, vec![body.len()]));
    }
    let count = usize::from(*body.first()?) + 1;
    let mut at = 1;
    let mut sizes = Vec::with_capacity(count);
    match lacing {
        Lacing::Xiph => {
            for _ in 1..count {
                let mut size = 0;
                loop {
                    let byte = *body.get(at)?;
                    at += 1;
                    size += usize::from(byte);
                    if byte < 255 {
                        break;
                    }
                }
                sizes.push(size);
            }
        }
        Lacing::Ebml => {
            let mut size = 0_i64;
            for frame in 1..count {
                let (value, length) = number(body.get(at..)?, false)?;
                at += length;
                let value = i64::try_from(value).ok()?;
                // The first is a size, the others are differences around half their range.
                size = if frame == 1 { value } else { size.checked_add(value - ((1 << (7 * length - 1)) - 1))? };
                sizes.push(usize::try_from(size).ok()?);
            }
        }
        Lacing::Fixed | Lacing::None => {
            let left = body.len().checked_sub(at)?;
            sizes = (left % count == 0).then(|| vec![left / count; count - 1])?;
        }
    }
    let before = sizes.iter().try_fold(at, |sum: usize, &size| sum.checked_add(size))?;
    sizes.push(body.len().checked_sub(before)?);
    Some((at, sizes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read() {
        let found = header(&[0x81, 0xff, 0xfe, 0x86, 1, 2]).unwrap();
        assert_eq!(found, Header { track: 1, time: -2, key: true, lacing: Lacing::Ebml, length: 4 });
        assert_eq!(header(&[0x81, 0xff, 0xfe]), None);
    }

    #[test]
    fn lacing_is_undone() {
        let xiph = [&[2, 255, 5, 3][..], &[0; 260 + 3 + 7]].concat();
        assert_eq!(laced(Lacing::Xiph, &xiph), Some((4, vec![260, 3, 7])));
        // 800, 500 (difference -300), the rest.
        let ebml = [&[2, 0x43, 0x20, 0x5e, 0xd3][..], &[0; 800 + 500 + 1000]].concat();
        assert_eq!(laced(Lacing::Ebml, &ebml), Some((5, vec![800, 500, 1000])));
        assert_eq!(laced(Lacing::Fixed, &[2, 0, 0, 0, 0, 0, 0]), Some((1, vec![2, 2, 2])));
        assert_eq!(laced(Lacing::Fixed, &[2, 0, 0, 0, 0]), None);
        assert_eq!(laced(Lacing::Xiph, &[2, 255]), None);
        assert_eq!(laced(Lacing::Xiph, &[1, 9, 0]), None);
        assert_eq!(laced(Lacing::Ebml, &[3, 0x81, 0x81]), None);
        assert_eq!(laced(Lacing::None, &[7, 7]), Some((0, vec![2])));
    }
}
