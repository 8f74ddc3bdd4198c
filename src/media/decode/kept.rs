//! A decoder that is kept where it stands in a GOP, for an annotator who steps on through the same video: the next frame then
//! costs the pictures between the two instead of all those from the sync sample on.
//!
//! A decoder gives a picture out only when it knows that none comes before it, or at the end of its stream, and after an end
//! it cannot go on. So it is fed a few samples more than the frame needs. This road is tried first, and anything out of the
//! ordinary on it (damage, a picture lost, a decoder that holds more back) leaves the frame to the ordinary one.

use std::collections::HashSet;
use std::ops::Range;

use gstreamer as gst;

use super::pipeline::{self, Chain, Glance, Running};
use super::table::{self, Read};
use super::{damage, disposable, elements};
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
    due: HashSet<u32>,
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
        if !kept.feed(wanted, &gop, ahead, read) {
            return Ok(None);
        }
        let ended = kept.next < wanted.plan.target + 1 + ahead;
        if ended {
            kept.running.end();
        }
        let came = kept.take_out(gop.tickets[wanted.plan.target - gop.samples.start], ended, deadline)?;
        if came.disappointed {
            self.disappointments += 1;
        }
        let picture = came.picture.filter(|_| damage::complaints() == 0);
        if picture.is_some() && !ended && !came.disappointed {
            self.kept = Some(kept);
        }
        Ok(picture)
    }
}

/// What came of waiting for a picture.
struct Came {
    picture: Option<gst::Sample>,
    /// It needed an end, against expectation.
    disappointed: bool,
}

impl Kept {
    fn start(wanted: &Wanted<'_>, gop: &Gop, threads: usize) -> Result<Self, Failure> {
        let caps = elements::caps(wanted.table).ok_or_else(|| pipeline::internal("a size that no decoder takes"))?;
        let parser = elements::parser(wanted.table, false)?;
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
            due: HashSet::new(),
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

    /// Feeds what is missing up to the frame's sample, and `ahead` samples beyond it as far as the GOP goes. False when that
    /// cannot be had, or not at a fair price.
    fn feed(&mut self, wanted: &Wanted<'_>, gop: &Gop, ahead: usize, read: Read<'_>) -> bool {
        let (table, target) = (wanted.table, wanted.plan.target);
        let end = (target + 1 + ahead).min(gop.samples.end);
        if end <= self.next {
            return true;
        }
        let size = |samples: Range<usize>| table.samples[samples].iter().map(|sample| u64::from(sample.size)).sum::<u64>();
        let beyond = self.next.max(target + 1)..end;
        if size(beyond) > AHEAD_BYTES + size(wanted.plan.samples.clone()) / 20 {
            return false;
        }
        let samples = self.next..end;
        let Ok(bytes) = table::bytes(table, samples.clone(), read) else { return false };
        let bodies = table::bodies(table, samples, &bytes);
        let top_layer = disposable::top_layer(table, &bodies);
        if !self.left_out.is_empty() && top_layer > self.top_layer {
            return false;
        }
        self.top_layer = self.top_layer.max(top_layer);
        let disposable = disposable::disposable(table, &bodies);
        let due = table::due(table, gop.samples.start, &gop.tickets);
        for (at, body) in bodies.into_iter().enumerate() {
            let sample = self.next + at;
            let ticket = gop.tickets[sample - gop.samples.start];
            // What lies beyond the frame may be the next one that is asked for.
            if body.is_empty() || sample < target && disposable[at] && disposable::sound(table, body) {
                self.left_out.insert(sample);
                continue;
            }
            if due[sample - gop.samples.start] {
                self.due.insert(ticket);
            }
            self.running.feed(table::buffer(table, body), ticket);
        }
        self.next = end;
        true
    }

    /// Waits for a picture; those before it are taken out, those behind it are left where they are.
    fn take_out(&mut self, ticket: u32, ended: bool, deadline: &Deadline) -> Result<Came, Failure> {
        let mut came = Came { picture: None, disappointed: false };
        let mut glances = 0;
        loop {
            if let Some((this, sample)) = &self.came
                && *this >= ticket
            {
                let lost = self.due.iter().any(|due| *due < ticket);
                let sample = Some(sample.clone()).filter(|_| *this == ticket && !lost);
                came.picture = sample.and_then(|sample| pipeline::whole(sample).ok());
                return Ok(came);
            }
            match self.running.glance() {
                Ok(Glance::Picture(sample)) => {
                    let Ok(this) = pipeline::ticket(&sample) else { return Ok(came) };
                    self.due.remove(&this);
                    self.came = Some((this, sample));
                    glances = 0;
                }
                Ok(Glance::End) | Err(_) => return Ok(came),
                Ok(Glance::Nothing) => {
                    deadline.left().map_err(|_| Failure::Expired)?;
                    glances += u32::from(self.running.is_fed_up());
                    if glances == PATIENCE && !ended {
                        came.disappointed = true;
                        self.running.end();
                    }
                }
            }
        }
    }
}
