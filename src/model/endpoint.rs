//! One configured endpoint: its address and key, and what it takes to send it one request and hear one answer.

use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use serde_json::Value;
use time::OffsetDateTime;

use crate::deadline::Deadline;
use crate::http;
use crate::trace::Trace;

use super::address::Address;
use super::breaker::Breaker;
use super::complaint::Complaint;
use super::facade::Settings;
use super::gate::Gate;
use super::memory::Memory;
use super::meter::{self, Meter};
use super::pace::Pace;
use super::{Error, events, header};

/// Bound on an answer's body.
const LARGEST_ANSWER: u64 = 8 << 20;

/// How long a trigger waits for a sign of life of an endpoint that is down.
const SHORT_LOOK: Duration = Duration::from_secs(1);

/// An endpoint with what was learnt about it.
pub(super) struct Endpoint {
    /// As configured.
    pub(super) settings: Settings,
    /// Where it is.
    pub(super) address: Address,
    /// What it understands.
    pub(super) memory: Memory,
    /// Whether it is up.
    pub(super) breaker: Breaker,
    /// What it was asked and what that cost.
    pub(super) meter: Meter,
    /// While it is down, somebody looks whether it is back.
    pub(super) looked_after: AtomicBool,
    client: http::Client,
    key_header: &'static str,
    gate: Gate,
    private: OnceLock<bool>,
}

/// What one request came to, when it did not end in an answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// It said no.
    Complaint(Box<Complaint>, Pace),
    /// No complete answer.
    Fault(http::Fault),
    /// An answer that is no chat completion: some other server, or a proxy's page.
    Foreign(u16),
}

impl Endpoint {
    /// Reads the settings; calls nothing.
    pub(super) fn new(settings: Settings) -> Result<Self, Error> {
        let section = section(&settings.table);
        let address = Address::new(&settings.base_url, &section)?;
        let wrong = |cause: String| Error::Unaskable(format!("{section} {cause}"));
        let key_header = match settings.api_key_header.trim() {
            "" if address.azure => "api-key",
            "" => "authorization",
            name => header::name(name).ok_or_else(|| wrong(format!("api_key_header: {name:?} is not the name of a header")))?,
        };
        let client = http::Client::new(&http::Settings { ca_file: settings.ca_file.clone(), ..http::Settings::default() })
            .map_err(|error| wrong(error.to_string()))?;
        Ok(Self {
            settings,
            address,
            memory: Memory::default(),
            breaker: Breaker::default(),
            meter: Meter::default(),
            looked_after: AtomicBool::new(false),
            client,
            key_header,
            gate: Gate::default(),
            private: OnceLock::new(),
        })
    }

    /// Calls it takes at once.
    pub(super) fn places(&self) -> usize {
        match self.settings.max_concurrent {
            0 if self.is_private() => 1,
            0 => 4,
            configured => configured,
        }
    }

    /// Whether it is on this box or in its own network. The name is looked up once.
    pub(super) fn is_private(&self) -> bool {
        *self.private.get_or_init(|| self.address.is_private())
    }

    /// Sends one request to the address of this number and returns the body of a good answer.
    pub(super) fn exchange(&self, address: usize, body: &Value, deadline: &Deadline) -> Result<Result<Value, Failure>, Error> {
        let _pass = self.gate.enter(self.places(), deadline)?;
        // The model is reached: what it says will have been paid for.
        deadline.see_through()?;
        let url = &self.address.chat[address.min(self.address.chat.len() - 1)];
        let bytes = body.to_string().into_bytes();
        let mut request = http::Request::post(url, &bytes).header("content-type", "application/json").header("accept", "application/json");
        request = request.header("traceparent", Trace::here().parent());
        request.timeout = self.settings.timeout;
        request.max_body = LARGEST_ANSWER;
        request.headers.extend(self.key().map(|(name, value)| (name.into(), value)));
        let start = Instant::now();
        let answer = self.client.send(&request, deadline);
        let status = answer.as_ref().map_or(0, |answer| answer.status);
        self.meter.request(status);
        tracing::debug!(
            model = self.settings.name,
            host = self.address.host,
            status,
            ms = start.elapsed().as_millis() as u64,
            "model call"
        );
        Ok(self.heard(answer, deadline))
    }

    /// The header that carries the key.
    fn key(&self) -> Option<(&'static str, String)> {
        let key = self.settings.api_key.as_ref().filter(|key| !key.is_empty())?.expose();
        let value = if self.key_header == "authorization" { format!("Bearer {key}") } else { key.to_owned() };
        Some((self.key_header, value))
    }

    /// Whether anything but a failure answers where the list of models usually is.
    pub(super) fn gives_sign_of_life(&self, bound: Duration) -> bool {
        let url = self.address.models();
        let mut request = http::Request::get(&url);
        request.headers.extend(self.key().map(|(name, value)| (name.into(), value)));
        request.timeout = bound;
        self.client.send(&request, &Deadline::after(bound)).is_ok_and(|answer| answer.status < 500)
    }

    fn heard(&self, answer: Result<http::Answer, http::Fault>, deadline: &Deadline) -> Result<Value, Failure> {
        let answer = match answer {
            Ok(answer) => answer,
            Err(fault) => {
                // A fault of our own settings, or for want of time, says nothing about the endpoint.
                if (fault.is_transient() && deadline.left().is_ok()) || matches!(fault, http::Fault::Tls { .. }) {
                    self.breaker.failed(Instant::now());
                }
                return Err(Failure::Fault(fault));
            }
        };
        let pace = Pace::read(&answer.headers);
        if !(200..300).contains(&answer.status) {
            return Err(Failure::Complaint(Box::new(Complaint::read(answer.status, &answer.body)), pace));
        }
        let Some(body) = read(&answer.body) else { return Err(Failure::Foreign(answer.status)) };
        match Complaint::under_good_status(answer.status, &body) {
            Some(complaint) => Err(Failure::Complaint(Box::new(complaint), pace)),
            None => Ok(body),
        }
    }

    /// Refuses while the endpoint is down or the day's tokens are used up.
    pub(super) fn admit(&self, deadline: &Deadline) -> Result<(), Error> {
        let now = OffsetDateTime::now_utc();
        let cap = self.settings.daily_tokens;
        if cap > 0 && self.meter.used_today(now) >= cap {
            let (model, section) = (self.settings.name.clone(), section(&self.settings.table));
            return Err(Error::CapReached { model, section, retry_after: meter::until_midnight(now) });
        }
        let Err(left) = self.breaker.admit(Instant::now()) else { return Ok(()) };
        // It may be back by now: a look is cheap, and then this call is the probe.
        let bound = deadline.bounded(SHORT_LOOK)?;
        if self.gives_sign_of_life(bound) {
            self.breaker.try_again(Instant::now());
            if self.breaker.admit(Instant::now()).is_ok() {
                return Ok(());
            }
        }
        Err(self.failure(format!("it is down; tried again in {} s", left.as_secs().max(1))))
    }

    /// The failure of this endpoint for `cause`.
    pub(super) fn failure(&self, cause: String) -> Error {
        Error::Endpoint { model: self.settings.name.clone(), host: self.address.host.clone(), cause }
    }
}

/// A body as JSON: as it is, behind a byte order mark, or as a stream of events.
fn read(body: &[u8]) -> Option<Value> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    serde_json::from_slice(body).ok().or_else(|| events::gathered(&String::from_utf8_lossy(body)))
}

/// The table as written in the configuration: `[model]`, `[models.local]`.
pub(super) fn section(table: &str) -> String {
    if table.is_empty() { "[model]".into() } else { format!("[models.{table}]") }
}
