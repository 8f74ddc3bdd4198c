//! The server's certificate: loaded from files, looked at again when they change, never given up for a broken one.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::certificate::CertificateFacts;
use super::keyfile::{Readers, readers};
use super::settings::TlsSettings;
use super::switch::successor;

/// How often, at most, a handshake looks at the files.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// No PEM file of ours comes near this size.
const MAX_PEM: u64 = 1024 * 1024;

/// Why a certificate cannot be used. Names the file, never a key's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{what} {path}: {cause}; `edgelabel cert init` makes a certificate, or set server.tls")]
    Unreadable {
        /// What the file is for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's word.
        cause: String,
    },
    /// A file does not hold what it should.
    #[error("{what} {path}: {cause}")]
    Unusable {
        /// What the file is for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// Certificate and private key are not a pair.
    #[error("certificate {certificate}: it does not belong to the private key {private_key} ({cause})")]
    NoPair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The private key's.
        private_key: PathBuf,
        /// What rustls says.
        cause: String,
    },
    /// Everyone on the box can read the private key.
    #[error("private key {path} can be read by others (mode {mode:04o}): chmod o-rwx {path}, and make a new one if the box is shared")]
    OpenKey {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// rustls refuses the combination.
    #[error("TLS: {0}")]
    Rejected(String),
}

/// The certificate in use, and what is wrong with a newer one.
#[derive(Debug, Clone)]
pub struct CertificateState {
    /// Facts of the certificate in use.
    pub facts: CertificateFacts,
    /// Since when, and why, the files on disk cannot replace it.
    pub problem: Option<(SystemTime, String)>,
    /// Why it is not renewed although it should be.
    pub renewal: Option<String>,
}

/// The TLS configuration of the moment.
pub(super) struct Tls {
    current: Mutex<Current>,
}

struct Current {
    settings: TlsSettings,
    loaded: Loaded,
    problem: Option<(SystemTime, String)>,
    renewal: Option<String>,
    looked: Instant,
    /// State of the files that `loaded` or `problem` came from.
    seen: Vec<Stamp>,
}

#[derive(Clone)]
struct Loaded {
    config: Arc<ServerConfig>,
    /// Without a demand for a client certificate, for the daemon's own probe.
    probe_config: Arc<ServerConfig>,
    leaf: CertificateDer<'static>,
    facts: CertificateFacts,
}

impl Tls {
    /// Loads the files. Blocks for as long as the disk does.
    pub(super) fn load(settings: TlsSettings) -> Result<Self, TlsError> {
        let seen = stamps(&settings);
        let loaded = read_all(&settings)?;
        tracing::info!(certificate = %loaded.facts, sha256 = %loaded.facts.sha256, "serving TLS");
        let current = Current { settings, loaded, problem: None, renewal: None, looked: Instant::now(), seen };
        Ok(Self { current: Mutex::new(current) })
    }

    /// The configuration for the next handshake: looks, at most once a second, whether the files have changed.
    pub(super) fn for_handshake(&self, probe: bool) -> Arc<ServerConfig> {
        self.watch();
        let current = self.lock();
        Arc::clone(if probe { &current.loaded.probe_config } else { &current.loaded.config })
    }

    /// Looks whether the files have changed, though nobody calls: a broken pair is to be heard of when it is put there.
    pub(super) fn watch(&self) {
        let mut current = self.lock();
        if current.looked.elapsed() >= LOOK_AGAIN {
            current.look();
        }
    }

    /// Reads the files of `settings` now. On failure what was in use stays in use, with the files it came from.
    pub(super) fn reload(&self, settings: TlsSettings) -> Result<(), TlsError> {
        let seen = stamps(&settings);
        let loaded = read_all(&settings);
        let mut current = self.lock();
        let loaded = loaded.and_then(|loaded| current.no_worse(loaded, &settings));
        let loaded = loaded.inspect_err(|_| {
            if settings == current.settings {
                current.seen.clear();
                current.look();
            }
        })?;
        if loaded.leaf != current.loaded.leaf {
            tracing::info!(certificate = %loaded.facts, sha256 = %loaded.facts.sha256, "new certificate in use");
        }
        let renewal = current.renewal.take();
        *current = Current { settings, loaded, problem: None, renewal, looked: Instant::now(), seen };
        Ok(())
    }

    /// Tries the files again that could not be used: a certificate may have become valid meanwhile.
    pub(super) fn try_again(&self) {
        let mut current = self.lock();
        if current.problem.is_some() {
            current.seen.clear();
            current.look();
        }
    }

