//! Looks after endpoints that are down, so that they are used again soon after they are back.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::endpoint::Endpoint;

/// Pause between two looks at an endpoint that is down.
pub(super) const EVERY: Duration = Duration::from_secs(5);

/// Starts to look after `endpoint` in the background, unless somebody does already or it is up. A look costs no
/// tokens. It ends with the endpoint's recovery, or when nobody else knows the endpoint any more.
pub(super) fn look_after(endpoint: &Arc<Endpoint>, every: Duration) {
    if !endpoint.breaker.is_down() || endpoint.looked_after.swap(true, Ordering::AcqRel) {
        return;
    }
    let known = Arc::downgrade(endpoint);
    let look = move || {
        loop {
            std::thread::sleep(every);
            let Some(endpoint) = known.upgrade() else { return };
            if endpoint.breaker.is_down() && !endpoint.gives_sign_of_life(EVERY) {
                continue;
            }
            endpoint.breaker.try_again(Instant::now());
            endpoint.looked_after.store(false, Ordering::Release);
            return;
        }
    };
    // Without a thread the breaker's own pauses have to do.
    if std::thread::Builder::new().name("model-recovery".into()).spawn(look).is_err() {
        endpoint.looked_after.store(false, Ordering::Release);
    }
}
