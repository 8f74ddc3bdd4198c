//! A track of a movie, apart from its samples: what it is and how it is shown.

use super::super::{Colour, Crop, IndexError, Turn};
use super::boxes::{Fields, boxes, child, descend};
use super::entry::{self, Entry};
use super::{broken, unsupported};

/// The nine numbers of a display matrix that turn and mirror: (a, b) is where "right" goes, (c, d) where "down" goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Matrix {
    a: i64,
    b: i64,
    c: i64,
    d: i64,
}

/// A video track.
pub(super) struct Track<'a> {
    pub(super) id: u32,
    pub(super) enabled: bool,
    pub(super) turn: Turn,
    /// Units of the media's timestamps in a second; never 0.
    pub(super) timescale: u32,
    pub(super) edits: Vec<RawEdit>,
    pub(super) entry: Entry,
    /// Which of the sample descriptions `entry` is, from 1.
    pub(super) description: u32,
    /// The sample table box.
    pub(super) stbl: &'a [u8],
}

/// An entry of an edit list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RawEdit {
    /// In the movie's timescale.
    pub(super) duration: u64,
    /// In the media's timescale; -1 shows nothing.
    pub(super) media_time: i64,
}

/// What a movie's header says.
pub(super) struct Movie {
    /// Units of edit durations in a second.
    pub(super) timescale: u32,
    matrix: Matrix,
}

impl Movie {
    pub(super) fn of(moov: &[u8]) -> Movie {
        let read = || {
            let mut fields = Fields::new(child(moov, b"mvhd")?);
            let (version, _) = fields.version()?;
            fields.take(if version == 1 { 16 } else { 8 })?;
            let timescale = fields.u32()?;
            fields.take(if version == 1 { 8 } else { 4 })?;
            // Rate, volume and reserved.
            fields.take(16)?;
            Some(Movie { timescale, matrix: Matrix::of(&mut fields)? })
        };
        read().unwrap_or(Movie { timescale: 0, matrix: Matrix::PLAIN })
    }
}

/// The chosen video track: an enabled one before a disabled one, a larger picture before a smaller, the first before a
/// later. Chapter pictures and auxiliary tracks (depth, alpha) are never chosen.
pub(super) fn choose<'a>(moov: &'a [u8], movie: &Movie, has_samples: impl Fn(&Track<'a>) -> bool) -> Result<Option<Track<'a>>, IndexError> {
    let chapters = chapter_tracks(moov);
    let mut best: Option<((bool, bool, u64), Track<'a>)> = None;
    for found in boxes(moov).filter(|found| &found.kind == b"trak") {
        if descend(found.body, &[b"mdia", b"hdlr"]).and_then(|hdlr| hdlr.get(8..12)) != Some(b"vide") {
            continue;
        }
        let track = read(found.body, movie)?;
        let area = u64::from(track.entry.width) * u64::from(track.entry.height);
        let rank = (has_samples(&track) && !chapters.contains(&track.id), track.enabled, area);
        if best.as_ref().is_none_or(|(so_far, _)| rank > *so_far) {
            best = Some((rank, track));
        }
    }
    Ok(best.and_then(|(rank, track)| rank.0.then_some(track)))
}

/// Whether the movie has any track of a kind, such as `soun`.
pub(super) fn has_kind(moov: &[u8], kind: &[u8; 4]) -> bool {
    let of = |track| descend(track, &[b"mdia", b"hdlr"]).and_then(|hdlr| hdlr.get(8..12));
    boxes(moov).filter(|found| &found.kind == b"trak").any(|found| of(found.body) == Some(kind))
}

/// Tracks that others use as their chapters: titles, or thumbnails that look like a video.
fn chapter_tracks(moov: &[u8]) -> Vec<u32> {
    let tracks = boxes(moov).filter(|found| &found.kind == b"trak");
    let references = tracks.filter_map(|found| descend(found.body, &[b"tref", b"chap"]));
    references.flat_map(|ids| ids.chunks_exact(4).map(|id| u32::from_be_bytes([id[0], id[1], id[2], id[3]]))).collect()
}

fn read<'a>(trak: &'a [u8], movie: &Movie) -> Result<Track<'a>, IndexError> {
    let missing = |what: &str| broken(format!("a video track has no usable {what}"));
    let (id, enabled, matrix) = child(trak, b"tkhd").and_then(header).ok_or_else(|| missing("tkhd"))?;
    let timescale = descend(trak, &[b"mdia", b"mdhd"]).and_then(media_timescale).ok_or_else(|| missing("mdhd"))?;
    let minf = descend(trak, &[b"mdia", b"minf"]).ok_or_else(|| missing("minf"))?;
    let stbl = child(minf, b"stbl").ok_or_else(|| missing("stbl"))?;
    let description = first_description(stbl);
    let (entry, reference) = child(stbl, b"stsd").and_then(|stsd| entry::read(stsd, description)).ok_or_else(|| missing("stsd"))?;
    if !self_contained(minf, reference) {
        return Err(unsupported("the movie's pictures lie in another file (external data reference)"));
    }
    let edits = match descend(trak, &[b"edts", b"elst"]) {
        Some(elst) => edit_list(elst).ok_or_else(|| missing("elst"))?,
        None => Vec::new(),
    };
    Ok(Track { id, enabled, turn: matrix.then(movie.matrix).turn(), timescale, edits, entry, description, stbl })
}

