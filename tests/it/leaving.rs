//! Callers who leave before their answer: before the model is asked the trigger ends with them, after that it goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;

use crate::spine::World;
use crate::support::backend::Call;
use crate::support::caller::{Caller, trusting};
use crate::support::daemon::{Daemon, ORIGIN};
use crate::support::faults::Fault;

/// How a caller asks and leaves.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// HTTP/1.1: the connection is closed.
    Http1,
    /// HTTP/2: the stream is reset, the connection stays.
    Http2Stream,
    /// HTTP/2: the connection is closed.
    Http2Connection,
}

const WAYS: [Way; 3] = [Way::Http1, Way::Http2Stream, Way::Http2Connection];

fn body(world: &World, frame: u64) -> String {
    json!({"projectHash": world.fixture.project, "dataHash": world.fixture.video, "frame": frame}).to_string()
}

fn wait_for(what: &str, done: &dyn Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what} has not come about");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Asks, and leaves when it is time to.
fn ask_and_leave(daemon: &Daemon, way: Way, body: &str, is_time: &(dyn Fn() -> bool + Sync)) {
    if let Way::Http1 = way {
        let mut caller = Caller::connect(daemon);
        caller.ask("/", body).unwrap();
        wait_for("the time to leave", is_time);
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let tcp = tokio::net::TcpStream::connect(("127.0.0.1", daemon.port())).await.unwrap();
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        let tls = tokio_rustls::TlsConnector::from(trusting(daemon, b"h2")).connect(name, tcp).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tls)).await.unwrap();
        let driver = tokio::spawn(connection);
        let request = hyper::Request::post("https://localhost/")
            .header("origin", ORIGIN)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body.to_owned())))
            .unwrap();
        let answer = sender.send_request(request);
        let leave = async {
            while !is_time() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            answer = answer => panic!("answered before it was time to leave: {answer:?}"),
            () = leave => {}
        }
        match way {
            Way::Http2Connection => driver.abort(),
            // The connection lives on while the stream's reset reaches the daemon.
            _ => tokio::time::sleep(Duration::from_millis(500)).await,
        }
    });
}

#[test]
fn a_caller_who_leaves_before_the_model_is_asked_takes_the_trigger_along() {
    let world = World::new();
    let daemon = world.setup().agent("/", "Scene description", "").start();
    for (number, way) in WAYS.into_iter().enumerate() {
        world.fixture.backend.forget_records();
        world.fixture.backend.fail(Call::GetRow, Fault::Delay(Duration::from_millis(1500)), 1);
        world.fixture.backend.edit_row(&world.fixture.video, |_| {});
        let opening = || world.fixture.backend.count(Call::GetRow) > 0;
        ask_and_leave(&daemon, way, &body(&world, number as u64), &opening);
        let ended = || daemon.metric("edgelabel_triggers_total", "outcome=\"abandoned\"") >= (number + 1) as f64;
        daemon.wait_until("the end of the trigger", Duration::from_secs(10), ended);
        assert_eq!(world.fixture.backend.count(Call::SaveRow), 0, "{way:?}");
    }
    assert_eq!(world.model.questions().len(), 0);
    assert_eq!(world.answers(&world.fixture.video, "Cls+Scen").len(), 0);
    // Nothing is left behind that would keep the next one from running.
    world.click(&daemon, "/", &world.fixture.video, 0);
}

/// Long enough that whoever waits for it is seen to wait.
const LONG: Duration = Duration::from_secs(60);

/// Within this a trigger that was left has ended: far less than any time-out that it could have met instead.
const PROMPTLY: Duration = Duration::from_secs(20);

#[track_caller]
fn assert_abandoned(daemon: &Daemon, so_far: usize) {
    let ended = || daemon.metric("edgelabel_triggers_total", "outcome=\"abandoned\"") >= so_far as f64;
    daemon.wait_until("the end of the trigger", PROMPTLY, ended);
    // It is counted a moment before it gives its place up.
    daemon.wait_until("its place", PROMPTLY, || daemon.status()["running"] == 0);
}

#[test]
fn what_a_trigger_waits_for_is_given_up_when_its_caller_leaves() {
    let world = World::new();
    let daemon = world.setup().set("server", "request_budget", "\"100s\"").agent("/", "Scene description", "").start();
    world.click(&daemon, "/", &world.fixture.image, 0);
    let backend = &world.fixture.backend;
    backend.edit_row(&world.fixture.video, |_| {});
    let waits = [
        (Call::ListRows, Fault::Delay(LONG), "an answer of Encord"),
        (Call::GetRow, Fault::RetryAfter(503, "60".into()), "the next try"),
        (Call::Media, Fault::Delay(LONG), "the first bytes"),
        (Call::Media, Fault::Slow(200), "the rest of the bytes"),
    ];
    for (number, (call, fault, what)) in waits.into_iter().enumerate() {
        backend.forget_records();
        backend.fail(call, fault, 1);
        ask_and_leave(&daemon, Way::Http1, &body(&world, 1), &|| backend.count(call) > 0);
        assert_abandoned(&daemon, number + 1);
        println!("given up: {what}");
        backend.heal();
    }
    assert_eq!(world.model.questions().len(), 1);
    // Nobody upstream is thought ill of, and nothing half fetched stays behind.
    for dependency in ["encord", "media"] {
        assert_ne!(daemon.dependency(dependency).0, "degraded", "{}", daemon.ready());
    }
    world.click(&daemon, "/", &world.fixture.video, 1);
}

