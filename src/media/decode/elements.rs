//! From a codec to the GStreamer elements that decode it, and to the package that brings them.

use gstreamer as gst;

use gst::prelude::*;

use crate::media::index::{Codec, SampleTable, StreamFormat};
use crate::media::worker::protocol::Failure;

/// Software decoders of a codec, best first, and the package that brings the first.
fn software(codec: &Codec) -> (&'static [&'static str], &'static str) {
    match codec {
        Codec::H264 => (&["avdec_h264", "openh264dec"], "gstreamer1.0-libav"),
        // Not libde265dec: of more than 8 bits it shows something else.
        Codec::H265 => (&["avdec_h265"], "gstreamer1.0-libav"),
        Codec::Vp8 => (&["avdec_vp8", "vp8dec"], "gstreamer1.0-plugins-good"),
        Codec::Vp9 => (&["avdec_vp9", "vp9dec"], "gstreamer1.0-plugins-good"),
        Codec::Av1 => (&["dav1ddec", "av1dec"], "gstreamer1.0-plugins-bad"),
        Codec::Mpeg1 | Codec::Mpeg2 => (&["avdec_mpeg2video", "mpeg2dec"], "gstreamer1.0-libav"),
        Codec::Mpeg4 => (&["avdec_mpeg4"], "gstreamer1.0-libav"),
        Codec::H263 => (&["avdec_h263"], "gstreamer1.0-libav"),
        Codec::Mjpeg => (&["avdec_mjpeg", "jpegdec"], "gstreamer1.0-plugins-good"),
        Codec::ProRes(_) => (&["avdec_prores"], "gstreamer1.0-libav"),
    }
}

/// The software decoder for a codec.
pub(super) fn software_decoder(codec: &Codec) -> Result<&'static str, Failure> {
    let (names, package) = software(codec);
    names.iter().find(|name| exists(name)).copied().ok_or_else(|| no_decoder(codec.name(), package))
}

/// Parser that brings samples into the form that `decoder` wants, if this way of framing needs one.
pub(super) fn parser(table: &SampleTable, decoder: &str, hardware: bool) -> Result<Option<&'static str>, Failure> {
    // libavcodec reads length-prefixed samples itself, as long as the parameter sets are in the header.
    let prefixed = decoder.starts_with("avdec_");
    let (parser, needed) = match (&table.codec, table.stream_format) {
        (Codec::H264, StreamFormat::Avc) => ("h264parse", !prefixed),
        (Codec::H265, StreamFormat::Hvc1) => ("h265parse", !prefixed),
        (Codec::H264, _) => ("h264parse", true),
        (Codec::H265, _) => ("h265parse", true),
        (Codec::Av1, _) => ("av1parse", true),
        (Codec::Vp9, _) => ("vp9parse", hardware),
        _ => return Ok(None),
    };
    match (needed, exists(parser)) {
        (false, _) => Ok(None),
        (true, true) => Ok(Some(parser)),
        (true, false) => Err(no_decoder(table.codec.name(), "gstreamer1.0-plugins-bad")),
    }
}

/// The software decoder for a stream that GStreamer's demuxer describes as `caps`.
pub(super) fn decoder_for(caps: &gst::CapsRef) -> Result<String, Failure> {
    let kind = gst::ElementFactoryType::DECODER | gst::ElementFactoryType::MEDIA_VIDEO;
    let all = gst::ElementFactory::factories_with_type(kind, gst::Rank::MARGINAL);
    let caps = caps.to_owned();
    let mut fit: Vec<_> = all.into_iter().filter(|f| f.can_sink_any_caps(&caps) && !is_hardware(f)).collect();
    // libavcodec first: it is what the definition of frame N was measured with.
    fit.sort_by_key(|f| (!f.name().starts_with("avdec_"), std::cmp::Reverse(f.rank()), f.name().to_string()));
    fit.first().map(|f| f.name().to_string()).ok_or_else(|| {
        let name = caps.structure(0).map_or("an unknown codec", |s| s.name().as_str()).to_owned();
        no_decoder(&name, decoder_package(&name))
    })
}

/// Debian's package with the decoder of a stream that GStreamer calls `caps`.
fn decoder_package(caps: &str) -> &'static str {
    match caps {
        "video/x-theora" => "gstreamer1.0-plugins-base",
        "video/x-vp8" | "video/x-vp9" | "video/x-dv" | "image/jpeg" | "image/png" | "video/x-raw" => "gstreamer1.0-plugins-good",
        "video/x-av1" | "image/jp2" | "image/x-j2c" => "gstreamer1.0-plugins-bad",
        _ => "gstreamer1.0-libav",
    }
}

/// The demuxers of containers, and Debian's packages that have them.
const DEMUXERS: [(&str, &str, &str); 9] = [
    ("mpegts", "tsdemux", "gstreamer1.0-plugins-bad"),
    ("mpegps", "mpegpsdemux", "gstreamer1.0-plugins-bad"),
    ("ivf", "ivfparse", "gstreamer1.0-plugins-bad"),
    ("avi", "avidemux", "gstreamer1.0-plugins-good"),
    ("flv", "flvdemux", "gstreamer1.0-plugins-good"),
    ("mp4", "qtdemux", "gstreamer1.0-plugins-good"),
    ("matroska", "matroskademux", "gstreamer1.0-plugins-good"),
    ("ogg", "oggdemux", "gstreamer1.0-plugins-base"),
    ("asf", "asfdemux", "gstreamer1.0-plugins-ugly"),
];

