//! The box's own certificate authority: browsers accept no certificate that signs itself, but they do accept one from
//! an authority that the annotators' stations trust. It lives beside the server's certificate, and can vouch for
//! nothing but this box's kind of names.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use time::OffsetDateTime;

use super::certificate::{CertificateFacts, day};
use super::issuing::{Authority, LEAF_DAYS};
use super::names::Names;
use super::settings::TlsSettings;
use super::switch::{Switch, recover};
use super::tls::{TlsError, certificates};
use super::vouching::Vouching;

/// A certificate with fewer days left is renewed.
const RENEW_DAYS: i64 = 30;

const DAY: i64 = 24 * 3600;

/// No box that runs this was switched on earlier; a clock that says so has not been set yet.
const EARLIEST_CLOCK: i64 = 1_767_225_600; // 2026-01-01

/// Addresses that a renewed certificate keeps from the old one, besides those of the moment.
const MOST_ADDRESSES: usize = 64;

/// Where the four files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorityFiles {
    /// The authority's certificate: what stations are to trust.
    pub ca_certificate: PathBuf,
    /// The authority's private key.
    pub ca_key: PathBuf,
    /// The server's certificate and its chain.
    pub certificate: PathBuf,
    /// The server's private key.
    pub private_key: PathBuf,
}

impl AuthorityFiles {
    /// `ca.pem` and `ca.key` beside the server's certificate.
    pub fn beside(tls: &TlsSettings) -> Self {
        let folder = tls.certificate.parent().unwrap_or(Path::new(""));
        Self {
            ca_certificate: folder.join("ca.pem"),
            ca_key: folder.join("ca.key"),
            certificate: tls.certificate.clone(),
            private_key: tls.private_key.clone(),
        }
    }
}

/// Why there is no new certificate.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Files that must not be lost are in the way.
    #[error("{} already exists; `edgelabel cert renew` makes a new server certificate that stations trust at once; \
             --replace makes a new authority, which every station must then be told to trust", .0.display())]
    Exists(PathBuf),
    /// The clock has not been set.
    #[error("this box's clock says {0}, so a certificate made now would be valid at the wrong time: set the clock first")]
    Clock(String),
    /// A file of the authority cannot be read.
    #[error(transparent)]
    Read(#[from] TlsError),
    /// A file cannot be used or written.
    #[error("{path}: {cause}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// The authority's own time is over.
    #[error(
        "the authority in {ca} ended on {day}: `edgelabel cert init --replace` makes a new one, with --name and --ip as \
             before, which every station must then be told to trust"
    )]
    Ended {
        /// The authority's certificate.
        ca: PathBuf,
        /// Its last day.
        day: String,
    },
    /// The authority may not vouch for a name.
    #[error(
        "the authority in {ca} may not vouch for {name}; `edgelabel cert init --replace --name {name}` makes one that may, \
             which every station must then be told to trust"
    )]
    NotPermitted {
        /// The authority's certificate.
        ca: PathBuf,
        /// The name or address.
        name: String,
    },
    /// The certificate could not be made.
    #[error("cannot make the certificate: {0}")]
    Made(#[from] rcgen::Error),
}

/// Makes an authority and a server certificate from it. The folder is made if need be.
pub fn init(files: &AuthorityFiles, names: &Names, replace: bool) -> Result<CertificateFacts, AuthorityError> {
    let now = clock(OffsetDateTime::now_utc())?;
    if let Some(folder) = files.certificate.parent() {
        fs::create_dir_all(folder).map_err(|cause| file_error(folder, &cause))?;
    }
    let mut switch = Switch::begin(files)?;
    let all = [&files.ca_certificate, &files.ca_key, &files.certificate, &files.private_key];
    if let Some(present) = all.iter().find(|path| !replace && path.exists()) {
        return Err(AuthorityError::Exists((*present).clone()));
    }
    let (authority, key) = Authority::make(files, names, now)?;
    switch.stage(&files.ca_key, key.as_bytes(), 0o600)?;
    switch.stage(&files.ca_certificate, authority.pem.as_bytes(), 0o644)?;
    issue(&authority, files, names, now, switch)
}

