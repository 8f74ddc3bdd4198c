//! The HTTPS door for the label editor, and the admin address for people and monitoring on the box.

mod accept;
pub mod admin;
mod auth;
pub mod authority;
mod body;
pub mod certificate;
mod connection;
mod cors;
mod door;
mod fuzz;
mod guests;
mod issuing;
pub(crate) mod keyfile;
mod listen;
pub mod names;
mod patience;
mod payload;
mod probe;
mod rates;
mod renewal;
mod reply;
mod route;
mod rules;
pub mod settings;
pub(crate) mod switch;
mod tls;
mod vouching;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::watch;

pub use admin::{Admin, AdminView, Status};
pub use certificate::CertificateFacts;
pub use door::BrowserCall;
#[doc(hidden)]
pub use fuzz::{fuzz_payload, fuzz_signature};
pub use listen::Listeners;
pub use settings::{AdminSettings, DEFAULT_ORIGINS, Limits, Network, Settings, SignaturePolicy, TlsSettings};
pub use tls::{CertificateState, TlsError};

use self::authority::AuthorityFiles;
use self::door::{Door, Phase};
use self::rules::Rules;
use self::tls::Tls;
use crate::agent::Pool;
use crate::telemetry::Metrics;

/// Why the HTTPS door cannot open.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A listening socket cannot be used.
    #[error(transparent)]
    Listen(#[from] io::Error),
}

/// The HTTPS door, open from [`Server::start`] to [`Server::close`].
pub struct Server {
    door: Arc<Door>,
    addresses: Vec<SocketAddr>,
    phase: watch::Sender<Phase>,
}

impl Server {
    /// Loads the certificate and begins to answer on `listeners`. To be called within a tokio runtime.
    pub fn start(settings: &Settings, listeners: Listeners, pool: Arc<Pool>, metrics: Arc<Metrics>) -> Result<Self, StartError> {
        authority::heal(&AuthorityFiles::beside(&settings.tls));
        let tls = Tls::load(settings.tls.clone())?;
        let (phase, watched) = watch::channel(Phase::Serving);
        let door = Arc::new(Door::new(Rules::new(settings), tls, pool, metrics, watched));
        let (sockets, passed) = listeners.into_parts();
        let last = if passed { Phase::Serving } else { Phase::Draining };
        let mut addresses = Vec::new();
        for socket in sockets {
            socket.set_nonblocking(true)?;
            let listener = TcpListener::from_std(socket)?;
            let address = listener.local_addr()?;
            tracing::info!(%address, passed, "listening");
            addresses.push(address);
            tokio::spawn(accept::accept_until(last, Arc::clone(&door), listener));
        }
        tokio::spawn(renewal::keep_valid(Arc::clone(&door)));
        Ok(Self { door, addresses, phase })
    }

    /// Where the door is, with the ports that the kernel chose for port 0.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Takes new settings, whole or not at all, without closing a connection. Addresses and the number of places take a
    /// restart.
    pub fn reconfigure(&self, settings: &Settings) -> Result<(), TlsError> {
        self.door.tls.reload(settings.tls.clone())?;
        self.door.set_rules(Rules::new(settings));
        Ok(())
    }

    /// The certificate in use, and what is wrong with the files on disk.
    pub fn certificate(&self) -> CertificateState {
        self.door.tls.state()
    }

    /// The last call of the label editor's page, if there was one since the start.
    pub fn last_browser_call(&self) -> Option<BrowserCall> {
        self.door.last_call()
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.door.guests.count()
    }

    /// Calls every own address over TLS, as a browser would: proves that the accept loop and the router move.
    pub async fn probe(&self, patience: Duration) -> io::Result<()> {
        for address in &self.addresses {
            probe::probe(&self.door, *address, patience).await?;
        }
        Ok(())
    }

    /// From now on new triggers are refused, to come back later. Connections end after their next answer: one that a
    /// browser has opened and not used yet would otherwise fail under its first request, without a word to the page.
    pub fn drain(&self) {
        tracing::info!(connections = self.connections(), "draining: running triggers finish, new ones are refused");
        self.phase.send_replace(Phase::Draining);
    }

    /// Ends idle connections, waits until the last answer is out, at most `patience`, then ends every connection.
    pub async fn close(&self, patience: Duration) {
        self.phase.send_replace(Phase::Leaving);
        let end = Instant::now() + patience;
        while self.connections() > 0 && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.phase.send_replace(Phase::Closed);
    }
}
