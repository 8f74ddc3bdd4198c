//! A caller in raw bytes, who may stay silent, or leave before the answer.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::daemon::{Daemon, ORIGIN};

/// TLS settings that trust the daemon's own authority, for one application protocol.
pub fn trusting(daemon: &Daemon, protocol: &[u8]) -> Arc<ClientConfig> {
    let mut anchors = RootCertStore::empty();
    anchors.add(CertificateDer::from_pem_slice(daemon.authority().as_bytes()).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(anchors)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    Arc::new(config)
}

/// One connection over HTTP/1.1. Dropping it is leaving.
pub struct Caller {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

impl Caller {
    /// Connects and shakes hands; asks nothing yet.
    pub fn connect(daemon: &Daemon) -> Self {
        let mut socket = TcpStream::connect(("127.0.0.1", daemon.port())).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut session = ClientConnection::new(trusting(daemon, b"http/1.1"), ServerName::try_from("localhost").unwrap()).unwrap();
        while session.is_handshaking() {
            session.complete_io(&mut socket).unwrap();
        }
        Self { stream: StreamOwned::new(session, socket) }
    }

    /// Asks as the label editor does, and does not wait.
    pub fn ask(&mut self, path: &str, body: &str) -> std::io::Result<()> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nOrigin: {ORIGIN}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.stream.write_all((head + body).as_bytes())?;
        self.stream.flush()
    }

    /// The head of the next answer.
    pub fn read_head(&mut self) -> String {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && self.stream.read(&mut byte).is_ok_and(|read| read > 0) {
            head.push(byte[0]);
        }
        String::from_utf8_lossy(&head).into_owned()
    }

    /// All that comes until the connection ends.
    pub fn read_to_end(&mut self) -> String {
        let mut all = Vec::new();
        // A server that ends without saying goodbye is an error to rustls; what came before it counts.
        let _ = self.stream.read_to_end(&mut all);
        String::from_utf8_lossy(&all).into_owned()
    }
}
