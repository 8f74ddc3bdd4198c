//! Who may look: everyone on this box, and with a token whoever else can reach the address.

use std::net::{IpAddr, SocketAddr};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, ORIGIN};
use subtle::ConstantTimeEq;

use crate::ids::Secret;

pub(super) struct Guard {
    token: Option<Secret>,
    address: SocketAddr,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Welcome,
    /// Called by a name that is not ours.
    StrangeHost,
    NoToken,
}

impl Guard {
    pub(super) fn new(token: Option<Secret>, address: SocketAddr) -> Self {
        Self { token: token.filter(|token| !token.is_empty()), address }
    }

    pub(super) fn judge(&self, headers: &HeaderMap, public: bool) -> Verdict {
        match &self.token {
            // A web page can point a name of its own at this address and then read what is here as its own: a loopback
            // address alone keeps no page out. The browser names the host it believes to call.
            None if !self.is_our_host(headers) => Verdict::StrangeHost,
            None => Verdict::Welcome,
            Some(_) if public => Verdict::Welcome,
            Some(token) if given(headers).is_some_and(|given| same(&given, token)) => Verdict::Welcome,
            Some(_) => Verdict::NoToken,
        }
    }

    fn is_our_host(&self, headers: &HeaderMap) -> bool {
        // Programs that name no host at all are no browsers.
        let Some(host) = headers.get(HOST) else { return true };
        let Ok(host) = host.to_str() else { return false };
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => host,
        };
        if name.eq_ignore_ascii_case("localhost") {
            return true;
        }
        let address: Option<IpAddr> = name.trim_matches(['[', ']']).parse().ok();
        address.is_some_and(|address| address.is_loopback() || address == self.address.ip())
    }
}

/// Whether a web page of another site sends this. A page may send a POST anywhere without asking first, and the browser adds the
/// password that it was told for this address.
pub(super) fn is_of_another_site(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if text("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return true;
    }
    let Some(origin) = text(ORIGIN.as_str()) else { return false };
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    !matches!((authority, text(HOST.as_str())), (Some(page), Some(here)) if page.eq_ignore_ascii_case(here))
}

fn same(given: &Secret, token: &Secret) -> bool {
    given.expose().as_bytes().ct_eq(token.expose().as_bytes()).into()
}

/// The token of `Authorization: Bearer <token>`, or the password of `Basic`, whoever the user.
fn given(headers: &HeaderMap) -> Option<Secret> {
    let (scheme, rest) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Secret::new(rest.trim()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(BASE64_STANDARD.decode(rest.trim()).ok()?).ok()?;
    pair.split_once(':').map(|(_, password)| Secret::new(password))
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};

    use super::*;

    fn with(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn a_page_that_points_its_own_name_here_sees_nothing() {
        let guard = Guard::new(None, "127.0.0.1:9464".parse().unwrap());
        for ours in ["127.0.0.1:9464", "localhost:9464", "localhost", "[::1]:9464", "LOCALHOST:8080"] {
            assert_eq!(guard.judge(&with(HOST, ours), false), Verdict::Welcome, "{ours}");
        }
        for foreign in ["evil.example:9464", "localhost.evil.example", "10.0.0.1:9464", "", "localhost:9464:x"] {
            assert_eq!(guard.judge(&with(HOST, foreign), false), Verdict::StrangeHost, "{foreign}");
        }
    }

    #[test]
    fn a_page_of_another_site_is_known_by_what_the_browser_says_of_it() {
        let headers = |pairs: &[(&'static str, &str)]| {
            HeaderMap::from_iter(pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())))
        };
        for ours in [
            &[][..],
            &[("host", "localhost:9464")],
            &[("host", "localhost:9464"), ("origin", "http://localhost:9464"), ("sec-fetch-site", "same-origin")],
            &[("host", "box.example"), ("origin", "https://box.example")],
            &[("sec-fetch-site", "none")],
        ] {
            assert!(!is_of_another_site(&headers(ours)), "{ours:?}");
        }
        for foreign in [
            &[("host", "localhost:9464"), ("origin", "https://evil.example")][..],
            &[("host", "localhost:9464"), ("origin", "http://localhost:8080")],
            &[("host", "localhost:9464"), ("origin", "null")],
            &[("host", "localhost:9464"), ("origin", "")],
            &[("origin", "http://localhost:9464")],
            &[("host", "localhost:9464"), ("sec-fetch-site", "cross-site")],
            &[("host", "localhost:9464"), ("sec-fetch-site", "same-site")],
        ] {
            assert!(is_of_another_site(&headers(foreign)), "{foreign:?}");
        }
    }

    #[test]
    fn the_token_opens_as_bearer_and_as_password() {
        let guard = Guard::new(Some(Secret::new("s3cret")), "192.168.4.7:9464".parse().unwrap());
        let basic = |pair: &str| format!("Basic {}", BASE64_STANDARD.encode(pair));
        for (value, verdict) in [
            ("Bearer s3cret".to_owned(), Verdict::Welcome),
            ("bearer  s3cret ".to_owned(), Verdict::Welcome),
            (basic("admin:s3cret"), Verdict::Welcome),
            (basic(":s3cret"), Verdict::Welcome),
            (basic("s3cret:"), Verdict::NoToken),
            ("Bearer s3cre".to_owned(), Verdict::NoToken),
            ("Basic !!!".to_owned(), Verdict::NoToken),
            ("s3cret".to_owned(), Verdict::NoToken),
        ] {
            assert_eq!(guard.judge(&with(AUTHORIZATION, &value), false), verdict, "{value}");
        }
        assert_eq!(guard.judge(&HeaderMap::new(), true), Verdict::Welcome);
    }
}
