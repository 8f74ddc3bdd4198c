//! From the one decoded picture to upright RGB, and from there to what was asked for.

use gstreamer as gst;
use gstreamer_video as gst_video;

use gst_video::VideoFormat;
use gst_video::prelude::*;

use super::colour;
use super::pipeline::internal;
use crate::media::Hdr;
use crate::media::index::{Colour, Crop, Turn};
use crate::media::still::encode;
use crate::media::worker::protocol::{Failure, FrameJob, Rectangle};

/// How a decoded picture is to be shown, as the container has it.
#[derive(Debug, Clone, Default)]
pub(super) struct Display {
    pub(super) turn: Turn,
    /// Width : height of one pixel; `None` leaves it to the bitstream.
    pub(super) pixel_aspect: Option<(u32, u32)>,
    pub(super) crop: Option<Crop>,
    pub(super) colour: Colour,
}

/// An upright picture, eight bits, sRGB.
pub(super) struct Rgb {
    pub(super) pixels: Vec<u8>,
    pub(super) width: u32,
    pub(super) height: u32,
    /// Width : height of one pixel.
    pub(super) aspect: (u32, u32),
    /// Set where the code values are those of a high dynamic range.
    pub(super) hdr: Option<Hdr>,
}

/// An encoded picture.
pub(super) struct Encoded {
    pub(super) png: bool,
    pub(super) bytes: Vec<u8>,
    pub(super) width: u32,
    pub(super) height: u32,
}

/// Converts a decoded picture.
pub(super) fn rgb(sample: &gst::Sample, display: &Display, max_pixels: u64) -> Result<Rgb, Failure> {
    let caps = sample.caps().ok_or_else(|| internal("a picture without caps"))?;
    let info = gst_video::VideoInfo::from_caps(caps).map_err(internal)?;
    let buffer = sample.buffer_owned().ok_or_else(|| internal("a picture without pixels"))?;
    let pixels = u64::from(info.width()) * u64::from(info.height());
    if pixels > max_pixels {
        return Err(Failure::TooLarge { pixels });
    }
    let par = info.par();
    let own_aspect = (par.numer().max(1) as u32, par.denom().max(1) as u32);
    let aspect = display.pixel_aspect.filter(|a| a.0 > 0 && a.1 > 0).unwrap_or(own_aspect);
    let window = window(&info, display.crop);
    let colorimetry = colour::of(caps, &info, &display.colour);
    let upright = convert(buffer, &info, window, &colorimetry)?;
    let (pixels, width, height) = turned(upright, window.width as usize, window.height as usize, display.turn);
    let sideways = display.turn.clockwise % 180 == 90;
    Ok(Rgb { pixels, width, height, aspect: if sideways { (aspect.1, aspect.0) } else { aspect }, hdr: colour::hdr(&colorimetry) })
}

/// The part that is shown, within the decoded picture.
fn window(info: &gst_video::VideoInfo, crop: Option<Crop>) -> Crop {
    let whole = Crop { left: 0, top: 0, width: info.width(), height: info.height() };
    crop.filter(|c| c.width > 0 && c.height > 0)
        .filter(|c| c.left.saturating_add(c.width) <= whole.width && c.top.saturating_add(c.height) <= whole.height)
        .unwrap_or(whole)
}

fn convert(
    buffer: gst::Buffer,
    info: &gst_video::VideoInfo,
    window: Crop,
    colorimetry: &gst_video::VideoColorimetry,
) -> Result<Vec<u8>, Failure> {
    // Some decoders call green, blue and red Y, Cb and Cr.
    let format = match (info.format(), colorimetry.matrix()) {
        (VideoFormat::Y444, gst_video::VideoColorMatrix::Rgb) => VideoFormat::Gbr,
        (VideoFormat::Y44410le, gst_video::VideoColorMatrix::Rgb) => VideoFormat::Gbr10le,
        (VideoFormat::Y44412le, gst_video::VideoColorMatrix::Rgb) => VideoFormat::Gbr12le,
        (format, _) => format,
    };
    let from = gst_video::VideoInfo::builder(format, info.width(), info.height())
        .colorimetry(colorimetry)
        .chroma_site(info.chroma_site())
        .interlace_mode(info.interlace_mode())
        .build()
        .map_err(internal)?;
    let (width, height) = (window.width as i32, window.height as i32);
    let to = gst_video::VideoInfo::builder(VideoFormat::Rgb, window.width, window.height)
        .interlace_mode(info.interlace_mode())
        .build()
        .map_err(internal)?;
    let mut config = gst_video::VideoConverterConfig::new();
    config.set_src_x(window.left as i32);
    config.set_src_y(window.top as i32);
    config.set_src_width(Some(width));
    config.set_src_height(Some(height));
    config.set_dither_method(gst_video::VideoDitherMethod::None);
    let converter = gst_video::VideoConverter::new(&from, &to, Some(config)).map_err(internal)?;

    let input = gst_video::VideoFrame::from_buffer_readable(buffer, info).map_err(|_| internal("a picture that cannot be mapped"))?;
    let target = gst::Buffer::with_size(to.size()).map_err(internal)?;
    let mut output = gst_video::VideoFrame::from_buffer_writable(target, &to).map_err(|_| internal("no room for the picture"))?;
    converter.frame(&input, &mut output);

    let stride = output.plane_stride()[0] as usize;
    let row = width as usize * 3;
    let plane = output.plane_data(0).map_err(internal)?;
    let mut pixels = Vec::with_capacity(row * height as usize);
    for line in plane.chunks(stride).take(height as usize) {
        pixels.extend_from_slice(&line[..row]);
    }
    Ok(pixels)
}

