//! A small HTTP/1.1 server on threads that, unlike a good library, can also misbehave on purpose: cut a body, drip
//! it, reset the connection, answer garbage.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use time::format_description::well_known::Rfc2822;

/// A request as received.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// Path and query exactly as they stood on the request line: what a signature covers.
    pub target: String,
    pub path: String,
    /// Percent-decoded names and values.
    pub query: Vec<(String, String)>,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Which connection it came on; keep-alive shows as a repeated number.
    pub connection: u64,
    /// When its head was complete.
    pub at: Instant,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }
}

/// How an answer goes over the wire.
#[derive(Debug, Clone)]
pub enum Delivery {
    Whole,
    /// The full length is announced, but the connection ends after so many bytes of the body.
    Cut(usize),
    /// All of it, after this long.
    Late(Duration),
    /// The body drips at so many bytes a second.
    Slow(usize),
    /// No answer at all: the connection is reset.
    Reset,
    /// These bytes instead of HTTP.
    Garbage(Vec<u8>),
}

/// An answer to send.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub delivery: Delivery,
}

impl Reply {
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        Self { status, headers, body: body.into(), delivery: Delivery::Whole }
    }

    pub fn json(status: u16, value: &serde_json::Value) -> Self {
        Self::new(status, "application/json", value.to_string())
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub fn deliver(mut self, delivery: Delivery) -> Self {
        self.delivery = delivery;
        self
    }
}

/// Answers requests; told afterwards how many bytes of the body really went out.
pub trait Handler: Send + Sync + 'static {
    fn answer(&self, request: &Request) -> Reply;

    fn sent(&self, request: &Request, body_bytes: u64) {
        let _ = (request, body_bytes);
    }
}

/// A listening server. It stops when dropped.
pub struct Server {
    pub address: SocketAddr,
    /// `http://127.0.0.1:port` or `https://localhost:port`.
    pub url: String,
    gate: Arc<Gate>,
}

/// Whether connections are taken, and those that are.
pub struct Gate {
    address: SocketAddr,
    /// `None` while connections are refused.
    listener: Mutex<Option<Arc<TcpListener>>>,
    opened: Condvar,
    stop: AtomicBool,
    /// Open connections, and whether each is being answered.
    live: Mutex<HashMap<u64, (TcpStream, bool)>>,
}

impl Gate {
    /// From now on connections are refused, as if nothing listened there: those that are idle end now, those that are
    /// being answered after their answer.
    pub fn refuse(&self) {
        if let Some(listener) = self.listener.lock().unwrap().take() {
            // Wakes the one who waits for connections, too.
            let _ = rustix::net::shutdown(&*listener, rustix::net::Shutdown::Both);
        }
        for (stream, _) in self.live.lock().unwrap().values().filter(|(_, busy)| !busy) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    /// Takes connections again, at the same address.
    pub fn admit(&self) {
        let mut listener = self.listener.lock().unwrap();
        if listener.is_none() {
            *listener = Some(Arc::new(TcpListener::bind(self.address).unwrap()));
            self.opened.notify_all();
        }
    }

    fn is_refusing(&self) -> bool {
        self.listener.lock().unwrap().is_none()
    }

    fn wait_for_listener(&self) -> Option<Arc<TcpListener>> {
        let mut listener = self.listener.lock().unwrap();
        while listener.is_none() && !self.stop.load(Ordering::SeqCst) {
            listener = self.opened.wait(listener).unwrap();
        }
        if self.stop.load(Ordering::SeqCst) { None } else { listener.clone() }
    }

    fn busy(&self, connection: u64, is_busy: bool) {
        if let Some(entry) = self.live.lock().unwrap().get_mut(&connection) {
            entry.1 = is_busy;
        }
    }
}

const LARGEST_BODY: usize = 64 << 20;

impl Server {
    /// Listens on loopback; port 0 takes any free one.
    pub fn start(port: u16, tls: Option<Arc<rustls::ServerConfig>>, handler: Arc<dyn Handler>) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port))?;
        let address = listener.local_addr()?;
        let url = match tls {
            None => format!("http://{address}"),
            Some(_) => format!("https://localhost:{}", address.port()),
        };
        let gate = Arc::new(Gate {
            address,
            listener: Mutex::new(Some(Arc::new(listener))),
            opened: Condvar::new(),
            stop: AtomicBool::new(false),
            live: Mutex::default(),
        });
        let for_thread = gate.clone();
        std::thread::spawn(move || accept(&for_thread, tls, &handler));
        Ok(Self { address, url, gate })
    }

    pub fn gate(&self) -> Arc<Gate> {
        self.gate.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.gate.stop.store(true, Ordering::SeqCst);
        self.gate.refuse();
        self.gate.opened.notify_all();
    }
}

