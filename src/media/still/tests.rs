//! Pictures made by encoders, and what becomes of them.

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

use super::*;

const ANY: Limits = Limits { max_pixels: 1 << 24, max_side: u32::MAX, passthrough: false };

/// Four corners of four colours: red, green, blue, white.
fn corners(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| match (x < width / 2, y < height / 2) {
        (true, true) => Rgb([250, 10, 10]),
        (false, true) => Rgb([10, 250, 10]),
        (true, false) => Rgb([10, 10, 250]),
        (false, false) => Rgb([255; 3]),
    })
}

fn jpeg_of(picture: &RgbImage, set: impl FnOnce(&mut Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 95);
    set(&mut encoder);
    encoder.encode(picture.as_raw(), picture.width() as u16, picture.height() as u16, ColorType::Rgb).unwrap();
    bytes
}

fn saved(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// The colours in the middle of the four corners.
fn seen(still: &Still) -> [[u8; 3]; 4] {
    assert_eq!(still.rgb.len(), still.width as usize * still.height as usize * 3);
    let at = |x: u32, y: u32| {
        let start = (y * still.width + x) as usize * 3;
        [still.rgb[start], still.rgb[start + 1], still.rgb[start + 2]]
    };
    let (w, h) = (still.width, still.height);
    [at(w / 4, h / 4), at(w * 3 / 4, h / 4), at(w / 4, h * 3 / 4), at(w * 3 / 4, h * 3 / 4)]
}

fn near(seen: [[u8; 3]; 4], wanted: [[u8; 3]; 4]) -> bool {
    seen.as_flattened().iter().zip(wanted.as_flattened()).all(|(a, b)| a.abs_diff(*b) <= 8)
}

const RED: [u8; 3] = [250, 10, 10];
const GREEN: [u8; 3] = [10, 250, 10];
const BLUE: [u8; 3] = [10, 10, 250];
const WHITE: [u8; 3] = [255; 3];

#[test]
fn every_kind_is_decoded() {
    let picture = corners(64, 48);
    for (format, kind) in [
        (ImageFormat::Jpeg, StillKind::Jpeg),
        (ImageFormat::Png, StillKind::Png),
        (ImageFormat::WebP, StillKind::WebP),
        (ImageFormat::Gif, StillKind::Gif),
        (ImageFormat::Bmp, StillKind::Bmp),
        (ImageFormat::Tiff, StillKind::Tiff),
    ] {
        let still = read(&saved(picture.clone(), format), &ANY).unwrap();
        assert_eq!((still.kind, still.width, still.height, still.passthrough.is_none()), (kind, 64, 48, true));
        assert!(near(seen(&still), [RED, GREEN, BLUE, WHITE]), "{kind:?}: {:?}", seen(&still));
    }
    let deep = DynamicImage::ImageRgb8(picture.clone()).into_rgb16();
    assert!(near(seen(&read(&saved(deep, ImageFormat::Png), &ANY).unwrap()), [RED, GREEN, BLUE, WHITE]));
    let grey = GrayImage::from_pixel(9, 5, image::Luma([77]));
    assert_eq!(seen(&read(&saved(grey, ImageFormat::Png), &ANY).unwrap()), [[77; 3]; 4]);
}

#[test]
fn what_is_transparent_is_white() {
    let picture = RgbaImage::from_fn(8, 8, |x, y| match (x < 4, y < 4) {
        (true, true) => Rgba([0, 0, 0, 0]),
        (false, true) => Rgba([0, 0, 0, 128]),
        (true, false) => Rgba([250, 10, 10, 255]),
        (false, false) => Rgba([10, 10, 250, 0]),
    });
    let wanted = [WHITE, [127; 3], RED, WHITE];
    for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Tiff] {
        assert_eq!(seen(&read(&saved(picture.clone(), format), &ANY).unwrap()), wanted, "{format:?}");
    }
    let deep = DynamicImage::ImageRgba8(picture).into_rgba16();
    assert_eq!(seen(&read(&saved(deep, ImageFormat::Png), &ANY).unwrap()), wanted);
}

