//! What is written in a certificate: names, dates, fingerprint.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The facts of one certificate that people ask for.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct CertificateFacts {
    /// The subject, as in `CN=edgelabel`.
    pub subject: String,
    /// The issuer, in the same form.
    pub issuer: String,
    /// DNS names of the subject alternative names.
    pub dns_names: Vec<String>,
    /// IP addresses of the subject alternative names.
    pub addresses: Vec<IpAddr>,
    /// Seconds since 1970 from which it is valid.
    pub not_before: i64,
    /// Seconds since 1970 until which it is valid.
    pub not_after: i64,
    /// Whether it may sign other certificates.
    pub is_ca: bool,
    /// SHA-256 of the whole certificate, as in `AB:CD:…`: what browsers and operating systems show.
    pub sha256: String,
}

impl CertificateFacts {
    /// Reads a certificate in DER.
    pub fn read(der: &[u8]) -> Result<Self, String> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|wrong| format!("not an X.509 certificate: {wrong}"))?;
        let mut dns_names = Vec::new();
        let mut addresses = Vec::new();
        if let Ok(Some(names)) = certificate.subject_alternative_name() {
            for name in &names.value.general_names {
                match name {
                    GeneralName::DNSName(name) => dns_names.push((*name).to_owned()),
                    GeneralName::IPAddress(bytes) => addresses.extend(address_of(bytes)),
                    _ => {}
                }
            }
        }
        Ok(Self {
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            dns_names,
            addresses,
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
            is_ca: certificate.is_ca(),
            sha256: fingerprint(der),
        })
    }

    /// Whole days until it ends at the time `now`; negative when it has ended.
    pub fn days_left(&self, now: SystemTime) -> i64 {
        (self.not_after - seconds(now)).div_euclid(24 * 3600)
    }

    /// What is wrong with its dates at the time `now`, if anything.
    pub fn date_problem(&self, now: SystemTime) -> Option<String> {
        let now = seconds(now);
        if now < self.not_before {
            return Some(format!("it is valid only from {}; is this box's clock right?", day(self.not_before)));
        }
        (now > self.not_after).then(|| format!("it ended on {}", day(self.not_after)))
    }
}

impl fmt::Display for CertificateFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses = self.addresses.iter().map(ToString::to_string);
        let names: Vec<String> = self.dns_names.iter().cloned().chain(addresses).collect();
        write!(
            f,
            "{} for {}, until {}",
            self.subject,
            if names.is_empty() { "no name".into() } else { names.join(", ") },
            day(self.not_after)
        )
    }
}

/// SHA-256 of a certificate in DER, as `AB:CD:…`.
pub fn fingerprint(der: &[u8]) -> String {
    Sha256::digest(der).iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

/// A moment as `2026-11-23`, UTC.
pub fn day(seconds: i64) -> String {
    time::OffsetDateTime::from_unix_timestamp(seconds).map_or_else(|_| format!("{seconds} s"), |moment| moment.date().to_string())
}

fn seconds(moment: SystemTime) -> i64 {
    moment.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs().try_into().unwrap_or(i64::MAX)
}

fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_dates_and_fingerprint_are_read() {
        let mut params = rcgen::CertificateParams::new(vec!["box.local".into(), "192.168.4.7".into(), "fd00::7".into()]).unwrap();
        params.not_before = time::macros::datetime!(2026-01-01 0:00 UTC);
        params.not_after = time::macros::datetime!(2026-12-31 0:00 UTC);
        let certificate = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let facts = CertificateFacts::read(certificate.der()).unwrap();
        assert_eq!(facts.dns_names, ["box.local"]);
        assert_eq!(facts.addresses, ["192.168.4.7".parse::<IpAddr>().unwrap(), "fd00::7".parse().unwrap()]);
        assert_eq!(facts.sha256.len(), 95);
        let at = |seconds: i64| UNIX_EPOCH + Duration::from_secs(seconds.try_into().unwrap());
        assert_eq!(facts.days_left(at(facts.not_after - 86_400 * 3 - 1)), 3);
        assert_eq!(facts.days_left(at(facts.not_after + 1)), -1);
        assert!(facts.date_problem(at(facts.not_before - 1)).unwrap().contains("clock"));
        assert!(facts.date_problem(at(facts.not_after + 1)).unwrap().contains("2026-12-31"));
        assert_eq!(facts.date_problem(at(facts.not_after - 1)), None);
    }

    #[test]
    fn garbage_is_no_certificate() {
        assert!(CertificateFacts::read(b"garbage").is_err());
    }
}
