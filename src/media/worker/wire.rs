//! Messages over the socket between the daemon and a decode worker: two lengths, a JSON header, raw bytes.
//!
//! ```text
//! header length: u32 LE | payload length: u32 LE | header: JSON | payload: bytes
//! ```
//! Both lengths are bounded before anything is allocated: neither side trusts the other's arithmetic, and the worker's side
//! may be in the hands of a hostile file.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::deadline::{Deadline, Expired};

/// Longest header: a job with many regions is a few KiB.
const MAX_HEADER: usize = 256 * 1024;

/// How long one read or write may make no progress when no deadline is given.
const IDLE: Option<Duration> = None;

/// Why a message did not come or go.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The other side closed the connection: it ended.
    #[error("the connection was closed")]
    Closed,
    /// The deadline passed, or the caller left.
    #[error(transparent)]
    Deadline(#[from] Expired),
    /// A message longer than allowed, or not in the form agreed.
    #[error("a message out of form: {0}")]
    Form(String),
    /// The socket failed.
    #[error("{0}")]
    Io(io::Error),
}

impl From<io::Error> for WireError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Self::Closed,
            // A socket's time-out is set to what the deadline leaves.
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Deadline(Expired::Spent),
            _ => Self::Io(error),
        }
    }
}

/// One end of the connection.
pub struct Wire {
    stream: UnixStream,
}

impl Wire {
    /// Takes one end of a socket pair.
    pub fn new(stream: UnixStream) -> Self {
        Self { stream }
    }

    /// Ends the connection; the peer reads to its end.
    pub fn close(&self) {
        // A peer that is gone already needs no telling.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }

    /// Sends one message. With a deadline, gives up when it passes; the connection is then of no further use.
    pub fn send(&mut self, header: &impl Serialize, payload: &[u8], deadline: Option<&Deadline>) -> Result<(), WireError> {
        let header = serde_json::to_vec(header).map_err(|e| WireError::Form(e.to_string()))?;
        let lengths = u32::try_from(header.len()).ok().zip(u32::try_from(payload.len()).ok());
        let (head, body) = lengths.ok_or_else(|| WireError::Form(format!("{} bytes are too many", payload.len())))?;
        let mut start = Vec::with_capacity(8 + header.len());
        start.extend_from_slice(&head.to_le_bytes());
        start.extend_from_slice(&body.to_le_bytes());
        start.extend_from_slice(&header);
        self.write_all(&start, deadline)?;
        self.write_all(payload, deadline)
    }

    /// Waits for one message whose payload is at most `max_payload` bytes.
    pub fn receive<T: DeserializeOwned>(&mut self, max_payload: usize, deadline: Option<&Deadline>) -> Result<(T, Vec<u8>), WireError> {
        let lengths = self.read_vec(8, deadline)?;
        let number = |at: usize| u32::from_le_bytes([lengths[at], lengths[at + 1], lengths[at + 2], lengths[at + 3]]) as usize;
        let (head, body) = (number(0), number(4));
        if head > MAX_HEADER || body > max_payload {
            return Err(WireError::Form(format!("{head} + {body} bytes, at most {MAX_HEADER} + {max_payload} are allowed")));
        }
        let header = self.read_vec(head, deadline)?;
        let header = serde_json::from_slice(&header).map_err(|e| WireError::Form(e.to_string()))?;
        Ok((header, self.read_vec(body, deadline)?))
    }

    /// Whether anything came, be it the end, before `patience` ran out.
    pub fn has_news(&self, patience: Duration) -> Result<bool, WireError> {
        let until = Instant::now() + patience;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let mut sockets = [PollFd::new(&self.stream, PollFlags::IN)];
            match poll(&mut sockets, Some(&Timespec::try_from(left).map_err(|e| WireError::Form(e.to_string()))?)) {
                Ok(ready) => return Ok(ready > 0),
                Err(Errno::INTR) => {}
                Err(error) => return Err(WireError::Io(error.into())),
            }
        }
    }

    fn write_all(&mut self, mut bytes: &[u8], deadline: Option<&Deadline>) -> Result<(), WireError> {
        while !bytes.is_empty() {
            self.stream.set_write_timeout(deadline.map_or(Ok(IDLE), |d| d.glance().map(Some))?)?;
            match self.stream.write(bytes) {
                Ok(0) => return Err(WireError::Closed),
                Ok(count) => bytes = &bytes[count..],
                // A time-out is a glance at the deadline, which says whether to go on.
                Err(error) if deadline.is_some() && matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn read_vec(&mut self, length: usize, deadline: Option<&Deadline>) -> Result<Vec<u8>, WireError> {
        let mut bytes = vec![0; length];
        let mut filled = 0;
        while filled < length {
            self.stream.set_read_timeout(deadline.map_or(Ok(IDLE), |d| d.glance().map(Some))?)?;
            match self.stream.read(&mut bytes[filled..]) {
                Ok(0) => return Err(WireError::Closed),
                Ok(count) => filled += count,
                // A time-out is a glance at the deadline, which says whether to go on.
                Err(error) if deadline.is_some() && matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Wire, Wire) {
        let (a, b) = UnixStream::pair().unwrap();
        (Wire::new(a), Wire::new(b))
    }

    #[test]
    fn a_message_arrives_as_it_was_sent() {
        let (mut here, mut there) = pair();
        let payload: Vec<u8> = (0..300_000).map(|i| i as u8).collect();
        let sender = std::thread::spawn({
            let payload = payload.clone();
            move || here.send(&("read", 7), &payload, None).map(|()| here)
        });
        let (header, bytes): ((String, u32), _) = there.receive(1 << 20, None).unwrap();
        assert_eq!((header, bytes), (("read".to_owned(), 7), payload));
        drop(sender.join().unwrap().unwrap());
        assert!(matches!(there.receive::<u32>(10, None), Err(WireError::Closed)));
    }

    #[test]
    fn a_payload_over_the_bound_is_refused_before_it_is_read() {
        let (mut here, mut there) = pair();
        here.send(&1, &[0; 100], None).unwrap();
        assert!(matches!(there.receive::<u32>(99, None), Err(WireError::Form(_))));
    }

    #[test]
    fn news_is_a_message_or_the_end_and_not_silence() {
        let (mut here, there) = pair();
        assert!(!there.has_news(Duration::from_millis(5)).unwrap());
        here.send(&1, &[], None).unwrap();
        assert!(there.has_news(Duration::from_secs(60)).unwrap());
        drop(there);
        assert!(here.has_news(Duration::from_secs(60)).unwrap());
    }

    #[test]
    fn a_silent_peer_costs_no_more_than_the_deadline() {
        let (mut here, mut there) = pair();
        let soon = Deadline::after(Duration::from_millis(30));
        assert!(matches!(there.receive::<u32>(10, Some(&soon)), Err(WireError::Deadline(_))));
        // Nobody reads: the socket's buffer fills and the write stalls.
        let soon = Deadline::after(Duration::from_millis(30));
        assert!(matches!(here.send(&1, &vec![0; 8 << 20], Some(&soon)), Err(WireError::Deadline(_))));
    }
}