/// Makes a new server certificate from the authority that is there: for the names of the old one, for `wanted` names,
/// and for those of the box's `own` names that the authority may vouch for.
pub fn renew(files: &AuthorityFiles, wanted: &Names, own: &Names) -> Result<CertificateFacts, AuthorityError> {
    let now = clock(OffsetDateTime::now_utc())?;
    let switch = Switch::begin(files)?;
    let vouching = vouching(files)?;
    let mut names = wanted.clone().and(&vouching.inside(own));
    if let Ok(old) = server_facts(files) {
        // A certificate that was not ours may be made out to names that the authority must not touch.
        let old = vouching.inside(&Names { hosts: old.dns_names.into_iter().collect(), addresses: old.addresses.into_iter().collect() });
        names.hosts.extend(old.hosts);
        let room = MOST_ADDRESSES.saturating_sub(names.addresses.len());
        names.addresses.extend(old.addresses.into_iter().take(room));
    }
    if let Some(name) = vouching.first_outside(&names) {
        return Err(AuthorityError::NotPermitted { ca: files.ca_certificate.clone(), name });
    }
    issue(&Authority::read(files)?, files, &names, now, switch)
}

/// Ends a switch to new files that was cut short, by a power failure say; tells of it in the log.
pub fn heal(files: &AuthorityFiles) {
    match recover(files) {
        Ok(false) => {}
        Ok(true) => tracing::warn!(
            certificate = %files.certificate.display(),
            "a switch to a new certificate had been cut short; it is ended now, and nothing else need be done"
        ),
        Err(cause) => tracing::warn!("a switch to a new certificate was cut short and cannot be ended: {cause}"),
    }
}

/// Why a certificate of the own authority should be renewed, if it should: it ends soon, or one of the box's `own` names
/// and addresses is not in it. `None` also for an administrator's own certificate.
pub fn renewal_due(files: &AuthorityFiles, own: &Names, now: SystemTime) -> Option<String> {
    let authority = issuing_authority(files)?;
    let server = server_facts(files).ok()?;
    if !files.ca_key.exists() {
        return None;
    }
    let seconds = i64::try_from(now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())).unwrap_or(i64::MAX);
    // A certificate never outlives its authority: in the authority's last days a new one would end no later.
    let attainable = authority.not_after.min(seconds.saturating_add(LEAF_DAYS * DAY));
    if server.days_left(now) < RENEW_DAYS && attainable > server.not_after + DAY {
        return Some(format!("it ends on {}", day(server.not_after)));
    }
    let own = vouching(files).ok()?.inside(own);
    if let Some(name) = own.hosts.iter().find(|host| !server.dns_names.contains(host)) {
        return Some(format!("this box has got the name {name}"));
    }
    let address = own.addresses.iter().find(|address| !server.addresses.contains(address))?;
    Some(format!("this box has got the address {address}"))
}

/// Facts of the authority's certificate.
pub fn authority_facts(files: &AuthorityFiles) -> Result<CertificateFacts, AuthorityError> {
    facts(&files.ca_certificate)
}

/// Facts of the box's own authority, if the server's certificate is from it.
pub fn issuing_authority(files: &AuthorityFiles) -> Option<CertificateFacts> {
    let (authority, server) = (authority_facts(files).ok()?, server_facts(files).ok()?);
    (server.issuer == authority.subject).then_some(authority)
}

/// Facts of the server's certificate.
pub fn server_facts(files: &AuthorityFiles) -> Result<CertificateFacts, AuthorityError> {
    facts(&files.certificate)
}

fn facts(path: &Path) -> Result<CertificateFacts, AuthorityError> {
    let chain = certificates("certificate", path)?;
    CertificateFacts::read(&chain[0]).map_err(|cause| AuthorityError::File { path: path.to_owned(), cause })
}

