//! Misbehaviour on demand: what the next calls of a kind meet instead of, or before, their proper answer.

use std::sync::Mutex;
use std::time::Duration;

use super::server::{Delivery, Reply};

/// One way to go wrong.
#[derive(Debug, Clone)]
pub enum Fault {
    /// This HTTP status with this body; nothing happens on the inside.
    Status(u16, String),
    /// As `Status`, with a `Retry-After`.
    RetryAfter(u16, String),
    /// An error inside an HTTP 200 envelope (Encord's v1 calls).
    Envelope(u16, &'static str),
    /// HTTP 200 with this body, whatever was asked.
    Body(String),
    /// The call takes effect, but its answer comes this much later.
    Delay(Duration),
    /// The connection is reset before anything happens.
    ResetBefore,
    /// The call takes effect, then the connection is reset.
    ResetAfter,
    /// The proper answer, cut after so many bytes.
    Cut(usize),
    /// The proper answer, at so many bytes a second.
    Slow(usize),
    /// Something that is not HTTP.
    Garbage,
}

impl Fault {
    /// The answer that replaces the proper one, if this fault keeps the call from taking effect.
    pub fn instead(&self) -> Option<Reply> {
        match self {
            Self::Status(status, body) => Some(Reply::new(*status, content_type(body), body.as_str())),
            Self::RetryAfter(status, after) => Some(Reply::new(*status, "text/plain", "later").header("retry-after", after)),
            Self::Envelope(status, code) => {
                Some(Reply::json(200, &serde_json::json!({"status": status, "response": [code], "payload": null})))
            }
            Self::Body(body) => Some(Reply::new(200, content_type(body), body.as_str())),
            Self::ResetBefore => Some(Reply::new(500, "text/plain", "").deliver(Delivery::Reset)),
            Self::Garbage => {
                Some(Reply::new(500, "text/plain", "").deliver(Delivery::Garbage(b"\x00\x01 this is not HTTP\r\n\r\n".to_vec())))
            }
            Self::Delay(_) | Self::ResetAfter | Self::Cut(_) | Self::Slow(_) => None,
        }
    }

    /// The proper answer, damaged on its way out.
    pub fn after(&self, reply: Reply) -> Reply {
        match self {
            Self::Delay(pause) => reply.deliver(Delivery::Late(*pause)),
            Self::ResetAfter => reply.deliver(Delivery::Reset),
            Self::Cut(length) => reply.deliver(Delivery::Cut(*length)),
            Self::Slow(rate) => reply.deliver(Delivery::Slow(*rate)),
            _ => reply,
        }
    }
}

fn content_type(body: &str) -> &'static str {
    match body.trim_start().as_bytes().first() {
        Some(b'{' | b'[') => "application/json",
        Some(b'<') => "text/html",
        _ => "text/plain",
    }
}

/// The faults that still lie ahead, by kind of call, used up in order.
#[derive(Debug)]
pub struct Plan<K>(Mutex<Vec<(K, Fault, usize)>>);

impl<K> Default for Plan<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: PartialEq> Plan<K> {
    /// The next `times` calls of this kind meet `fault`; `usize::MAX` means all of them.
    pub fn add(&self, kind: K, fault: Fault, times: usize) {
        self.0.lock().unwrap().push((kind, fault, times));
    }

    /// What the next call of this kind meets.
    pub fn take(&self, kind: &K) -> Option<Fault> {
        let mut plan = self.0.lock().unwrap();
        let at = plan.iter().position(|(planned, _, left)| planned == kind && *left > 0)?;
        if plan[at].2 != usize::MAX {
            plan[at].2 -= 1;
        }
        Some(plan[at].1.clone())
    }

    /// From now on all goes well.
    pub fn clear(&self) {
        self.0.lock().unwrap().clear();
    }
}