#[test]
fn a_decode_whose_caller_leaves_frees_its_worker() {
    let world = World::new();
    let daemon =
        world.setup().set("server", "request_budget", "\"100s\"").set("media", "workers", "1").agent("/", "Scene description", "").start();
    // The daemon tries its decoders out first, with this very worker.
    daemon.wait_until("the decoders' proof", LONG, || daemon.status()["decoders"].as_array().is_some_and(|all| !all.is_empty()));
    let [worker] = daemon.children()[..] else { panic!("{:?}", daemon.children()) };
    let id = rustix::process::Pid::from_raw(i32::try_from(worker).unwrap()).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::STOP).unwrap();
    let at_the_worker = AtomicBool::new(false);
    let fetched = || {
        // The first bytes are there; then the worker has the word, which it does not take.
        if world.fixture.backend.count(Call::Media) > 0 && !at_the_worker.swap(true, Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1500));
        }
        at_the_worker.load(Ordering::SeqCst)
    };
    ask_and_leave(&daemon, Way::Http1, &body(&world, 1), &fetched);
    assert_abandoned(&daemon, 1);
    daemon.wait_until("another worker", PROMPTLY, || !daemon.children().contains(&worker) && daemon.children().len() == 1);
    assert_eq!(world.model.questions().len(), 0);
    world.click(&daemon, "/", &world.fixture.video, 1);
}

#[test]
fn a_trigger_that_waits_for_its_turn_at_the_model_is_not_asked_for_a_caller_who_left() {
    let world = World::new();
    let setup = world.setup().set("server", "request_budget", "\"100s\"").set("model", "max_concurrent", "1");
    let daemon = setup.agent("/", "Scene description", "").start();
    world.model.quirks(|quirks| quirks.thinking_time = Duration::from_secs(4));
    std::thread::scope(|scope| {
        let first = scope.spawn(|| daemon.trigger("/", &world.fixture.project, &world.fixture.image, 0));
        wait_for("the first question", &|| world.model.questions().len() == 1);
        let decoded =
            || daemon.metric("edgelabel_step_seconds_count", "step=\"decode\"") >= 1.0 || world.fixture.backend.count(Call::Media) > 1;
        ask_and_leave(&daemon, Way::Http1, &body(&world, 1), &decoded);
        let ended = || daemon.metric("edgelabel_triggers_total", "outcome=\"abandoned\"") >= 1.0;
        daemon.wait_until("the end of the trigger", PROMPTLY, ended);
        assert_eq!(first.join().unwrap().status, 200);
    });
    assert_eq!(world.model.questions().len(), 1);
}

#[test]
fn a_caller_who_leaves_while_the_model_thinks_gets_the_answer_saved_all_the_same() {
    let world = World::new();
    let daemon = world.setup().agent("/", "Scene description", "").start();
    world.model.quirks(|quirks| quirks.thinking_time = Duration::from_millis(900));
    for (number, way) in WAYS.into_iter().enumerate() {
        let asked = Arc::new(AtomicBool::new(false));
        let for_model = Arc::clone(&asked);
        world.model.meanwhile(move || for_model.store(true, Ordering::SeqCst));
        ask_and_leave(&daemon, way, &body(&world, number as u64), &|| asked.load(Ordering::SeqCst));
        let saved = || {
            world.fixture.backend.row(&world.fixture.video).is_some() && world.answers(&world.fixture.video, "Cls+Scen").len() == number + 1
        };
        daemon.wait_until("the saved answer", Duration::from_secs(10), saved);
    }
    assert_eq!(world.model.questions().len(), WAYS.len());
    assert_eq!(daemon.metric("edgelabel_triggers_total", "outcome=\"abandoned\""), 0.0);
}

#[test]
fn a_trigger_goes_on_while_one_of_its_two_callers_stays() {
    let world = World::new();
    let daemon = world.setup().agent("/", "Scene description", "").start();
    // Who leaves is the one who asked first, and then the one who joined.
    for first_leaves in [true, false] {
        let frame = u64::from(first_leaves);
        world.fixture.backend.edit_row(&world.fixture.video, |_| {});
        world.fixture.backend.forget_records();
        world.fixture.backend.fail(Call::GetRow, Fault::Delay(Duration::from_millis(2000)), 1);
        let opening = || world.fixture.backend.count(Call::GetRow) > 0;
        let (mut first, mut second) = (Caller::connect(&daemon), Caller::connect(&daemon));
        first.ask("/", &body(&world, frame)).unwrap();
        wait_for("the opening of the row", &opening);
        second.ask("/", &body(&world, frame)).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        let mut staying = if first_leaves {
            drop(first);
            second
        } else {
            drop(second);
            first
        };
        let answer = staying.read_head();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert_eq!(world.answers(&world.fixture.video, "Cls+Scen").iter().filter(|a| a["range"] == json!([[frame, frame]])).count(), 1);
    }
    assert_eq!(world.model.questions().len(), 2);
    assert_eq!(daemon.metric("edgelabel_triggers_total", "outcome=\"abandoned\""), 0.0);
}
