//! The daemon's look at its own front door, for the watchdog: a real connection, a real handshake, a real request.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::door::Door;

/// Asks the server at `address` through its accept loop; an answer that is not the expected one is an error too.
pub(super) async fn probe(door: &Door, address: SocketAddr, patience: Duration) -> io::Result<()> {
    timeout(patience, ask(door, reachable(address)))
        .await
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, format!("the server at {address} did not answer itself"))))
}

async fn ask(door: &Door, address: SocketAddr) -> io::Result<()> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
    // Bound before it connects, and to the very address it calls, so that the accept loop can know it.
    socket.bind(SocketAddr::new(address.ip(), 0))?;
    let _known = Known::new(door, socket.local_addr()?);
    let stream = socket.connect(address).await?;
    let mut tls = connector(door)?.connect(ServerName::IpAddress(address.ip().into()), stream).await?;
    tls.write_all(b"GET / HTTP/1.1\r\nHost: edgelabel\r\nConnection: close\r\n\r\n").await?;
    let mut answer = [0; 12];
    tls.read_exact(&mut answer).await?;
    if &answer == b"HTTP/1.1 204" {
        Ok(())
    } else {
        Err(io::Error::other(format!("the server at {address} gave itself an unexpected answer")))
    }
}

/// Keeps a probe's address in the door's list while it runs.
struct Known<'a> {
    door: &'a Door,
    address: SocketAddr,
}

impl<'a> Known<'a> {
    fn new(door: &'a Door, address: SocketAddr) -> Self {
        door.probes.lock().unwrap_or_else(PoisonError::into_inner).insert(address);
        Self { door, address }
    }
}

impl Drop for Known<'_> {
    fn drop(&mut self) {
        self.door.probes.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.address);
    }
}

/// A wildcard address is reached through loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port()),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::new(Ipv6Addr::LOCALHOST.into(), address.port()),
        _ => address,
    }
}

fn connector(door: &Door) -> io::Result<TlsConnector> {
    let provider = Arc::new(default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(OurLeaf { leaf: door.tls.leaf(), provider }))
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Accepts the certificate that this very process serves, whatever names and dates it has, and no other.
#[derive(Debug)]
struct OurLeaf {
    leaf: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for OurLeaf {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if end_entity.as_ref() == self.leaf.as_ref() {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::General("the certificate is not the one this process serves".into()))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
