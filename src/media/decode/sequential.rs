//! The other road, for everything without a usable sample table: decode from the start and count the pictures.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gstreamer as gst;
use gstreamer_app as gst_app;

use gst::prelude::*;

use super::damage::{self, Beginnings};
use super::elements;
use super::link::Link;
use super::pipeline::{self, internal, make, picture_sink, tune};
use crate::deadline::Deadline;
use crate::media::worker::protocol::Failure;

/// Demuxers ask for a few bytes at a time; the daemon is asked for this many.
const BLOCK: usize = 512 * 1024;

/// How long a demuxer may take to find the video stream.
const FIND_STREAM: Duration = Duration::from_secs(8);

/// What counting found.
pub(super) struct Counted {
    pub(super) sample: gst::Sample,
    pub(super) decoder: String,
    pub(super) codec: String,
    /// Presentation time since the first picture, in seconds.
    pub(super) seconds: f64,
}

/// Decodes the first video stream of an item of `size` bytes until picture `frame`, from 0. Of an unedited one no picture is
/// cut off, whatever length its container claims.
pub(super) fn decode(link: &Link, size: u64, (frame, unedited): (u64, bool), deadline: &Deadline) -> Result<Counted, Failure> {
    damage::forget();
    let running = Running::start(link, size, unedited)?;
    let mut first = None;
    let mut count = 0;
    let find = deadline.within(FIND_STREAM);
    loop {
        // A file of a kind that no demuxer takes leaves the pipeline waiting for ever instead of failing.
        let patience = if running.has_stream() { deadline } else { &find };
        let sample = match pipeline::next_picture(&running.pipeline, &running.sink, patience) {
            Ok(Some(sample)) => sample,
            Ok(None) => return Err(running.ended(link, count)),
            Err(Failure::Expired) if deadline.left().is_ok() && running.has_stream() => continue,
            Err(Failure::Expired) if deadline.left().is_ok() => {
                return Err(Failure::Unsupported("no video stream was found in it".to_owned()));
            }
            Err(failure) => return Err(running.failure().unwrap_or(failure)),
        };
        let pts = sample.buffer().and_then(|b| b.pts());
        let start = *first.get_or_insert(pts);
        if count == frame {
            let Taken { decoder, codec, beginnings } = running.chosen();
            if beginnings.damage_since() {
                return Err(Failure::Broken("the picture, or one that it is made from, is damaged".to_owned()));
            }
            let seconds = pts.zip(start).map_or(0.0, |(pts, start)| pts.saturating_sub(start).nseconds() as f64 / 1e9);
            return Ok(Counted { sample: pipeline::whole(sample)?, decoder, codec, seconds });
        }
        count += 1;
    }
}

/// Demuxer, parser, decoder and sink; stopped when dropped.
struct Running {
    pipeline: gst::Pipeline,
    sink: gst_app::AppSink,
    chosen: Arc<Mutex<Choice>>,
}

/// What became of the streams in the file.
#[derive(Default)]
struct Choice {
    taken: Option<Taken>,
    /// Why no stream was taken.
    failure: Option<Failure>,
}

/// The stream that was taken.
#[derive(Clone, Default)]
struct Taken {
    decoder: String,
    codec: String,
    beginnings: Beginnings,
}

impl Running {
    fn start(link: &Link, size: u64, unedited: bool) -> Result<Self, Failure> {
        let pipeline = gst::Pipeline::new();
        let source = byte_source(link.clone(), size);
        let parse = make("parsebin")?;
        let sink = picture_sink();
        pipeline.add_many([source.upcast_ref(), &parse, sink.upcast_ref()]).map_err(internal)?;
        source.link(&parse).map_err(internal)?;
        let chosen = Arc::new(Mutex::new(Choice::default()));
        connect_streams(&pipeline, &parse, &sink, (&chosen, unedited));
        let running = Self { pipeline, sink, chosen };
        running
            .pipeline
            .set_state(gst::State::Playing)
            .map_err(|error| pipeline::trouble(&running.pipeline).unwrap_or_else(|| internal(error)))?;
        Ok(running)
    }

    fn chosen(&self) -> Taken {
        self.chosen.lock().unwrap_or_else(PoisonError::into_inner).taken.clone().unwrap_or_default()
    }

    fn has_stream(&self) -> bool {
        self.chosen.lock().unwrap_or_else(PoisonError::into_inner).taken.is_some()
    }

    fn failure(&self) -> Option<Failure> {
        self.chosen.lock().unwrap_or_else(PoisonError::into_inner).failure.take()
    }

