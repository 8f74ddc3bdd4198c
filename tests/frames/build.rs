//! Containers written packet by packet, with whatever they are to say of the packets, right or wrong.

use std::path::Path;

use edgelabel::media::index::{self, Found, SampleTable};
use edgelabel::media::source::Source;

use super::clip::SIZE;

/// A coded packet, in decode order.
#[derive(Debug, Clone)]
pub(crate) struct Packet {
    pub(crate) bytes: Vec<u8>,
    /// When it is shown, in milliseconds.
    pub(crate) pts: i64,
    /// What the container says of it.
    pub(crate) sync: bool,
}

/// The sample table of a clip.
pub(crate) fn table(path: &Path) -> SampleTable {
    match index::read(&mut Source::file(path).unwrap()) {
        Ok(Found::Table(table)) => *table,
        other => panic!("{other:?}"),
    }
}

/// The packets of a clip, and the configuration of its decoder.
pub(crate) fn packets(path: &Path) -> (Vec<Packet>, Vec<u8>) {
    let (table, bytes) = (table(path), std::fs::read(path).unwrap());
    let packet = |sample: &index::Sample| Packet {
        bytes: bytes[sample.offset as usize..][..sample.size as usize].to_vec(),
        pts: sample.pts * 1000 / i64::from(table.timescale),
        sync: sample.sync,
    };
    (table.samples.iter().map(packet).collect(), table.codec_data.unwrap_or_default())
}

fn boxed(kind: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&(body.len() as u32 + 8).to_be_bytes()[..], kind, &body].concat()
}

/// A full box whose body is 32-bit numbers.
fn numbers(kind: &[u8; 4], version_and_flags: u32, body: &[u32]) -> Vec<u8> {
    let body: Vec<u8> = std::iter::once(&version_and_flags).chain(body).flat_map(|number| number.to_be_bytes()).collect();
    boxed(kind, &[&body])
}

/// An MP4 of packets that are decoded 40 ms after each other. `entry` and `config` are the kinds of the sample entry and of the
/// box with the decoder's configuration in it.
pub(crate) fn mp4(entry: &[u8; 4], config: &[u8; 4], data: &[u8], packets: &[Packet]) -> Vec<u8> {
    mp4_of_parts(entry, config, &[Part { data, size: SIZE, packets }])
}

/// Packets that have a sample description of their own.
pub(crate) struct Part<'a> {
    pub(crate) data: &'a [u8],
    pub(crate) size: (usize, usize),
    pub(crate) packets: &'a [Packet],
}

/// As [`mp4`], of several parts.
pub(crate) fn mp4_of_parts(entry: &[u8; 4], config: &[u8; 4], parts: &[Part<'_>]) -> Vec<u8> {
    let packets: Vec<&Packet> = parts.iter().flat_map(|part| part.packets).collect();
    let count = packets.len() as u32;
    let dts = |at: usize| 40 * at as i64;
    let matrix = [0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000];
    let length = 40 * count;
    let (width, height) = (SIZE.0 as u32, SIZE.1 as u32);
    let mvhd = numbers(b"mvhd", 0, &[&[0, 0, 1000, length, 0x0001_0000, 0x0100_0000, 0, 0][..], &matrix, &[0; 6], &[2]].concat());
    let tkhd = numbers(b"tkhd", 3, &[&[0, 0, 1, 0, length, 0, 0, 0, 0][..], &matrix, &[width << 16, height << 16]].concat());
    let mdhd = numbers(b"mdhd", 0, &[0, 0, 1000, length, 0x55c4_0000]);
    let hdlr = boxed(b"hdlr", &[&[0; 8], b"vide", &[0; 13]]);
    let dinf = boxed(b"dinf", &[&boxed(b"dref", &[&[0, 0, 0, 0, 0, 0, 0, 1], &numbers(b"url ", 1, &[])])]);
    let resolution = [0, 0x48, 0, 0, 0, 0x48, 0, 0, 0, 0, 0, 0, 0, 1];
    let described = |part: &Part<'_>| {
        let size = [(part.size.0 as u16).to_be_bytes(), (part.size.1 as u16).to_be_bytes()].concat();
        let configuration = if part.data.is_empty() { Vec::new() } else { boxed(config, &[part.data]) };
        boxed(entry, &[&[0; 7], &[1], &[0; 16], &size, &resolution, &[0; 32], &[0, 24, 255, 255], &configuration])
    };
    let descriptions: Vec<u8> = parts.iter().flat_map(described).collect();
    let stsd = boxed(b"stsd", &[&[0; 4], &(parts.len() as u32).to_be_bytes(), &descriptions]);
    let sync: Vec<u32> = (1..).zip(&packets).filter(|(_, packet)| packet.sync).map(|(number, _)| number).collect();
    let sizes = packets.iter().map(|packet| packet.bytes.len() as u32);
    let chunks: Vec<u32> = (1..).zip(parts).flat_map(|(number, part)| [number, part.packets.len() as u32, number]).collect();
    let mut tables = vec![
        numbers(b"stts", 0, &[1, count, 40]),
        numbers(b"stsc", 0, &[&[parts.len() as u32], chunks.as_slice()].concat()),
        numbers(b"stsz", 0, &[0, count].into_iter().chain(sizes).collect::<Vec<_>>()),
    ];
    if sync.len() < packets.len() {
        tables.push(numbers(b"stss", 0, &[&[sync.len() as u32], sync.as_slice()].concat()));
    }
    if packets.iter().enumerate().any(|(at, packet)| packet.pts != dts(at)) {
        let offsets = packets.iter().enumerate().flat_map(|(at, packet)| [1, (packet.pts - dts(at)) as i32 as u32]);
        tables.push(numbers(b"ctts", 0x0100_0000, &[count].into_iter().chain(offsets).collect::<Vec<_>>()));
    }
    let ftyp = boxed(b"ftyp", &[b"isom", &[0, 0, 2, 0], b"isomiso2mp41"]);
    let lengths = parts.iter().map(|part| part.packets.iter().map(|packet| packet.bytes.len() as u32).sum::<u32>());
    let moov = |first: u32| {
        let offsets = lengths.clone().scan(first, |at, length| Some(std::mem::replace(at, *at + length)));
        let stco = numbers(b"stco", 0, &[parts.len() as u32].into_iter().chain(offsets).collect::<Vec<_>>());
        let stbl = boxed(b"stbl", &[&stsd, &tables.concat(), &stco]);
        let minf = boxed(b"minf", &[&numbers(b"vmhd", 1, &[0, 0]), &dinf, &stbl]);
        let mdia = boxed(b"mdia", &[&mdhd, &hdlr, &minf]);
        boxed(b"moov", &[&mvhd, &boxed(b"trak", &[&tkhd, &mdia])])
    };
    let first = (ftyp.len() + moov(0).len()) as u32 + 8;
    let media: Vec<u8> = packets.iter().flat_map(|packet| packet.bytes.clone()).collect();
    [ftyp, moov(first), boxed(b"mdat", &[&media])].concat()
}

