//! Under which names and addresses this box can be called.

use std::collections::BTreeSet;
use std::fs::read_to_string;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

/// What a certificate is made out to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// Host names, lower-case.
    pub hosts: BTreeSet<String>,
    /// Addresses.
    pub addresses: BTreeSet<IpAddr>,
}

impl Names {
    /// Reads names as a person writes them: host names, and addresses among them too.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut names = Self::default();
        for word in words {
            let host = word.trim().trim_end_matches('.').to_ascii_lowercase();
            if let Ok(address) = host.trim_matches(['[', ']']).parse() {
                names.addresses.insert(address);
            } else if is_host(&host) {
                names.hosts.insert(host);
            } else {
                return Err(format!("{word:?} is neither a host name nor an address; give it without https:// and port"));
            }
        }
        Ok(names)
    }

    /// This box's own: its host name, the same in `.local`, `localhost`, and its addresses.
    pub fn of_this_box() -> Self {
        let mut names = Self { hosts: BTreeSet::from(["localhost".to_owned()]), addresses: own_addresses() };
        let hostname = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
        if is_host(&hostname) {
            let short = hostname.split('.').next().unwrap_or(&hostname);
            names.hosts.insert(format!("{short}.local"));
            names.hosts.insert(hostname);
        }
        names
    }

    /// Of this box's own, those by which others call it and that stay: what a certificate must hold.
    pub fn to_be_reached() -> Self {
        Self { addresses: outward_addresses(), ..Self::of_this_box() }
    }

    /// These and those.
    pub fn and(mut self, others: &Self) -> Self {
        self.hosts.extend(others.hosts.iter().cloned());
        self.addresses.extend(&others.addresses);
        self
    }
}

/// The addresses by which this box reaches others, and is reached: those of its default routes. No packet is sent.
/// Temporary IPv6 addresses, which change every day, are left out.
pub fn outward_addresses() -> BTreeSet<IpAddr> {
    let lasting = lasting_ipv6(&read_to_string("/proc/self/net/if_inet6").unwrap_or_default());
    // Documentation addresses: always routed by default, never answered.
    let towards = [(IpAddr::from(Ipv4Addr::UNSPECIFIED), "192.0.2.1:9"), (IpAddr::from(Ipv6Addr::UNSPECIFIED), "[2001:db8::1]:9")];
    towards
        .into_iter()
        .filter_map(|(from, to)| {
            let socket = UdpSocket::bind((from, 0)).ok()?;
            socket.connect(to).ok()?;
            socket.local_addr().ok().map(|address| address.ip())
        })
        .filter(|address| !address.is_unspecified() && (address.is_ipv4() || lasting.contains(address)))
        .collect()
}

fn own_addresses() -> BTreeSet<IpAddr> {
    let mut addresses = outward_addresses();
    addresses.extend([IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)]);
    // Not in every container; what is above is enough there.
    addresses.extend(local_ipv4(&read_to_string("/proc/self/net/fib_trie").unwrap_or_default()));
    addresses.extend(lasting_ipv6(&read_to_string("/proc/self/net/if_inet6").unwrap_or_default()));
    addresses
}

/// The kernel's routing table lists each own address as `|-- 192.0.2.2`, followed by `/32 host LOCAL`.
fn local_ipv4(table: &str) -> BTreeSet<IpAddr> {
    let mut last = None;
    let mut found = BTreeSet::new();
    for line in table.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse::<Ipv4Addr>().ok();
        } else if line == "/32 host LOCAL" {
            found.extend(last.map(IpAddr::from));
        }
    }
    found
}

/// `fd00…02 04 40 00 82 eth0`: address, interface, prefix, scope, flags, name. Global scope, neither temporary nor failed.
fn lasting_ipv6(table: &str) -> BTreeSet<IpAddr> {
    const TEMPORARY: u8 = 0x01;
    const FAILED: u8 = 0x08;
    const TENTATIVE: u8 = 0x40;
    let of_line = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let flags = u8::from_str_radix(fields.get(4)?, 16).ok()?;
        let lasting = *fields.get(3)? == "00" && flags & (TEMPORARY | FAILED | TENTATIVE) == 0;
        let bits = u128::from_str_radix(fields.first()?, 16).ok()?;
        lasting.then(|| IpAddr::from(Ipv6Addr::from_bits(bits)))
    };
    table.lines().filter_map(of_line).collect()
}

/// Letters, digits and hyphens in labels of at most 63, as RFC 1123 has it; underscores, which some networks use, too.
fn is_host(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_people_write_them() {
        let names = Names::parse(["Box.Local", "192.168.4.7", "[fd00::7]", "lab-1.example.org."]).unwrap();
        assert_eq!(names.hosts, BTreeSet::from(["box.local".into(), "lab-1.example.org".into()]));
        assert_eq!(names.addresses.len(), 2);
        for wrong in [
            "",
            "https://box",
            "box:8443",
            "*.box",
            "a..b",
            "-box",
            "büro",
            "box/24",
            &"x".repeat(64),
            &["x"; 127].join(".").replacen('x', "xx", 1),
        ] {
            assert!(Names::parse([wrong]).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn this_box_has_names_and_its_loopback_addresses() {
        let own = Names::of_this_box();
        assert!(own.hosts.contains("localhost"));
        let hostname = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
        assert!(!is_host(&hostname) || own.hosts.contains(&format!("{}.local", hostname.split('.').next().unwrap())));
        assert!(own.addresses.contains(&IpAddr::from(Ipv4Addr::LOCALHOST)) && own.addresses.contains(&IpAddr::from(Ipv6Addr::LOCALHOST)));
    }

    #[test]
    fn the_kernels_tables_are_read() {
        let v4 = "  |-- 192.0.2.0\n    /24 link UNICAST\n  |-- 192.0.2.2\n    /32 host LOCAL\n  |-- 192.0.2.255\n    /32 link BROADCAST\n";
        assert_eq!(local_ipv4(v4), BTreeSet::from(["192.0.2.2".parse().unwrap()]));
        let v6 = "fd000000000000000000000000000002 04 40 00 82     eth0\n\
                  fe8000000000000000fc00fffe000001 04 40 20 80     eth0\n\
                  20010db8000000000000000000000009 04 40 00 01     eth0\n\
                  20010db8000000000000000000000008 04 40 00 88     eth0\n\
                  20010db8000000000000000000000007 04 40 00 c0     eth0\nnonsense\n";
        assert_eq!(lasting_ipv6(v6), BTreeSet::from(["fd00::2".parse().unwrap()]));
    }
}
