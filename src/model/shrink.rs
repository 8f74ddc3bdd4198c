//! Pictures made smaller for a model that takes less than the one they were made for: the endpoints that another one
//! falls back to.

use std::borrow::Cow;

use crate::media::Picture;
use crate::media::still::{self, encode};

use super::facade::Settings;

/// Used where the model's table names no quality of its own.
const QUALITY: u8 = 90;

/// The pictures within the model's bounds; never enlarged, and left as they are where they fit.
pub(super) fn fitted<'a>(pictures: &'a [Picture], settings: &Settings) -> Result<Cow<'a, [Picture]>, String> {
    let most = settings.max_image_side;
    if most == 0 || pictures.iter().all(|picture| picture.width.max(picture.height) <= most) {
        return Ok(Cow::Borrowed(pictures));
    }
    pictures.iter().map(|picture| smaller(picture, most, settings.jpeg_quality)).collect()
}

fn smaller(picture: &Picture, most: u32, quality: u8) -> Result<Picture, String> {
    if picture.width.max(picture.height) <= most {
        return Ok(picture.clone());
    }
    // It was made on this box a moment ago, so its size is within all limits.
    let limits = still::Limits { max_pixels: u64::MAX, max_side: most, passthrough: false };
    let still::Still { rgb, width, height, .. } = still::read(&picture.bytes, &limits).map_err(|error| error.to_string())?;
    let quality = if quality > 0 { quality } else { QUALITY };
    let bytes = encode::jpeg(&rgb, width, height, quality).map_err(|error| error.to_string())?;
    Ok(Picture { mime: "image/jpeg", bytes, width, height })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(max_image_side: u32, jpeg_quality: u8) -> Settings {
        Settings { max_image_side, jpeg_quality, ..super::super::tests::settings("http://127.0.0.1:1/v1") }
    }

    fn picture(mime: &'static str, width: u32, height: u32) -> Picture {
        let rgb: Vec<u8> = (0..width * height).flat_map(|at| [(at % 251) as u8, (at % 241) as u8, (at % 7) as u8]).collect();
        let bytes = if mime == "image/png" { encode::png(&rgb, width, height) } else { encode::jpeg(&rgb, width, height, 90) };
        Picture { mime, bytes: bytes.unwrap(), width, height }
    }

    #[test]
    fn pictures_that_fit_are_left_as_they_are() {
        let pictures = [picture("image/jpeg", 40, 30), picture("image/png", 20, 40)];
        for side in [0, 40, 4000] {
            assert!(matches!(fitted(&pictures, &settings(side, 0)), Ok(Cow::Borrowed(_))), "{side}");
        }
        let mixed = fitted(&pictures, &settings(39, 0)).unwrap();
        assert_eq!(mixed.iter().map(|one| (one.width, one.height)).collect::<Vec<_>>(), [(39, 29), (20, 39)]);
        let one = fitted(&[picture("image/png", 10, 10), picture("image/jpeg", 50, 10)], &settings(25, 0)).unwrap().into_owned();
        assert_eq!(
            one.iter().map(|one| (one.mime, one.width, one.height)).collect::<Vec<_>>(),
            [("image/png", 10, 10), ("image/jpeg", 25, 5)]
        );
    }

    #[test]
    fn a_smaller_one_is_a_jpeg_of_the_tables_quality() {
        let pictures = [picture("image/png", 200, 100)];
        let of = |quality| fitted(&pictures, &settings(100, quality)).unwrap()[0].clone();
        let (fine, coarse) = (of(0), of(10));
        assert_eq!((fine.mime, fine.width, fine.height), ("image/jpeg", 100, 50));
        assert!(fine.bytes.starts_with(&[0xff, 0xd8]) && coarse.bytes.len() * 2 < fine.bytes.len());
        let broken = [Picture { bytes: vec![0xff, 0xd8, 0xff], ..pictures[0].clone() }];
        assert!(fitted(&broken, &settings(100, 0)).is_err());
    }
}