/// An element of Matroska.
fn element(id: &[u8], body: &[u8]) -> Vec<u8> {
    [id, &(body.len() as u64 | 1 << 56).to_be_bytes(), body].concat()
}

/// A Matroska file of packets.
pub(crate) fn matroska(codec: &str, data: &[u8], packets: &[Packet]) -> Vec<u8> {
    laced_matroska(codec, data, packets, 1)
}

/// As [`matroska`], of blocks of so many packets, which have the timestamp of the first.
pub(crate) fn laced_matroska(codec: &str, data: &[u8], packets: &[Packet], together: usize) -> Vec<u8> {
    let ebml = [
        element(&[0x42, 0x86], &[1]),
        element(&[0x42, 0xf7], &[1]),
        element(&[0x42, 0xf2], &[4]),
        element(&[0x42, 0xf3], &[8]),
        element(&[0x42, 0x82], b"matroska"),
        element(&[0x42, 0x87], &[4]),
        element(&[0x42, 0x85], &[2]),
    ];
    let info = element(&[0x15, 0x49, 0xa9, 0x66], &element(&[0x2a, 0xd7, 0xb1], &1_000_000_u32.to_be_bytes()));
    let size = |side: usize| (side as u32).to_be_bytes();
    let video = element(&[0xe0], &[element(&[0xb0], &size(SIZE.0)), element(&[0xba], &size(SIZE.1))].concat());
    let private = if data.is_empty() { Vec::new() } else { element(&[0x63, 0xa2], data) };
    let entry =
        [element(&[0xd7], &[1]), element(&[0x73, 0xc5], &[1]), element(&[0x83], &[1]), element(&[0x86], codec.as_bytes()), private, video];
    let tracks = element(&[0x16, 0x54, 0xae, 0x6b], &element(&[0xae], &entry.concat()));
    let cluster = |packets: &[Packet]| {
        let (first, key) = (&packets[0], if packets[0].sync { 0x80 } else { 0 });
        // The sizes of all but the last, each as a sum of bytes up to one below 255.
        let size = |packet: &Packet| [vec![255; packet.bytes.len() / 255], vec![(packet.bytes.len() % 255) as u8]].concat();
        let sizes: Vec<u8> = packets[..packets.len() - 1].iter().flat_map(size).collect();
        let lace = if packets.len() > 1 { [&[packets.len() as u8 - 1][..], &sizes].concat() } else { Vec::new() };
        let flags = key | if lace.is_empty() { 0 } else { 0x02 };
        let bodies: Vec<u8> = packets.iter().flat_map(|packet| packet.bytes.clone()).collect();
        let time = element(&[0xe7], &(first.pts as u32).to_be_bytes());
        let block = element(&[0xa3], &[&[0x81, 0, 0, flags][..], &lace, &bodies].concat());
        element(&[0x1f, 0x43, 0xb6, 0x75], &[time, block].concat())
    };
    let clusters: Vec<u8> = packets.chunks(together).flat_map(cluster).collect();
    let segment = element(&[0x18, 0x53, 0x80, 0x67], &[info, tracks, clusters].concat());
    [element(&[0x1a, 0x45, 0xdf, 0xa3], &ebml.concat()), segment].concat()
}
