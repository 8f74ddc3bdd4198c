//! Outgoing HTTP for every part: one keep-alive pool with trust anchors, a time-out on every phase, bounded bodies,
//! and the retry rules that Encord, media stores and models share.

use std::borrow::Cow;
use std::io::Read;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::{CertificateDer, pem::PemObject};
use ureq::http::{self, HeaderMap, HeaderName, HeaderValue};
use url::{Host, Url};

use crate::deadline::{Deadline, Expired};

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

/// Why an exchange gave no complete answer. Never holds a URL's query or a header's value.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Fault {
    /// The host's name does not resolve.
    #[error("the name {host} does not resolve")]
    NoSuchHost {
        /// The host asked for.
        host: String,
    },
    /// No connection came about.
    #[error("cannot connect to {host}: {cause}")]
    Connect {
        /// The host asked for.
        host: String,
        /// The operating system's word.
        cause: String,
    },
    /// The server's certificate was not accepted, or the handshake failed.
    #[error("TLS with {host} failed: {cause}")]
    Tls {
        /// The host asked for.
        host: String,
        /// The handshake's complaint.
        cause: String,
        /// The certificate is expired or not yet valid: the clock may be the real culprit.
        dates: bool,
    },
    /// A phase of the exchange took too long.
    #[error("{host} did not answer in time ({phase})")]
    Timeout {
        /// The host asked for.
        host: String,
        /// The phase: connect, send, answer or body.
        phase: &'static str,
    },
    /// The connection broke, before or within the answer.
    #[error("the connection to {host} broke: {cause}")]
    Broken {
        /// The host asked for.
        host: String,
        /// What was seen.
        cause: String,
    },
    /// The answer is larger than allowed.
    #[error("the answer of {host} is larger than {limit} bytes")]
    TooLarge {
        /// The host asked for.
        host: String,
        /// The bound in bytes.
        limit: u64,
    },
    /// Plain HTTP to an address that is neither loopback nor private.
    #[error("plain http:// to {host} is refused: only loopback and private addresses may be called without TLS")]
    PlainHttp {
        /// The host asked for.
        host: String,
    },
    /// The link cannot be used at all.
    #[error("unusable address: {0}")]
    BadUrl(String),
    /// The request's budget is spent.
    #[error(transparent)]
    Deadline(#[from] Expired),
}

impl Fault {
    /// Whether the same call may succeed when made again at once.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::NoSuchHost { .. } | Self::Connect { .. } | Self::Timeout { .. } | Self::Broken { .. })
    }
}

/// One exchange to make.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Upper-case method.
    pub method: http::Method,
    /// Absolute `https://` (or, for private addresses, `http://`) address, sent as written.
    pub url: &'a str,
    /// Header names and values.
    pub headers: Vec<(&'static str, String)>,
    /// The body, if any.
    pub body: Option<&'a [u8]>,
    /// Bound on the whole exchange; the deadline cuts it further.
    pub timeout: Duration,
    /// Bound on the silence between two pieces of the answer, for servers that send as they go; none for those that think first.
    pub stall: Option<Duration>,
    /// Bound on the answer's body in bytes.
    pub max_body: u64,
    /// How many redirects are followed, never from `https://` to `http://`. Signed requests must not be: 0.
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

    /// Adds a header.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
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
    body: Box<dyn Read + Send>,
}

impl Stream {
    /// Reads some of the body; 0 at its end.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Fault> {
        self.body.read(buffer).map_err(|error| body_fault(&self.host, error))
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
    connect_timeout: Duration,
}

