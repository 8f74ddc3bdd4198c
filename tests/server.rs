//! The HTTPS door over real sockets: what the label editor's page gets, and what a hostile caller gets.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, unreachable_pub, dead_code)]

mod door;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use door::{Client, EDITOR, House, IDS, post, trigger_body};
use edgelabel::agent::{Error, Kind, Outcome, PoolLimits};
use edgelabel::ids::Secret;
use edgelabel::server::{Settings, SignaturePolicy};
use rustls::HandshakeKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn saved(_: &edgelabel::agent::Trigger) -> Result<Outcome, Error> {
    Ok(Outcome::Saved { message: None })
}

#[tokio::test]
async fn a_click_is_answered_with_the_pools_verdict_and_the_page_can_read_it() {
    let house = House::open(
        |_| {},
        |trigger| match trigger.frame {
            7 => Ok(Outcome::Saved { message: Some("2 answers saved".into()) }),
            8 => Ok(Outcome::Queued { message: "it will be saved".into() }),
            9 => Err(Error::new(Kind::Unprocessable, "frame 9 is beyond the last")),
            10 => panic!("a bug"),
            _ => Ok(Outcome::Saved { message: None }),
        },
    );
    let mut client = house.client().await;
    for (frame, status, says) in [
        (0, 200, None),
        (7, 200, Some("2 answers saved")),
        (8, 202, Some("it will be saved")),
        (9, 422, Some("frame 9 is beyond")),
        (10, 500, Some("mistake of its own")),
    ] {
        let answer = client.send(&post("/", &trigger_body(frame))).await;
        assert_eq!(answer.status, status, "frame {frame}");
        assert_eq!(answer.header("access-control-allow-origin"), Some(EDITOR));
        assert_eq!(answer.header("vary"), Some("Origin"));
        match says {
            None => assert!(answer.body.is_empty()),
            Some(words) => assert!(answer.message().contains(words), "{}", answer.message()),
        }
    }
}

