//! What an item is: its content decides; what its name, its media type and Encord say must not contradict it.

use std::path::Path;

use crate::media::still::StillKind;
use crate::media::{AssetLink, DataType, Error};

/// How an item is to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One picture.
    Still(StillKind),
    /// A container with a video track, as far as its first bytes tell.
    Video,
}

/// What others say an item is.
#[derive(Debug, Clone, Copy)]
pub struct Claims<'a> {
    /// Title as the annotator sees it; used in errors.
    pub title: &'a str,
    /// The path of the link or of the file.
    pub path: &'a str,
    /// What Encord says, if it was asked.
    pub data_type: Option<DataType>,
    /// A media type, if any; often wrong.
    pub mime: Option<&'a str>,
}

impl<'a> Claims<'a> {
    /// What Encord says.
    pub fn of_link(link: &'a AssetLink) -> Self {
        Self { title: &link.title, path: link.url.expose().path(), data_type: Some(link.data_type), mime: link.mime.as_deref() }
    }

    /// What a local file's name says.
    pub fn of_file(path: &'a Path) -> Self {
        let path = path.to_str().unwrap_or_default();
        Self { title: path, path, data_type: None, mime: None }
    }
}

/// What the first bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    Still(StillKind),
    /// A container; its name.
    Video(&'static str),
    /// Something else; what, and what to do about it.
    Other(&'static str, &'static str),
    Empty,
    Text,
    Unknown,
}

/// Tells what an item is from its first bytes (64 KiB, or all of a smaller one).
///
/// Bytes without a known beginning are believed to be a video when Encord, the media type or a name says so: GStreamer
/// knows more containers than this table. Fails with [`Error::Unsupported`], whose cause says what was found and,
/// where there is one, the remedy.
pub fn decide(head: &[u8], claims: &Claims<'_>) -> Result<Kind, Error> {
    let refuse = |cause: String| Err(Error::Unsupported { title: claims.title.to_owned(), cause });
    match (content(head), claims.data_type) {
        (Content::Still(kind), Some(DataType::Video)) => {
            refuse(format!("Encord calls it a video, but it is a still picture ({})", kind.name()))
        }
        (Content::Still(kind), _) => Ok(Kind::Still(kind)),
        (Content::Video(name), Some(DataType::Image)) => refuse(format!("Encord calls it an image, but it is a video ({name})")),
        (Content::Video(_), _) => Ok(Kind::Video),
        (Content::Other(name, remedy), _) => refuse(format!("it is {name}; {remedy}")),
        (Content::Empty, _) => refuse("it is empty (0 bytes)".into()),
        (Content::Text, _) => refuse("it is text, neither a picture nor a video".into()),
        (Content::Unknown, Some(DataType::Image)) => refuse(format!("its format is not known: it begins with {}", beginning(head))),
        (Content::Unknown, Some(DataType::Video)) => Ok(Kind::Video),
        (Content::Unknown, None) if claims.speak_of_video() => Ok(Kind::Video),
        (Content::Unknown, None) => {
            refuse(format!("it is neither a picture nor a video that is known: it begins with {}", beginning(head)))
        }
    }
}

impl Claims<'_> {
    fn speak_of_video(&self) -> bool {
        const EXTENSIONS: [&str; 24] = [
            "mp4", "m4v", "mov", "qt", "mkv", "webm", "avi", "ts", "m2ts", "mts", "mpg", "mpeg", "vob", "flv", "wmv", "asf", "ogv", "3gp",
            "3g2", "mxf", "h264", "264", "h265", "265",
        ];
        let extension = |name: &str| {
            let extension =
                name.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map(|(_, extension)| extension.to_ascii_lowercase());
            extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()))
        };
        self.mime.is_some_and(|mime| mime.to_ascii_lowercase().starts_with("video/")) || extension(self.path) || extension(self.title)
    }
}

const CONVERT: &str = "convert it to JPEG, PNG, WebP or TIFF";
const NO_PICTURE: &str = "there is no picture in it";
const NOT_MEDIA: &str = "only pictures and videos can be shown";

