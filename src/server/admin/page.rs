//! The status page: one HTML file without foreign parts, which asks for `/status.json` every few seconds.

use hyper::header::HeaderValue;

use crate::ids::RequestId;

const TEMPLATE: &str = include_str!("status.html");

/// What a browser shows on the page's tab; without one it asks for another and notes an error.
pub(super) const ICON: &str = r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="3" fill="#1a7f4b"/><path d="M4 8.5l3 3 5-7" fill="none" stroke="#fff" stroke-width="2"/></svg>"##;

/// The page, and the policy under which nothing but its own style and script runs in it.
pub(super) fn render() -> (String, HeaderValue) {
    let nonce = format!("{}{}", RequestId::random(), RequestId::random());
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; img-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    // Made of letters that a header can hold; without a policy the page would still be whole, as it loads nothing.
    let policy = HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'self' 'unsafe-inline'"));
    (TEMPLATE.replace("NONCE", &nonce), policy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_loads_nothing_from_elsewhere_and_writes_no_markup() {
        let (html, policy) = render();
        assert!(!html.contains("http://") && !html.contains("https://") && !html.contains("//cdn"), "foreign assets");
        assert!(!html.contains("innerHTML"), "titles come from strangers and must stay text");
        assert!(!html.contains("NONCE") && !html.contains(" style=\"") && !html.contains(" onclick"));
        let nonce = policy.to_str().unwrap().split("nonce-").nth(1).unwrap().split('\'').next().unwrap().to_owned();
        assert_eq!(html.matches(&format!("nonce=\"{nonce}\"")).count(), 2);
    }
}
