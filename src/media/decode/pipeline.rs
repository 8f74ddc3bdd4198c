//! The main road: coded samples in, the one wanted picture out.
//!
//! Each sample carries a ticket as its timestamp, its rank in presentation order. Tickets pass through every decoder
//! unchanged, so the wanted picture is known by its ticket, whatever clock, frame rate or edit list the container has.

use std::collections::HashSet;

use gstreamer as gst;
use gstreamer_app as gst_app;

use gst::prelude::*;
use gstreamer_video as gst_video;

use super::damage;
use crate::deadline::Deadline;
use crate::media::worker::protocol::Failure;

/// Between two tickets: as far as pictures are apart at 25 per second, so that no element takes them for a fault.
const TICKET: gst::ClockTime = gst::ClockTime::from_mseconds(40);

/// How often the bus is looked at while no picture comes.
const GLANCE: gst::ClockTime = gst::ClockTime::from_mseconds(50);

/// What to decode with.
pub(super) struct Chain<'a> {
    pub(super) caps: &'a gst::Caps,
    pub(super) parser: Option<&'a str>,
    pub(super) decoder: &'a str,
    /// Element that brings its pictures from device memory.
    pub(super) download: Option<&'a str>,
    /// On how many cores it may work, where it can be told; 0 leaves that to it. With 1 it decodes one picture after the
    /// other.
    pub(super) threads: i32,
    /// What the decoder complains of is to be known to be about the picture at hand, which takes one thread.
    pub(super) followed: bool,
}

/// A coded sample.
pub(super) struct Fed {
    /// Its rank in presentation order.
    pub(super) ticket: u32,
    /// A picture must come out for it, and before any with a higher ticket.
    pub(super) due: bool,
    pub(super) buffer: gst::Buffer,
}

/// Hands coded samples, in decode order, to the function it is given.
pub(super) type Feeder<'a> = &'a mut (dyn FnMut(&mut dyn FnMut(&Fed)) -> Result<(), Failure> + Send);

/// Gives out the last picture only when another follows, not when the stream ends (GStreamer 1.22): it is fed the first one again.
const HOLDS_BACK: &str = "openh264dec";

/// Decodes what `feeder` hands out, while it does, and returns the picture that comes out as the `nth` with the ticket `wanted`.
pub(super) fn decode(chain: &Chain<'_>, feeder: Feeder<'_>, wanted: u32, nth: usize, deadline: &Deadline) -> Result<gst::Sample, Failure> {
    let running = Running::start(chain)?;
    let mut due = HashSet::new();
    let mut feed = || {
        let (mut first, mut last) = (None, 0);
        let fed = feeder(&mut |fed| {
            if chain.decoder == HOLDS_BACK {
                first.get_or_insert_with(|| fed.buffer.copy());
                last = last.max(fed.ticket);
            }
            if fed.due && fed.ticket < wanted {
                due.insert(fed.ticket);
            }
            // Shares the bytes: another decoder may need them again.
            running.feed(fed.buffer.copy(), fed.ticket);
        });
        if let Some(first) = first.take() {
            running.feed(first, last + 1);
        }
        running.end();
        fed
    };
    let (fed, found) = while_feeding(&mut feed, || running.find(wanted, nth, deadline));
    fed?;
    let (picture, came) = found?;
    due.retain(|ticket| !came.contains(ticket));
    counted(&due).and_then(|()| whole(picture))
}

/// Does `work` while another thread feeds the decoder, and waits for both.
pub(super) fn while_feeding<F: Send, W>(feed: &mut (dyn FnMut() -> F + Send), work: impl FnOnce() -> W) -> (F, W) {
    std::thread::scope(|scope| {
        let feeder = scope.spawn(feed);
        let done = work();
        (feeder.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), done)
    })
}

/// Which picture this is.
pub(super) fn ticket(sample: &gst::Sample) -> Result<u32, Failure> {
    let pts = sample.buffer().and_then(|buffer| buffer.pts());
    pts.map(ticket_of).ok_or_else(|| internal("the decoder lost a timestamp"))
}

fn ticket_of(pts: gst::ClockTime) -> u32 {
    (pts.nseconds() / TICKET.nseconds()) as u32
}

/// Refuses a picture before which others were lost: players count those or not, so nobody knows which number it has.
fn counted(lost: &HashSet<u32>) -> Result<(), Failure> {
    match lost.len() {
        0 => Ok(()),
        1 => Err(Failure::Broken(
            "a picture shortly before it is damaged beyond decoding, so that frames behind it have no certain number".to_owned(),
        )),
        lost => Err(Failure::Broken(format!(
            "{lost} pictures shortly before it are damaged beyond decoding, so that frames behind them have no certain number"
        ))),
    }
}

/// Refuses a picture its decoder marks as damaged.
pub(super) fn whole(sample: gst::Sample) -> Result<gst::Sample, Failure> {
    if sample.buffer().is_some_and(|buffer| buffer.flags().contains(gst::BufferFlags::CORRUPTED)) {
        return Err(Failure::Broken("the picture is damaged".to_owned()));
    }
    Ok(sample)
}

/// A running pipeline; stopped when dropped.
pub(super) struct Running {
    pipeline: gst::Pipeline,
    source: gst_app::AppSrc,
    sink: gst_app::AppSink,
}

