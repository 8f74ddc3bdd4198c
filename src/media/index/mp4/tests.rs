//! Movies made by hand, box by box.

use std::sync::{Arc, Mutex};

use super::super::{Codec, Found, IndexError, SampleTable, StreamFormat, read};
use crate::media::source::Source;

fn boxed(kind: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&(body.len() as u32 + 8).to_be_bytes()[..], kind, &body].concat()
}

/// A full box whose body is 32-bit numbers.
fn numbers(kind: &[u8; 4], version_and_flags: u32, body: &[u32]) -> Vec<u8> {
    let body: Vec<u8> = std::iter::once(&version_and_flags).chain(body).flat_map(|number| number.to_be_bytes()).collect();
    boxed(kind, &[&body])
}

/// What differs between the movies of these tests.
struct Movie {
    timescale: u32,
    entry: [u8; 4],
    self_contained: u32,
    edits: Vec<[u32; 3]>,
    tables: Vec<Vec<u8>>,
    fragmented: bool,
}

impl Movie {
    /// Six samples of 10, 20 … 60 bytes in two chunks at 1000 and 5000; decode order I P B, I P B; 10 ticks each.
    fn plain() -> Self {
        Self {
            timescale: 100,
            entry: *b"avc1",
            self_contained: 1,
            edits: Vec::new(),
            tables: vec![
                numbers(b"stts", 0, &[1, 6, 10]),
                numbers(b"ctts", 0, &[6, 1, 10, 1, 20, 1, 0, 1, 10, 1, 20, 1, 0]),
                numbers(b"stsc", 0, &[2, 1, 4, 1, 2, 9, 1]),
                numbers(b"stsz", 0, &[0, 6, 10, 20, 30, 40, 50, 60]),
                numbers(b"stco", 0, &[2, 1000, 5000]),
                numbers(b"stss", 0, &[2, 1, 4]),
            ],
            fragmented: false,
        }
    }

    fn without_samples() -> Self {
        let empty = [b"stts", b"stsc", b"stco"].map(|kind| numbers(kind, 0, &[0]));
        Self { tables: [&empty[..], &[numbers(b"stsz", 0, &[0, 0])]].concat(), fragmented: true, ..Self::plain() }
    }

    fn with(mut self, table: Vec<u8>) -> Self {
        self.tables.retain(|old| old[4..8] != table[4..8]);
        self.tables.push(table);
        self
    }

    fn without(mut self, kind: &[u8; 4]) -> Self {
        self.tables.retain(|old| &old[4..8] != kind);
        self
    }

    fn edits(mut self, edits: &[[u32; 3]]) -> Self {
        self.edits = edits.to_vec();
        self
    }

    fn moov(&self) -> Vec<u8> {
        let matrix = [0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000];
        let mvhd = numbers(b"mvhd", 0, &[&[0, 0, 1000, 0, 0x0001_0000, 0, 0, 0][..], &matrix, &[0; 7]].concat());
        // Turned by a quarter, clockwise.
        let turned = [0, 0x0001_0000, 0, 0xffff_0000, 0, 0, 0, 0, 0x4000_0000];
        let tkhd = numbers(b"tkhd", 3, &[&[0, 0, 7, 0, 0, 0, 0, 0, 0][..], &turned, &[64 << 16, 48 << 16]].concat());
        let mdhd = numbers(b"mdhd", 0, &[0, 0, self.timescale, 0, 0]);
        let hdlr = boxed(b"hdlr", &[&[0; 8], b"vide", &[0; 13]]);
        let url = numbers(b"url ", self.self_contained, &[]);
        let dinf = boxed(b"dinf", &[&boxed(b"dref", &[&[0, 0, 0, 0, 0, 0, 0, 1], &url])]);
        let pasp = boxed(b"pasp", &[&[0, 0, 0, 4, 0, 0, 0, 3]]);
        let size = [0, 64, 0, 48];
        let entry = boxed(&self.entry, &[&[0; 7], &[1], &[0; 16], &size, &[0; 50], &boxed(b"avcC", &[&[1, 2, 3]]), &pasp]);
        let stsd = boxed(b"stsd", &[&[0, 0, 0, 0, 0, 0, 0, 1], &entry]);
        let stbl = boxed(b"stbl", &[&stsd, &self.tables.concat()]);
        let minf = boxed(b"minf", &[&dinf, &stbl]);
        let mdia = boxed(b"mdia", &[&mdhd, &hdlr, &minf]);
        let edits = [&[self.edits.len() as u32], self.edits.concat().as_slice()].concat();
        let edts = if self.edits.is_empty() { Vec::new() } else { boxed(b"edts", &[&numbers(b"elst", 0, &edits)]) };
        let trak = boxed(b"trak", &[&tkhd, &edts, &mdia]);
        let mvex = boxed(b"mvex", &[&numbers(b"trex", 0, &[7, 1, 10, 100, 0x0101_0000])]);
        boxed(b"moov", &[&mvhd, &trak, if self.fragmented { &mvex } else { &[] }])
    }

