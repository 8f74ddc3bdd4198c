//! Sample tables as bytes, to be cached beside the content they were read from: about seven bytes a frame.
//!
//! The worker that writes them reads hostile files, so whoever reads them back trusts nothing: everything is bounded and
//! checked, and a blob of another version is no blob.

use sha2::{Digest, Sha256};

use super::{Codec, Colour, Crop, Edit, SAMPLE_LIMIT, Sample, SampleTable, StreamFormat, Turn};

/// Changes with the layout below, and with what the readers make of a file.
const MAGIC: [u8; 8] = *b"edgetab\x09";
const SEAL: usize = 8;

const CONTAINERS: [&str; 2] = ["mp4", "matroska"];
const FORMATS: [StreamFormat; 6] =
    [StreamFormat::Avc, StreamFormat::Avc3, StreamFormat::Hvc1, StreamFormat::Hev1, StreamFormat::ByteStream, StreamFormat::Frame];
/// ProRes stands apart: it carries its four characters.
const CODECS: [Codec; 10] =
    [Codec::H264, Codec::H265, Codec::Vp8, Codec::Vp9, Codec::Av1, Codec::Mpeg1, Codec::Mpeg2, Codec::Mpeg4, Codec::H263, Codec::Mjpeg];

impl SampleTable {
    /// The table as bytes for [`SampleTable::from_bytes`].
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer { bytes: MAGIC.to_vec() };
        out.number(place(&CONTAINERS, &self.container));
        out.number(place(&CODECS, &self.codec));
        if let Codec::ProRes(kind) = self.codec {
            out.number(u32::from_be_bytes(kind).into());
        }
        out.number(place(&FORMATS, &self.stream_format));
        out.optional(self.codec_data.as_deref(), Writer::bytes);
        for number in [self.width, self.height, self.turn.clockwise.into(), self.turn.mirror.into(), self.timescale] {
            out.number(number.into());
        }
        out.optional(self.pixel_aspect, |out, (across, down)| [across, down].into_iter().for_each(|n| out.number(n.into())));
        out.optional(self.crop, |out, crop| [crop.left, crop.top, crop.width, crop.height].into_iter().for_each(|n| out.number(n.into())));
        let Colour { primaries, transfer, matrix, full_range } = self.colour;
        for code in [primaries, transfer, matrix, full_range.map(u16::from)] {
            out.optional(code, |out, code| out.number(code.into()));
        }
        out.bytes(&self.prefix);
        out.list(&self.edits, |out, edit| {
            out.number(edit.first.into());
            out.signed(edit.origin);
        });
        let (mut end, mut pts) = (0_u64, 0_i64);
        out.list(&self.samples, |out, sample| {
            out.signed(sample.offset.wrapping_sub(end) as i64);
            out.number(u64::from(sample.size) << 1 | u64::from(sample.sync));
            out.signed(sample.pts.wrapping_sub(pts));
            (end, pts) = (sample.offset.wrapping_add(sample.size.into()), sample.pts);
        });
        let mut last = 0;
        out.list(&self.shown, |out, &at| {
            out.signed(i64::from(at) - last);
            last = i64::from(at);
        });
        seal(&mut out.bytes);
        out.bytes
    }

    /// The table that [`SampleTable::to_bytes`] wrote; `None` for anything else, whatever it is.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (sealed, seal) = bytes.split_at_checked(bytes.len().checked_sub(SEAL)?)?;
        if Sha256::digest(sealed)[..SEAL] != *seal {
            return None;
        }
        let mut from = Reader { rest: sealed.strip_prefix(&MAGIC)? };
        let container = *from.one_of(&CONTAINERS)?;
        let codec = match from.number()? as usize {
            at if at < CODECS.len() => CODECS[at],
            at if at == CODECS.len() => Codec::ProRes(from.narrow::<u32>()?.to_be_bytes()),
            _ => return None,
        };
        let stream_format = *from.one_of(&FORMATS)?;
        let codec_data = from.optional(Reader::bytes)?;
        let (width, height) = (from.narrow()?, from.narrow()?);
        let turn = Turn { clockwise: from.narrow().filter(|turn| [0, 90, 180, 270].contains(turn))?, mirror: from.number()? != 0 };
        let timescale = from.narrow().filter(|&timescale| timescale > 0)?;
        let pixel_aspect = from.optional(|from| Some((from.narrow()?, from.narrow()?)).filter(|&(across, down)| across > 0 && down > 0))?;
        let crop =
            from.optional(|from| Some(Crop { left: from.narrow()?, top: from.narrow()?, width: from.narrow()?, height: from.narrow()? }))?;
        let mut code = || from.optional(Reader::narrow::<u16>);
        let (primaries, transfer, matrix, full_range) = (code()?, code()?, code()?, code()?.map(|full| full != 0));
        let colour = Colour { primaries, transfer, matrix, full_range };
        let prefix = from.bytes()?;
        let edits = from.list(|from| Some(Edit { first: from.narrow()?, origin: from.signed()? }))?;
        let (mut end, mut pts) = (0_u64, 0_i64);
        let samples = from.list(|from| {
            let offset = end.wrapping_add_signed(from.signed()?);
            let word = from.number()?;
            let size = u32::try_from(word >> 1).ok()?;
            pts = pts.wrapping_add(from.signed()?);
            end = offset.checked_add(size.into())?;
            Some(Sample { offset, size, pts, sync: word & 1 != 0 })
        })?;
        let mut last = 0_i64;
        let shown = from.list(|from| {
            last = last.checked_add(from.signed()?)?;
            u32::try_from(last).ok().filter(|&at| (at as usize) < samples.len())
        })?;
        let table = Self {
            container,
            codec,
            codec_data,
            stream_format,
            width,
            height,
            turn,
            pixel_aspect,
            crop,
            colour,
            prefix,
            samples,
            shown,
            timescale,
            edits,
        };
        from.rest.is_empty().then_some(table)
    }
}

