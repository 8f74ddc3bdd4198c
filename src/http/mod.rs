//! Outgoing HTTP for every part: one keep-alive pool with trust anchors, a time-out on every phase, bounded bodies,
//! and the retry rules that Encord, media stores and models share.

mod fault;
mod reach;
mod retry;
mod watch;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls_pki_types::{CertificateDer, pem::PemObject};
use ureq::http::{self, HeaderMap, HeaderName, HeaderValue, Uri};
use url::Url;

use crate::deadline::Deadline;

pub use fault::{Fault, span};
pub use reach::{is_private, refuse_public_plain_http};
pub use retry::{Try, is_transient_status, jittered, retry_after, with_retries};

use fault::Part;
use reach::Names;

/// Room for what is received and not yet read, and for a request on its way out; per connection.
const BUFFERS: (usize, usize) = (64 << 10, 16 << 10);

/// How a part reaches the outside.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// PEM file with trust anchors besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Bound on name look-up, TCP and TLS together.
    pub connect_timeout: Duration,
    /// Idle connections kept per host.
    pub idle_per_host: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { ca_file: None, connect_timeout: Duration::from_secs(5), idle_per_host: 8 }
    }
}

/// Trust anchors that could not be used.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The configured file cannot be read or holds no certificate.
    #[error("trust anchors {path}: {cause}")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// Neither the system nor the configuration names any trust anchor.
    #[error("no trust anchors: the system has none (package ca-certificates) and no ca_file is set")]
    NoAnchors,
}

/// One exchange to make.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Upper-case method.
    pub method: http::Method,
    /// Absolute `https://` (or, for private addresses, `http://`) address, sent as written.
    pub url: &'a str,
    /// Header names and values.
    pub headers: Vec<(Cow<'static, str>, String)>,
    /// The body, if any.
    pub body: Option<&'a [u8]>,
    /// Bound on the whole exchange; the deadline cuts it further.
    pub timeout: Duration,
    /// Bound on the silence between two pieces of the answer, for servers that send as they go; none for those that think first.
    pub stall: Option<Duration>,
    /// Bound on the answer's body in bytes.
    pub max_body: u64,
    /// How many redirects are followed, never from `https://` to `http://`, and with all headers. Requests that sign or
    /// authenticate themselves must not be: 0.
    pub redirects: u32,
}

impl<'a> Request<'a> {
    /// A GET with room for 16 MiB, 30 s, and no redirects.
    pub fn get(url: &'a str) -> Self {
        Self {
            method: http::Method::GET,
            url,
            headers: Vec::new(),
            body: None,
            timeout: Duration::from_secs(30),
            stall: None,
            max_body: 16 << 20,
            redirects: 0,
        }
    }

    /// A POST of `body`, otherwise as [`Request::get`].
    pub fn post(url: &'a str, body: &'a [u8]) -> Self {
        Self { method: http::Method::POST, body: Some(body), ..Self::get(url) }
    }

    /// A PUT of `body`, otherwise as [`Request::get`].
    pub fn put(url: &'a str, body: &'a [u8]) -> Self {
        Self { method: http::Method::PUT, body: Some(body), ..Self::get(url) }
    }

    /// Adds a header.
    pub fn header(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// A complete answer, whatever its status.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers as received.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's text, if it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// An answer whose body is still to be read.
pub struct Stream {
    /// HTTP status.
    pub status: u16,
    /// Headers as received.
    pub headers: HeaderMap,
    host: String,
    deadline: Deadline,
    body: Box<dyn Read + Send>,
}

impl Stream {
    /// Reads some of the body; 0 at its end.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Fault> {
        watch::under(&self.deadline, || self.body.read(buffer)).map_err(|error| Fault::of_body(error, &self.host))
    }

    /// Reads until `buffer` is full or the body ends; returns how much was read.
    pub fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, Fault> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read(&mut buffer[filled..])? {
                0 => break,
                n => filled += n,
            }
        }
        Ok(filled)
    }
}

/// A pool of keep-alive connections with its trust anchors. Cheap to clone; clones share the pool.
#[derive(Clone)]
pub struct Client {
    agent: ureq::Agent,
    names: Names,
    connect_timeout: Duration,
    statuses: Arc<Mutex<Statuses>>,
}

/// Answers by HTTP status; 0 counts the requests that got none.
pub type Statuses = BTreeMap<u16, u64>;

impl Client {
    /// Loads the trust anchors and makes an empty pool. The proxy of the environment (`HTTPS_PROXY`, `ALL_PROXY`,
    /// `NO_PROXY`) is used for public addresses.
    pub fn new(settings: &Settings) -> Result<Self, SetupError> {
        Self::with_proxy(settings, reach::proxy_of_environment())
    }

