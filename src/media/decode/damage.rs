//! Damage that libavcodec conceals: it fills the place in with guesses, marks nothing on the picture, and tells its log.
//!
//! A decoder works on several pictures at once, so its first decoding only shows whether there is any damage at all. When
//! there is, the pictures are decoded once more, one after the other, which shows in which of them it lies.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gstreamer as gst;

use gst::prelude::*;

/// What libavcodec says, at the beginning of a line, of a picture whose coded bytes make no sense. Missing references are
/// not among it: files that were cut have them, and every player shows the same picture then.
const COMPLAINTS: [&str; 8] = [
    // H.264, H.263, MPEG-1, -2, -4: macroblocks that were filled in.
    "concealing ",
    // H.265, which conceals nothing and notices little.
    "Error parsing NAL unit",
    "CABAC_MAX_BIN",
    "The cu_qp_delta",
    // Motion JPEG.
    "error y=",
    "error dc",
    // ProRes.
    "ac tex damaged",
    "invalid plane data size",
];

/// What was heard in the job at hand. A process has one log, and a worker one job at a time.
#[derive(Default)]
struct Heard {
    /// The picture that is decoded now, if they are decoded one by one.
    at: Option<u32>,
    complaints: u64,
    damaged: BTreeSet<u32>,
}

static HEARD: Mutex<Heard> = Mutex::new(Heard { at: None, complaints: 0, damaged: BTreeSet::new() });

fn heard() -> MutexGuard<'static, Heard> {
    HEARD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Listens to libavcodec from now on.
pub(super) fn listen() {
    if std::env::var_os("GST_DEBUG").is_none() {
        // It would only write on stderr what is heard here.
        gst::log::remove_default_log_function();
    }
    gst::log::set_threshold_for_name("libav", gst::DebugLevel::Info);
    gst::log::add_log_function(|category, _, _, _, _, _, message| {
        if category.name() != "libav" {
            return;
        }
        let Some(text) = message.get() else { return };
        if COMPLAINTS.iter().any(|complaint| text.starts_with(complaint)) {
            let mut heard = heard();
            heard.complaints += 1;
            let at = heard.at;
            heard.damaged.extend(at);
        }
    });
}

/// Forgets what was heard before.
pub(super) fn forget() {
    *heard() = Heard::default();
}

/// How many complaints there were since [`forget`].
pub(super) fn complaints() -> u64 {
    heard().complaints
}

/// The pictures, by ticket, that complaints were about, if a decoder was [`follow`]ed.
pub(super) fn damaged() -> BTreeSet<u32> {
    heard().damaged.clone()
}

/// How much was complained of up to the last two pictures that decoding could begin with.
#[derive(Clone, Default)]
pub(super) struct Beginnings {
    counts: Arc<Mutex<[u64; 2]>>,
}

impl Beginnings {
    /// Watches what goes into `decoder`.
    pub(super) fn of(decoder: &gst::Element) -> Self {
        let beginnings = Self::default();
        let Some(pad) = decoder.static_pad("sink") else { return beginnings };
        let counts = Arc::clone(&beginnings.counts);
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if info.buffer().is_some_and(|buffer| !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT)) {
                let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
                *counts = [counts[1], complaints()];
            }
            gst::PadProbeReturn::Ok
        });
        beginnings
    }

    /// Whether there was damage since the last but one beginning: decoders run ahead of the picture they give out.
    pub(super) fn damage_since(&self) -> bool {
        complaints() > self.counts.lock().unwrap_or_else(PoisonError::into_inner)[0]
    }
}

/// From here on complaints are about the picture that went into `decoder` last; `ticket_of` tells it from its timestamp.
pub(super) fn follow(decoder: &gst::Element, ticket_of: fn(gst::ClockTime) -> u32) {
    let Some(pad) = decoder.static_pad("sink") else { return };
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(pts) = info.buffer().and_then(|buffer| buffer.pts()) {
            heard().at = Some(ticket_of(pts));
        }
        gst::PadProbeReturn::Ok
    });
}
