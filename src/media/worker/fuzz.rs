//! The way in for the fuzzer: what a worker in the hands of a hostile file could say to the daemon.

use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::protocol::FromWorker;
use super::wire::Wire;
use crate::deadline::Deadline;

/// As many bytes as a socket takes without a reader.
const MOST: usize = 64 << 10;
const MAX_PAYLOAD: usize = 16 << 10;

/// Whatever comes, it is a message within its bounds or the end of the conversation; and what is understood can be said.
#[doc(hidden)]
pub fn fuzz_worker_says(bytes: &[u8]) {
    let Ok((mut worker, daemon)) = UnixStream::pair() else { return };
    if bytes.len() > MOST || worker.write_all(bytes).is_err() || worker.shutdown(Shutdown::Write).is_err() {
        return;
    }
    let mut wire = Wire::new(daemon);
    let deadline = Deadline::after(Duration::from_secs(5));
    while let Ok((message, payload)) = wire.receive::<FromWorker>(MAX_PAYLOAD, Some(&deadline)) {
        assert!(payload.len() <= MAX_PAYLOAD);
        assert!(serde_json::to_vec(&message).is_ok(), "{message:?}");
    }
    assert!(deadline.left().is_ok(), "the daemon waits for what cannot come");
}