fn header(tkhd: &[u8]) -> Option<(u32, bool, Matrix)> {
    let mut fields = Fields::new(tkhd);
    let (version, flags) = fields.version()?;
    fields.take(if version == 1 { 16 } else { 8 })?;
    let id = fields.u32()?;
    // Reserved and duration; reserved, layer, group and volume.
    fields.take(if version == 1 { 12 } else { 8 })?;
    fields.take(16)?;
    Some((id, flags & 1 != 0, Matrix::of(&mut fields)?))
}

fn media_timescale(mdhd: &[u8]) -> Option<u32> {
    let mut fields = Fields::new(mdhd);
    let (version, _) = fields.version()?;
    fields.take(if version == 1 { 16 } else { 8 })?;
    fields.u32().filter(|&timescale| timescale > 0)
}

fn edit_list(elst: &[u8]) -> Option<Vec<RawEdit>> {
    let mut fields = Fields::new(elst);
    let (version, _) = fields.version()?;
    let entries = fields.entries(if version == 1 { 20 } else { 12 })?;
    let edit = |entry| {
        let mut fields = Fields::new(entry);
        let duration = fields.wide(version)?;
        let media_time = if version == 1 { fields.u64()? as i64 } else { i64::from(fields.i32()?) };
        Some(RawEdit { duration, media_time })
    };
    entries.map(edit).collect()
}

/// The sample description that the track's first chunk uses.
fn first_description(stbl: &[u8]) -> u32 {
    let first = child(stbl, b"stsc").and_then(|stsc| stsc.get(16..20));
    first.map_or(1, |index| u32::from_be_bytes([index[0], index[1], index[2], index[3]]).max(1))
}

/// Whether data reference `index` (from 1) says that the samples are in this very file. Silence means yes.
fn self_contained(minf: &[u8], index: u16) -> bool {
    let Some(dref) = descend(minf, &[b"dinf", b"dref"]).and_then(|dref| dref.get(8..)) else { return true };
    let entry = boxes(dref).nth(usize::from(index).saturating_sub(1));
    entry.and_then(|entry| Fields::new(entry.body).version()).is_none_or(|(_, flags)| flags & 1 != 0)
}

impl Matrix {
    const PLAIN: Matrix = Matrix { a: 1 << 16, b: 0, c: 0, d: 1 << 16 };

    fn of(fields: &mut Fields<'_>) -> Option<Matrix> {
        let (a, b, _, c, d) = (fields.i32()?, fields.i32()?, fields.i32()?, fields.i32()?, fields.i32()?);
        fields.take(16)?;
        Some(Matrix { a: a.into(), b: b.into(), c: c.into(), d: d.into() })
    }

    /// This matrix first, then `next`.
    fn then(self, next: Matrix) -> Matrix {
        let cell = |x: i64, y: i64, p: i64, q: i64| ((i128::from(x) * i128::from(p) + i128::from(y) * i128::from(q)) >> 16) as i64;
        Matrix {
            a: cell(self.a, self.b, next.a, next.c),
            b: cell(self.a, self.b, next.b, next.d),
            c: cell(self.c, self.d, next.a, next.c),
            d: cell(self.c, self.d, next.b, next.d),
        }
    }

    /// To the nearest quarter turn.
    fn turn(self) -> Turn {
        let (a, b, c, d) = (self.a as f64, self.b as f64, self.c as f64, self.d as f64);
        let mirror = a * d - b * c < 0.0;
        let (a, b) = if mirror { (-a, -b) } else { (a, b) };
        let quarters = (b.atan2(a) / std::f64::consts::FRAC_PI_2).round() as i32;
        Turn { clockwise: quarters.rem_euclid(4) as u16 * 90, mirror }
    }
}

