//! The video track of a Matroska or WebM file: what it is and how it is shown.

use super::super::{Codec, Colour, Crop, IndexError, StreamFormat, Turn};
use super::ebml::{child, elements, float, unsigned, unsigned_child};

/// The chosen track.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Track {
    pub(super) number: u64,
    pub(super) coding: Result<(Codec, StreamFormat), String>,
    pub(super) codec_data: Option<Vec<u8>>,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) turn: Turn,
    pub(super) pixel_aspect: Option<(u32, u32)>,
    pub(super) crop: Option<Crop>,
    pub(super) colour: Colour,
    /// Nanoseconds of a frame, 0 if not said; tells laced frames apart.
    pub(super) default_duration: u64,
    /// Stands before every frame but is stored once.
    pub(super) prefix: Vec<u8>,
}

/// The chosen video track: enabled before disabled, default before not, larger before smaller, first before later.
pub(super) fn choose(tracks: &[u8]) -> Result<Option<Track>, IndexError> {
    let videos = elements(tracks).filter(|(id, body)| *id == 0xae && unsigned_child(body, 0x83) == Some(1));
    type Rank = (bool, bool, u64);
    let mut best: Option<(Rank, &[u8])> = None;
    for (_, entry) in videos {
        let flag = |id| unsigned_child(entry, id).unwrap_or(1) != 0;
        let (width, height) = size(entry);
        let rank = (flag(0xb9), flag(0x88), u64::from(width) * u64::from(height));
        if best.is_none_or(|(so_far, _)| rank > so_far) {
            best = Some((rank, entry));
        }
    }
    best.map(|(_, entry)| read(entry)).transpose()
}

/// Whether there is any track of sound.
pub(super) fn has_sound(tracks: &[u8]) -> bool {
    elements(tracks).any(|(id, body)| id == 0xae && unsigned_child(body, 0x83) == Some(2))
}

fn read(entry: &[u8]) -> Result<Track, IndexError> {
    let video = child(entry, 0xe0).unwrap_or_default();
    let (width, height) = size(entry);
    let name = child(entry, 0x86).unwrap_or_default();
    let name = String::from_utf8_lossy(name).trim_end_matches('\0').to_owned();
    let codec_data = child(entry, 0x63a2).filter(|data| !data.is_empty()).map(<[u8]>::to_vec);
    let mut coding = coding(&name, codec_data.is_some());
    let prefix = match stripped(entry)? {
        Stripped::Header(prefix) => prefix,
        Stripped::Compressed => {
            coding = Err("its frames are compressed once more".to_owned());
            Vec::new()
        }
    };
    let crop = crop(video, width, height);
    let (across, down) = crop.map_or((width, height), |crop| (crop.width, crop.height));
    Ok(Track {
        number: unsigned_child(entry, 0xd7).unwrap_or_default(),
        coding,
        codec_data,
        width,
        height,
        turn: child(video, 0x7670).map(turn).unwrap_or_default(),
        pixel_aspect: pixel_aspect(video, across, down),
        crop,
        colour: child(video, 0x55b0).map(colour).unwrap_or_default(),
        default_duration: unsigned_child(entry, 0x0023_e383).unwrap_or_default(),
        prefix,
    })
}

fn size(entry: &[u8]) -> (u32, u32) {
    let video = child(entry, 0xe0).unwrap_or_default();
    let side = |id| unsigned_child(video, id).and_then(|side| u32::try_from(side).ok()).unwrap_or_default();
    (side(0xb0), side(0xba))
}

