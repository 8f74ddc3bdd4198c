//! Exchanges over real sockets, also with TLS, a proxy, and servers that misbehave.

mod server;

use std::io::Write;
use std::net::TcpListener;
use std::time::Instant;

use super::*;
use server::{TlsServer, certificate, serve, serve_tls};

fn client() -> Client {
    // The environment's proxy is not what these tests are about.
    Client::with_proxy(&Settings::default(), None).unwrap()
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(10))
}

const FINE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn requests_with_time_outs_of_their_own_share_one_connection() {
    let server = serve(|_, _| FINE.into());
    let client = client();
    for number in 1..=3 {
        let request = Request { timeout: Duration::from_secs(number), ..Request::get(&server.url) };
        assert_eq!(client.send(&request, &soon()).unwrap().body, b"ok");
    }
    assert_eq!((server.connections(), server.requests()), (1, 3));
}

#[test]
fn a_body_left_unread_does_not_reach_the_next_request() {
    let server = serve(|_, number| match number {
        0 => format!("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{}", "x".repeat(100_000)),
        _ => FINE.into(),
    });
    let client = client();
    let mut first = client.open(&Request::get(&server.url), &soon()).unwrap();
    assert_eq!(first.fill(&mut [0; 10]).unwrap(), 10);
    drop(first);
    let refused = client.send(&Request { max_body: 1, ..Request::get(&server.url) }, &soon());
    assert!(matches!(refused, Err(Fault::TooLarge { limit: 1, .. })));
    assert_eq!(client.send(&Request::get(&server.url), &soon()).unwrap().body, b"ok");
}

#[test]
fn an_answer_without_a_length_is_bounded_too() {
    let server = serve(|_, _| format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}", "x".repeat(5000)));
    let bounded = |max_body| client().send(&Request { max_body, ..Request::get(&server.url) }, &soon());
    assert_eq!(bounded(5000).unwrap().body.len(), 5000);
    assert!(matches!(bounded(4999), Err(Fault::TooLarge { limit: 4999, .. })));
}

#[test]
fn what_breaks_is_told_apart() {
    let fault = |answer: &'static str, stall: Duration| {
        let server = serve(move |_, _| answer.into());
        let request = Request { stall: Some(stall), ..Request::get(&server.url) };
        let start = Instant::now();
        let fault = client().send(&request, &soon()).unwrap_err();
        assert!(start.elapsed() < Duration::from_secs(3));
        assert!(fault.is_transient(), "{fault}");
        fault
    };
    let (short, long) = (Duration::from_millis(100), Duration::from_secs(8));
    // An answer of the test server that ends in "<hang>" leaves the connection open, one in "<reset>" resets it.
    assert!(matches!(fault("<hang>", short), Fault::Timeout { phase: "answer", .. }));
    assert!(matches!(fault("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc<hang>", short), Fault::Timeout { phase: "body", .. }));
    assert!(matches!(fault("", long), Fault::Broken { .. }));
    assert!(matches!(fault("<reset>", long), Fault::Broken { .. }));
    assert!(matches!(fault("HTTP/1.1 200 OK\r\nContent-Le", long), Fault::Broken { .. }));
    assert!(matches!(fault("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", long), Fault::Broken { .. }));
    assert!(matches!(fault("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc<reset>", long), Fault::Broken { .. }));
    assert!(matches!(fault("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", long), Fault::Broken { .. }));
    assert!(matches!(fault("SSH-2.0-OpenSSH_9.2\r\n\r\n", long), Fault::Broken { .. }));
}

#[test]
fn an_answer_that_trickles_ends_with_the_deadline() {
    let server = serve(|_, _| "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nab<trickle>".into());
    let start = Instant::now();
    let fault = client().send(&Request::get(&server.url), &Deadline::after(Duration::from_millis(400))).unwrap_err();
    assert!(matches!(fault, Fault::Timeout { phase: "body", .. }), "{fault:?}");
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[test]
fn who_is_not_there_is_told_apart() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let fault = |url: &str| client().send(&Request::get(url), &soon()).unwrap_err();
    assert!(matches!(fault(&format!("http://{closed}/")), Fault::Connect { .. }));
    assert!(matches!(fault("https://no.such.name.invalid/"), Fault::NoSuchHost { .. }));
    assert!(matches!(fault("http://8.8.8.8/"), Fault::PlainHttp { .. }));
    assert!(matches!(fault("http://134744072/"), Fault::PlainHttp { .. }), "8.8.8.8 as one number");
    assert!(matches!(fault("file:///etc/passwd"), Fault::BadUrl(_)));
    assert!(matches!(fault("not a link"), Fault::BadUrl(_)));
    let spent = client().send(&Request::get("https://x.invalid/"), &Deadline::after(Duration::ZERO));
    assert!(matches!(spent, Err(Fault::Deadline(_))));
}

