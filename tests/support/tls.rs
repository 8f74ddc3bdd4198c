//! A throw-away certificate authority for emulators that are to be reached over HTTPS.

use std::sync::Arc;

use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// A server certificate for `localhost` and `127.0.0.1`, and the authority that signed it.
pub struct LocalCertificate {
    pub server: Arc<rustls::ServerConfig>,
    pub authority_pem: String,
}

impl LocalCertificate {
    pub fn new() -> Self {
        Self::valid(-1, 365)
    }

    /// The server's is valid between these days, counted from now.
    pub fn valid(from: i64, until: i64) -> Self {
        let authority_key = rcgen::KeyPair::generate().unwrap();
        let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        authority.distinguished_name.push(rcgen::DnType::CommonName, "Emulator CA (throw-away)");
        let authority_cert = authority.self_signed(&authority_key).unwrap();
        let issuer = rcgen::Issuer::new(authority, authority_key);

        let key = rcgen::KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut parameters = rcgen::CertificateParams::new(names).unwrap();
        let day = |number| time::OffsetDateTime::now_utc() + time::Duration::days(number);
        (parameters.not_before, parameters.not_after) = (day(from), day(until));
        let certificate = parameters.signed_by(&key, &issuer).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())))
            .unwrap();
        Self { server: Arc::new(config), authority_pem: authority_cert.pem() }
    }
}
