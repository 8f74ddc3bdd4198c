//! Callers who mean harm: each meets its safe outcome, and an ordinary click is answered within a second meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, unreachable_pub, dead_code)]

mod door;

use std::time::{Duration, Instant};

use door::{Client, EDITOR, House, post, trigger_body};
use edgelabel::agent::{Error, Outcome, Trigger};
use edgelabel::server::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn saved(_: &Trigger) -> Result<Outcome, Error> {
    Ok(Outcome::Saved { message: None })
}

fn short_tempered(settings: &mut Settings) {
    let limits = &mut settings.limits;
    limits.handshake_time = Duration::from_millis(800);
    limits.first_byte_time = Duration::from_secs(3);
    limits.header_time = Duration::from_millis(800);
    limits.body_time = Duration::from_millis(800);
    limits.idle_time = Duration::from_secs(2);
    limits.write_time = Duration::from_millis(800);
}

/// An ordinary click, and how long it took.
async fn click(house: &House) -> Duration {
    let begun = Instant::now();
    let answer = house.client().await.send(&post("/", &trigger_body(0))).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, Some(EDITOR)));
    begun.elapsed()
}

/// What came back on a connection until it ended, at most for `patience`.
async fn all_of(client: &mut Client, patience: Duration) -> String {
    let mut answers = String::new();
    let _ = tokio::time::timeout(patience, async {
        while let Some(text) = client.text().await {
            answers.push_str(&text);
        }
    })
    .await;
    answers
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_two_servers_would_read_differently_are_refused() {
    let house = House::open(short_tempered, |_| panic!("a smuggled request started a trigger"));
    let body = trigger_body(0);
    let inner = post("/", &body);
    let with = |headers: &str, body: &str| {
        format!("POST / HTTP/1.1\r\nHost: box.local\r\nContent-Type: application/json\r\n{headers}\r\n\r\n{body}")
    };
    let table = [
        ("two lengths", with("Content-Length: 5\r\nContent-Length: 6", &inner)),
        ("a list of lengths", with("Content-Length: 5, 6", &inner)),
        ("negative length", with("Content-Length: -1", &inner)),
        ("length with a sign", with(&format!("Content-Length: +{}", body.len()), &body)),
        ("length beyond 2^64", with("Content-Length: 99999999999999999999999", &inner)),
        ("coding that is not chunked", with("Transfer-Encoding: xchunked", &inner)),
        ("chunked and then something", with("Transfer-Encoding: chunked, identity", &inner)),
        ("space before the colon", with(&format!("Content-Length : {}", body.len()), &body)),
        ("folded header", with(&format!("X-Folded: a\r\n b\r\nContent-Length: {}", body.len()), &body)),
        ("NUL in a header", with(&format!("X-Nul: a\0b\r\nContent-Length: {}", body.len()), &body)),
        ("broken chunk size", with("Transfer-Encoding: chunked", "zz\r\n{}\r\n0\r\n\r\n")),
        ("chunk size that overflows", with("Transfer-Encoding: chunked", "ffffffffffffffffff\r\n{}\r\n0\r\n\r\n")),
        ("no version", "POST /\r\n\r\n".into()),
        ("HTTP/2 preface without ALPN", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into()),
        ("garbage", "\u{1}\u{2}\u{3}\u{4}garbage\r\n\r\n".into()),
    ];
    for (case, request) in table {
        let mut client = house.client().await;
        let _ = client.write(request.as_bytes()).await;
        let answers = all_of(&mut client, Duration::from_secs(5)).await;
        assert!(!answers.contains("HTTP/1.1 200"), "{case}: {answers}");
        assert!(answers.is_empty() || answers.starts_with("HTTP/1.1 4") || answers.starts_with("HTTP/1.1 505"), "{case}: {answers}");
        assert!(answers.matches("HTTP/1.1").count() <= 1, "{case}: a second request was read out of the first: {answers}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_length_beside_chunks_is_read_as_chunks_and_ends_the_connection() {
    let house = House::open(short_tempered, saved);
    let body = trigger_body(0);
    let smuggled = "POST /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    let request = format!(
        "POST / HTTP/1.1\r\nHost: box.local\r\nContent-Type: application/json\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n{smuggled}",
        body.len()
    );
    let mut client = house.client().await;
    client.write(request.as_bytes()).await.unwrap();
    let answers = all_of(&mut client, Duration::from_secs(5)).await;
    // RFC 9112, 6.3: the chunks count. What follows is an ordinary next request of the same caller, or nothing.
    assert!(answers.starts_with("HTTP/1.1 200") || answers.starts_with("HTTP/1.1 400"), "{answers}");
    assert!(!answers.contains("smuggled"), "{answers}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_instead_of_a_handshake_ends_the_connection() {
    let house = House::open(short_tempered, saved);
    for bytes in [&[0x16, 3, 1, 0xff, 0xff, 1, 2, 3][..], &[0x16, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff], &[0x80, 0x2e, 1, 3], &[0; 64]] {
        let mut stream = TcpStream::connect(house.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(4), stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "{bytes:02x?}");
    }
    assert!(click(&house).await < Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_who_asks_without_end_and_reads_nothing_is_cut_off() {
    let house = House::open(short_tempered, saved);
    let mut client = house.client().await;
    let test = post("/", "").replacen("Host: box.local", "Host: box.local\r\nX-Encord-Agent: 1", 1);
    let many = test.repeat(500);
    let begun = Instant::now();
    let flood = async {
        while begun.elapsed() < Duration::from_secs(8) {
            if client.write(many.as_bytes()).await.is_err() {
                return true;
            }
        }
        false
    };
    let cut = tokio::time::timeout(Duration::from_secs(10), flood).await;
    assert_eq!(cut, Ok(true), "the server took requests for {:?} without its answers being read", begun.elapsed());
    assert!(click(&house).await < Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_json_bomb_is_an_ordinary_400() {
    let house = House::open(short_tempered, saved);
    let nested = format!("{{\"x\":{}", "[".repeat(60_000));
    let wide = format!("{{\"x\":[{}]}}", vec!["{}"; 20_000].join(","));
    let long = format!("{{\"projectHash\":\"{}\"}}", "a".repeat(60_000));
    for bomb in [nested, wide, long] {
        let answer = house.client().await.send(&post("/", &bomb)).await;
        assert_eq!(answer.status, 400);
        assert!(answer.message().encode_utf16().count() <= 256);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_idle_connections_lock_nobody_out_and_leave_nothing_behind() {
    let house = House::open(short_tempered, saved);
    click(&house).await;
    house.until_connections(0).await;
    let (memory, descriptors) = (resident_bytes(), open_descriptors());
    let mut crowd = Vec::new();
    for number in 0..2000 {
        let Ok(mut stream) = TcpStream::connect(house.address).await else { continue };
        if number % 3 == 0 {
            let _ = stream.write_all(&[0x16, 3, 1]).await;
        }
        crowd.push(stream);
    }
    for _ in 0..5 {
        let took = click(&house).await;
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
    let grown = resident_bytes().saturating_sub(memory);
    assert!(grown < 64 * 1024 * 1024, "{grown} bytes");
    drop(crowd);
    house.until_connections(0).await;
    for _ in 0..200 {
        if open_descriptors() <= descriptors {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{} descriptors, {descriptors} before", open_descriptors());
}

/// HTTP/2 frames by hand.
mod frame {
    pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    pub fn new(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        frame
    }

    pub fn settings(pairs: &[(u16, u32)]) -> Vec<u8> {
        let payload: Vec<u8> = pairs.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
        new(4, 0, 0, &payload)
    }

    /// `POST / https box.local`, with the static table of HPACK; `end` for both END_HEADERS and, if asked, END_STREAM.
    pub fn post(stream: u32, flags: u8) -> Vec<u8> {
        let mut block = vec![0x83, 0x84, 0x87, 0x41, 9];
        block.extend(b"box.local");
        new(1, flags, stream, &block)
    }
}

/// A flood over HTTP/2: whether the server ended it, rather than serve it for ever.
async fn flood(house: &House, once: &[u8], mut repeated: impl FnMut(u32) -> Vec<u8>) -> bool {
    let mut client = house.client_speaking(b"h2").await;
    let mut bytes = frame::PREFACE.to_vec();
    bytes.extend(once);
    if client.write(&bytes).await.is_err() {
        return true;
    }
    let begun = Instant::now();
    let mut number = 0;
    while begun.elapsed() < Duration::from_secs(6) {
        let batch: Vec<u8> = (0..200)
            .flat_map(|_| {
                number += 1;
                repeated(number)
            })
            .collect();
        match tokio::time::timeout(Duration::from_secs(2), client.write(&batch)).await {
            Ok(Ok(())) => {}
            // Refused, or no longer read: the server has had enough.
            Ok(Err(_)) | Err(_) => return true,
        }
        if client.is_closed_within(Duration::from_micros(50)).await {
            return true;
        }
    }
    false
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_over_http_2_are_ended_while_others_are_served() {
    let house = House::open(short_tempered, saved);
    let memory = resident_bytes();
    let plain = frame::settings(&[]);
    let mut table: Vec<(&str, bool)> = Vec::new();
    // Every stream is cancelled as soon as it is opened.
    let ended = flood(&house, &plain, |n| [frame::post(2 * n - 1, 0x4), frame::new(3, 0, 2 * n - 1, &8u32.to_be_bytes())].concat()).await;
    table.push(("rapid reset", ended));
    // A header that never ends.
    let ended =
        flood(&house, &[plain.clone(), frame::post(1, 0)].concat(), |_| frame::new(9, 0, 1, &[0x00, 1, b'a', 1, b'b'].repeat(100))).await;
    table.push(("CONTINUATION without end", ended));
    let ended = flood(&house, &[plain.clone(), frame::post(1, 0)].concat(), |_| frame::new(9, 0, 1, &[])).await;
    table.push(("empty CONTINUATION without end", ended));
    // Streams beyond the limit, each without a body.
    let ended = flood(&house, &plain, |n| frame::post(2 * n - 1, 0x4)).await;
    table.push(("streams without end", ended));
    // Nothing that is asked may be sent: the window is closed.
    let ended = flood(&house, &frame::settings(&[(4, 0)]), |n| frame::post(2 * n - 1, 0x5)).await;
    table.push(("closed window", ended));
    let ended = flood(&house, &plain, |n| frame::post(if n == 1 { 5 } else { 3 }, 0x5)).await;
    table.push(("stream ids that go back", ended));
    let ended = flood(&house, &plain, |_| frame::new(0, 0, 99, b"data")).await;
    table.push(("data for a stream that never was", ended));
    for (case, ended) in table {
        assert!(ended, "{case}: served for ever");
    }
    assert!(click(&house).await < Duration::from_secs(1));
    let grown = resident_bytes().saturating_sub(memory);
    assert!(grown < 64 * 1024 * 1024, "{grown} bytes");
    house.until_connections(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings_and_settings_without_end_cost_no_memory_and_keep_no_connection_alive() {
    let house = House::open(short_tempered, saved);
    let memory = resident_bytes();
    for frame in [frame::new(6, 0, 0, &[7; 8]), frame::settings(&[(3, 100)]), frame::new(2, 0, 1, &[0; 5])] {
        let begun = Instant::now();
        flood(&house, &frame::settings(&[]), |_| frame.clone()).await;
        assert!(begun.elapsed() < Duration::from_secs(6), "{:?}: kept alive by frames that ask for nothing", begun.elapsed());
        assert!(click(&house).await < Duration::from_secs(1));
    }
    let grown = resident_bytes().saturating_sub(memory);
    assert!(grown < 64 * 1024 * 1024, "{grown} bytes");
}
