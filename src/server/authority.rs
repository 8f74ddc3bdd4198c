//! The box's own certificate authority: browsers accept no certificate that signs itself, but they do accept one from
//! an authority that the annotators' stations trust. It lives beside the server's certificate, and can vouch for
//! nothing but this box's kind of names.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
    PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls_pki_types::CertificateDer;
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use super::certificate::{CertificateFacts, day};
use super::names::Names;
use super::settings::TlsSettings;
use super::tls::{TlsError, certificates, refuse_open_key};
use super::vouching::{Vouching, permitted_trees};

/// Browsers refuse server certificates that are valid for more than 398 days.
const LEAF_DAYS: i64 = 396;
const AUTHORITY_DAYS: i64 = 3650;

/// A certificate with fewer days left is renewed.
const RENEW_DAYS: i64 = 30;

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
    let now = clock()?;
    let all = [&files.ca_certificate, &files.ca_key, &files.certificate, &files.private_key];
    if let Some(present) = all.iter().find(|path| !replace && path.exists()) {
        return Err(AuthorityError::Exists((*present).clone()));
    }
    if let Some(folder) = files.certificate.parent() {
        fs::create_dir_all(folder).map_err(|cause| file_error(folder, &cause))?;
    }
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let certificate = authority_params(names, now, &key).self_signed(&key)?;
    write(&files.ca_key, key.serialize_pem().as_bytes(), 0o600)?;
    write(&files.ca_certificate, certificate.pem().as_bytes(), 0o644)?;
    issue(files, names, now)
}

/// Makes a new server certificate from the authority that is there: for the names of the old one, for `wanted` names,
/// and for those of the box's `own` names that the authority may vouch for.
pub fn renew(files: &AuthorityFiles, wanted: &Names, own: &Names) -> Result<CertificateFacts, AuthorityError> {
    let now = clock()?;
    let vouching = vouching(files)?;
    let mut names = wanted.clone().and(&vouching.inside(own));
    if let Ok(old) = server_facts(files) {
        // A certificate that was not ours may be made out to names that the authority must not touch.
        let old = vouching.inside(&Names { hosts: old.dns_names.into_iter().collect(), addresses: old.addresses.into_iter().collect() });
        names.hosts.extend(old.hosts);
        let room = MOST_ADDRESSES.saturating_sub(names.addresses.len());
        names.addresses.extend(old.addresses.into_iter().take(room));
    }
    issue(files, &names, now)
}

