//! The SSH key, and both of Encord's signatures: v1 signs the digest of the body, v2 is an early draft of RFC 9421.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::{Signer as _, SigningKey};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::ids::Secret;

use super::Error;

const BEGIN: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
const END: &str = "-----END OPENSSH PRIVATE KEY-----";
const MAKE_ONE: &str = "make one with `ssh-keygen -t ed25519` and register its public half at Encord";

/// The Ed25519 key that signs every call, parsed once.
#[derive(Clone)]
pub struct Key {
    signing: SigningKey,
    public_hex: String,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({}…)", self.fingerprint())
    }
}

impl Key {
    /// Reads an OpenSSH private key. Line ends may be LF, CRLF, spaces, written-out `\n`, or gone altogether, as they
    /// are when a key travels through an environment variable. `origin` names the source in errors; key text never does.
    pub fn parse(text: &Secret, origin: &str, password: Option<&Secret>) -> Result<Self, Error> {
        let wrong = |cause: String| Error::Key { origin: origin.to_owned(), cause };
        let pem = rewrapped(text.expose()).map_err(wrong)?;
        let mut key = ssh_key::PrivateKey::from_openssh(pem.as_bytes()).map_err(|error| wrong(parse_complaint(&error)))?;
        require_ed25519(&key.algorithm()).map_err(wrong)?;
        let password = password.filter(|password| !password.is_empty());
        if key.is_encrypted() {
            let password =
                password.ok_or_else(|| wrong("it is encrypted and no passphrase is set (encord.ssh_key_password_file)".into()))?;
            key = key.decrypt(password.expose()).map_err(|_| {
                wrong(
                    "it cannot be decrypted: the passphrase is wrong, or the cipher is not one of aes256-ctr, aes256-cbc, aes256-gcm"
                        .into(),
                )
            })?;
        }
        let pair =
            key.key_data().ed25519().ok_or_else(|| wrong(format!("it is not an Ed25519 key, the only kind Encord takes: {MAKE_ONE}")))?;
        let signing = SigningKey::from_bytes(&pair.private.to_bytes());
        if signing.verifying_key().as_bytes() != &pair.public.0 {
            return Err(wrong("its public half does not belong to its private half".into()));
        }
        let public_hex = hex(signing.verifying_key().as_bytes());
        Ok(Self { signing, public_hex })
    }

    /// The raw public key as 64 lower-case hexadecimal digits: Encord's id of the key.
    pub fn public_hex(&self) -> &str {
        &self.public_hex
    }

    /// The first digits of the public key, enough to tell keys apart.
    pub fn fingerprint(&self) -> &str {
        &self.public_hex[..12]
    }

    /// The `Authorization` value of a v1 call with this body. Neither path nor time is covered.
    pub fn sign_v1(&self, body: &[u8]) -> String {
        let signature = self.signing.sign(&Sha256::digest(body));
        format!("{}:{}", self.public_hex, hex(&signature.to_bytes()))
    }

    /// The three signature headers of a v2 call. `target` is path and query exactly as they stand on the request line;
    /// `created` is in Unix seconds.
    pub fn sign_v2(&self, method: &str, target: &str, body: &[u8], created: i64) -> [(&'static str, String); 3] {
        let digest = format!("sha-256=:{}:", BASE64.encode(Sha256::digest(body)));
        let parameters =
            format!(r#"("@method" "@request-target" "content-digest");created={created};keyid="{}";alg="ed25519""#, self.public_hex);
        let base = format!(
            "\"@method\": {method}\n\"@request-target\": {target}\n\"content-digest\": {digest}\n\"@signature-params\": {parameters}"
        );
        let signature = BASE64.encode(self.signing.sign(base.as_bytes()).to_bytes());
        [
            ("content-digest", digest),
            ("signature-input", format!("encord-sig={parameters}")),
            ("signature", format!("encord-sig=:{signature}:")),
        ]
    }
}

/// The key as strict PEM, whatever happened to its line ends on the way here.
fn rewrapped(text: &str) -> Result<Zeroizing<String>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err(format!("it is empty: {MAKE_ONE}"));
    }
    let body = text
        .strip_prefix(BEGIN)
        .ok_or_else(|| foreign_form(text))?
        .split_once(END)
        .ok_or("its last line, -----END OPENSSH PRIVATE KEY-----, is missing: the text is cut")?
        .0;
    let written_out = Zeroizing::new(body.replace("\\r", " ").replace("\\n", " "));
    let bare: Zeroizing<String> = Zeroizing::new(written_out.chars().filter(|c| !c.is_whitespace()).collect());
    if !bare.is_ascii() {
        return Err("it holds characters that no key has".into());
    }
    let mut pem = Zeroizing::new(String::with_capacity(bare.len() + bare.len() / 70 + 96));
    pem.push_str(BEGIN);
    pem.push('\n');
    for line in bare.as_bytes().chunks(70) {
        pem.extend(line.iter().map(|&byte| char::from(byte)));
        pem.push('\n');
    }
    pem.push_str(END);
    pem.push('\n');
    Ok(pem)
}

