//! Movie fragments: the samples that `moof` boxes add to a track.

use super::super::{IndexError, Sample, limit};
use super::boxes::{Fields, boxes, child};
use super::broken;

/// What samples are like unless a fragment says otherwise (`trex`).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Defaults {
    description: u32,
    duration: u32,
    size: u32,
    flags: u32,
}

impl Defaults {
    /// Those of a track; `None` in a movie without fragments.
    pub(super) fn of(moov: &[u8], track: u32) -> Option<Self> {
        let mvex = child(moov, b"mvex")?;
        let read = |body| {
            let mut fields = Fields::new(body);
            fields.version()?;
            let id = fields.u32()?;
            Some((id, Self { description: fields.u32()?, duration: fields.u32()?, size: fields.u32()?, flags: fields.u32()? }))
        };
        let all = boxes(mvex).filter(|found| &found.kind == b"trex").filter_map(|found| read(found.body));
        // Some writers leave the table out and say everything in the fragments.
        Some(all.into_iter().find(|(id, _)| *id == track).map(|(_, defaults)| defaults).unwrap_or_default())
    }
}

/// Appends fragment after fragment to a track's samples.
pub(super) struct Fragments {
    track: u32,
    /// The sample description in use, from 1.
    description: u32,
    defaults: Defaults,
    file_size: u64,
    /// Where the next fragment goes on, should it not say.
    decode_time: i64,
    /// Whether a fragment uses another sample description.
    pub(super) other_description: bool,
}

impl Fragments {
    /// `decode_time` is where the samples that the movie header has end.
    pub(super) fn new(track: u32, description: u32, defaults: Defaults, file_size: u64, decode_time: i64) -> Self {
        Self { track, description, defaults, file_size, decode_time, other_description: false }
    }

    /// Adds the samples of the `moof` whose body this is and which begins at `start` in the file.
    pub(super) fn add(&mut self, moof: &[u8], start: u64, samples: &mut Vec<Sample>) -> Result<(), IndexError> {
        // Without an explicit base, a track's data follow those of the track before it.
        let mut data_end = start;
        for traf in boxes(moof).filter(|found| &found.kind == b"traf") {
            self.add_track(traf.body, start, &mut data_end, samples)?;
        }
        Ok(())
    }

    fn add_track(&mut self, traf: &[u8], start: u64, data_end: &mut u64, samples: &mut Vec<Sample>) -> Result<(), IndexError> {
        let unusable = || broken(format!("the fragment at byte {start} is unusable"));
        let (track, base, defaults) = child(traf, b"tfhd").and_then(|tfhd| self.header(tfhd)).ok_or_else(unusable)?;
        let ours = track == self.track;
        if ours {
            self.other_description |= defaults.description != self.description && defaults.description != 0;
            if let Some(time) = child(traf, b"tfdt").and_then(base_time) {
                self.decode_time = time;
            }
        }
        let base = match base {
            Base::Offset(offset) => offset,
            Base::Moof => start,
            Base::Previous => *data_end,
        };
        let mut at = base;
        for trun in boxes(traf).filter(|found| &found.kind == b"trun") {
            let run = Run::of(trun.body, defaults).ok_or_else(unusable)?;
            if ours {
                limit(samples.len() as u64 + u64::from(run.count), self.file_size, "mp4")?;
            }
            if let Some(offset) = run.data_offset {
                at = base.checked_add_signed(offset.into()).ok_or_else(unusable)?;
            }
            at = self.add_run(run, at, ours, samples).ok_or_else(unusable)?;
        }
        *data_end = at;
        Ok(())
    }

    /// Returns where the run's data end.
    fn add_run(&mut self, run: Run<'_>, start: u64, ours: bool, samples: &mut Vec<Sample>) -> Option<u64> {
        if !ours {
            return run.end(start);
        }
        let mut at = start;
        for number in 0..run.count {
            let entry = run.entry(number)?;
            // A sample that depends on others is no place to begin, whatever else the flags claim.
            let sync = entry.flags & 0x0101_0000 == 0;
            let pts = self.decode_time.checked_add(entry.composition_offset.into())?;
            samples.push(Sample { offset: at, size: entry.size, pts, sync });
            at = at.checked_add(entry.size.into())?;
            self.decode_time = self.decode_time.checked_add(entry.duration.into())?;
        }
        Some(at)
    }

    /// Track, base of the data and defaults that a `tfhd` gives.
    fn header(&self, tfhd: &[u8]) -> Option<(u32, Base, Defaults)> {
        let mut fields = Fields::new(tfhd);
        let (_, flags) = fields.version()?;
        let track = fields.u32()?;
        let base = match flags {
            flags if flags & 0x01 != 0 => Base::Offset(fields.u64()?),
            flags if flags & 0x02_0000 != 0 => Base::Moof,
            _ => Base::Previous,
        };
        let mut or = |flag: u32, default: u32| if flags & flag != 0 { fields.u32() } else { Some(default) };
        let defaults = Defaults {
            description: or(0x02, self.defaults.description)?,
            duration: or(0x08, self.defaults.duration)?,
            size: or(0x10, self.defaults.size)?,
            flags: or(0x20, self.defaults.flags)?,
        };
        Some((track, base, defaults))
    }
}

enum Base {
    Offset(u64),
    Moof,
    Previous,
}

fn base_time(tfdt: &[u8]) -> Option<i64> {
    let mut fields = Fields::new(tfdt);
    let (version, _) = fields.version()?;
    i64::try_from(fields.wide(version)?).ok()
}

/// A track run (`trun`).
struct Run<'a> {
    flags: u32,
    count: u32,
    data_offset: Option<i32>,
    first_flags: Option<u32>,
    defaults: Defaults,
    entry_length: usize,
    table: &'a [u8],
}

struct RunEntry {
    duration: u32,
    size: u32,
    flags: u32,
    composition_offset: i32,
}

impl<'a> Run<'a> {
    fn of(trun: &'a [u8], defaults: Defaults) -> Option<Self> {
        let mut fields = Fields::new(trun);
        let (_, flags) = fields.version()?;
        let count = fields.u32()?;
        let data_offset = if flags & 0x01 != 0 { Some(fields.i32()?) } else { None };
        let first_flags = if flags & 0x04 != 0 { Some(fields.u32()?) } else { None };
        let entry_length = 4 * (flags >> 8 & 0x0f).count_ones() as usize;
        let table = fields.take(entry_length.checked_mul(count as usize)?)?;
        Some(Self { flags, count, data_offset, first_flags, defaults, entry_length, table })
    }

    fn entry(&self, number: u32) -> Option<RunEntry> {
        let at = number as usize * self.entry_length;
        let mut fields = Fields::new(&self.table[at..at + self.entry_length]);
        let mut or = |flag: u32, default: u32| if self.flags & flag != 0 { fields.u32() } else { Some(default) };
        let duration = or(0x100, self.defaults.duration)?;
        let size = or(0x200, self.defaults.size)?;
        let first = self.first_flags.filter(|_| number == 0);
        let flags = or(0x400, self.defaults.flags)?;
        let composition_offset = or(0x800, 0)? as i32;
        Some(RunEntry { duration, size, flags: first.unwrap_or(flags), composition_offset })
    }

    /// Where data that begin at `start` end.
    fn end(&self, start: u64) -> Option<u64> {
        if self.flags & 0x200 == 0 {
            return start.checked_add(u64::from(self.count) * u64::from(self.defaults.size));
        }
        (0..self.count).try_fold(start, |at, number| at.checked_add(self.entry(number)?.size.into()))
    }
}