#[test]
fn jpegs_of_all_flavours_are_decoded() {
    let picture = corners(70, 50);
    for sampling in [SamplingFactor::F_1_1, SamplingFactor::F_2_1, SamplingFactor::F_1_2, SamplingFactor::F_2_2] {
        for progressive in [false, true] {
            let bytes = jpeg_of(&picture, |encoder| {
                encoder.set_sampling_factor(sampling);
                encoder.set_progressive(progressive);
                encoder.set_restart_interval(3);
            });
            let still = read(&bytes, &ANY).unwrap();
            assert!(near(seen(&still), [RED, GREEN, BLUE, WHITE]), "{sampling:?} {progressive}: {:?}", seen(&still));
            let half = read(&bytes, &Limits { max_side: 35, ..ANY }).unwrap();
            assert_eq!((half.width, half.height, half.full_width, half.full_height), (35, 25, 70, 50));
            assert!(near(seen(&half), [RED, GREEN, BLUE, WHITE]), "{sampling:?} {progressive}: {:?}", seen(&half));
        }
    }
    let mut grey = Vec::new();
    Encoder::new(&mut grey, 95).encode(&[77; 20 * 10], 20, 10, ColorType::Luma).unwrap();
    assert!(near(seen(&read(&grey, &ANY).unwrap()), [[77; 3]; 4]));
}

#[test]
fn ink_becomes_light() {
    // Cyan, magenta, yellow, black: none, all of the first, half of the last.
    for (ink, light) in
        [([0, 0, 0, 0], WHITE), ([255, 0, 0, 0], [0, 255, 255]), ([0, 0, 0, 128], [127; 3]), ([0, 255, 255, 55], [200, 0, 0])]
    {
        for colour in [ColorType::Cmyk, ColorType::CmykAsYcck] {
            let mut bytes = Vec::new();
            Encoder::new(&mut bytes, 100).encode(&ink.repeat(16 * 16), 16, 16, colour).unwrap();
            let still = read(&bytes, &ANY).unwrap();
            assert!(near(seen(&still), [light; 4]), "{ink:?} {colour:?}: {:?}", seen(&still)[0]);
        }
    }
}

/// An EXIF block of one entry: the orientation.
fn exif(orientation: u8) -> Vec<u8> {
    let mut block = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    block.extend([orientation, 0, 0, 0, 0, 0, 0]);
    block
}

#[test]
fn a_picture_is_turned_as_its_camera_was_held() {
    let picture = corners(64, 32);
    for (orientation, wanted) in [
        (1, [RED, GREEN, BLUE, WHITE]),
        (2, [GREEN, RED, WHITE, BLUE]),
        (3, [WHITE, BLUE, GREEN, RED]),
        (4, [BLUE, WHITE, RED, GREEN]),
        (5, [RED, BLUE, GREEN, WHITE]),
        (6, [BLUE, RED, WHITE, GREEN]),
        (7, [WHITE, GREEN, BLUE, RED]),
        (8, [GREEN, WHITE, RED, BLUE]),
    ] {
        let bytes = jpeg_of(&picture, |encoder| encoder.add_app_segment(1, exif(orientation)).unwrap());
        let limits = Limits { max_side: 32, passthrough: true, ..ANY };
        let still = read(&bytes, &limits).unwrap();
        let upright = if orientation < 5 { (32, 16, 64, 32) } else { (16, 32, 32, 64) };
        assert_eq!((still.width, still.height, still.full_width, still.full_height), upright, "orientation {orientation}");
        assert!(near(seen(&still), wanted), "orientation {orientation}: {:?}", seen(&still));
        let as_it_is = read(&bytes, &Limits { max_side: 64, ..limits }).unwrap();
        assert_eq!(as_it_is.passthrough.is_some(), orientation == 1);
    }
}

