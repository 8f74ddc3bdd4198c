//! Files made by hand, element by element.

use super::super::{Codec, Found, SampleTable, read};
use crate::media::source::Source;

/// An element whose size takes one byte.
fn element(id: &[u8], body: &[u8]) -> Vec<u8> {
    assert!(body.len() < 0x7f);
    [id, &[0x80 | body.len() as u8], body].concat()
}

/// A file with one video track, 10 ms a frame, and a cluster of `blocks`.
fn table(codec: &str, blocks: &[Vec<u8>]) -> SampleTable {
    let video = element(&[0xe0], &[element(&[0xb0], &[64]), element(&[0xba], &[48])].concat());
    let duration = element(&[0x23, 0xe3, 0x83], &10_000_000_u32.to_be_bytes());
    let entry = [element(&[0xd7], &[1]), element(&[0x83], &[1]), element(&[0x86], codec.as_bytes()), duration, video].concat();
    let tracks = element(&[0x16, 0x54, 0xae, 0x6b], &element(&[0xae], &entry));
    let cluster = [&[0x1f, 0x43, 0xb6, 0x75, 0xff][..], &element(&[0xe7], &[0]), &blocks.concat()].concat();
    let file = [&element(&[0x1a, 0x45, 0xdf, 0xa3], &[])[..], &[0x18, 0x53, 0x80, 0x67, 0xff], &tracks, &cluster].concat();
    match read(&mut Source::memory(file)) {
        Ok(Found::Table(table)) => *table,
        other => panic!("{other:?}"),
    }
}

/// Three frames of two bytes in one block, of fixed size, at `time`.
fn laced(time: u8, flags: u8) -> Vec<u8> {
    [&[0x81, 0, time, flags | 0x04, 2][..], &[7; 6]].concat()
}

/// A SimpleBlock that is called a place to begin, a group that refers to nothing, and one that refers to another.
fn three_laces() -> [Vec<u8>; 3] {
    let group = |parts: &[Vec<u8>]| element(&[0xa0], &parts.concat());
    let refers = element(&[0xfb], &[0xff]);
    [element(&[0xa3], &laced(0, 0x80)), group(&[element(&[0xa1], &laced(30, 0))]), group(&[element(&[0xa1], &laced(60, 0)), refers])]
}

fn sync(table: &SampleTable) -> Vec<bool> {
    table.samples.iter().map(|sample| sample.sync).collect()
}

#[test]
fn decoding_begins_at_the_first_frame_of_a_lace_only() {
    let table = table("V_MPEG2", &three_laces());
    assert_eq!((table.codec, table.shown.len()), (Codec::Mpeg2, 9));
    assert_eq!(table.samples.iter().map(|sample| sample.pts / 10_000_000).collect::<Vec<_>>(), (0..9).collect::<Vec<_>>());
    assert_eq!(sync(&table), [true, false, false, true, false, false, false, false, false]);
    assert_eq!(table.plan(2).unwrap().samples, 0..3);
    assert_eq!(table.plan(8).unwrap().samples, 3..9);
}

#[test]
fn every_laced_frame_of_an_intra_only_codec_stands_for_itself() {
    let table = table("V_MJPEG", &three_laces());
    assert_eq!(sync(&table), [true, true, true, true, true, true, false, false, false]);
    assert_eq!(table.plan(2).unwrap().samples, 2..3);
}