    fn file(&self) -> Vec<u8> {
        let mut file = [boxed(b"ftyp", &[b"isom", &[0; 4]]), self.moov()].concat();
        let mdat = boxed(b"mdat", &[&vec![0; 8000_usize.saturating_sub(file.len())]]);
        file.extend(mdat);
        file
    }

    fn table(&self) -> SampleTable {
        table(self.file())
    }
}

fn table(file: Vec<u8>) -> SampleTable {
    match read(&mut Source::memory(file)) {
        Ok(Found::Table(table)) => *table,
        other => panic!("{other:?}"),
    }
}

fn pts(table: &SampleTable) -> Vec<i64> {
    table.samples.iter().map(|sample| sample.pts).collect()
}

#[test]
fn a_plain_movie_is_read() {
    let table = Movie::plain().table();
    assert_eq!((table.codec, table.stream_format, table.codec_data.as_deref()), (Codec::H264, StreamFormat::Avc, Some(&[1, 2, 3][..])));
    assert_eq!((table.width, table.height, table.turn.clockwise, table.pixel_aspect), (64, 48, 90, Some((4, 3))));
    let places: Vec<_> = table.samples.iter().map(|sample| (sample.offset, sample.size)).collect();
    assert_eq!(places, [(1000, 10), (1010, 20), (1030, 30), (1060, 40), (5000, 50), (5050, 60)]);
    assert_eq!(pts(&table), [10, 30, 20, 40, 60, 50]);
    assert_eq!(table.samples.iter().map(|sample| sample.sync).collect::<Vec<_>>(), [true, false, false, true, false, false]);
    assert_eq!(table.shown, [0, 2, 1, 3, 5, 4]);
    assert!((table.seconds(2) - 0.3).abs() < 1e-9);
}

#[test]
fn composition_offsets_are_signed_in_every_version_and_no_sync_table_means_all_are() {
    let minus = -10_i32 as u32;
    let table = Movie::plain().with(numbers(b"ctts", 0, &[2, 2, 10, 4, minus])).without(b"stss").table();
    assert_eq!(pts(&table), [10, 20, 10, 20, 30, 40]);
    assert!(table.samples.iter().all(|sample| sample.sync));
}

#[test]
fn compact_sizes_and_wide_offsets_are_read() {
    let sizes = boxed(b"stz2", &[&[0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 6, 0x12, 0x34, 0x56]]);
    let movie = Movie::plain().without(b"stsz").with(sizes).without(b"stco").with(numbers(b"co64", 0, &[2, 0, 1000, 0, 5000]));
    let table = movie.table();
    let places: Vec<_> = table.samples.iter().map(|sample| (sample.offset, sample.size)).collect();
    assert_eq!(places[2..], [(1003, 3), (1006, 4), (5000, 5), (5005, 6)]);
}

#[test]
fn an_edit_list_shows_what_lies_in_its_stretches_in_their_order() {
    // Movie clock 1000, media clock 100: 300 movie units are 30 media units.
    let table = Movie::plain().edits(&[[500, u32::MAX, 0x10000], [300, 30, 0x10000]]).table();
    assert_eq!(table.shown, [1, 3, 5]);
    assert!((table.seconds(0) - 0.5).abs() < 1e-9 && (table.seconds(2) - 0.7).abs() < 1e-9);
    let twice = Movie::plain().edits(&[[200, 40, 0x10000], [300, 10, 0x10000]]).table();
    assert_eq!(twice.shown, [3, 5, 0, 2, 1]);
    assert!((twice.seconds(2) - 0.2).abs() < 1e-9);
    assert_eq!(twice.plan(4).unwrap().samples, 0..2);
    // Until the end, as fragmented files say it; and nothing but a delay.
    assert_eq!(Movie::plain().edits(&[[0, 20, 0x10000]]).table().shown, [2, 1, 3, 5, 4]);
    // Beside others one without a duration shows nothing, as in ffmpeg.
    assert_eq!(Movie::plain().edits(&[[0, 20, 0x10000], [200, 40, 0x10000]]).table().shown, [3, 5]);
    assert_eq!(Movie::plain().edits(&[[200, 40, 0x10000], [0, 10, 0x10000]]).table().shown, [3, 5]);
    // Beginning and ending within a picture: those that began before are not shown, those that began within are.
    assert_eq!(Movie::plain().edits(&[[210, 25, 0x10000]]).table().shown, [1, 3]);
    assert_eq!(Movie::plain().edits(&[[700, u32::MAX, 0x10000]]).table().shown.len(), 6);
}

/// Two samples of 100 and 50 bytes that follow the moof's header; `tfdt` if there is a time.
fn fragment(track: u32, time: Option<u32>) -> Vec<u8> {
    let tfhd = numbers(b"tfhd", 0x02_0000, &[track]);
    let tfdt = time.map(|time| numbers(b"tfdt", 0, &[time])).unwrap_or_default();
    // Data offset, flags of the first sample, and sizes.
    let trun = |offset| numbers(b"trun", 0x0205, &[2, offset, 0x0200_0000, 100, 50]);
    let moof = |offset| boxed(b"moof", &[&numbers(b"mfhd", 0, &[1]), &boxed(b"traf", &[&tfhd, &tfdt, &trun(offset)])]);
    let offset = moof(0).len() as u32 + 8;
    [moof(offset), boxed(b"mdat", &[&[0; 150]])].concat()
}

