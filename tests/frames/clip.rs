//! Clips made on the fly: each picture says, in black and white columns, which frame it is.

use std::path::{Path, PathBuf};

use gstreamer as gst;
use gstreamer_app as gst_app;

use gst::prelude::*;

/// Columns, so bits of a frame number.
const BITS: usize = 8;

/// Size of the clips' pictures in pixels.
pub(crate) const SIZE: (usize, usize) = (160, 96);

/// Makes a clip of `frames` pictures with a pipeline such as `x264enc ! mp4mux`, and returns its path.
pub(crate) fn make(dir: &Path, name: &str, frames: u64, pipeline: &str) -> PathBuf {
    gst::init().unwrap();
    let path = dir.join(name);
    let text = format!("appsrc name=source ! videoconvert ! {pipeline} ! filesink name=file");
    let pipeline = gst::parse::launch(&text).unwrap().downcast::<gst::Pipeline>().unwrap();
    pipeline.by_name("file").unwrap().set_property("location", path.to_str().unwrap());
    let source = pipeline.by_name("source").unwrap().downcast::<gst_app::AppSrc>().unwrap();
    let caps = gst::Caps::builder("video/x-raw")
        .field("format", "I420")
        .field("width", SIZE.0 as i32)
        .field("height", SIZE.1 as i32)
        .field("framerate", gst::Fraction::new(25, 1))
        .build();
    source.set_caps(Some(&caps));
    source.set_format(gst::Format::Time);
    pipeline.set_state(gst::State::Playing).unwrap();
    for frame in 0..frames {
        let mut buffer = gst::Buffer::from_slice(paint(frame));
        let writable = buffer.get_mut().unwrap();
        writable.set_pts(gst::ClockTime::from_mseconds(40 * frame));
        writable.set_duration(gst::ClockTime::from_mseconds(40));
        source.push_buffer(buffer).unwrap();
    }
    source.end_of_stream().unwrap();
    let wanted = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = pipeline.bus().unwrap().timed_pop_filtered(gst::ClockTime::from_seconds(60), &wanted);
    assert_eq!(end.map(|message| message.type_()), Some(gst::MessageType::Eos), "{text}");
    pipeline.set_state(gst::State::Null).unwrap();
    path
}

/// An H.264 clip with B frames and a key frame every 12 pictures.
pub(crate) fn h264(dir: &Path, frames: u64) -> PathBuf {
    make(dir, "h264.mp4", frames, "x264enc bframes=3 key-int-max=12 ! mp4mux")
}

fn paint(frame: u64) -> Vec<u8> {
    let (width, height) = SIZE;
    let row = (0..width).map(|x| if frame >> (x * BITS / width) & 1 == 1 { 235 } else { 16 });
    let row: Vec<u8> = row.collect();
    let mut picture = row.repeat(height);
    picture.resize(width * height * 3 / 2, 128);
    picture
}

/// Which frame a picture shows, read from its columns.
pub(crate) fn shown(picture: &[u8]) -> u64 {
    let image = image::load_from_memory(picture).unwrap().into_luma8();
    let (width, height) = image.dimensions();
    let bright = |bit: u32| image.get_pixel((2 * bit + 1) * width / (2 * BITS as u32), height / 2).0[0] > 128;
    (0..BITS as u32).filter(|&bit| bright(bit)).map(|bit| 1 << bit).sum()
}
