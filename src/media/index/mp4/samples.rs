//! The sample table box: from its run-length tables to one entry per sample.

use super::super::{IndexError, Sample, limit};
use super::boxes::{Fields, child};
use super::broken;

/// The samples of `stbl` in decode order. Several sample descriptions in use are the caller's affair.
pub(super) fn read(stbl: &[u8], file_size: u64) -> Result<Vec<Sample>, IndexError> {
    let sizes = Sizes::of(stbl).ok_or_else(|| broken("the table of sample sizes (stsz, stz2) is unusable"))?;
    limit(sizes.count as u64, file_size, "mp4")?;
    let mut samples = place(stbl, &sizes).ok_or_else(|| broken("the tables of chunks (stsc, stco, co64) are unusable"))?;
    time(stbl, &mut samples).ok_or_else(|| broken("the tables of times (stts, ctts) are unusable"))?;
    mark_sync(stbl, &mut samples).ok_or_else(|| broken("the table of sync samples (stss) is unusable"))?;
    Ok(samples)
}

/// How many samples `stbl` says there are.
pub(super) fn count(stbl: &[u8]) -> usize {
    Sizes::of(stbl).map_or(0, |sizes| sizes.count)
}

/// Where the last sample ends on the media's clock: the sum of all durations.
pub(super) fn end_time(stbl: &[u8]) -> Option<i64> {
    let mut fields = Fields::new(child(stbl, b"stts")?);
    fields.version()?;
    fields.entries(8)?.try_fold(0_i64, |sum, run| {
        let mut run = Fields::new(run);
        sum.checked_add(i64::from(run.u32()?) * i64::from(run.i32()?))
    })
}

/// Whether chunks use more than one sample description.
pub(super) fn several_descriptions(stbl: &[u8]) -> bool {
    let entries = |stsc| {
        let mut fields = Fields::new(stsc);
        fields.version()?;
        fields.entries(12)
    };
    let Some(mut entries) = child(stbl, b"stsc").and_then(entries) else { return false };
    let first = entries.next().map(|entry| &entry[8..]);
    entries.any(|entry| Some(&entry[8..]) != first)
}

struct Sizes<'a> {
    count: usize,
    /// Of every sample, if they are all alike.
    all: u32,
    bits: u8,
    table: &'a [u8],
}

impl<'a> Sizes<'a> {
    fn of(stbl: &'a [u8]) -> Option<Self> {
        let compact = child(stbl, b"stz2");
        let mut fields = Fields::new(child(stbl, b"stsz").or(compact)?);
        fields.version()?;
        let first = fields.u32()?;
        let count = fields.u32()? as usize;
        let compact = child(stbl, b"stsz").is_none() && compact.is_some();
        let (all, bits) = if compact { (0, (first & 0xff) as u8) } else { (first, 32) };
        if !matches!(bits, 4 | 8 | 16 | 32) {
            return None;
        }
        let needed = if all > 0 { 0 } else { (count as u64 * u64::from(bits)).div_ceil(8) as usize };
        Some(Self { count, all, bits, table: fields.take(needed)? })
    }

    /// `at` is below `count`.
    fn get(&self, at: usize) -> u32 {
        let table = self.table;
        match self.bits {
            _ if self.all > 0 => self.all,
            4 => u32::from(table[at / 2] >> (if at.is_multiple_of(2) { 4 } else { 0 }) & 0x0f),
            8 => u32::from(table[at]),
            16 => u32::from(u16::from_be_bytes([table[2 * at], table[2 * at + 1]])),
            _ => u32::from_be_bytes([table[4 * at], table[4 * at + 1], table[4 * at + 2], table[4 * at + 3]]),
        }
    }
}

/// Offsets and sizes: chunk by chunk. Samples beyond the last chunk do not exist.
fn place(stbl: &[u8], sizes: &Sizes<'_>) -> Option<Vec<Sample>> {
    let (wide, offsets) = match child(stbl, b"stco") {
        Some(stco) => (false, stco),
        None => (true, child(stbl, b"co64")?),
    };
    let mut fields = Fields::new(offsets);
    fields.version()?;
    let chunks = fields.entries(if wide { 8 } else { 4 })?;
    let mut fields = Fields::new(child(stbl, b"stsc")?);
    fields.version()?;
    let mut runs = fields.entries(12)?.peekable();

    let mut samples = Vec::with_capacity(sizes.count);
    let mut per_chunk = 0;
    for (number, chunk) in (1_u32..).zip(chunks) {
        while let Some(run) = runs.next_if(|run| u32::from_be_bytes([run[0], run[1], run[2], run[3]]) <= number) {
            per_chunk = u32::from_be_bytes([run[4], run[5], run[6], run[7]]);
        }
        let mut chunk = Fields::new(chunk);
        let mut offset = if wide { chunk.u64()? } else { u64::from(chunk.u32()?) };
        let here = (per_chunk as usize).min(sizes.count - samples.len());
        for _ in 0..here {
            let size = sizes.get(samples.len());
            samples.push(Sample { offset, size, pts: 0, sync: false });
            offset = offset.checked_add(size.into())?;
        }
    }
    Some(samples)
}

/// Presentation timestamps: decode times (stts) plus composition offsets (ctts), the latter signed in every version, as
/// files have them.
fn time(stbl: &[u8], samples: &mut [Sample]) -> Option<()> {
    let mut fields = Fields::new(child(stbl, b"stts")?);
    fields.version()?;
    let mut delta = 0;
    let mut decode_time = 0_i64;
    let mut at = 0;
    for run in fields.entries(8)? {
        let mut run = Fields::new(run);
        let count = run.u32()? as usize;
        delta = run.i32()?;
        for sample in samples.iter_mut().skip(at).take(count) {
            sample.pts = decode_time;
            decode_time += i64::from(delta);
            at += 1;
        }
    }
    // A table that ends too soon goes on as it ended.
    for sample in samples.iter_mut().skip(at) {
        sample.pts = decode_time;
        decode_time += i64::from(delta);
    }

    let Some(ctts) = child(stbl, b"ctts") else { return Some(()) };
    let mut fields = Fields::new(ctts);
    fields.version()?;
    let mut rest = samples.iter_mut();
    for run in fields.entries(8)? {
        let mut run = Fields::new(run);
        let (count, offset) = (run.u32()? as usize, run.i32()?);
        for sample in rest.by_ref().take(count) {
            sample.pts += i64::from(offset);
        }
    }
    Some(())
}

/// No table means that every sample is a sync sample; an empty one, that only the first is.
fn mark_sync(stbl: &[u8], samples: &mut [Sample]) -> Option<()> {
    let Some(stss) = child(stbl, b"stss") else {
        samples.iter_mut().for_each(|sample| sample.sync = true);
        return Some(());
    };
    // QuickTime lists the sync samples of open GOPs apart, in `stps`.
    for table in [Some(stss), child(stbl, b"stps")].into_iter().flatten() {
        let mut fields = Fields::new(table);
        fields.version()?;
        for number in fields.entries(4)? {
            let number = Fields::new(number).u32()? as usize;
            if let Some(sample) = number.checked_sub(1).and_then(|at| samples.get_mut(at)) {
                sample.sync = true;
            }
        }
    }
    if let Some(first) = samples.first_mut() {
        first.sync = true;
    }
    Some(())
}