impl Client {
    /// Loads the trust anchors and makes an empty pool.
    pub fn new(settings: &Settings) -> Result<Self, SetupError> {
        let tls = ureq::tls::TlsConfig::builder()
            .root_certs(ureq::tls::RootCerts::Specific(Arc::new(trust_anchors(settings)?)))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = ureq::Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .max_redirects_will_error(false)
            .user_agent(concat!("edgelabel/", env!("CARGO_PKG_VERSION")))
            .max_idle_connections(64)
            .max_idle_connections_per_host(settings.idle_per_host)
            .max_idle_age(Duration::from_secs(50))
            .build();
        Ok(Self { agent: config.new_agent(), connect_timeout: settings.connect_timeout })
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
        let mut stream = self.exchange(request, request.url, deadline)?;
        let mut url = Cow::Borrowed(request.url);
        for _ in 0..request.redirects {
            match redirect_target(&url, &stream)? {
                None => return Ok(stream),
                Some(next) => url = Cow::Owned(next.into()),
            }
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
        let host = parsed.host_str().unwrap_or_default().to_owned();
        refuse_public_plain_http(&parsed)?;
        let total = deadline.bounded(request.timeout)?;

        let mut head = http::Request::builder().method(request.method.clone()).uri(url);
        for (name, value) in &request.headers {
            let name = HeaderName::from_static(name);
            let mut value =
                HeaderValue::from_str(value).map_err(|_| Fault::BadUrl(format!("the value of header {name} is not plain text")))?;
            value.set_sensitive(true);
            head = head.header(name, value);
        }
        let sent = match request.body {
            None => self.run(head.body(()), request, total),
            Some(body) => self.run(head.body(body), request, total),
        };
        let answer = sent.map_err(|error| exchange_fault(&host, error))?;
        let (parts, body) = answer.into_parts();
        Ok(Stream { status: parts.status.as_u16(), headers: parts.headers, host, body: Box::new(body.into_reader()) })
    }

    fn run<B: ureq::AsSendBody>(
        &self,
        built: Result<http::Request<B>, http::Error>,
        request: &Request<'_>,
        total: Duration,
    ) -> Result<http::Response<ureq::Body>, ureq::Error> {
        let configured = self
            .agent
            .configure_request(built?)
            .max_redirects(0)
            .timeout_global(Some(total))
            .timeout_connect(Some(self.connect_timeout.min(total)))
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

/// Plain HTTP would show keys and pictures to the network, so it stays on the box or in its own network.
pub fn refuse_public_plain_http(url: &Url) -> Result<(), Fault> {
    let host = || url.host_str().unwrap_or_default().to_owned();
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_private(url) => Ok(()),
        "http" => Err(Fault::PlainHttp { host: host() }),
        other => Err(Fault::BadUrl(format!("{other}:// is not supported, only https:// and http://"))),
    }
}

/// Whether a link leads to loopback or private addresses only. A name that does not resolve counts as private:
/// the connection will fail with a better message.
pub fn is_private(url: &Url) -> bool {
    match url.host() {
        None => false,
        Some(Host::Ipv4(ip)) => is_private_address(IpAddr::V4(ip)),
        Some(Host::Ipv6(ip)) => is_private_address(IpAddr::V6(ip)),
        Some(Host::Domain("localhost")) => true,
        Some(Host::Domain(name)) => (name, url.port_or_known_default().unwrap_or(80))
            .to_socket_addrs()
            .map_or(true, |mut found| found.all(|a| is_private_address(a.ip()))),
    }
}

fn is_private_address(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(v4) => is_private_address(IpAddr::V4(v4)),
            None => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
        },
    }
}

/// The announced length of a body.
pub fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(http::header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

fn exchange_fault(host: &str, error: ureq::Error) -> Fault {
    let host = host.to_owned();
    match error {
        ureq::Error::HostNotFound => Fault::NoSuchHost { host },
        ureq::Error::ConnectionFailed => Fault::Connect { host, cause: "connection failed".into() },
        ureq::Error::Timeout(phase) => Fault::Timeout { host, phase: phase_name(phase) },
        ureq::Error::Io(error) => io_fault(host, error),
        ureq::Error::Rustls(error) => tls_fault(host, &error),
        ureq::Error::Tls(cause) => Fault::Tls { host, cause: cause.into(), dates: false },
        ureq::Error::BadUri(_) => Fault::BadUrl("not an absolute http address".into()),
        other => Fault::Broken { host, cause: other.to_string() },
    }
}

fn io_fault(host: String, error: std::io::Error) -> Fault {
    use std::io::ErrorKind;
    if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return tls_fault(host, tls);
    }
    match error.kind() {
        ErrorKind::ConnectionRefused
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable
        | ErrorKind::AddrNotAvailable
        | ErrorKind::NetworkDown => Fault::Connect { host, cause: error.to_string() },
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Fault::Timeout { host, phase: "answer" },
        _ => Fault::Broken { host, cause: error.to_string() },
    }
}

fn tls_fault(host: String, error: &rustls::Error) -> Fault {
    use rustls::CertificateError as C;
    let dates = matches!(
        error,
        rustls::Error::InvalidCertificate(C::Expired | C::ExpiredContext { .. } | C::NotValidYet | C::NotValidYetContext { .. })
    );
    Fault::Tls { host, cause: error.to_string(), dates }
}

fn body_fault(host: &str, error: std::io::Error) -> Fault {
    // ureq wraps its own errors in io::Error while a body is read.
    if error.get_ref().is_some_and(|inner| inner.is::<ureq::Error>()) {
        if let Some(inner) = error.into_inner().and_then(|inner| inner.downcast::<ureq::Error>().ok()) {
            return exchange_fault(host, *inner);
        }
        return Fault::Broken { host: host.to_owned(), cause: "body".into() };
    }
    match io_fault(host.to_owned(), error) {
        Fault::Timeout { host, .. } => Fault::Timeout { host, phase: "body" },
        other => other,
    }
}

