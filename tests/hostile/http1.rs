//! HTTP/1: smuggling, slow and endless requests, bombs.

use std::time::{Duration, Instant};

use crate::door::{House, post, trigger_body};
use crate::field::{Field, all_of, statuses};

const PATIENCE: Duration = Duration::from_secs(8);

fn headed(headers: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: box.local\r\nContent-Type: application/json\r\n{headers}\r\n\r\n{body}")
}

async fn answers_to(house: &House, request: &[u8]) -> String {
    let mut client = house.client().await;
    let _ = client.write(request).await;
    all_of(&mut client, PATIENCE).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_two_servers_would_read_differently_are_refused() {
    let field = Field::working(|trigger| {
        assert_eq!(trigger.frame, 0, "a smuggled request started a trigger");
        Ok(edgelabel::agent::Outcome::Saved { message: None })
    })
    .await;
    let body = trigger_body(1);
    let inner = post("/", &body);
    let table = [
        ("two lengths", headed("Content-Length: 5\r\nContent-Length: 6", &inner)),
        ("a list of lengths", headed("Content-Length: 5, 6", &inner)),
        ("negative length", headed("Content-Length: -1", &inner)),
        ("length with a sign", headed(&format!("Content-Length: +{}", body.len()), &body)),
        ("length beyond 2^64", headed("Content-Length: 99999999999999999999999", &inner)),
        ("coding that is not chunked", headed("Transfer-Encoding: xchunked", &inner)),
        ("chunked and then something", headed("Transfer-Encoding: chunked, identity", &inner)),
        ("two codings", headed("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", &inner)),
        ("space before the colon", headed(&format!("Content-Length : {}", body.len()), &body)),
        ("folded header", headed(&format!("X-Folded: a\r\n b\r\nContent-Length: {}", body.len()), &body)),
        ("NUL in a header", headed(&format!("X-Nul: a\0b\r\nContent-Length: {}", body.len()), &body)),
        ("broken chunk size", headed("Transfer-Encoding: chunked", "zz\r\n{}\r\n0\r\n\r\n")),
        ("chunk size that overflows", headed("Transfer-Encoding: chunked", "ffffffffffffffffff\r\n{}\r\n0\r\n\r\n")),
        ("no version", "POST /\r\n\r\n".into()),
        ("HTTP/2 preface without ALPN", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into()),
        ("garbage", "\u{1}\u{2}\u{3}\u{4}garbage\r\n\r\n".into()),
    ];
    for (case, request) in table {
        let attack = async {
            let answers = answers_to(&field.house, request.as_bytes()).await;
            assert!(answers.is_empty() || answers.starts_with("HTTP/1.1 4") || answers.starts_with("HTTP/1.1 505"), "{case}: {answers}");
            assert!(answers.matches("HTTP/1.1").count() <= 1, "{case}: a second request was read out of the first: {answers}");
            statuses(&answers)
        };
        field.meets(&format!("smuggling: {case}"), attack).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_length_beside_chunks_is_read_as_chunks() {
    let field = Field::new().await;
    let body = trigger_body(0);
    let smuggled = "POST /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    let request = headed("Content-Length: 6\r\nTransfer-Encoding: chunked", &format!("{:x}\r\n{body}\r\n0\r\n\r\n{smuggled}", body.len()));
    let attack = async {
        let answers = answers_to(&field.house, request.as_bytes()).await;
        // RFC 9112, 6.3: the chunks count. What follows is an ordinary next request of the same caller, or nothing.
        assert!(answers.starts_with("HTTP/1.1 200"), "{answers}");
        statuses(&answers)
    };
    field.meets("smuggling: a length beside chunks", attack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_headers_on_many_connections_are_cut_off() {
    let field = Field::new().await;
    let attack = async {
        let begun = Instant::now();
        let mut crowd = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let house = std::sync::Arc::clone(&field.house);
            crowd.spawn(async move {
                let Ok(mut client) = house.client_of(rustls::ALL_VERSIONS, None).await else { return true };
                for byte in post("/", &trigger_body(0)).bytes() {
                    if client.write(&[byte]).await.is_err() || client.is_closed_within(Duration::from_millis(50)).await {
                        return true;
                    }
                }
                false
            });
        }
        assert!(crowd.join_all().await.into_iter().all(|cut| cut), "a header of {:?} was waited for", begun.elapsed());
        "cut off, all 100".to_owned()
    };
    field.meets("slow headers, a byte every 50 ms", attack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_bodies_are_answered_408() {
    let field = Field::new().await;
    let attack = async {
        let mut crowd = tokio::task::JoinSet::new();
        for _ in 0..40 {
            let house = std::sync::Arc::clone(&field.house);
            crowd.spawn(async move {
                let mut client = house.client().await;
                let request = post("/", &trigger_body(0));
                let (head, body) = request.split_at(request.len() - 40);
                client.write(head.as_bytes()).await.unwrap();
                for byte in body.bytes() {
                    if client.write(&[byte]).await.is_err() {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                client.answer().await.status
            });
        }
        assert!(crowd.join_all().await.into_iter().all(|status| status == 408));
        "408, all 40".to_owned()
    };
    field.meets("slow bodies, a byte every 100 ms", attack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_without_end_are_refused_early() {
    let field = Field::new().await;
    let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
    let table = [
        ("a header line of 8 MiB", headed(&format!("X-Long: {}", "x".repeat(8 << 20)), "")),
        ("200,000 header lines", headed(&"X-Many: 1\r\n".repeat(200_000), "")),
        ("a path of 1 MiB", post(&format!("/{}", "x".repeat(1 << 20)), "")),
        ("a declared body of 10 GB", post("/", "").replace("Content-Length: 0", "Content-Length: 10000000000\r\nExpect: 100-continue")),
        ("a body of 8 MiB", post("/", &"x".repeat(8 << 20))),
        ("chunks without end", headed("Transfer-Encoding: chunked", &chunk.repeat(512))),
        ("200,000 empty-handed chunks", headed("Transfer-Encoding: chunked", &"1\r\n \r\n".repeat(200_000))),
    ];
    for (case, request) in table {
        let attack = async {
            let answers = answers_to(&field.house, request.as_bytes()).await;
            assert!(answers.is_empty() || answers.starts_with("HTTP/1.1 4"), "{case}: {answers}");
            assert!(answers.matches("HTTP/1.1").count() <= 1, "{case}: {answers}");
            statuses(&answers)
        };
        field.meets(case, attack).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_who_asks_without_end_and_reads_nothing_is_cut_off() {
    let field = Field::new().await;
    let test = post("/", "").replacen("Host: box.local", "Host: box.local\r\nX-Encord-Agent: 1", 1);
    let many = test.repeat(500);
    let attack = async {
        let mut client = field.house.client().await;
        let begun = Instant::now();
        let flood = async { while client.write(many.as_bytes()).await.is_ok() {} };
        let cut = tokio::time::timeout(Duration::from_secs(20), flood).await;
        assert!(cut.is_ok(), "the server took requests for {:?} without its answers being read", begun.elapsed());
        "cut off".to_owned()
    };
    field.meets("requests without end, answers not read", attack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_json_bomb_is_an_ordinary_400() {
    let field = Field::new().await;
    let table = [
        ("nested", format!("{{\"x\":{}", "[".repeat(60_000))),
        ("wide", format!("{{\"x\":[{}]}}", vec!["{}"; 20_000].join(","))),
        ("long", format!("{{\"projectHash\":\"{}\"}}", "a".repeat(60_000))),
        ("a number of 60,000 digits", format!("{{\"frame\":{}}}", "9".repeat(60_000))),
        ("the same key 5,000 times", format!("{{{}}}", vec!["\"frame\":1"; 5_000].join(","))),
    ];
    for (case, bomb) in table {
        let attack = async {
            let answer = field.house.client().await.send(&post("/", &bomb)).await;
            assert_eq!(answer.status, 400, "{case}");
            assert!(answer.message().encode_utf16().count() <= 256);
            "400 with a message".to_owned()
        };
        field.meets(&format!("JSON bomb: {case}"), attack).await;
    }
}