/// Beginnings that leave no doubt: where, what, and what it means.
const BEGINNINGS: [(usize, &[u8], Content); 42] = [
    (0, b"\x1a\x45\xdf\xa3", Content::Video("matroska")),
    (0, b"FLV\x01", Content::Video("flv")),
    (0, b"\x00\x00\x01\xba", Content::Video("mpeg-ps")),
    (0, b"\x00\x00\x01\xb3", Content::Video("mpeg video")),
    (0, b"\x00\x00\x00\x01\x67", Content::Video("h264 stream")),
    (0, b"\x00\x00\x01\x67", Content::Video("h264 stream")),
    (0, b"\x00\x00\x00\x01\x09", Content::Video("h264 stream")),
    (0, b"\x00\x00\x00\x01\x40\x01", Content::Video("h265 stream")),
    (0, b"OggS", Content::Video("ogg")),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", Content::Video("asf")),
    (0, b"\x06\x0e\x2b\x34\x02\x05\x01\x01", Content::Video("mxf")),
    (0, b".RMF", Content::Video("realmedia")),
    (0, b"YUV4MPEG2 ", Content::Video("y4m")),
    (0, b"DKIF", Content::Video("ivf")),
    (0, b"%PDF-", Content::Other("a PDF document", NOT_MEDIA)),
    (128, b"DICM", Content::Other("a DICOM file", NOT_MEDIA)),
    (0, b"ID3", Content::Other("MP3 audio", NO_PICTURE)),
    (0, b"\xff\xfb", Content::Other("MP3 audio", NO_PICTURE)),
    (0, b"\xff\xf3", Content::Other("MP3 audio", NO_PICTURE)),
    (0, b"\xff\xf2", Content::Other("MP3 audio", NO_PICTURE)),
    (0, b"\xff\xf1", Content::Other("AAC audio", NO_PICTURE)),
    (0, b"\xff\xf9", Content::Other("AAC audio", NO_PICTURE)),
    (0, b"fLaC", Content::Other("FLAC audio", NO_PICTURE)),
    (0, b"FORM", Content::Other("AIFF audio", NO_PICTURE)),
    (0, b"#!AMR", Content::Other("AMR audio", NO_PICTURE)),
    (0, b"\x00\x00\x00\x0cJXL ", Content::Other("a JPEG XL picture", CONVERT)),
    (0, b"\xff\x0a", Content::Other("a JPEG XL picture", CONVERT)),
    (0, b"\x00\x00\x00\x0cjP  ", Content::Other("a JPEG 2000 picture", CONVERT)),
    (0, b"\xff\x4f\xff\x51", Content::Other("a JPEG 2000 picture", CONVERT)),
    (0, b"8BPS", Content::Other("a Photoshop picture", CONVERT)),
    (0, b"\x76\x2f\x31\x01", Content::Other("an OpenEXR picture", CONVERT)),
    (0, b"#?RADIANCE", Content::Other("a Radiance picture", CONVERT)),
    (0, b"\x00\x00\x01\x00", Content::Other("an icon", CONVERT)),
    (0, b"FUJIFILMCCD-RAW", Content::Other("a raw photo", CONVERT)),
    (0, b"qoif", Content::Other("a QOI picture", CONVERT)),
    (0, b"PK\x03\x04", Content::Other("a ZIP archive", NOT_MEDIA)),
    (0, b"\x1f\x8b\x08", Content::Other("a gzip archive", NOT_MEDIA)),
    (0, b"7z\xbc\xaf\x27\x1c", Content::Other("a 7-Zip archive", NOT_MEDIA)),
    (0, b"Rar!\x1a\x07", Content::Other("a RAR archive", NOT_MEDIA)),
    (0, b"\x28\xb5\x2f\xfd", Content::Other("a Zstandard archive", NOT_MEDIA)),
    (0, b"LASF", Content::Other("a point cloud", NOT_MEDIA)),
    (0, b"\x7fELF", Content::Other("a program", NOT_MEDIA)),
];

fn content(head: &[u8]) -> Content {
    let at = |offset: usize, bytes: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(bytes));
    if head.is_empty() {
        return Content::Empty;
    }
    if let Some(content) = riff(head).or_else(|| iso(head)) {
        return content;
    }
    if let Some(kind) = StillKind::of(head) {
        return Content::Still(kind);
    }
    if at(0, b"II+\0") || at(0, b"MM\0+") {
        return Content::Still(StillKind::Tiff);
    }
    if let Some((.., content)) = BEGINNINGS.iter().find(|(offset, bytes, _)| at(*offset, bytes)) {
        return *content;
    }
    if is_transport_stream(head) {
        return Content::Video("mpeg-ts");
    }
    text(head).unwrap_or(Content::Unknown)
}

/// RIFF carries AVI, WebP and WAV.
fn riff(head: &[u8]) -> Option<Content> {
    if !(head.starts_with(b"RIFF") || head.starts_with(b"RF64")) {
        return None;
    }
    Some(match head.get(8..12)? {
        b"AVI " => Content::Video("avi"),
        b"WEBP" => Content::Still(StillKind::WebP),
        b"WAVE" => Content::Other("WAV audio", NO_PICTURE),
        _ => Content::Unknown,
    })
}

