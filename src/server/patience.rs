//! How long a connection may be silent: the timers that hyper does not have, kept where the bytes pass by.
//!
//! hyper's own header time-out also runs while a connection merely waits, so one value would have to serve two
//! purposes: cutting off a slow header soon, and leaving a connection alone while the person at the browser reads the
//! prompt that asks whether the page may reach this box.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::guests::Pulse;
use super::settings::Limits;

/// What is still read from a caller after the last answer, so that the answer is not lost to a reset.
/// A browser over HTTP/1 reads nothing of it before it has sent its whole body, however large.
const LINGER_BYTES: usize = 16 * 1024 * 1024;
const LINGER_TIME: Duration = Duration::from_secs(2);

/// A connection that is given up when its caller stays silent for too long or does not take its answer.
pub(super) struct Patient<S> {
    stream: S,
    pulse: Arc<Pulse>,
    limits: Limits,
    /// With HTTP/2 bytes come at any time; only requests count as a sign of life.
    header_timed: bool,
    waiting: Waiting,
    deadline: Instant,
    /// Fires at `deadline` or earlier: it is moved only when it must come sooner, or has fired too early.
    timer: Pin<Box<Sleep>>,
    finished: u64,
    write_timer: Option<Pin<Box<Sleep>>>,
    linger: Option<Linger>,
}

/// What the caller is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// The first byte, or the next request.
    Silent,
    /// The rest of a request's header.
    Header,
}

struct Linger {
    timer: Pin<Box<Sleep>>,
    bytes: usize,
}

impl<S> Patient<S> {
    /// `header_timed` is for HTTP/1, where the first byte after silence begins a header.
    pub(super) fn new(stream: S, pulse: Arc<Pulse>, limits: Limits, header_timed: bool) -> Self {
        let deadline = Instant::now() + limits.first_byte_time;
        let timer = Box::pin(sleep_until(deadline));
        let finished = pulse.finished();
        Self { stream, pulse, limits, header_timed, waiting: Waiting::Silent, deadline, timer, finished, write_timer: None, linger: None }
    }

    /// Follows the requests: after one has ended the caller may be silent for the idle time.
    fn note_requests(&mut self) {
        let finished = self.pulse.finished();
        if finished != self.finished {
            self.finished = finished;
            self.waiting = Waiting::Silent;
            self.deadline = Instant::now() + self.limits.idle_time;
        }
    }

    fn note_bytes(&mut self) {
        self.note_requests();
        if self.header_timed && self.waiting == Waiting::Silent && !self.pulse.is_active() {
            self.waiting = Waiting::Header;
            self.deadline = Instant::now() + self.limits.header_time;
        }
    }

    /// Ready when the caller has been silent for too long. While a request is served, its own time-outs count.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.pulse.is_active() {
            return Poll::Pending;
        }
        self.note_requests();
        if self.timer.deadline() > self.deadline {
            self.timer.as_mut().reset(self.deadline);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= self.deadline {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(self.deadline);
        }
        Poll::Pending
    }

    fn poll_stall(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.limits.write_time;
        self.write_timer.get_or_insert_with(|| Box::pin(sleep(limit))).as_mut().poll(cx)
    }
}

