//! What the HTTPS door and the admin address are told: plain values that `config` has already checked and merged.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::ids::{ProjectHash, Secret};

/// The origins of Encord's label editor, EU and US: the default of `server.allowed_origins`.
pub const DEFAULT_ORIGINS: [&str; 2] = ["https://app.encord.com", "https://app.us.encord.com"];

/// The HTTPS door: who may come in, how long they may take, and which paths there are.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Addresses to listen on when systemd passes no socket. `[::]` serves IPv4 too.
    pub listen: Vec<SocketAddr>,
    /// The certificate shown to callers.
    pub tls: TlsSettings,
    /// Wall clock for one trigger, all steps.
    pub request_budget: Duration,
    /// How long running triggers may go on after SIGTERM.
    pub shutdown_grace: Duration,
    /// Origins (`https://host[:port]`, no path) whose pages may call; compared as whole strings.
    pub allowed_origins: Vec<String>,
    /// Projects that may be asked for; empty means every project.
    pub allowed_projects: Vec<ProjectHash>,
    /// Networks that may connect; empty means everyone who can reach the port.
    pub allowed_clients: Vec<Network>,
    /// The first segment of every path, if set: whoever does not know it finds nothing.
    pub access_token: Option<Secret>,
    /// Secrets that a webhook signature may be made with; several during a rotation.
    pub webhook_secrets: Vec<Secret>,
    /// What an unsigned request means.
    pub webhook_signature: SignaturePolicy,
    /// The path of each configured agent (`/`, `/caption`); a trigger carries the place in this list.
    pub agent_paths: Vec<String>,
    /// Bounds on time, size and number.
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([0, 0, 0, 0], 8443))],
            tls: TlsSettings::default(),
            request_budget: Duration::from_secs(55),
            shutdown_grace: Duration::from_secs(60),
            allowed_origins: DEFAULT_ORIGINS.map(String::from).to_vec(),
            allowed_projects: Vec::new(),
            allowed_clients: Vec::new(),
            access_token: None,
            webhook_secrets: Vec::new(),
            webhook_signature: SignaturePolicy::WhenPresent,
            agent_paths: vec!["/".into()],
            limits: Limits::default(),
        }
    }
}

/// Where the server's certificate lies. Relative paths have already been resolved against the file that named them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// PEM: the server's certificate first, then the chain up to the anchor.
    pub certificate: PathBuf,
    /// PEM: PKCS #8, SEC1 or PKCS #1, not encrypted, not readable by others.
    pub private_key: PathBuf,
    /// PEM: if set, callers must present a certificate that leads to one of these.
    pub client_ca: Option<PathBuf>,
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self { certificate: "certs/server.pem".into(), private_key: "certs/server.key".into(), client_ca: None }
    }
}

/// What an unsigned request means when a webhook secret is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SignaturePolicy {
    /// `when-present`: a signature that is there must verify; the browser's unsigned calls pass.
    #[default]
    WhenPresent,
    /// `required`: unsigned requests are refused.
    Required,
}

impl FromStr for SignaturePolicy {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "when-present" => Ok(Self::WhenPresent),
            "required" => Ok(Self::Required),
            other => Err(format!("{other:?} is neither \"when-present\" nor \"required\"")),
        }
    }
}

/// Bounds of the HTTPS door: table `[server.limits]`, one key each, of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From the TCP connection to the end of the TLS handshake.
    pub handshake_time: Duration,
    /// Silence allowed after the handshake before the first request. The browser opens the connection before it asks
    /// the person for permission, and waits silently while they read: a minute or more.
    pub first_byte_time: Duration,
    /// From the first byte of a request to the end of its header (HTTP/1).
    pub header_time: Duration,
    /// Request line and header together, in bytes.
    pub header_bytes: usize,
    /// From the end of the header to the end of the body.
    pub body_time: Duration,
    /// A request's body, in bytes.
    pub body_bytes: usize,
    /// Silence allowed between requests on a kept connection.
    pub idle_time: Duration,
    /// How long a caller may refuse to take the answer's bytes.
    pub write_time: Duration,
    /// Connections in all. Beyond, the longest idle one makes room.
    pub connections: usize,
    /// Connections of one address (IPv6: of one /64). Beyond, its longest idle one makes room.
    pub connections_per_address: usize,
    /// Concurrent HTTP/2 streams of one connection.
    pub streams_per_connection: u32,
    /// Requests after which a connection is closed.
    pub requests_per_connection: u64,
    /// Triggers a minute of one address (IPv6: of one /64); 0 for no limit.
    pub triggers_per_address: u32,
    /// Triggers a minute on one project; 0 for no limit.
    pub triggers_per_project: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake_time: Duration::from_secs(10),
            first_byte_time: Duration::from_secs(75),
            header_time: Duration::from_secs(10),
            header_bytes: 16 * 1024,
            body_time: Duration::from_secs(10),
            body_bytes: 64 * 1024,
            idle_time: Duration::from_secs(75),
            write_time: Duration::from_secs(20),
            connections: 512,
            connections_per_address: 64,
            streams_per_connection: 32,
            requests_per_connection: 10_000,
            triggers_per_address: 600,
            triggers_per_project: 1200,
        }
    }
}