/// `pixels`, mirrored left to right and then turned clockwise, with the new width and height.
fn turned(pixels: Vec<u8>, width: usize, height: usize, turn: Turn) -> (Vec<u8>, u32, u32) {
    let quarter = turn.clockwise / 90 % 4;
    if quarter == 0 && !turn.mirror {
        return (pixels, width as u32, height as u32);
    }
    let (across, down) = if quarter % 2 == 1 { (height, width) } else { (width, height) };
    let mut out = Vec::with_capacity(pixels.len());
    for y in 0..down {
        for x in 0..across {
            let (column, line) = match quarter {
                0 => (x, y),
                1 => (y, height - 1 - x),
                2 => (width - 1 - x, height - 1 - y),
                _ => (width - 1 - y, x),
            };
            let column = if turn.mirror { width - 1 - column } else { column };
            let at = (line * width + column) * 3;
            out.extend_from_slice(&pixels[at..at + 3]);
        }
    }
    (out, across as u32, down as u32)
}

impl Rgb {
    /// The size this picture is displayed at: pixels that are not square widen or heighten it, never shrink it.
    pub(super) fn displayed(&self) -> (u32, u32) {
        let (across, down) = self.aspect;
        let scaled =
            |length: u32, by: u32, of: u32| ((u64::from(length) * u64::from(by) + u64::from(of) / 2) / u64::from(of)).max(1) as u32;
        match across.cmp(&down) {
            std::cmp::Ordering::Greater => (scaled(self.width, across, down), self.height),
            std::cmp::Ordering::Less => (self.width, scaled(self.height, down, across)),
            std::cmp::Ordering::Equal => (self.width, self.height),
        }
    }

    /// Cuts out what was asked for and writes it in the form asked for.
    pub(super) fn encode(self, job: &FrameJob) -> Result<Vec<Encoded>, Failure> {
        let whole = [Rectangle(0.0, 0.0, 1.0, 1.0)];
        let regions = if job.regions.is_empty() { &whole[..] } else { &job.regions };
        if let [region] = regions {
            return Ok(vec![self.cut(*region).write(job)?]);
        }
        regions.iter().map(|region| self.part(*region).write(job)).collect()
    }

    fn cut(self, region: Rectangle) -> Self {
        if region == Rectangle(0.0, 0.0, 1.0, 1.0) { self } else { self.part(region) }
    }

    /// The part of the picture in `region`: at least one pixel, never beyond an edge.
    fn part(&self, Rectangle(x, y, width, height): Rectangle) -> Self {
        let edges = |from: f64, length: f64, all: u32| {
            let last = f64::from(all);
            // A float that is no number becomes 0 in the cast.
            let start = (from * last).floor().clamp(0.0, last - 1.0) as u32;
            let end = ((from + length) * last).ceil().clamp(0.0, last) as u32;
            (start as usize, end.clamp(start + 1, all) as usize)
        };
        let ((left, right), (top, bottom)) = (edges(x, width, self.width), edges(y, height, self.height));
        let row = self.width as usize * 3;
        let pixels = (top..bottom).flat_map(|line| &self.pixels[line * row + left * 3..line * row + right * 3]).copied().collect();
        Self { pixels, width: (right - left) as u32, height: (bottom - top) as u32, aspect: self.aspect, hdr: self.hdr }
    }

    fn write(self, job: &FrameJob) -> Result<Encoded, Failure> {
        if job.lossless {
            let bytes = encode::png(&self.pixels, self.width, self.height).map_err(internal)?;
            return Ok(Encoded { png: true, bytes, width: self.width, height: self.height });
        }
        let (across, down) = self.displayed();
        let (width, height) = encode::fitted(across, down, job.max_side);
        let pixels = if (width, height) == (self.width, self.height) {
            self.pixels
        } else {
            encode::scale(&self.pixels, self.width, self.height, width, height).map_err(internal)?
        };
        let bytes = encode::jpeg(&pixels, width, height, job.quality).map_err(internal)?;
        Ok(Encoded { png: false, bytes, width, height })
    }
}
