//! How a host is reached: names and addresses, the proxy, TLS, and who may be called without it.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::{Uri, uri::Scheme};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    ConnectProxyConnector, ConnectionDetails, Connector, NextTimeout, RustlsConnector, TcpConnector, Transport,
};
use ureq::{Proxy, ProxyProtocol};
use url::{Host, Url};

use super::Fault;
use super::watch::Watching;

/// How long a name's addresses are remembered: the requests of one trigger share a look-up, a moved server is found soon.
const REMEMBERED: Duration = Duration::from_secs(30);

/// Names remembered at most.
const NAMES: usize = 64;

/// A name look-up that only decides about the proxy does not hold a request up for longer.
const PROXY_LOOKUP: Duration = Duration::from_secs(2);

/// Plain HTTP would show keys and pictures to the network, so it stays on the box or in its own network.
///
/// This is for reading a configuration; a request is held to it by the addresses that it really connects to.
pub fn refuse_public_plain_http(url: &Url) -> Result<(), Fault> {
    match url.scheme() {
        "http" if !is_private(url) => Err(Fault::PlainHttp { host: url.host_str().unwrap_or_default().to_owned() }),
        _ => refuse_other_schemes(url),
    }
}

/// Only the web's two schemes lead anywhere.
pub(super) fn refuse_other_schemes(url: &Url) -> Result<(), Fault> {
    match url.scheme() {
        "https" | "http" => Ok(()),
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

/// Plain HTTP led to an address outside the own network.
#[derive(Debug, thiserror::Error)]
#[error("a public address without TLS")]
pub(super) struct PublicAddress;

/// Addresses of names, remembered for a while, and the proxy that stands before the rest of the world.
#[derive(Clone)]
pub(super) struct Names(Arc<Inner>);

struct Inner {
    system: DefaultResolver,
    proxy: Option<Proxy>,
    known: Mutex<HashMap<String, (Instant, Option<ResolvedSocketAddrs>)>>,
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Names")
    }
}

impl Names {
    pub(super) fn new(proxy: Option<Proxy>) -> Self {
        Self(Arc::new(Inner { system: DefaultResolver::default(), proxy, known: Mutex::default() }))
    }

    /// The proxy for `url`, if one is set and `url` does not lead into the own network.
    pub(super) fn proxy_for(&self, url: &Url, uri: &Uri, config: &Config) -> Option<Proxy> {
        let proxy = self.0.proxy.as_ref()?;
        let direct = url.scheme() == "http"
            || match url.host()? {
                Host::Domain("localhost") => true,
                Host::Domain(_) => {
                    let timeout = NextTimeout { after: PROXY_LOOKUP.into(), ..NextTimeout::default() };
                    self.addresses(uri, config, timeout).is_ok_and(|found| found.iter().all(|a| is_private_address(a.ip())))
                }
                Host::Ipv4(ip) => is_private_address(IpAddr::V4(ip)),
                Host::Ipv6(ip) => is_private_address(IpAddr::V6(ip)),
            };
        (!direct).then(|| proxy.clone())
    }

    fn addresses(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let name = name_of(uri)?;
        if let Ok(address) = name.parse::<SocketAddr>() {
            // The system's resolver would start a thread for this, too.
            let mut found = self.empty();
            found.push(address);
            return Ok(found);
        }
        if let Some((at, found)) = self.known().get(&name)
            && at.elapsed() < REMEMBERED
        {
            return found.clone().ok_or(ureq::Error::HostNotFound);
        }
        let found = match self.0.system.resolve(uri, config, timeout) {
            Err(ureq::Error::Io(_)) => Err(ureq::Error::HostNotFound),
            other => other,
        };
        let mut known = self.known();
        if known.len() >= NAMES {
            known.retain(|_, (at, _)| at.elapsed() < REMEMBERED);
        }
        match &found {
            _ if known.len() >= NAMES => {}
            Ok(addresses) => drop(known.insert(name, (Instant::now(), Some(addresses.clone())))),
            // Behind a proxy the world's names often do not resolve, and waiting for that once is enough.
            Err(_) if self.0.proxy.is_some() => drop(known.insert(name, (Instant::now(), None))),
            Err(_) => drop(known.remove(&name)),
        }
        found
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Instant, Option<ResolvedSocketAddrs>)>> {
        // Each change is one insertion or removal.
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Resolver for Names {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.addresses(uri, config, timeout)?;
        let is_proxy = self.0.proxy.as_ref().is_some_and(|proxy| proxy.uri().authority() == uri.authority());
        // Looked at here, where the addresses are the ones that are connected to.
        if uri.scheme() == Some(&Scheme::HTTP) && !is_proxy && !found.iter().all(|a| is_private_address(a.ip())) {
            return Err(ureq::Error::Other(Box::new(PublicAddress)));
        }
        Ok(found)
    }
}

fn name_of(uri: &Uri) -> Result<String, ureq::Error> {
    let bad = || ureq::Error::BadUri("no host".into());
    let (scheme, authority) = uri.scheme().zip(uri.authority()).ok_or_else(bad)?;
    DefaultResolver::host_and_port(scheme, authority).ok_or_else(bad)
}

/// The proxy that the environment names for `https://`, in the usual variables, with `NO_PROXY`.
pub(super) fn proxy_of_environment() -> Option<Proxy> {
    // HTTP_PROXY alone is for plain HTTP, which never leaves the own network here.
    let named = ["ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy"];
    if !named.iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty())) {
        return None;
    }
    let proxy = Proxy::try_from_env()?;
    if matches!(proxy.protocol(), ProxyProtocol::Http | ProxyProtocol::Https) {
        return Some(proxy);
    }
    tracing::warn!(protocol = ?proxy.protocol(), "the proxy of the environment is not used: only http:// and https:// proxies are");
    None
}

