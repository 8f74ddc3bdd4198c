//! Which picture comes, and in which form.

use edgelabel::media::{Error, Hdr, Region, Want};

use super::{clip, media, soon, whole};

#[test]
fn every_frame_is_the_one_asked_for_whatever_the_container() {
    let dir = tempfile::tempdir().unwrap();
    let media = media(dir.path());
    let clips = [
        ("plain.mp4", "x264enc bframes=3 key-int-max=12 ! mp4mux", "mp4", "h264"),
        ("fragmented.mp4", "x264enc bframes=2 key-int-max=12 ! mp4mux fragment-duration=400", "mp4", "h264"),
        ("clip.mkv", "x264enc bframes=3 key-int-max=12 ! matroskamux", "matroska", "h264"),
        ("clip.ts", "x264enc bframes=2 key-int-max=12 ! mpegtsmux", "mpegts", "h264"),
        ("clip.webm", "vp8enc keyframe-max-dist=12 auto-alt-ref=true lag-in-frames=8 deadline=1 ! webmmux", "matroska", "vp8"),
        ("clip.avi", "jpegenc ! avimux", "avi", "mjpeg"),
    ];
    for (name, pipeline, container, codec) in clips {
        let path = clip::make(dir.path(), name, 40, pipeline);
        // Without an edit list the reordering delay stays in the timestamps.
        let start = media.frame_of_file(&path, &whole(0), &soon()).unwrap().pts_seconds;
        for frame in [0, 1, 11, 12, 13, 26, 39] {
            let got = media.frame_of_file(&path, &whole(frame), &soon()).unwrap();
            assert_eq!(clip::shown(&got.pictures[0].bytes), frame, "{name}");
            assert_eq!((got.container.as_str(), got.codec.as_str()), (container, codec), "{name}");
            assert_eq!((got.width, got.height), (160, 96), "{name}");
            assert!((got.pts_seconds - start - frame as f64 / 25.0).abs() < 0.002, "{name} {frame} {}", got.pts_seconds);
            assert!(got.decoder.starts_with("software ("), "{}", got.decoder);
        }
        let beyond = media.frame_of_file(&path, &whole(40), &soon()).unwrap_err();
        assert!(matches!(beyond, Error::FrameOutOfRange { frame: 40, count: 40, .. }), "{name}: {beyond}");
    }
}

#[test]
fn a_picture_for_a_model_is_a_jpeg_that_fits() {
    let dir = tempfile::tempdir().unwrap();
    let media = media(dir.path());
    let path = clip::h264(dir.path(), 20);
    let want = |max_side| Want { frame: 17, max_side, ..Want::default() };
    for (max_side, size) in [(None, (160, 96)), (Some(80), (80, 48)), (Some(4000), (160, 96))] {
        let got = media.frame_of_file(&path, &want(max_side), &soon()).unwrap();
        let picture = &got.pictures[0];
        assert_eq!((picture.mime, (picture.width, picture.height)), ("image/jpeg", size));
        assert_eq!(image::load_from_memory_with_format(&picture.bytes, image::ImageFormat::Jpeg).unwrap().width(), size.0);
        assert_eq!(clip::shown(&picture.bytes), 17);
        assert_eq!((got.width, got.height), (160, 96), "the facts tell the size before scaling");
    }
}

#[test]
fn regions_are_cut_out_in_the_order_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = clip::h264(dir.path(), 8);
    // Frame 5 is bright in the columns 0 and 2 of 8.
    let regions = vec![
        Region { x: 0.0, y: 0.0, width: 0.125, height: 0.5 },
        Region { x: 0.125, y: 0.0, width: 0.125, height: 1.0 },
        Region { x: 0.9, y: 0.9, width: 5.0, height: f64::NAN },
    ];
    let want = Want { frame: 5, regions, lossless: true, ..Want::default() };
    let got = media(dir.path()).frame_of_file(&path, &want, &soon()).unwrap();
    let sizes: Vec<_> = got.pictures.iter().map(|picture| (picture.width, picture.height)).collect();
    assert_eq!(sizes, [(20, 48), (20, 96), (16, 1)]);
    let bright: Vec<bool> = got
        .pictures
        .iter()
        .map(|picture| {
            let image = image::load_from_memory(&picture.bytes).unwrap().into_luma8();
            image.get_pixel(image.width() / 2, image.height() / 2).0[0] > 128
        })
        .collect();
    assert_eq!(bright, [true, false, false]);
}

