//! Pictures and videos made on the spot, so that every frame can be told from every other by its colour.

use std::io::Cursor;

use gstreamer as gst;
use gstreamer::prelude::*;

/// The colour of frame `number` of a test video: far from those of its neighbours.
pub fn colour_of_frame(number: u64) -> [u8; 3] {
    let spread = |step: u64, start: u64| 16 + ((number * step + start) % 224) as u8;
    [spread(97, 20), spread(61, 130), spread(151, 70)]
}

/// A picture of one colour.
pub fn plain_picture(width: u32, height: u32, colour: [u8; 3], format: image::ImageFormat) -> Vec<u8> {
    let picture = image::RgbImage::from_pixel(width, height, image::Rgb(colour));
    let mut file = Cursor::new(Vec::new());
    picture.write_to(&mut file, format).expect("a plain picture can be encoded");
    file.into_inner()
}

pub fn jpeg(width: u32, height: u32, colour: [u8; 3]) -> Vec<u8> {
    plain_picture(width, height, colour, image::ImageFormat::Jpeg)
}

pub fn png(width: u32, height: u32, colour: [u8; 3]) -> Vec<u8> {
    plain_picture(width, height, colour, image::ImageFormat::Png)
}

/// The colour of a point of bars that move over a ground that changes slowly, with some grain: no two of `frames`
/// frames are alike, and they take about as many bytes as a camera's.
pub fn moving_bars(frame: u64, frames: u64, x: u32, y: u32) -> [u8; 3] {
    let moved = (u64::from(x) + 3 * frame) % 256;
    let bar = ((u64::from(y) + frame) / 24).is_multiple_of(2);
    let ground = (frame * 255 / frames) as u8;
    let grain = (x.wrapping_mul(2_654_435_761) ^ y.wrapping_mul(40_503)).rotate_left((frame % 31) as u32) as u8 % 24;
    if bar { [moved as u8, ground, 255 - ground] } else { [ground, 200 - grain, moved as u8] }
}

/// How a video is to be made.
#[derive(Debug, Clone)]
pub struct VideoRecipe {
    pub frames: u64,
    pub width: u32,
    pub height: u32,
    pub fps: u32,
    /// GStreamer elements from raw video to a file's bytes.
    pub encode: &'static str,
}

impl Default for VideoRecipe {
    fn default() -> Self {
        Self {
            frames: 30,
            width: 320,
            height: 192,
            fps: 10,
            encode: "x264enc key-int-max=10 bframes=2 ! video/x-h264,profile=main ! mp4mux faststart=true",
        }
    }
}

impl VideoRecipe {
    /// Each frame one colour, that of [`colour_of_frame`].
    pub fn coloured(&self) -> Vec<u8> {
        self.painted(|number, _, _| colour_of_frame(number))
    }

    /// `paint` gives the colour at frame, column, row.
    pub fn painted(&self, paint: impl Fn(u64, u32, u32) -> [u8; 3]) -> Vec<u8> {
        gst::init().expect("GStreamer starts");
        let folder = tempfile::tempdir().expect("a temporary directory");
        let file = folder.path().join("video");
        let line = format!("appsrc name=source format=time ! videoconvert ! {} ! filesink location={}", self.encode, file.display());
        let pipeline = gst::parse::launch(&line).expect("the pipeline's elements are installed");
        let pipeline = pipeline.downcast::<gst::Pipeline>().expect("several elements make a pipeline");
        let source = pipeline.by_name("source").and_then(|element| element.downcast::<gstreamer_app::AppSrc>().ok());
        let source = source.expect("the pipeline has an appsrc");
        let info = gstreamer_video::VideoInfo::builder(gstreamer_video::VideoFormat::Rgb, self.width, self.height)
            .fps(gst::Fraction::new(self.fps as i32, 1))
            .build()
            .expect("a lawful video format");
        source.set_caps(Some(&info.to_caps().expect("caps of a lawful format")));
        source.set_max_bytes(0);
        pipeline.set_state(gst::State::Playing).expect("the encoder starts");
        for number in 0..self.frames {
            source.push_buffer(self.frame(&info, number, &paint)).expect("the encoder takes frames");
        }
        source.end_of_stream().expect("the encoder takes the end");
        let bus = pipeline.bus().expect("pipelines have a bus");
        let limit = gst::ClockTime::from_seconds(120);
        let end = bus.timed_pop_filtered(limit, &[gst::MessageType::Eos, gst::MessageType::Error]).expect("encoding ends in time");
        if let gst::MessageView::Error(error) = end.view() {
            panic!("encoding failed: {} {:?}", error.error(), error.debug());
        }
        pipeline.set_state(gst::State::Null).expect("the encoder stops");
        std::fs::read(&file).expect("the file was written")
    }

    fn frame(&self, info: &gstreamer_video::VideoInfo, number: u64, paint: &impl Fn(u64, u32, u32) -> [u8; 3]) -> gst::Buffer {
        let stride = info.stride()[0] as usize;
        let mut pixels = vec![0; info.size()];
        for row in 0..self.height {
            for column in 0..self.width {
                let at = row as usize * stride + column as usize * 3;
                pixels[at..at + 3].copy_from_slice(&paint(number, column, row));
            }
        }
        let mut buffer = gst::Buffer::from_slice(pixels);
        let step = gst::ClockTime::SECOND / u64::from(self.fps);
        let timed = buffer.get_mut().expect("nobody else has the buffer yet");
        timed.set_pts(step * number);
        timed.set_duration(step);
        buffer
    }
}
