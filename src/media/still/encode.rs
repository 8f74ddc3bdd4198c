//! Pictures for the model: scaled down, and written as JPEG or PNG.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::ImageEncoder;
use image::codecs::png::{CompressionType, FilterType as PngFilter, PngEncoder};

/// Up to this quality colour is stored at half the resolution.
const HALF_COLOUR: u8 = 92;

/// Why pixels could not be scaled or written: always a caller's slip (size and pixels disagree) or a size the format lacks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{width}x{height} pixels cannot be written: {cause}")]
pub struct EncodeError {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// What is wrong.
    pub cause: String,
}

/// A baseline JPEG of `rgb` (`width * height * 3` bytes, sRGB); `quality` is 1 to 100.
pub fn jpeg(rgb: &[u8], width: u32, height: u32, quality: u8) -> Result<Vec<u8>, EncodeError> {
    let fail = |cause: String| EncodeError { width, height, cause };
    check(rgb, width, height)?;
    let (Ok(across), Ok(down)) = (u16::try_from(width), u16::try_from(height)) else {
        return Err(fail("a JPEG's sides are at most 65535".to_owned()));
    };
    let mut bytes = Vec::with_capacity(rgb.len() / 12 + 1024);
    let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, quality.clamp(1, 100));
    // Models look at shapes: colour at half the resolution saves a third of the time and a tenth of the bytes.
    if quality <= HALF_COLOUR {
        encoder.set_sampling_factor(jpeg_encoder::SamplingFactor::F_2_2);
    }
    encoder.encode(rgb, across, down, jpeg_encoder::ColorType::Rgb).map_err(|error| fail(error.to_string()))?;
    Ok(bytes)
}

/// A lossless PNG of `rgb` (`width * height * 3` bytes, sRGB).
pub fn png(rgb: &[u8], width: u32, height: u32) -> Result<Vec<u8>, EncodeError> {
    check(rgb, width, height)?;
    let mut bytes = Vec::with_capacity(rgb.len() / 2);
    PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, PngFilter::Adaptive)
        .write_image(rgb, width, height, image::ExtendedColorType::Rgb8)
        .map_err(|error| EncodeError { width, height, cause: error.to_string() })?;
    Ok(bytes)
}

/// `rgb` scaled down so that its longer side is at most `max_side`, with its new width and height. Never enlarged.
pub fn fit(rgb: Vec<u8>, width: u32, height: u32, max_side: u32) -> Result<(Vec<u8>, u32, u32), EncodeError> {
    let (across, down) = fitted(width, height, max_side);
    if (across, down) == (width, height) {
        check(&rgb, width, height)?;
        return Ok((rgb, width, height));
    }
    Ok((scale(&rgb, width, height, across, down)?, across, down))
}

/// `rgb` scaled to exactly `across` x `down`.
pub fn scale(rgb: &[u8], width: u32, height: u32, across: u32, down: u32) -> Result<Vec<u8>, EncodeError> {
    check(rgb, width, height)?;
    let fail = |cause: String| EncodeError { width, height, cause };
    let from = ImageRef::new(width, height, rgb, PixelType::U8x3).map_err(|error| fail(error.to_string()))?;
    let mut to = Image::new(across, down, PixelType::U8x3);
    // Area-true filtering: detail the model could see must neither vanish nor alias.
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom));
    Resizer::new().resize(&from, &mut to, &options).map_err(|error| fail(error.to_string()))?;
    Ok(to.into_vec())
}

/// The size a picture gets when its longer side may be at most `max_side`; at least one pixel, never enlarged.
pub fn fitted(width: u32, height: u32, max_side: u32) -> (u32, u32) {
    let longer = width.max(height);
    if longer <= max_side.max(1) {
        return (width, height);
    }
    let side = |length: u32| {
        let (length, max_side, longer) = (u64::from(length), u64::from(max_side.max(1)), u64::from(longer));
        ((length * max_side + longer / 2) / longer).max(1) as u32
    };
    (side(width), side(height))
}

fn check(rgb: &[u8], width: u32, height: u32) -> Result<(), EncodeError> {
    let wanted = u64::from(width) * u64::from(height) * 3;
    if wanted == 0 || rgb.len() as u64 != wanted {
        return Err(EncodeError { width, height, cause: format!("there are {} bytes of pixels, not {wanted}", rgb.len()) });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gradient(width: u32, height: u32) -> Vec<u8> {
        (0..height).flat_map(|y| (0..width).flat_map(move |x| [(x * 255 / width) as u8, (y * 255 / height) as u8, 90])).collect()
    }

    fn mean_difference(a: &[u8], b: &[u8]) -> f64 {
        assert_eq!(a.len(), b.len());
        a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / a.len() as f64
    }

    #[test]
    fn a_jpeg_shows_what_went_in() {
        let rgb = gradient(121, 67);
        let back = image::load_from_memory(&jpeg(&rgb, 121, 67, 90).unwrap()).unwrap().into_rgb8();
        assert_eq!(back.dimensions(), (121, 67));
        assert!(mean_difference(&rgb, back.as_raw()) < 2.0);
    }

    #[test]
    fn a_png_is_lossless() {
        let rgb = gradient(33, 50);
        let back = image::load_from_memory(&png(&rgb, 33, 50).unwrap()).unwrap().into_rgb8();
        assert_eq!(back.as_raw(), &rgb);
    }

    #[test]
    fn a_picture_is_fitted_and_never_enlarged() {
        let (small, width, height) = fit(gradient(300, 100), 300, 100, 60).unwrap();
        assert_eq!((width, height, small.len()), (60, 20, 3600));
        assert!(mean_difference(&small, &gradient(60, 20)) < 4.0);
        assert_eq!(fit(gradient(30, 10), 30, 10, 60).unwrap().1, 30);
        assert_eq!(fitted(10_000, 1, 100), (100, 1));
        assert_eq!(fitted(u32::MAX, u32::MAX, 1536), (1536, 1536));
    }

    #[test]
    fn pixels_that_do_not_fit_the_size_are_refused() {
        assert!(jpeg(&[0; 10], 2, 2, 90).is_err());
        assert!(png(&[], 0, 0).is_err());
        assert!(jpeg(&vec![0; 70_000 * 3], 70_000, 1, 90).unwrap_err().cause.contains("65535"));
    }
}
