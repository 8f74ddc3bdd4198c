//! A decoder that is kept where it stands in a GOP, for an annotator who steps on through the same video: the next frame then
//! costs the pictures between the two instead of all those from the sync sample on.
//!
//! A decoder gives a picture out only when it knows that none comes before it, or at the end of its stream, and after an end
//! it cannot go on. So it is fed a few samples more than the frame needs. This road is tried first, and anything out of the
//! ordinary on it (damage, a picture lost, a decoder that holds more back) leaves the frame to the ordinary one.

use std::collections::{BTreeSet, HashSet};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use gstreamer as gst;

use super::disposable::{self, Judge};
use super::pipeline::{self, Chain, Glance, Running};
use super::table::{self, Read};
use super::{damage, elements};
use crate::deadline::Deadline;
use crate::media::index::{Codec, Gop, Plan, SampleTable};
use crate::media::worker::protocol::Failure;

/// A decoder that works on many pictures at once holds as many back, and all those would have to be fetched ahead.
const MOST_THREADS: usize = 4;

/// What samples beyond the frame may cost at most: so many bytes, and the twentieth part of those that the frame needs.
const AHEAD_BYTES: u64 = 48 << 10;

/// A decoder that has taken all it was fed and gives nothing out for so many glances needs an end.
const PATIENCE: u32 = 2;

/// After so often no decoder is kept any more: those of this box hold back more than is fed ahead.
const MOST_DISAPPOINTMENTS: u32 = 3;

/// The place for a decoder between two jobs.
#[derive(Default)]
pub(super) struct Keeper {
    kept: Option<Kept>,
    disappointments: u32,
}

/// A frame that is wanted, and of which content.
pub(super) struct Wanted<'a> {
    /// Names the content: what is kept of one is good for that one only.
    pub(super) item: &'a str,
    pub(super) table: &'a SampleTable,
    pub(super) plan: &'a Plan,
    /// Element that decodes it, in software.
    pub(super) decoder: &'a str,
}

/// A decoder in the middle of a GOP.
struct Kept {
    item: String,
    decoder: String,
    gop: Range<usize>,
    running: Running,
    /// The next sample to feed.
    next: usize,
    /// Earlier ones that were not fed, because no other picture refers to theirs.
    left_out: HashSet<usize>,
    /// The highest temporal layer there was when they were chosen.
    top_layer: u8,
    /// Tickets of pictures that are to come.
    due: BTreeSet<u32>,
    /// The last picture that was taken out, and its ticket.
    came: Option<(u32, gst::Sample)>,
}

impl Keeper {
    /// Lets go of the decoder, and of the memory it holds.
    pub(super) fn clear(&mut self) {
        self.kept = None;
    }

    /// The wanted picture, from the decoder that is kept or from a new one, which is kept then. `None` where this road does not
    /// lead to it.
    pub(super) fn picture(&mut self, wanted: &Wanted<'_>, read: Read<'_>, deadline: &Deadline) -> Result<Option<gst::Sample>, Failure> {
        let kept = self.kept.take();
        let codec = wanted.table.codec;
        if !matches!(codec, Codec::H264 | Codec::H265) || self.disappointments >= MOST_DISAPPOINTMENTS {
            return Ok(None);
        }
        let Some(gop) = wanted.table.gop(wanted.plan) else { return Ok(None) };
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
        let ahead = gop.reorder + threads + 1;
        let going_on = kept.filter(|kept| kept.reaches(wanted, &gop) && damage::complaints() == 0);
        let mut kept = match going_on {
            Some(kept) => kept,
            None if wanted.plan.target + ahead < gop.samples.end => Kept::start(wanted, &gop, threads)?,
            // The GOP ends before anything could be kept of it.
            None => return Ok(None),
        };
        let way = Way::of(&kept, wanted, &gop, ahead);
        if !way.is_fair(wanted) {
            return Ok(None);
        }
        let outcome = kept.go(&way, wanted, &gop, read, deadline)?;
        self.disappointments += u32::from(outcome == Outcome::Disappointing);
        let Some((came, picture)) = kept.came.clone().filter(|(came, _)| *came == way.ticket && outcome != Outcome::Lost) else {
            return Ok(None);
        };
        let picture = pipeline::whole(picture).ok().filter(|_| damage::complaints() == 0 && kept.due.range(..came).next().is_none());
        if picture.is_some() && !way.ends && outcome == Outcome::AsExpected {
            self.kept = Some(kept);
        }
        Ok(picture)
    }
}

/// What a decoder is to be fed so that a picture comes out.
struct Way {
    /// The picture's ticket.
    ticket: u32,
    /// Samples to feed, the last of them beyond the picture's.
    samples: Range<usize>,
    /// The GOP ends before as many samples could be fed as hold the picture back: the decoder needs an end.
    ends: bool,
}

impl Way {
    fn of(kept: &Kept, wanted: &Wanted<'_>, gop: &Gop, ahead: usize) -> Self {
        let target = wanted.plan.target;
        let end = (target + 1 + ahead).min(gop.samples.end).max(kept.next);
        Self { ticket: gop.tickets[target - gop.samples.start], samples: kept.next..end, ends: end < target + 1 + ahead }
    }

