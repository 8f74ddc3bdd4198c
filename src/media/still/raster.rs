//! PNG, WebP, GIF, BMP and TIFF, by the `image` crate: first picture, eight bits, alpha on white.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, RgbImage};

use super::colour::{Conversion, Samples};
use super::{Limits, StillError, StillKind};

/// A decoded picture, and what is still to be done to it for display.
pub(super) struct Raster {
    pub(super) rgb: RgbImage,
    pub(super) orientation: Orientation,
    pub(super) colours: Option<Conversion>,
}

/// Decodes a whole file, after its size was found to be within the limits.
pub(super) fn decode(bytes: &[u8], kind: StillKind, limits: &Limits) -> Result<Raster, StillError> {
    let format = match kind {
        StillKind::Png => ImageFormat::Png,
        StillKind::WebP => ImageFormat::WebP,
        StillKind::Gif => ImageFormat::Gif,
        StillKind::Bmp => ImageFormat::Bmp,
        StillKind::Tiff => ImageFormat::Tiff,
        StillKind::Jpeg | StillKind::Avif | StillKind::Heic => {
            let name = kind.name().to_uppercase();
            return Err(StillError::Unsupported(format!("{name} pictures are not decoded here; convert it to JPEG, PNG or WebP")));
        }
    };
    let failed = |cause| super::from_image(cause, kind.name());
    let mut decoder = ImageReader::with_format(Cursor::new(bytes), format).into_decoder().map_err(failed)?;
    let (width, height) = decoder.dimensions();
    limits.check(width, height)?;
    // Up to four samples of two bytes a pixel, and as much again for the decoder's own work.
    let mut bounds = image::Limits::no_limits();
    bounds.max_alloc = Some((u64::from(width) * u64::from(height)).saturating_mul(16).saturating_add(64 << 20));
    decoder.set_limits(bounds).map_err(failed)?;
    let orientation = decoder.orientation().map_err(failed)?;
    // A profile that cannot be had is no reason to show nothing.
    let profile = decoder.icc_profile().ok().flatten();
    let picture = DynamicImage::from_decoder(decoder).map_err(failed)?;
    let samples = if picture.color().has_color() { Samples::Light } else { Samples::Grey };
    let colours = Conversion::new(profile.as_deref(), samples);
    let rgb = if picture.color().has_alpha() { on_white(picture) } else { picture.into_rgb8() };
    Ok(Raster { rgb, orientation, colours })
}

fn on_white(picture: DynamicImage) -> RgbImage {
    let picture = picture.into_rgba8();
    let (width, height) = picture.dimensions();
    let pixels = picture.pixels().flat_map(|pixel| {
        let [red, green, blue, alpha] = pixel.0.map(u32::from);
        [red, green, blue].map(|light| ((light * alpha + 255 * (255 - alpha) + 127) / 255) as u8)
    });
    let rgb = pixels.collect();
    RgbImage::from_raw(width, height, rgb).unwrap_or_default()
}