/// Why a certificate of the own authority should be renewed, if it should: it ends soon, or one of the box's `own` names
/// and addresses is not in it. `None` also for an administrator's own certificate.
pub fn renewal_due(files: &AuthorityFiles, own: &Names, now: SystemTime) -> Option<String> {
    let authority = authority_facts(files).ok()?;
    let server = server_facts(files).ok()?;
    if server.issuer != authority.subject || !files.ca_key.exists() {
        return None;
    }
    if server.days_left(now) < RENEW_DAYS {
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

/// Facts of the server's certificate.
pub fn server_facts(files: &AuthorityFiles) -> Result<CertificateFacts, AuthorityError> {
    facts(&files.certificate)
}

fn facts(path: &Path) -> Result<CertificateFacts, AuthorityError> {
    let chain = certificates("certificate", path)?;
    CertificateFacts::read(&chain[0]).map_err(|cause| AuthorityError::File { path: path.to_owned(), cause })
}

fn issue(files: &AuthorityFiles, names: &Names, now: OffsetDateTime) -> Result<CertificateFacts, AuthorityError> {
    let unusable = |cause: String| AuthorityError::File { path: files.ca_key.clone(), cause };
    let anchor = certificates("certificate authority", &files.ca_certificate)?.remove(0);
    refuse_open_key(&files.ca_key)?;
    let pem = Zeroizing::new(fs::read_to_string(&files.ca_key).map_err(|cause| file_error(&files.ca_key, &cause))?);
    let ca_key = KeyPair::from_pem(&pem).map_err(|_| unusable("it holds no private key in PEM".into()))?;
    let issuer = Issuer::from_ca_cert_der(&anchor, ca_key)?;
    if let Some(name) = vouching(files)?.first_outside(names) {
        return Err(AuthorityError::NotPermitted { ca: files.ca_certificate.clone(), name });
    }
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let certificate = server_params(names, now)?.signed_by(&key, &issuer)?;
    check_vouched(files, &anchor, certificate.der(), names)?;
    // The key goes first: a certificate without its key would be seen as broken for longer than the other way round.
    write(&files.private_key, key.serialize_pem().as_bytes(), 0o600)?;
    let chain =
        certificate.pem() + &fs::read_to_string(&files.ca_certificate).map_err(|cause| file_error(&files.ca_certificate, &cause))?;
    write(&files.certificate, chain.as_bytes(), 0o644)?;
    CertificateFacts::read(certificate.der()).map_err(|cause| AuthorityError::File { path: files.certificate.clone(), cause })
}

/// Judges the new certificate as a browser will: an authority whose key was exchanged does not vouch for it.
fn check_vouched(
    files: &AuthorityFiles,
    anchor: &CertificateDer<'static>,
    leaf: &CertificateDer<'static>,
    names: &Names,
) -> Result<(), AuthorityError> {
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier;
    let file = |cause: String| AuthorityError::File { path: files.ca_certificate.clone(), cause };
    let mut anchors = rustls::RootCertStore::empty();
    anchors.add(anchor.clone()).map_err(|wrong| file(wrong.to_string()))?;
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        WebPkiServerVerifier::builder_with_provider(anchors.into(), provider).build().map_err(|wrong| file(wrong.to_string()))?;
    let now = rustls_pki_types::UnixTime::now();
    let first = names.hosts.iter().cloned().chain(names.addresses.iter().map(IpAddr::to_string)).next();
    let server_name = first.and_then(|name| rustls_pki_types::ServerName::try_from(name).ok());
    let server_name = server_name.ok_or_else(|| file("there is no name to make a certificate out to".into()))?;
    let judged = verifier.verify_server_cert(leaf, &[], &server_name, &[], now);
    judged.map(drop).map_err(|wrong| file(format!("it does not vouch for the new certificate: {wrong}")))
}

fn vouching(files: &AuthorityFiles) -> Result<Vouching, AuthorityError> {
    let anchor = certificates("certificate authority", &files.ca_certificate)?.remove(0);
    let unusable = || AuthorityError::File { path: files.ca_certificate.clone(), cause: "it is not a certificate that can be read".into() };
    Vouching::of(&anchor).ok_or_else(unusable)
}

fn authority_params(names: &Names, now: OffsetDateTime, key: &KeyPair) -> CertificateParams {
    let mut params = validity(now, AUTHORITY_DAYS);
    // Stations list it by this name; the end of the key's fingerprint tells one box from another, and old from new.
    let mark: String = super::certificate::fingerprint(key.public_key_raw()).chars().filter(|c| *c != ':').take(6).collect();
    let host = rustix::system::uname().nodename().to_string_lossy().chars().take(40).collect::<String>();
    params.distinguished_name.push(DnType::OrganizationName, "edgelabel");
    params.distinguished_name.push(DnType::CommonName, format!("edgelabel on {host} {mark}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = Some(NameConstraints { permitted_subtrees: permitted_trees(names), excluded_subtrees: Vec::new() });
    params
}

fn server_params(names: &Names, now: OffsetDateTime) -> Result<CertificateParams, AuthorityError> {
    let mut params = validity(now, LEAF_DAYS);
    if let Some(first) = names.hosts.iter().find(|host| *host != "localhost").or(names.hosts.first()) {
        // The common name must not be longer than 64, and nobody reads it any more.
        params.distinguished_name.push(DnType::CommonName, first.chars().take(64).collect::<String>());
    }
    for host in &names.hosts {
        params.subject_alt_names.push(SanType::DnsName(host.as_str().try_into()?));
    }
    params.subject_alt_names.extend(names.addresses.iter().copied().map(SanType::IpAddress));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// Valid from an hour ago, so that a station whose clock lags accepts it at once.
fn validity(now: OffsetDateTime, days: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.not_before = now - Duration::HOUR;
    params.not_after = now + Duration::days(days);
    params
}

fn clock() -> Result<OffsetDateTime, AuthorityError> {
    let now = OffsetDateTime::now_utc();
    if now.unix_timestamp() < EARLIEST_CLOCK { Err(AuthorityError::Clock(now.date().to_string())) } else { Ok(now) }
}

/// Writes a whole file or leaves the old one; readable by whoever owns the folder, who is the one that serves from it.
fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), AuthorityError> {
    let fail = |cause: &std::io::Error| file_error(path, cause);
    let fresh = path.with_extension(format!("{}.new", path.extension().unwrap_or_default().to_string_lossy()));
    // Left over from a run that was cut short.
    let _ = fs::remove_file(&fresh);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh).map_err(|cause| fail(&cause))?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(|cause| fail(&cause))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if rustix::process::geteuid().is_root() {
        let owner = fs::metadata(folder).map_err(|cause| fail(&cause))?;
        chown(&fresh, Some(owner.uid()), Some(owner.gid())).map_err(|cause| fail(&cause))?;
    }
    fs::rename(&fresh, path).map_err(|cause| fail(&cause))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|cause| fail(&cause))
}

fn file_error(path: &Path, cause: &std::io::Error) -> AuthorityError {
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
    fn an_exchanged_authority_key_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        let names = Names::parse(["box.local"]).unwrap();
        init(&files, &names, false).unwrap();
        fs::write(&files.ca_key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
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
}
