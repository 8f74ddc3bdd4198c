//! The admin address: plain HTTP for people and monitoring on this box.

mod guard;
mod page;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use self::guard::{Guard, Verdict, is_of_another_site};
use super::door::BrowserCall;
use super::listen::Listeners;
use super::settings::AdminSettings;
use crate::telemetry::{Metrics, Readings, Seldom};

/// Monitoring and a few open status pages; more is a mistake or an attack.
const MOST_CONNECTIONS: usize = 32;

/// Captures at once, of all cameras: whatever they wait for, monitoring is served.
const MOST_CAPTURES: usize = 8;

/// For a request's header, and for the silence between requests.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the admin address gets what it shows. The functions may block for as long as a disk does.
pub struct AdminView {
    /// The state of the daemon.
    pub status: Box<dyn Fn() -> Status + Send + Sync>,
    /// The values for the metrics that are looked up rather than counted.
    pub readings: Box<dyn Fn() -> Readings + Send + Sync>,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// MIME type and bytes of the picture of a trigger, by request, if it is kept.
    pub picture: Box<PictureOf>,
    /// Takes a picture with a camera, by name. May take as long as the camera and the delivery do, which bound themselves.
    pub capture: Box<CaptureWith>,
    /// The certificate of the box's own authority; may be missing.
    pub ca_certificate: PathBuf,
}

/// From a request to the MIME type and the bytes of its picture.
pub type PictureOf = dyn Fn(&str) -> Option<(&'static str, Vec<u8>)> + Send + Sync;

/// From a camera's name to what came of taking a picture.
pub type CaptureWith = dyn Fn(&str) -> Captured + Send + Sync;

/// What came of taking a picture.
#[derive(Debug, Clone)]
pub struct Captured {
    /// The HTTP status.
    pub status: u16,
    /// The answer.
    pub facts: serde_json::Value,
}

/// What the status page shows and `/status.json` says.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// `starting`, `serving` or `draining`. Triggers are taken while `serving`.
    pub state: String,
    /// Seconds since 1970 at which the daemon started.
    pub started: i64,
    /// Addresses of the HTTPS door.
    pub addresses: Vec<String>,
    /// Paths of the agents, without the access token.
    pub agents: Vec<String>,
    /// What the daemon depends on.
    pub dependencies: BTreeMap<String, Dependency>,
    /// Triggers that run and that wait.
    pub running: usize,
    /// Triggers that wait for a thread.
    pub waiting: usize,
    /// The last triggers, newest first, in the form of the journal's history.
    pub triggers: Vec<serde_json::Value>,
    /// Requests that `/picture/REQUEST` shows the picture of; none unless `admin.thumbnails` is switched on.
    pub pictures: Vec<String>,
    /// Answers that wait to be saved, in the form of `pending list --json`.
    pub pending: Vec<serde_json::Value>,
    /// Decoders that were found.
    pub decoders: Vec<String>,
    /// V4L2 devices that were found, with what they are and the GStreamer elements that would use them.
    pub devices: Vec<String>,
    /// The configured cameras.
    pub cameras: Vec<CameraStatus>,
    /// The server's certificate.
    pub certificate: Option<CertificateStatus>,
    /// The last call of the label editor's page.
    pub last_browser_call: Option<BrowserCall>,
}

/// One dependency.
#[derive(Debug, Clone, Serialize)]
pub struct Dependency {
    /// `ok` or `degraded`.
    pub status: String,
    /// Why it is degraded; else empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Seconds since 1970 since when it is in this state.
    pub since: i64,
}

/// A camera as the status page shows it.
#[derive(Debug, Clone, Serialize)]
pub struct CameraStatus {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub device: String,
    /// Seconds between the pictures that it takes unasked, if it does.
    pub interval: Option<f64>,
    /// `ok` or `degraded`.
    pub status: String,
    /// Why it is degraded; else empty.
    pub reason: String,
    /// Seconds since 1970 at which it last gave the daemon a picture.
    pub last_picture: Option<i64>,
    /// Its pictures that wait to be delivered.
    pub waiting: usize,
    /// Its pictures whose delivery or label is refused.
    pub refused: usize,
    /// Its delivered pictures that wait for their label.
    pub unlabelled: usize,
}