#[test]
fn fragments_add_their_samples() {
    let head = [boxed(b"ftyp", &[b"iso6"]), Movie::without_samples().moov()].concat();
    let (first, other) = (fragment(7, Some(1000)), fragment(8, Some(0)));
    let second_at = (head.len() + first.len() + other.len()) as u64;
    let table = table([&head[..], &first, &other, &fragment(7, None), &[0, 0, 0]].concat());
    assert_eq!(pts(&table), [1000, 1010, 1020, 1030]);
    assert_eq!(table.samples.iter().map(|sample| sample.sync).collect::<Vec<_>>(), [true, false, true, false]);
    let moof = first.len() as u64 - 150;
    assert_eq!((table.samples[0].offset, table.samples[1].offset), (head.len() as u64 + moof, head.len() as u64 + moof + 100));
    assert!(table.samples[2].offset > second_at && table.samples[3].size == 50);
}

#[test]
fn a_movie_may_begin_plain_and_go_on_in_fragments() {
    let mut movie = Movie::plain();
    movie.fragmented = true;
    let table = table([movie.file(), fragment(7, None), fragment(7, Some(500))].concat());
    assert_eq!(pts(&table), [10, 30, 20, 40, 60, 50, 60, 70, 500, 510]);
    assert_eq!(table.count(), 10);
}

#[test]
fn what_cannot_be_had_is_said() {
    let fails = |movie: &Movie| read(&mut Source::memory(movie.file())).unwrap_err().to_string();
    assert!(fails(&Movie { self_contained: 0, ..Movie::plain() }).contains("another file"));
    assert!(fails(&Movie { entry: *b"encv", ..Movie::plain() }).contains("encrypted"));
    let foreign = read(&mut Source::memory(Movie { entry: *b"cvid", ..Movie::plain() }.file())).unwrap();
    assert!(matches!(foreign, Found::Sequential { container: "mp4", why, unedited: true } if why.contains("cvid")));
    // Four thousand million samples in a file of some kilobytes.
    assert!(fails(&Movie::plain().with(numbers(b"stsz", 0, &[1, u32::MAX]))).contains("claimed"));
    assert!(fails(&Movie::plain().with(numbers(b"stss", 0, &[99, 1]))).contains("stss"));
    let cut = Movie::plain().file()[..700].to_vec();
    assert!(matches!(read(&mut Source::memory(cut)), Err(IndexError::Broken { cause, .. }) if cause.contains("cut short")));
}

#[test]
fn samples_beyond_the_end_stay_in_the_table() {
    let file = Movie::plain().file();
    let cut = table(file[..4000].to_vec());
    assert_eq!(cut.count(), 6);
    let plan = cut.plan(4).unwrap();
    let last = cut.samples[plan.samples.end - 1];
    assert!(Source::memory(file[..4000].to_vec()).read_exact_at(last.offset, last.size as usize).is_err());
}

/// How often bytes are asked for until the table is there.
fn reads(file: Vec<u8>) -> usize {
    let asked = Arc::new(Mutex::new(0));
    let (count, size) = (Arc::clone(&asked), file.len() as u64);
    let answer = move |offset: u64, length: usize| {
        *count.lock().unwrap() += 1;
        Ok(file[offset as usize..offset as usize + length].to_vec())
    };
    assert!(matches!(read(&mut Source::remote(size, Box::new(answer))), Ok(Found::Table(_))));
    *asked.lock().unwrap()
}

#[test]
fn a_table_is_had_in_two_reads_wherever_it_lies() {
    let large = Movie::plain().with(boxed(b"free", &[&vec![0; 300_000]]));
    assert_eq!(reads([large.file(), vec![0; 9_000_000]].concat()), 2);
    let mdat = boxed(b"mdat", &[&vec![0; 9_000_000]]);
    assert_eq!(reads([boxed(b"ftyp", &[b"isom"]), mdat, large.moov()].concat()), 2);
    let wide = [&[0, 0, 0, 1][..], b"mdat", &(16 + 9_000_000_u64).to_be_bytes(), &vec![0; 9_000_000]].concat();
    assert_eq!(reads([boxed(b"ftyp", &[b"isom"]), wide, large.moov()].concat()), 2);
    let fragments = (0..2000).flat_map(|_| fragment(7, None));
    assert_eq!(reads([boxed(b"ftyp", &[b"iso6"]), Movie::without_samples().moov()].concat().into_iter().chain(fragments).collect()), 2);
}

#[test]
fn a_movie_cut_anywhere_is_told_or_read_but_never_panics() {
    let mut movie = Movie::plain().edits(&[[300, 30, 0x10000]]);
    movie.fragmented = true;
    let file = [[boxed(b"ftyp", &[b"isom"]), movie.moov()].concat(), fragment(7, Some(9))].concat();
    for cut in 0..file.len() {
        let _ = read(&mut Source::memory(file[..cut].to_vec()));
    }
}
