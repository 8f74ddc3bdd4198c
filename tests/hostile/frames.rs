//! HTTP/2 frames by hand.

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const END_STREAM: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

pub fn data(flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    frame(0, flags, stream, payload)
}

pub fn headers(flags: u8, stream: u32, block: &[u8]) -> Vec<u8> {
    frame(1, flags, stream, block)
}

pub fn priority(stream: u32) -> Vec<u8> {
    frame(2, 0, stream, &[0; 5])
}

pub fn reset(stream: u32) -> Vec<u8> {
    frame(3, 0, stream, &8u32.to_be_bytes())
}

pub fn settings(pairs: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> = pairs.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
    frame(4, 0, 0, &payload)
}

pub fn ping() -> Vec<u8> {
    frame(6, 0, 0, &[7; 8])
}

pub fn window_update(stream: u32, more: u32) -> Vec<u8> {
    frame(8, 0, stream, &more.to_be_bytes())
}

pub fn continuation(flags: u8, stream: u32, block: &[u8]) -> Vec<u8> {
    frame(9, flags, stream, block)
}

/// `POST / https box.local` with the static table of HPACK.
pub fn request_block() -> Vec<u8> {
    let mut block = vec![0x83, 0x84, 0x87, 0x41, 9];
    block.extend(b"box.local");
    block
}

/// A header block that is small on the wire and enormous unpacked: one long header in the dynamic table, named again and
/// again by its one-byte index.
pub fn bomb_block() -> Vec<u8> {
    let mut block = request_block();
    // Literal with incremental indexing: name of one byte, value of 3,900.
    block.extend([0x40, 1, b'x', 0x7f]);
    // 3900 as an HPACK integer behind a seven-bit prefix.
    let mut rest = 3900 - 127;
    while rest >= 128 {
        block.push((rest % 128) as u8 | 0x80);
        rest /= 128;
    }
    block.push(rest as u8);
    block.extend([b'a'; 3900]);
    block.extend([0xbe; 10_000]);
    block
}

/// `POST /` as the header of a stream; `flags` besides.
pub fn post(stream: u32, flags: u8) -> Vec<u8> {
    headers(flags, stream, &request_block())
}
