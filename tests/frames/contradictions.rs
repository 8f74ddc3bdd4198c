//! Containers that say something else of their samples than the samples themselves: the picture is right, or the error clear.

use std::path::{Path, PathBuf};

use edgelabel::media::{Error, Media};

use super::build::{Packet, Part, laced_matroska, matroska, mp4, mp4_of_parts, packets};
use super::{clip, media, soon, whole};

fn written(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Every frame shows itself, whichever is asked for first, and there are `count` of them.
fn all_right(media: &Media, path: &Path, count: u64) {
    for frame in (0..count).rev() {
        let got = media.frame_of_file(path, &whole(frame), &soon()).unwrap_or_else(|error| panic!("{} {frame}: {error}", path.display()));
        assert_eq!(clip::shown(&got.pictures[0].bytes), frame, "{}", path.display());
    }
    let beyond = media.frame_of_file(path, &whole(count), &soon()).unwrap_err();
    assert!(matches!(beyond, Error::FrameOutOfRange { count: found, .. } if found == count), "{}: {beyond}", path.display());
}

/// Packets of which each is split by `parts`; the last part keeps the timestamp, those before it are a millisecond early each.
fn split(packets: &[Packet], parts: impl Fn(&[u8]) -> Vec<Vec<u8>>) -> Vec<Packet> {
    let split_one = |packet: &Packet| {
        let parts = parts(&packet.bytes);
        let last = parts.len() as i64 - 1;
        (0..).zip(parts).map(|(at, bytes)| Packet { bytes, pts: packet.pts + at - last, sync: packet.sync && at == 0 }).collect::<Vec<_>>()
    };
    packets.iter().flat_map(split_one).collect()
}

/// The frames of a VP9 superframe.
fn vp9_frames(packet: &[u8]) -> Vec<Vec<u8>> {
    let marker = *packet.last().unwrap();
    if marker >> 5 != 6 {
        return vec![packet.to_vec()];
    }
    let (width, count) = (usize::from(marker >> 3 & 3) + 1, usize::from(marker & 7) + 1);
    let index = &packet[packet.len() - 1 - width * count..packet.len() - 1];
    let mut rest = packet;
    let mut frames = Vec::new();
    for size in index.chunks(width) {
        let size = size.iter().rev().fold(0, |sum, &byte| sum << 8 | usize::from(byte));
        frames.push(rest[..size].to_vec());
        rest = &rest[size..];
    }
    frames
}

/// The frames of an AV1 temporal unit, each with what stands before it. All OBUs have sizes.
fn av1_frames(unit: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = vec![Vec::new()];
    let mut rest = unit;
    while !rest.is_empty() {
        let (mut size, mut at) = (0, 1);
        loop {
            size |= usize::from(rest[at] & 0x7f) << (7 * (at - 1));
            at += 1;
            if rest[at - 1] & 0x80 == 0 {
                break;
            }
        }
        assert_eq!(rest[0] & 0x86, 0x02, "an OBU of another form");
        let is_frame = [3, 6].contains(&(rest[0] >> 3 & 15));
        frames.last_mut().unwrap().extend_from_slice(&rest[..at + size]);
        rest = &rest[at + size..];
        if is_frame && !rest.is_empty() {
            frames.push(Vec::new());
        }
    }
    frames
}

/// Puts the samples of an MP4 40 ms apart, as a writer does that takes each for a picture.
fn in_step(packets: &[Packet]) -> Vec<Packet> {
    (0..).zip(packets).map(|(at, packet)| Packet { pts: 40 * at, ..packet.clone() }).collect()
}

#[test]
fn hidden_frames_that_are_samples_of_their_own_are_not_counted() {
    let dir = tempfile::tempdir().unwrap();
    let media = media(dir.path());
    let vp9 = "vp9enc keyframe-max-dist=20 auto-alt-ref=true lag-in-frames=12 arnr-maxframes=3 deadline=1 cpu-used=4 ! webmmux";
    let av1 = "av1enc keyframe-max-dist=20 lag-in-frames=12 cpu-used=8 ! av1parse ! matroskamux";
    let kinds = [("vp9", vp9, "V_VP9", vp9_frames as fn(&[u8]) -> Vec<Vec<u8>>), ("av1", av1, "V_AV1", av1_frames)];
    for (codec, pipeline, name, frames) in kinds {
        let (packets, data) = packets(&clip::make(dir.path(), codec, 44, pipeline));
        assert_eq!(packets.len(), 44, "{codec}");
        let parts = split(&packets, frames);
        assert!(parts.len() > packets.len() + 2, "{codec} hides {} frames", parts.len() - packets.len());
        all_right(&media, &written(dir.path(), &format!("{codec}.mkv"), &matroska(name, &data, &parts)), 44);
        let (entry, config) = if codec == "vp9" { (b"vp09", b"vpcC") } else { (b"av01", b"av1C") };
        all_right(&media, &written(dir.path(), &format!("{codec}.mp4"), &mp4(entry, config, &data, &in_step(&parts))), 44);
    }
}

#[test]
fn hidden_frames_far_behind_the_beginning_are_found_with_the_frame() {
    let dir = tempfile::tempdir().unwrap();
    let pipeline = "av1enc keyframe-max-dist=20 lag-in-frames=12 cpu-used=8 ! av1parse ! matroskamux";
    let (mut packets, data) = packets(&clip::make(dir.path(), "av1", 44, pipeline));
    // A padding OBU of 160,000 bytes: what is read at the beginning ends with it.
    packets[1].bytes.extend([0x7a, 0x80, 0xe2, 0x09].into_iter().chain(std::iter::repeat_n(0x55, 160_000)));
    let parts = [&packets[..20], &split(&packets[20..], av1_frames)].concat();
    assert!(parts.len() > 44);
    let path = written(dir.path(), "av1.mp4", &mp4(b"av01", b"av1C", &data, &in_step(&parts)));
    let media = media(dir.path());
    let got = media.frame_of_file(&path, &whole(38), &soon()).unwrap();
    assert_eq!(clip::shown(&got.pictures[0].bytes), 38);
}

#[test]
fn samples_that_show_two_pictures_count_as_two() {
    let dir = tempfile::tempdir().unwrap();
    let media = media(dir.path());
    let (vp9, data) = packets(&clip::make(dir.path(), "vp9", 30, "vp9enc keyframe-max-dist=20 lag-in-frames=0 deadline=1 ! webmmux"));
    let size = |packet: &Packet| (packet.bytes.len() as u32).to_le_bytes();
    let index = [&[0b1101_1001][..], &size(&vp9[4]), &size(&vp9[5]), &[0b1101_1001]].concat();
    let both = Packet { bytes: [&vp9[4].bytes[..], &vp9[5].bytes, &index].concat(), ..vp9[4].clone() };
    let joined = [&vp9[..4], &[both], &vp9[6..]].concat();
    all_right(&media, &written(dir.path(), "vp9.mkv", &matroska("V_VP9", &data, &joined)), 30);
    all_right(&media, &written(dir.path(), "vp9.mp4", &mp4(b"vp09", b"vpcC", &data, &in_step(&joined))), 30);
}

/// Called to begin with what `calls` says, by its number in decode order.
fn called(packets: &[Packet], calls: impl Fn(usize) -> bool) -> Vec<Packet> {
    packets.iter().enumerate().map(|(at, packet)| Packet { sync: calls(at), ..packet.clone() }).collect()
}

#[test]
fn decoding_begins_where_the_samples_allow_it_whatever_the_container_calls_a_beginning() {
    let dir = tempfile::tempdir().unwrap();
    let media = media(dir.path());
    let h264 = "x264enc bframes=3 b-pyramid=true key-int-max=16 ref=4 option-string=scenecut=60:min-keyint=14 ! mp4mux";
    let clips = [
        ("h264", h264, b"avc1", b"avcC", "V_MPEG4/ISO/AVC"),
        ("h265", "x265enc key-int-max=16 option-string=bframes=3 ! h265parse ! mp4mux", b"hvc1", b"hvcC", "V_MPEGH/ISO/HEVC"),
        ("vp9", "vp9enc keyframe-max-dist=16 lag-in-frames=0 deadline=1 ! webmmux", b"vp09", b"vpcC", "V_VP9"),
        ("av1", "av1enc keyframe-max-dist=16 lag-in-frames=0 cpu-used=8 ! av1parse ! matroskamux", b"av01", b"av1C", "V_AV1"),
    ];
    for (codec, pipeline, entry, config, name) in clips {
        let (packets, data) = packets(&clip::make(dir.path(), codec, 40, pipeline));
        for (how, packets) in [
            ("all", called(&packets, |_| true)),
            ("some", called(&packets, |at| at % 5 == 3 || packets[at].sync)),
            ("none", called(&packets, |_| false)),
        ] {
            all_right(&media, &written(dir.path(), &format!("{codec}-{how}.mp4"), &mp4(entry, config, &data, &packets)), 40);
            all_right(&media, &written(dir.path(), &format!("{codec}-{how}.mkv"), &matroska(name, &data, &packets)), 40);
        }
    }
}

#[test]
fn a_stream_that_is_refreshed_bit_by_bit_is_decoded_from_its_beginning() {
    let dir = tempfile::tempdir().unwrap();
    let path = clip::make(dir.path(), "refresh.mp4", 40, "x264enc intra-refresh=true bframes=0 key-int-max=12 ! mp4mux");
    assert!(super::build::table(&path).samples[1..].iter().any(|sample| sample.sync), "the writer calls no other sample a beginning");
    all_right(&media(dir.path()), &path, 40);
}

#[test]
fn a_stream_cut_within_an_open_gop_begins_with_the_first_picture_that_can_be_right() {
    let dir = tempfile::tempdir().unwrap();
    let media = media(dir.path());
    let h264 = "x264enc bframes=3 b-adapt=false key-int-max=12 option-string=open-gop=1:scenecut=0:min-keyint=12 ! mp4mux";
    let h265 = "x265enc key-int-max=12 option-string=open-gop=1:bframes=3:scenecut=0:min-keyint=12 ! h265parse ! mp4mux";
    let clips = [("h264", h264, b"avc1", b"avcC", "V_MPEG4/ISO/AVC"), ("h265", h265, b"hvc1", b"hvcC", "V_MPEGH/ISO/HEVC")];
    for (codec, pipeline, entry, config, name) in clips {
        let (packets, data) = packets(&clip::make(dir.path(), codec, 40, pipeline));
        let cut = (1..40).find(|&at| packets[at].sync).unwrap();
        let first = packets.iter().filter(|packet| packet.pts < packets[cut].pts).count() as u64;
        assert!(first > cut as u64, "{codec}: no picture is shown before the one that is cut at");
        // Right at a beginning; and, of H.264, behind it, which leaves nothing to be shown before the next.
        let next = (cut + 1..40).find(|&at| packets[at].sync).unwrap();
        let shown_before_next = packets.iter().filter(|packet| packet.pts < packets[next].pts).count() as u64;
        let cuts = if codec == "h264" { vec![(cut, first), (cut + 3, shown_before_next)] } else { vec![(cut, first)] };
        for (cut, first) in cuts {
            for (file, bytes) in [
                (format!("{codec}-{cut}.mp4"), mp4(entry, config, &data, &packets[cut..])),
                (format!("{codec}-{cut}.mkv"), matroska(name, &data, &packets[cut..])),
            ] {
                let path = written(dir.path(), &file, &bytes);
                for frame in (0..40 - first).rev() {
                    let got = media.frame_of_file(&path, &whole(frame), &soon()).unwrap_or_else(|error| panic!("{file} {frame}: {error}"));
                    assert_eq!(clip::shown(&got.pictures[0].bytes), first + frame, "{file} {frame}");
                }
                let beyond = media.frame_of_file(&path, &whole(40 - first), &soon()).unwrap_err();
                assert!(matches!(beyond, Error::FrameOutOfRange { .. }), "{file}: {beyond}");
            }
        }
    }
}

#[test]
fn a_refreshed_stream_that_was_cut_begins_once_it_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let media = media(dir.path());
    let (packets, data) = packets(&clip::make(dir.path(), "all.mp4", 40, "x264enc intra-refresh=true bframes=0 key-int-max=12 ! mp4mux"));
    let cut = (1..40).find(|&at| packets[at].sync).unwrap();
    let path = written(dir.path(), "cut.mkv", &matroska("V_MPEG4/ISO/AVC", &data, &packets[cut..]));
    let first = media.frame_of_file(&path, &whole(0), &soon()).map(|got| clip::shown(&got.pictures[0].bytes)).unwrap();
    assert!((cut as u64 + 5..cut as u64 + 12).contains(&first), "{first} after a cut at {cut}");
    let last = 39 - first;
    let got = media.frame_of_file(&path, &whole(last), &soon()).unwrap();
    assert_eq!(clip::shown(&got.pictures[0].bytes), 39);
    assert!(matches!(media.frame_of_file(&path, &whole(last + 1), &soon()), Err(Error::FrameOutOfRange { .. })));
}