#[test]
fn a_picture_is_turned_as_the_track_says() {
    let dir = tempfile::tempdir().unwrap();
    let media = media(dir.path());
    let path = clip::h264(dir.path(), 4);
    let bytes = std::fs::read(&path).unwrap();
    // The matrix stands in the last 44 bytes of tkhd but 8: a b u, c d v, x y w.
    let at = bytes.windows(4).position(|w| w == b"tkhd").unwrap() + 4 + 40;
    let turned = |a: i32, b: i32, c: i32, d: i32| {
        let mut bytes = bytes.clone();
        for (place, value) in [(0, a), (4, b), (12, c), (16, d)] {
            bytes[at + place..at + place + 4].copy_from_slice(&(value << 16).to_be_bytes());
        }
        let path = dir.path().join(format!("turned{a}{b}{c}{d}.mp4"));
        std::fs::write(&path, bytes).unwrap();
        let got = media.frame_of_file(&path, &whole(3), &soon()).unwrap();
        image::load_from_memory(&got.pictures[0].bytes).unwrap().into_luma8()
    };
    let upright = turned(1, 0, 0, 1);
    for (matrix, expected) in [
        ((0, 1, -1, 0), image::imageops::rotate90(&upright)),
        ((-1, 0, 0, -1), image::imageops::rotate180(&upright)),
        ((0, -1, 1, 0), image::imageops::rotate270(&upright)),
        ((-1, 0, 0, 1), image::imageops::flip_horizontal(&upright)),
        ((1, 0, 0, -1), image::imageops::flip_vertical(&upright)),
    ] {
        assert_eq!(turned(matrix.0, matrix.1, matrix.2, matrix.3), expected, "{matrix:?}");
    }
}

#[test]
fn pixels_that_are_not_square_are_stretched_for_a_model_only() {
    let dir = tempfile::tempdir().unwrap();
    let media = media(dir.path());
    let pipeline = "capssetter caps=video/x-raw,pixel-aspect-ratio=2/1 ! x264enc ! mp4mux";
    let path = clip::make(dir.path(), "wide.mp4", 4, pipeline);
    let jpeg = media.frame_of_file(&path, &Want { lossless: false, ..whole(2) }, &soon()).unwrap();
    assert_eq!((jpeg.pictures[0].width, jpeg.pictures[0].height), (320, 96));
    assert_eq!((jpeg.width, jpeg.height), (320, 96));
    let png = media.frame_of_file(&path, &whole(2), &soon()).unwrap();
    assert_eq!((png.pictures[0].width, png.pictures[0].height), (160, 96));
}

#[test]
fn a_picture_over_the_bound_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = clip::h264(dir.path(), 4);
    let settings = edgelabel::media::Settings { max_pixels: 160 * 96 - 1, ..super::settings(dir.path()) };
    let error = edgelabel::media::Media::new(settings).unwrap().frame_of_file(&path, &whole(2), &soon()).unwrap_err();
    assert!(matches!(error, Error::TooLarge { pixels: 15360, .. }), "{error}");
}

#[test]
fn high_dynamic_range_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let media = media(dir.path());
    for (colorimetry, expected) in [("bt2100-hlg", Some(Hdr::Hlg)), ("bt2100-pq", Some(Hdr::Pq)), ("bt709", None)] {
        let pipeline = format!("capssetter caps=video/x-raw,colorimetry={colorimetry} ! x264enc ! mp4mux");
        let path = clip::make(dir.path(), &format!("{colorimetry}.mp4"), 2, &pipeline);
        assert_eq!(media.frame_of_file(&path, &whole(1), &soon()).unwrap().hdr, expected);
    }
}
