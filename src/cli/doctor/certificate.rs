//! The certificate that browsers see: there, whole, in date, and for the names of this box; and the authority behind it.

use std::net::IpAddr;
use std::path::Path;
use std::time::SystemTime;

use rustls::crypto::ring::default_provider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use super::Check;
use crate::config::Config;
use crate::server::authority::{self, AuthorityFiles};
use crate::server::certificate::day;
use crate::server::keyfile::{Readers, readers};
use crate::server::switch::{belong_together, successor};
use crate::server::{CertificateFacts, TlsSettings};

/// Browsers on Apple's systems refuse longer ones.
const MOST_DAYS: i64 = 825;
const DAYS_TO_RENEW: i64 = 30;
const MAKE_ONE: &str = "make one with `edgelabel cert init --name HOST --ip ADDRESS`, or name your own in server.tls";

/// Certificate and key of `[server.tls]`, and the box's own authority where there is one.
pub(super) fn check(config: &Config) -> Vec<Check> {
    let tls = &config.file.server.tls;
    check_files(&TlsSettings { certificate: tls.certificate.0.clone(), private_key: tls.private_key.0.clone(), client_ca: None })
}

fn check_files(tls: &TlsSettings) -> Vec<Check> {
    let chain = match chain(&tls.certificate) {
        Ok(chain) => chain,
        Err(what) => return vec![Check::failed("certificate", what, MAKE_ONE)],
    };
    let now = SystemTime::now();
    let mut checks = vec![match chain.first().map(|leaf| CertificateFacts::read(leaf)) {
        Some(Ok(facts)) => judged(&facts, now),
        Some(Err(what)) => Check::failed("certificate", format!("{}: {what}", tls.certificate.display()), MAKE_ONE),
        None => Check::failed("certificate", format!("{} holds no certificate", tls.certificate.display()), MAKE_ONE),
    }];
    checks.push(key(tls, chain));
    let files = AuthorityFiles::beside(tls);
    if let (Some(facts), Ok(server)) = (authority::issuing_authority(&files), authority::server_facts(&files)) {
        checks.push(own_authority(&files, &facts, &server, now));
    }
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
    let names: Vec<String> = names(facts).collect();
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

fn names(facts: &CertificateFacts) -> impl Iterator<Item = String> {
    facts.dns_names.iter().cloned().chain(facts.addresses.iter().map(IpAddr::to_string))
}

fn key(tls: &TlsSettings, chain: Vec<CertificateDer<'static>>) -> Check {
    let name = "private key";
    let path = &tls.private_key;
    let shown = path.display();
    let key = match PrivateKeyDer::from_pem_file(path) {
        Ok(key) => key,
        Err(_) if !path.exists() => return Check::failed(name, format!("{shown} does not exist"), MAKE_ONE),
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
        let detail = format!("{shown} does not go with the certificate: {error}");
        if belong_together(path, &successor(&tls.certificate)) {
            let remedy = "nothing is lost: a switch to a new certificate was cut short, and the daemon ends it at its next start";
            return Check::warning(name, detail, remedy);
        }
        return Check::failed(name, detail, MAKE_ONE);
    }
    exposed(name, path).unwrap_or_else(|| Check::ok(name, format!("{shown} goes with the certificate")))
}

/// What is wrong with who can read a private key.
fn exposed(name: &str, path: &Path) -> Option<Check> {
    let shown = path.display();
    let remedy = format!("chmod 600 {shown}, and a new key if the box is shared: whoever has read it can play this box");
    match readers(path) {
        Readers::Service => None,
        Readers::Group { group, mode } => {
            let detail = format!("{shown} can be read by group {group}, which is not the service's own (mode {mode:o})");
            Some(Check::warning(name, detail, remedy))
        }
        Readers::Everyone { mode } => {
            Some(Check::failed(name, format!("{shown} can be read by every user of this box (mode {mode:o})"), remedy))
        }
    }
}

fn own_authority(files: &AuthorityFiles, facts: &CertificateFacts, server: &CertificateFacts, now: SystemTime) -> Check {
    let name = "certificate authority";
    let days = facts.days_left(now);
    let detail = format!("{}, until {} ({days} days), SHA-256 {}", facts.subject, day(facts.not_after), facts.sha256);
    let again: String = server.dns_names.iter().filter(|host| *host != "localhost").map(|host| format!(" --name {host}")).collect();
    let addresses = server.addresses.iter().filter(|address| !address.is_loopback());
    let again: String = addresses.fold(again, |all, address| format!("{all} --ip {address}"));
    let remedy = format!(
        "make a new one when all stations can be told: `edgelabel cert init --replace{again}`, then hand out {}; the server's \
         certificate ends with its authority and cannot be renewed beyond it",
        files.ca_certificate.display()
    );
    if let Some(wrong) = facts.date_problem(now) {
        return Check::failed(name, format!("{wrong} ({detail})"), remedy);
    }
    if days < DAYS_TO_RENEW {
        return Check::warning(name, detail, remedy);
    }
    exposed(name, &files.ca_key).unwrap_or_else(|| Check::ok(name, detail))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::time::{Duration, UNIX_EPOCH};

    use super::super::Status;
    use super::*;
    use crate::server::names::Names;

    fn made(folder: &Path) -> (TlsSettings, AuthorityFiles) {
        let tls = TlsSettings { certificate: folder.join("server.pem"), private_key: folder.join("server.key"), client_ca: None };
        let files = AuthorityFiles::beside(&tls);
        authority::init(&files, &Names::parse(["label-box.local", "localhost", "10.0.0.5"]).unwrap(), false).unwrap();
        (tls, files)
    }

    fn statuses(checks: &[Check]) -> Vec<Status> {
        checks.iter().map(|check| check.status).collect()
    }

    #[test]
    fn a_pair_of_the_box_is_well_until_somebody_can_read_its_keys() {
        let folder = tempfile::tempdir().unwrap();
        let (tls, files) = made(folder.path());
        assert_eq!(statuses(&check_files(&tls)), [Status::Ok; 3]);
        for key in [&files.private_key, &files.ca_key] {
            fs::set_permissions(key, fs::Permissions::from_mode(0o644)).unwrap();
            let checks = check_files(&tls);
            let told = checks.iter().find(|check| check.status == Status::Failed).unwrap();
            assert!(told.detail.contains("every user") && told.remedy.contains("chmod 600"), "{told:?}");
            fs::set_permissions(key, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }

    #[test]
    fn a_switch_that_was_cut_short_is_told_from_a_wrong_key() {
        let folder = tempfile::tempdir().unwrap();
        let (tls, files) = made(folder.path());
        let old = fs::read(&files.certificate).unwrap();
        authority::renew(&files, &Names::default(), &Names::default()).unwrap();
        fs::rename(&files.certificate, successor(&files.certificate)).unwrap();
        fs::write(&files.certificate, old).unwrap();
        assert_eq!(statuses(&check_files(&tls)), [Status::Ok, Status::Warning, Status::Ok]);
        fs::remove_file(successor(&files.certificate)).unwrap();
        assert_eq!(statuses(&check_files(&tls)), [Status::Ok, Status::Failed, Status::Ok]);
    }

    #[test]
    fn the_authoritys_end_is_told_of_with_the_command_that_makes_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let (_, files) = made(folder.path());
        let (facts, server) = (authority::authority_facts(&files).unwrap(), authority::server_facts(&files).unwrap());
        let judge = |days: i64| {
            let seconds = u64::try_from(facts.not_after - days * 86_400 - 60).unwrap();
            own_authority(&files, &facts, &server, UNIX_EPOCH + Duration::from_secs(seconds))
        };
        assert_eq!(judge(30).status, Status::Ok);
        assert_eq!(judge(29).status, Status::Warning);
        assert!(judge(29).remedy.contains("`edgelabel cert init --replace --name label-box.local --ip 10.0.0.5`"), "{}", judge(29).remedy);
        assert_eq!(judge(-1).status, Status::Failed);
    }
}
