//! What the numbers of a decoded picture mean: bitstream first, container where it is silent, custom where both are.

use gstreamer as gst;
use gstreamer_video as gst_video;

use gst_video::{VideoColorMatrix, VideoColorPrimaries, VideoColorRange, VideoColorimetry, VideoTransferFunction};

use crate::media::Hdr;
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
    let said = said.unwrap_or_else(unknown);
    let range = [Some(said.range()), container.full_range.map(range)];
    let matrix = [Some(said.matrix()), container.matrix.map(|c| VideoColorMatrix::from_iso(c.into()))];
    let transfer = [Some(said.transfer()), container.transfer.map(|c| VideoTransferFunction::from_iso(c.into()))];
    let primaries = [Some(said.primaries()), container.primaries.map(|c| VideoColorPrimaries::from_iso(c.into()))];
    VideoColorimetry::new(
        first(range, VideoColorRange::Unknown, VideoColorRange::Range16_235),
        first(matrix, VideoColorMatrix::Unknown, VideoColorMatrix::Bt601),
        first(transfer, VideoTransferFunction::Unknown, VideoTransferFunction::Bt709),
        first(primaries, VideoColorPrimaries::Unknown, VideoColorPrimaries::Bt709),
    )
}

/// The transfer function, if it is one of high dynamic range.
pub(super) fn hdr(colorimetry: &VideoColorimetry) -> Option<Hdr> {
    match colorimetry.transfer() {
        VideoTransferFunction::Smpte2084 => Some(Hdr::Pq),
        VideoTransferFunction::AribStdB67 => Some(Hdr::Hlg),
        _ => None,
    }
}

fn unknown() -> VideoColorimetry {
    VideoColorimetry::new(VideoColorRange::Unknown, VideoColorMatrix::Unknown, VideoTransferFunction::Unknown, VideoColorPrimaries::Unknown)
}

/// The first of bitstream and container that knows.
fn first<T: PartialEq>(said: [Option<T>; 2], unknown: T, custom: T) -> T {
    said.into_iter().flatten().find(|value| *value != unknown).unwrap_or(custom)
}

fn range(full: bool) -> VideoColorRange {
    if full { VideoColorRange::Range0_255 } else { VideoColorRange::Range16_235 }
}