#[test]
fn a_refreshed_stream_that_is_never_whole_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (packets, data) = packets(&clip::make(dir.path(), "all.mp4", 40, "x264enc intra-refresh=true bframes=0 key-int-max=12 ! mp4mux"));
    let cut = (1..40).find(|&at| packets[at].sync).unwrap();
    let path = written(dir.path(), "cut.mkv", &matroska("V_MPEG4/ISO/AVC", &data, &packets[cut..cut + 5]));
    let error = media(dir.path()).frame_of_file(&path, &whole(4), &soon()).unwrap_err();
    assert!(error.to_string().contains("cut out of a longer video"), "{error}");
}

#[test]
fn pictures_are_shown_in_their_own_order_where_the_container_has_that_of_decoding() {
    let dir = tempfile::tempdir().unwrap();
    let media = media(dir.path());
    let clips = [
        ("h264", "x264enc bframes=3 b-adapt=false key-int-max=12 ! mp4mux", b"avc1", b"avcC", "V_MPEG4/ISO/AVC"),
        ("h265", "x265enc key-int-max=12 option-string=bframes=3:b-adapt=0 ! h265parse ! mp4mux", b"hvc1", b"hvcC", "V_MPEGH/ISO/HEVC"),
    ];
    for (codec, pipeline, entry, config, name) in clips {
        let (packets, data) = packets(&clip::make(dir.path(), codec, 40, pipeline));
        assert!(packets.windows(2).any(|pair| pair[1].pts < pair[0].pts), "{codec} has no B pictures");
        let packets = in_step(&packets);
        all_right(&media, &written(dir.path(), &format!("{codec}.mp4"), &mp4(entry, config, &data, &packets)), 40);
        all_right(&media, &written(dir.path(), &format!("{codec}.mkv"), &matroska(name, &data, &packets)), 40);
    }
    // GStreamer's encoder of MPEG-4 knows no other order.
    all_right(&media, &clip::make(dir.path(), "mpeg4.mkv", 40, "avenc_mpeg4 max-bframes=2 gop-size=12 ! matroskamux"), 40);
    all_right(&media, &clip::make(dir.path(), "mpeg4.mp4", 40, "avenc_mpeg4 max-bframes=2 gop-size=12 ! mp4mux"), 40);
}

