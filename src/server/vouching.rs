//! What the box's own authority may vouch for: name constraints, written into it when it is made and read from it later.

use std::net::IpAddr;

use rcgen::{CidrSubnet, GeneralSubtree};
use x509_parser::extensions::GeneralName;

use super::names::Names;

/// Names that only local networks use.
const LOCAL_DOMAINS: [&str; 5] = ["local", "localhost", "lan", "internal", "home.arpa"];

/// Address ranges that only local networks use (RFC 1918, 3927, 6598, 4193, 4291).
const LOCAL_RANGES: [(&str, u8); 9] = [
    ("10.0.0.0", 8),
    ("172.16.0.0", 12),
    ("192.168.0.0", 16),
    ("169.254.0.0", 16),
    ("100.64.0.0", 10),
    ("127.0.0.0", 8),
    ("fc00::", 7),
    ("fe80::", 10),
    ("::1", 128),
];

/// Local names and addresses, and what the authority was made for: whoever steals its key cannot play a bank to the
/// stations that trust it.
pub(super) fn permitted_trees(names: &Names) -> Vec<GeneralSubtree> {
    let mut domains: Vec<String> = LOCAL_DOMAINS.map(String::from).to_vec();
    for host in &names.hosts {
        // Beside `box.lab.example.org` there may be a second name in the same place some day. A shorter parent may be a
        // registry's (`co.uk`, `duckdns.org`), which banks have names in too.
        let parent = host.split_once('.').map(|(_, parent)| parent).filter(|parent| parent.matches('.').count() >= 2);
        domains.push(parent.unwrap_or(host).to_owned());
    }
    domains.sort();
    domains.dedup();
    let mut ranges: Vec<(IpAddr, u8)> = LOCAL_RANGES.iter().filter_map(|(base, prefix)| Some((base.parse().ok()?, *prefix))).collect();
    ranges.extend(names.addresses.iter().map(|address| (*address, if address.is_ipv4() { 32 } else { 128 })));
    let ranges = ranges.into_iter().map(|(base, prefix)| GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(base, prefix)));
    domains.into_iter().map(GeneralSubtree::DnsName).chain(ranges).collect()
}

/// The limits of an authority, read from its certificate.
pub(super) struct Vouching {
    /// Domains, and ranges as base and mask; `None` for an authority without limits.
    permitted: Option<(Vec<String>, Vec<Vec<u8>>)>,
}

impl Vouching {
    /// Reads a certificate in DER.
    pub(super) fn of(der: &[u8]) -> Option<Self> {
        let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
        let constraints = certificate.name_constraints().ok()?;
        let permitted = constraints.and_then(|constraints| constraints.value.permitted_subtrees.as_ref()).map(|trees| {
            let mut permitted = (Vec::new(), Vec::new());
            for tree in trees {
                match tree.base {
                    GeneralName::DNSName(domain) => permitted.0.push(domain.to_owned()),
                    GeneralName::IPAddress(range) => permitted.1.push(range.to_vec()),
                    _ => {}
                }
            }
            permitted
        });
        Some(Self { permitted })
    }

    pub(super) fn for_host(&self, host: &str) -> bool {
        let within = |domain: &String| host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        self.permitted.as_ref().is_none_or(|(domains, _)| domains.iter().any(within))
    }

    pub(super) fn for_address(&self, address: IpAddr) -> bool {
        let bytes = match address {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        let within = |range: &Vec<u8>| {
            range.len() == 2 * bytes.len() && {
                let (base, mask) = range.split_at(bytes.len());
                bytes.iter().zip(base).zip(mask).all(|((byte, base), mask)| byte & mask == *base)
            }
        };
        self.permitted.as_ref().is_none_or(|(_, ranges)| ranges.iter().any(within))
    }

    /// The first of these names that it may not vouch for.
    pub(super) fn first_outside(&self, names: &Names) -> Option<String> {
        let host = names.hosts.iter().find(|host| !self.for_host(host)).cloned();
        host.or_else(|| names.addresses.iter().find(|address| !self.for_address(**address)).map(IpAddr::to_string))
    }

    /// Those of these names that it may vouch for.
    pub(super) fn inside(&self, names: &Names) -> Names {
        Names {
            hosts: names.hosts.iter().filter(|host| self.for_host(host)).cloned().collect(),
            addresses: names.addresses.iter().filter(|address| self.for_address(**address)).copied().collect(),
        }
    }
}