/// The server's certificate as the status page shows it.
#[derive(Debug, Clone, Serialize)]
pub struct CertificateStatus {
    /// Names and addresses it is made out to.
    pub names: Vec<String>,
    /// Seconds since 1970 until which it is valid.
    pub not_after: i64,
    /// Its SHA-256 fingerprint.
    pub sha256: String,
    /// The fingerprint of the box's own authority, if that issued it.
    pub ca_sha256: Option<String>,
    /// Seconds since 1970 until which that authority is valid.
    pub ca_not_after: Option<i64>,
    /// What is wrong with newer files on disk.
    pub problem: Option<String>,
}

/// The admin address in service.
pub struct Admin {
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Admin {
    /// Binds the address and answers until dropped. To be called within a tokio runtime.
    pub fn start(settings: &AdminSettings, view: AdminView) -> io::Result<Self> {
        settings.check().map_err(|what| io::Error::new(io::ErrorKind::InvalidInput, what))?;
        let (mut sockets, _) = Listeners::bind(&[settings.listen])?.into_parts();
        let listener = TcpListener::from_std(sockets.remove(0))?;
        let address = listener.local_addr()?;
        let captures = Arc::new(Semaphore::new(MOST_CAPTURES));
        let desk = Arc::new(Desk { view, guard: Guard::new(settings.token.clone(), address), captures });
        tracing::info!(%address, "admin address");
        Ok(Self { address, task: tokio::spawn(accept(listener, desk)) })
    }

    /// Where it is, with the port that the kernel chose for port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Desk {
    view: AdminView,
    guard: Guard,
    captures: Arc<Semaphore>,
}

async fn accept(listener: TcpListener, desk: Arc<Desk>) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let trouble = Seldom::every(Duration::from_secs(10));
    // Ends the connections with the address.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(wrong) => {
                trouble.say(|unsaid| tracing::warn!(unsaid, "the admin address cannot take a connection: {wrong}"));
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let desk = Arc::clone(&desk);
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let desk = Arc::clone(&desk);
                async move { Ok::<_, Infallible>(desk.answer(request).await) }
            });
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(16 * 1024);
            if let Err(wrong) = http.serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!("admin connection ended: {wrong:?}");
            }
            drop(place);
        });
    }
}

