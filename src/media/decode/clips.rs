//! Clips that decoders prove themselves on; `clips/make.sh` makes them.

/// The frame to decode: one that refers to others.
pub const FRAME: u64 = 3;

/// The clip of a codec.
pub fn of(codec: &str) -> Option<&'static [u8]> {
    Some(match codec {
        "h264" => include_bytes!("clips/h264.mp4"),
        "h265" => include_bytes!("clips/h265.mp4"),
        "vp8" => include_bytes!("clips/vp8.webm"),
        "vp9" => include_bytes!("clips/vp9.webm"),
        "av1" => include_bytes!("clips/av1.mp4"),
        _ => return None,
    })
}

/// The bytes of `(offset, length)` spans of a clip, one after the other, as far as they are there.
pub fn cut(clip: &[u8], spans: &[(u64, u64)]) -> Vec<u8> {
    let at = |position: u64| usize::try_from(position).unwrap_or(usize::MAX).min(clip.len());
    spans.iter().flat_map(|&(offset, length)| &clip[at(offset)..at(offset.saturating_add(length))]).copied().collect()
}
