//! One signed call to Encord: sent, tried again where that may help, and its refusal told apart.

use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::deadline::Deadline;
use crate::http::{self, Answer, Fault, Request, Try};
use crate::trace::Trace;

use super::auth::Key;
use super::envelope::{self, Refusal};
use super::requests::{Kind, Outcome, Requests};
use super::{Error, Place};

/// Bound on an answer, and on one that carries a whole label row, in bytes.
const MAX_BODY: u64 = 16 << 20;
const MAX_ROW: u64 = 256 << 20;

/// What a call is about, for its limits, its count and its errors.
#[derive(Clone, Copy)]
pub(super) struct About<'a> {
    pub(super) kind: Kind,
    /// Completes "Encord could not be reached to …".
    pub(super) action: &'static str,
    /// What it is made for; `None` only for the sign-in check without a project.
    pub(super) place: Option<&'a Place>,
}

/// The v1 verb, within the body.
#[derive(Clone, Copy, Serialize)]
pub(super) enum Method {
    #[serde(rename = "GET")]
    Get,
    #[serde(rename = "POST")]
    Post,
    #[serde(rename = "PUT")]
    Put,
}

#[derive(Serialize)]
struct V1Body<'a, U, P> {
    query_type: &'a str,
    query_method: Method,
    values: V1Values<'a, U, P>,
}

#[derive(Serialize)]
struct V1Values<'a, U, P> {
    uid: &'a U,
    payload: &'a P,
}