#[tokio::test]
async fn every_refusal_carries_the_cors_headers_and_a_message_with_the_id() {
    let settings = |settings: &mut Settings| {
        settings.allowed_projects = vec!["11111111-1111-1111-1111-111111111111".parse().unwrap()];
        settings.webhook_secrets = vec![Secret::new("whsec_test")];
        settings.agent_paths = vec!["/caption".into()];
    };
    let house = House::open(settings, saved);
    let ask = trigger_body(0);
    let long_path = format!("/{}", "x".repeat(3000));
    let big_header = format!("X-Filler: {}", "x".repeat(20_000));
    let headed = |header: &str| post("/caption", &ask).replacen("Host: box.local", &format!("Host: box.local\r\n{header}"), 1);
    let table = [
        ("bad JSON", post("/caption", "{\"projectHash\":"), 400, "not valid JSON"),
        ("wrong field", post("/caption", &format!("{{{IDS},\"frame\":-1}}")), 400, "frame"),
        ("wrong signature", headed("X-Encord-Signature: 00\r\nX-Encord-Timestamp: 1700000000"), 401, "not authorised"),
        ("foreign project", post("/caption", &ask), 403, "server.allowed_projects"),
        ("no such path", post("/", &ask), 404, "nothing at this address"),
        ("method", post("/caption", &ask).replacen("POST", "PUT", 1), 405, "POST"),
        ("media type", post("/caption", &ask).replace("application/json", "application/jsonx"), 415, "application/json"),
        ("long path", post(&long_path, &ask), 414, "path"),
        ("large header", headed(&big_header), 431, "headers"),
        ("large body", post("/caption", &"x".repeat(65_537)), 413, "65536"),
        ("no host", post("/caption", &ask).replacen("Host: box.local\r\n", "", 1), 400, "host"),
        ("two hosts", headed("Host: other.local"), 400, "host"),
    ];
    for (case, request, status, says) in table {
        let answer = house.client().await.send(&request).await;
        assert_eq!(answer.status, status, "{case}");
        assert_eq!(answer.header("access-control-allow-origin"), Some(EDITOR), "{case}");
        assert_eq!(answer.header("vary"), Some("Origin"), "{case}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{case}");
        assert_eq!(answer.header("allow"), (status == 405).then_some("POST"), "{case}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{case}");
        let message = answer.message();
        assert!(message.contains(says), "{case}: {message}");
        let id = message.rsplit("request ").next().unwrap();
        assert!(id.len() == 12 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{case}: {message}");
    }
}

#[tokio::test]
async fn a_preflight_is_answered_before_everything_else() {
    let settings = |settings: &mut Settings| {
        settings.access_token = Some(Secret::new("t0ken"));
        settings.webhook_secrets = vec![Secret::new("s")];
        settings.webhook_signature = SignaturePolicy::Required;
    };
    let house = House::open(settings, saved);
    let mut client = house.client().await;
    let ask = |origin: &str| {
        format!(
            "OPTIONS /anything HTTP/1.1\r\nHost: box.local\r\nOrigin: {origin}\r\nAccess-Control-Request-Method: POST\r\n\
             Access-Control-Request-Headers: content-type,x-encord-agent\r\nAccess-Control-Request-Private-Network: true\r\n\r\n"
        )
    };
    let answer = client.send(&ask(EDITOR)).await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-origin"), Some(EDITOR));
    assert_eq!(answer.header("access-control-allow-methods"), Some("POST"));
    assert_eq!(answer.header("access-control-max-age"), Some("3600"));
    assert_eq!(answer.header("access-control-allow-private-network"), Some("true"));
    // The page has come as far as this box.
    assert_eq!(house.server().last_browser_call().unwrap().origin, EDITOR);
    let unasked = client.send(&ask(EDITOR).replace("Access-Control-Request-Private-Network: true\r\n", "")).await;
    assert_eq!((unasked.status, unasked.header("access-control-allow-private-network")), (204, None));
    let headers = answer.header("access-control-allow-headers").unwrap().to_ascii_lowercase();
    for name in
        ["content-type", "x-encord-editor-agent", "x-encord-agent", "x-cloud-trace-context", "x-encord-signature", "x-encord-timestamp"]
    {
        assert!(headers.contains(name), "{name}");
    }
    for stranger in ["https://app.encord.com.evil.example", "https://appXencord.com", "null", "http://app.encord.com"] {
        let answer = client.send(&ask(stranger)).await;
        assert_eq!(answer.status, 403, "{stranger}");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{stranger}");
        assert_eq!(answer.header("vary"), Some("Origin"), "{stranger}");
    }
}

#[tokio::test]
async fn a_panic_is_the_answer_of_all_who_wait_for_that_trigger_and_of_nobody_else() {
    let runs = Arc::new(AtomicUsize::new(0));
    let (counter, gate) = (Arc::clone(&runs), Arc::new(AtomicUsize::new(0)));
    let opened = Arc::clone(&gate);
    let house = House::open(
        |_| {},
        move |trigger| {
            let run = counter.fetch_add(1, Ordering::SeqCst);
            while opened.load(Ordering::SeqCst) == 0 {
                std::thread::sleep(Duration::from_millis(5));
            }
            assert!(trigger.frame != 13 || run > 1, "a bug, the first time");
            Ok(Outcome::Saved { message: None })
        },
    );
    let (mut first, mut joined, mut other) = (house.client().await, house.client().await, house.client().await);
    for (client, frame) in [(&mut first, 13), (&mut joined, 13), (&mut other, 14)] {
        client.write(post("/", &trigger_body(frame)).as_bytes()).await.unwrap();
        // In this order.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    gate.store(1, Ordering::SeqCst);
    let mut ids = Vec::new();
    for client in [&mut first, &mut joined] {
        let answer = client.answer().await;
        assert_eq!(answer.status, 500, "{}", answer.body);
        assert_eq!(answer.header("access-control-allow-origin"), Some(EDITOR));
        assert!(answer.body.contains("mistake of its own"), "{}", answer.body);
        ids.push(answer.body);
    }
    assert_ne!(ids[0], ids[1], "each is told its own request's id");
    assert_eq!(other.answer().await.status, 200);
    // On the same connection, the same trigger again: nothing is left of the one that panicked.
    assert_eq!(first.send(&post("/", &trigger_body(13))).await.status, 200);
    assert_eq!(runs.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_page_of_a_strange_origin_starts_nothing() {
    let runs = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&runs);
    let house = House::open(
        |_| {},
        move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
            Ok(Outcome::Saved { message: None })
        },
    );
    let answer = house.client().await.send(&post("/", &trigger_body(0)).replace(EDITOR, "https://evil.example")).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (403, None));
    assert_eq!(runs.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn both_test_headers_are_answered_at_once_and_nothing_runs() {
    let house = House::open(|_| {}, |_| panic!("a test request started a trigger"));
    let mut client = house.client().await;
    for (header, body) in
        [("X-Encord-Editor-Agent: test", "not json"), ("X-Encord-Agent: 1", ""), ("x-encord-agent: yes", &trigger_body(3))]
    {
        let answer = client.send(&post("/", body).replacen("Host: box.local", &format!("Host: box.local\r\n{header}"), 1)).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "null"), "{header}");
        assert_eq!(answer.header("access-control-allow-origin"), Some(EDITOR));
    }
}

#[tokio::test]
async fn without_the_token_there_is_nothing_to_see() {
    let settings = |settings: &mut Settings| {
        settings.access_token = Some(Secret::new("t0ken"));
        settings.agent_paths = vec!["/".into(), "/caption".into()];
    };
    let house = House::open(settings, |trigger| Ok(Outcome::Saved { message: Some(format!("agent {}", trigger.agent)) }));
    let mut client = house.client().await;
    let test = "\r\nX-Encord-Agent: 1";
    for (path, extra, status) in [
        ("/", "", 404),
        ("/caption", "", 404),
        ("/t0kem/caption", "", 404),
        ("/t0kem/caption", test, 404),
        ("/t0ken/other", "", 404),
        ("/t0ken/caption", "", 200),
        ("/t0ken/", "", 200),
        ("/t0ken", test, 200),
    ] {
        let answer = client.send(&post(path, &trigger_body(0)).replacen("Host: box.local", &format!("Host: box.local{extra}"), 1)).await;
        assert_eq!(answer.status, status, "{path} {extra:?}");
        if status == 404 {
            assert!(answer.message().starts_with("there is nothing at this address"));
        } else if extra.is_empty() {
            assert!(answer.message().starts_with(if path.ends_with("caption") { "agent /caption" } else { "agent / " }));
        }
    }
}

#[tokio::test]
async fn who_has_neither_token_nor_origin_learns_nothing_of_who_answers() {
    let house = House::open(|settings| settings.access_token = Some(Secret::new("t0ken")), saved);
    let of = |path: &str, origin: &str| post(path, &trigger_body(0)).replace(&format!("Origin: {EDITOR}\r\n"), origin);
    let (nobody, stranger, page) = ("", "Origin: https://evil.example\r\n", "Origin: https://app.encord.com\r\n");
    let preflight = "Origin: https://evil.example\r\nAccess-Control-Request-Method: POST\r\n";
    let headed = |header: &str| of("/", nobody).replacen("Host: box.local", &format!("Host: box.local\r\n{header}"), 1);
    for (request, status) in [
        (of("/", nobody), 404),
        (of("/t0kem/", nobody), 404),
        (of("/t0ken/other", nobody), 404),
        (of("/", page), 404),
        (of("/", stranger), 403),
        (of("/t0ken/", stranger), 403),
        (of("/", preflight).replacen("POST", "OPTIONS", 1), 403),
        (of("/", nobody).replacen("POST", "GET", 1), 404),
        (of("/", nobody).replacen("POST", "OPTIONS", 1), 404),
        (of("/", nobody).replacen("POST", "BREW", 1), 404),
        (of("/", nobody).replace("application/json", "text/plain"), 404),
        (headed("X-Encord-Agent: 1"), 404),
        (headed("X-Encord-Signature: 00\r\nX-Encord-Timestamp: 1"), 404),
        (headed("Host: other.local"), 400),
        (headed(&format!("X-Filler: {}", "x".repeat(20_000))), 431),
        (of(&format!("/{}", "x".repeat(3000)), nobody), 414),
        ("NONSENSE\r\n\r\n".into(), 400),
    ] {
        let mut client = house.client().await;
        client.write(request.as_bytes()).await.unwrap();
        let mut told = String::new();
        while !told.contains("\r\n\r\n") {
            told += &client.text().await.expect("an answer");
        }
        assert!(told.starts_with(&format!("HTTP/1.1 {status}")), "{request}\n{told}");
        // The page's own origin comes back to it, and names nobody whom it has not named.
        let told = told.replace(EDITOR, "").to_ascii_lowercase();
        for name in ["edgelabel", "encord", "server:", "hyper", "rust"] {
            assert!(!told.contains(name), "{request}\nis told {name}:\n{told}");
        }
    }
    let mut sender = house.http2().await;
    let (status, headers, body) = door::ask_http2(&mut sender, &trigger_body(0)).await;
    assert_eq!((status, headers.get("server")), (404, None));
    assert!(!body.to_ascii_lowercase().contains("edgelabel") && !body.to_ascii_lowercase().contains("encord"), "{body}");
}

#[tokio::test]
async fn a_wrong_token_and_a_wrong_path_cannot_be_told_apart() {
    let house = House::open(|settings| settings.access_token = Some(Secret::new("t0ken")), saved);
    let mut client = house.client().await;
    let mut answers = Vec::new();
    for path in ["/t0kem/", "/t0ken/nothing-here", "/nothing"] {
        let answer = client.send(&post(path, &trigger_body(0))).await;
        let message = answer.message();
        answers.push((answer.status, message.rsplit_once(" · ").unwrap().0.to_owned(), answer.body.len()));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
}

#[tokio::test]
async fn ranges_of_ipv4_hold_for_both_ways_of_writing_them_on_a_socket_for_both_families() {
    if edgelabel::server::Listeners::bind(&["[::]:0".parse().unwrap()]).is_err() {
        return eprintln!("this machine has no IPv6; nothing to see");
    }
    for (range, welcome) in [
        ("127.0.0.0/8", true),
        ("::ffff:127.0.0.0/104", true),
        ("::ffff:127.0.0.1", true),
        ("10.0.0.0/8", false),
        ("::ffff:10.0.0.0/104", false),
        ("::1", false),
        ("::/0", false),
    ] {
        let settings = |settings: &mut Settings| {
            settings.listen = vec!["[::]:0".parse().unwrap()];
            settings.allowed_clients = vec![range.parse().unwrap()];
        };
        let mut house = House::open(settings, saved);
        house.address = (std::net::Ipv4Addr::LOCALHOST, house.address.port()).into();
        let client = house.client_from("127.0.0.1".parse().unwrap()).await;
        assert_eq!(client.is_ok(), welcome, "{range}");
        if let Ok(mut client) = client {
            assert_eq!(client.send(&post("/", &trigger_body(0))).await.status, 200, "{range}");
        }
    }
}

#[tokio::test]
async fn encords_backend_proves_itself_by_signature() {
    let settings = |settings: &mut Settings| {
        settings.webhook_secrets = vec![Secret::new("whsec_old"), Secret::new("whsec_test")];
        settings.webhook_signature = SignaturePolicy::Required;
    };
    let house = House::open(settings, saved);
    let mut client = house.client().await;
    let event = r#"{"uid":"u","version":1,"event_type":"agent_stage_work_available_event","payload":{}}"#;
    let newer = event.replace("\"version\":1", "\"version\":2");
    for (body, secret, status) in [
        (trigger_body(0).as_str(), Some("whsec_test"), 200),
        (&trigger_body(0), Some("whsec_old"), 200),
        (&trigger_body(0), Some("guessed"), 401),
        (&trigger_body(0), None, 401),
        (event, Some("whsec_test"), 200),
        (&newer, Some("whsec_test"), 501),
        (&event.replace("\"version\":1", "\"version\":\"2\""), Some("whsec_test"), 501),
    ] {
        let request =
            post("/", body).replace(&format!("Origin: {EDITOR}\r\n"), &secret.map_or(String::new(), |secret| door::signed(secret, body)));
        let answer = client.send(&request).await;
        assert_eq!(answer.status, status, "{body} {secret:?}");
        if status == 401 {
            assert!(answer.message().starts_with("not authorised · request "));
        }
    }
    // Without a signature nothing else is told, and no body is waited for.
    let unsigned = post("/", "").replace("application/json", "text/plain").replace("Content-Length: 0", "Content-Length: 5");
    assert_eq!(client.send(&unsigned).await.status, 401);
}

#[tokio::test]
async fn a_long_path_counts_with_the_header_and_http_2_names_one_host_too() {
    let house = House::open(|settings| settings.limits.header_bytes = 1024, saved);
    let mut client = house.client().await;
    let path = format!("/{}", "x".repeat(950));
    assert_eq!(client.send(&post(&path, &trigger_body(0))).await.status, 431);
    assert_eq!(client.send(&post(&path[..300], &trigger_body(0))).await.status, 404);
    let mut sender = house.http2().await;
    for (hosts, status) in [(0, 200), (1, 200), (2, 400)] {
        let mut request = hyper::Request::post("https://box.local/").header("content-type", "application/json");
        for _ in 0..hosts {
            request = request.header("host", "box.local");
        }
        let body = door::AnyBody::Whole(http_body_util::Full::new(trigger_body(0).into()));
        assert_eq!(sender.send_request(request.body(body).unwrap()).await.unwrap().status(), status, "{hosts} hosts");
    }
}

#[tokio::test]
async fn a_trigger_outlasts_every_patience_with_silence() {
    let limits = |settings: &mut Settings| {
        settings.limits.first_byte_time = Duration::from_secs(1);
        settings.limits.header_time = Duration::from_secs(1);
        settings.limits.idle_time = Duration::from_secs(1);
    };
    let house = House::open(limits, |_| {
        std::thread::sleep(Duration::from_millis(2200));
        Ok(Outcome::Saved { message: None })
    });
    assert_eq!(house.client().await.send(&post("/", &trigger_body(0))).await.status, 200);
    let mut sender = house.http2().await;
    assert_eq!(door::ask_http2(&mut sender, &trigger_body(1)).await.0, 200);
}

#[tokio::test]
async fn one_connection_is_told_how_many_streams_it_may_open() {
    let house = House::open(|settings| settings.limits.streams_per_connection = 7, saved);
    let mut client = house.client_speaking(b"h2").await;
    client.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut read = String::new();
    // SETTINGS_MAX_CONCURRENT_STREAMS (3) = 7.
    while !read.contains("\0\x03\0\0\0\x07") {
        let more = tokio::time::timeout(Duration::from_secs(5), client.text()).await;
        read += &more.expect("the server's settings").expect("a connection");
    }
}

#[tokio::test]
async fn one_who_may_not_connect_makes_nobody_leave() {
    let settings = |settings: &mut Settings| {
        settings.allowed_clients = vec!["127.0.0.2".parse().unwrap()];
        settings.limits.connections = 1;
    };
    let house = House::open(settings, saved);
    let mut waiting = house.client_from("127.0.0.2".parse().unwrap()).await.unwrap();
    for _ in 0..5 {
        let mut stream = TcpStream::connect(house.address).await.unwrap();
        let closed = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut [0; 8])).await;
        assert!(matches!(closed, Ok(Ok(0) | Err(_))));
    }
    assert_eq!(waiting.send(&post("/", &trigger_body(0))).await.status, 200);
}