/// A file of ISO boxes: MP4, QuickTime, and the still pictures of the same family.
fn iso(head: &[u8]) -> Option<Content> {
    let length = u32::from_be_bytes(head.first_chunk().copied()?) as usize;
    match head.get(4..8)? {
        b"ftyp" | b"styp" => {}
        b"moov" | b"mdat" | b"wide" | b"free" | b"skip" | b"pnot" | b"moof" | b"sidx" | b"uuid" if length >= 8 || length <= 1 => {
            return Some(Content::Video("quicktime"));
        }
        _ => return None,
    }
    let brands: Vec<&[u8]> = head[..length.clamp(8, head.len())].get(8..)?.chunks_exact(4).collect();
    let (major, compatible) = (brands.first().copied()?, brands.get(2..).unwrap_or_default());
    let still = |brand: &[u8]| match brand {
        b"avif" | b"avis" => Some(StillKind::Avif),
        b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" => Some(StillKind::Heic),
        _ => None,
    };
    let kind = match major {
        // The brand of the picture family in general: which one it is, the others say.
        b"mif1" | b"msf1" | b"mif2" => Some(compatible.iter().find_map(|brand| still(brand)).unwrap_or(StillKind::Heic)),
        major => still(major),
    };
    match (kind, major) {
        (Some(kind), _) => Some(Content::Still(kind)),
        (None, b"M4A " | b"M4B " | b"F4A ") => Some(Content::Other("M4A audio", NO_PICTURE)),
        (None, b"crx ") => Some(Content::Other("a raw photo", CONVERT)),
        _ => Some(Content::Video("mp4")),
    }
}

/// Sync bytes at the distance of packets of 188 bytes, or of 192 with a time code, or 204 with a check sum.
fn is_transport_stream(head: &[u8]) -> bool {
    [188, 192, 204].iter().any(|&packet| {
        (0..packet).any(|start| {
            let syncs = head.iter().skip(start).step_by(packet).take(8);
            syncs.len() >= 3 && syncs.clone().all(|&byte| byte == 0x47)
        })
    })
}

/// Text, and what kind: error pages of stores arrive as XML and HTML, sometimes under status 200.
fn text(head: &[u8]) -> Option<Content> {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let sample = &head[..head.len().min(1024)];
    // A sample may end within a character.
    let sample = match std::str::from_utf8(sample) {
        Ok(text) => text,
        Err(error) if error.valid_up_to() + 4 > sample.len() => std::str::from_utf8(&sample[..error.valid_up_to()]).unwrap_or_default(),
        Err(_) => return None,
    };
    if sample.chars().any(|c| c.is_control() && !c.is_whitespace()) {
        return None;
    }
    let start = sample.trim_start().to_ascii_lowercase();
    Some(if start.starts_with("<!doctype html") || start.starts_with("<html") {
        Content::Other("a web page", "the store sent a page instead of the media")
    } else if start.contains("<svg") {
        Content::Other("an SVG drawing", CONVERT)
    } else if start.contains("<error>") {
        Content::Other("an error message in XML", "the store sent it instead of the media")
    } else if start.starts_with('<') {
        Content::Other("XML", NOT_MEDIA)
    } else if start.starts_with('{') || start.starts_with('[') {
        Content::Other("JSON", NOT_MEDIA)
    } else {
        Content::Text
    })
}