    /// Whether what lies beyond the picture costs little beside what the picture needs anyway.
    fn is_fair(&self, wanted: &Wanted<'_>) -> bool {
        let size = |samples: Range<usize>| wanted.table.samples[samples].iter().map(|sample| u64::from(sample.size)).sum::<u64>();
        let beyond = self.samples.start.max(wanted.plan.target + 1)..self.samples.end;
        size(beyond) <= AHEAD_BYTES + size(wanted.plan.samples.clone()) / 20
    }
}

/// How a decoder went on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    AsExpected,
    /// The picture came, but only after an end.
    Disappointing,
    /// It cannot be told what came.
    Lost,
}

impl Kept {
    fn start(wanted: &Wanted<'_>, gop: &Gop, threads: usize) -> Result<Self, Failure> {
        let caps = elements::caps(wanted.table).ok_or_else(|| pipeline::internal("a size that no decoder takes"))?;
        let parser = elements::parser(wanted.table, wanted.decoder, false)?;
        damage::forget();
        let chain = Chain { caps: &caps, parser, decoder: wanted.decoder, download: None, threads: threads as i32, followed: false };
        Ok(Self {
            item: wanted.item.to_owned(),
            decoder: wanted.decoder.to_owned(),
            gop: gop.samples.clone(),
            running: Running::start(&chain)?,
            next: gop.samples.start,
            left_out: HashSet::new(),
            top_layer: 0,
            due: BTreeSet::new(),
            came: None,
        })
    }

    /// Whether this decoder can still give out the wanted picture.
    fn reaches(&self, wanted: &Wanted<'_>, gop: &Gop) -> bool {
        let target = wanted.plan.target;
        let ticket = gop.tickets[target - gop.samples.start];
        let same = self.item == wanted.item && self.decoder == wanted.decoder && self.gop == gop.samples;
        same && self.came.as_ref().is_none_or(|came| ticket >= came.0) && !self.left_out.contains(&target)
    }

    /// Feeds the decoder, and takes out what comes up to the picture; what lies behind it stays where it is.
    fn go(&mut self, way: &Way, wanted: &Wanted<'_>, gop: &Gop, read: Read<'_>, deadline: &Deadline) -> Result<Outcome, Failure> {
        let (table, target) = (wanted.table, wanted.plan.target);
        let judge = Judge::of(table);
        let due = table::due(table, gop.samples.start, &gop.tickets);
        let (known_layer, mut layer) = (self.top_layer, self.top_layer);
        let mut left_out = HashSet::new();
        let mut to_come = BTreeSet::new();
        let fed = AtomicBool::new(false);
        let running = &self.running;
        let mut feed = || {
            let result = table::bodies(table, (way.samples.clone(), usize::MAX), read, &mut |at, body, disposable| {
                let sample = way.samples.start + at;
                layer = layer.max(judge.layer(body));
                // What lies beyond the frame may be the next one that is asked for.
                let alone = sample < target && disposable && judge.layer(body) >= known_layer && disposable::sound(table, body);
                if body.is_empty() || alone {
                    left_out.insert(sample);
                    return;
                }
                let place = sample - gop.samples.start;
                if due[place] {
                    to_come.insert(gop.tickets[place]);
                }
                running.feed(table::buffer(table, body), gop.tickets[place]);
            });
            if way.ends || result.is_err() {
                running.end();
            }
            fed.store(true, Ordering::Release);
            result
        };
        let mut seen = Vec::new();
        let last = &mut self.came;
        let (fed, outcome) = pipeline::while_feeding(&mut feed, || take_out(running, way, &fed, last, &mut seen, deadline));
        // What was judged before without knowing of a higher layer may be missing in it.
        let misjudged = layer > known_layer && !self.left_out.is_empty();
        self.next = way.samples.end;
        self.top_layer = layer;
        self.left_out.extend(left_out);
        self.due.extend(to_come);
        self.due.retain(|ticket| !seen.contains(ticket));
        outcome.map(|outcome| if fed.is_err() || misjudged { Outcome::Lost } else { outcome })
    }
}

/// Takes pictures out of a decoder up to the one on the way; the last is put into `last`, the tickets of all into `seen`.
fn take_out(
    running: &Running,
    way: &Way,
    fed: &AtomicBool,
    last: &mut Option<(u32, gst::Sample)>,
    seen: &mut Vec<u32>,
    deadline: &Deadline,
) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::AsExpected;
    let mut glances = 0;
    while last.as_ref().is_none_or(|last| last.0 < way.ticket) {
        match running.glance() {
            Ok(Glance::Picture(sample)) => {
                let Ok(ticket) = pipeline::ticket(&sample) else { return Ok(Outcome::Lost) };
                seen.push(ticket);
                *last = Some((ticket, sample));
                glances = 0;
            }
            Ok(Glance::End) | Err(_) => return Ok(Outcome::Lost),
            Ok(Glance::Nothing) => {
                deadline.left().map_err(|_| Failure::Expired)?;
                glances += u32::from(fed.load(Ordering::Acquire) && running.is_fed_up());
                if glances == PATIENCE && !way.ends {
                    outcome = Outcome::Disappointing;
                    running.end();
                }
            }
        }
    }
    Ok(outcome)
}
