//! The trace that work belongs to: taken from the click, sent on to Encord and the model, so that one id finds the click in
//! the logs of all three.
//!
//! It belongs to the thread that does the work, as nobody between the door and the wire has a use for it.

use std::cell::Cell;
use std::fmt;

/// The id of a trace, the same in Google Cloud's and in the W3C's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace(u128);

thread_local! {
    static HERE: Cell<Option<Trace>> = const { Cell::new(None) };
}

impl Trace {
    /// The trace of an `X-Cloud-Trace-Context` (`<32 hex>/<span>;o=1`) or of a `traceparent` (`00-<32 hex>-<16 hex>-<flags>`);
    /// none in a text that is neither.
    pub fn read(header: &str) -> Option<Self> {
        let id = match header.split_once('-') {
            Some((version, rest)) => {
                let mut parts = rest.split('-');
                let id = parts.next()?;
                let span = parts.next()?;
                // Newer versions may add parts at the end; `ff` is none.
                let fits = version.len() == 2 && is_hex(version) && version != "ff" && span.len() == 16 && is_hex(span);
                fits.then_some(id)?
            }
            None => header.split('/').next()?,
        };
        let id = (id.len() == 32 && is_hex(id)).then(|| u128::from_str_radix(id, 16).ok()).flatten()?;
        (id != 0).then_some(Self(id))
    }

    /// A trace that begins here.
    pub fn fresh() -> Self {
        let half = || u128::from(getrandom::u64().unwrap_or(1));
        Self((half() << 64 | half()).max(1))
    }

    /// The trace of this thread's work, or a fresh one for work that nobody clicked for.
    pub fn here() -> Self {
        HERE.get().unwrap_or_else(Self::fresh)
    }

    /// Does work that belongs to this trace. Threads that help with it are told by calling this in them again.
    pub fn carry<T>(self, work: impl FnOnce() -> T) -> T {
        let _restore = Restore(HERE.replace(Some(self)));
        work()
    }

    /// The value of an `X-Cloud-Trace-Context`, as Encord's own SDK sends it.
    pub fn cloud(self) -> String {
        format!("{self}/1;o=1")
    }

    /// The value of a `traceparent`, with a span of its own for each call.
    pub fn parent(self) -> String {
        format!("00-{self}-{:016x}-01", getrandom::u64().unwrap_or(1).max(1))
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A panic in the work must not leave its trace to the thread's next work.
struct Restore(Option<Trace>);

impl Drop for Restore {
    fn drop(&mut self) {
        HERE.set(self.0);
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0af7651916cd43dd8448eb211c80319c";

    #[test]
    fn both_headers_name_the_same_trace() {
        let headers = [
            format!("{ID}/123;o=1"),
            format!("{ID}/123"),
            ID.to_owned(),
            format!("00-{ID}-b7ad6b7169203331-01"),
            format!("01-{ID}-b7ad6b7169203331-01-what-later-versions-add"),
        ];
        for header in headers {
            assert_eq!(Trace::read(&header).map(|trace| trace.to_string()).as_deref(), Some(ID), "{header}");
        }
    }

    #[test]
    fn what_is_no_trace_is_none() {
        let zero = "0".repeat(32);
        let headers = [
            String::new(),
            "1234/5;o=1".into(),
            zero.clone(),
            format!("00-{zero}-b7ad6b7169203331-01"),
            format!("ff-{ID}-b7ad6b7169203331-01"),
            format!("00-{ID}-short-01"),
            format!("00-{ID}"),
            format!("+{}", &ID[1..]),
            format!("{ID}0"),
            "é".repeat(16),
        ];
        for header in headers {
            assert_eq!(Trace::read(&header), None, "{header}");
        }
    }

    #[test]
    fn what_is_sent_on_reads_as_the_same_trace() {
        let trace = Trace::fresh();
        assert_eq!(Trace::read(&trace.cloud()), Some(trace));
        assert_eq!(Trace::read(&trace.parent()), Some(trace));
        assert_ne!(trace.parent(), trace.parent(), "each call is a span of its own");
        assert_ne!(trace, Trace::fresh());
    }

    #[test]
    fn a_panic_leaves_no_trace_to_the_next_work() {
        let (outer, inner) = (Trace::fresh(), Trace::fresh());
        outer.carry(|| {
            let panicked = std::panic::catch_unwind(|| inner.carry(|| panic!("work broke")));
            assert!(panicked.is_err());
            assert_eq!(Trace::here(), outer);
        });
        assert_ne!(Trace::here(), outer);
    }
}
