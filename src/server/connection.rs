//! One connection from its first byte to its last.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::door::{Door, Phase};
use super::guests::Guest;
use super::patience::Patient;
use super::reply::message_body;
use super::route::{self, Visit};
use super::settings::Limits;
use crate::ids::RequestId;

/// First byte of a TLS record that carries a handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// hyper refuses headers larger than this by itself, with an empty 431 that no page can read: it gives up before it has
/// parsed them, so the page's origin is not known, and what it sends is not ours to add to. Smaller ones that are still
/// too large are refused by the router, which can explain. What the label editor sends is about 1 KiB. Much more would
/// be held in memory for every connection there may be.
const HYPER_HEADER_BYTES: usize = 64 * 1024;
const HYPER_HEADERS: usize = 256;

/// What a caller may send ahead on one HTTP/2 connection before we have read it.
const HTTP2_WINDOW: u32 = 64 * 1024;

/// Serves a connection until it ends by itself, is too slow, has to make room, or the server closes.
pub(super) async fn serve(door: Arc<Door>, stream: TcpStream, address: SocketAddr, guest: Guest) {
    let is_probe = door.is_probe(address);
    let rules = door.rules();
    // Answers are small and come at once; waiting for more bytes to send would only delay them.
    let _ = stream.set_nodelay(true);
    let mut phase = door.phase.clone();
    phase.mark_unchanged();
    let tls = tokio::select! {
        greeted = timeout(rules.limits.handshake_time, greet(&door, stream, address, is_probe)) => greeted,
        () = guest.pulse.evicted() => return,
        () = closed(&mut phase) => return,
    };
    let Ok(Some(tls)) = tls else { return };
    let http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
    let io = TokioIo::new(Patient::new(tls, Arc::clone(&guest.pulse), rules.limits, !http2));
    let visit = Arc::new(Visit { address, pulse: Arc::clone(&guest.pulse), is_probe });
    let service = {
        let door = Arc::clone(&door);
        service_fn(move |request| {
            let (door, visit) = (Arc::clone(&door), Arc::clone(&visit));
            async move { Ok::<_, Infallible>(route::answer(&door, &visit, request).await) }
        })
    };
    if http2 {
        drive(http2_settings(&rules.limits).serve_connection(io, service), &guest, phase).await;
    } else {
        drive(http1_settings(&rules.limits).serve_connection(io, service), &guest, phase).await;
    }
}

fn http1_settings(limits: &Limits) -> http1::Builder {
    let mut settings = http1::Builder::new();
    // The timers of `Patient` take the place of hyper's.
    settings
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(HYPER_HEADER_BYTES.max(2 * limits.header_bytes))
        .max_headers(HYPER_HEADERS);
    settings
}

fn http2_settings(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut settings = http2::Builder::new(TokioExecutor::new());
    settings
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_per_connection)
        .max_header_list_size(u32::try_from(HYPER_HEADER_BYTES.max(2 * limits.header_bytes)).unwrap_or(u32::MAX))
        .initial_stream_window_size(HTTP2_WINDOW)
        .initial_connection_window_size(HTTP2_WINDOW)
        .max_send_buf_size(64 * 1024)
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(100);
    settings
}

/// The TLS handshake; a caller who speaks plain HTTP is told so.
async fn greet(door: &Door, stream: TcpStream, address: SocketAddr, is_probe: bool) -> Option<TlsStream<TcpStream>> {
    let mut first = [0];
    match stream.peek(&mut first).await {
        Ok(1) if first[0] == TLS_HANDSHAKE => {}
        Ok(1) => {
            door.metrics.handshake_failed();
            let _ = explain_tls(stream).await;
            return None;
        }
        _ => return None,
    }
    match TlsAcceptor::from(door.tls.for_handshake(is_probe)).accept(stream).await {
        Ok(tls) => Some(tls),
        Err(wrong) => {
            door.metrics.handshake_failed();
            note_failed_handshake(door, address, &wrong);
            None
        }
    }
}

fn note_failed_handshake(door: &Door, address: SocketAddr, wrong: &io::Error) {
    tracing::debug!(%address, "TLS handshake failed: {wrong}");
    let text = wrong.to_string();
    // What browsers and TLS libraries send when they know no anchor for the certificate.
    if ["CertificateUnknown", "UnknownCA", "BadCertificate"].iter().any(|alert| text.contains(alert)) {
        door.handshakes.say(|unsaid| {
            tracing::warn!(
                address = %address.ip(), unsaid,
                "a caller does not trust this box's certificate: install its CA certificate there (`edgelabel cert show`)"
            );
        });
    }
}

/// Answers plain HTTP on the HTTPS port.
async fn explain_tls(mut stream: TcpStream) -> io::Result<()> {
    let mut scratch = [0; 4096];
    let _ = timeout(Duration::from_secs(1), stream.read(&mut scratch)).await;
    let body = message_body("this port speaks HTTPS: use https:// in the address", RequestId::random());
    let head = format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await?;
    stream.shutdown().await?;
    // Unread bytes would turn the goodbye into a reset, which can take the answer with it.
    let drained = async { while stream.read(&mut scratch).await.is_ok_and(|read| read > 0) {} };
    let _ = timeout(Duration::from_secs(1), drained).await;
    Ok(())
}

async fn drive<C>(connection: C, guest: &Guest, mut phase: watch::Receiver<Phase>)
where
    C: GracefulConnection,
    C::Error: std::fmt::Debug,
{
    let mut connection = pin!(connection);
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(wrong) = ended {
                    tracing::debug!("connection ended: {wrong:?}");
                }
                return;
            }
            () = guest.pulse.evicted() => return,
            () = guest.pulse.worn_out.notified() => connection.as_mut().graceful_shutdown(),
            changed = phase.changed() => {
                match *phase.borrow_and_update() {
                    _ if changed.is_err() => return,
                    Phase::Closed => return,
                    // A silent connection is left open: its next request is told that the box is shutting down.
                    Phase::Serving | Phase::Draining if !guest.pulse.is_active() => {}
                    Phase::Serving | Phase::Draining | Phase::Leaving => connection.as_mut().graceful_shutdown(),
                }
            }
        }
    }
}

async fn closed(phase: &mut watch::Receiver<Phase>) {
    // An error means that the server is gone, which is closed enough.
    let _ = phase.wait_for(|phase| *phase == Phase::Closed).await;
}
