//! One request, judged step by step: each step either refuses it with a reply or hands on what it found.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{HOST, HeaderMap};
use hyper::{Method, Request, Response, Version};
use tokio::time::timeout;

use super::body::read_body;
use super::cors::{self, Caller};
use super::door::Door;
use super::guests::Pulse;
use super::payload::{self, Ask, Event, Payload};
use super::reply::{Body, Reply};
use super::rules::Rules;
use super::{auth, auth::Provenance};
use crate::agent::Trigger;
use crate::deadline::Deadline;
use crate::ids::RequestId;
use crate::trace::Trace;

/// Longer paths than any that an agent, with its token, could have.
const MAX_PATH: usize = 2048;
const MAX_HEADERS: usize = 96;

/// The pool keeps to the budget by itself; this much later the caller is answered even if it does not.
const VERDICT_GRACE: Duration = Duration::from_secs(5);

/// The connection a request came on.
pub(super) struct Visit {
    pub(super) address: SocketAddr,
    pub(super) pulse: Arc<Pulse>,
    /// The daemon's own look through the front door.
    pub(super) is_probe: bool,
}

/// Answers one request, whatever it is.
pub(super) async fn answer(door: &Door, visit: &Visit, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let turn = visit.pulse.request();
    let rules = door.rules();
    // Whoever was connected when the list of networks became stricter.
    let is_unwelcome = !visit.is_probe && !rules.may_connect(visit.address.ip());
    if turn.number >= rules.limits.requests_per_connection || is_unwelcome || door.is_draining() {
        visit.pulse.say_goodbye(turn.number, 2 * u64::from(rules.limits.streams_per_connection));
    }
    let id = RequestId::random();
    let version = request.version();
    let caller = rules.origins.caller(request.headers());
    let response = match &caller {
        _ if visit.is_probe => Reply::probe().into_response(id, &caller, version),
        _ if is_unwelcome => Reply::no_such_path().closing().into_response(id, &Caller::NoPage, version),
        Caller::Stranger(origin) => {
            door.warn_of_stranger(origin, visit.address);
            Reply::strange_origin().into_response(id, &caller, version)
        }
        _ if cors::is_preflight(&request) => {
            door.note_call(&caller, visit.address);
            let mut response = Reply::preflight().into_response(id, &caller, version);
            cors::permit(request.headers(), response.headers_mut());
            response
        }
        _ => {
            let mut judged = pin!(judge(door, &rules, visit, id, &caller, request));
            // A panic is this request's error: hyper would cut the connection, and the page would learn nothing.
            let reply = poll_fn(|cx| {
                catch_unwind(AssertUnwindSafe(|| judged.as_mut().poll(cx))).unwrap_or_else(|_| Poll::Ready(Err(Reply::own_mistake())))
            });
            let reply = reply.await.unwrap_or_else(|refusal| refusal);
            tracing::debug!(request = %id, address = %visit.address, status = reply.status.as_u16(), "answered");
            reply.into_response(id, &caller, version)
        }
    };
    door.metrics.answered(response.status().as_u16());
    response
}

async fn judge(
    door: &Door,
    rules: &Rules,
    visit: &Visit,
    id: RequestId,
    caller: &Caller,
    request: Request<Incoming>,
) -> Result<Reply, Reply> {
    let deadline = Deadline::after(rules.request_budget);
    check_form(rules, &request)?;
    let agent = auth::behind_token(rules.token.as_ref(), request.uri().path()).and_then(|path| rules.agent_at(path)).ok_or_else(|| {
        door.warn_of_lost(caller, visit.address, id);
        Reply::no_such_path()
    })?;
    if request.method() != Method::POST {
        return Err(Reply::wrong_method());
    }
    door.note_call(caller, visit.address);
    let (head, body) = request.into_parts();
    if is_test(&head.headers) {
        // The body means nothing, but left unread it would cost the connection.
        let _ = read_body(door, &rules.limits, body).await;
        return Ok(Reply::test());
    }
    if door.is_draining() {
        return Err(Reply::shutting_down());
    }
    // Before the body: a caller in haste is refused at the least cost.
    door.count_address(visit.address, rules.limits.triggers_per_address)?;
    let unauthentic = |why: auth::Unauthentic| {
        door.warn_of_unauthentic(&why, visit.address, id);
        Reply::unauthentic()
    };
    door.warn_of_newer_schemes(&head.headers);
    rules.signatures.precheck(&head.headers).map_err(unauthentic)?;
    if !payload::is_json(&head.headers) {
        return Err(Reply::not_json());
    }
    let body = read_body(door, &rules.limits, body).await?;
    let provenance = rules.signatures.verify(&head.headers, &body, SystemTime::now()).map_err(unauthentic)?;
    match payload::parse(&body).map_err(|wrong| Reply::bad_request(wrong.to_string()))? {
        Payload::Event(event) => take_event(&event, provenance, id),
        Payload::Trigger(ask) if !rules.serves(&ask.project) => {
            tracing::warn!(request = %id, project = %ask.project, "refused: the project is not in server.allowed_projects");
            Err(Reply::project_not_allowed())
        }
        Payload::Trigger(Ask { project, data, frame, objects }) => {
            door.count_project(&project, visit.address, rules.limits.triggers_per_project)?;
            let (agent, trace) = (agent.to_owned(), trace_of(&head.headers));
            let trigger =
                Trigger { id, agent, project, data, frame, objects, caller: Some(visit.address.ip()), deadline, trace, unasked: false };
            run(door, rules, visit, trigger).await
        }
    }
}