    pub(super) fn state(&self) -> CertificateState {
        self.watch();
        let current = self.lock();
        CertificateState { facts: current.loaded.facts.clone(), problem: current.problem.clone(), renewal: current.renewal.clone() }
    }

    /// Notes how the last renewal went, and says whether that is news.
    pub(super) fn note_renewal(&self, problem: Option<String>) -> bool {
        let mut current = self.lock();
        let news = current.renewal != problem;
        current.renewal = problem;
        news
    }

    /// Where the files are.
    pub(super) fn settings(&self) -> TlsSettings {
        self.lock().settings.clone()
    }

    /// The certificate that callers see at this moment.
    pub(super) fn leaf(&self) -> CertificateDer<'static> {
        self.lock().loaded.leaf.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        // A panic while the files are read leaves the old state whole: every assignment below is a last step.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Current {
    fn look(&mut self) {
        self.looked = Instant::now();
        let seen = stamps(&self.settings);
        if seen == self.seen {
            return;
        }
        self.seen = seen;
        match read_all(&self.settings).and_then(|loaded| self.no_worse(loaded, &self.settings)) {
            Ok(loaded) => {
                if loaded.leaf != self.loaded.leaf || self.problem.is_some() {
                    tracing::info!(certificate = %loaded.facts, sha256 = %loaded.facts.sha256, "new certificate in use");
                }
                self.loaded = loaded;
                self.problem = None;
            }
            Err(problem) => {
                let problem = problem.to_string();
                if self.problem.as_ref().is_none_or(|(_, told)| *told != problem) {
                    tracing::error!(%problem, in_use = %self.loaded.facts, "the new certificate cannot be used; the old one stays in use");
                }
                let since = self.problem.take().map_or_else(SystemTime::now, |(since, _)| since);
                self.problem = Some((since, problem));
            }
        }
    }

    /// One that browsers refuse for its dates takes the place of none that they accept.
    fn no_worse(&self, loaded: Loaded, settings: &TlsSettings) -> Result<Loaded, TlsError> {
        let now = SystemTime::now();
        match loaded.facts.date_problem(now) {
            Some(cause) if self.loaded.facts.date_problem(now).is_none() => {
                Err(TlsError::Unusable { what: "certificate", path: settings.certificate.clone(), cause })
            }
            _ => Ok(loaded),
        }
    }
}

/// What tells one state of a file from another.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp(Option<(u64, u64, i64, i64, i64, i64)>);

fn stamps(settings: &TlsSettings) -> Vec<Stamp> {
    let files = [Some(&settings.certificate), Some(&settings.private_key), settings.client_ca.as_ref()];
    files.into_iter().flatten().map(|path| Stamp::of(path)).collect()
}

impl Stamp {
    fn of(path: &Path) -> Self {
        // The change time moves with the permissions, which matter for the key.
        let facts = std::fs::metadata(path).ok();
        Self(facts.map(|f| (f.ino(), f.len(), f.mtime(), f.mtime_nsec(), f.ctime(), f.ctime_nsec())))
    }
}

fn read_all(settings: &TlsSettings) -> Result<Loaded, TlsError> {
    let provider = Arc::new(default_provider());
    let (leaf, facts, certified) = read_pair(settings, &provider)?;
    if facts.dns_names.is_empty() && facts.addresses.is_empty() {
        tracing::warn!(certificate = %facts, "the certificate has no subject alternative name: browsers will refuse it");
    }
    if let Some(problem) = facts.date_problem(SystemTime::now()) {
        tracing::warn!(certificate = %facts, %problem, "browsers will refuse the certificate");
    }
    let certified = Arc::new(SingleCertAndKey::from(certified));
    let probe_config = config(&provider, None, &certified)?;
    let config = match &settings.client_ca {
        Some(anchors) => config(&provider, Some(anchors), &certified)?,
        None => Arc::clone(&probe_config),
    };
    Ok(Loaded { config, probe_config, leaf, facts })
}