impl Running {
    pub(super) fn start(chain: &Chain<'_>) -> Result<Self, Failure> {
        let pipeline = gst::Pipeline::new();
        let source = gst_app::AppSrc::builder().caps(chain.caps).format(gst::Format::Time).build();
        let sink = picture_sink();
        let mut elements = vec![source.clone().upcast::<gst::Element>()];
        elements.extend(chain.parser.map(make).transpose()?);
        let decoder = make(chain.decoder)?;
        tune(&decoder);
        if decoder.has_property("max-threads") {
            decoder.set_property("max-threads", chain.threads);
        }
        if chain.followed {
            damage::follow(&decoder, ticket_of);
        }
        elements.push(decoder);
        elements.extend(chain.download.map(make).transpose()?);
        elements.push(sink.clone().upcast());
        pipeline.add_many(&elements).map_err(internal)?;
        gst::Element::link_many(&elements).map_err(internal)?;
        let running = Self { pipeline, source, sink };
        running.pipeline.set_state(gst::State::Playing).map_err(|error| running.trouble().unwrap_or_else(|| internal(error)))?;
        Ok(running)
    }

    /// Puts a coded sample into the queue before the decoder.
    pub(super) fn feed(&self, mut buffer: gst::Buffer, ticket: u32) {
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(TICKET * u64::from(ticket));
        }
        // Refused only once an element has failed; the bus says why.
        let _ = self.source.push_buffer(buffer);
    }

    /// Nothing more will be fed: the decoder is to give out what it holds back.
    pub(super) fn end(&self) {
        let _ = self.source.end_of_stream();
    }

    /// The `nth` picture with the ticket `wanted`, and the tickets of all that came before it.
    fn find(&self, wanted: u32, nth: usize, deadline: &Deadline) -> Result<(gst::Sample, HashSet<u32>), Failure> {
        let mut came = HashSet::new();
        let mut earlier = 0;
        loop {
            let sample = self.next(deadline)?.ok_or_else(|| Failure::Broken("its decoder did not deliver the picture".to_owned()))?;
            let this = ticket(&sample)?;
            if this == wanted && earlier == nth {
                return Ok((sample, came));
            }
            earlier += usize::from(this == wanted);
            came.insert(this);
        }
    }

    /// The next picture, if there is one within a moment.
    pub(super) fn glance(&self) -> Result<Glance, Failure> {
        glance(&self.pipeline, &self.sink)
    }

    /// Whether the decoder has taken all that was fed.
    pub(super) fn is_fed_up(&self) -> bool {
        self.source.current_level_bytes() == 0
    }

    /// The next picture; `None` at the end of the stream.
    fn next(&self, deadline: &Deadline) -> Result<Option<gst::Sample>, Failure> {
        next_picture(&self.pipeline, &self.sink, deadline)
    }

    fn trouble(&self) -> Option<Failure> {
        trouble(&self.pipeline)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// A sink that holds back the decoder instead of piling up pictures: at 4K two of them are 25 MB.
pub(super) fn picture_sink() -> gst_app::AppSink {
    let caps = gst::Caps::builder("video/x-raw").build();
    let sink = gst_app::AppSink::builder().sync(false).max_buffers(1).caps(&caps).build();
    sink.set_property("enable-last-sample", false);
    sink.set_property("qos", false);
    take_padded_pictures(&sink);
    sink
}

/// Tells decoders that lines may be longer than pictures are wide, as decoders need them. Otherwise each picture, wanted or
/// not, would be copied once more.
fn take_padded_pictures(sink: &gst_app::AppSink) {
    let Some(pad) = sink.static_pad("sink") else { return };
    pad.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM, |_, info| {
        let Some(gst::QueryViewMut::Allocation(query)) = info.query_mut().map(gst::QueryRef::view_mut) else {
            return gst::PadProbeReturn::Ok;
        };
        query.add_allocation_meta::<gst_video::VideoMeta>(None);
        gst::PadProbeReturn::Handled
    });
}

/// What a glance at a pipeline shows.
pub(super) enum Glance {
    Picture(gst::Sample),
    /// None for now.
    Nothing,
    End,
}

fn glance(pipeline: &gst::Pipeline, sink: &gst_app::AppSink) -> Result<Glance, Failure> {
    if let Some(sample) = sink.try_pull_sample(GLANCE) {
        return Ok(Glance::Picture(sample));
    }
    match trouble(pipeline) {
        Some(failure) => Err(failure),
        None if sink.is_eos() => Ok(Glance::End),
        None => Ok(Glance::Nothing),
    }
}

/// The next picture of a pipeline; `None` at the end of the stream.
pub(super) fn next_picture(pipeline: &gst::Pipeline, sink: &gst_app::AppSink, deadline: &Deadline) -> Result<Option<gst::Sample>, Failure> {
    loop {
        match glance(pipeline, sink)? {
            Glance::Picture(sample) => return Ok(Some(sample)),
            Glance::End => return Ok(None),
            Glance::Nothing => deadline.left().map_err(|_| Failure::Expired)?,
        };
    }
}

/// The first error on a pipeline's bus.
pub(super) fn trouble(pipeline: &gst::Pipeline) -> Option<Failure> {
    let message = pipeline.bus()?.pop_filtered(&[gst::MessageType::Error])?;
    let gst::MessageView::Error(error) = message.view() else { return None };
    // The kind of element; its name also counts how many there were before.
    let kind = |source: &gst::Object| Some(source.downcast_ref::<gst::Element>()?.factory()?.name().to_string());
    let from = error.src().map(|source| kind(source).unwrap_or_else(|| source.name().to_string())).unwrap_or_default();
    Some(Failure::Broken(format!("{from}: {}", error.error())))
}

/// Makes an element that is known to exist.
pub(super) fn make(name: &str) -> Result<gst::Element, Failure> {
    gst::ElementFactory::make(name).build().map_err(internal)
}

/// Settings for decoding as fast as possible without a clock.
pub(super) fn tune(decoder: &gst::Element) {
    for (property, value) in [("qos", false)] {
        if decoder.has_property(property) {
            decoder.set_property(property, value);
        }
    }
}

pub(super) fn internal(error: impl std::fmt::Display) -> Failure {
    Failure::Internal(error.to_string())
}
