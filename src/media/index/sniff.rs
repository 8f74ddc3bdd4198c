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
