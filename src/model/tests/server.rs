//! A real HTTP server on loopback that answers as told, and remembers what it was asked. A question that is not in the
//! published form is not answered.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

/// One request as it arrived.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Value,
}

impl Asked {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn has(&self, pointer: &str) -> bool {
        self.body.pointer(pointer).is_some()
    }
}

/// What is played back.
#[derive(Debug, Clone)]
pub(super) struct Played {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
    delay: Duration,
    hang_up: bool,
}

impl Played {
    pub(super) fn status(status: u16, body: impl ToString) -> Self {
        Self { status, headers: Vec::new(), body: body.to_string(), delay: Duration::ZERO, hang_up: false }
    }

    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(super) fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    pub(super) fn hang_up() -> Self {
        Self { hang_up: true, ..Self::status(200, "") }
    }

    /// A completion that says `content`.
    pub(super) fn says(content: &str) -> Self {
        Self::message(json!({ "role": "assistant", "content": content }), "stop")
    }

    pub(super) fn message(message: Value, finish: &str) -> Self {
        Self::status(
            200,
            json!({
                "id": "chatcmpl-1", "object": "chat.completion", "model": "test",
                "choices": [{ "index": 0, "message": message, "finish_reason": finish }],
                "usage": { "prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110 }
            }),
        )
    }

    /// An error of OpenAI's shape.
    pub(super) fn error(status: u16, message: &str, param: Value, code: Value) -> Self {
        let error = json!({ "message": message, "type": "invalid_request_error", "param": param, "code": code });
        Self::status(status, json!({ "error": error }))
    }
}

type Play = dyn FnMut(usize, &Asked) -> Played + Send;

/// The running server; it ends with the test process.
pub(super) struct Server {
    pub(super) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// Answers request number `n` (from 0) with `play(n, request)`.
    pub(super) fn start(play: impl FnMut(usize, &Asked) -> Played + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let play: Arc<Mutex<Box<Play>>> = Arc::new(Mutex::new(Box::new(play)));
        let seen = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (play, seen) = (Arc::clone(&play), Arc::clone(&seen));
                std::thread::spawn(move || serve(stream, &play, &seen));
            }
        });
        Self { url, asked }
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, play: &Mutex<Box<Play>>, seen: &Mutex<Vec<Asked>>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let asked = receive(&mut reader)?;
        if asked.body.is_object() {
            super::published::check(&asked.body);
        }
        let number = {
            let mut seen = seen.lock().unwrap();
            seen.push(asked.clone());
            seen.len() - 1
        };
        let played = (play.lock().unwrap())(number, &asked);
        std::thread::sleep(played.delay);
        if played.hang_up {
            return None;
        }
        let mut head = format!("HTTP/1.1 {} x\r\ncontent-length: {}\r\n", played.status, played.body.len());
        for (name, value) in &played.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(format!("{head}\r\n{}", played.body).as_bytes()).ok()?;
    }
}

fn receive(reader: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|&read| read > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, value)| value.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { path, headers, body: serde_json::from_slice(&body).unwrap_or(Value::Null) })
}
