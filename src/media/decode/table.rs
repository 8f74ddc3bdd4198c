//! A frame of a video whose samples can be addressed: only those it depends on are fetched and decoded.

use gstreamer as gst;

use super::disposable;
use super::elements;
use super::link::Link;
use super::pipeline::{self, Chain, Samples};
use crate::deadline::Deadline;
use crate::media::index::{Plan, SampleTable};
use crate::media::worker::protocol::Failure;

/// Most bytes of samples for one frame: a GOP of ten minutes at 4K stays below it.
const MOST_BYTES: u64 = 1 << 30;

/// The coded samples a plan feeds, without those the frame does not depend on.
pub(super) fn fetch(table: &SampleTable, plan: &Plan, link: &Link) -> Result<Samples, Failure> {
    let fed = &table.samples[plan.samples.clone()];
    let total: u64 = fed.iter().map(|sample| u64::from(sample.size)).sum();
    if total > MOST_BYTES {
        return Err(Failure::Broken(format!("{total} bytes would have to be decoded for one frame")));
    }
    let spans: Vec<(u64, u64)> = fed.iter().map(|sample| (sample.offset, u64::from(sample.size))).collect();
    let bytes = link.read_spans(&spans).map_err(|e| Failure::Broken(e.to_string()))?;
    if (bytes.len() as u64) < total {
        return Err(Failure::Broken("the file ends before the frame's samples: it is truncated".to_owned()));
    }
    let mut rest = bytes.as_slice();
    let bodies: Vec<&[u8]> = fed
        .iter()
        .map(|sample| {
            let (body, after) = rest.split_at(sample.size as usize);
            rest = after;
            body
        })
        .collect();
    let disposable = disposable::disposable(table, &bodies);
    let mut samples = Vec::with_capacity(fed.len());
    for ((body, ticket), disposable) in bodies.into_iter().zip(&plan.tickets).zip(disposable) {
        // An empty sample repeats the picture before; there is nothing in it to decode.
        if body.is_empty() || disposable && *ticket != plan.ticket() {
            continue;
        }
        samples.push((*ticket, gst::Buffer::from_slice([&table.prefix, body].concat())));
    }
    Ok(samples)
}

/// Decodes the planned frame with `decoder`.
pub(super) fn decode(
    table: &SampleTable,
    plan: &Plan,
    samples: Samples,
    decoder: &str,
    hardware: bool,
    deadline: &Deadline,
) -> Result<gst::Sample, Failure> {
    let caps = elements::caps(table).ok_or_else(|| Failure::Unsupported(format!("{} in {}", table.codec.name(), table.container)))?;
    let parser = elements::parser(table, hardware)?;
    let chain = Chain { caps: &caps, parser, decoder };
    pipeline::decode(&chain, samples, plan.ticket(), plan.nth, deadline)
}