#[tokio::test]
async fn an_address_that_may_no_longer_connect_is_heard_no_more_on_the_connection_it_has() {
    let house = House::open(|_| {}, saved);
    let mut client = house.client().await;
    assert_eq!(client.send(&post("/", &trigger_body(0))).await.status, 200);
    let stricter = Settings { allowed_clients: vec!["192.0.2.0/24".parse().unwrap()], ..house.settings.clone() };
    house.server().reconfigure(&stricter).unwrap();
    assert_eq!(client.send(&post("/", &trigger_body(0))).await.status, 404);
    assert!(client.is_closed_within(Duration::from_secs(4)).await);
}

#[tokio::test]
async fn what_only_looks_like_a_preflight_a_test_or_a_notification_is_judged_as_any_request() {
    let house = House::open(|settings| settings.webhook_secrets = vec![Secret::new("whsec_test")], saved);
    let mut client = house.client().await;
    let plain = post("/", &trigger_body(0));
    let headed = |header: &str| plain.replacen("Host: box.local", &format!("Host: box.local\r\n{header}"), 1);
    let event = r#"{"uid":"u","version":1,"event_type":"agent_stage_work_available_event","payload":{}}"#;
    for (case, request, status) in [
        (
            "OPTIONS without the method asked for",
            "OPTIONS / HTTP/1.1\r\nHost: box.local\r\nOrigin: https://app.encord.com\r\n\r\n".to_owned(),
            405,
        ),
        ("OPTIONS of no page", "OPTIONS / HTTP/1.1\r\nHost: box.local\r\nAccess-Control-Request-Method: POST\r\n\r\n".to_owned(), 405),
        ("an empty test header", headed("X-Encord-Agent:"), 200),
        ("a notification that nobody signed", post("/", event), 400),
        ("97 headers", headed(&(0..97).map(|n| format!("X-{n}: 1")).collect::<Vec<_>>().join("\r\n")), 431),
        ("compressed", headed("Content-Encoding: gzip"), 415),
        ("two types", headed("Content-Type: text/plain"), 415),
    ] {
        let answer = client.send(&request).await;
        assert_eq!(answer.status, status, "{case}: {}", answer.body);
        // A test request is answered `null`; this one is a trigger, saved without a word.
        assert_ne!(answer.body, "null", "{case}");
    }
}

