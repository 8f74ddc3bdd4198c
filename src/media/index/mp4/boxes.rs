//! Boxes of ISO base media (ISO/IEC 14496-12) and atoms of QuickTime, in memory, with checked reads.

/// A box: its type and what is in it.
#[derive(Clone, Copy)]
pub(super) struct Boxed<'a> {
    pub(super) kind: [u8; 4],
    pub(super) body: &'a [u8],
}

/// The header of a box in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: [u8; 4],
    /// Bytes before the body: 8, or 16 with a 64-bit size.
    pub(super) header: u64,
    /// Whole box; `None` when it runs to the end of the file.
    pub(super) size: Option<u64>,
}

/// Reads a box header from at least its first 8 (better 16) bytes; `None` if there is none or its size cannot be.
pub(super) fn header(bytes: &[u8]) -> Option<Header> {
    let mut fields = Fields::new(bytes);
    let (short, kind) = (fields.u32()?, fields.four()?);
    let (header, size) = match short {
        0 => (8, None),
        1 => (16, Some(fields.u64()?)),
        _ => (8, Some(u64::from(short))),
    };
    (size.is_none_or(|size| size >= header)).then_some(Header { kind, header, size })
}

/// The boxes in `bytes`, one after the other. What is left over or cannot be a box ends the walk; a box that claims to be
/// longer than its parent is cut, as players do, and whoever reads its fields will miss them.
pub(super) fn boxes(bytes: &[u8]) -> impl Iterator<Item = Boxed<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let found = header(rest)?;
        let size = found.size.unwrap_or(u64::MAX).min(rest.len() as u64) as usize;
        let (whole, after) = rest.split_at(size);
        rest = after;
        Some(Boxed { kind: found.kind, body: whole.get(found.header as usize..)? })
    })
}

/// The first box of a kind in `bytes`.
pub(super) fn child<'a>(bytes: &'a [u8], kind: &[u8; 4]) -> Option<&'a [u8]> {
    boxes(bytes).find(|found| &found.kind == kind).map(|found| found.body)
}

/// The box at the end of a path of kinds.
pub(super) fn descend<'a>(bytes: &'a [u8], path: &[&[u8; 4]]) -> Option<&'a [u8]> {
    path.iter().try_fold(bytes, |inside, kind| child(inside, kind))
}

/// Big-endian fields read one after the other; `None` once they run out.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn four(&mut self) -> Option<[u8; 4]> {
        self.array()
    }

    /// The version and flags that full boxes begin with.
    pub(super) fn version(&mut self) -> Option<(u8, u32)> {
        let word = self.u32()?;
        Some(((word >> 24) as u8, word & 0x00ff_ffff))
    }

    /// A 64-bit field in version 1, a 32-bit one before.
    pub(super) fn wide(&mut self, version: u8) -> Option<u64> {
        if version == 1 { self.u64() } else { self.u32().map(u64::from) }
    }

    /// A count, and that many entries of `length` bytes: never more than there are bytes for.
    pub(super) fn entries(&mut self, length: usize) -> Option<std::slice::ChunksExact<'a, u8>> {
        let count = self.u32()? as usize;
        Some(self.take(count.checked_mul(length)?)?.chunks_exact(length))
    }
}
