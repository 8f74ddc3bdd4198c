//! The authority at work: makes itself, and server certificates.

use std::fs;
use std::net::IpAddr;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
    PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls_pki_types::CertificateDer;
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use super::authority::{AuthorityError, AuthorityFiles, file_error};
use super::certificate::{CertificateFacts, day, fingerprint};
use super::names::Names;
use super::tls::{certificates, check_readers};
use super::vouching::permitted_trees;

/// Browsers refuse server certificates that are valid for more than 398 days.
pub(super) const LEAF_DAYS: i64 = 396;
const AUTHORITY_DAYS: i64 = 3650;

/// An authority with its private key.
pub(super) struct Authority {
    /// Its certificate, as it is handed out.
    pub(super) pem: String,
    anchor: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    ends: OffsetDateTime,
}

/// A new server certificate.
pub(super) struct Issued {
    /// Its private key, in PEM.
    pub(super) key: Zeroizing<String>,
    /// The certificate and its authority's, in PEM.
    pub(super) chain: String,
    pub(super) facts: CertificateFacts,
}

impl Authority {
    /// A new one, and its private key in PEM. Nothing is written.
    pub(super) fn make(files: &AuthorityFiles, names: &Names, now: OffsetDateTime) -> Result<(Self, Zeroizing<String>), AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = authority_params(names, now, &key).self_signed(&key)?;
        let key_pem = Zeroizing::new(key.serialize_pem());
        Ok((Self::of(files, certificate.pem(), certificate.der().clone(), key)?, key_pem))
    }

    /// The one whose files are there.
    pub(super) fn read(files: &AuthorityFiles) -> Result<Self, AuthorityError> {
        let unusable = |cause: String| AuthorityError::File { path: files.ca_key.clone(), cause };
        let anchor = certificates("certificate authority", &files.ca_certificate)?.remove(0);
        check_readers(&files.ca_key)?;
        let key_pem = Zeroizing::new(fs::read_to_string(&files.ca_key).map_err(|cause| file_error(&files.ca_key, &cause))?);
        let key = KeyPair::from_pem(&key_pem).map_err(|_| unusable("it holds no private key in PEM".into()))?;
        let pem = fs::read_to_string(&files.ca_certificate).map_err(|cause| file_error(&files.ca_certificate, &cause))?;
        Self::of(files, pem, anchor, key)
    }

    fn of(files: &AuthorityFiles, pem: String, anchor: CertificateDer<'static>, key: KeyPair) -> Result<Self, AuthorityError> {
        let unusable = |cause: String| AuthorityError::File { path: files.ca_certificate.clone(), cause };
        let facts = CertificateFacts::read(&anchor).map_err(unusable)?;
        let ends = OffsetDateTime::from_unix_timestamp(facts.not_after).map_err(|wrong| unusable(wrong.to_string()))?;
        Ok(Self { pem, issuer: Issuer::from_ca_cert_der(&anchor, key)?, anchor, ends })
    }

    /// A new key and a certificate for it, judged as a browser will judge it. Nothing is written.
    pub(super) fn issue(&self, files: &AuthorityFiles, names: &Names, now: OffsetDateTime) -> Result<Issued, AuthorityError> {
        if self.ends <= now {
            return Err(AuthorityError::Ended { ca: files.ca_certificate.clone(), day: day(self.ends.unix_timestamp()) });
        }
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = server_params(names, now)?;
        params.not_after = params.not_after.min(self.ends);
        let certificate = params.signed_by(&key, &self.issuer)?;
        self.check_vouched(files, certificate.der(), names)?;
        let unusable = |cause| AuthorityError::File { path: files.certificate.clone(), cause };
        Ok(Issued {
            key: Zeroizing::new(key.serialize_pem()),
            chain: certificate.pem() + &self.pem,
            facts: CertificateFacts::read(certificate.der()).map_err(unusable)?,
        })
    }

    /// An authority whose key was exchanged does not vouch for its certificates.
    fn check_vouched(&self, files: &AuthorityFiles, leaf: &CertificateDer<'static>, names: &Names) -> Result<(), AuthorityError> {
        let file = |cause: String| AuthorityError::File { path: files.ca_certificate.clone(), cause };
        let mut anchors = rustls::RootCertStore::empty();
        anchors.add(self.anchor.clone()).map_err(|wrong| file(wrong.to_string()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(anchors.into(), provider);
        let verifier = verifier.build().map_err(|wrong| file(wrong.to_string()))?;
        let first = names.hosts.iter().cloned().chain(names.addresses.iter().map(IpAddr::to_string)).next();
        let server_name = first.and_then(|name| rustls_pki_types::ServerName::try_from(name).ok());
        let server_name = server_name.ok_or_else(|| file("there is no name to make a certificate out to".into()))?;
        let judged = verifier.verify_server_cert(leaf, &[], &server_name, &[], rustls_pki_types::UnixTime::now());
        judged.map(drop).map_err(|wrong| file(format!("it does not vouch for the new certificate: {wrong}")))
    }
}

pub(super) fn authority_params(names: &Names, now: OffsetDateTime, key: &KeyPair) -> CertificateParams {
    let mut params = validity(now, AUTHORITY_DAYS);
    // Stations list it by this name; the end of the key's fingerprint tells one box from another, and old from new.
    let mark: String = fingerprint(key.public_key_raw()).chars().filter(|c| *c != ':').take(6).collect();
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
