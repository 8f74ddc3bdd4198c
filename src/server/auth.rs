//! Who may call: the access token in the path, and the signature that Encord's backend puts on its requests.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, Mac};
use hyper::HeaderMap;
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::settings::SignaturePolicy;
use crate::ids::Secret;

const SIGNATURE: &str = "x-encord-signature";
const TIMESTAMP: &str = "x-encord-timestamp";

/// How far the timestamp of a signature may lie from this box's clock, either way.
const TOLERANCE: Duration = Duration::from_secs(300);

/// The path behind the access token, or `None` when the token is missing or wrong.
///
/// `/<token>/caption` → `/caption`; `/<token>` and `/<token>/` → `/`. Without a configured token every path is open.
pub(super) fn behind_token<'a>(token: Option<&Secret>, path: &'a str) -> Option<&'a str> {
    let Some(token) = token else { return Some(path) };
    let inner = path.strip_prefix('/')?;
    let (given, rest) = inner.find('/').map_or((inner, "/"), |slash| inner.split_at(slash));
    let right: bool = given.as_bytes().ct_eq(token.expose().as_bytes()).into();
    right.then_some(rest)
}

/// Why a request is not taken for Encord's: for the log, never for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unauthentic {
    #[error("it is not signed, and server.webhook_signature is \"required\"")]
    Unsigned,
    #[error("X-Encord-Signature or X-Encord-Timestamp comes more than once or is not text")]
    Garbled,
    #[error("X-Encord-Timestamp is missing or not a number of seconds")]
    NoTimestamp,
    #[error("its timestamp is {seconds} s away from this box's clock; more than {} s is refused: is the clock right?", TOLERANCE.as_secs())]
    Skewed { seconds: u64 },
    #[error("no secret in server.webhook_secret_file fits its signature")]
    Mismatch,
    #[error("server.webhook_signature is \"required\", but server.webhook_secret_file holds no secret")]
    NoSecret,
}

/// Whether a request carries a signature that [`Signatures::verify`] can prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Provenance {
    /// Signed with one of the secrets.
    Signed,
    /// Unsigned, or no secret is configured to check with.
    Unproven,
}

/// The secrets that a signature may be made with.
#[derive(Debug, Clone)]
pub(super) struct Signatures {
    secrets: Vec<Secret>,
    policy: SignaturePolicy,
}

impl Signatures {
    pub(super) fn new(secrets: Vec<Secret>, policy: SignaturePolicy) -> Self {
        Self { secrets, policy }
    }

    /// What can be refused before the body is read: an unsigned request where a signature is required.
    pub(super) fn precheck(&self, headers: &HeaderMap) -> Result<(), Unauthentic> {
        if self.policy != SignaturePolicy::Required {
            return Ok(());
        }
        if self.secrets.is_empty() {
            return Err(Unauthentic::NoSecret);
        }
        if headers.contains_key(SIGNATURE) { Ok(()) } else { Err(Unauthentic::Unsigned) }
    }

    /// Checks the signature of `<timestamp>.<body>` at the time `now`.
    pub(super) fn verify(&self, headers: &HeaderMap, body: &[u8], now: SystemTime) -> Result<Provenance, Unauthentic> {
        self.precheck(headers)?;
        if self.secrets.is_empty() {
            return Ok(Provenance::Unproven);
        }
        let Some(signature) = single(headers, SIGNATURE)? else { return Ok(Provenance::Unproven) };
        let timestamp = single(headers, TIMESTAMP)?.ok_or(Unauthentic::NoTimestamp)?;
        let seconds: u64 = timestamp.parse().map_err(|_| Unauthentic::NoTimestamp)?;
        let clock = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let skew = seconds.abs_diff(clock);
        if skew > TOLERANCE.as_secs() {
            return Err(Unauthentic::Skewed { seconds: skew });
        }
        // Every secret is tried, whichever fits, so that the time tells nothing about which one did.
        let fits = self
            .secrets
            .iter()
            .fold(false, |fits, secret| fits | bool::from(hex_signature(secret, timestamp, body).as_bytes().ct_eq(signature.as_bytes())));
        if fits { Ok(Provenance::Signed) } else { Err(Unauthentic::Mismatch) }
    }
}

/// Names of headers that look like a newer signature scheme than the one checked here.
pub(super) fn newer_schemes(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers.keys().map(|name| name.as_str()).filter(|name| name.starts_with(SIGNATURE) && *name != SIGNATURE)
}

