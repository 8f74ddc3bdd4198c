//! HTTP/2: floods that cost the sender little and a careless server much.

use std::time::{Duration, Instant};

use edgelabel::agent::Outcome;

use crate::door::House;
use crate::field::Field;
use crate::frames::*;

/// How long a flood may go on before it counts as served for ever.
const TOO_LONG: Duration = Duration::from_secs(10);

/// Sends `once`, then `repeated` with rising numbers, until the server ends the connection or no longer reads; says
/// whether it did.
async fn flood(house: &House, once: &[u8], mut repeated: impl FnMut(u32) -> Vec<u8>) -> bool {
    let mut client = house.client_speaking(b"h2").await;
    if client.write(&[PREFACE, once].concat()).await.is_err() {
        return true;
    }
    let begun = Instant::now();
    let mut number = 0;
    while begun.elapsed() < TOO_LONG {
        let batch: Vec<u8> = (0..200)
            .flat_map(|_| {
                number += 1;
                repeated(number)
            })
            .collect();
        match tokio::time::timeout(Duration::from_secs(3), client.write(&batch)).await {
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
async fn floods_are_ended_while_others_are_served() {
    let field = Field::new().await;
    let plain = settings(&[]);
    let opened = [plain.clone(), post(1, 0)].concat();
    let with_body = [plain.clone(), post(1, END_HEADERS)].concat();
    type Repeated = fn(u32) -> Vec<u8>;
    let table: [(&str, &[u8], Repeated); 13] = [
        ("rapid reset", &plain, |n| [post(2 * n - 1, END_HEADERS), reset(2 * n - 1)].concat()),
        ("CONTINUATION without end", &opened, |_| continuation(0, 1, &[0x00, 1, b'a', 1, b'b'].repeat(100))),
        ("empty CONTINUATION without end", &opened, |_| continuation(0, 1, &[])),
        ("streams without end", &plain, |n| post(2 * n - 1, END_HEADERS)),
        ("requests, window closed", &settings(&[(4, 0)]), |n| post(2 * n - 1, END_HEADERS | END_STREAM)),
        ("stream ids that go back", &plain, |n| post(if n == 1 { 5 } else { 3 }, END_HEADERS | END_STREAM)),
        ("data for a stream that never was", &plain, |_| data(0, 99, b"data")),
        ("empty data without end", &with_body, |_| data(0, 1, &[])),
        ("windows that overflow", &plain, |_| window_update(0, 0x7fff_ffff)),
        ("a frame larger than agreed", &plain, |_| data(0, 1, &[0; 20_000])),
        ("pings without end", &plain, |_| ping()),
        ("settings without end", &plain, |_| settings(&[(3, 100)])),
        ("priorities without end", &plain, |_| priority(1)),
    ];
    for (case, once, repeated) in table {
        let attack = async {
            assert!(flood(&field.house, once, repeated).await, "{case}: served for ever");
            "ended".to_owned()
        };
        field.meets(&format!("HTTP/2: {case}"), attack).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_block_that_unpacks_to_megabytes_is_refused() {
    let field = Field::new().await;
    let attack = async {
        // 14 kB on the wire, 39 MB unpacked, on stream after stream.
        assert!(flood(&field.house, &settings(&[]), |n| headers(END_HEADERS | END_STREAM, 2 * n - 1, &bomb_block())).await);
        "ended".to_owned()
    };
    field.meets("HTTP/2: header bomb of 39 MB", attack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_never_end_on_every_stream_time_out() {
    let field = Field::new().await;
    let attack = async {
        let mut client = field.house.client_speaking(b"h2").await;
        let mut bytes = [PREFACE, &settings(&[])[..]].concat();
        for number in 0..32 {
            // `content-type: application/json`, a literal with an indexed name (31), then a body that stays open.
            let mut block = request_block();
            block.extend([0x0f, 31 - 15, 16]);
            block.extend(b"application/json");
            bytes.extend(headers(END_HEADERS, 2 * number + 1, &block));
            bytes.extend(data(0, 2 * number + 1, b"{"));
        }
        client.write(&bytes).await.unwrap();
        let begun = Instant::now();
        while !client.is_closed_within(Duration::from_millis(100)).await {
            assert!(begun.elapsed() < TOO_LONG, "the streams are still open after {:?}", begun.elapsed());
        }
        "timed out, then closed".to_owned()
    };
    field.meets("HTTP/2: 32 bodies that never end", attack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_who_ignores_the_goodbye_gets_no_more_requests_than_others() {
    const LIMIT: u32 = 10;
    const FAR_TOO_MANY: u32 = 400;
    let house = House::open(|settings| settings.limits.requests_per_connection = LIMIT.into(), |_| Ok(Outcome::Saved { message: None }));
    let mut client = house.client_speaking(b"h2").await;
    client.write(&[PREFACE, &settings(&[])[..]].concat()).await.unwrap();
    let mut asked = 0;
    while asked < FAR_TOO_MANY {
        asked += 1;
        if client.write(&post(2 * asked - 1, END_HEADERS | END_STREAM)).await.is_err() {
            break;
        }
        // What comes is read, and nothing of it acknowledged: not the ping either that goes with the goodbye.
        if let Ok(None) = tokio::time::timeout(Duration::from_secs(2), client.text()).await {
            break;
        }
    }
    assert!((LIMIT..FAR_TOO_MANY).contains(&asked), "{asked} requests on one connection");
}