fn too_slow(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buf) {
            Poll::Ready(result) => {
                if buf.filled().len() > before {
                    this.note_bytes();
                    // Bytes that never pause would keep the timer from being asked.
                    if !this.pulse.is_active() && Instant::now() >= this.deadline {
                        return Poll::Ready(Err(too_slow("the caller sent for too long without a request")));
                    }
                }
                Poll::Ready(result)
            }
            Poll::Pending => {
                ready!(this.poll_silence(cx));
                Poll::Ready(Err(too_slow("the caller was silent for too long")))
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Poll::Ready(result) = Pin::new(&mut this.stream).poll_write(cx, buf) {
            this.write_timer = None;
            return Poll::Ready(result);
        }
        ready!(this.poll_stall(cx));
        Poll::Ready(Err(too_slow("the caller does not take its answer")))
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Poll::Ready(result) = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs) {
            this.write_timer = None;
            return Poll::Ready(result);
        }
        ready!(this.poll_stall(cx));
        Poll::Ready(Err(too_slow("the caller does not take its answer")))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Poll::Ready(result) = Pin::new(&mut this.stream).poll_flush(cx) {
            this.write_timer = None;
            return Poll::Ready(result);
        }
        ready!(this.poll_stall(cx));
        Poll::Ready(Err(too_slow("the caller does not take its answer")))
    }

    /// Says goodbye, then reads on for a moment: a socket closed over unread bytes resets the connection, and a
    /// reset can take the answer with it before the caller has read it.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.linger.is_none() {
            if Pin::new(&mut this.stream).poll_shutdown(cx)?.is_pending() {
                ready!(this.poll_stall(cx));
                return Poll::Ready(Err(too_slow("the caller does not take its answer")));
            }
            this.linger = Some(Linger { timer: Box::pin(sleep(LINGER_TIME)), bytes: 0 });
        }
        let Some(linger) = &mut this.linger else { return Poll::Ready(Ok(())) };
        let mut scratch = [0; 4096];
        loop {
            let mut buf = ReadBuf::new(&mut scratch);
            match Pin::new(&mut this.stream).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() && linger.bytes < LINGER_BYTES => linger.bytes += buf.filled().len(),
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => {
                    ready!(linger.timer.as_mut().poll(cx));
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::super::guests::Guests;
    use super::*;

    /// Has always more bytes, so that nothing ever waits.
    struct Endless;

    impl AsyncRead for Endless {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            let room = buf.remaining().min(4096);
            buf.put_slice(&[b'x'; 4096][..room]);
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn bytes_that_never_pause_do_not_outwit_the_timers() {
        for header_timed in [true, false] {
            let guest = Guests::new(1, 1).admit(std::net::Ipv4Addr::LOCALHOST.into()).unwrap();
            let short = Duration::from_millis(50);
            let limits = Limits { first_byte_time: short, header_time: short, ..Limits::default() };
            let mut caller = Patient::new(Endless, Arc::clone(&guest.pulse), limits, header_timed);
            let begun = Instant::now();
            let wrong = loop {
                assert!(begun.elapsed() < Duration::from_secs(20), "bytes are taken for ever");
                if let Err(wrong) = caller.read_u8().await {
                    break wrong;
                }
            };
            assert_eq!(wrong.kind(), io::ErrorKind::TimedOut);
        }
    }

    impl AsyncWrite for Endless {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn patient<S>(stream: S) -> Patient<S> {
        let guest = Guests::new(1, 1).admit(std::net::Ipv4Addr::LOCALHOST.into()).unwrap();
        Patient::new(stream, Arc::clone(&guest.pulse), Limits::default(), true)
    }

    #[tokio::test]
    async fn after_the_last_answer_the_rest_is_read_until_the_caller_leaves() {
        // Whatever is not read stays in the caller's hands, as with a full socket.
        let (ours, mut theirs) = tokio::io::duplex(1024);
        let begun = Instant::now();
        let caller = async {
            theirs.write_all(&[0; 300_000]).await.unwrap();
            drop(theirs);
        };
        let mut served = patient(ours);
        let (ended, ()) = tokio::join!(served.shutdown(), caller);
        ended.unwrap();
        assert!(served.linger.unwrap().bytes >= 300_000 - 1024);
        assert!(begun.elapsed() < LINGER_TIME, "a caller who has left is not waited for");
    }

    #[tokio::test]
    async fn a_caller_who_stays_is_waited_for_and_not_for_ever() {
        let (ours, theirs) = tokio::io::duplex(1024);
        let begun = Instant::now();
        tokio::time::timeout(Duration::from_secs(30), patient(ours).shutdown()).await.expect("an end").unwrap();
        assert!(begun.elapsed() >= LINGER_TIME - Duration::from_millis(50), "{:?}", begun.elapsed());
        drop(theirs);
        // Nor one who never stops sending: this ends by the number of its bytes.
        let mut endless = patient(Endless);
        endless.shutdown().await.unwrap();
        let read = endless.linger.unwrap().bytes;
        assert!((LINGER_BYTES..LINGER_BYTES + 8192).contains(&read), "{read}");
    }
}
