//! What goes wrong with an exchange, told apart by what can be done about it.

use std::io;

use crate::deadline::Expired;

use super::reach::PublicAddress;

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
    /// The request's budget is spent, or its caller has left.
    #[error(transparent)]
    Deadline(#[from] Expired),
}

impl Fault {
    /// Whether the same call may succeed when made again at once.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::NoSuchHost { .. } | Self::Connect { .. } | Self::Timeout { .. } | Self::Broken { .. })
    }

    /// Whether there was no connection, so that nothing of the request has left this box.
    pub fn is_unsent(&self) -> bool {
        matches!(self, Self::NoSuchHost { .. } | Self::Connect { .. } | Self::Timeout { phase: "connect", .. })
    }
}

/// The part of an exchange in which a fault came up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Up to the end of the answer's head.
    Head,
    /// Within the answer's body.
    Body,
}

impl Fault {
    /// Understands an error of the HTTP client.
    pub(super) fn of(error: ureq::Error, host: &str, part: Part) -> Self {
        let host = host.to_owned();
        match error {
            ureq::Error::HostNotFound => Self::NoSuchHost { host },
            ureq::Error::ConnectionFailed => Self::Connect { host, cause: "connection failed".into() },
            ureq::Error::ConnectProxyFailed(cause) => Self::Connect { host, cause: format!("the proxy refuses: {cause}") },
            ureq::Error::Timeout(phase) => Self::Timeout { host, phase: phase_name(phase, part) },
            ureq::Error::Io(error) => Self::of_io(error, host, part),
            ureq::Error::Rustls(error) => Self::of_tls(&error, host),
            ureq::Error::Tls(cause) => Self::Tls { host, cause: cause.into(), dates: false },
            ureq::Error::BadUri(_) => Self::BadUrl("not an absolute http address".into()),
            ureq::Error::Other(inner) if inner.is::<PublicAddress>() => Self::PlainHttp { host },
            ureq::Error::Other(inner) if inner.is::<Expired>() => Self::Deadline(Expired::Left),
            other => Self::Broken { host, cause: other.to_string() },
        }
    }

    /// Understands an error that came up while a body was read: the client wraps its own errors there.
    pub(super) fn of_body(error: io::Error, host: &str) -> Self {
        Self::of(ureq::Error::from(error), host, Part::Body)
    }

    fn of_io(error: io::Error, host: String, part: Part) -> Self {
        use io::ErrorKind;
        if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Self::of_tls(tls, host);
        }
        match error.kind() {
            ErrorKind::ConnectionRefused
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::AddrNotAvailable
            | ErrorKind::NetworkDown => Self::Connect { host, cause: error.to_string() },
            ErrorKind::TimedOut | ErrorKind::WouldBlock => {
                Self::Timeout { host, phase: if part == Part::Body { "body" } else { "answer" } }
            }
            _ => Self::Broken { host, cause: error.to_string() },
        }
    }

    fn of_tls(error: &rustls::Error, host: String) -> Self {
        use rustls::CertificateError as C;
        let dates = matches!(
            error,
            rustls::Error::InvalidCertificate(C::Expired | C::ExpiredContext { .. } | C::NotValidYet | C::NotValidYetContext { .. })
        );
        let cause = match error {
            rustls::Error::InvalidCertificate(C::ExpiredContext { time, not_after }) => {
                out_of_dates(format!("expired {} ago", span(time.as_secs().saturating_sub(not_after.as_secs()))), *time)
            }
            rustls::Error::InvalidCertificate(C::NotValidYetContext { time, not_before }) => {
                out_of_dates(format!("begins to be valid in {}", span(not_before.as_secs().saturating_sub(time.as_secs()))), *time)
            }
            other => other.to_string(),
        };
        Self::Tls { host, cause, dates }
    }
}

/// Either the certificate is wrong or the clock is; only a person can tell which.
fn out_of_dates(how: String, now: rustls_pki_types::UnixTime) -> String {
    let today = i64::try_from(now.as_secs()).ok().and_then(|now| time::OffsetDateTime::from_unix_timestamp(now).ok());
    let today = today.map(|now| format!(" ({})", now.date())).unwrap_or_default();
    format!("its certificate {how} by the clock of this box{today}: set the clock if it is wrong, else have the certificate renewed")
}

/// A stretch of time for people, in one unit.
pub fn span(seconds: u64) -> String {
    match seconds {
        0..7200 => format!("{seconds} s"),
        7200..172_800 => format!("{} hours", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn phase_name(phase: ureq::Timeout, part: Part) -> &'static str {
    match (phase, part) {
        (_, Part::Body) => "body",
        (ureq::Timeout::Resolve | ureq::Timeout::Connect, _) => "connect",
        (ureq::Timeout::SendRequest | ureq::Timeout::SendBody | ureq::Timeout::PerWrite, _) => "send",
        _ => "answer",
    }
}
