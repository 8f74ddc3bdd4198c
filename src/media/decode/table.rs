//! A frame of a video whose samples can be addressed: only those it depends on are fetched and decoded.

use std::ops::Range;

use gstreamer as gst;

use super::damage;
use super::disposable;
use super::elements;
use super::hardware;
use super::pipeline::{self, Chain, Fed};
use crate::deadline::Deadline;
use crate::media::index::{Plan, Sample, SampleTable};
use crate::media::worker::protocol::Failure;

/// Most bytes of samples for one frame: a GOP of ten minutes at 4K stays below it.
const MOST_BYTES: u64 = 1 << 30;

/// Answers `(offset, length)` spans with all their bytes, one after the other.
pub(super) type Read<'a> = &'a mut dyn FnMut(&[(u64, u64)]) -> std::io::Result<Vec<u8>>;

/// The coded samples a plan feeds, without those the frame does not depend on.
pub(super) fn fetch(table: &SampleTable, plan: &Plan, read: Read<'_>) -> Result<Vec<Fed>, Failure> {
    let bytes = bytes(table, plan.samples.clone(), read)?;
    let bodies = bodies(table, plan.samples.clone(), &bytes);
    let disposable = disposable::disposable(table, &bodies);
    let due = due(table, plan.samples.start, &plan.tickets);
    let mut samples = Vec::with_capacity(bodies.len());
    for (at, body) in bodies.into_iter().enumerate() {
        let ticket = plan.tickets[at];
        // An empty sample repeats the picture before; there is nothing in it to decode.
        if body.is_empty() || disposable[at] && ticket != plan.ticket() && disposable::sound(table, body) {
            continue;
        }
        samples.push(Fed { ticket, due: due[at], buffer: buffer(table, body) });
    }
    Ok(samples)
}

/// The bytes of some samples, one after the other.
pub(super) fn bytes(table: &SampleTable, samples: Range<usize>, read: Read<'_>) -> Result<Vec<u8>, Failure> {
    let samples = &table.samples[samples];
    let total: u64 = samples.iter().map(|sample| u64::from(sample.size)).sum();
    if total > MOST_BYTES {
        return Err(Failure::Broken(format!("{total} bytes would have to be decoded for one frame")));
    }
    let spans: Vec<(u64, u64)> = samples.iter().map(|sample| (sample.offset, u64::from(sample.size))).collect();
    let bytes = read(&spans).map_err(|e| Failure::Broken(e.to_string()))?;
    if (bytes.len() as u64) < total {
        return Err(Failure::Broken("the file ends before the frame's samples: it is truncated".to_owned()));
    }
    Ok(bytes)
}

/// What [`bytes`] read, sample by sample.
pub(super) fn bodies<'a>(table: &SampleTable, samples: Range<usize>, bytes: &'a [u8]) -> Vec<&'a [u8]> {
    let mut rest = bytes;
    let body = |sample: &Sample| {
        let (body, after) = rest.split_at(sample.size as usize);
        rest = after;
        body
    };
    table.samples[samples].iter().map(body).collect()
}

/// A sample as decoders take it.
pub(super) fn buffer(table: &SampleTable, body: &[u8]) -> gst::Buffer {
    gst::Buffer::from_slice([&table.prefix, body].concat())
}

/// For each of the samples from `start` on, a sync sample, whose tickets these are: whether a frame must come out of it.
/// Hidden frames do not, nor do those an edit list cuts off have to, nor leading pictures, whose references lie before the
/// sync sample.
pub(super) fn due(table: &SampleTable, start: usize, tickets: &[u32]) -> Vec<bool> {
    let sync = tickets.first().copied().unwrap_or_default();
    let mut due = vec![false; tickets.len()];
    for sample in table.shown.iter().filter_map(|&sample| (sample as usize).checked_sub(start)) {
        if let Some(due) = due.get_mut(sample) {
            *due = tickets[sample] >= sync;
        }
    }
    due
}

/// Decodes the planned frame with `decoder`. A picture that rests on damage is refused, however well it was concealed.
pub(super) fn decode(
    table: &SampleTable,
    plan: &Plan,
    samples: &[Fed],
    decoder: &str,
    hardware: bool,
    deadline: &Deadline,
) -> Result<gst::Sample, Failure> {
    let caps = elements::caps(table).ok_or_else(|| Failure::Unsupported(format!("{} in {}", table.codec.name(), table.container)))?;
    let parser = elements::parser(table, hardware)?;
    let chain = Chain { caps: &caps, parser, decoder, download: hardware::download(decoder), threads: 0, followed: false };
    damage::forget();
    let picture = pipeline::decode(&chain, samples, plan.ticket(), plan.nth, deadline)?;
    if damage::complaints() == 0 {
        return Ok(picture);
    }
    damage::forget();
    let picture = pipeline::decode(&Chain { threads: 1, followed: true, ..chain }, samples, plan.ticket(), plan.nth, deadline)?;
    let sync = plan.tickets.first().copied().unwrap_or_default();
    // Leading pictures have lost their references, not their bytes, and nothing behind them refers to them.
    match damage::damaged().range(sync..).next() {
        Some(at) if *at == plan.ticket() => Err(Failure::Broken("the picture is damaged".to_owned())),
        Some(_) => Err(Failure::Broken("a picture that it is made from is damaged".to_owned())),
        None => Ok(picture),
    }
}