/// Names what was given instead of an OpenSSH private key, without quoting it.
fn foreign_form(text: &str) -> String {
    let what = if text.starts_with("ssh-") || text.starts_with("ecdsa-") || text.starts_with("---- BEGIN SSH2 PUBLIC") {
        "it is a public key; the private half is needed (the file without .pub)"
    } else if text.starts_with("-----BEGIN PRIVATE KEY") || text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY") {
        "it is a PKCS#8 key; Encord takes OpenSSH Ed25519 keys"
    } else if text.starts_with("-----BEGIN RSA") || text.starts_with("-----BEGIN DSA") {
        "it is an RSA or DSA key; Encord takes Ed25519 keys"
    } else if text.starts_with("-----BEGIN EC") {
        "it is an ECDSA key; Encord takes Ed25519 keys"
    } else if text.starts_with("PuTTY-User-Key-File") {
        "it is a PuTTY key; export it as an OpenSSH key"
    } else {
        "it is not an OpenSSH private key (-----BEGIN OPENSSH PRIVATE KEY-----)"
    };
    format!("{what}; {MAKE_ONE}")
}

fn require_ed25519(algorithm: &ssh_key::Algorithm) -> Result<(), String> {
    match algorithm {
        ssh_key::Algorithm::Ed25519 => Ok(()),
        other => Err(format!("it is a key of kind {}, and Encord takes Ed25519 only: {MAKE_ONE}", other.as_str())),
    }
}

