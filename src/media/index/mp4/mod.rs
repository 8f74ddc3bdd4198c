//! MP4 and QuickTime movies: plain, fragmented, or begun as one and continued as the other.

mod boxes;
mod entry;
mod fragments;
mod samples;
#[cfg(test)]
mod tests;
mod track;

use self::boxes::{Header, child, header};
use self::entry::Coding;
use self::fragments::{Defaults, Fragments};
use self::track::{Movie, RawEdit, Track};
use super::order::{IN_DECODE_ORDER, Stretch, edited, is_of_decoding, presentation};
use super::window::Window;
use super::{Care, Edit, Found, INDEX_LIMIT, IndexError, Sample, SampleTable, beginnings, hidden, opening, packet, sniff};

/// Files up to this size are read whole rather than in steps.
const SMALL_FILE: u64 = 8 << 20;
/// Read along with a box header: a `moof` often fits.
const STEP: usize = 16 << 10;
/// When the data between two headers are shorter than this, reading on is cheaper than asking again.
const NEAR: u64 = 256 << 10;
/// Read at once while headers are near each other.
const STRIDE: usize = 1 << 20;
/// What lies behind the movie's data is mostly `moov`: up to this much of it is read at once.
const TAIL: u64 = 16 << 20;
/// Edits times samples: beyond, numbering by table costs more than counting.
const EDIT_LIMIT: u64 = 50_000_000;

/// Whether a file that begins with `head` is a movie.
pub(super) fn recognises(head: &[u8]) -> bool {
    const FIRST: [&[u8; 4]; 13] =
        [b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"pnot", b"sidx", b"uuid", b"junk", b"pict"];
    header(head).is_some_and(|found| FIRST.contains(&&found.kind))
}

/// Reads a movie's sample table.
pub(super) fn read(window: &mut Window<'_>, care: Care) -> Result<Found, IndexError> {
    let Some((moov, mut at)) = find_moov(window)? else {
        return Err(broken("there is no movie header (moov): the recording was not finished, or the file is cut short"));
    };
    if child(&moov, b"cmov").is_some() {
        return Ok(sequential("its movie header is compressed", false));
    }
    let movie = Movie::of(&moov);
    let fragmented = child(&moov, b"mvex").is_some();
    let Some(track) = track::choose(&moov, &movie, |track| fragmented || samples::count(track.stbl) > 0)? else {
        let what = if track::has_kind(&moov, b"soun") { "sound without pictures (mp4)" } else { "an mp4 without a video track" };
        return Ok(Found::Unknown { what: what.to_owned() });
    };
    let unedited = track.edits.is_empty();
    let (codec, stream_format) = match &track.entry.coding {
        Coding::Known(codec, format) => (*codec, *format),
        Coding::Protected => return Err(unsupported("the video is encrypted (DRM)")),
        Coding::Foreign(name) if entry::UNCOMPRESSED.contains(&name.as_str()) => {
            return Err(IndexError::Unsupported(sniff::uncompressed_remedy(&format!("{name} in MP4 or QuickTime"))));
        }
        Coding::Foreign(name) => return Ok(sequential(format!("its codec is {name}"), unedited)),
    };
    let packets = packet::Coding { codec, format: stream_format, data: track.entry.codec_data.as_deref() };
    let descriptions_differ = child(track.stbl, b"stsd").is_some_and(|stsd| !entry::all_alike(stsd));

    let mut samples = if samples::count(track.stbl) > 0 { samples::read(track.stbl, window.size())? } else { Vec::new() };
    let mut several = samples::several_descriptions(track.stbl);
    let in_header = samples.len();
    if let Some(defaults) = Defaults::of(&moov, track.id) {
        let goes_on = samples::end_time(track.stbl).unwrap_or_default();
        let mut fragments = Fragments::new(track.id, track.description, defaults, window.size(), goes_on);
        walk_fragments(window, &mut at, &mut fragments, &mut samples)?;
        several |= fragments.other_description;
    }
    if several && descriptions_differ {
        return Ok(sequential("the description of its pictures changes on the way", unedited));
    }

    let stretches = stretches(&track, &movie, fragmented);
    if stretches.len() as u64 * in_header as u64 > EDIT_LIMIT {
        return Ok(sequential(format!("its edit list has {} entries", stretches.len()), false));
    }
    if is_of_decoding(window, packets, &[], &samples, (care, false))? {
        return Ok(sequential(IN_DECODE_ORDER, unedited));
    }
    let mut begins = |sample: &Sample| beginnings::may_begin(window, packets, &[], sample);
    let order = presentation(codec, &samples[..in_header], 0, &mut begins)?;
    let (mut shown, edits) = edited(&order, &samples, &stretches);
    // Edit lists speak of the movie header's samples; fragments are shown whole.
    shown.extend(presentation(codec, &samples[in_header..], in_header, &mut begins)?);
    super::limit(shown.len() as u64, u64::MAX, "mp4")?;
    let pictures = hidden::count(window, packets, &samples, care)?;
    if pictures.twofold {
        return Ok(sequential("samples hold several pictures", unedited));
    }
    let hidden = if codec.hides() { pictures.hidden } else { opening::dropped(window, packets, &[], &samples)? };
    let edits = without(&hidden, &mut shown, edits);
    let Track { turn, timescale, entry, .. } = track;
    Ok(Found::Table(Box::new(SampleTable {
        container: "mp4",
        codec,
        codec_data: entry.codec_data,
        stream_format,
        width: entry.width,
        height: entry.height,
        turn,
        pixel_aspect: entry.looks.pixel_aspect,
        crop: entry.looks.crop,
        colour: entry.looks.colour,
        prefix: Vec::new(),
        samples,
        shown,
        timescale,
        edits,
    })))
}

