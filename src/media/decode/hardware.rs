//! Decoders in hardware: which are registered, and which of them can be trusted.
//!
//! That an element is there proves nothing: drivers load without a device, devices refuse or lie. Only a decoder that made
//! the right picture of a built-in clip is used.

use gstreamer as gst;

use gst::prelude::*;

use super::picture::{self, Display, Rgb};
use super::{clips, elements, table};
use crate::deadline::Deadline;
use crate::media::index::{self, Codec, Found};
use crate::media::source::Source;
use crate::media::still::encode;
use crate::media::worker::protocol::{Candidate, Failure};

/// Families in the order they are tried in.
const FAMILIES: [&str; 3] = ["vaapi", "nvdec", "v4l2"];

/// Codecs that hardware decoders are used for; MJPEG and ProRes are quick in software.
const CODECS: [Codec; 5] = [Codec::H264, Codec::H265, Codec::Vp8, Codec::Vp9, Codec::Av1];

/// Mean difference of a colour value, 0 to 255, up to which two pictures are the same: decoders agree to the bit, what
/// differs is the conversion. A neighbouring frame of the clip is more than 20 off.
const SAME: f64 = 6.0;

/// The decoders of all kinds on this box that could decode one of the codecs, in the order they are tried in.
pub(super) fn all() -> Vec<Candidate> {
    let software = CODECS.iter().filter_map(|codec| Some((codec, elements::software_decoder(codec).ok()?)));
    let software = software.map(|(codec, element)| candidate(element, "software", codec));
    CODECS.iter().flat_map(|codec| of(codec, "auto")).chain(software).collect()
}

/// The hardware decoders for a codec that the setting `media.decoder` admits, in the order they are tried in.
pub(super) fn of(codec: &Codec, setting: &str) -> Vec<Candidate> {
    if !CODECS.contains(codec) {
        return Vec::new();
    }
    let caps = elements::plain_caps(codec);
    let kind = gst::ElementFactoryType::DECODER | gst::ElementFactoryType::MEDIA_VIDEO;
    let mut found: Vec<_> = gst::ElementFactory::factories_with_type(kind, gst::Rank::NONE)
        .into_iter()
        .filter_map(|factory| {
            let name = factory.name().to_string();
            let family = family(&name).filter(|family| setting == "auto" || setting == *family)?;
            factory.can_sink_any_caps(&caps).then(|| {
                let place = FAMILIES.iter().position(|f| *f == family);
                (place, std::cmp::Reverse(factory.rank()), candidate(&name, family, codec))
            })
        })
        .collect();
    found.sort_by(|a, b| (a.0, a.1, &a.2.element).cmp(&(b.0, b.1, &b.2.element)));
    found.into_iter().map(|(_, _, candidate)| candidate).collect()
}

fn candidate(element: &str, family: &str, codec: &Codec) -> Candidate {
    Candidate { element: element.to_owned(), family: family.to_owned(), codec: codec.name().to_owned() }
}

/// The family of a decoder, from its name: `vah264dec`, `nvh265dec`, `nvv4l2decoder`, `v4l2slh264dec`, `v4l2vp9dec`.
fn family(element: &str) -> Option<&'static str> {
    let decoder = element.ends_with("dec") || element.ends_with("decoder");
    match element {
        _ if !decoder => None,
        _ if element.starts_with("v4l2") => Some("v4l2"),
        _ if element.starts_with("va") => Some("vaapi"),
        _ if element.starts_with("nv") => Some("nvdec"),
        _ => None,
    }
}

/// Element that brings pictures from device memory, for the one decoder that has no other way to give them.
pub(super) fn download(element: &str) -> Option<&'static str> {
    (element == "nvv4l2decoder").then_some("nvvidconv")
}

/// Decodes the built-in clip with a decoder and compares the picture with what it should be.
pub(super) fn prove(candidate: &Candidate, deadline: &Deadline) -> Result<(), Failure> {
    let clip = clips::of(&candidate.codec).ok_or_else(|| Failure::Internal(format!("there is no clip for {}", candidate.codec)))?;
    let Ok(Found::Table(table)) = index::read(&mut Source::memory(clip.video.to_vec())) else {
        return Err(Failure::Internal(format!("the clip for {} cannot be read", candidate.codec)));
    };
    let plan = table.plan(clips::FRAME).map_err(|beyond| Failure::OutOfRange { count: beyond.count })?;
    let mut samples = table::Samples::new(&table, &plan);
    let mut read = |spans: &[(u64, u64)], sink: &mut dyn FnMut(&[u8])| {
        sink(&clips::cut(clip.video, spans));
        Ok(())
    };
    let sample = table::decode(&mut samples, &mut read, &candidate.element, candidate.family != "software", deadline)?;
    let difference = difference(picture::rgb(&sample, &Display::default(), u64::from(u32::MAX))?, clip.thumbnail)?;
    if difference > SAME {
        return Err(Failure::Broken(format!("it makes a wrong picture of a built-in clip ({difference:.0} of 255 off)")));
    }
    Ok(())
}

fn difference(picture: Rgb, thumbnail: &[u8]) -> Result<f64, Failure> {
    let (across, down) = clips::THUMBNAIL;
    let small = encode::scale(&picture.pixels, picture.width, picture.height, across, down).map_err(super::pipeline::internal)?;
    let sum: u64 = small.iter().zip(thumbnail).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    Ok(sum as f64 / thumbnail.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_told_by_name() {
        for (element, expected) in [
            ("vah264dec", Some("vaapi")),
            ("varenderD129av1dec", Some("vaapi")),
            ("vaapih264dec", Some("vaapi")),
            ("nvh264sldec", Some("nvdec")),
            ("nvv4l2decoder", Some("nvdec")),
            ("v4l2slhevcdec", Some("v4l2")),
            ("avdec_h264", None),
            ("vapostproc", None),
            ("vp9dec", None),
        ] {
            assert_eq!(family(element), expected, "{element}");
        }
    }

    #[test]
    fn software_decoders_pass_the_proof_and_another_picture_does_not() {
        gst::init().unwrap();
        let deadline = Deadline::after(std::time::Duration::from_secs(30));
        let software: Vec<_> = all().into_iter().filter(|candidate| candidate.family == "software").collect();
        assert!(!software.is_empty());
        for candidate in &software {
            assert_eq!(prove(candidate, &deadline), Ok(()), "{candidate:?}");
        }
        let neighbours = clips::of("h264").unwrap();
        let Ok(Found::Table(table)) = index::read(&mut Source::memory(neighbours.video.to_vec())) else { panic!() };
        for frame in [2, 4] {
            let plan = table.plan(frame).unwrap();
            let mut samples = table::Samples::new(&table, &plan);
            let mut read = |spans: &[(u64, u64)], sink: &mut dyn FnMut(&[u8])| {
                sink(&clips::cut(neighbours.video, spans));
                Ok(())
            };
            let sample = table::decode(&mut samples, &mut read, "avdec_h264", false, &deadline).unwrap();
            let rgb = picture::rgb(&sample, &Display::default(), u64::from(u32::MAX)).unwrap();
            assert!(difference(rgb, neighbours.thumbnail).unwrap() > 2.0 * SAME, "frame {frame}");
        }
    }
}
