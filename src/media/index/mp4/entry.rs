//! Sample descriptions: which codec, and what its decoder must know first.

use super::super::{Codec, StreamFormat};
use super::boxes::{Fields, boxes, child};
use super::track::Looks;

/// A visual sample entry.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) coding: Coding,
    pub(super) codec_data: Option<Vec<u8>>,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) looks: Looks,
}

/// What an entry's four characters mean here.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Coding {
    /// A codec whose samples are frames.
    Known(Codec, StreamFormat),
    /// Encrypted.
    Protected,
    /// Anything else, by its four characters.
    Foreign(String),
}

/// Names of entries whose pictures are not compressed.
pub(super) const UNCOMPRESSED: [&str; 10] = ["raw", "rgba", "RGBA", "2vuy", "yuv2", "yuvs", "v210", "v308", "v408", "uncv"];

/// Entry number `index` (from 1) of `stsd`, and the number of its data reference.
pub(super) fn read(stsd: &[u8], index: u32) -> Option<(Entry, u16)> {
    let found = boxes(stsd.get(8..)?).nth(index.checked_sub(1)? as usize)?;
    let mut fields = Fields::new(found.body);
    fields.take(6)?;
    let reference = fields.u16()?;
    fields.take(16)?;
    let (width, height) = (u32::from(fields.u16()?), u32::from(fields.u16()?));
    // Resolutions, reserved, frame count, compressor name, depth, colour table.
    fields.take(50)?;
    let extensions = fields.rest();
    let (coding, codec_data) = coding(found.kind, extensions);
    Some((Entry { coding, codec_data, width, height, looks: Looks::of(extensions, width, height) }, reference))
}

/// Whether all entries of `stsd` describe one and the same stream.
pub(super) fn all_alike(stsd: &[u8]) -> bool {
    let mut entries = boxes(stsd.get(8..).unwrap_or_default());
    let first = entries.next().map(|entry| (entry.kind, entry.body));
    entries.all(|entry| Some((entry.kind, entry.body)) == first)
}

fn coding(kind: [u8; 4], extensions: &[u8]) -> (Coding, Option<Vec<u8>>) {
    let data = |name: &[u8; 4]| child(extensions, name).map(<[u8]>::to_vec);
    let frames = |codec| Coding::Known(codec, StreamFormat::Frame);
    match &kind {
        b"avc1" | b"avc2" | b"dva1" => (Coding::Known(Codec::H264, StreamFormat::Avc), data(b"avcC")),
        b"avc3" | b"avc4" | b"dvav" => (Coding::Known(Codec::H264, StreamFormat::Avc3), data(b"avcC")),
        b"hvc1" | b"dvh1" => (Coding::Known(Codec::H265, StreamFormat::Hvc1), data(b"hvcC")),
        b"hev1" | b"dvhe" => (Coding::Known(Codec::H265, StreamFormat::Hev1), data(b"hvcC")),
        b"vp08" => (frames(Codec::Vp8), None),
        b"vp09" => (frames(Codec::Vp9), data(b"vpcC")),
        b"av01" => (frames(Codec::Av1), data(b"av1C")),
        b"mp4v" => elementary_stream(extensions),
        b"xvid" | b"XVID" | b"DIVX" | b"DX50" | b"FMP4" | b"3IV2" => (frames(Codec::Mpeg4), None),
        b"s263" | b"h263" | b"H263" => (frames(Codec::H263), None),
        b"jpeg" | b"dmb1" => (frames(Codec::Mjpeg), None),
        b"apch" | b"apcn" | b"apcs" | b"apco" | b"ap4h" | b"ap4x" => (frames(Codec::ProRes(kind)), None),
        b"m2v1" | b"mp2v" => (frames(Codec::Mpeg2), None),
        b"encv" | b"drmi" => (Coding::Protected, None),
        _ => (Coding::Foreign(kind.iter().map(|&byte| char::from(byte)).filter(char::is_ascii_graphic).collect()), None),
    }
}

/// `mp4v` is a family: the object type in `esds` says which member.
fn elementary_stream(extensions: &[u8]) -> (Coding, Option<Vec<u8>>) {
    // QuickTime files may keep it inside `wave`.
    let esds = child(extensions, b"esds").or_else(|| child(child(extensions, b"wave")?, b"esds"));
    let (object_type, data) = esds.and_then(decoder_config).unwrap_or((0x20, None));
    let codec = match object_type {
        0x20 => Codec::Mpeg4,
        0x60..=0x65 => Codec::Mpeg2,
        0x6a => Codec::Mpeg1,
        0x6c => Codec::Mjpeg,
        other => return (Coding::Foreign(format!("mp4v-{other:02x}")), None),
    };
    (Coding::Known(codec, StreamFormat::Frame), data)
}

/// Object type and DecoderSpecificInfo of an `esds` (ISO/IEC 14496-1, 7.2.6).
fn decoder_config(esds: &[u8]) -> Option<(u8, Option<Vec<u8>>)> {
    let es = descriptor(esds.get(4..)?, 0x03)?;
    let flags = *es.get(2)?;
    let mut at = 3;
    if flags & 0x80 != 0 {
        at += 2;
    }
    if flags & 0x40 != 0 {
        at += 1 + usize::from(*es.get(at)?);
    }
    if flags & 0x20 != 0 {
        at += 2;
    }
    let config = descriptor(es.get(at..)?, 0x04)?;
    let specific = config.get(13..).and_then(|rest| descriptor(rest, 0x05));
    Some((*config.first()?, specific.map(<[u8]>::to_vec)))
}

/// The body of the descriptor that `bytes` begin with, if it has this tag.
fn descriptor(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    let (&found, mut rest) = bytes.split_first()?;
    if found != tag {
        return None;
    }
    let mut length = 0;
    for _ in 0..4 {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        length = length << 7 | usize::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            break;
        }
    }
    Some(&rest[..length.min(rest.len())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_elementary_stream_says_what_it_is() {
        // Object type and twelve bytes of rates; then the length of what is specific, in its long form.
        let config = [&[0x04, 20, 0x61][..], &[0; 12], &[0x05, 0x80, 0x80, 0x80, 2, 7, 8]].concat();
        let es = [&[0, 0, 0, 0, 0x03, 27, 0, 1, 0x20, 9, 9][..], &config].concat();
        assert_eq!(decoder_config(&es), Some((0x61, Some(vec![7, 8]))));
        for cut in 0..es.len() {
            let _ = decoder_config(&es[..cut]);
        }
        assert_eq!(decoder_config(&[0; 40]), None);
    }
}