/// What to say about a container whose demuxer is not there; `None` when it is, or when it is not known which that would be.
pub(super) fn missing_demuxer(container: &str) -> Option<Failure> {
    let (_, element, package) = DEMUXERS.iter().find(|(name, ..)| *name == container)?;
    (!exists(element)).then(|| Failure::Unsupported(format!("this box has no demuxer for {container}: install {package}")))
}

fn is_hardware(factory: &gst::ElementFactory) -> bool {
    factory.metadata("klass").is_some_and(|klass| klass.contains("Hardware"))
}

fn no_decoder(codec: &str, package: &str) -> Failure {
    Failure::NoDecoder { codec: codec.to_owned(), remedy: format!("install {package}") }
}

pub(super) fn exists(element: &str) -> bool {
    gst::ElementFactory::find(element).is_some()
}

/// A codec in GStreamer's terms.
pub(super) fn plain_caps(codec: &Codec) -> gst::Caps {
    gst::Caps::builder_full().structure(structure(codec)).build()
}

fn structure(codec: &Codec) -> gst::Structure {
    let plain = |name: &str| gst::Structure::new_empty(name);
    let mpeg = |version: i32| gst::Structure::builder("video/mpeg").field("mpegversion", version).field("systemstream", false).build();
    match codec {
        Codec::H264 => plain("video/x-h264"),
        Codec::H265 => plain("video/x-h265"),
        Codec::Vp8 => plain("video/x-vp8"),
        Codec::Vp9 => plain("video/x-vp9"),
        Codec::Av1 => gst::Structure::builder("video/x-av1").field("stream-format", "obu-stream").field("alignment", "tu").build(),
        Codec::Mpeg1 => mpeg(1),
        Codec::Mpeg2 => mpeg(2),
        Codec::Mpeg4 => mpeg(4),
        Codec::H263 => gst::Structure::builder("video/x-h263").field("variant", "itu").build(),
        Codec::Mjpeg => gst::Structure::builder("image/jpeg").field("parsed", true).build(),
        Codec::ProRes(fourcc) => gst::Structure::builder("video/x-prores").field("variant", prores(*fourcc)).build(),
    }
}

/// What the samples of a table are, in GStreamer's terms; `None` for a size that no decoder takes.
pub(super) fn caps(table: &SampleTable) -> Option<gst::Caps> {
    let mut structure = structure(&table.codec);
    let format = match table.stream_format {
        StreamFormat::Avc => Some("avc"),
        StreamFormat::Avc3 => Some("avc3"),
        StreamFormat::Hvc1 => Some("hvc1"),
        StreamFormat::Hev1 => Some("hev1"),
        StreamFormat::ByteStream => Some("byte-stream"),
        StreamFormat::Frame => None,
    };
    if let Some(format) = format {
        structure.set("stream-format", format);
        structure.set("alignment", "au");
    }
    // The bitstream says it again, except where the sizes of fields and codecs are the container's alone.
    structure.set("width", i32::try_from(table.width).ok()?);
    structure.set("height", i32::try_from(table.height).ok()?);
    if let Some(data) = table.codec_data.as_ref().filter(|data| !data.is_empty()) {
        structure.set("codec_data", gst::Buffer::from_slice(data.clone()));
    }
    Some(gst::Caps::builder_full().structure(structure).build())
}

fn prores(fourcc: [u8; 4]) -> &'static str {
    match &fourcc {
        b"apcs" => "lt",
        b"apco" => "proxy",
        b"apch" => "hq",
        b"ap4h" => "4444",
        b"ap4x" => "4444xq",
        _ => "standard",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Debian's package with an element.
    fn package(element: &str) -> String {
        let plugin = gst::ElementFactory::find(element).and_then(|factory| factory.plugin()).unwrap_or_else(|| panic!("no {element}"));
        let file = std::fs::canonicalize(plugin.filename().unwrap()).unwrap();
        // Packages of before the merge of /lib into /usr have their files listed there.
        let names = [file.clone(), file.strip_prefix("/usr").map(|rest| std::path::Path::new("/").join(rest)).unwrap_or(file)];
        let output = names.map(|name| std::process::Command::new("dpkg-query").arg("-S").arg(name).output().unwrap().stdout);
        String::from_utf8_lossy(&output.concat()).split(':').next().unwrap_or_default().to_owned()
    }

    #[test]
    fn the_packages_that_are_named_have_what_is_missing() {
        gst::init().unwrap();
        for (container, element, named) in DEMUXERS {
            assert_eq!(package(element), named, "{container}");
            assert_eq!(missing_demuxer(container), None);
        }
        for (caps, element) in [
            ("video/x-theora", "theoradec"),
            ("video/x-vp8", "vp8dec"),
            ("video/x-dv", "dvdec"),
            ("video/x-av1", "av1dec"),
            ("image/jp2", "openjpegdec"),
            ("video/x-wmv", "avdec_wmv2"),
        ] {
            assert_eq!(package(element), decoder_package(caps), "{caps}");
        }
    }
}
