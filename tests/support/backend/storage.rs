//! The media store behind the signed links: an expiring signature in the query, `Range`, `ETag`, errors in XML.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::Inner;
use super::auth::{hex, unhex};
use crate::support::server::{Reply, Request};

impl Inner {
    /// A link that works for a while and only as it stands.
    pub(super) fn sign_link(&self, path: &str) -> String {
        self.sign("GET", path)
    }

    /// As `sign_link`, to put a file there.
    pub(super) fn sign_upload(&self, path: &str) -> String {
        self.sign("PUT", path)
    }

    fn sign(&self, method: &str, path: &str) -> String {
        let life = self.behaviour().link_life.as_secs() as i64;
        let expires = time::OffsetDateTime::now_utc().unix_timestamp() + life;
        let base = self.media_url.get().map_or("", String::as_str);
        let encoded: Vec<String> = path.split('/').map(encode_segment).collect();
        let path = encoded.join("/");
        let mac = self.link_mac(method, &path, expires).finalize().into_bytes();
        format!("{base}{path}?expires={expires}&sig={}", hex(&mac))
    }

    fn link_mac(&self, method: &str, path: &str, expires: i64) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.link_key).expect("any length of key will do");
        mac.update(format!("{method}\n{path}\n{expires}").as_bytes());
        mac
    }
}

fn encode_segment(segment: &str) -> String {
    url::form_urlencoded::byte_serialize(segment.as_bytes()).collect::<String>().replace('+', "%20")
}

fn refused(status: u16, code: &str, message: &str) -> Reply {
    let body = format!("<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{message}</Message></Error>");
    Reply::new(status, "application/xml; charset=UTF-8", body)
}

pub(super) fn answer(inner: &Inner, request: &Request) -> Reply {
    let method = match request.method.as_str() {
        "GET" | "HEAD" => "GET",
        "PUT" => "PUT",
        _ => return refused(403, "AccessDenied", "The link was signed for another method."),
    };
    // A store takes exactly one kind of proof; a key of another service does not belong here at all.
    if request.header("authorization").is_some() || request.header("signature").is_some() {
        return refused(400, "InvalidArgument", "Only one auth mechanism allowed.");
    }
    let expires: i64 = request.query("expires").and_then(|text| text.parse().ok()).unwrap_or(0);
    let signature = request.query("sig").and_then(unhex).unwrap_or_default();
    if inner.link_mac(method, &request.path, expires).verify_slice(&signature).is_err() {
        return refused(403, "SignatureDoesNotMatch", "The request signature does not match.");
    }
    if expires < time::OffsetDateTime::now_utc().unix_timestamp() {
        return refused(400, "ExpiredToken", "The provided token has expired.");
    }
    let path: String = url::form_urlencoded::parse(format!("p={}", request.path.replace('+', "%2B")).as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default();
    if method == "PUT" {
        return put(inner, request, &path);
    }
    let Some(file) = inner.store.lock().unwrap().files.get(&path).cloned() else {
        return refused(404, "NoSuchKey", "The specified key does not exist.");
    };
    let size = file.bytes.len() as u64;
    let etag = format!("\"{}\"", file.etag);
    let base = Reply::new(200, &file.mime, Vec::new()).header("etag", &etag).header("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT");
    if request.header("if-match").is_some_and(|wanted| wanted != "*" && !wanted.contains(&etag)) {
        return refused(412, "PreconditionFailed", "The object has changed.");
    }
    if !inner.behaviour().ranges {
        return Reply { body: file.bytes.to_vec(), ..base };
    }
    let base = base.header("accept-ranges", "bytes");
    let conditional = request.header("if-range").is_none_or(|wanted| wanted == etag);
    match request.header("range").filter(|_| conditional).map(|text| parse_range(text, size)) {
        None | Some(Range::Ignored) if request.method == "HEAD" => base.header("content-length", size.to_string()),
        None | Some(Range::Ignored) => Reply { body: file.bytes.to_vec(), ..base },
        Some(Range::Outside) => {
            refused(416, "InvalidRange", "The requested range cannot be satisfied.").header("content-range", format!("bytes */{size}"))
        }
        Some(Range::Part(first, last)) => {
            let body = file.bytes[first as usize..=last as usize].to_vec();
            Reply { status: 206, body, ..base }.header("content-range", format!("bytes {first}-{last}/{size}"))
        }
    }
}

/// Takes a file, if it comes with the headers that the link was handed out with.
fn put(inner: &Inner, request: &Request, path: &str) -> Reply {
    if request.header("x-ms-blob-type") != Some("BlockBlob") {
        return refused(400, "MissingRequiredHeader", "x-ms-blob-type");
    }
    let mime = request.header("content-type").unwrap_or("application/octet-stream");
    inner.store.lock().unwrap().put_file(path, mime, request.body.clone());
    Reply::new(201, "application/xml", Vec::new())
}

#[derive(Debug, PartialEq)]
enum Range {
    Part(u64, u64),
    Outside,
    /// Not understood, or several ranges: the whole file is a lawful answer.
    Ignored,
}

fn parse_range(text: &str, size: u64) -> Range {
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|spec| spec.split_once('-')) else { return Range::Ignored };
    match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), _) if first >= size => Range::Outside,
        (Ok(first), Ok(last)) if last >= first => Range::Part(first, last.min(size - 1)),
        (Ok(first), Err(_)) if last.is_empty() => Range::Part(first, size - 1),
        (Err(_), Ok(suffix)) if first.is_empty() => match suffix.min(size) {
            0 => Range::Outside,
            suffix => Range::Part(size - suffix, size - 1),
        },
        _ => Range::Ignored,
    }
}