/// Why there is no response to read: an error to report, or the thing does not exist.
#[derive(Debug)]
pub(super) enum Failed {
    Missing,
    Error(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Signs and sends.
pub(super) struct Caller {
    pub(super) http: http::Client,
    key: Key,
    domain: String,
    /// What stands before `/public` and `/v2` in the path: nothing, or a private cloud's prefix.
    prefix: String,
    /// Bound on one exchange; one that carries a whole label row may take twice as long.
    timeout: Duration,
    pub(super) requests: Requests,
}

impl Caller {
    pub(super) fn new(http: http::Client, key: Key, domain: &str, timeout: Duration) -> Self {
        let domain = domain.trim_end_matches('/').to_owned();
        let prefix = domain.parse::<url::Url>().map(|url| url.path().trim_end_matches('/').to_owned()).unwrap_or_default();
        Self { http, key, domain, prefix, timeout, requests: Requests::default() }
    }

    /// A v1 call. `null` and RESOURCE_NOT_FOUND_ERROR count as missing. Without `again` a further try is made only while
    /// there is no connection: then nothing has been sent yet.
    pub(super) fn v1<T>(
        &self,
        about: About<'_>,
        query: (&str, Method, &impl Serialize, &impl Serialize),
        again: bool,
        deadline: &Deadline,
        read: impl Fn(&RawValue) -> Result<T, String>,
    ) -> Result<T, Failed> {
        let (query_type, query_method, uid, payload) = query;
        let body = V1Body { query_type, query_method, values: V1Values { uid, payload } };
        let body = serde_json::to_vec(&body).map_err(|error| malformed(about, &error.to_string()))?;
        let url = format!("{}/public", self.domain);
        let (resource, id) = about.place.and_then(Place::resource).unwrap_or(("project", ""));
        let signature = self.key.sign_v1(&body);
        let attempt = |_| {
            let mut request = Request::post(&url, &body)
                .header("accept", "application/json")
                .header("content-type", "application/json")
                .header("resourcetype", resource)
                .header("resourceid", id)
                .header("authorization", signature.as_str())
                .header("x-cloud-trace-context", Trace::here().cloud());
            (request.timeout, request.max_body) = self.limits(about.kind);
            let sent = self.http.send(&request, deadline);
            let may_repeat = again || sent.as_ref().is_err_and(Fault::is_unsent);
            let settled = self.settle(about, sent, deadline, |answer| match envelope::open_v1(answer)? {
                None => Err(Refusal::NotFound),
                Some(response) => Ok(read(response)),
            });
            match settled {
                Try::Again { error, .. } if !may_repeat => Try::Settled(Err(error)),
                settled => settled,
            }
        };
        http::with_retries(deadline, attempt)
    }

    /// A v2 GET of `/v2/public/…`.
    pub(super) fn v2<T>(
        &self,
        about: About<'_>,
        path: &str,
        deadline: &Deadline,
        read: impl Fn(&RawValue) -> Result<T, String>,
    ) -> Result<T, Failed> {
        http::with_retries(deadline, |_| self.v2_once(about, path, None, deadline, &read))
    }

    /// A v2 POST of a body. Without `again` it is sent once: whether it was heard is for the caller to find out.
    pub(super) fn v2_post<T>(
        &self,
        about: About<'_>,
        (path, body): (&str, &impl Serialize),
        again: bool,
        deadline: &Deadline,
        read: impl Fn(&RawValue) -> Result<T, String>,
    ) -> Result<T, Failed> {
        let body = serde_json::to_vec(body).map_err(|error| malformed(about, &error.to_string()))?;
        let attempt = |_| match self.v2_once(about, path, Some(&body), deadline, &read) {
            Try::Again { error, .. } if !again => Try::Settled(Err(error)),
            settled => settled,
        };
        http::with_retries(deadline, attempt)
    }

    fn v2_once<T>(
        &self,
        about: About<'_>,
        path: &str,
        body: Option<&[u8]>,
        deadline: &Deadline,
        read: &impl Fn(&RawValue) -> Result<T, String>,
    ) -> Try<T, Failed> {
        let url = format!("{}{path}", self.domain);
        let target = format!("{}{path}", self.prefix);
        let (verb, request) = match body {
            None => ("GET", Request::get(&url)),
            Some(body) => ("POST", Request::post(&url, body).header("content-type", "application/json")),
        };
        let mut request = request.header("accept", "application/json").header("x-cloud-trace-context", Trace::here().cloud());
        for (name, value) in self.key.sign_v2(verb, &target, body.unwrap_or_default(), envelope::now()) {
            request = request.header(name, value);
        }
        (request.timeout, request.max_body) = self.limits(about.kind);
        self.settle(about, self.http.send(&request, deadline), deadline, |answer| Ok(read(envelope::open_v2(answer)?)))
    }

    fn settle<T>(
        &self,
        about: About<'_>,
        sent: Result<Answer, Fault>,
        deadline: &Deadline,
        open: impl FnOnce(&Answer) -> Result<Result<T, String>, Refusal>,
    ) -> Try<T, Failed> {
        let answer = match sent {
            Ok(answer) => answer,
            Err(fault) => {
                self.requests.count(about.kind, Outcome::Fault);
                return self.settle_fault(about, &fault, deadline);
            }
        };
        let refusal = match open(&answer) {
            Ok(read) => {
                self.requests.count(about.kind, Outcome::Ok);
                return Try::Settled(read.map_err(|cause| malformed(about, &cause)));
            }
            Err(refusal) => refusal,
        };
        self.requests.count(about.kind, outcome(&refusal));
        match refusal {
            Refusal::Busy { status } => {
                let cause = format!("it answered {status}");
                let error = Error::Unreachable { action: about.action, cause }.into();
                Try::Again { error, after: http::retry_after(&answer.headers) }
            }
            Refusal::NotFound => Try::Settled(Err(Failed::Missing)),
            Refusal::Nonsense => Try::Settled(Err(malformed(about, "it is not the JSON that Encord's API answers with"))),
            Refusal::Other { status, code } => Try::Settled(Err(Error::Refused { action: about.action, status, code }.into())),
            Refusal::Key => Try::Settled(Err(self.key_refused(&answer).into())),
            Refusal::Forbidden => Try::Settled(Err(self.forbidden(about, &answer).into())),
        }
    }

    pub(super) fn settle_fault<T>(&self, about: About<'_>, fault: &Fault, deadline: &Deadline) -> Try<T, Failed> {
        let unreachable = || Error::Unreachable { action: about.action, cause: fault.to_string() };
        match fault {
            Fault::Deadline(expired) => Try::Settled(Err(Error::from(*expired).into())),
            Fault::Timeout { .. } => match deadline.left() {
                Err(expired) => Try::Settled(Err(Error::from(expired).into())),
                Ok(_) => Try::Again { error: unreachable().into(), after: None },
            },
            Fault::TooLarge { .. } => Try::Settled(Err(malformed(about, &fault.to_string()))),
            fault if fault.is_transient() => Try::Again { error: unreachable().into(), after: None },
            _ => Try::Settled(Err(unreachable().into())),
        }
    }

    fn limits(&self, kind: Kind) -> (Duration, u64) {
        match kind {
            Kind::Row | Kind::Create => (2 * self.timeout, MAX_ROW),
            Kind::Save => (2 * self.timeout, MAX_BODY),
            _ => (self.timeout, MAX_BODY),
        }
    }

    fn key_refused(&self, answer: &Answer) -> Error {
        match envelope::clock_offset(answer) {
            Some(seconds) => Error::Clock { seconds },
            None => Error::KeyRefused { domain: self.domain.clone(), public_key: self.key.fingerprint().to_owned() },
        }
    }

    fn forbidden(&self, about: About<'_>, answer: &Answer) -> Error {
        match (envelope::clock_offset(answer), about.place) {
            (Some(seconds), _) => Error::Clock { seconds },
            (None, Some(place)) => Error::Forbidden { action: about.action, place: place.clone() },
            (None, None) => self.key_refused(answer),
        }
    }
}

fn outcome(refusal: &Refusal) -> Outcome {
    match refusal {
        Refusal::Busy { .. } => Outcome::Busy,
        Refusal::Nonsense => Outcome::Fault,
        Refusal::Key | Refusal::Forbidden | Refusal::NotFound | Refusal::Other { .. } => Outcome::Refused,
    }
}

fn malformed(about: About<'_>, cause: &str) -> Failed {
    Error::Malformed { action: about.action, cause: cause.to_owned() }.into()
}
