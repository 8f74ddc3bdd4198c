//! Containers whose samples have no table that is read here: their frames are counted by decoding.

/// Beginnings that name a container.
const BEGINNINGS: [(&[u8], &str); 13] = [
    (b"FLV\x01", "flv"),
    (b"\x00\x00\x01\xba", "mpegps"),
    (b"\x00\x00\x01\xb3", "mpegvideo"),
    (b"\x00\x00\x00\x01\x67", "h264"),
    (b"\x00\x00\x01\x67", "h264"),
    (b"\x00\x00\x00\x01\x09", "h264"),
    (b"\x00\x00\x00\x01\x40\x01", "h265"),
    (b"OggS", "ogg"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    (b"\x06\x0e\x2b\x34\x02\x05\x01\x01", "mxf"),
    (b".RMF", "realmedia"),
    (b"YUV4MPEG2 ", "y4m"),
    (b"DKIF", "ivf"),
];

/// The container that a file beginning with `head` is, if it is one of these.
pub(super) fn container(head: &[u8]) -> Option<&'static str> {
    if head.starts_with(b"RIFF") && head.get(8..12) == Some(b"AVI ") {
        return Some("avi");
    }
    let named = BEGINNINGS.iter().find(|(beginning, _)| head.starts_with(beginning)).map(|(_, name)| *name);
    named.or_else(|| is_transport_stream(head).then_some("mpegts"))
}

/// Codes of AVI for pictures that are not compressed; besides these there are numbers below 4.
const UNCOMPRESSED: [&[u8; 4]; 14] =
    [b"DIB ", b"RGB ", b"RAW ", b"I420", b"IYUV", b"YV12", b"YUY2", b"YUYV", b"UYVY", b"2vuy", b"NV12", b"Y800", b"v210", b"v410"];

/// What to say of a file of uncompressed pictures, which nobody here decodes.
pub(super) fn uncompressed(head: &[u8]) -> Option<String> {
    let how = match container(head)? {
        "y4m" => "YUV4MPEG2".to_owned(),
        "avi" => {
            let code = avi_code(head)?;
            let name = match u32::from_le_bytes(*code) {
                0..4 => "RGB".to_owned(),
                _ if UNCOMPRESSED.contains(&code) => String::from_utf8_lossy(code).trim_end().to_owned(),
                _ => return None,
            };
            format!("{name} in AVI")
        }
        _ => return None,
    };
    Some(uncompressed_remedy(&how))
}

/// The sentence for uncompressed pictures of some kind.
pub(super) fn uncompressed_remedy(how: &str) -> String {
    format!("its pictures are not compressed ({how}), which is not read here; convert it, to H.264 in MP4 for instance")
}

/// `biCompression` of the first video stream in an AVI's header.
fn avi_code(head: &[u8]) -> Option<&[u8; 4]> {
    let stream = head.windows(16).position(|field| field.starts_with(b"strh") && &field[8..12] == b"vids")?;
    let format = stream + head[stream..].windows(4).position(|name| name == b"strf")?;
    // The chunk's size; the structure's size, width, height, planes and depth.
    head.get(format + 24..)?.first_chunk()
}

/// Sync bytes at the distance of packets of 188 bytes, of 192 with a time code, or of 204 with a check sum.
fn is_transport_stream(head: &[u8]) -> bool {
    [188, 192, 204].iter().any(|&packet| {
        (0..packet).any(|start| {
            let mut syncs = head.iter().skip(start).step_by(packet).take(8);
            syncs.len() >= 3 && syncs.all(|&byte| byte == 0x47)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uncompressed_pictures_are_named() {
        let avi =
            |code: &[u8; 4]| [&b"RIFF....AVI LIST....hdrlstrh\x38\0\0\0vids....strf\x28\0\0\0"[..], &[0; 16], code, &[0; 20]].concat();
        let told = |code| uncompressed(&avi(code));
        assert!(told(&[0; 4]).unwrap().contains("RGB in AVI"));
        assert!(told(b"I420").unwrap().contains("I420 in AVI"));
        assert_eq!((told(b"XVID"), told(b"MJPG")), (None, None));
        assert!(uncompressed(b"YUV4MPEG2 W160 H96").unwrap().contains("convert it"));
        assert_eq!(uncompressed(b"FLV\x01"), None);
    }

    #[test]
    fn a_transport_stream_is_known_by_its_packets() {
        for (packet, start) in [(188, 0), (188, 40), (192, 4), (204, 0)] {
            let mut head = vec![0x11; start + 5 * packet];
            (start..head.len()).step_by(packet).for_each(|at| head[at] = 0x47);
            assert_eq!(container(&head), Some("mpegts"));
        }
        assert_eq!(container(&[0x47; 20]), None);
        assert_eq!(container(b"RIFF....AVI LIST"), Some("avi"));
        assert_eq!(container(b""), None);
    }
}