fn accept(gate: &Arc<Gate>, tls: Option<Arc<rustls::ServerConfig>>, handler: &Arc<dyn Handler>) {
    static CONNECTIONS: AtomicU64 = AtomicU64::new(1);
    while let Some(listener) = gate.wait_for_listener() {
        // An error is a caller who has left already, or the end of this listener.
        let Ok((stream, _)) = listener.accept() else { continue };
        let (tls, handler, gate) = (tls.clone(), handler.clone(), gate.clone());
        let connection = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
        if let Ok(held) = stream.try_clone() {
            gate.live.lock().unwrap().insert(connection, (held, false));
        }
        std::thread::spawn(move || {
            let _ = serve(stream, tls, handler.as_ref(), &gate, connection);
            gate.live.lock().unwrap().remove(&connection);
        });
    }
}

/// What a connection reads from and writes to, TLS or not.
trait Wire: Read + Write {
    fn socket(&self) -> &TcpStream;
}

impl Wire for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Wire for rustls::StreamOwned<rustls::ServerConnection, TcpStream> {
    fn socket(&self) -> &TcpStream {
        &self.sock
    }
}

fn serve(stream: TcpStream, tls: Option<Arc<rustls::ServerConfig>>, handler: &dyn Handler, gate: &Gate, connection: u64) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(120)))?;
    // Small, so that the bytes counted as sent are near the bytes received by a client that hangs up.
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(&stream, 64 << 10);
    let wire: Box<dyn Wire> = match tls {
        None => Box::new(stream),
        Some(config) => {
            let session = rustls::ServerConnection::new(config).map_err(io::Error::other)?;
            Box::new(rustls::StreamOwned::new(session, stream))
        }
    };
    let mut wire = BufReader::new(wire);
    while let Some(request) = read_request(&mut wire, connection)? {
        gate.busy(connection, true);
        if gate.is_refusing() {
            return Ok(());
        }
        let mut reply = handler.answer(&request);
        // Said in the answer, so that the caller makes a new connection for the next request, and is refused.
        if gate.is_refusing() {
            reply = reply.header("connection", "close");
        }
        let (sent, keep) = write_reply(wire.get_mut().as_mut(), &request, &reply);
        handler.sent(&request, sent);
        gate.busy(connection, false);
        if !keep || gate.is_refusing() {
            return Ok(());
        }
    }
    Ok(())
}