/// The admin address: plain HTTP for people and monitoring on this box.
#[derive(Debug, Clone)]
pub struct AdminSettings {
    /// Loopback, or else a token is needed.
    pub listen: SocketAddr,
    /// Asked for as `Authorization: Bearer` or as the password of `Basic`; `admin.token_file`.
    pub token: Option<Secret>,
}

impl Default for AdminSettings {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 9464)), token: None }
    }
}

impl AdminSettings {
    /// Refuses an address that others can reach without a token.
    pub fn check(&self) -> Result<(), String> {
        if self.listen.ip().is_loopback() || self.token.is_some() {
            return Ok(());
        }
        Err(format!("{} can be reached from other machines: listen on 127.0.0.1, or set admin.token_file", self.listen))
    }
}

/// Reads a file's secrets: one a line, blank lines and lines that begin with `#` left out.
pub fn secrets_in(text: &str) -> Vec<Secret> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).map(Secret::new).collect()
}

/// An address range, as in `192.168.4.0/24` or `fd00::/8`; a bare address is a range of one. A range of IPv4 addresses in
/// their IPv6 form (`::ffff:10.0.0.0/104`) is the IPv4 range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether the address lies in the range. IPv4 addresses in their IPv6 form count as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                u32::from(base) & mask == u32::from(other) & mask
            }
            (IpAddr::V6(base), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                u128::from(base) & mask == u128::from(other) & mask
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not an address range such as 192.168.4.0/24");
        let (base, prefix) = text.split_once('/').map_or((text, None), |(base, prefix)| (base, Some(prefix)));
        let base: IpAddr = base.parse().map_err(|_| wrong())?;
        let longest: u8 = if base.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(longest), |digits| digits.parse().map_err(|_| wrong()))?;
        if prefix > longest {
            return Err(wrong());
        }
        match base {
            IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
                // Shorter ones would hold addresses of both kinds, which nobody means.
                let prefix =
                    prefix.checked_sub(96).ok_or_else(|| format!("{text:?} is wider than all of IPv4: write 0.0.0.0/0 or ::/0"))?;
                Ok(Self { base: base.to_canonical(), prefix })
            }
            _ => Ok(Self { base, prefix }),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_its_addresses_and_no_others() {
        for (range, inside, outside) in [
            ("192.168.4.0/24", "192.168.4.255", "192.168.5.0"),
            ("10.0.0.0/8", "::ffff:10.9.8.7", "11.0.0.0"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("127.0.0.1", "127.0.0.1", "127.0.0.2"),
            ("fd00::/8", "fd12::1", "fe80::1"),
            ("::/0", "2001:db8::1", "10.0.0.1"),
            ("::/0", "2001:db8::1", "::ffff:10.0.0.1"),
            ("::ffff:10.0.0.0/104", "10.9.8.7", "11.0.0.0"),
            ("::ffff:10.0.0.0/104", "::ffff:10.9.8.7", "::ffff:11.0.0.0"),
            ("::ffff:192.168.4.7", "192.168.4.7", "192.168.4.8"),
            ("::ffff:0:0/96", "203.0.113.9", "2001:db8::1"),
        ] {
            let network: Network = range.parse().unwrap();
            assert!(network.contains(inside.parse().unwrap()), "{range} holds {inside}");
            assert!(!network.contains(outside.parse().unwrap()), "{range} does not hold {outside}");
        }
        for wrong in
            ["", "10.0.0.0/33", "10.0.0/8", "fd00::/129", "::ffff:10.0.0.0/95", "::ffff:10.0.0.0/129", "example.com", "10.0.0.0/-1"]
        {
            assert!(wrong.parse::<Network>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_admin_address_is_loopback_or_guarded() {
        assert!(AdminSettings::default().check().is_ok());
        let open = AdminSettings { listen: SocketAddr::from(([0, 0, 0, 0], 9464)), token: None };
        assert!(open.check().unwrap_err().contains("admin.token_file"));
        assert!(AdminSettings { token: Some(Secret::new("t")), ..open }.check().is_ok());
    }

    #[test]
    fn a_file_of_secrets_holds_one_a_line() {
        let secrets = secrets_in("whsec_new\n\n# the old one, until Friday\r\n  whsec_old  \r\n");
        assert_eq!(secrets.iter().map(Secret::expose).collect::<Vec<_>>(), ["whsec_new", "whsec_old"]);
    }
}
