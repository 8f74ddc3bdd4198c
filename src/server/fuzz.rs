//! The ways in for the fuzzer: a body and signature headers as a stranger could send them.

use std::time::{Duration, UNIX_EPOCH};

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

use super::auth::{self, Provenance, Signatures, behind_token};
use super::payload::{self, Ask, Payload};
use super::settings::SignaturePolicy;
use crate::ids::Secret;

/// Longest complaint about a body; it goes back to the caller.
const LONGEST_COMPLAINT: usize = 600;

/// Whatever the body is, it is read within its bounds and the same when written anew, or refused in a few plain words.
#[doc(hidden)]
pub fn fuzz_payload(body: &[u8]) {
    match payload::parse(body) {
        Ok(Payload::Trigger(ask)) => {
            assert!(ask.objects.len() <= 1000 && ask.objects.iter().all(|hash| (1..=64).contains(&hash.chars().count())));
            let Ask { project, data, frame, objects } = &ask;
            let again = serde_json::json!({"projectHash": project, "dataHash": data, "frame": frame, "objectHashes": objects});
            assert_eq!(payload::parse(again.to_string().as_bytes()), Ok(Payload::Trigger(ask)));
        }
        Ok(Payload::Event(event)) => assert!(event.kind.chars().count() <= 80),
        Err(complaint) => {
            let complaint = complaint.to_string();
            assert!(complaint.len() <= LONGEST_COMPLAINT, "{} bytes of complaint", complaint.len());
            assert!(!complaint.chars().any(char::is_control), "{complaint:?}");
        }
    }
}

/// A request whose first byte says how it is made, then lines: timestamp, signature, path, body. Only what is signed with
/// a secret, once, in time, is taken for signed; and only the token opens a path.
#[doc(hidden)]
pub fn fuzz_signature(input: &[u8]) {
    let Some((&how, rest)) = input.split_first() else { return };
    let mut lines = rest.splitn(4, |&byte| byte == b'\n');
    let [timestamp, mut signature, path, body] = std::array::from_fn(|_| lines.next().unwrap_or_default().to_vec());
    let flag = |bit: u8| how & 1 << bit != 0;
    let policy = if flag(0) { SignaturePolicy::Required } else { SignaturePolicy::WhenPresent };
    let secrets: Vec<Secret> = ["whsec_one", "whsec_two"].into_iter().take((how >> 1 & 3).into()).map(Secret::new).collect();
    let text = String::from_utf8_lossy(&timestamp).trim().to_owned();
    if flag(3) {
        // A fuzzer finds no HMAC by itself.
        signature = auth::hex_signature(&Secret::new("whsec_two"), &text, &body).into_bytes();
    }
    if flag(4) {
        signature.make_ascii_uppercase();
    }
    let mut headers = HeaderMap::new();
    for (name, value) in [("x-encord-signature", &signature), ("x-encord-timestamp", &timestamp), ("x-encord-signature", &path)] {
        // The third line is a second signature too, when the seventh bit says so.
        if (name, value) == ("x-encord-signature", &path) && !flag(6) {
            continue;
        }
        let Ok(value) = HeaderValue::from_bytes(value) else { continue };
        headers.append(HeaderName::from_static(name), value);
    }
    let now = 1_700_000_000;
    let signatures = Signatures::new(secrets.clone(), policy);
    let verdict = signatures.verify(&headers, &body, UNIX_EPOCH + Duration::from_secs(now));
    let single = headers.get_all("x-encord-signature").iter().count() == 1;
    // What is no text of ASCII is no time either, whatever becomes of it when white space of all kinds is cut off.
    let shown_time = headers.get("x-encord-timestamp").and_then(|value| value.to_str().ok()).map(str::trim);
    let in_time = shown_time.and_then(|time| time.parse().ok()).is_some_and(|seconds: u64| seconds.abs_diff(now) <= 300);
    let shown = headers.get("x-encord-signature").and_then(|value| value.to_str().ok()).map(str::trim);
    let right = secrets.iter().any(|secret| shown == Some(auth::hex_signature(secret, &text, &body).as_str()));
    let signed = single && in_time && right;
    assert_eq!(verdict == Ok(Provenance::Signed), signed, "{verdict:?}");
    if let Err(why) = &verdict {
        assert!(!why.to_string().contains("whsec_"), "{why} shows a secret");
    }
    if policy == SignaturePolicy::Required {
        assert!(signed || verdict.is_err(), "{verdict:?} though a signature is required");
        assert!(!signed || signatures.precheck(&headers).is_ok());
    }

    let Ok(path) = std::str::from_utf8(&path) else { return };
    let token = Secret::new("t0ken");
    let behind = behind_token(Some(&token), path);
    let expected = path.strip_prefix("/t0ken").filter(|rest| rest.is_empty() || rest.starts_with('/'));
    assert_eq!(behind, expected.map(|rest| if rest.is_empty() { "/" } else { rest }));
}