#[test]
fn a_small_jpeg_passes_as_it_is_but_for_its_metadata() {
    let picture = corners(64, 48);
    let mut bytes = jpeg_of(&picture, |encoder| {
        encoder.add_app_segment(1, exif(1)).unwrap();
        encoder.add_app_segment(1, b"http://ns.adobe.com/xap/1.0/\0<where I live>".to_vec()).unwrap();
        encoder.add_app_segment(13, b"Photoshop 3.0\0where I live".to_vec()).unwrap();
        encoder.add_app_segment(2, profile(&moxcms::ColorProfile::new_srgb())).unwrap();
        encoder.add_app_segment(14, b"Adobe\0\x64\0\0\0\0\x01where I live".to_vec()).unwrap();
    });
    let plain = jpeg::header(&bytes).unwrap();
    assert!(plain.complete && plain.orientation == Orientation::NoTransforms);
    bytes.extend_from_slice(b"a second picture, where I live");
    let limits = Limits { passthrough: true, max_side: 64, ..ANY };
    let passed = read(&bytes, &limits).unwrap().passthrough.unwrap();
    let contains = |needle: &[u8]| passed.windows(needle.len()).any(|window| window == needle);
    assert!(!contains(b"live") && !contains(b"Exif") && !contains(b"ICC_PROFILE") && contains(b"JFIF") && contains(b"Adobe"));
    assert!(near(seen(&read(&passed, &ANY).unwrap()), [RED, GREEN, BLUE, WHITE]));
    assert!(read(&bytes, &Limits { max_side: 63, ..limits }).unwrap().passthrough.is_none());
    assert!(read(&bytes, &ANY).unwrap().passthrough.is_none());
}

/// A colour profile as JPEG has it, in one segment.
fn profile(profile: &moxcms::ColorProfile) -> Vec<u8> {
    [b"ICC_PROFILE\0\x01\x01", profile.encode().unwrap().as_slice()].concat()
}

#[test]
fn colours_of_another_space_are_converted_and_not_passed_on() {
    let picture = RgbImage::from_pixel(16, 16, Rgb([200, 100, 50]));
    let bytes = jpeg_of(&picture, |encoder| encoder.add_app_segment(2, profile(&moxcms::ColorProfile::new_display_p3())).unwrap());
    let still = read(&bytes, &Limits { passthrough: true, ..ANY }).unwrap();
    assert!(still.passthrough.is_none());
    assert!(near(seen(&still), [[215, 93, 31]; 4]), "{:?}", seen(&still)[0]);
    // In two segments, the second before the first.
    let whole = moxcms::ColorProfile::new_display_p3().encode().unwrap();
    let (first, second) = whole.split_at(whole.len() / 2);
    let bytes = jpeg_of(&picture, |encoder| {
        encoder.add_app_segment(2, [b"ICC_PROFILE\0\x02\x02", second].concat()).unwrap();
        encoder.add_app_segment(2, [b"ICC_PROFILE\0\x01\x02", first].concat()).unwrap();
    });
    assert_eq!(seen(&read(&bytes, &ANY).unwrap()), seen(&still));
}

#[test]
fn a_picture_cut_short_is_refused() {
    let picture = RgbImage::from_fn(96, 96, |x, y| Rgb([(x * y) as u8, (x * 7) as u8, (y * 5) as u8]));
    let limits = Limits { passthrough: true, ..ANY };
    for bytes in
        [jpeg_of(&picture, |_| {}), jpeg_of(&picture, |encoder| encoder.set_progressive(true)), saved(picture.clone(), ImageFormat::Png)]
    {
        for percent in [10, 50, 80, 95] {
            let cut = &bytes[..bytes.len() * percent / 100];
            assert!(matches!(read(cut, &limits), Err(StillError::Broken { .. })), "{:?} at {percent} %", StillKind::of(&bytes));
        }
    }
}

#[test]
fn too_many_pixels_are_refused_before_they_are_allocated() {
    let limits = Limits { max_pixels: 99, ..ANY };
    for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif, ImageFormat::Bmp, ImageFormat::Tiff] {
        let found = read(&saved(corners(10, 10), format), &limits);
        assert!(matches!(found, Err(StillError::TooLarge { pixels: 100, limit: 99 })), "{format:?}: {found:?}");
    }
    // A header alone, that claims 65500 x 65500.
    let mut huge = jpeg_of(&corners(16, 16), |_| {});
    let frame = huge.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
    huge[frame + 5..frame + 9].copy_from_slice(&[0xff, 0xdc, 0xff, 0xdc]);
    assert!(matches!(read(&huge, &ANY), Err(StillError::TooLarge { .. })));
}

#[test]
fn what_is_not_decoded_says_what_to_do() {
    let unsupported = read(b"\0\0\0\x1cftypavif\0\0\0\0", &ANY).unwrap_err().to_string();
    assert!(unsupported.contains("AVIF") && unsupported.contains("convert"), "{unsupported}");
    assert!(matches!(read(b"not a picture", &ANY), Err(StillError::Unsupported(_))));
}