#[tokio::test]
async fn http_2_and_tls_1_2_are_served_alike() {
    let house = House::open(|_| {}, |trigger| Ok(Outcome::Saved { message: Some(format!("frame {}", trigger.frame)) }));
    let mut sender = house.http2().await;
    for frame in 0..40 {
        let (status, headers, body) = door::ask_http2(&mut sender, &trigger_body(frame)).await;
        assert_eq!((status, headers["access-control-allow-origin"].to_str().unwrap()), (200, EDITOR));
        assert!(body.contains(&format!("frame {frame} ")));
    }
    let mut old = house.client_of(&[&rustls::version::TLS12], None).await.unwrap();
    assert_eq!(old.send(&post("/", &trigger_body(1))).await.status, 200);
}

#[tokio::test]
async fn a_silent_connection_waits_for_the_person_at_the_prompt_but_not_for_ever() {
    let house = House::open(|settings| settings.limits.first_byte_time = Duration::from_millis(1200), saved);
    let mut patient = house.client().await;
    let mut forgotten = house.client().await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(patient.send(&post("/", &trigger_body(0))).await.status, 200);
    let begun = Instant::now();
    assert!(forgotten.is_closed_within(Duration::from_secs(3)).await);
    assert!(begun.elapsed() > Duration::from_millis(300));
    // The answer gave the first one the idle time, which is longer.
    assert_eq!(patient.send(&post("/", &trigger_body(0))).await.status, 200);
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_the_idle_time_not_the_header_time() {
    let limits = |settings: &mut Settings| {
        settings.limits.header_time = Duration::from_millis(200);
        settings.limits.idle_time = Duration::from_millis(1200);
    };
    let house = House::open(limits, saved);
    let mut client = house.client().await;
    assert_eq!(client.send(&post("/", &trigger_body(0))).await.status, 200);
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(client.send(&post("/", &trigger_body(0))).await.status, 200);
    assert!(client.is_closed_within(Duration::from_secs(4)).await);
}

#[tokio::test]
async fn a_slow_header_is_cut_off_however_it_drips() {
    let house = House::open(|settings| settings.limits.header_time = Duration::from_millis(400), saved);
    let mut client = house.client().await;
    let begun = Instant::now();
    for byte in post("/", &trigger_body(0)).bytes() {
        if client.write(&[byte]).await.is_err() || client.is_closed_within(Duration::from_millis(50)).await {
            break;
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_slow_body_is_answered_with_408_on_both_versions() {
    let house = House::open(|settings| settings.limits.body_time = Duration::from_millis(300), saved);
    let mut client = house.client().await;
    let whole = post("/", &trigger_body(0));
    client.write(&whole.as_bytes()[..whole.len() - 5]).await.unwrap();
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (408, Some(EDITOR)));
    assert!(client.is_closed_within(Duration::from_secs(4)).await);

    let mut sender = house.http2().await;
    let (status, _, _) = door::ask_http2_with(&mut sender, door::stalled_body()).await;
    assert_eq!(status, 408);
    assert_eq!(door::ask_http2(&mut sender, &trigger_body(0)).await.0, 200, "the other streams live on");
}

#[tokio::test]
async fn a_huge_body_is_refused_before_it_is_sent() {
    let house = House::open(|_| {}, saved);
    let mut client = house.client().await;
    let head = post("/", "").replace("Content-Length: 0", "Content-Length: 10000000000\r\nExpect: 100-continue");
    let answer = client.send(&head).await;
    assert_eq!(answer.status, 413);
    // One who sends everything before reading, as browsers do, still gets to read the answer.
    let mut client = house.client().await;
    client.write(post("/", &"x".repeat(3_000_000)).as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(client.answer().await.status, 413);
    // Undeclared, in chunks, it is cut off at the limit.
    let mut client = house.client().await;
    let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
    let request = post("/", "").replace("Content-Length: 0", "Transfer-Encoding: chunked") + &chunk.repeat(6);
    assert_eq!(client.send(&request).await.status, 413);
}

#[tokio::test]
async fn plain_http_is_told_to_use_https() {
    let house = House::open(|_| {}, saved);
    let mut stream = TcpStream::connect(house.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: box.local\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("https://"), "{answer}");
}

#[tokio::test]
async fn a_stalled_handshake_is_given_up() {
    let house = House::open(|settings| settings.limits.handshake_time = Duration::from_millis(200), saved);
    for first in [&b""[..], &[0x16], &[0x16, 3, 1, 2, 0, 1]] {
        let mut stream = TcpStream::connect(house.address).await.unwrap();
        stream.write_all(first).await.unwrap();
        let closed = tokio::time::timeout(Duration::from_secs(3), stream.read(&mut [0; 64])).await;
        assert!(matches!(closed, Ok(Ok(0) | Err(_))), "{first:?}");
    }
}

#[tokio::test]
async fn idle_connections_make_room_so_that_nobody_is_locked_out() {
    let limits = |settings: &mut Settings| {
        settings.limits.connections_per_address = 16;
        settings.limits.connections = 32;
    };
    let house = House::open(limits, saved);
    let mut crowd = Vec::new();
    for _ in 0..300 {
        crowd.push(TcpStream::connect(house.address).await.unwrap());
    }
    let begun = Instant::now();
    assert_eq!(house.client().await.send(&post("/", &trigger_body(0))).await.status, 200);
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert!(house.server().connections() <= 16);
    drop(crowd);
    house.until_connections(0).await;
}

#[tokio::test]
async fn a_connection_serves_a_bounded_number_of_requests() {
    let house = House::open(|settings| settings.limits.requests_per_connection = 3, saved);
    let mut client = house.client().await;
    for _ in 0..3 {
        assert_eq!(client.send(&post("/", &trigger_body(0))).await.status, 200);
    }
    assert!(client.is_closed_within(Duration::from_secs(4)).await);
}

#[tokio::test]
async fn a_caller_who_leaves_does_not_cut_the_trigger() {
    let runs = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&runs);
    let (started, mut has_started) = tokio::sync::mpsc::unbounded_channel();
    let house = House::open(
        |_| {},
        move |_| {
            started.send(()).unwrap();
            std::thread::sleep(Duration::from_millis(300));
            counter.fetch_add(1, Ordering::SeqCst);
            Ok(Outcome::Saved { message: None })
        },
    );
    let mut client = house.client().await;
    client.write(post("/", &trigger_body(0)).as_bytes()).await.unwrap();
    has_started.recv().await.unwrap();
    drop(client);
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn more_triggers_than_the_pool_takes_are_told_to_come_back() {
    let (gate, tokens) = std::sync::mpsc::channel::<()>();
    let tokens = std::sync::Mutex::new(tokens);
    let limits = PoolLimits { concurrent: 1, waiting: 1 };
    let house = House::open_with(
        limits,
        |_| {},
        move |_| {
            let _ = tokens.lock().unwrap().recv_timeout(Duration::from_secs(10));
            Ok(Outcome::Saved { message: None })
        },
    );
    let mut clients: Vec<Client> = Vec::new();
    for frame in 0..2 {
        let mut client = house.client().await;
        client.write(post("/", &trigger_body(frame)).as_bytes()).await.unwrap();
        clients.push(client);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let refused = house.client().await.send(&post("/", &trigger_body(9))).await;
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
    gate.send(()).unwrap();
    gate.send(()).unwrap();
    for client in &mut clients {
        assert_eq!(client.answer().await.status, 200);
    }
}

#[tokio::test]
async fn triggers_in_haste_are_told_to_wait_by_address_and_by_project() {
    let limits = |settings: &mut Settings| {
        settings.limits.triggers_per_address = 5;
        settings.limits.triggers_per_project = 3;
    };
    let house = House::open(limits, saved);
    let mut client = house.client().await;
    let other = trigger_body(0).replace("027e0c65", "127e0c65");
    for (body, status, key) in [
        (&trigger_body(0), 200, ""),
        (&trigger_body(1), 200, ""),
        (&trigger_body(2), 200, ""),
        (&trigger_body(3), 429, "server.limits.triggers_per_project"),
        (&other, 200, ""),
        (&other, 429, "server.limits.triggers_per_address"),
    ] {
        let answer = client.send(&post("/", body)).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (status, Some(EDITOR)), "{body}");
        if status == 429 {
            assert!(answer.message().contains(key), "{}", answer.message());
            let pause: u64 = answer.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=20).contains(&pause), "{pause}");
        }
    }
    // Neither what browsers ask first nor test requests are triggers.
    let preflight = format!("OPTIONS / HTTP/1.1\r\nHost: box.local\r\nOrigin: {EDITOR}\r\nAccess-Control-Request-Method: POST\r\n\r\n");
    let test = post("/", "").replacen("Host: box.local", "Host: box.local\r\nX-Encord-Agent: 1", 1);
    for _ in 0..20 {
        assert_eq!(client.send(&preflight).await.status, 204);
        assert_eq!(client.send(&test).await.status, 200);
    }
}

#[tokio::test]
async fn sessions_are_resumed_until_the_certificate_changes() {
    let house = House::open(|_| {}, saved);
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let station = house.station(&[version]);
        let mut kinds = Vec::new();
        for _ in 0..3 {
            let mut client = house.client_with(&station).await.unwrap();
            // With TLS 1.3 the tickets come with the answer.
            assert_eq!(client.send(&post("/", &trigger_body(0))).await.status, 200);
            kinds.push(client.handshake_kind());
        }
        assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed], "{version:?}");
    }
    let station = house.station(rustls::ALL_VERSIONS);
    let mut client = house.client_with(&station).await.unwrap();
    assert_eq!(client.send(&post("/", &trigger_body(0))).await.status, 200);
    house.write_certificate("box.local");
    house.server().reconfigure(&house.settings).unwrap();
    let client = house.client_with(&station).await;
    assert!(client.is_err(), "a ticket from before was taken: {:?}", client.map(|client| client.handshake_kind()));
}

