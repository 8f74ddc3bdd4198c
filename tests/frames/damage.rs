//! Damage inside pictures: decoders conceal it without a word, so that a wrong picture would look like a right one.

use std::path::Path;

use edgelabel::media::{Error, Media};

use super::build::table;
use super::{clip, media, soon, whole};

/// Overwrites the last bytes but two of a stretch of a file that ends before `end`: where a picture's macroblocks are, not its
/// headers, and where a packet has no stuffing.
fn spoil(path: &Path, end: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[end - 14..end - 2].fill(0xff);
    std::fs::write(path, bytes).unwrap();
}

/// Which of the frames come, all of them right, and which are refused as damaged.
fn refused(media: &Media, path: &Path, frames: std::ops::Range<u64>) -> Vec<u64> {
    frames
        .filter(|&frame| match media.frame_of_file(path, &whole(frame), &soon()) {
            Ok(got) => {
                assert_eq!(clip::shown(&got.pictures[0].bytes), frame);
                false
            }
            Err(Error::Broken { cause, .. }) => {
                assert!(cause.contains("damaged"), "frame {frame}: {cause}");
                true
            }
            Err(other) => panic!("frame {frame}: {other}"),
        })
        .collect()
}

#[test]
fn a_picture_made_from_a_damaged_one_is_refused_up_to_the_next_beginning() {
    let dir = tempfile::tempdir().unwrap();
    let path = clip::make(dir.path(), "clip.mp4", 36, "x264enc bframes=0 key-int-max=12 ! mp4mux");
    let samples = table(&path).samples;
    let next = |from: usize, sync: bool| (from..samples.len()).find(|&at| samples[at].sync == sync).unwrap();
    // A picture that refers to others that refer to others.
    let spoilt = next(13, false) + 1;
    let beginning = next(spoilt, true);
    assert!(beginning > spoilt, "{samples:?}");
    spoil(&path, (samples[spoilt].offset + u64::from(samples[spoilt].size)) as usize);
    assert_eq!(refused(&media(dir.path()), &path, 0..36), (spoilt as u64..beginning as u64).collect::<Vec<_>>());
}

#[test]
fn a_damaged_picture_that_no_other_needs_is_refused_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = clip::make(dir.path(), "clip.mp4", 36, "x264enc bframes=3 b-adapt=false key-int-max=12 ! mp4mux");
    let table = table(&path);
    // The last of some B pictures: shown before, and coded after, the picture they lead up to.
    let pts = |at: usize| table.samples[at].pts;
    let spoilt = (14..34).find(|&at| pts(at) < pts(at - 1) && pts(at + 1) > pts(at - 1)).unwrap();
    let frame = table.shown.iter().position(|&at| at as usize == spoilt).unwrap() as u64;
    spoil(&path, (table.samples[spoilt].offset + u64::from(table.samples[spoilt].size)) as usize);
    assert_eq!(refused(&media(dir.path()), &path, 0..36), [frame]);
}

#[test]
fn a_counted_picture_near_damage_is_refused_and_those_far_from_it_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = clip::make(dir.path(), "clip.ts", 60, "x264enc bframes=0 key-int-max=12 ! mpegtsmux");
    let bytes = std::fs::read(&path).unwrap();
    let stream = |packet: &[u8]| u16::from_be_bytes([packet[1] & 0x1f, packet[2]]);
    let packets: Vec<usize> = (0..bytes.len() / 188).filter(|at| stream(&bytes[at * 188..]) == 0x41).collect();
    assert!(packets.len() >= 60, "the video is in another stream");
    // About where frame 16 is.
    spoil(&path, (packets[packets.len() * 16 / 60] + 1) * 188);
    let refused = refused(&media(dir.path()), &path, 0..60);
    assert!(!refused.is_empty() && refused.iter().all(|frame| (4..36).contains(frame)), "{refused:?}");
}