#[test]
fn all_pictures_of_two_descriptions_in_one_track_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let media = media(dir.path());
    let encoder = "x264enc bframes=3 b-adapt=false key-int-max=12 ! mp4mux";
    let (large, large_data) = packets(&clip::make(dir.path(), "large.mp4", 40, encoder));
    let small = format!("videoscale ! video/x-raw,width=80,height=48 ! {encoder}");
    let (small, small_data) = packets(&clip::make(dir.path(), "small.mp4", 40, &small));
    let keys: Vec<usize> = (0..40).filter(|&at| large[at].sync && small[at].sync).collect();
    let cut = keys[keys.len() / 2];
    let parts = [
        Part { data: &large_data, size: clip::SIZE, packets: &large[..cut] },
        Part { data: &small_data, size: (80, 48), packets: &small[cut..] },
    ];
    all_right(&media, &written(dir.path(), "parts.mp4", &mp4_of_parts(b"avc1", b"avcC", &parts)), 40);
}

#[test]
fn uncompressed_pictures_are_refused_with_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let media = media(dir.path());
    for (name, pipeline) in
        [("raw.avi", "avimux"), ("raw.y4m", "y4menc"), ("raw.mkv", "matroskamux"), ("raw.mov", "video/x-raw,format=UYVY ! qtmux")]
    {
        let error = media.frame_of_file(&clip::make(dir.path(), name, 4, pipeline), &whole(2), &soon()).unwrap_err();
        assert!(error.to_string().contains("not compressed") && error.to_string().contains("convert"), "{name}: {error}");
    }
}

#[test]
fn laced_pictures_are_shown_in_their_own_order() {
    let dir = tempfile::tempdir().unwrap();
    let (packets, data) = packets(&clip::make(dir.path(), "h264.mp4", 40, "x264enc bframes=3 b-adapt=false key-int-max=12 ! mp4mux"));
    let path = written(dir.path(), "laced.mkv", &laced_matroska("V_MPEG4/ISO/AVC", &data, &packets, 4));
    all_right(&media(dir.path()), &path, 40);
}
