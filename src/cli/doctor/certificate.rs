//! The certificate that browsers see: there, whole, in date, and for the names of this box.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::SystemTime;

use rustls::crypto::ring::default_provider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use super::Check;
use crate::config::Config;
use crate::server::CertificateFacts;

/// Browsers on Apple's systems refuse longer ones.
const MOST_DAYS: i64 = 825;
const DAYS_TO_RENEW: i64 = 30;
const MAKE_ONE: &str = "make one with `edgelabel cert init --name HOST --ip ADDRESS`, or name your own in server.tls";

/// Certificate and key of `[server.tls]`.
pub(super) fn check(config: &Config) -> Vec<Check> {
    let tls = &config.file.server.tls;
    let chain = match chain(&tls.certificate.0) {
        Ok(chain) => chain,
        Err(what) => return vec![Check::failed("certificate", what, MAKE_ONE)],
    };
    let mut checks = vec![match chain.first().map(|leaf| CertificateFacts::read(leaf)) {
        Some(Ok(facts)) => judged(&facts, SystemTime::now()),
        Some(Err(what)) => Check::failed("certificate", format!("{}: {what}", tls.certificate.0.display()), MAKE_ONE),
        None => Check::failed("certificate", format!("{} holds no certificate", tls.certificate.0.display()), MAKE_ONE),
    }];
    checks.push(key(&tls.private_key.0, chain));
    checks
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    if !path.exists() {
        return Err(format!("{} does not exist", path.display()));
    }
    let all = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    all.map_err(|error| format!("{} cannot be read: {error}", path.display()))
}

fn judged(facts: &CertificateFacts, now: SystemTime) -> Check {
    let names: Vec<String> = facts.dns_names.iter().cloned().chain(facts.addresses.iter().map(ToString::to_string)).collect();
    let days = facts.days_left(now);
    let detail = format!("for {}, {days} days left, SHA-256 {}", names.join(", "), facts.sha256);
    let renew = "renew it: `edgelabel cert renew`";
    if let Some(wrong) = facts.date_problem(now) {
        return Check::failed("certificate", format!("{wrong} ({detail})"), format!("{renew}; or is the clock wrong?"));
    }
    if names.is_empty() {
        return Check::failed("certificate", "names no host: browsers look at subject alternative names only", MAKE_ONE);
    }
    if days < DAYS_TO_RENEW {
        return Check::warning("certificate", detail, renew);
    }
    if (facts.not_after - facts.not_before) / 86_400 > MOST_DAYS {
        return Check::warning(
            "certificate",
            format!("{detail}; it is made for more than {MOST_DAYS} days, which Safari refuses"),
            MAKE_ONE,
        );
    }
    Check::ok("certificate", format!("{detail}\nthe address in the label editor must use one of these names"))
}

fn key(path: &Path, chain: Vec<CertificateDer<'static>>) -> Check {
    let name = "private key";
    let shown = path.display();
    let mode = match std::fs::metadata(path) {
        Ok(facts) => facts.permissions().mode(),
        Err(error) => return Check::failed(name, format!("{shown} cannot be read: {error}"), MAKE_ONE),
    };
    let key = match PrivateKeyDer::from_pem_file(path) {
        Ok(key) => key,
        Err(error) => {
            return Check::failed(
                name,
                format!("{shown} cannot be read: {error}"),
                "is it PEM without a passphrase, and the service's user its owner?",
            );
        }
    };
    // The key is only compared here; rustls says when it belongs to another certificate.
    if let Err(error) = CertifiedKey::from_der(chain, key, &default_provider()) {
        return Check::failed(name, format!("{shown} does not go with the certificate: {error}"), MAKE_ONE);
    }
    if mode & 0o007 != 0 {
        return Check::failed(
            name,
            format!("{shown} can be read by every user of this box (mode {:o})", mode & 0o777),
            format!("chmod 600 {shown}"),
        );
    }
    Check::ok(name, format!("{shown} goes with the certificate"))
}