/// Makes a server certificate and puts it, with what else the switch holds, in place.
fn issue(
    authority: &Authority,
    files: &AuthorityFiles,
    names: &Names,
    now: OffsetDateTime,
    mut switch: Switch,
) -> Result<CertificateFacts, AuthorityError> {
    if files.private_key == files.certificate {
        let cause = "server.tls.certificate and private_key must be two files, to be renewed".into();
        return Err(AuthorityError::File { path: files.certificate.clone(), cause });
    }
    let issued = authority.issue(files, names, now)?;
    switch.stage(&files.private_key, issued.key.as_bytes(), 0o600)?;
    switch.stage(&files.certificate, issued.chain.as_bytes(), 0o644)?;
    switch.commit()?;
    Ok(issued.facts)
}

fn vouching(files: &AuthorityFiles) -> Result<Vouching, AuthorityError> {
    let anchor = certificates("certificate authority", &files.ca_certificate)?.remove(0);
    let unusable = || AuthorityError::File { path: files.ca_certificate.clone(), cause: "it is not a certificate that can be read".into() };
    Vouching::of(&anchor).ok_or_else(unusable)
}

/// The time, if the clock has been set.
fn clock(now: OffsetDateTime) -> Result<OffsetDateTime, AuthorityError> {
    if now.unix_timestamp() < EARLIEST_CLOCK { Err(AuthorityError::Clock(now.date().to_string())) } else { Ok(now) }
}

