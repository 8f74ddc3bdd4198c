//! The admin address over real sockets: what monitoring and a person on the box see.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use edgelabel::ids::Secret;
use edgelabel::server::admin::{Captured, Dependency};
use edgelabel::server::{Admin, AdminSettings, AdminView, Status};
use edgelabel::telemetry::{Metrics, Readings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

struct House {
    admin: Admin,
    status: Arc<Mutex<Status>>,
}

fn open(token: Option<&str>, ca_certificate: PathBuf) -> House {
    let mut status = Status { state: "serving".into(), version: "1.2.3".into(), ..Status::default() };
    status.dependencies.insert("encord".into(), Dependency { status: "ok".into(), reason: String::new(), since: 1 });
    let status = Arc::new(Mutex::new(status));
    let shown = Arc::clone(&status);
    let metrics = Arc::new(Metrics::default());
    metrics.answered(200);
    let view = AdminView {
        status: Box::new(move || shown.lock().unwrap().clone()),
        readings: Box::new(|| Readings { journal_waiting: 3, ..Readings::default() }),
        metrics,
        picture: Box::new(|request| (request == "5f0e1d2c3b4a").then(|| ("image/jpeg", b"a picture".to_vec()))),
        capture: Box::new(|camera| Captured {
            status: if camera == "gate" { 202 } else { 503 },
            facts: serde_json::json!({ "camera": camera }),
        }),
        ca_certificate,
    };
    let settings = AdminSettings { listen: "127.0.0.1:0".parse().unwrap(), token: token.map(Secret::new) };
    House { admin: Admin::start(&settings, view).unwrap(), status }
}

async fn ask(house: &House, method: &str, path: &str, header: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(house.admin.address()).await.unwrap();
    let host = if header.starts_with("Host:") { String::new() } else { format!("Host: {}\r\n", house.admin.address()) };
    let extra = if header.is_empty() { String::new() } else { format!("{header}\r\n") };
    stream.write_all(format!("{method} {path} HTTP/1.1\r\n{host}{extra}Connection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_ascii_lowercase(), body.to_owned())
}

#[tokio::test]
async fn a_picture_is_shown_by_its_request_and_asked_for_with_the_token() {
    let house = open(Some("s3cret"), PathBuf::new());
    let (status, head, body) = ask(&house, "GET", "/picture/5f0e1d2c3b4a", "Authorization: Bearer s3cret").await;
    assert_eq!((status, body.as_str()), (200, "a picture"));
    assert!(head.contains("content-type: image/jpeg") && head.contains("cache-control: no-store"), "{head}");
    assert_eq!(ask(&house, "GET", "/picture/000000000000", "Authorization: Bearer s3cret").await.0, 404);
    assert_eq!(ask(&house, "GET", "/picture/5f0e1d2c3b4a", "").await.0, 401);
}

#[tokio::test]
async fn a_picture_is_taken_by_post_from_here_and_not_by_a_page_of_another_site() {
    let house = open(None, PathBuf::new());
    let (status, head, body) = ask(&house, "POST", "/camera/gate/capture", "").await;
    assert_eq!((status, body.as_str()), (202, "{\"camera\":\"gate\"}\n"));
    assert!(head.contains("content-type: application/json"), "{head}");
    let (status, head, _) = ask(&house, "POST", "/camera/door/capture", "").await;
    assert!(status == 503 && head.contains("retry-after: 5"), "{head}");
    let (status, head, _) = ask(&house, "GET", "/camera/gate/capture", "").await;
    assert!(status == 405 && head.contains("allow: post"), "{head}");

    let own = format!("Origin: http://{}", house.admin.address());
    for (header, status) in [
        (own.as_str(), 202),
        ("Origin: https://evil.example", 403),
        ("Origin: null", 403),
        ("Sec-Fetch-Site: cross-site", 403),
        ("Host: evil.example", 403),
    ] {
        assert_eq!(ask(&house, "POST", "/camera/gate/capture", header).await.0, status, "{header}");
    }
    for path in ["/camera//capture", "/camera/a/b/capture", "/camera/gate"] {
        assert_eq!(ask(&house, "POST", path, "").await.0, 405, "{path}");
    }
    let guarded = open(Some("t0ken"), PathBuf::new());
    assert_eq!(ask(&guarded, "POST", "/camera/gate/capture", "").await.0, 401);
    assert_eq!(ask(&guarded, "POST", "/camera/gate/capture", "Authorization: Bearer t0ken").await.0, 202);
}

#[tokio::test]
async fn readiness_follows_the_state_and_names_what_is_degraded() {
    let house = open(None, PathBuf::new());
    let (status, _, body) = ask(&house, "GET", "/ready", "").await;
    assert_eq!((status, serde_json::from_str::<serde_json::Value>(&body).unwrap()["status"].as_str()), (200, Some("ready")));

    let ill = Dependency { status: "degraded".into(), reason: "the name api.encord.com does not resolve".into(), since: 7 };
    house.status.lock().unwrap().dependencies.insert("encord".into(), ill);
    let (status, _, body) = ask(&house, "GET", "/ready", "").await;
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, body["status"].as_str()), (200, Some("degraded")));
    assert_eq!(body["dependencies"]["encord"]["reason"], "the name api.encord.com does not resolve");
    assert_eq!(body["dependencies"]["encord"]["since"], 7);

    house.status.lock().unwrap().state = "draining".into();
    assert_eq!(ask(&house, "GET", "/ready", "").await.0, 503);
    assert_eq!(ask(&house, "GET", "/live", "").await.0, 200);
}

#[tokio::test]
async fn metrics_page_status_and_certificate_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let house = open(None, folder.path().join("ca.pem"));
    let (status, head, body) = ask(&house, "GET", "/metrics", "").await;
    assert_eq!(status, 200);
    assert!(head.contains("text/plain; version=0.0.4"));
    assert!(body.contains("edgelabel_http_answers_total{status=\"200\"} 1\n") && body.contains("edgelabel_journal_waiting 3\n"));

    let (status, head, body) = ask(&house, "GET", "/", "").await;
    assert_eq!(status, 200);
    assert!(head.contains("content-security-policy: default-src 'none'") && body.contains("<title>edgelabel</title>"));
    assert!(ask(&house, "GET", "/status.json", "").await.2.contains("\"version\":\"1.2.3\""));

    assert_eq!(ask(&house, "GET", "/ca.crt", "").await.0, 404);
    std::fs::write(folder.path().join("ca.pem"), "-----BEGIN CERTIFICATE-----\n").unwrap();
    let (status, head, body) = ask(&house, "GET", "/ca.crt", "").await;
    assert_eq!((status, body.as_str()), (200, "-----BEGIN CERTIFICATE-----\n"));
    assert!(head.contains("application/x-x509-ca-cert"));

    assert_eq!(ask(&house, "POST", "/metrics", "").await.0, 405);
    assert_eq!(ask(&house, "GET", "/secrets", "").await.0, 404);
}