fn read_request(wire: &mut BufReader<Box<dyn Wire>>, connection: u64) -> io::Result<Option<Request>> {
    let Some(line) = read_line(wire)? else { return Ok(None) };
    let mut words = line.split(' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(io::Error::other("not a request line"));
    };
    let mut headers = Vec::new();
    loop {
        match read_line(wire)? {
            None => return Ok(None),
            Some(line) if line.is_empty() => break,
            Some(line) => {
                let (name, value) = line.split_once(':').unwrap_or((&line, ""));
                headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
            }
        }
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let mut request = Request {
        method: method.to_owned(),
        target: target.to_owned(),
        path: path.to_owned(),
        query,
        headers,
        body: Vec::new(),
        connection,
        at: Instant::now(),
    };
    if request.header("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
        wire.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    request.body = read_body(wire, &request)?;
    Ok(Some(request))
}

fn read_line(wire: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    wire.take(64 << 10).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    while line.last().is_some_and(|byte| matches!(byte, b'\r' | b'\n')) {
        line.pop();
    }
    Ok(Some(String::from_utf8_lossy(&line).into_owned()))
}

fn read_body(wire: &mut impl BufRead, request: &Request) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if request.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        loop {
            let line = read_line(wire)?.unwrap_or_default();
            let length = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16).map_err(io::Error::other)?;
            if length == 0 {
                while read_line(wire)?.is_some_and(|line| !line.is_empty()) {}
                return Ok(body);
            }
            let start = body.len();
            bounded(start + length)?;
            body.resize(start + length, 0);
            wire.read_exact(&mut body[start..])?;
            read_line(wire)?;
        }
    }
    let length = request.header("content-length").map_or(Ok(0), str::parse::<usize>).map_err(io::Error::other)?;
    bounded(length)?;
    body.resize(length, 0);
    wire.read_exact(&mut body)?;
    Ok(body)
}

fn bounded(length: usize) -> io::Result<()> {
    if length > LARGEST_BODY { Err(io::Error::other("body too large")) } else { Ok(()) }
}

/// Sends the answer; returns the bytes of the body that went out and whether the connection stays open.
fn write_reply(wire: &mut dyn Wire, request: &Request, reply: &Reply) -> (u64, bool) {
    match &reply.delivery {
        Delivery::Reset => {
            // With a zero linger, closing sends RST instead of FIN.
            let _ = rustix::net::sockopt::set_socket_linger(wire.socket(), Some(Duration::ZERO));
            return (0, false);
        }
        Delivery::Garbage(bytes) => {
            let _ = wire.write_all(bytes).and_then(|()| wire.flush());
            return (0, false);
        }
        Delivery::Late(pause) => std::thread::sleep(*pause),
        _ => {}
    }
    let date = http_date(time::OffsetDateTime::now_utc());
    let mut head = format!("HTTP/1.1 {} {}\r\n", reply.status, reason(reply.status));
    if !reply.headers.iter().any(|(name, _)| name == "date") {
        head.push_str(&format!("date: {date}\r\n"));
    }
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    // A HEAD answer names the length that GET would have; a handler says so itself when it differs from the body.
    if reply.status != 204 && !reply.headers.iter().any(|(name, _)| name == "content-length") {
        head.push_str(&format!("content-length: {}\r\n", reply.body.len()));
    }
    head.push_str("\r\n");
    let head_only = request.method == "HEAD" || reply.status == 204;
    let body = if head_only { &[][..] } else { &reply.body[..] };
    let (body, whole) = match reply.delivery {
        Delivery::Cut(length) => (&body[..length.min(body.len())], false),
        _ => (body, true),
    };
    let (chunk, pause) = match reply.delivery {
        // Ten drips a second.
        Delivery::Slow(rate) => ((rate / 10).max(1), Duration::from_millis(100)),
        _ => (64 << 10, Duration::ZERO),
    };
    let mut first = head.into_bytes();
    let with_head = if pause.is_zero() { body.len().min(16 << 10) } else { 0 };
    first.extend_from_slice(&body[..with_head]);
    if wire.write_all(&first).is_err() {
        return (0, false);
    }
    let mut sent = with_head;
    while sent < body.len() {
        std::thread::sleep(pause);
        let end = body.len().min(sent + chunk);
        if wire.write_all(&body[sent..end]).and_then(|()| wire.flush()).is_err() {
            return (sent as u64, false);
        }
        sent = end;
    }
    let keep = whole && wire.flush().is_ok() && request.header("connection").is_none_or(|value| !value.eq_ignore_ascii_case("close"));
    (sent as u64, keep)
}

/// A time as HTTP headers write it.
pub fn http_date(at: time::OffsetDateTime) -> String {
    at.format(&Rfc2822).unwrap_or_default().replace("+0000", "GMT")
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        206 => "Partial Content",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        412 => "Precondition Failed",
        416 => "Range Not Satisfiable",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Status",
    }
}
