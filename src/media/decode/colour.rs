//! What the numbers of a decoded picture mean: bitstream first, container where it is silent, custom where both are.

use gstreamer as gst;
use gstreamer_video as gst_video;

use gst_video::{VideoColorMatrix, VideoColorPrimaries, VideoColorRange, VideoColorimetry, VideoTransferFunction};

use crate::media::index::Colour;

/// The colour of a decoded picture; nothing in it is unknown any more.
pub(super) fn of(caps: &gst::CapsRef, info: &gst_video::VideoInfo, container: &Colour) -> VideoColorimetry {
    if info.is_rgb() {
        return VideoColorimetry::new(
            VideoColorRange::Range0_255,
            VideoColorMatrix::Rgb,
            VideoTransferFunction::Srgb,
            VideoColorPrimaries::Bt709,
        );
    }
    // `VideoInfo` fills in guesses by size where the caps are silent: only the caps tell what the bitstream said.
    let said = caps.structure(0).and_then(|s| s.get::<&str>("colorimetry").ok()).and_then(|s| s.parse::<VideoColorimetry>().ok());
    let range = said.map(|c| c.range()).filter(|r| *r != VideoColorRange::Unknown).or(container.full_range.map(range));
    let matrix = said.map(|c| c.matrix()).filter(|m| *m != VideoColorMatrix::Unknown).or(container.matrix.map(|c| VideoColorMatrix::from_iso(c.into())));
    let transfer = said.map(|c| c.transfer()).filter(|t| *t != VideoTransferFunction::Unknown).or(container.transfer.map(|c| VideoTransferFunction::from_iso(c.into())));
    let primaries =
        said.map(|c| c.primaries()).filter(|p| *p != VideoColorPrimaries::Unknown).or(container.primaries.map(|c| VideoColorPrimaries::from_iso(c.into())));
    VideoColorimetry::new(
        range.unwrap_or(VideoColorRange::Range16_235),
        matrix.unwrap_or(VideoColorMatrix::Bt601),
        transfer.unwrap_or(VideoTransferFunction::Bt709),
        primaries.unwrap_or(VideoColorPrimaries::Bt709),
    )
}

fn range(full: bool) -> VideoColorRange {
    if full { VideoColorRange::Range0_255 } else { VideoColorRange::Range16_235 }
}