fn phase_name(phase: ureq::Timeout) -> &'static str {
    match phase {
        ureq::Timeout::Resolve | ureq::Timeout::Connect => "connect",
        ureq::Timeout::SendRequest | ureq::Timeout::SendBody | ureq::Timeout::PerWrite => "send",
        ureq::Timeout::RecvBody | ureq::Timeout::PerRead => "body",
        _ => "answer",
    }
}

/// Statuses after which the same call may succeed (contract, "Retries").
pub fn is_transient_status(status: u16) -> bool {
    matches!(status, 429 | 500 | 502 | 503 | 504)
}

/// The pauses before the second, third and fourth try (contract, "Retries"), before jitter.
const PAUSES: [Duration; 3] = [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(3)];

/// What one try came to.
pub enum Try<T, E> {
    /// It is decided, for good or ill.
    Settled(Result<T, E>),
    /// It may succeed later; `after` is the server's own word on when.
    Again {
        /// The error to report when no further try is made.
        error: E,
        /// From `Retry-After`, if the server sent one.
        after: Option<Duration>,
    },
}

impl<T, E> Try<T, E> {
    /// The same with another kind of error.
    pub fn map_err<F>(self, wrap: impl FnOnce(E) -> F) -> Try<T, F> {
        match self {
            Self::Settled(result) => Try::Settled(result.map_err(wrap)),
            Self::Again { error, after } => Try::Again { error: wrap(error), after },
        }
    }
}

/// Makes up to four tries, pausing 0.2, 1 and 3 s with jitter, or as long as the server says. When the pause would
/// outlast the deadline, the last error stands.
pub fn with_retries<T, E>(deadline: &Deadline, mut attempt: impl FnMut(u32) -> Try<T, E>) -> Result<T, E> {
    for (number, pause) in PAUSES.iter().enumerate() {
        match attempt(number as u32) {
            Try::Settled(result) => return result,
            Try::Again { error, after } => {
                if deadline.sleep(after.unwrap_or_else(|| jittered(*pause))).is_err() {
                    return Err(error);
                }
            }
        }
    }
    match attempt(PAUSES.len() as u32) {
        Try::Settled(result) => result,
        Try::Again { error, .. } => Err(error),
    }
}

/// Between half and the whole of `pause`, so that clients that failed together do not come back together.
pub fn jittered(pause: Duration) -> Duration {
    let random = f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX);
    pause.mul_f64(0.5 + 0.5 * random)
}

/// `Retry-After` as seconds or as an HTTP date (RFC 9110 section 10.2.3), at most an hour.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() && seconds >= 0.0 => Duration::from_secs_f64(seconds.min(3600.0)),
        Ok(_) => return None,
        Err(_) => {
            let at = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc2822).ok()?;
            Duration::try_from(at - time::OffsetDateTime::now_utc()).unwrap_or_default()
        }
    };
    Some(wait.min(Duration::from_secs(3600)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_stays_in_the_own_network() {
        for fine in [
            "http://127.0.0.1:1/",
            "http://localhost/",
            "http://10.1.2.3/",
            "http://192.168.0.9/",
            "http://[::1]/",
            "http://[fd00::1]/",
            "https://example.com/",
        ] {
            assert!(refuse_public_plain_http(&fine.parse().unwrap()).is_ok(), "{fine}");
        }
        for refused in ["http://8.8.8.8/", "http://[2001:4860::1]/", "http://[::ffff:8.8.8.8]/", "ftp://127.0.0.1/"] {
            assert!(refuse_public_plain_http(&refused.parse().unwrap()).is_err(), "{refused}");
        }
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", text.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(of("2"), Some(Duration::from_secs(2)));
        assert_eq!(of("99999999"), Some(Duration::from_secs(3600)));
        assert_eq!(of("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert_eq!(of("soon"), None);
        assert_eq!(of("-1"), None);
    }

    #[test]
    fn a_transient_failure_is_tried_four_times_and_a_settled_one_once() {
        let long = Deadline::after(Duration::from_secs(60));
        let mut tries = 0;
        let result: Result<(), &str> = with_retries(&long, |_| {
            tries += 1;
            Try::Again { error: "busy", after: Some(Duration::ZERO) }
        });
        assert_eq!((result, tries), (Err("busy"), 4));

        tries = 0;
        let result: Result<(), &str> = with_retries(&long, |_| {
            tries += 1;
            Try::Settled(Err("no"))
        });
        assert_eq!((result, tries), (Err("no"), 1));
    }

    #[test]
    fn a_pause_beyond_the_deadline_ends_the_tries() {
        let mut tries = 0;
        let result: Result<(), &str> = with_retries(&Deadline::after(Duration::from_millis(300)), |_| {
            tries += 1;
            Try::Again { error: "busy", after: Some(Duration::from_secs(9)) }
        });
        assert_eq!((result, tries), (Err("busy"), 1));
    }
}
