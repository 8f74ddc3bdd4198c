//! EBML (RFC 8794): identifiers, sizes, and elements in memory.

/// An element's identifier, its length marker kept.
pub(super) type Id = u32;

/// The header of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) id: Id,
    /// Bytes before the body.
    pub(super) header: usize,
    /// Of the body; `None` when it is unknown, as in live recordings.
    pub(super) size: Option<u64>,
}

/// The longest header there is.
pub(super) const HEADER_LIMIT: usize = 12;

/// Reads an element's header; `None` where there is none.
pub(super) fn header(bytes: &[u8]) -> Option<Header> {
    let (id, id_length) = number(bytes, true)?;
    let (size, size_length) = number(&bytes[id_length..], false)?;
    let unknown = (1_u64 << (7 * size_length)) - 1;
    let id = (id_length <= 4).then_some(id as Id)?;
    Some(Header { id, header: id_length + size_length, size: (size != unknown).then_some(size) })
}

/// A variable-length number and its length in bytes, with or without its length marker.
pub(super) fn number(bytes: &[u8], keep_marker: bool) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let length = first.leading_zeros() as usize + 1;
    if length > 8 {
        return None;
    }
    let marker = 1_u64 << (7 * length);
    let value = bytes.get(..length)?.iter().fold(0, |value: u64, &byte| value << 8 | u64::from(byte));
    Some((if keep_marker { value } else { value & !marker }, length))
}

/// The elements in `bytes`, one after the other; what is cut short ends the walk.
pub(super) fn elements(bytes: &[u8]) -> impl Iterator<Item = (Id, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let found = header(rest)?;
        let body = rest.get(found.header..)?;
        let (body, after) = body.split_at_checked(usize::try_from(found.size?).ok()?)?;
        rest = after;
        Some((found.id, body))
    })
}

/// The first element with this identifier.
pub(super) fn child(bytes: &[u8], id: Id) -> Option<&[u8]> {
    elements(bytes).find(|(found, _)| *found == id).map(|(_, body)| body)
}

/// An unsigned number of up to 8 bytes.
pub(super) fn unsigned(body: &[u8]) -> Option<u64> {
    (body.len() <= 8).then(|| body.iter().fold(0, |value: u64, &byte| value << 8 | u64::from(byte)))
}

/// A floating-point number of 0, 4 or 8 bytes.
pub(super) fn float(body: &[u8]) -> Option<f64> {
    match body.len() {
        0 => Some(0.0),
        4 => Some(f32::from_be_bytes(body.try_into().ok()?).into()),
        8 => Some(f64::from_be_bytes(body.try_into().ok()?)),
        _ => None,
    }
}

/// The unsigned number in the first child with this identifier.
pub(super) fn unsigned_child(bytes: &[u8], id: Id) -> Option<u64> {
    child(bytes, id).and_then(unsigned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_headers_are_read() {
        assert_eq!(number(&[0x82], false), Some((2, 1)));
        assert_eq!(number(&[0x40, 0x7f, 9], false), Some((0x7f, 2)));
        assert_eq!(number(&[0x1a, 0x45, 0xdf, 0xa3], true), Some((0x1a45_dfa3, 4)));
        assert_eq!(number(&[0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe], false), Some(((1 << 56) - 2, 8)));
        assert_eq!(number(&[0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], false), None);
        assert_eq!(number(&[0x40], false), None);
        assert_eq!(header(&[0xa3, 0x84]), Some(Header { id: 0xa3, header: 2, size: Some(4) }));
        assert_eq!(header(&[0x1f, 0x43, 0xb6, 0x75, 0xff]), Some(Header { id: 0x1f43_b675, header: 5, size: None }));
        assert_eq!(header(&[0xec, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).map(|found| found.size), Some(None));
    }

    #[test]
    fn elements_end_where_one_is_cut_short() {
        let found: Vec<_> = elements(&[0xd7, 0x81, 5, 0x83, 0x81, 1, 0x86, 0x85, b'V']).collect();
        assert_eq!(found, [(0xd7, &[5][..]), (0x83, &[1][..])]);
        assert_eq!(float(&1.5_f32.to_be_bytes()), Some(1.5));
        assert_eq!(unsigned(&[1; 9]), None);
    }
}
