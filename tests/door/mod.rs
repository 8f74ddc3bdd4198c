//! A running HTTPS door with a certificate of its own, and clients that speak to it in raw bytes or HTTP/2.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use edgelabel::agent::{Error, Outcome, Pool, PoolLimits, Trigger};
use edgelabel::server::{Listeners, Server, Settings, TlsSettings};
use edgelabel::telemetry::Metrics;
use hmac::{Hmac, Mac};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Frame};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub const EDITOR: &str = "https://app.encord.com";
pub const IDS: &str = r#""projectHash":"027e0c65-c53f-426d-9f02-04fafe8bd80e","dataHash":"038ed92d-dbe8-4991-a3aa-6ede35d6e62d""#;

/// What the label editor sends for a frame.
pub fn trigger_body(frame: u64) -> String {
    format!("{{{IDS},\"frame\":{frame},\"objectHashes\":[]}}")
}

/// A request as the label editor's page sends it.
pub fn post(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: box.local\r\nOrigin: {EDITOR}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The headers that Encord's backend adds.
pub fn signed(secret: &str, body: &str) -> String {
    let timestamp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{timestamp}.{body}").as_bytes());
    let signature: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("X-Encord-Signature: {signature}\r\nX-Encord-Timestamp: {timestamp}\r\n")
}

/// A key and a certificate that signs itself.
pub struct Identity {
    certificate: rcgen::Certificate,
    key: rcgen::KeyPair,
}

impl Identity {
    pub fn new(name: &str) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec![name.into()]).unwrap().self_signed(&key).unwrap();
        Self { certificate, key }
    }

    pub fn pem(&self) -> String {
        self.certificate.pem()
    }
}

/// The server under test.
pub struct House {
    pub address: SocketAddr,
    pub settings: Settings,
    server: Option<Server>,
    tls: TlsSettings,
    /// What the stations trust: the certificate written last.
    anchor: Mutex<CertificateDer<'static>>,
    _dir: tempfile::TempDir,
}

impl House {
    pub fn open(change: impl FnOnce(&mut Settings), work: impl Fn(&Trigger) -> Result<Outcome, Error> + Send + Sync + 'static) -> Self {
        Self::open_with(PoolLimits { concurrent: 2, waiting: 8 }, change, work)
    }

    pub fn open_with(
        limits: PoolLimits,
        change: impl FnOnce(&mut Settings),
        work: impl Fn(&Trigger) -> Result<Outcome, Error> + Send + Sync + 'static,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tls = TlsSettings { certificate: dir.path().join("server.pem"), private_key: dir.path().join("server.key"), client_ca: None };
        let mut settings = Settings { listen: vec!["127.0.0.1:0".parse().unwrap()], tls: tls.clone(), ..Settings::default() };
        change(&mut settings);
        let anchor = Mutex::new(write_certificate(&tls, "box.local"));
        let listeners = Listeners::bind(&settings.listen).unwrap();
        let pool = Arc::new(Pool::new(limits, move |trigger, _| work(trigger)).unwrap());
        let server = Server::start(&settings, listeners, pool, Arc::new(Metrics::default())).unwrap();
        Self { address: server.addresses()[0], settings, server: Some(server), tls, anchor, _dir: dir }
    }

    pub fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    pub async fn close(&mut self, patience: Duration) {
        self.server.take().unwrap().close(patience).await;
    }

    pub fn certificate_file(&self) -> &PathBuf {
        &self.tls.certificate
    }

    pub fn write_certificate(&self, name: &str) {
        *self.anchor.lock().unwrap() = write_certificate(&self.tls, name);
    }

    pub async fn until_connections(&self, count: usize) {
        for _ in 0..500 {
            if self.server().connections() == count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} connections are left", self.server().connections());
    }

    pub async fn client(&self) -> Client {
        self.client_of(rustls::ALL_VERSIONS, None).await.unwrap()
    }

    pub async fn client_of(&self, versions: &[&'static SupportedProtocolVersion], identity: Option<&Identity>) -> std::io::Result<Client> {
        Ok(Client { stream: self.connect(versions, identity, b"http/1.1").await?, read: Vec::new() })
    }

    /// A client in raw bytes that has agreed on another protocol.
    pub async fn client_speaking(&self, protocol: &[u8]) -> Client {
        Client { stream: self.connect(rustls::ALL_VERSIONS, None, protocol).await.unwrap(), read: Vec::new() }
    }

    pub async fn http2(&self) -> SendRequest<AnyBody> {
        let stream = self.connect(rustls::ALL_VERSIONS, None, b"h2").await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    async fn connect(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        identity: Option<&Identity>,
        alpn: &[u8],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let builder = self.trusting(versions);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(identity.key.serialize_der()));
                builder.with_client_auth_cert(vec![identity.certificate.der().clone()], key).unwrap()
            }
        };
        config.alpn_protocols = vec![alpn.to_vec()];
        self.connect_with(Arc::new(config)).await
    }

    async fn connect_with(&self, config: Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
        self.connect_from(config, self.address.ip()).await
    }

    /// From an address of one's own, such as another one of loopback.
    async fn connect_from(&self, config: Arc<ClientConfig>, source: IpAddr) -> std::io::Result<TlsStream<TcpStream>> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(source, 0))?;
        let stream = socket.connect(self.address).await?;
        TlsConnector::from(config).connect(ServerName::try_from("box.local").unwrap(), stream).await
    }

    /// What one browser keeps between its connections: trust, and the tickets it was given.
    pub fn station(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        Arc::new(self.trusting(versions).with_no_client_auth())
    }

    pub async fn client_from(&self, source: IpAddr) -> std::io::Result<Client> {
        Ok(Client { stream: self.connect_from(self.station(rustls::ALL_VERSIONS), source).await?, read: Vec::new() })
    }

    pub async fn client_with(&self, station: &Arc<ClientConfig>) -> std::io::Result<Client> {
        Ok(Client { stream: self.connect_with(Arc::clone(station)).await?, read: Vec::new() })
    }

    fn trusting(
        &self,
        versions: &[&'static SupportedProtocolVersion],
    ) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
        let mut anchors = RootCertStore::empty();
        anchors.add(self.anchor.lock().unwrap().clone()).unwrap();
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(anchors)
    }
}