    fn with_proxy(settings: &Settings, proxy: Option<ureq::Proxy>) -> Result<Self, SetupError> {
        let tls = ureq::tls::TlsConfig::builder()
            .root_certs(ureq::tls::RootCerts::Specific(Arc::new(trust_anchors(settings)?)))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = ureq::Agent::config_builder()
            .tls_config(tls)
            // Each request chooses.
            .proxy(None)
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("edgelabel/", env!("CARGO_PKG_VERSION")))
            .max_idle_connections(64)
            .max_idle_connections_per_host(settings.idle_per_host)
            .max_idle_age(Duration::from_secs(50))
            .input_buffer_size(BUFFERS.0)
            .output_buffer_size(BUFFERS.1)
            .build();
        let names = Names::new(proxy);
        let agent = ureq::Agent::with_parts(config, reach::connector(), names.clone());
        Ok(Self { agent, names, connect_timeout: settings.connect_timeout, statuses: Arc::default() })
    }

    /// What the requests of this client and its clones came to, since it was made.
    pub fn statuses(&self) -> Statuses {
        self.statuses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes one exchange and reads the whole answer. Any status is an answer, not a fault.
    pub fn send(&self, request: &Request<'_>, deadline: &Deadline) -> Result<Answer, Fault> {
        let mut stream = self.open(request, deadline)?;
        let announced = content_length(&stream.headers).unwrap_or(0);
        if announced > request.max_body {
            return Err(Fault::TooLarge { host: stream.host, limit: request.max_body });
        }
        let mut body = Vec::with_capacity(announced as usize);
        let mut chunk = [0; 16 << 10];
        loop {
            match stream.read(&mut chunk)? {
                0 => break,
                n if body.len() as u64 + n as u64 > request.max_body => {
                    return Err(Fault::TooLarge { host: stream.host, limit: request.max_body });
                }
                n => body.extend_from_slice(&chunk[..n]),
            }
        }
        Ok(Answer { status: stream.status, headers: stream.headers, body })
    }

    /// Makes one exchange up to the head of its answer; the caller reads, and bounds, the body.
    pub fn open(&self, request: &Request<'_>, deadline: &Deadline) -> Result<Stream, Fault> {
        let mut url = Cow::Borrowed(request.url);
        let mut stream = self.exchange(request, &url, deadline)?;
        for _ in 0..request.redirects {
            let Some(next) = redirect_target(&url, &stream)? else { return Ok(stream) };
            url = Cow::Owned(next.into());
            stream = self.exchange(request, &url, deadline)?;
        }
        if request.redirects > 0 && redirect_target(&url, &stream)?.is_some() {
            return Err(Fault::BadUrl(format!("{} redirects again, after {} redirects", stream.host, request.redirects)));
        }
        Ok(stream)
    }

    /// One request to `url`, up to the head of its answer.
    fn exchange(&self, request: &Request<'_>, url: &str, deadline: &Deadline) -> Result<Stream, Fault> {
        let parsed = Url::parse(url).map_err(|error| Fault::BadUrl(error.to_string()))?;
        let uri: Uri = url.parse().map_err(|_| Fault::BadUrl("not an absolute http address".into()))?;
        let host = parsed.host_str().unwrap_or_default().to_owned();
        reach::refuse_other_schemes(&parsed)?;
        let total = deadline.bounded(request.timeout)?;

        let mut head = http::Request::builder().method(request.method.clone()).uri(&uri);
        for (name, value) in &request.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Fault::BadUrl("a header's name is not one".into()))?;
            let mut value =
                HeaderValue::from_str(value).map_err(|_| Fault::BadUrl(format!("the value of header {name} is not plain text")))?;
            value.set_sensitive(true);
            head = head.header(name, value);
        }
        let proxy = self.names.proxy_for(&parsed, &uri, self.agent.config());
        let sent = watch::under(deadline, || match request.body {
            None => self.run(head.body(()), request, total, proxy),
            Some(body) => self.run(head.body(body), request, total, proxy),
        });
        let status = sent.as_ref().map_or(0, |answer| answer.status().as_u16());
        *self.statuses.lock().unwrap_or_else(PoisonError::into_inner).entry(status).or_default() += 1;
        let answer = sent.map_err(|error| Fault::of(error, &host, Part::Head))?;
        let (parts, body) = answer.into_parts();
        let body = Box::new(body.into_reader());
        Ok(Stream { status: parts.status.as_u16(), headers: parts.headers, host, deadline: deadline.clone(), body })
    }

    fn run<B: ureq::AsSendBody>(
        &self,
        built: Result<http::Request<B>, http::Error>,
        request: &Request<'_>,
        total: Duration,
        proxy: Option<ureq::Proxy>,
    ) -> Result<http::Response<ureq::Body>, ureq::Error> {
        let connect = self.connect_timeout.min(total);
        let configured = self
            .agent
            .configure_request(built?)
            .proxy(proxy)
            .timeout_global(Some(total))
            .timeout_resolve(Some(connect))
            .timeout_connect(Some(connect))
            .timeout_per_read(request.stall)
            .build();
        self.agent.run(configured)
    }
}

/// Where an answer sends its reader, if it is a redirect with a target.
fn redirect_target(from: &str, answer: &Stream) -> Result<Option<Url>, Fault> {
    if !matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = answer.headers.get(http::header::LOCATION).and_then(|value| value.to_str().ok()) else {
        return Ok(None);
    };
    let wrong = |cause: &str| Fault::BadUrl(format!("{} redirects {cause}", answer.host));
    let from = Url::parse(from).map_err(|error| Fault::BadUrl(error.to_string()))?;
    let next = from.join(location).map_err(|_| wrong("to something that is no address"))?;
    if from.scheme() == "https" && next.scheme() != "https" {
        return Err(wrong("from https:// to a link without TLS"));
    }
    Ok(Some(next))
}

fn trust_anchors(settings: &Settings) -> Result<Vec<ureq::tls::Certificate<'static>>, SetupError> {
    let mut anchors: Vec<CertificateDer<'static>> = rustls_native_certs::load_native_certs().certs;
    if let Some(path) = &settings.ca_file {
        let wrong = |cause: String| SetupError::CaFile { path: path.clone(), cause };
        let added = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| wrong(error.to_string()))?;
        if added.is_empty() {
            return Err(wrong("holds no PEM certificate".into()));
        }
        anchors.extend(added);
    }
    if anchors.is_empty() {
        return Err(SetupError::NoAnchors);
    }
    Ok(anchors.iter().map(|der| ureq::tls::Certificate::from_der(der).to_owned()).collect())
}

/// The announced length of a body.
pub fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(http::header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}