/// `pasp`, `colr` and `clap` of a sample entry.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Looks {
    pub(super) pixel_aspect: Option<(u32, u32)>,
    pub(super) crop: Option<Crop>,
    pub(super) colour: Colour,
}

impl Looks {
    pub(super) fn of(extensions: &[u8], width: u32, height: u32) -> Looks {
        Looks {
            pixel_aspect: child(extensions, b"pasp").and_then(pixel_aspect),
            crop: child(extensions, b"clap").and_then(|clap| crop(clap, width, height)),
            colour: boxes(extensions).filter(|found| &found.kind == b"colr").find_map(|found| colour(found.body)).unwrap_or_default(),
        }
    }
}

fn pixel_aspect(pasp: &[u8]) -> Option<(u32, u32)> {
    let mut fields = Fields::new(pasp);
    Some((fields.u32()?, fields.u32()?)).filter(|&(across, down)| across > 0 && down > 0)
}

fn colour(colr: &[u8]) -> Option<Colour> {
    let mut fields = Fields::new(colr);
    let kind = fields.four()?;
    if &kind != b"nclx" && &kind != b"nclc" {
        return None;
    }
    // 2 is "unspecified".
    let mut code = || fields.u16().map(|code| Some(code).filter(|&code| code != 2));
    let (primaries, transfer, matrix) = (code()?, code()?, code()?);
    // QuickTime's `nclc` says nothing of the range.
    let full_range = if &kind == b"nclx" { fields.u8().map(|flags| flags & 0x80 != 0) } else { None };
    Some(Colour { primaries, transfer, matrix, full_range })
}

/// The clean aperture, rounded outwards to whole pixels; `None` when it is the whole picture or lies outside.
fn crop(clap: &[u8], width: u32, height: u32) -> Option<Crop> {
    let mut fields = Fields::new(clap);
    let mut fraction = || Some((f64::from(fields.i32()?), f64::from(fields.i32()?))).filter(|f| f.1 > 0.0).map(|f| f.0 / f.1);
    let (across, down, x, y) = (fraction()?, fraction()?, fraction()?, fraction()?);
    let span = |length: f64, offset: f64, whole: u32| {
        let start = ((f64::from(whole) - length) / 2.0 + offset).floor();
        let inside = length >= 1.0 && start >= 0.0 && start + length.ceil() <= f64::from(whole);
        inside.then_some((start as u32, length.ceil() as u32))
    };
    let ((left, width_shown), (top, height_shown)) = (span(across, x, width)?, span(down, y, height)?);
    let whole = (width_shown, height_shown) == (width, height);
    (!whole).then_some(Crop { left, top, width: width_shown, height: height_shown })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(a: i32, b: i32, c: i32, d: i32) -> Matrix {
        let one = |cell: i32| i64::from(cell) << 16;
        Matrix { a: one(a), b: one(b), c: one(c), d: one(d) }
    }

    #[test]
    fn matrices_are_turns() {
        for (a, b, c, d, clockwise, mirror) in [
            (1, 0, 0, 1, 0, false),
            (0, 1, -1, 0, 90, false),
            (-1, 0, 0, -1, 180, false),
            (0, -1, 1, 0, 270, false),
            (-1, 0, 0, 1, 0, true),
            (1, 0, 0, -1, 180, true),
            (0, 1, 1, 0, 270, true),
        ] {
            assert_eq!(matrix(a, b, c, d).turn(), Turn { clockwise, mirror }, "{a} {b} {c} {d}");
        }
        assert_eq!(matrix(0, 1, -1, 0).then(matrix(0, 1, -1, 0)).turn().clockwise, 180);
        assert_eq!(matrix(0, 0, 0, 0).turn(), Turn::default());
    }

    #[test]
    fn a_clean_aperture_lies_inside_or_is_not_there() {
        let clap = |numbers: [i32; 8]| numbers.into_iter().flat_map(i32::to_be_bytes).collect::<Vec<u8>>();
        let crop_of = |numbers| crop(&clap(numbers), 100, 50);
        assert_eq!(crop_of([100, 1, 50, 1, 0, 1, 0, 1]), None);
        assert_eq!(crop_of([90, 1, 50, 1, -5, 1, 0, 1]), Some(Crop { left: 0, top: 0, width: 90, height: 50 }));
        assert_eq!(crop_of([90, 1, 40, 1, 0, 1, 0, 1]), Some(Crop { left: 5, top: 5, width: 90, height: 40 }));
        assert_eq!(crop_of([90, 1, 40, 1, 50, 1, 0, 1]), None);
        assert_eq!(crop_of([90, 0, 40, 1, 0, 1, 0, 1]), None);
    }
}