/// Makes connections: directly or through the proxy, with TLS where the link says so. They end when their caller leaves.
pub(super) fn connector() -> impl Connector {
    ().chain(ConnectProxyConnector::default()).chain(TcpConnector::default()).chain(Watching).chain(SharedTls::default())
}

/// TLS with one configuration for all connections.
///
/// ureq makes a new one, trust anchors and all, for each connection of a request that has settings of its own, as ours
/// have with their time-outs. That costs milliseconds, and no session is ever resumed.
#[derive(Debug, Default)]
struct SharedTls(RustlsConnector);

impl<In: Transport> Connector<In> for SharedTls {
    type Out = <RustlsConnector as Connector<In>>::Out;

    fn connect(&self, details: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Self::Out>, ureq::Error> {
        let shared = ConnectionDetails {
            uri: details.uri,
            addrs: details.addrs.clone(),
            config: details.config,
            // TLS settings are the same for all requests of a client.
            request_level: false,
            resolver: details.resolver,
            now: details.now,
            timeout: details.timeout,
            current_time: Arc::clone(&details.current_time),
            run_connector: Arc::clone(&details.run_connector),
            register_shutdown: Arc::clone(&details.register_shutdown),
        };
        self.0.connect(&shared, chained)
    }
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
    fn the_proxy_is_for_the_world_and_not_for_the_own_network() {
        let names = Names::new(Some(Proxy::new("http://proxy.example:3128").unwrap()));
        let config = Config::default();
        let proxied = |link: &str| names.proxy_for(&link.parse().unwrap(), &link.parse().unwrap(), &config).is_some();
        for direct in ["https://127.0.0.1/", "https://localhost:9/", "https://10.0.0.7/", "https://[fd00::7]/", "http://192.168.1.1/"] {
            assert!(!proxied(direct), "{direct}");
        }
        for world in ["https://8.8.8.8/", "https://[2001:4860::1]/", "https://name.that.does.not.resolve.invalid/"] {
            assert!(proxied(world), "{world}");
        }
        assert!(Names::new(None).proxy_for(&"https://8.8.8.8/".parse().unwrap(), &"https://8.8.8.8/".parse().unwrap(), &config).is_none());
    }
}