    /// Why there are no more pictures after `count`.
    fn ended(&self, link: &Link, count: u64) -> Failure {
        if link.refused() {
            return Failure::NoBytes;
        }
        let mut chosen = self.chosen.lock().unwrap_or_else(PoisonError::into_inner);
        match (chosen.failure.take(), count) {
            (Some(failure), _) => failure,
            (None, 0) => Failure::Broken("it has no picture that can be decoded".to_owned()),
            (None, count) => Failure::OutOfRange { count },
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// The item as a source that demuxers may read in any order, in blocks.
fn byte_source(link: Link, size: u64) -> gst_app::AppSrc {
    let position = Arc::new(Mutex::new(0_u64));
    let seeking = Arc::clone(&position);
    let mut block: (u64, Vec<u8>) = (0, Vec::new());
    let callbacks = gst_app::AppSrcCallbacks::builder()
        .need_data(move |source, wanted| {
            let mut at = position.lock().unwrap_or_else(PoisonError::into_inner);
            if *at >= size {
                let _ = source.end_of_stream();
                return;
            }
            let wanted = if wanted == u32::MAX { BLOCK } else { wanted as usize }.clamp(1, BLOCK);
            let held = |block: &(u64, Vec<u8>)| *at >= block.0 && *at + (wanted as u64).min(size - *at) <= block.0 + block.1.len() as u64;
            if !held(&block) {
                match link.read(*at, BLOCK.min((size - *at) as usize)) {
                    Ok(bytes) => block = (*at, bytes),
                    Err(error) => {
                        gst::element_error!(source, gst::ResourceError::Read, ("{}", error));
                        let _ = source.end_of_stream();
                        return;
                    }
                }
            }
            let start = (*at - block.0) as usize;
            let piece = &block.1[start..(start + wanted).min(block.1.len())];
            if piece.is_empty() {
                let _ = source.end_of_stream();
                return;
            }
            let mut buffer = gst::Buffer::from_slice(piece.to_vec());
            if let Some(buffer) = buffer.get_mut() {
                buffer.set_offset(*at);
            }
            *at += piece.len() as u64;
            let _ = source.push_buffer(buffer);
        })
        .seek_data(move |_, offset| {
            *seeking.lock().unwrap_or_else(PoisonError::into_inner) = offset;
            true
        })
        .build();
    let source = gst_app::AppSrc::builder().stream_type(gst_app::AppStreamType::RandomAccess).format(gst::Format::Bytes).build();
    source.set_size(i64::try_from(size).unwrap_or(-1));
    source.set_callbacks(callbacks);
    source
}

/// Decodes the first video stream that appears, and lets all others run into nothing.
fn connect_streams(
    pipeline: &gst::Pipeline,
    parse: &gst::Element,
    sink: &gst_app::AppSink,
    (chosen, unedited): (&Arc<Mutex<Choice>>, bool),
) {
    let (weak, sink, shared) = (pipeline.downgrade(), sink.clone(), Arc::clone(chosen));
    parse.connect_pad_added(move |_, pad| {
        let Some(pipeline) = weak.upgrade() else { return };
        let mut chosen = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        if chosen.taken.is_none() && is_video(&caps) {
            match attach(&pipeline, pad, &caps, &sink) {
                Ok(taken) => {
                    if unedited {
                        leave_open(pad);
                    }
                    chosen.taken = Some(taken);
                    chosen.failure = None;
                    return;
                }
                Err(failure) => chosen.failure = Some(failure),
            }
        }
        let _ = discard(&pipeline, pad);
    });
    let (weak, shared) = (sink_of(pipeline), Arc::clone(chosen));
    parse.connect_no_more_pads(move |_| {
        let mut chosen = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if chosen.taken.is_none() {
            chosen.failure.get_or_insert_with(|| Failure::Unsupported("it has no video stream".to_owned()));
            if let Some(pipeline) = weak.upgrade() {
                gst::element_error!(pipeline, gst::StreamError::CodecNotFound, ("no video stream can be decoded"));
            }
        }
    });
}

fn sink_of(pipeline: &gst::Pipeline) -> gst::glib::WeakRef<gst::Pipeline> {
    pipeline.downgrade()
}

fn is_video(caps: &gst::CapsRef) -> bool {
    caps.structure(0).is_some_and(|s| s.name().starts_with("video/") || s.name() == "image/jpeg")
}

fn attach(pipeline: &gst::Pipeline, pad: &gst::Pad, caps: &gst::Caps, sink: &gst_app::AppSink) -> Result<Taken, Failure> {
    let name = elements::decoder_for(caps)?;
    let decoder = make(&name)?;
    tune(&decoder);
    pipeline.add(&decoder).map_err(internal)?;
    decoder.link(sink).map_err(internal)?;
    decoder.sync_state_with_parent().map_err(internal)?;
    let target = decoder.static_pad("sink").ok_or_else(|| internal("a decoder without a sink"))?;
    pad.link(&target).map_err(internal)?;
    Ok(Taken { decoder: name, codec: codec_name(caps), beginnings: Beginnings::of(&decoder) })
}

/// Takes the end out of the stretch that a demuxer says is shown: without an edit list it is but the length that the header
/// claims, and pictures that are stored later than they are shown lie beyond it.
fn leave_open(pad: &gst::Pad) {
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, |_, info| {
        if let Some(gst::PadProbeData::Event(event)) = &mut info.data
            && let gst::EventView::Segment(said) = event.view()
        {
            let mut segment = said.segment().clone();
            if let Some(time) = segment.downcast_mut::<gst::ClockTime>() {
                time.set_stop(None::<gst::ClockTime>);
            }
            *event = gst::event::Segment::builder(&segment).seqnum(event.seqnum()).build();
        }
        gst::PadProbeReturn::Ok
    });
}

fn discard(pipeline: &gst::Pipeline, pad: &gst::Pad) -> Result<(), Failure> {
    let nothing = make("fakesink")?;
    nothing.set_property("sync", false);
    nothing.set_property("async", false);
    pipeline.add(&nothing).map_err(internal)?;
    nothing.sync_state_with_parent().map_err(internal)?;
    let target = nothing.static_pad("sink").ok_or_else(|| internal("a sink without a pad"))?;
    pad.link(&target).map_err(internal)?;
    Ok(())
}

/// The codec's usual name, such as `h264`, from GStreamer's.
fn codec_name(caps: &gst::CapsRef) -> String {
    let Some(structure) = caps.structure(0) else { return "unknown".to_owned() };
    match (structure.name().as_str(), structure.get::<i32>("mpegversion")) {
        ("video/mpeg", Ok(version)) => format!("mpeg{version}"),
        ("image/jpeg", _) => "mjpeg".to_owned(),
        (name, _) => name.trim_start_matches("video/").trim_start_matches("x-").to_owned(),
    }
}