#[tokio::test]
async fn a_foreign_host_name_and_a_missing_token_see_nothing() {
    let house = open(None, PathBuf::new());
    assert_eq!(ask(&house, "GET", "/status.json", "Host: evil.example").await.0, 403);
    assert_eq!(ask(&house, "GET", "/status.json", "Host: localhost:9464").await.0, 200);

    let guarded = open(Some("t0ken"), PathBuf::new());
    let (status, head, _) = ask(&guarded, "GET", "/ready", "").await;
    assert_eq!(status, 401);
    assert!(head.contains("www-authenticate: basic"));
    assert_eq!(ask(&guarded, "GET", "/ready", "Authorization: Bearer t0ken").await.0, 200);
    assert_eq!(ask(&guarded, "GET", "/ready", "Authorization: Bearer token").await.0, 401);
}

#[tokio::test]
async fn an_address_that_others_can_reach_needs_a_token() {
    let view = AdminView {
        status: Box::new(Status::default),
        readings: Box::new(Readings::default),
        metrics: Arc::default(),
        picture: Box::new(|_| None),
        capture: Box::new(|_| Captured { status: 404, facts: serde_json::Value::Null }),
        ca_certificate: PathBuf::new(),
    };
    let open = AdminSettings { listen: "0.0.0.0:0".parse().unwrap(), token: None };
    assert!(Admin::start(&open, view).err().unwrap().to_string().contains("admin.token_file"));
}