type Pair = (CertificateDer<'static>, CertificateFacts, CertifiedKey);

/// Certificate and key; in the middle of a switch of our own the certificate that is about to take its place, and if it
/// just has, that one where it belongs.
fn read_pair(settings: &TlsSettings, provider: &CryptoProvider) -> Result<Pair, TlsError> {
    let with = |certificate: &Path| pair_of(certificate, &settings.private_key, provider);
    match with(&settings.certificate) {
        Err(TlsError::NoPair { .. }) => with(&successor(&settings.certificate)).or_else(|_| with(&settings.certificate)),
        read => read,
    }
}

fn pair_of(certificate: &Path, private_key_file: &Path, provider: &CryptoProvider) -> Result<Pair, TlsError> {
    let chain = certificates("certificate", certificate)?;
    let key = private_key(private_key_file)?;
    let leaf = chain[0].clone();
    let unusable = |cause: String| TlsError::Unusable { what: "certificate", path: certificate.to_owned(), cause };
    let facts = CertificateFacts::read(&leaf).map_err(unusable)?;
    let certified = CertifiedKey::from_der(chain, key, provider).map_err(|wrong| TlsError::NoPair {
        certificate: certificate.to_owned(),
        private_key: private_key_file.to_owned(),
        cause: wrong.to_string(),
    })?;
    Ok((leaf, facts, certified))
}

fn config(
    provider: &Arc<CryptoProvider>,
    client_ca: Option<&PathBuf>,
    certified: &Arc<SingleCertAndKey>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let rejected = |wrong: rustls::Error| TlsError::Rejected(wrong.to_string());
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider)).with_protocol_versions(&[&TLS13, &TLS12]).map_err(rejected)?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let unusable = |cause: String| TlsError::Unusable { what: "server.tls.client_ca", path: path.clone(), cause };
            let mut anchors = RootCertStore::empty();
            for anchor in certificates("server.tls.client_ca", path)? {
                anchors.add(anchor).map_err(|wrong| unusable(wrong.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(anchors), Arc::clone(provider)).build();
            builder.with_client_cert_verifier(verifier.map_err(|wrong| unusable(wrong.to_string()))?)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::clone(certified) as Arc<_>);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Sessions are resumed by tickets, so that no state is kept for callers who never come back; the keys rotate.
    config.ticketer = Ticketer::new().map_err(rejected)?;
    Ok(Arc::new(config))
}

/// The certificates of a PEM file, at least one.
pub(crate) fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(what, path)?;
    let unusable = |cause: String| TlsError::Unusable { what, path: path.to_owned(), cause };
    let found: Vec<_> = CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|wrong| unusable(wrong.to_string()))?;
    if found.is_empty() { Err(unusable("it holds no CERTIFICATE in PEM".into())) } else { Ok(found) }
}

/// Refuses a private key that everyone on the box can read, and warns of one that a group can.
pub(crate) fn check_readers(path: &Path) -> Result<(), TlsError> {
    match readers(path) {
        Readers::Service => {}
        Readers::Group { group, mode } => tracing::warn!(
            key = %path.display(), group, mode = format!("{mode:04o}"),
            "a group other than the service's own can read this private key: chmod g-rwx, unless all of the group may play this box"
        ),
        Readers::Everyone { mode } => return Err(TlsError::OpenKey { path: path.to_owned(), mode }),
    }
    Ok(())
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let what = "private key";
    check_readers(path)?;
    let pem = read(what, path)?;
    let unusable = |cause: &str| TlsError::Unusable { what, path: path.to_owned(), cause: cause.into() };
    if pem.windows(9).any(|window| window == b"ENCRYPTED") {
        return Err(unusable("it is encrypted; give it without a passphrase, as a file only edgelabel may read or as a credential"));
    }
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| unusable("it holds no private key in PEM (PKCS #8, SEC1 or PKCS #1)"))
}