#[tokio::test]
async fn while_draining_running_triggers_finish_and_new_ones_are_told_to_come_back() {
    let (gate, tokens) = std::sync::mpsc::channel::<()>();
    let tokens = std::sync::Mutex::new(tokens);
    let mut house = House::open(
        |_| {},
        move |_| {
            let _ = tokens.lock().unwrap().recv_timeout(Duration::from_secs(10));
            Ok(Outcome::Saved { message: None })
        },
    );
    let mut running = house.client().await;
    running.write(post("/", &trigger_body(0)).as_bytes()).await.unwrap();
    let mut idle = house.client().await;
    let mut idle_http2 = house.http2().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    house.server().drain();
    // Whoever is connected already, and has sent nothing, is told as well.
    let told = idle.send(&post("/", &trigger_body(2))).await;
    assert_eq!((told.status, told.header("connection")), (503, Some("close")));
    assert!(idle.is_closed_within(Duration::from_secs(4)).await);
    let (status, headers, _) = door::ask_http2(&mut idle_http2, &trigger_body(3)).await;
    assert_eq!((status, headers.contains_key("retry-after")), (503, true));
    let refused = house.client().await.send(&post("/", &trigger_body(1))).await;
    assert_eq!((refused.status, refused.header("connection")), (503, Some("close")));
    assert!(refused.header("retry-after").is_some());
    assert_eq!(refused.header("access-control-allow-origin"), Some(EDITOR));
    gate.send(()).unwrap();
    assert_eq!(running.answer().await.status, 200);
    let begun = Instant::now();
    house.close(Duration::from_secs(5)).await;
    assert!(begun.elapsed() < Duration::from_secs(5));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(TcpStream::connect(house.address).await.is_err(), "the port is free again");
}

