//! Both request signatures: the v1 header over the body's digest, and the v2 message signature.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};

use super::Behaviour;
use super::store::Store;
use crate::support::server::Request;

/// Why a signature was not taken.
#[derive(Debug, PartialEq)]
pub(super) enum Refused {
    /// The key is not known to the backend.
    UnknownKey,
    /// Missing, malformed, or over other bytes.
    Bad(String),
}

fn bad(reason: impl Into<String>) -> Refused {
    Refused::Bad(reason.into())
}

/// `Authorization: <public key hex>:<signature hex>` over the 32-byte SHA-256 digest of the body. Returns the key.
pub(super) fn v1(store: &Store, request: &Request) -> Result<String, Refused> {
    let header = request.header("authorization").ok_or_else(|| bad("no Authorization header"))?;
    let (key, signature) = header.split_once(':').ok_or_else(|| bad("Authorization is not key:signature"))?;
    verify(store, key, &unhex(signature).ok_or_else(|| bad("signature is not hex"))?, &Sha256::digest(&request.body))
}

/// `Signature-Input`, `Signature` and `Content-Digest` over method, request target and body. Returns the key.
pub(super) fn v2(store: &Store, request: &Request, behaviour: &Behaviour) -> Result<String, Refused> {
    let header = |name: &str| request.header(name).ok_or_else(|| bad(format!("no {name} header")));
    let digest = header("content-digest")?;
    let expected = format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(&request.body)));
    if digest != expected {
        return Err(bad("Content-Digest is not that of the body"));
    }
    let params = header("signature-input")?.strip_prefix("encord-sig=").ok_or_else(|| bad("Signature-Input lacks encord-sig"))?;
    let (components, rest) =
        params.strip_prefix('(').and_then(|rest| rest.split_once(')')).ok_or_else(|| bad("Signature-Input has no component list"))?;
    let param = |name: &str| {
        let value = rest.split(';').find_map(|part| part.strip_prefix(name)?.strip_prefix('='))?;
        Some(value.trim_matches('"').to_owned())
    };
    let created: i64 = param("created").and_then(|text| text.parse().ok()).ok_or_else(|| bad("created is missing"))?;
    let off = (behaviour.now().unix_timestamp() - created).unsigned_abs();
    if off > behaviour.signature_window.as_secs() {
        return Err(bad(format!("created is {off} s away from now")));
    }
    if param("alg").as_deref() != Some("ed25519") {
        return Err(bad("alg is not ed25519"));
    }
    let names: Vec<&str> = components.split(' ').map(|name| name.trim_matches('"')).collect();
    for needed in ["@method", "@request-target", "content-digest"] {
        if !names.contains(&needed) {
            return Err(bad(format!("{needed} is not signed")));
        }
    }
    let mut base = String::new();
    for name in names {
        let value = match name {
            "@method" => request.method.as_str(),
            "@request-target" => request.target.as_str(),
            other => header(other)?,
        };
        base.push_str(&format!("\"{name}\": {value}\n"));
    }
    base.push_str(&format!("\"@signature-params\": {params}"));
    let signature = header("signature")?
        .strip_prefix("encord-sig=:")
        .and_then(|rest| rest.strip_suffix(':'))
        .and_then(|text| STANDARD.decode(text).ok())
        .ok_or_else(|| bad("Signature is not encord-sig=:base64:"))?;
    verify(store, &param("keyid").ok_or_else(|| bad("keyid is missing"))?, &signature, base.as_bytes())
}

fn verify(store: &Store, key: &str, signature: &[u8], message: &[u8]) -> Result<String, Refused> {
    if !store.keys.contains_key(key) {
        return Err(Refused::UnknownKey);
    }
    let bytes = unhex(key).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()).ok_or_else(|| bad("key id is not 64 hex digits"))?;
    let public = VerifyingKey::from_bytes(&bytes).map_err(|error| bad(error.to_string()))?;
    let signature = Signature::from_slice(signature).map_err(|error| bad(error.to_string()))?;
    public.verify_strict(message, &signature).map_err(|_| bad("the signature does not fit the request"))?;
    Ok(key.to_owned())
}

pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
