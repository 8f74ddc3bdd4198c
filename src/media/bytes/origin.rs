//! Asking a store for ranges: one request at a time, with retries, one renewal of the link, and a word on what came.

use std::time::Duration;

use ureq::http::header;

use super::Span;
use super::folder::LARGEST_PIECE;
use super::spool::Spool;
use super::version::Version;
use crate::deadline::Deadline;
use crate::http::{self, Fault, Try};
use crate::ids::SignedUrl;
use crate::media::Error;

/// A store that sends nothing for this long is asked again.
const STALL: Duration = Duration::from_secs(10);

/// How much of a range is taken in before it is kept and handed on: a decoder works on it while the rest is on its way.
const PIECE: u64 = 128 << 10;

/// Media links may lead elsewhere this often.
const REDIRECTS: u32 = 3;

/// How much of an error answer is read to tell an expired link from a wrong request.
const LONGEST_COMPLAINT: usize = 4096;

/// A store's answer to a request for a range, its body still to come.
pub(super) enum Reply {
    /// The bytes asked for, or the first of them.
    Part {
        /// What the body holds.
        span: Span,
        /// Of the whole item.
        version: Version,
        /// Its body.
        body: Body,
    },
    /// The whole item from its first byte: the store does not serve ranges of it.
    Whole {
        /// Of the item.
        version: Version,
        /// Its body.
        body: Body,
    },
    /// The same without a word on its size.
    WholeUnsized {
        /// Of the item, with size 0.
        version: Version,
        /// Its body.
        body: Body,
    },
    /// The range lies behind the end of an item of this size.
    Beyond {
        /// The item's size.
        size: u64,
    },
}

/// A body that is being received.
pub(super) struct Body {
    stream: http::Stream,
    /// The media type the store gave.
    pub(super) media_type: Option<String>,
}

impl Body {
    /// Reads until `buffer` is full or the body ends or breaks; says how much came in any case.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> (usize, Result<(), Fault>) {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.stream.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(length) => filled += length,
                Err(fault) => return (filled, Err(fault)),
            }
        }
        (filled, Ok(()))
    }

    /// Reads the end after the last byte: only then can the connection serve the next request.
    pub(super) fn finish(mut self) {
        let _ = self.stream.read(&mut [0]);
    }
}

/// Where an item's bytes come from, and what that cost so far.
pub(super) struct Origin<'a> {
    client: &'a http::Client,
    url: SignedUrl,
    renew: Option<&'a mut dyn FnMut() -> Option<SignedUrl>>,
    /// Body bytes received.
    pub(super) bytes: u64,
    /// Requests made.
    pub(super) requests: u32,
}

/// What came of fetching a span.
pub(super) enum Fetched {
    /// All of it was handed over.
    Done,
    /// The store sends the whole item instead.
    Streaming(Body),
}

impl<'a> Origin<'a> {
    pub(super) fn new(client: &'a http::Client, url: SignedUrl, renew: &'a mut dyn FnMut() -> Option<SignedUrl>) -> Self {
        Self { client, url, renew: Some(renew), bytes: 0, requests: 0 }
    }

    /// The store's host, for messages.
    pub(super) fn host(&self) -> String {
        self.url.expose().host_str().unwrap_or_default().to_owned()
    }

    /// An error of this store.
    pub(super) fn wrong(&self, cause: impl Into<String>) -> Error {
        Error::Store { host: self.host(), cause: cause.into() }
    }

    /// Asks for a span until the head of an answer is there.
    pub(super) fn ask(&mut self, span: Span, deadline: &Deadline) -> Result<Reply, Error> {
        http::with_retries(deadline, |_| self.try_ask(span, None, deadline))
    }

    /// Fetches `span` and hands it to `sink` in order, in pieces of at most [`PIECE`]. A transfer that breaks
    /// goes on where it broke. Answers that are not of `expected` are refused.
    pub(super) fn fetch(
        &mut self,
        span: Span,
        expected: &Version,
        deadline: &Deadline,
        sink: &mut dyn FnMut(u64, &[u8]),
    ) -> Result<Fetched, Refusal> {
        let mut at = span.offset;
        http::with_retries(deadline, |_| {
            // A store may answer with less than was asked for: then the rest is asked for, which is no retry.
            while at < span.end() {
                let rest = Span::between(at, span.end());
                let reply = match self.try_ask(rest, Some(expected), deadline) {
                    Try::Settled(reply) => reply.map_err(Refusal::Failed),
                    Try::Again { error, after } => return Try::Again { error: Refusal::Failed(error), after },
                };
                let came = reply.and_then(|reply| self.part_of(reply, rest, expected));
                let (part, body) = match came {
                    Ok(Came::Part(part, body)) => (part, body),
                    Ok(Came::Whole(body)) => return Try::Settled(Ok(Fetched::Streaming(body))),
                    Err(refusal) => return Try::Settled(Err(refusal)),
                };
                if let Err(fault) = self.receive(body, &mut at, part.end(), sink) {
                    return self.after_fault(fault, deadline).map_err(Refusal::Failed);
                }
            }
            Try::Settled(Ok(Fetched::Done))
        })
    }