/// What HTTP asks of every request and hyper does not check.
fn check_form(rules: &Rules, request: &Request<Incoming>) -> Result<(), Reply> {
    let headers = request.headers();
    let hosts = headers.get_all(HOST).iter().count();
    let named = match request.version() {
        Version::HTTP_11 => hosts == 1,
        Version::HTTP_09 | Version::HTTP_10 => hosts <= 1,
        _ => hosts <= 1 && (hosts == 1 || request.uri().authority().is_some()),
    };
    if !named {
        return Err(Reply::bad_request("the request must name its host, once"));
    }
    let path = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    if path > MAX_PATH {
        return Err(Reply::path_too_long());
    }
    // A name and a value are separated by ": " and ended by a line break.
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if headers.len() > MAX_HEADERS || bytes + path > rules.limits.header_bytes {
        return Err(Reply::headers_too_large());
    }
    Ok(())
}

/// Encord tries an agent's address with a request of this kind; both names are in use.
fn is_test(headers: &HeaderMap) -> bool {
    ["x-encord-editor-agent", "x-encord-agent"].iter().any(|name| headers.get(*name).is_some_and(|value| !value.is_empty()))
}

/// The caller's trace, or one that begins here.
fn trace_of(headers: &HeaderMap) -> Trace {
    let named = ["x-cloud-trace-context", "traceparent"].iter().filter_map(|name| headers.get(*name)?.to_str().ok());
    named.filter_map(Trace::read).next().unwrap_or_else(Trace::fresh)
}

/// Notifications of Encord's backend: taken note of, so that it does not send them again. This box acts on clicks.
fn take_event(event: &Event, provenance: Provenance, id: RequestId) -> Result<Reply, Reply> {
    if provenance != Provenance::Signed {
        return Err(Reply::bad_request("projectHash is missing"));
    }
    if event.version.as_ref().is_some_and(|version| version != "1") {
        tracing::warn!(request = %id, event = event.kind, version = event.version, "refused: a newer version of Encord's notifications");
        return Err(Reply::unknown_envelope());
    }
    tracing::info!(request = %id, event = event.kind, "notification noted; edgelabel acts on the label editor's button only");
    Ok(Reply::noted())
}

/// Hands a trigger to the pool. If the caller goes away, a trigger that has reached the model goes on without them.
async fn run(door: &Door, rules: &Rules, visit: &Visit, trigger: Trigger) -> Result<Reply, Reply> {
    let begun = Instant::now();
    let line = tracing::info_span!(
        "trigger", request = %trigger.id, agent = trigger.agent, project = %trigger.project, data = %trigger.data, frame = trigger.frame,
        trace = %trigger.trace, address = %visit.address,
    );
    let left = Left { span: line.clone(), waited: true };
    let verdict = timeout(rules.request_budget + VERDICT_GRACE, door.pool.submit(trigger)).await;
    left.disarm();
    let reply = verdict.map_or_else(|_| Reply::no_verdict(), Reply::verdict);
    let message = if let Body::Message(message) = &reply.body { message.as_str() } else { "" };
    let milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    line.in_scope(|| tracing::debug!(status = reply.status.as_u16(), milliseconds, message, "trigger answered"));
    Ok(reply)
}

/// Logs that nobody waits for the answer any more.
struct Left {
    span: tracing::Span,
    waited: bool,
}

impl Left {
    fn disarm(mut self) {
        self.waited = false;
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        if self.waited {
            self.span.in_scope(|| tracing::info!("the caller left before the answer; a trigger that has reached the model goes on"));
        }
    }
}