impl Desk {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        // A certificate is public, and a station that is to trust it has no token yet.
        let mut answer = match self.guard.judge(request.headers(), path == "/ca.crt") {
            Verdict::StrangeHost => plain(StatusCode::FORBIDDEN, "call the admin address by its own address or as localhost"),
            Verdict::NoToken => with(
                plain(StatusCode::UNAUTHORIZED, "a token is needed: as Bearer, or as the password of any user"),
                WWW_AUTHENTICATE,
                "Basic realm=\"edgelabel\", charset=\"UTF-8\"",
            ),
            Verdict::Welcome if camera_of(&path).is_some() => self.asked_for_a_picture(&request, &path).await,
            Verdict::Welcome if request.method() != Method::GET && request.method() != Method::HEAD => {
                with(plain(StatusCode::METHOD_NOT_ALLOWED, "only GET is served here"), ALLOW, "GET, HEAD")
            }
            Verdict::Welcome => {
                // The view may ask the disk.
                let desk = Arc::clone(&self);
                tokio::task::spawn_blocking(move || desk.show(&path)).await.unwrap_or_else(|_| own_mistake())
            }
        };
        let headers = answer.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        answer
    }

    async fn asked_for_a_picture(self: &Arc<Self>, request: &Request<Incoming>, path: &str) -> Response<Full<Bytes>> {
        if request.method() != Method::POST {
            return with(plain(StatusCode::METHOD_NOT_ALLOWED, "a picture is taken with POST"), ALLOW, "POST");
        }
        if is_of_another_site(request.headers()) {
            return plain(StatusCode::FORBIDDEN, "a web page of another site takes no pictures here");
        }
        let Ok(place) = Arc::clone(&self.captures).try_acquire_owned() else {
            let told = serde_json::json!({ "error": format!("{MOST_CAPTURES} pictures are being taken or delivered: try again") });
            return with(json(StatusCode::SERVICE_UNAVAILABLE, &told), RETRY_AFTER, "5");
        };
        let (desk, camera) = (Arc::clone(self), camera_of(path).unwrap_or_default().to_owned());
        let work = move || {
            let captured = (desk.view.capture)(&camera);
            drop(place);
            captured
        };
        let Ok(captured) = tokio::task::spawn_blocking(work).await else { return own_mistake() };
        let status = StatusCode::from_u16(captured.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let answer = json(status, &captured.facts);
        if status == StatusCode::SERVICE_UNAVAILABLE { with(answer, RETRY_AFTER, "5") } else { answer }
    }

    fn show(&self, path: &str) -> Response<Full<Bytes>> {
        match path {
            "/live" => json(StatusCode::OK, &serde_json::json!({ "status": "live" })),
            "/ready" => ready(&(self.view.status)()),
            "/status.json" => json(StatusCode::OK, &(self.view.status)()),
            "/metrics" => {
                body(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", self.view.metrics.render(&(self.view.readings)()))
            }
            "/ca.crt" => self.ca_certificate(),
            "/icon.svg" => body(StatusCode::OK, "image/svg+xml", page::ICON),
            "/" => {
                let (html, policy) = page::render();
                with_value(body(StatusCode::OK, "text/html; charset=utf-8", html), CONTENT_SECURITY_POLICY, policy)
            }
            _ if path.starts_with("/picture/") => match (self.view.picture)(&path["/picture/".len()..]) {
                Some((kind, bytes)) => body(StatusCode::OK, kind, bytes),
                None => plain(StatusCode::NOT_FOUND, "no picture is kept of this request (admin.thumbnails)"),
            },
            _ => plain(
                StatusCode::NOT_FOUND,
                "here are / /status.json /live /ready /metrics /ca.crt /picture/REQUEST, and POST /camera/NAME/capture",
            ),
        }
    }

    fn ca_certificate(&self) -> Response<Full<Bytes>> {
        match std::fs::read(&self.view.ca_certificate) {
            Ok(pem) => with(
                body(StatusCode::OK, "application/x-x509-ca-cert", pem),
                CONTENT_DISPOSITION,
                "attachment; filename=\"edgelabel-ca.crt\"",
            ),
            Err(_) => plain(StatusCode::NOT_FOUND, "this box has no certificate authority of its own"),
        }
    }
}

/// The camera's name in `/camera/NAME/capture`.
fn camera_of(path: &str) -> Option<&str> {
    path.strip_prefix("/camera/")?.strip_suffix("/capture").filter(|name| !name.is_empty() && !name.contains('/'))
}

fn own_mistake() -> Response<Full<Bytes>> {
    plain(StatusCode::INTERNAL_SERVER_ERROR, "edgelabel made a mistake of its own; its log tells more")
}

/// Ready means that triggers are taken. A dependency that is unwell makes it degraded, not unready: the answers of a box
/// without its network wait in the journal, and restarting it would help nobody.
fn ready(status: &Status) -> Response<Full<Bytes>> {
    let serving = status.state == "serving";
    let well = status.dependencies.values().all(|dependency| dependency.status == "ok");
    let word = match (serving, well) {
        (false, _) => status.state.as_str(),
        (true, true) => "ready",
        (true, false) => "degraded",
    };
    let code = if serving { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(code, &serde_json::json!({ "status": word, "dependencies": status.dependencies }))
}

fn json(status: StatusCode, value: &impl Serialize) -> Response<Full<Bytes>> {
    match serde_json::to_string(value) {
        Ok(text) => body(status, "application/json", text + "\n"),
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "the state cannot be written as JSON"),
    }
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    body(status, "text/plain; charset=utf-8", format!("{text}\n"))
}

fn body(status: StatusCode, kind: &'static str, content: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(content.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

fn with(answer: Response<Full<Bytes>>, name: HeaderName, value: &'static str) -> Response<Full<Bytes>> {
    with_value(answer, name, HeaderValue::from_static(value))
}

fn with_value(mut answer: Response<Full<Bytes>>, name: HeaderName, value: HeaderValue) -> Response<Full<Bytes>> {
    answer.headers_mut().insert(name, value);
    answer
}