fn parse_complaint(error: &ssh_key::Error) -> String {
    match error {
        ssh_key::Error::AlgorithmUnknown | ssh_key::Error::AlgorithmUnsupported { .. } => {
            format!("its kind or cipher is not supported; Encord takes Ed25519 only: {MAKE_ONE}")
        }
        _ => format!("its content is damaged or cut; {MAKE_ONE}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    /// A throw-away key that exists nowhere but here and in the vectors.
    const KEY: &str = include_str!("testdata/throw-away-key");

    fn parse(text: &str) -> Result<Key, Error> {
        Key::parse(&Secret::new(text), "test key", None)
    }

    fn complaint(text: &str, password: Option<&str>) -> String {
        let password = password.map(Secret::new);
        let error = Key::parse(&Secret::new(text), "the file /etc/key", password.as_ref()).unwrap_err().to_string();
        assert!(error.contains("the file /etc/key"), "{error}");
        for piece in text.split(['\n', ' ']).filter(|piece| piece.len() >= 16) {
            assert!(!error.contains(piece), "the error quotes the key: {error}");
        }
        error
    }

    fn keygen(arguments: &[&str]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let made = Command::new("ssh-keygen").args(arguments).args(["-q", "-C", "test", "-f"]).arg(&path).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn both_signatures_equal_the_sdks_byte_for_byte() {
        let vectors: serde_json::Value = serde_json::from_str(include_str!("testdata/signature-vectors.json")).unwrap();
        let key = parse(KEY).unwrap();
        assert_eq!(key.public_hex(), "13b3ef5715c0b782f35004cbf1e47def4862582b29c4cae342bc495be1c8cf53");

        let v1 = &vectors["v1"];
        assert_eq!(key.sign_v1(v1["body"].as_str().unwrap().as_bytes()), v1["headers"]["Authorization"].as_str().unwrap());

        for name in ["v2_get", "v2_get_query", "v2_post"] {
            let vector = &vectors[name];
            let text = |field: &str| vector[field].as_str().unwrap();
            let signed = key.sign_v2(text("method"), text("path_url"), text("body").as_bytes(), 1_700_000_000);
            for (header, expected) in signed.iter().zip(["Content-Digest", "Signature-Input", "Signature"]) {
                assert_eq!(header.0, expected.to_lowercase());
                assert_eq!(header.1, vector["headers"][expected].as_str().unwrap(), "{name} {expected}");
            }
        }
    }

    #[test]
    fn the_key_survives_what_environment_variables_do_to_it() {
        let expected = parse(KEY).unwrap().public_hex;
        let body = KEY.trim().strip_prefix(BEGIN).unwrap().strip_suffix(END).unwrap();
        for mangled in [
            KEY.trim_end().to_owned(),
            KEY.replace('\n', "\r\n"),
            KEY.replace('\n', " "),
            KEY.replace('\n', "\\n"),
            KEY.replace('\n', "\\r\\n"),
            format!("{BEGIN}{}{END}", body.replace('\n', "")),
            format!("\n\n  {KEY}\n\n"),
        ] {
            assert_eq!(parse(&mangled).unwrap().public_hex, expected, "{mangled:?}");
        }
    }

    #[test]
    fn keys_made_by_ssh_keygen_work_with_and_without_a_passphrase() {
        parse(&keygen(&["-t", "ed25519", "-N", ""])).unwrap();
        for cipher in ["aes256-ctr", "aes256-gcm@openssh.com", "aes256-cbc"] {
            let text = keygen(&["-t", "ed25519", "-N", "open sesame", "-a", "1", "-Z", cipher]);
            Key::parse(&Secret::new(text.clone()), "test", Some(&Secret::new("open sesame"))).unwrap();
            assert!(complaint(&text, Some("open sesam")).contains("passphrase is wrong"), "{cipher}");
            assert!(complaint(&text, None).contains("no passphrase is set"));
            assert!(complaint(&text, Some("")).contains("no passphrase is set"));
        }
    }

    #[test]
    fn other_kinds_of_keys_are_named_and_refused() {
        assert!(complaint(&keygen(&["-t", "rsa", "-b", "2048", "-N", ""]), None).contains("ssh-rsa"));
        assert!(complaint(&keygen(&["-t", "ecdsa", "-N", ""]), None).contains("Ed25519"));
        assert!(complaint(&keygen(&["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", ""]), None).contains("RSA"));
        assert!(complaint(&keygen(&["-t", "ecdsa", "-m", "PKCS8", "-N", ""]), None).contains("PKCS#8"));
        let public = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBOz71cVwLeC81AEy/Hkfe9IYlgrKcTK40K8SVvhyM9T throwaway";
        assert!(complaint(public, None).contains("public key"));
        assert!(complaint("", None).contains("empty"));
        assert!(complaint("hello", None).contains("not an OpenSSH private key"));
        assert!(complaint(&KEY[..200], None).contains("cut"));
        assert!(complaint(&KEY.replace("QyNTUxOQAAACATs", "QyNTUxOQAAACATt"), None).contains("half"));
        assert!(complaint(&format!("{BEGIN}\nnot base64!\n{END}"), None).contains("damaged"));
    }

    #[test]
    fn a_key_prints_only_the_start_of_its_public_half() {
        assert_eq!(format!("{:?}", parse(KEY).unwrap()), "Key(13b3ef5715c0…)");
    }

    proptest! {
        #[test]
        fn any_text_is_a_key_or_an_error_but_never_a_panic(text in "\\PC{0,200}", wrapped: bool) {
            let text = if wrapped { format!("{BEGIN}\n{text}\n{END}") } else { text };
            prop_assert!(parse(&text).is_err());
        }

        #[test]
        fn signatures_verify_with_the_public_half(seed: [u8; 32], body: Vec<u8>) {
            use ed25519_dalek::Verifier as _;
            let signing = SigningKey::from_bytes(&seed);
            let pair = ssh_key::private::Ed25519Keypair {
                public: ssh_key::public::Ed25519PublicKey(signing.verifying_key().to_bytes()),
                private: ssh_key::private::Ed25519PrivateKey::from_bytes(&seed),
            };
            let pem = ssh_key::PrivateKey::from(pair).to_openssh(ssh_key::LineEnding::LF).unwrap();
            let key = parse(&pem).unwrap();
            let (public, signature) = key.sign_v1(&body).split_once(':').map(|(p, s)| (p.to_owned(), s.to_owned())).unwrap();
            prop_assert_eq!(public, hex(signing.verifying_key().as_bytes()));
            let bytes: Vec<u8> = (0..64).map(|i| u8::from_str_radix(&signature[2 * i..2 * i + 2], 16).unwrap()).collect();
            let signature = ed25519_dalek::Signature::from_slice(&bytes).unwrap();
            prop_assert!(signing.verifying_key().verify(&Sha256::digest(&body), &signature).is_ok());
        }
    }
}