    /// Receives a body that holds the bytes from `at` to `end`, moving `at` along.
    pub(super) fn receive(&mut self, mut body: Body, at: &mut u64, end: u64, sink: &mut dyn FnMut(u64, &[u8])) -> Result<(), Fault> {
        let mut buffer = vec![0; PIECE.min(end - *at) as usize];
        while *at < end {
            let wanted = PIECE.min(end - *at) as usize;
            let (filled, outcome) = body.fill(&mut buffer[..wanted]);
            self.bytes += filled as u64;
            if filled > 0 {
                sink(*at, &buffer[..filled]);
                *at += filled as u64;
            }
            outcome?;
            if filled < wanted {
                return Err(Fault::Broken { host: self.host(), cause: "the answer ended early".into() });
            }
        }
        body.finish();
        Ok(())
    }

    /// Checks that a reply is of the expected content and has what was asked for.
    fn part_of(&self, reply: Reply, asked: Span, expected: &Version) -> Result<Came, Refusal> {
        let failed = |cause: String| Err(Refusal::Failed(self.wrong(cause)));
        match reply {
            Reply::Part { version, .. } | Reply::Whole { version, .. } if !version.is_same_as(expected) => Err(Refusal::Changed),
            Reply::WholeUnsized { version, .. } if !version.sized(expected.size).is_same_as(expected) => Err(Refusal::Changed),
            Reply::Beyond { size } if size != expected.size => Err(Refusal::Changed),
            Reply::Part { span, body, .. } if span.offset == asked.offset && span.end() <= asked.end() => Ok(Came::Part(span, body)),
            Reply::Part { span, .. } => failed(format!("asked for {asked}, it sent {span}")),
            Reply::Whole { body, .. } | Reply::WholeUnsized { body, .. } => Ok(Came::Whole(body)),
            Reply::Beyond { size } => failed(format!("asked for {asked}, it says there are none, though the item has {size} bytes")),
        }
    }

    fn try_ask(&mut self, span: Span, expected: Option<&Version>, deadline: &Deadline) -> Try<Reply, Error> {
        loop {
            let url = self.url.expose().as_str().to_owned();
            let mut request = http::Request::get(&url)
                .header("range", format!("bytes={}-{}", span.offset, span.end().saturating_sub(1)))
                // A compressed body has no ranges of the item.
                .header("accept-encoding", "identity");
            if let Some(validator) = expected.and_then(Version::if_range) {
                request = request.header("if-range", validator);
            }
            request.redirects = REDIRECTS;
            request.stall = Some(STALL);
            // A large range over a slow line may take as long as the trigger may.
            request.timeout = Duration::from_secs(24 * 3600);
            self.requests += 1;
            let mut stream = match self.client.open(&request, deadline) {
                Ok(stream) => stream,
                Err(fault) => return self.after_fault(fault, deadline),
            };
            let status = stream.status;
            if http::is_transient_status(status) {
                return Try::Again { error: self.wrong(format!("status {status}")), after: http::retry_after(&stream.headers) };
            }
            if matches!(status, 200 | 206 | 416) {
                return Try::Settled(self.read_head(stream));
            }
            let complaint = self.complaint(&mut stream);
            if !refuses_link(status, complaint.as_deref()) {
                let code = complaint.map(|code| format!(" ({code})")).unwrap_or_default();
                return Try::Settled(Err(self.wrong(format!("status {status}{code}"))));
            }
            tracing::debug!(link = %self.url, status, code = complaint.as_deref().unwrap_or("none"), "the media link is refused");
            match self.renew.take().and_then(|renew| renew()) {
                Some(fresh) => self.url = fresh,
                None => return Try::Settled(Err(Error::LinkRefused { host: self.host(), status })),
            }
        }
    }

    /// A fault as an error, to be tried again where that may help.
    fn after_fault<T>(&self, fault: Fault, deadline: &Deadline) -> Try<T, Error> {
        let transient = fault.is_transient();
        let error = self.failed(fault, deadline);
        if transient { Try::Again { error, after: None } } else { Try::Settled(Err(error)) }
    }