fn write_certificate(tls: &TlsSettings, name: &str) -> CertificateDer<'static> {
    let identity = Identity::new(name);
    std::fs::write(&tls.certificate, identity.pem()).unwrap();
    std::fs::write(&tls.private_key, identity.key.serialize_pem()).unwrap();
    std::fs::set_permissions(&tls.private_key, std::fs::Permissions::from_mode(0o600)).unwrap();
    identity.certificate.der().clone()
}

/// A client that sends exactly the bytes it is given.
pub struct Client {
    stream: TlsStream<TcpStream>,
    read: Vec<u8>,
}

/// An answer as it came over the wire.
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    pub fn message(&self) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {:?}", self.body));
        body["message"].as_str().expect("a message").to_owned()
    }
}

impl Client {
    pub async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    pub async fn send(&mut self, request: &str) -> Answer {
        // A server that answers early may stop reading; what counts is the answer.
        let _ = self.write(request.as_bytes()).await;
        self.answer().await
    }

    pub async fn answer(&mut self) -> Answer {
        tokio::time::timeout(Duration::from_secs(10), self.read_answer()).await.expect("an answer within 10 s")
    }

    async fn read_answer(&mut self) -> Answer {
        loop {
            if let Some(end) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8(self.read[..end].to_vec()).unwrap();
                let length = head.lines().find_map(|line| {
                    line.to_ascii_lowercase().strip_prefix("content-length:").map(|value| value.trim().parse::<usize>().unwrap())
                });
                let whole = end + 4 + length.unwrap_or(0);
                if self.read.len() >= whole {
                    let body = String::from_utf8(self.read[end + 4..whole].to_vec()).unwrap();
                    self.read.drain(..whole);
                    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
                    return Answer { status, head, body };
                }
            }
            let mut buffer = [0; 4096];
            let read = self.stream.read(&mut buffer).await.expect("a readable connection");
            assert!(read > 0, "the connection ended before the answer: {:?}", String::from_utf8_lossy(&self.read));
            self.read.extend_from_slice(&buffer[..read]);
        }
    }

    pub fn handshake_kind(&self) -> rustls::HandshakeKind {
        self.stream.get_ref().1.handshake_kind().unwrap()
    }

    /// What comes next, or `None` at the end.
    pub async fn text(&mut self) -> Option<String> {
        let mut buffer = [0; 4096];
        let read = self.stream.read(&mut buffer).await.unwrap_or(0);
        (read > 0).then(|| String::from_utf8_lossy(&buffer[..read]).into_owned())
    }

    /// Whether the server ends the connection, by goodbye or by error, in this time.
    pub async fn is_closed_within(&mut self, patience: Duration) -> bool {
        let mut buffer = [0; 64];
        matches!(tokio::time::timeout(patience, self.stream.read(&mut buffer)).await, Ok(Ok(0) | Err(_)))
    }
}

/// A request's body over HTTP/2: whole, or begun and never finished.
pub enum AnyBody {
    Whole(Full<Bytes>),
    Stalled(Option<Bytes>),
}

impl Body for AnyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(cx),
            Self::Stalled(begun) => begun.take().map_or(Poll::Pending, |bytes| Poll::Ready(Some(Ok(Frame::data(bytes))))),
        }
    }
}

pub fn stalled_body() -> AnyBody {
    AnyBody::Stalled(Some(Bytes::from_static(b"{")))
}

pub async fn ask_http2(sender: &mut SendRequest<AnyBody>, body: &str) -> (u16, hyper::HeaderMap, String) {
    ask_http2_with(sender, AnyBody::Whole(Full::new(Bytes::from(body.to_owned())))).await
}

pub async fn ask_http2_with(sender: &mut SendRequest<AnyBody>, body: AnyBody) -> (u16, hyper::HeaderMap, String) {
    let request =
        hyper::Request::post("https://box.local/").header("origin", EDITOR).header("content-type", "application/json").body(body).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status.as_u16(), head.headers, String::from_utf8(body.to_vec()).unwrap())
}