pub(super) fn file_error(path: &Path, cause: &std::io::Error) -> AuthorityError {
    AuthorityError::File { path: path.to_owned(), cause: cause.to_string() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn files(folder: &Path) -> AuthorityFiles {
        AuthorityFiles::beside(&TlsSettings {
            certificate: folder.join("certs/server.pem"),
            private_key: folder.join("certs/server.key"),
            client_ca: None,
        })
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn init_makes_an_authority_and_a_certificate_from_it() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        let names = Names::parse(["box.lab.example.org", "192.168.4.7", "203.0.113.9"]).unwrap().and(&Names::of_this_box());
        let server = init(&files, &names, false).unwrap();
        let authority = authority_facts(&files).unwrap();
        assert_eq!(server.issuer, authority.subject);
        assert!(authority.is_ca && !server.is_ca);
        assert!(server.dns_names.iter().any(|name| name == "box.lab.example.org"));
        assert!(server.addresses.contains(&"192.168.4.7".parse().unwrap()));
        assert!(server.not_after - server.not_before <= 397 * 86_400);
        assert_eq!((mode(&files.ca_key), mode(&files.private_key)), (0o600, 0o600));
        assert_eq!(certificates("chain", &files.certificate).unwrap().len(), 2);
        assert_eq!(renewal_due(&files, &names, SystemTime::now()), None);
        let after = |days: u64| SystemTime::now() + std::time::Duration::from_secs(days * 86_400);
        assert_eq!(renewal_due(&files, &names, after(365)), None);
        assert!(renewal_due(&files, &names, after(367)).unwrap().contains("ends on"));
        // A station whose clock lags takes it at once.
        let made = OffsetDateTime::now_utc().unix_timestamp();
        assert!((3000..=3700).contains(&(made - server.not_before)), "{}", made - server.not_before);
        fs::remove_file(&files.ca_key).unwrap();
        assert_eq!(renewal_due(&files, &names, after(367)), None, "an authority that is kept elsewhere");
    }

    #[test]
    fn a_new_name_or_address_of_the_box_is_a_reason_to_renew() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        let names = |words: &[&str]| Names::parse(words.iter().copied()).unwrap();
        init(&files, &names(&["box.local", "10.0.0.5"]), false).unwrap();
        let due = |own: &Names| renewal_due(&files, own, SystemTime::now());
        assert_eq!(due(&names(&["box.local", "10.0.0.5"])), None);
        for (own, reason) in [("annex.local", "name annex.local"), ("10.0.0.6", "address 10.0.0.6")] {
            let own = names(&[own]);
            assert!(due(&own).unwrap().contains(reason));
            renew(&files, &Names::default(), &own).unwrap();
            assert_eq!(due(&own), None);
        }
        // What the authority may not vouch for would be a reason for ever.
        assert_eq!(due(&names(&["elsewhere.example.org", "203.0.113.9"])), None);
        assert_eq!(server_facts(&files).unwrap().dns_names, ["annex.local", "box.local"]);
    }

    #[test]
    fn an_authoritys_key_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        init(&files, &Names::parse(["box.local"]).unwrap(), false).unwrap();
        fs::set_permissions(&files.ca_key, fs::Permissions::from_mode(0o604)).unwrap();
        let refused = renew(&files, &Names::default(), &Names::default()).unwrap_err().to_string();
        assert!(refused.contains("ca.key can be read by others"), "{refused}");
    }

    #[test]
    fn init_does_not_throw_an_authority_away_unasked() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        let names = Names::parse(["box.local"]).unwrap();
        init(&files, &names, false).unwrap();
        let first = authority_facts(&files).unwrap().sha256;
        let refused = init(&files, &names, false).unwrap_err().to_string();
        assert!(refused.contains("already exists") && refused.contains("cert renew"), "{refused}");
        init(&files, &names, true).unwrap();
        assert_ne!(authority_facts(&files).unwrap().sha256, first);
    }

    #[test]
    fn renew_keeps_the_authority_and_the_names() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        let first = init(&files, &Names::parse(["box.local", "10.0.0.5"]).unwrap(), false).unwrap();
        let authority = authority_facts(&files).unwrap();
        let second =
            renew(&files, &Names::parse(["other.local", "10.0.0.6"]).unwrap(), &Names::parse(["moved.example.net"]).unwrap()).unwrap();
        assert_ne!(first.sha256, second.sha256);
        assert_eq!(authority_facts(&files).unwrap(), authority);
        assert_eq!(second.dns_names, ["box.local", "other.local"]);
        assert_eq!(second.addresses.len(), 2);
    }

    #[test]
    fn a_box_that_moves_about_keeps_a_bounded_number_of_addresses() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        let many: Vec<String> = (0..100).map(|host| format!("10.0.1.{host}")).collect();
        init(&files, &Names::parse(many.iter().map(String::as_str)).unwrap(), false).unwrap();
        let second = renew(&files, &Names::parse(["10.0.0.5"]).unwrap(), &Names::default()).unwrap();
        assert_eq!(second.addresses.len(), MOST_ADDRESSES);
        assert!(second.addresses.contains(&"10.0.0.5".parse().unwrap()));
    }

    #[test]
    fn names_of_a_certificate_that_was_not_ours_are_left_to_its_maker() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        init(&files, &Names::parse(["box.local"]).unwrap(), false).unwrap();
        let foreign = rcgen::generate_simple_self_signed(vec!["nas.local".into(), "box.example.net".into()]).unwrap();
        fs::write(&files.certificate, foreign.cert.pem()).unwrap();
        assert_eq!(renew(&files, &Names::default(), &Names::default()).unwrap().dns_names, ["nas.local"]);
    }

    #[test]
    fn the_authority_cannot_vouch_for_the_rest_of_the_world() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        init(&files, &Names::parse(["box.lab.example.org"]).unwrap(), false).unwrap();
        assert!(renew(&files, &Names::parse(["second.lab.example.org", "nas.local", "10.1.2.3"]).unwrap(), &Names::default()).is_ok());
        for foreign in ["app.encord.com", "203.0.113.9", "elsewhere.example.org", "notlab.example.org", "2001:db8::1"] {
            let refused = renew(&files, &Names::parse([foreign]).unwrap(), &Names::default()).unwrap_err();
            assert!(matches!(&refused, AuthorityError::NotPermitted { name, .. } if name == foreign), "{foreign}: {refused}");
        }
        // What was refused has not touched the files.
        assert!(server_facts(&files).unwrap().dns_names.contains(&"nas.local".to_owned()));
    }

    #[test]
    fn a_name_right_below_a_registry_does_not_open_the_registry() {
        for (own, neighbour) in [("acme.co.uk", "bank.co.uk"), ("box.duckdns.org", "bank.duckdns.org"), ("example.org", "bank.org")] {
            let folder = tempfile::tempdir().unwrap();
            let files = files(folder.path());
            init(&files, &Names::parse([own]).unwrap(), false).unwrap();
            let refused = renew(&files, &Names::parse([neighbour]).unwrap(), &Names::default()).map(|facts| facts.dns_names);
            assert!(matches!(&refused, Err(AuthorityError::NotPermitted { .. })), "{neighbour}: {refused:?}");
        }
    }

    #[test]
    fn an_exchanged_authority_key_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        let names = Names::parse(["box.local"]).unwrap();
        init(&files, &names, false).unwrap();
        fs::write(&files.ca_key, rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
        assert!(renew(&files, &names, &Names::default()).unwrap_err().to_string().contains("does not vouch"));
    }

    #[test]
    fn an_administrators_own_certificate_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        init(&files, &Names::parse(["box.local"]).unwrap(), false).unwrap();
        let foreign = rcgen::generate_simple_self_signed(vec!["box.local".into()]).unwrap();
        fs::write(&files.certificate, foreign.cert.pem()).unwrap();
        let later = SystemTime::now() + std::time::Duration::from_secs(5000 * 86_400);
        assert_eq!(renewal_due(&files, &Names::parse(["new.local"]).unwrap(), later), None);
    }

    #[test]
    fn the_authority_makes_no_further_authorities() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        init(&files, &Names::parse(["box.local"]).unwrap(), false).unwrap();
        let anchor = certificates("authority", &files.ca_certificate).unwrap().remove(0);
        let (_, read) = x509_parser::parse_x509_certificate(&anchor).unwrap();
        let constraints = read.basic_constraints().unwrap().unwrap();
        assert!(constraints.critical && constraints.value.ca);
        assert_eq!(constraints.value.path_len_constraint, Some(0));
    }

    #[test]
    fn a_clock_that_was_never_set_makes_no_certificate() {
        let (before, after) = (time::macros::datetime!(2025-12-31 23:59:59 UTC), time::macros::datetime!(2026-01-01 0:00 UTC));
        assert_eq!(clock(after).unwrap(), after);
        let refused = clock(before).unwrap_err().to_string();
        assert!(refused.contains("2025-12-31") && refused.contains("set the clock"), "{refused}");
    }

    /// Puts an authority of the same key and name in place that ends after so many days.
    fn age(files: &AuthorityFiles, days: i64) {
        let key = rcgen::KeyPair::from_pem(&fs::read_to_string(&files.ca_key).unwrap()).unwrap();
        let now = OffsetDateTime::now_utc();
        let mut params = super::super::issuing::authority_params(&Names::parse(["box.local"]).unwrap(), now, &key);
        params.not_before = now - time::Duration::days(3650);
        params.not_after = now + time::Duration::days(days);
        fs::write(&files.ca_certificate, params.self_signed(&key).unwrap().pem()).unwrap();
    }

    #[test]
    fn a_certificate_never_outlives_its_authority() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        init(&files, &Names::parse(["box.local"]).unwrap(), false).unwrap();
        let nobody = Names::default();
        age(&files, 100);
        let server = renew(&files, &nobody, &nobody).unwrap();
        assert_eq!(server.not_after, authority_facts(&files).unwrap().not_after);
        // In its last days it is not renewed again and again, for nothing would be won.
        let after = |days: u64| SystemTime::now() + std::time::Duration::from_secs(days * 86_400);
        assert_eq!(renewal_due(&files, &nobody, after(90)), None);
        assert!(renewal_due(&files, &Names::parse(["new.local"]).unwrap(), after(90)).unwrap().contains("new.local"));
        // An authority that is made to last longer is a reason.
        age(&files, 200);
        assert!(renewal_due(&files, &nobody, after(90)).unwrap().contains("ends on"));
        age(&files, -1);
        let refused = renew(&files, &nobody, &nobody).unwrap_err().to_string();
        assert!(refused.contains("ended on") && refused.contains("cert init --replace"), "{refused}");
    }

    #[test]
    fn one_file_for_both_is_refused_before_the_key_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let both = folder.path().join("server.pem");
        let files = AuthorityFiles::beside(&TlsSettings { certificate: both.clone(), private_key: both.clone(), client_ca: None });
        assert!(init(&files, &Names::parse(["box.local"]).unwrap(), false).unwrap_err().to_string().contains("two files"));
        assert!(!both.exists());
    }
}
