//! Names of headers out of the configuration.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use ureq::http::HeaderName;

/// Names seen so far. The outgoing HTTP client takes names that live as long as the program; a configuration has a
/// handful of them, and a reload brings the same ones again.
static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

/// `text` as a header's name; `None` if it cannot be one.
pub(super) fn name(text: &str) -> Option<&'static str> {
    let name = HeaderName::from_bytes(text.as_bytes()).ok()?;
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name.as_str()) {
        return Some(known);
    }
    let kept: &'static str = Box::leak(name.as_str().to_owned().into_boxed_str());
    names.insert(kept);
    Some(kept)
}
