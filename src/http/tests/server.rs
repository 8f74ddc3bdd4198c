//! Servers on loopback that send what a test tells them to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::{HandshakeKind, ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// What a server has seen.
#[derive(Default)]
struct Counts {
    connections: AtomicUsize,
    requests: AtomicUsize,
    resumed: AtomicUsize,
    first_lines: Mutex<Vec<String>>,
}

pub(super) struct Server {
    pub(super) url: String,
    counts: Arc<Counts>,
}

impl Server {
    pub(super) fn connections(&self) -> usize {
        self.counts.connections.load(Ordering::SeqCst)
    }

    pub(super) fn requests(&self) -> usize {
        self.counts.requests.load(Ordering::SeqCst)
    }

    pub(super) fn seen(&self) -> Vec<String> {
        self.counts.first_lines.lock().unwrap().clone()
    }
}

pub(super) struct TlsServer {
    pub(super) url: String,
    pub(super) address: SocketAddr,
    pub(super) certificate_file: tempfile::NamedTempFile,
    counts: Arc<Counts>,
}

impl TlsServer {
    pub(super) fn connections(&self) -> usize {
        self.counts.connections.load(Ordering::SeqCst)
    }

    pub(super) fn resumed(&self) -> usize {
        self.counts.resumed.load(Ordering::SeqCst)
    }
}

fn accept(each: impl Fn(TcpStream, &Counts) + Send + Sync + 'static) -> (SocketAddr, Arc<Counts>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let counts = Arc::new(Counts::default());
    let shared = (Arc::clone(&counts), Arc::new(each));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (counts, each) = shared.clone();
            counts.connections.fetch_add(1, Ordering::SeqCst);
            thread::spawn(move || each(stream.unwrap(), &counts));
        }
    });
    (address, counts)
}

/// Answers each request with what `answer` makes of its first line and the number of requests before it.
pub(super) fn serve(answer: impl Fn(&str, usize) -> String + Send + Sync + 'static) -> Server {
    let (address, counts) = accept(move |stream, counts| {
        let writer = stream.try_clone().unwrap();
        converse(BufReader::new(stream), writer, counts, &answer);
    });
    Server { url: format!("http://{address}/"), counts }
}

/// As [`serve`], with TLS.
pub(super) fn serve_tls(
    (certificate, key): (CertificateDer<'static>, PrivateKeyDer<'static>),
    answer: impl Fn(&str, usize) -> String + Send + Sync + 'static,
) -> TlsServer {
    let mut certificate_file = tempfile::NamedTempFile::new().unwrap();
    let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &certificate);
    write!(certificate_file, "-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n").unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let config = Arc::new(config);
    let (address, counts) = accept(move |mut stream, counts| {
        let mut tls = ServerConnection::new(Arc::clone(&config)).unwrap();
        while tls.is_handshaking() {
            if tls.complete_io(&mut stream).is_err() {
                return;
            }
        }
        if tls.handshake_kind() == Some(HandshakeKind::Resumed) {
            counts.resumed.fetch_add(1, Ordering::SeqCst);
        }
        let shared = Shared(Arc::new(Mutex::new(StreamOwned::new(tls, stream))));
        converse(BufReader::new(shared.clone()), shared, counts, &answer);
    });
    TlsServer { url: format!("https://{address}/"), address, certificate_file, counts }
}

/// A proxy that tunnels everything to one server.
pub(super) fn serve_proxy(target: SocketAddr) -> Server {
    let (address, counts) = accept(move |mut stream, counts| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let Some(first) = read_head(&mut reader) else { return };
        counts.first_lines.lock().unwrap().push(first);
        let mut server = TcpStream::connect(target).unwrap();
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
        let (mut upwards, mut back) = (server.try_clone().unwrap(), stream.try_clone().unwrap());
        thread::spawn(move || std::io::copy(&mut reader, &mut upwards));
        let _ = std::io::copy(&mut server, &mut back);
    });
    Server { url: format!("http://{address}"), counts }
}

/// A certificate for 127.0.0.1 and store.invalid, from the first of January of one year to that of another.
pub(super) fn certificate(from: i32, to: i32) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".into(), "store.invalid".into()]).unwrap();
    params.not_before = rcgen::date_time_ymd(from, 1, 1);
    params.not_after = rcgen::date_time_ymd(to, 1, 1);
    // Each test's authority is a stranger to the others.
    params.distinguished_name.push(rcgen::DnType::CommonName, format!("test {}", getrandom::u64().unwrap()));
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    (certificate.der().clone(), PrivateKeyDer::Pkcs8(key.serialize_der().into()))
}

#[derive(Clone)]
struct Shared(Arc<Mutex<StreamOwned<ServerConnection, TcpStream>>>);

impl Read for Shared {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().read(buffer)
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.lock().unwrap().flush()
    }
}

fn read_head(reader: &mut impl BufRead) -> Option<String> {
    let mut first = None;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => return first,
            text => _ = first.get_or_insert_with(|| text.to_owned()),
        }
    }
}

fn converse(mut reader: impl BufRead, mut writer: impl Write, counts: &Counts, answer: &(impl Fn(&str, usize) -> String + ?Sized)) {
    loop {
        // An answer that resets does so by leaving the request unread.
        let Ok([_, ..]) = reader.fill_buf() else { return };
        let number = counts.requests.load(Ordering::SeqCst);
        if answer("", number) == "<reset>" {
            return;
        }
        let Some(first) = read_head(&mut reader) else { return };
        counts.requests.fetch_add(1, Ordering::SeqCst);
        let text = answer(&first, number);
        let sent = text.split('<').next().unwrap_or_default();
        if writer.write_all(sent.as_bytes()).and_then(|()| writer.flush()).is_err() {
            return;
        }
        if text.ends_with("<hang>") {
            thread::sleep(Duration::from_secs(5));
        }
        while text.ends_with("<trickle>") && writer.write_all(b".").is_ok() {
            thread::sleep(Duration::from_millis(50));
        }
        let length = sent.split_once("Content-Length: ").and_then(|(_, rest)| rest.split_once("\r\n")?.0.parse::<usize>().ok());
        let body = sent.split_once("\r\n\r\n").map_or(0, |(_, body)| body.len());
        if length != Some(body) || sent.contains("Connection: close") {
            return;
        }
    }
}