#[tokio::test]
async fn the_daemon_sees_itself_through_its_own_door() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::open(|_| {}, saved);
    house.server().probe(Duration::from_secs(5)).await.unwrap();
    // Nobody else may connect, and clients need a certificate: the probe still gets through.
    let anchor = dir.path().join("clients.pem");
    std::fs::copy(house.certificate_file(), &anchor).unwrap();
    let strict = House::open(
        move |settings| {
            settings.allowed_clients = vec!["192.0.2.0/24".parse().unwrap()];
            settings.tls.client_ca = Some(anchor.clone());
        },
        saved,
    );
    strict.server().probe(Duration::from_secs(5)).await.unwrap();
    assert!(strict.client_of(rustls::ALL_VERSIONS, None).await.is_err());
    assert_eq!(house.server().last_browser_call(), None);
}

#[tokio::test]
async fn a_client_certificate_is_asked_for_where_configured() {
    let station = door::Identity::new("station-1");
    let dir = tempfile::tempdir().unwrap();
    let anchor = dir.path().join("clients.pem");
    std::fs::write(&anchor, station.pem()).unwrap();
    let house = House::open(move |settings| settings.tls.client_ca = Some(anchor.clone()), saved);
    let mut known = house.client_of(rustls::ALL_VERSIONS, Some(&station)).await.unwrap();
    assert_eq!(known.send(&post("/", &trigger_body(0))).await.status, 200);
    // With TLS 1.3 the client learns of the refusal only after its own part of the handshake.
    if let Ok(mut stranger) = house.client_of(rustls::ALL_VERSIONS, None).await {
        let _ = stranger.write(post("/", &trigger_body(0)).as_bytes()).await;
        assert!(stranger.is_closed_within(Duration::from_secs(3)).await);
    }
}