/// Lower-case hexadecimal HMAC-SHA256 of `<timestamp>.<body>`.
pub(super) fn hex_signature(secret: &Secret, timestamp: &str, body: &[u8]) -> String {
    #[allow(clippy::expect_used)] // HMAC takes keys of every length.
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).expect("HMAC takes keys of every length");
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Unauthentic> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(|text| Some(text.trim())).map_err(|_| Unauthentic::Garbled),
        _ => Err(Unauthentic::Garbled),
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    const BODY: &[u8] = br#"{"projectHash":"p","dataHash":"d","frame":0}"#;
    const SIGNED: &str = "67c9a1de9d91d20161f02b32cea4429b2771dacb9e0deed7cd6ad214c1e51dae";
    const AT: u64 = 1_700_000_000;

    fn signatures(secrets: &[&str], policy: SignaturePolicy) -> Signatures {
        Signatures::new(secrets.iter().copied().map(Secret::new).collect(), policy)
    }

    fn headers(signature: &'static str, timestamp: &'static str) -> HeaderMap {
        HeaderMap::from_iter([
            (hyper::header::HeaderName::from_static(SIGNATURE), HeaderValue::from_static(signature)),
            (hyper::header::HeaderName::from_static(TIMESTAMP), HeaderValue::from_static(timestamp)),
        ])
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn encords_signature_verifies_with_any_of_the_secrets() {
        let asked = headers(SIGNED, "1700000000");
        for secrets in [&["whsec_test"][..], &["whsec_new", "whsec_test"], &["whsec_test", "whsec_old"]] {
            let signatures = signatures(secrets, SignaturePolicy::WhenPresent);
            assert_eq!(signatures.verify(&asked, BODY, at(AT)), Ok(Provenance::Signed));
            assert_eq!(signatures.verify(&asked, BODY, at(AT + 300)), Ok(Provenance::Signed));
            assert_eq!(signatures.verify(&asked, BODY, at(AT - 300)), Ok(Provenance::Signed));
        }
    }

    #[test]
    fn a_wrong_secret_body_time_or_form_is_refused() {
        let one = signatures(&["whsec_test"], SignaturePolicy::WhenPresent);
        let good = headers(SIGNED, "1700000000");
        assert_eq!(signatures(&["other"], SignaturePolicy::WhenPresent).verify(&good, BODY, at(AT)), Err(Unauthentic::Mismatch));
        assert_eq!(one.verify(&good, b"{}", at(AT)), Err(Unauthentic::Mismatch));
        assert_eq!(one.verify(&good, BODY, at(AT + 301)), Err(Unauthentic::Skewed { seconds: 301 }));
        assert_eq!(one.verify(&good, BODY, at(AT - 301)), Err(Unauthentic::Skewed { seconds: 301 }));
        assert_eq!(one.verify(&headers(SIGNED, "soon"), BODY, at(AT)), Err(Unauthentic::NoTimestamp));
        assert_eq!(one.verify(&headers(SIGNED, "1700000001"), BODY, at(AT)), Err(Unauthentic::Mismatch));
        assert_eq!(one.verify(&headers("", "1700000000"), BODY, at(AT)), Err(Unauthentic::Mismatch));
        let mut twice = good;
        twice.append(SIGNATURE, HeaderValue::from_static(SIGNED));
        assert_eq!(one.verify(&twice, BODY, at(AT)), Err(Unauthentic::Garbled));
    }

    #[test]
    fn unsigned_requests_pass_unless_a_signature_is_required() {
        let unsigned = HeaderMap::new();
        assert_eq!(signatures(&["s"], SignaturePolicy::WhenPresent).verify(&unsigned, BODY, at(AT)), Ok(Provenance::Unproven));
        assert_eq!(signatures(&["s"], SignaturePolicy::Required).verify(&unsigned, BODY, at(AT)), Err(Unauthentic::Unsigned));
        assert_eq!(signatures(&[], SignaturePolicy::Required).verify(&unsigned, BODY, at(AT)), Err(Unauthentic::NoSecret));
    }

    #[test]
    fn headers_of_a_newer_scheme_are_noticed_and_todays_are_not() {
        let mut asked = headers(SIGNED, "1700000000");
        assert_eq!(newer_schemes(&asked).count(), 0);
        asked.insert("x-encord-signature-v2", HeaderValue::from_static("00"));
        asked.insert("x-encord-signature-ed25519", HeaderValue::from_static("00"));
        let mut names: Vec<_> = newer_schemes(&asked).collect();
        names.sort_unstable();
        assert_eq!(names, ["x-encord-signature-ed25519", "x-encord-signature-v2"]);
    }

    #[test]
    fn the_token_is_the_first_segment_of_the_path() {
        let token = Secret::new("s3cret");
        for (path, behind) in [
            ("/s3cret/", Some("/")),
            ("/s3cret", Some("/")),
            ("/s3cret/caption", Some("/caption")),
            ("/", None),
            ("/caption", None),
            ("/s3cre", None),
            ("/s3crets/", None),
            ("//s3cret/", None),
            ("/caption/s3cret", None),
            ("*", None),
        ] {
            assert_eq!(behind_token(Some(&token), path), behind, "{path}");
        }
        assert_eq!(behind_token(None, "/caption"), Some("/caption"));
    }
}
