//! A small HTTP server for the client's tests: answers by a script, checks every signature, counts connections.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ed25519_dalek::{Signature, Verifier, VerifyingKey};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::deadline::Deadline;
use crate::ids::Secret;

use super::client::{Encord, Settings};

pub(super) const KEY: &str = include_str!("testdata/throw-away-key");

#[derive(Debug, Clone)]
pub(super) struct Received {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Received {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// `GET project`, `list`, `create`, `get row`, …: one word for what is asked.
    pub(super) fn what(&self) -> String {
        let body = self.json();
        match (self.method.as_str(), body["query_type"].as_str(), body["query_method"].as_str()) {
            ("POST", Some("labelrowmetadata"), Some("GET")) => "list".into(),
            ("POST", Some("labelrow"), Some("PUT")) => "create".into(),
            ("POST", Some("labelrow"), Some("GET")) if body["values"]["payload"]["get_signed_url"] == true => "open".into(),
            ("POST", Some("labelrow"), Some("GET")) => "read".into(),
            ("POST", Some("labelrow"), Some("POST")) => "save".into(),
            ("POST", Some("datasetdata"), Some("GET")) => "media".into(),
            ("GET", None, None) => self.target.trim_start_matches("/v2/public/").split('/').next().unwrap_or_default().to_owned(),
            other => format!("{other:?}"),
        }
    }
}

pub(super) enum Reply {
    Answer(u16, Vec<(&'static str, String)>, String),
    /// The connection is closed without an answer.
    Reset,
    /// Nothing is said for this long.
    Silence(Duration),
}

pub(super) fn ok(response: Value) -> Reply {
    Reply::Answer(200, vec![], serde_json::json!({"status": 200, "response": response}).to_string())
}

pub(super) fn plain(body: Value) -> Reply {
    Reply::Answer(200, vec![], body.to_string())
}

pub(super) fn status(status: u16, body: &str) -> Reply {
    Reply::Answer(status, vec![("retry-after", "0".into())], body.into())
}

pub(super) fn code(status: u16, code: &str) -> Reply {
    Reply::Answer(200, vec![], serde_json::json!({"status": status, "response": [code], "payload": null}).to_string())
}

pub(super) struct Stub {
    domain: String,
    received: Arc<Mutex<Vec<Received>>>,
    connections: Arc<AtomicUsize>,
}

type Script = dyn Fn(&Received) -> Reply + Send + Sync;

impl Stub {
    /// Serves until the test's process ends.
    pub(super) fn start(script: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let domain = format!("http://{}", listener.local_addr().unwrap());
        let received = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let script: Arc<Script> = Arc::new(script);
        let stub = Self { domain, received: received.clone(), connections: connections.clone() };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                connections.fetch_add(1, Ordering::SeqCst);
                let (script, received) = (script.clone(), received.clone());
                std::thread::spawn(move || serve(stream, &*script, &received));
            }
        });
        stub
    }

    pub(super) fn encord(&self) -> Encord {
        Encord::new(Settings {
            domain: self.domain.clone(),
            ssh_key: Secret::new(KEY),
            ssh_key_origin: "test".into(),
            ssh_key_password: None,
            ca_file: None,
            ontology_ttl: Duration::from_secs(60),
            timeout: Duration::from_secs(15),
        })
        .unwrap()
    }

    /// What was asked so far, in order.
    pub(super) fn asked(&self) -> Vec<String> {
        self.received.lock().unwrap().iter().map(Received::what).collect()
    }

    pub(super) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

pub(super) fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

fn serve(stream: TcpStream, script: &Script, received: &Mutex<Vec<Received>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    while let Some(request) = read_request(&mut reader) {
        let reply = if signature_fits(&request) { script(&request) } else { status(400, "the signature does not verify") };
        received.lock().unwrap().push(request);
        let (status, headers, body) = match reply {
            Reply::Answer(status, headers, body) => (status, headers, body),
            Reply::Reset => return,
            Reply::Silence(pause) => {
                std::thread::sleep(pause);
                return;
            }
        };
        let mut head = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if writer.write_all(format!("{head}\r\n{body}").as_bytes()).is_err() {
            return;
        }
    }
}

fn read_request(reader: &mut impl BufRead) -> Option<Received> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|&n| n > 0)?;
    let mut parts = line.split(' ');
    let (method, target) = (parts.next()?.to_owned(), parts.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_owned(), value.to_owned()));
    }
    let mut request = Received { method, target, headers, body: Vec::new() };
    let length = request.header("content-length").parse().unwrap_or(0);
    request.body.resize(length, 0);
    reader.read_exact(&mut request.body).ok()?;
    Some(request)
}

fn signature_fits(request: &Received) -> bool {
    use base64::Engine as _;
    let base64 = base64::engine::general_purpose::STANDARD;
    let unhex = |text: &str| -> Vec<u8> { (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect() };
    let public = |hex: &str| VerifyingKey::from_bytes(&unhex(hex).try_into().unwrap()).unwrap();
    if request.target == "/public" {
        let Some((key, signature)) = request.header("authorization").split_once(':') else { return false };
        let signature = Signature::from_slice(&unhex(signature)).unwrap();
        return public(key).verify(&Sha256::digest(&request.body), &signature).is_ok();
    }
    let digest = format!("sha-256=:{}:", base64.encode(Sha256::digest(&request.body)));
    let Some(parameters) = request.header("signature-input").strip_prefix("encord-sig=") else { return false };
    let base = format!(
        "\"@method\": {}\n\"@request-target\": {}\n\"content-digest\": {digest}\n\"@signature-params\": {parameters}",
        request.method, request.target
    );
    let key = parameters.split("keyid=\"").nth(1).unwrap().split('"').next().unwrap();
    let signature = request.header("signature").strip_prefix("encord-sig=:").unwrap().trim_end_matches(':');
    let signature = Signature::from_slice(&base64.decode(signature).unwrap()).unwrap();
    request.header("content-digest") == digest && public(key).verify(base.as_bytes(), &signature).is_ok()
}