fn trusting(server: &TlsServer) -> Client {
    let settings = Settings { ca_file: Some(server.certificate_file.path().to_owned()), ..Settings::default() };
    Client::with_proxy(&settings, None).unwrap()
}

#[test]
fn an_own_authority_is_trusted_and_its_sessions_are_resumed() {
    let server = serve_tls(certificate(2020, 2090), |_, _| "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok".into());
    let client = trusting(&server);
    for _ in 0..3 {
        assert_eq!(client.send(&Request::get(&server.url), &soon()).unwrap().body, b"ok");
    }
    assert_eq!(server.connections(), 3);
    assert_eq!(server.resumed(), 2, "one full handshake, then resumed sessions");
}

#[test]
fn tls_connections_are_kept_too() {
    let server = serve_tls(certificate(2020, 2090), |_, _| FINE.into());
    let client = trusting(&server);
    for _ in 0..3 {
        assert_eq!(client.send(&Request::get(&server.url), &soon()).unwrap().body, b"ok");
    }
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_certificate_out_of_its_dates_points_at_the_clock() {
    for (from, to) in [(2001, 2002), (2089, 2090)] {
        let server = serve_tls(certificate(from, to), |_, _| FINE.into());
        let fault = trusting(&server).send(&Request::get(&server.url), &soon()).unwrap_err();
        assert!(matches!(fault, Fault::Tls { dates: true, .. }), "{fault:?}");
        assert!(!fault.is_transient());
    }
    let server = serve_tls(certificate(2020, 2090), |_, _| FINE.into());
    let stranger = serve_tls(certificate(2020, 2090), |_, _| FINE.into());
    let fault = trusting(&stranger).send(&Request::get(&server.url), &soon()).unwrap_err();
    assert!(matches!(fault, Fault::Tls { dates: false, .. }), "{fault:?}");
    // A server that speaks plain HTTP on this port.
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/", plain.local_addr().unwrap());
    std::thread::spawn(move || plain.accept().unwrap().0.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
    let fault = trusting(&server).send(&Request::get(&url), &soon()).unwrap_err();
    assert!(matches!(fault, Fault::Tls { dates: false, .. }), "{fault:?}");
}

#[test]
fn redirects_stay_within_tls_and_within_their_number() {
    let plain = serve(|_, _| FINE.into());
    let target = plain.url.clone();
    let server = serve_tls(certificate(2020, 2090), move |_, number| match number {
        0 => format!("HTTP/1.1 307 X\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n"),
        1 => "HTTP/1.1 301 X\r\nLocation: other\r\nContent-Length: 5\r\n\r\nmoved".into(),
        _ => FINE.into(),
    });
    let client = trusting(&server);
    let request = Request { redirects: 1, ..Request::get(&server.url) };
    let fault = client.send(&request, &soon()).unwrap_err();
    assert!(fault.to_string().contains("without TLS"), "{fault}");
    assert_eq!(client.send(&request, &soon()).unwrap().body, b"ok");
    assert_eq!(plain.requests(), 0);

    let turning = serve(|_, _| "HTTP/1.1 302 X\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n".into());
    let followed = |redirects| client.send(&Request { redirects, ..Request::get(&turning.url) }, &soon());
    assert!(followed(3).unwrap_err().to_string().contains("after 3 redirects"));
    assert_eq!(turning.requests(), 4);
    assert_eq!(followed(0).unwrap().status, 302, "who follows none sees the redirect");
}

#[test]
fn a_public_host_is_called_through_the_proxy_and_a_private_one_is_not() {
    let server = serve_tls(certificate(2020, 2090), |_, _| FINE.into());
    let proxy = server::serve_proxy(server.address);
    let settings = Settings { ca_file: Some(server.certificate_file.path().to_owned()), ..Settings::default() };
    let client = Client::with_proxy(&settings, Some(ureq::Proxy::new(&proxy.url).unwrap())).unwrap();
    for _ in 0..2 {
        assert_eq!(client.send(&Request::get("https://store.invalid/a?b"), &soon()).unwrap().body, b"ok");
    }
    assert_eq!(client.send(&Request::get(&server.url), &soon()).unwrap().body, b"ok");
    assert_eq!(proxy.seen(), ["CONNECT store.invalid:443 HTTP/1.1"], "one tunnel, used twice");
}