/// The movie header's body, and where the walk goes on behind it.
fn find_moov(window: &mut Window<'_>) -> Result<Option<(Vec<u8>, u64)>, IndexError> {
    let mut at = 0;
    let mut ahead = STEP;
    while let Some(found) = top_level(window, at, ahead)? {
        let end = found.size.and_then(|size| at.checked_add(size)).unwrap_or(window.size());
        if &found.kind == b"moov" {
            let length = end - at;
            if end > window.size() {
                return Err(broken(format!(
                    "the movie header (moov) at byte {at} is cut short: {length} bytes, the file ends after {}",
                    window.size()
                )));
            }
            if length > INDEX_LIMIT {
                return Err(unsupported(format!("the movie header (moov) has {length} bytes, more than the bound of {INDEX_LIMIT}")));
            }
            // What follows is mostly the first sample, which is looked at.
            let whole = window.get(at, length as usize + 16 + opening::FIRST, 0)?;
            return Ok(Some((whole[found.header as usize..length as usize].to_vec(), end)));
        }
        let left = window.size().saturating_sub(end);
        ahead = if &found.kind == b"mdat" && left <= TAIL { left as usize } else { STEP };
        at = end;
    }
    Ok(None)
}

/// Adds what the `moof` boxes from `at` on have of the track. A damaged end is the end.
fn walk_fragments(window: &mut Window<'_>, at: &mut u64, fragments: &mut Fragments, samples: &mut Vec<Sample>) -> Result<(), IndexError> {
    let small = window.size() <= SMALL_FILE;
    let mut ahead = if small { SMALL_FILE as usize } else { STEP };
    while let Some(found) = top_level(window, *at, ahead)? {
        let end = found.size.and_then(|size| at.checked_add(size)).unwrap_or(window.size());
        let length = end - *at;
        if &found.kind == b"moof" {
            if end > window.size() {
                break;
            }
            if length > INDEX_LIMIT {
                return Err(unsupported(format!("a fragment's header has {length} bytes, more than the bound of {INDEX_LIMIT}")));
            }
            let whole = window.get(*at, length as usize, ahead)?;
            fragments.add(&whole[found.header as usize..], *at, samples)?;
        } else if !small && &found.kind == b"mdat" {
            ahead = if length <= NEAR { STRIDE } else { STEP };
        }
        *at = end;
    }
    Ok(())
}

/// The header of the box at `at` in the file; `None` at its end, or where there is no box.
fn top_level(window: &mut Window<'_>, at: u64, ahead: usize) -> Result<Option<Header>, IndexError> {
    let found = header(window.get(at, 16, ahead)?);
    Ok(found.filter(|found| found.kind.iter().all(|&byte| byte >= 0x20)))
}

/// What the edit list shows, in the media's timescale. No list shows everything.
fn stretches(track: &Track<'_>, movie: &Movie, fragmented: bool) -> Vec<Stretch> {
    let to_media = |duration: u64| {
        let scaled =
            (u128::from(duration) * u128::from(track.timescale) + u128::from(movie.timescale / 2)).checked_div(movie.timescale.into());
        scaled.and_then(|scaled| i64::try_from(scaled).ok()).unwrap_or(i64::MAX)
    };
    let mut stretches = Vec::new();
    let mut begins = 0_i64;
    // Beside others, and where the whole length is known, one without a duration shows nothing.
    let empty_ones = !fragmented && track.edits.iter().any(|edit| edit.media_time >= 0 && edit.duration > 0);
    for &RawEdit { duration, media_time } in &track.edits {
        let length = to_media(duration);
        if media_time >= 0 && !(empty_ones && duration == 0) {
            // Duration 0 is how writers say "to the end" while they do not know it.
            let end = Some(media_time.saturating_add(length)).filter(|_| duration > 0);
            stretches.push(Stretch { start: media_time, end, origin: media_time.saturating_sub(begins) });
        }
        begins = begins.saturating_add(length);
    }
    if stretches.is_empty() {
        // No list, or nothing but empty edits: everything, later.
        stretches.push(Stretch { start: i64::MIN, end: None, origin: begins.saturating_neg() });
    }
    stretches
}

/// Takes the hidden samples out of `shown`; the edits then begin with earlier frames.
fn without(hidden: &[bool], shown: &mut Vec<u32>, mut edits: Vec<Edit>) -> Vec<Edit> {
    let is_hidden = |at: &u32| hidden.get(*at as usize).copied().unwrap_or(false);
    for edit in &mut edits {
        edit.first -= shown[..edit.first as usize].iter().filter(|at| is_hidden(at)).count() as u32;
    }
    shown.retain(|at| !is_hidden(at));
    edits
}

fn sequential(why: impl Into<String>, unedited: bool) -> Found {
    Found::Sequential { container: "mp4", why: why.into(), unedited }
}

fn broken(cause: impl Into<String>) -> IndexError {
    IndexError::Broken { container: "mp4", cause: cause.into() }
}

fn unsupported(cause: impl Into<String>) -> IndexError {
    IndexError::Unsupported(cause.into())
}
