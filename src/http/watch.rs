//! Ends an exchange whose caller has left: the connection looks up from its waiting now and then.
//!
//! ureq hands a connection no word of the request it serves, but serves it on the thread of the request. So the thread
//! remembers the deadline of its exchange for as long as it is in it, and nowhere else.

use std::cell::RefCell;
use std::time::Instant;

use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

use crate::deadline::{Deadline, Expired};

thread_local! {
    static CURRENT: RefCell<Option<Deadline>> = const { RefCell::new(None) };
}

/// Does `work`, during which connections keep to `deadline`.
pub(super) fn under<T>(deadline: &Deadline, work: impl FnOnce() -> T) -> T {
    struct Restore(Option<Deadline>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.0.take());
        }
    }
    let _restore = Restore(CURRENT.replace(Some(deadline.clone())));
    work()
}

/// Watches over the connections that the connector before it makes.
#[derive(Debug, Default)]
pub(super) struct Watching;

impl<In: Transport> Connector<In> for Watching {
    type Out = Watched<In>;

    fn connect(&self, _: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Self::Out>, ureq::Error> {
        Ok(chained.map(Watched))
    }
}

/// A connection that is given up when the caller of its exchange leaves.
#[derive(Debug)]
pub(super) struct Watched<T>(T);

impl<T: Transport> Transport for Watched<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.0.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.0.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        let Some(deadline) = CURRENT.with_borrow(Clone::clone) else { return self.0.await_input(timeout) };
        let whole = timeout.for_read();
        let begun = Instant::now();
        loop {
            let left = whole.after.saturating_sub(begun.elapsed());
            let glance = match deadline.glance() {
                Err(Expired::Left) => return Err(ureq::Error::Other(Box::new(Expired::Left))),
                // ureq's own time-out is about to say so, and which phase it was.
                Err(Expired::Spent) => left,
                Ok(glance) => glance.min(left),
            };
            let piece = NextTimeout { after: glance.into(), per_read: None, ..whole };
            match self.0.await_input(piece) {
                Err(ureq::Error::Timeout(_)) if glance < left => {}
                other => return other,
            }
        }
    }

    fn is_open(&mut self) -> bool {
        self.0.is_open()
    }

    fn is_tls(&self) -> bool {
        self.0.is_tls()
    }
}
