//! A frame of a video whose samples can be addressed: only those it depends on are fetched and decoded.

use std::io;
use std::ops::Range;

use gstreamer as gst;

use super::damage;
use super::disposable;
use super::elements;
use super::hardware;
use super::pipeline::{self, Chain, Fed};
use crate::deadline::Deadline;
use crate::media::index::{Plan, SampleTable};
use crate::media::worker::protocol::Failure;

/// Most bytes of samples for one frame: a GOP of ten minutes at 4K stays below it.
const MOST_BYTES: u64 = 1 << 30;

/// Hands the bytes of `(offset, length)` spans to a sink, one after the other and as they come.
pub(super) type Read<'a> = &'a mut (dyn FnMut(&[(u64, u64)], &mut dyn FnMut(&[u8])) -> io::Result<()> + Send);

impl Stop {
    pub(super) fn failure(self) -> Failure {
        match self {
            Self::Failed(failure) => failure,
            Self::Contradicted(_) => Failure::Broken("its samples contradict its index".to_owned()),
        }
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// The coded samples a plan feeds, without those the frame does not depend on. They are read while the first decoder works on
/// them already, and kept for another.
pub(super) struct Samples<'a> {
    table: &'a SampleTable,
    plan: &'a Plan,
    fed: Vec<Fed>,
    read: bool,
    contradiction: Option<Contradiction>,
}

/// How samples contradict the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contradiction {
    /// One of them shows nothing, or several pictures, or is shown in another order.
    Count,
    /// Decoding cannot begin with this one, though the table says so.
    Beginning(usize),
}

/// Why samples were not handed on.
pub(super) enum Stop {
    Failed(Failure),
    /// They contradict the table.
    Contradicted(Contradiction),
}

impl<'a> Samples<'a> {
    pub(super) fn new(table: &'a SampleTable, plan: &'a Plan) -> Self {
        Self { table, plan, fed: Vec::with_capacity(plan.samples.len()), read: false, contradiction: None }
    }

    /// Whether they were found to contradict the table they were planned with.
    pub(super) fn contradiction(&self) -> Option<Contradiction> {
        self.contradiction
    }

    /// Hands them to `feed` in decode order.
    fn each(&mut self, read: Read<'_>, feed: &mut dyn FnMut(&Fed)) -> Result<(), Failure> {
        if self.read {
            self.fed.iter().for_each(feed);
            return Ok(());
        }
        self.fed.clear();
        let (table, plan) = (self.table, self.plan);
        let due = due(table, plan.samples.start, &plan.tickets);
        let handed_on = bodies(table, (plan.samples.clone(), plan.target), read, &mut |at, body, disposable| {
            let ticket = plan.tickets[at];
            // An empty sample repeats the picture before; there is nothing in it to decode.
            if body.is_empty() || disposable && ticket != plan.ticket() && disposable::sound(table, body) {
                return;
            }
            let fed = Fed { ticket, due: due[at], buffer: buffer(table, body) };
            feed(&fed);
            self.fed.push(fed);
        });
        self.contradiction = match handed_on {
            Err(Stop::Contradicted(contradiction)) => Some(contradiction),
            _ => None,
        };
        self.read = handed_on.is_ok();
        handed_on.map_err(Stop::failure)
    }
}

/// Hands on each of some samples, which are fed to show the sample behind them in the pair, as soon as it is there: its place
/// among them, its bytes, and whether it is disposable.
pub(super) fn bodies(
    table: &SampleTable,
    (samples, target): (Range<usize>, usize),
    read: Read<'_>,
    sink: &mut dyn FnMut(usize, &[u8], bool),
) -> Result<(), Stop> {
    let first = samples.start;
    let samples = &table.samples[samples];
    let total: u64 = samples.iter().map(|sample| u64::from(sample.size)).sum();
    if total > MOST_BYTES {
        return Err(Stop::Failed(Failure::Broken(format!("{total} bytes would have to be decoded for one frame"))));
    }
    let spans: Vec<(u64, u64)> = samples.iter().map(|sample| (sample.offset, u64::from(sample.size))).collect();
    let judge = disposable::Judge::of(table);
    let mut bytes = Vec::new();
    let mut done = 0;
    let mut contradiction = None;
    let mut out_of_order = table.order_judge();
    let mut hand_on = |bytes: &mut Vec<u8>, complete: bool| {
        if !complete && judge.needs_all() {
            return;
        }
        let mut start = 0;
        let bodies: Vec<&[u8]> = samples[done..]
            .iter()
            .map_while(|sample| {
                let body = bytes.get(start..start + sample.size as usize)?;
                start += body.len();
                Some(body)
            })
            .collect();
        for (body, disposable) in bodies.iter().zip(judge.disposable(&bodies)) {
            let at = first + done;
            contradiction = contradiction.or_else(|| contradicts(table, at, body, (done == 0).then_some(target)));
            contradiction = contradiction.or_else(|| out_of_order(body).then_some(Contradiction::Count));
            if contradiction.is_none() {
                sink(done, body, disposable);
            }
            done += 1;
        }
        bytes.drain(..start);
    };
    read(&spans, &mut |piece| {
        bytes.extend_from_slice(piece);
        hand_on(&mut bytes, false);
    })
    .map_err(|e| Stop::Failed(Failure::Broken(e.to_string())))?;
    hand_on(&mut bytes, true);
    if let Some(contradiction) = contradiction {
        return Err(Stop::Contradicted(contradiction));
    }
    if done < samples.len() {
        return Err(Stop::Failed(Failure::Broken("the file ends before the frame's samples: it is truncated".to_owned())));
    }
    Ok(())
}

/// How a sample contradicts the table, if it does; for the first that is fed, the one that is to be shown is given.
fn contradicts(table: &SampleTable, at: usize, body: &[u8], begun_for: Option<usize>) -> Option<Contradiction> {
    if table.miscounts(at, body) {
        return Some(Contradiction::Count);
    }
    let wrongly = begun_for.is_some_and(|target| table.samples[at].sync && table.begins_wrongly(at, body, target));
    wrongly.then_some(Contradiction::Beginning(at))
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
    samples: &mut Samples<'_>,
    read: Read<'_>,
    decoder: &str,
    hardware: bool,
    deadline: &Deadline,
) -> Result<gst::Sample, Failure> {
    let (table, plan) = (samples.table, samples.plan);
    let caps = elements::caps(table).ok_or_else(|| Failure::Unsupported(format!("{} in {}", table.codec.name(), table.container)))?;
    let parser = elements::parser(table, decoder, hardware)?;
    let chain = Chain { caps: &caps, parser, decoder, download: hardware::download(decoder), threads: 0, followed: false };
    damage::forget();
    let picture = pipeline::decode(&chain, &mut |feed| samples.each(read, feed), plan.ticket(), plan.nth, deadline)?;
    if damage::complaints() == 0 {
        return Ok(picture);
    }
    damage::forget();
    let chain = Chain { threads: 1, followed: true, ..chain };
    let picture = pipeline::decode(&chain, &mut |feed| samples.each(read, feed), plan.ticket(), plan.nth, deadline)?;
    let sync = plan.tickets.first().copied().unwrap_or_default();
    // Leading pictures have lost their references, not their bytes, and nothing behind them refers to them.
    match damage::damaged().range(sync..).next() {
        Some(at) if *at == plan.ticket() => Err(Failure::Broken("the picture is damaged".to_owned())),
        Some(_) => Err(Failure::Broken("a picture that it is made from is damaged".to_owned())),
        None => Ok(picture),
    }
}