    /// A fault as an error. What failed for want of time is the deadline's doing, whatever it looked like.
    pub(super) fn failed(&self, fault: Fault, deadline: &Deadline) -> Error {
        match (fault, deadline.left()) {
            (Fault::Deadline(expired), _) | (_, Err(expired)) => Error::Deadline(expired),
            (fault, _) => self.wrong(fault.to_string()),
        }
    }

    /// Receives a whole item of unknown size, to learn it.
    pub(super) fn receive_unsized(
        &mut self,
        mut body: Body,
        version: Version,
        spool: &mut Spool,
        deadline: &Deadline,
    ) -> Result<Version, Error> {
        let mut buffer = vec![0; LARGEST_PIECE as usize];
        loop {
            let (filled, outcome) = body.fill(&mut buffer);
            self.bytes += filled as u64;
            outcome.map_err(|fault| self.failed(fault, deadline))?;
            spool.take(&buffer[..filled]).map_err(|cause| self.wrong(cause))?;
            if filled < buffer.len() {
                return Ok(version.sized(spool.size()));
            }
        }
    }

    /// Understands the head of a 200, 206 or 416.
    fn read_head(&self, stream: http::Stream) -> Result<Reply, Error> {
        let text = |name| stream.headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let range = text(header::CONTENT_RANGE);
        if stream.status == 416 {
            let size = range.and_then(|range| range.strip_prefix("bytes */")?.parse().ok());
            return size.map(|size| Reply::Beyond { size }).ok_or_else(|| self.wrong("status 416 without the item's size"));
        }
        if let Some(encoding) = text(header::CONTENT_ENCODING).filter(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
            return Err(self.wrong(format!("it sends the media compressed ({encoding:.20}); have it stored and served as it is")));
        }
        let media_type = text(header::CONTENT_TYPE).map(|text| text.chars().take(100).collect());
        if stream.status == 200 {
            let size = http::content_length(&stream.headers);
            let version = Version::of(&stream.headers, size.unwrap_or(0));
            let body = Body { stream, media_type };
            return Ok(if size.is_some() { Reply::Whole { version, body } } else { Reply::WholeUnsized { version, body } });
        }
        let Some((span, size)) = range.and_then(parse_content_range) else {
            let found = range.map_or_else(|| "none".to_owned(), |range| format!("{range:.60?}"));
            return Err(self.wrong(format!("status 206 without a usable Content-Range ({found})")));
        };
        let version = Version::of(&stream.headers, size);
        Ok(Reply::Part { span, version, body: Body { stream, media_type } })
    }

    /// The error code of the XML that S3, Google and Azure send, if the body has one.
    fn complaint(&self, stream: &mut http::Stream) -> Option<String> {
        let mut body = vec![0; LONGEST_COMPLAINT];
        let length = stream.fill(&mut body).ok()?;
        let text = String::from_utf8_lossy(&body[..length]);
        let (_, rest) = text.split_once("<Code>")?;
        let (code, _) = rest.split_once("</Code>")?;
        (code.len() <= 60 && code.bytes().all(|byte| byte.is_ascii_alphanumeric())).then(|| code.to_owned())
    }
}

/// Why a fetch of a span came to nothing.
pub(super) enum Refusal {
    /// The store has another content of the item now.
    Changed,
    /// Anything else.
    Failed(Error),
}

enum Came {
    Part(Span, Body),
    Whole(Body),
}

/// Whether a refusal is about the link rather than about the store: a fresh link may help.
fn refuses_link(status: u16, code: Option<&str>) -> bool {
    matches!(status, 401 | 403 | 404 | 410)
        || (status == 400 && code.is_some_and(|code| code.contains("Expired") || code.contains("Token") || code.contains("Authorization")))
}

/// `bytes 0-9/100` as a span and the size.
pub(super) fn parse_content_range(text: &str) -> Option<(Span, u64)> {
    let (range, size) = text.strip_prefix("bytes")?.trim_start().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, size): (u64, u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?, size.trim().parse().ok()?);
    (first <= last && last < size).then(|| (Span::between(first, last + 1), size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read_or_refused() {
        assert_eq!(parse_content_range("bytes 5-9/20"), Some((Span { offset: 5, length: 5 }, 20)));
        for wrong in ["bytes 5-9/*", "bytes */20", "bytes 9-5/20", "bytes 5-20/20", "items 5-9/20", "bytes 5-9", "", "bytes -5/20"] {
            assert_eq!(parse_content_range(wrong), None, "{wrong:?}");
        }
    }
}