#[tokio::test]
async fn a_new_certificate_is_taken_while_old_connections_live_on() {
    let house = House::open(|_| {}, saved);
    let mut old = house.client().await;
    assert_eq!(old.send(&post("/", &trigger_body(0))).await.status, 200);
    let before = house.server().certificate().facts.sha256;
    house.write_certificate("box.local");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let mut new = house.client().await;
    assert_ne!(house.server().certificate().facts.sha256, before);
    assert_eq!(new.send(&post("/", &trigger_body(0))).await.status, 200);
    assert_eq!(old.send(&post("/", &trigger_body(0))).await.status, 200);

    std::fs::write(house.certificate_file(), "-----BEGIN CERTIFICATE-----\ngarbage").unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let mut later = house.client().await;
    assert_eq!(later.send(&post("/", &trigger_body(0))).await.status, 200);
    assert!(house.server().certificate().problem.is_some());
}

/// Below the router there are hyper and h2, and what they refuse never becomes a request: the origin is not known, so the
/// answer cannot name it. What a page can send stays out of their reach as far as memory allows: 64 KiB of header, four
/// times the router's own bound, are read, so that the router refuses them and the page is told.
#[tokio::test]
async fn the_router_refuses_what_can_be_read_and_hyper_only_what_cannot() {
    let house = House::open(|_| {}, saved);
    let with = |headers: &str| post("/", &trigger_body(0)).replacen("Host: box.local", &format!("Host: box.local\r\n{headers}"), 1);
    let many = |count: usize| (0..count).map(|n| format!("X-Filler-{n}: 1")).collect::<Vec<_>>().join("\r\n");
    let (readable, unreadable) = (true, false);
    for (case, request, status, told) in [
        ("a large header", with(&format!("X-Filler: {}", "x".repeat(60_000))), 431, readable),
        ("many headers", with(&many(200)), 431, readable),
        ("a long path", post(&format!("/{}", "x".repeat(60_000)), ""), 414, readable),
        ("a header beyond the buffer", with(&format!("X-Filler: {}", "x".repeat(1_000_000))), 431, unreadable),
        // No page can send these: the preflight names six headers, and the browser writes line and names.
        ("headers beyond number", with(&many(300)), 431, unreadable),
        ("a path that no URI may have", post(&format!("/{}", "x".repeat(66_000)), ""), 414, unreadable),
        ("no request line", "NON SENSE HERE\r\n\r\n".into(), 400, unreadable),
        ("a space in a name", with("bad header: x"), 400, unreadable),
    ] {
        let answer = house.client().await.send(&request).await;
        assert_eq!(answer.status, status, "{case}");
        assert_eq!(answer.header("access-control-allow-origin"), told.then_some(EDITOR), "{case}");
        assert_eq!(answer.body.is_empty(), !told, "{case}");
        assert_eq!(answer.header("connection"), (!told).then_some("close"), "{case}");
    }
    let over_http2 = async |size: usize| {
        let request = hyper::Request::post("https://box.local/").header("origin", EDITOR).header("x-filler", "x".repeat(size));
        let body = door::AnyBody::Whole(http_body_util::Full::new(trigger_body(0).into()));
        let answer = house.http2().await.send_request(request.body(body).unwrap()).await;
        answer.map(|answer| (answer.status().as_u16(), answer.headers().contains_key("access-control-allow-origin")))
    };
    assert_eq!(over_http2(60_000).await.unwrap(), (431, readable));
    assert_eq!(over_http2(70_000).await.unwrap(), (431, unreadable));
    // A flood of CONTINUATION frames ends the connection.
    assert!(over_http2(200_000).await.is_err());
}