fn read(what: &'static str, path: &Path) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let unreadable = |cause: String| TlsError::Unreadable { what, path: path.to_owned(), cause };
    let mut pem = Zeroizing::new(Vec::new());
    let file = File::open(path).map_err(|wrong| unreadable(wrong.to_string()))?;
    file.take(MAX_PEM + 1).read_to_end(&mut pem).map_err(|wrong| unreadable(wrong.to_string()))?;
    if pem.len() as u64 > MAX_PEM { Err(unreadable("it is too large for a PEM file".into())) } else { Ok(pem) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn write_pair(dir: &Path, name: &str) -> TlsSettings {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
        let settings = TlsSettings { certificate: dir.join("server.pem"), private_key: dir.join("server.key"), client_ca: None };
        std::fs::write(&settings.certificate, certificate.pem()).unwrap();
        std::fs::write(&settings.private_key, key.serialize_pem()).unwrap();
        std::fs::set_permissions(&settings.private_key, std::fs::Permissions::from_mode(0o600)).unwrap();
        settings
    }

    #[test]
    fn new_files_are_taken_and_a_broken_pair_keeps_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let settings = write_pair(dir.path(), "one.local");
        let tls = Tls::load(settings.clone()).unwrap();
        assert_eq!(tls.state().facts.dns_names, ["one.local"]);

        let other = tempfile::tempdir().unwrap();
        let foreign = write_pair(other.path(), "two.local");
        std::fs::copy(&foreign.certificate, &settings.certificate).unwrap();
        let refused = tls.reload(settings.clone()).unwrap_err();
        assert!(refused.to_string().contains("does not belong to the private key"), "{refused}");
        assert_eq!(tls.state().facts.dns_names, ["one.local"]);
        assert!(tls.state().problem.is_some());

        std::fs::copy(&foreign.private_key, &settings.private_key).unwrap();
        tls.reload(settings).unwrap();
        assert_eq!(tls.state().facts.dns_names, ["two.local"]);
        assert!(tls.state().problem.is_none());
    }

    #[test]
    fn a_certificate_out_of_date_does_not_replace_one_in_date_and_is_taken_when_its_time_comes() {
        let dir = tempfile::tempdir().unwrap();
        let settings = write_pair(dir.path(), "one.local");
        let tls = Tls::load(settings.clone()).unwrap();
        let now = time::OffsetDateTime::now_utc();
        let write = |name: &str, from: time::OffsetDateTime, until: time::OffsetDateTime| {
            let key = rcgen::KeyPair::generate().unwrap();
            let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
            (params.not_before, params.not_after) = (from, until);
            std::fs::write(&settings.certificate, params.self_signed(&key).unwrap().pem()).unwrap();
            std::fs::write(&settings.private_key, key.serialize_pem()).unwrap();
        };
        write("over.local", now - time::Duration::DAY * 2, now - time::Duration::DAY);
        assert!(tls.reload(settings.clone()).unwrap_err().to_string().contains("it ended on"));
        assert_eq!(tls.state().facts.dns_names, ["one.local"]);
        write("soon.local", now + time::Duration::seconds(4), now + time::Duration::DAY);
        assert!(tls.reload(settings.clone()).unwrap_err().to_string().contains("valid only from"));
        assert!(tls.state().problem.unwrap().1.contains("valid only from"));
        std::thread::sleep(Duration::from_secs(5));
        tls.try_again();
        assert_eq!((tls.state().facts.dns_names, tls.state().problem), (vec!["soon.local".to_owned()], None));
        // Where none is in date, the newest is as good as any: the clock may be wrong.
        write("over.local", now - time::Duration::DAY * 2, now - time::Duration::DAY);
        let tls = Tls::load(settings.clone()).unwrap();
        write("older.local", now - time::Duration::DAY * 4, now - time::Duration::DAY * 3);
        tls.reload(settings).unwrap();
        assert_eq!(tls.state().facts.dns_names, ["older.local"]);
    }

    #[test]
    fn a_handshake_sees_new_files_without_being_told() {
        let dir = tempfile::tempdir().unwrap();
        let settings = write_pair(dir.path(), "one.local");
        let tls = Tls::load(settings).unwrap();
        write_pair(dir.path(), "two.local");
        tls.lock().looked = Instant::now().checked_sub(LOOK_AGAIN).unwrap();
        tls.for_handshake(false);
        assert_eq!(tls.state().facts.dns_names, ["two.local"]);
    }

    #[test]
    fn what_is_wrong_with_the_files_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let settings = write_pair(dir.path(), "one.local");
        let problem = |settings: &TlsSettings| Tls::load(settings.clone()).err().unwrap().to_string();

        std::fs::set_permissions(&settings.private_key, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(problem(&settings).contains("chmod o-rwx"), "{}", problem(&settings));
        std::fs::set_permissions(&settings.private_key, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(Tls::load(settings.clone()).is_ok());

        let swapped = TlsSettings { certificate: settings.private_key.clone(), ..settings.clone() };
        assert!(problem(&swapped).contains("no CERTIFICATE"));
        let missing = TlsSettings { certificate: dir.path().join("none.pem"), ..settings.clone() };
        assert!(problem(&missing).contains("cert init"));
        std::fs::write(&settings.private_key, "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")
            .unwrap();
        assert!(problem(&settings).contains("passphrase"));
    }
}
