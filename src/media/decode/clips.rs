//! Clips that decoders prove themselves on; `clips/make.sh` makes them.

/// The frame to decode: one that refers to others.
pub const FRAME: u64 = 3;

/// Width and height of a clip's thumbnail in pixels.
pub const THUMBNAIL: (u32, u32) = (16, 12);

/// A clip, and what its frame [`FRAME`] looks like.
#[derive(Debug, Clone, Copy)]
pub struct Clip {
    /// A video file.
    pub video: &'static [u8],
    /// RGB, row by row.
    pub thumbnail: &'static [u8],
}

/// The clip of a codec.
pub fn of(codec: &str) -> Option<Clip> {
    let (video, thumbnail): (&[u8], &[u8]) = match codec {
        "h264" => (include_bytes!("clips/h264.mp4"), include_bytes!("clips/h264.rgb")),
        "h265" => (include_bytes!("clips/h265.mp4"), include_bytes!("clips/h265.rgb")),
        "vp8" => (include_bytes!("clips/vp8.webm"), include_bytes!("clips/vp8.rgb")),
        "vp9" => (include_bytes!("clips/vp9.webm"), include_bytes!("clips/vp9.rgb")),
        "av1" => (include_bytes!("clips/av1.mp4"), include_bytes!("clips/av1.rgb")),
        _ => return None,
    };
    Some(Clip { video, thumbnail })
}

/// The bytes of `(offset, length)` spans of a clip, one after the other, as far as they are there.
pub fn cut(clip: &[u8], spans: &[(u64, u64)]) -> Vec<u8> {
    let at = |position: u64| usize::try_from(position).unwrap_or(usize::MAX).min(clip.len());
    spans.iter().flat_map(|&(offset, length)| &clip[at(offset)..at(offset.saturating_add(length))]).copied().collect()
}