/// Ends a blob with what tells it from a damaged one.
pub(super) fn seal(bytes: &mut Vec<u8>) {
    let seal = Sha256::digest(&bytes);
    bytes.extend_from_slice(&seal[..SEAL]);
}

/// What is not in the list is counted as one past its end.
fn place<T: PartialEq>(list: &[T], item: &T) -> u64 {
    list.iter().position(|candidate| candidate == item).unwrap_or(list.len()) as u64
}

struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Seven bits a byte, the lowest first.
    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    /// Small values of either sign are short.
    fn signed(&mut self, value: i64) {
        self.number((value << 1 ^ value >> 63) as u64);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    fn optional<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.number(value.is_some().into());
        if let Some(value) = value {
            write(self, value);
        }
    }

    fn list<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.number(items.len() as u64);
        items.iter().for_each(|item| write(self, item));
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn number(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn signed(&mut self) -> Option<i64> {
        let value = self.number()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn narrow<T: TryFrom<u64>>(&mut self) -> Option<T> {
        T::try_from(self.number()?).ok()
    }

    fn one_of<'l, T>(&mut self, list: &'l [T]) -> Option<&'l T> {
        list.get(usize::try_from(self.number()?).ok()?)
    }

    fn bytes(&mut self) -> Option<Vec<u8>> {
        let length = self.narrow()?;
        let (bytes, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(bytes.to_vec())
    }

    fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.number()? {
            0 => Some(None),
            _ => read(self).map(Some),
        }
    }

    fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let length = self.narrow::<usize>()?;
        // An entry has at least one byte.
        if length > self.rest.len() || length as u64 > SAMPLE_LIMIT {
            return None;
        }
        let mut items = Vec::with_capacity(length);
        for _ in 0..length {
            items.push(read(self)?);
        }
        Some(items)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tables() -> impl Strategy<Value = SampleTable> {
        let sample = (0..u64::MAX - u64::from(u32::MAX), any::<u32>(), any::<i64>(), any::<bool>());
        let codec = prop_oneof![proptest::sample::select(&CODECS[..]), any::<[u8; 4]>().prop_map(Codec::ProRes)];
        let colour = any::<(Option<u16>, Option<u16>, Option<u16>, Option<bool>)>();
        let looks = (any::<Option<Vec<u8>>>(), colour, proptest::option::of((1..u32::MAX, 1..u32::MAX)), 0_u16..4, any::<bool>());
        (proptest::collection::vec(sample, 1..40), codec, looks, any::<Vec<(u32, i64)>>(), any::<Vec<u8>>()).prop_map(
            |(samples, codec, (codec_data, colour, pixel_aspect, quarters, mirror), edits, prefix)| {
                let shown = (0..samples.len() as u32).rev().collect();
                let sample = |(offset, size, pts, sync)| Sample { offset, size, pts, sync };
                SampleTable {
                    container: "matroska",
                    codec,
                    codec_data,
                    stream_format: StreamFormat::Hev1,
                    width: 640,
                    height: 0,
                    turn: Turn { clockwise: quarters * 90, mirror },
                    pixel_aspect,
                    crop: pixel_aspect.map(|(left, top)| Crop { left, top, width: 1, height: 2 }),
                    colour: Colour { primaries: colour.0, transfer: colour.1, matrix: colour.2, full_range: colour.3 },
                    prefix,
                    samples: samples.into_iter().map(sample).collect(),
                    shown,
                    timescale: 90_000,
                    edits: edits.into_iter().map(|(first, origin)| Edit { first, origin }).collect(),
                }
            },
        )
    }

    proptest! {
        #[test]
        fn a_table_comes_back_as_it_was(table in tables()) {
            prop_assert_eq!(SampleTable::from_bytes(&table.to_bytes()), Some(table));
        }

        #[test]
        fn anything_else_is_refused(table in tables(), at in any::<proptest::sample::Index>(), bits in 1..=u8::MAX) {
            let mut bytes = table.to_bytes();
            let at = at.index(bytes.len());
            prop_assert_eq!(SampleTable::from_bytes(&bytes[..at]), None);
            bytes[at] ^= bits;
            prop_assert_eq!(SampleTable::from_bytes(&bytes), None);
        }

        #[test]
        fn a_forged_blob_is_bounded_and_never_panics(mut forged in any::<Vec<u8>>()) {
            forged.splice(..0, MAGIC);
            seal(&mut forged);
            let _ = SampleTable::from_bytes(&forged);
        }
    }
}
