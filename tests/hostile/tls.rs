//! Before HTTP: crowds, garbage instead of a handshake, plain HTTP.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::door::post;
use crate::field::Field;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_instead_of_a_handshake_ends_the_connection() {
    let field = Field::new().await;
    let table = [
        ("a record of a wrong length", &[0x16, 3, 1, 0xff, 0xff, 1, 2, 3][..]),
        ("a hello of a wrong length", &[0x16, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff]),
        ("SSL 2", &[0x80, 0x2e, 1, 3]),
        ("zeros", &[0; 64]),
        ("half a record and then silence", &[0x16, 3, 1]),
        ("silence", &[]),
    ];
    for (case, bytes) in table {
        let attack = async {
            let mut stream = TcpStream::connect(field.house.address).await.unwrap();
            stream.write_all(bytes).await.unwrap();
            let mut answer = Vec::new();
            let ended = tokio::time::timeout(Duration::from_secs(8), stream.read_to_end(&mut answer)).await;
            assert!(ended.is_ok(), "{case}: the connection is still open");
            "closed".to_owned()
        };
        field.meets(&format!("instead of a handshake: {case}"), attack).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_http_on_the_tls_port_is_told_to_use_https() {
    let field = Field::new().await;
    for request in ["GET / HTTP/1.1\r\nHost: box.local\r\n\r\n", "POST / HTTP/1.0\r\n\r\n", "CONNECT evil:1 HTTP/1.1\r\n\r\n"] {
        let attack = async {
            let mut stream = TcpStream::connect(field.house.address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("https://"), "{answer}");
            "400, says to use https://".to_owned()
        };
        field.meets(&format!("plain HTTP: {}", request.split(' ').next().unwrap()), attack).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_idle_connections_lock_nobody_out_and_leave_nothing_behind() {
    let field = Field::new().await;
    let attack = async {
        let mut crowd = Vec::new();
        for number in 0..2000 {
            let Ok(mut stream) = TcpStream::connect(field.house.address).await else { continue };
            if number % 3 == 0 {
                let _ = stream.write_all(&[0x16, 3, 1]).await;
            }
            crowd.push(stream);
        }
        assert!(crowd.len() >= 2000, "only {} connections came about", crowd.len());
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(field.house.server().connections() <= 64, "{} at once of one address", field.house.server().connections());
        "the longest idle make room, 64 stay".to_owned()
    };
    field.meets("2,000 idle connections", attack).await;
}

/// Each opens a connection of its own at the same moment, asks once, and tells whether it was answered.
async fn burst(field: &Field, size: usize) -> usize {
    let together = Arc::new(tokio::sync::Barrier::new(size));
    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..size {
        let (house, together) = (Arc::clone(&field.house), Arc::clone(&together));
        crowd.spawn(async move {
            together.wait().await;
            let Ok(mut client) = house.client_of(rustls::ALL_VERSIONS, None).await else { return false };
            if client.write(post("/", "").replacen("Host:", "X-Encord-Agent: 1\r\nHost:", 1).as_bytes()).await.is_err() {
                return false;
            }
            let answer = tokio::time::timeout(Duration::from_secs(20), client.text()).await.expect("an answer or an end");
            answer.is_some_and(|text| text.starts_with("HTTP/1.1 200"))
        });
    }
    crowd.join_all().await.into_iter().filter(|answered| *answered).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_from_one_address_is_served_as_far_as_its_places_go() {
    // An office behind one address may come all at once; who is counted beyond makes its own kind leave, and nobody else.
    let field = Field::new().await;
    for (size, least) in [(64, 64), (200, 64)] {
        let attack = async {
            let answered = burst(&field, size).await;
            assert!(answered >= least, "{answered} of {size} were answered");
            format!("{answered} answered")
        };
        field.meets(&format!("{size} connections of one address at once"), attack).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_without_end_are_served_and_forgotten() {
    let field = Field::new().await;
    let attack = async {
        for _ in 0..300 {
            drop(field.house.client_of(rustls::ALL_VERSIONS, None).await);
        }
        "served, forgotten".to_owned()
    };
    field.meets("300 handshakes and no request", attack).await;
}
