//! What the HTTPS door logs, at every level: who was refused and why, and never a secret. A binary of its own, because
//! the log is one per process.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, unreachable_pub, dead_code)]

mod door;

use std::io;
use std::sync::{Arc, Mutex};

use door::{EDITOR, House, post, trigger_body};
use edgelabel::agent::Outcome;
use edgelabel::ids::Secret;
use edgelabel::server::Settings;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::format::FmtSpan;

const TOKEN: &str = "t0ken-of-the-house";

/// What is logged, in the form of the log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_log_says_who_was_refused_and_never_a_secret() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_span_events(FmtSpan::NEW)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    let settings = |settings: &mut Settings| {
        settings.access_token = Some(Secret::new(TOKEN));
        settings.webhook_secrets = vec![Secret::new("whsec_test")];
    };
    let house = House::open(settings, |_| Ok(Outcome::Saved { message: None }));
    let path = format!("/{TOKEN}/");
    let plain = post(&path, &trigger_body(0));
    let headed = |header: &str| plain.replacen("Host: box.local", &format!("Host: box.local\r\n{header}"), 1);
    // A trace is known by its id; what is none is replaced, and never repeated.
    let (trace, no_trace) = ("105445aa7843bc8bf206b12000100000", "b".repeat(129));
    for (request, status) in [
        (plain.replace(EDITOR, "https://labels.example.org"), 403),
        (plain.replace(&format!("Origin: {EDITOR}\r\n"), ""), 200),
        (plain.replace(&path, &format!("/{TOKEN}s/")), 404),
    ] {
        assert_eq!(house.client().await.send(&request).await.status, status);
        assert_eq!(house.server().last_browser_call(), None, "neither a stranger's page nor a program is a browser at work");
    }
    for (request, status) in [
        (headed("X-Encord-Signature-V2: 00\r\nX-Cloud-Trace-Context: 1/2"), 200),
        (headed(&format!("X-Cloud-Trace-Context: {trace}/1;o=1")), 200),
        (headed(&format!("X-Cloud-Trace-Context: {no_trace}")), 200),
        (headed("traceparent: 00-with a space-01"), 200),
        (headed("X-Encord-Signature: 00\r\nX-Encord-Timestamp: 1700000000"), 401),
    ] {
        assert_eq!(house.client().await.send(&request).await.status, status);
        assert_eq!(house.server().last_browser_call().unwrap().origin, EDITOR);
    }
    // Libraries below log, too.
    let mut sender = house.http2().await;
    let over_http2 = hyper::Request::post(format!("https://box.local{path}")).header("content-type", "application/json");
    let body = door::AnyBody::Whole(http_body_util::Full::new(trigger_body(3).into()));
    assert_eq!(sender.send_request(over_http2.body(body).unwrap()).await.unwrap().status(), 200);

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("TRACE"), "every level is there");
    for said in [
        "server.allowed_origins",
        "https://labels.example.org",
        "server.access_token_file",
        "x-encord-signature-v2",
        "is the clock right?",
        trace,
    ] {
        assert!(log.contains(said), "{said} is not in the log:\n{log}");
    }
    for never in [TOKEN, "whsec_test", no_trace.as_str(), "with a space"] {
        let line = log.lines().find(|line| line.contains(never));
        assert!(line.is_none(), "{never} is in the log: {line:?}");
    }
}