/// The codec, or why its frames cannot be addressed.
fn coding(name: &str, has_data: bool) -> Result<(Codec, StreamFormat), String> {
    Ok(match name {
        "V_MPEG4/ISO/AVC" if has_data => (Codec::H264, StreamFormat::Avc),
        "V_MPEG4/ISO/AVC" => (Codec::H264, StreamFormat::ByteStream),
        "V_MPEGH/ISO/HEVC" if has_data => (Codec::H265, StreamFormat::Hvc1),
        "V_MPEGH/ISO/HEVC" => (Codec::H265, StreamFormat::ByteStream),
        "V_VP8" => (Codec::Vp8, StreamFormat::Frame),
        "V_VP9" => (Codec::Vp9, StreamFormat::Frame),
        "V_AV1" => (Codec::Av1, StreamFormat::Frame),
        "V_MPEG1" => (Codec::Mpeg1, StreamFormat::Frame),
        "V_MPEG2" => (Codec::Mpeg2, StreamFormat::Frame),
        "V_MPEG4/ISO/SP" | "V_MPEG4/ISO/ASP" | "V_MPEG4/ISO/AP" => (Codec::Mpeg4, StreamFormat::Frame),
        "V_MJPEG" => (Codec::Mjpeg, StreamFormat::Frame),
        // ProRes lacks its frame headers here; the VfW and QuickTime wrappers have rules of their own.
        _ => return Err(format!("its codec is {name:?}")),
    })
}

enum Stripped {
    Header(Vec<u8>),
    Compressed,
}

fn stripped(entry: &[u8]) -> Result<Stripped, IndexError> {
    let encodings: Vec<_> = child(entry, 0x6d80).map(|all| elements(all).filter(|(id, _)| *id == 0x6240).collect()).unwrap_or_default();
    let mut prefix = Vec::new();
    for (_, encoding) in &encodings {
        if unsigned_child(encoding, 0x5033) == Some(1) || child(encoding, 0x5035).is_some() {
            return Err(IndexError::Unsupported("the video is encrypted (ContentEncryption)".to_owned()));
        }
        let compression = child(encoding, 0x5034).unwrap_or_default();
        let only_frames = unsigned_child(encoding, 0x5032).unwrap_or(1) == 1;
        if unsigned_child(compression, 0x4254) != Some(3) || !only_frames || encodings.len() > 1 {
            return Ok(Stripped::Compressed);
        }
        prefix = child(compression, 0x4255).unwrap_or_default().to_vec();
    }
    Ok(Stripped::Header(prefix))
}

fn crop(video: &[u8], width: u32, height: u32) -> Option<Crop> {
    let side = |id| unsigned_child(video, id).and_then(|side| u32::try_from(side).ok()).unwrap_or_default();
    let (bottom, top, left, right) = (side(0x54aa), side(0x54bb), side(0x54cc), side(0x54dd));
    let across = width.checked_sub(left)?.checked_sub(right).filter(|&across| across > 0)?;
    let down = height.checked_sub(top)?.checked_sub(bottom).filter(|&down| down > 0)?;
    ((across, down) != (width, height)).then_some(Crop { left, top, width: across, height: down })
}

/// From the size for display, in pixels, centimetres, inches or as a ratio; `None` where it is not given.
fn pixel_aspect(video: &[u8], width: u32, height: u32) -> Option<(u32, u32)> {
    if unsigned_child(video, 0x54b2).is_some_and(|unit| unit > 3) {
        return None;
    }
    let across = u128::from(unsigned_child(video, 0x54b0)?).checked_mul(height.into())?;
    let down = u128::from(unsigned_child(video, 0x54ba)?).checked_mul(width.into())?;
    let (mut a, mut b) = (across, down);
    while b > 0 {
        (a, b) = (b, a % b);
    }
    let reduce = |side: u128| side.checked_div(a).and_then(|side| u32::try_from(side).ok()).filter(|&side| side > 0);
    Some((reduce(across)?, reduce(down)?))
}

/// Roll counts counter-clockwise; a yaw of half a turn mirrors.
fn turn(projection: &[u8]) -> Turn {
    let angle = |id| child(projection, id).and_then(float).filter(|angle| angle.is_finite()).unwrap_or_default();
    let quarters = (-angle(0x7675) / 90.0).round().rem_euclid(4.0);
    Turn { clockwise: quarters as u16 % 4 * 90, mirror: angle(0x7673).abs() > 135.0 }
}

fn colour(colour: &[u8]) -> Colour {
    // 2 is "unspecified".
    let code = |id| unsigned_child(colour, id).and_then(|code| u16::try_from(code).ok()).filter(|&code| code != 2);
    let full_range = child(colour, 0x55b9).and_then(unsigned).and_then(|range| match range {
        1 => Some(false),
        2 => Some(true),
        _ => None,
    });
    Colour { primaries: code(0x55bb), transfer: code(0x55ba), matrix: code(0x55b1), full_range }
}