/// The first bytes as hexadecimal digits, for a message.
fn beginning(head: &[u8]) -> String {
    head.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(head: &[u8], data_type: Option<DataType>, path: &str) -> Result<Kind, String> {
        decide(head, &Claims { title: "clip", path, data_type, mime: None }).map_err(|error| error.to_string())
    }

    fn boxed(major: &[u8], compatible: &[u8]) -> Vec<u8> {
        let mut head = (16 + compatible.len() as u32).to_be_bytes().to_vec();
        for part in [b"ftyp", major, &[0; 4], compatible, b"\0\0\0\x08free"] {
            head.extend_from_slice(part);
        }
        head
    }

    fn packets(packet: usize, start: usize) -> Vec<u8> {
        let mut head = vec![0x11; start + 5 * packet];
        for at in (start..head.len()).step_by(packet) {
            head[at] = 0x47;
        }
        head
    }

    #[test]
    fn content_decides_whatever_the_name_says() {
        use StillKind::*;
        let mut bmp = b"BM\x10\0\0\0\0\0\0\0\x36\0\0\0".to_vec();
        bmp.resize(64, 0);
        let stills: [(Vec<u8>, StillKind); 13] = [
            (b"\xff\xd8\xff\xe0\0\x10JFIF".to_vec(), Jpeg),
            (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec(), Png),
            (b"GIF89a\x01\0\x01\0".to_vec(), Gif),
            (b"RIFF\x20\0\0\0WEBPVP8 ".to_vec(), WebP),
            (bmp, Bmp),
            (b"II*\0\x08\0\0\0".to_vec(), Tiff),
            (b"MM\0*\0\0\0\x08".to_vec(), Tiff),
            (b"II+\0\x08\0\0\0".to_vec(), Tiff),
            (boxed(b"avif", b"mif1miaf"), Avif),
            (boxed(b"mif1", b"miafavif"), Avif),
            (boxed(b"heic", b"mif1"), Heic),
            (boxed(b"heix", b"mif1"), Heic),
            (boxed(b"mif1", b"heic"), Heic),
        ];
        for (head, kind) in stills {
            assert_eq!(told(&head, None, "/a.mp4"), Ok(Kind::Still(kind)), "{head:x?}");
            assert_eq!(told(&head, Some(DataType::Image), "/a"), Ok(Kind::Still(kind)));
            let refused = told(&head, Some(DataType::Video), "/a.mp4").unwrap_err();
            assert!(refused.contains("still picture") && refused.contains(kind.name()), "{refused}");
        }
        let videos: [Vec<u8>; 14] = [
            boxed(b"isom", b"iso2avc1mp41"),
            boxed(b"qt  ", b"qt  "),
            b"\0\0\0\x08wide\0\0\x10\0mdat".to_vec(),
            b"\0\0\0\x01mdat\0\0\0\0\0\0\x10\0".to_vec(),
            b"\0\0\x10\0moov\0\0\0\x6cmvhd".to_vec(),
            b"\x1a\x45\xdf\xa3\x01\0\0\0".to_vec(),
            b"RIFF\x20\0\0\0AVI LIST".to_vec(),
            b"FLV\x01\x05\0\0\0\x09".to_vec(),
            b"\0\0\x01\xba\x44\0".to_vec(),
            b"OggS\0\x02".to_vec(),
            packets(188, 0),
            packets(192, 4),
            packets(204, 0),
            packets(188, 77),
        ];
        for head in videos {
            assert_eq!(told(&head, None, "/a.png"), Ok(Kind::Video), "{head:x?}");
            assert_eq!(told(&head, Some(DataType::Video), "/a.png"), Ok(Kind::Video));
            let refused = told(&head, Some(DataType::Image), "/a.png").unwrap_err();
            assert!(refused.contains("Encord calls it an image, but it is a video"), "{refused}");
        }
    }

    #[test]
    fn what_is_neither_is_named() {
        let mut dicom = vec![0; 128];
        dicom.extend_from_slice(b"DICM\x02\0");
        let others: [(&[u8], &str); 16] = [
            (b"", "empty (0 bytes)"),
            (b"%PDF-1.7\n", "a PDF document"),
            (&dicom, "a DICOM file"),
            (b"ID3\x04\0\0", "MP3 audio"),
            (b"\xff\xfb\x90\x64", "MP3 audio"),
            (b"RIFF\x20\0\0\0WAVEfmt ", "WAV audio"),
            (b"fLaC\0\0\0\x22", "FLAC audio"),
            (&boxed(b"M4A ", b"isom"), "M4A audio"),
            (b"<!DOCTYPE html><html>", "a web page"),
            (b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", "an error message in XML"),
            (b"<?xml version=\"1.0\"?><svg xmlns=\"x\">", "an SVG drawing"),
            (b"{\"error\": 1}", "JSON"),
            (b"just a note \xe2\x82\xac", "text"),
            (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL picture"),
            (b"PK\x03\x04\x14", "a ZIP archive"),
            (b"8BPS\0\x01", "a Photoshop picture"),
        ];
        for (head, name) in others {
            for data_type in [None, Some(DataType::Image), Some(DataType::Video)] {
                let refused = told(head, data_type, "/a.mp4").unwrap_err();
                assert!(refused.contains(name) && refused.contains("clip"), "{refused}");
            }
        }
    }

    #[test]
    fn unknown_bytes_are_a_video_only_when_someone_says_so() {
        let head = b"\x01\x02\x03\x04\x05\x06\x07\x08\x09";
        assert_eq!(told(head, Some(DataType::Video), "/a"), Ok(Kind::Video));
        assert_eq!(told(head, None, "/folder.x/a.MPG"), Ok(Kind::Video));
        assert!(told(head, None, "/folder.mp4/a").unwrap_err().contains("01 02 03 04 05 06 07 08"));
        assert!(told(head, Some(DataType::Image), "/a.jpg").unwrap_err().contains("not known"));
        let claims = Claims { title: "clip", path: "/a", data_type: None, mime: Some("Video/x-unheard-of") };
        assert_eq!(decide(head, &claims).unwrap(), Kind::Video);
    }

    proptest! {
        #[test]
        fn any_bytes_are_decided(head in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = told(&head, None, "/a");
        }
    }
}
