//! Listening sockets: bound here, or passed by systemd.

use std::io;
use std::net::{SocketAddr, TcpListener};

use rustix::net::sockopt::{set_ipv6_v6only, set_socket_reuseaddr};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with};

/// Connections that the kernel keeps for us while we are busy, or while the service restarts behind its socket.
const BACKLOG: i32 = 1024;

/// Where the listeners came from: those of systemd stay open when this process ends.
#[derive(Debug)]
pub enum Listeners {
    /// Bound by this process.
    Own(Vec<TcpListener>),
    /// Passed by systemd, which keeps the port while the service restarts.
    Passed(Vec<TcpListener>),
}

impl Listeners {
    /// Binds every address. An IPv6 wildcard serves IPv4 too.
    pub fn bind(addresses: &[SocketAddr]) -> io::Result<Self> {
        // Both wildcards at once is a common way to say "everything"; then the IPv6 one must leave IPv4 to the other.
        let dual_stack = |port: u16| !addresses.iter().any(|other| other.is_ipv4() && other.port() == port);
        let bind = |address: &SocketAddr| {
            bind_one(address, dual_stack(address.port()))
                .map_err(|wrong| io::Error::new(wrong.kind(), format!("cannot listen on {address}: {wrong}")))
        };
        addresses.iter().map(bind).collect::<io::Result<_>>().map(Self::Own)
    }

    /// The sockets that systemd passed, if it did.
    pub fn passed(sockets: Vec<TcpListener>) -> Option<Self> {
        (!sockets.is_empty()).then_some(Self::Passed(sockets))
    }

    pub(super) fn into_parts(self) -> (Vec<TcpListener>, bool) {
        match self {
            Self::Own(sockets) => (sockets, false),
            Self::Passed(sockets) => (sockets, true),
        }
    }
}

fn bind_one(address: &SocketAddr, dual_stack: bool) -> io::Result<TcpListener> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        set_ipv6_v6only(&socket, !dual_stack)?;
    }
    bind(&socket, address)?;
    listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn an_ipv6_wildcard_serves_both_families() {
        let Ok(Listeners::Own(sockets)) = Listeners::bind(&["[::]:0".parse().unwrap()]) else {
            return eprintln!("this machine has no IPv6; nothing to see");
        };
        let port = sockets[0].local_addr().unwrap().port();
        assert!(TcpStream::connect(("127.0.0.1", port)).is_ok());
        assert!(TcpStream::connect(("::1", port)).is_ok());
    }

    #[test]
    fn both_wildcards_go_together() {
        let Ok(Listeners::Own(probe)) = Listeners::bind(&["[::]:0".parse().unwrap()]) else {
            return eprintln!("this machine has no IPv6; nothing to see");
        };
        let port = probe[0].local_addr().unwrap().port();
        drop(probe);
        let both = [SocketAddr::from(([0, 0, 0, 0], port)), SocketAddr::from(([0; 16], port))];
        let Listeners::Own(sockets) = Listeners::bind(&both).unwrap() else { panic!("bound here") };
        assert_eq!(sockets.len(), 2);
    }

    #[test]
    fn a_taken_address_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        assert!(Listeners::bind(&[address]).unwrap_err().to_string().contains(&address.to_string()));
    }
}
