//! The conversation with systemd: readiness, status, watchdog, and the sockets it passes. Without systemd all of it is
//! silence.

use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;

/// Says that the service is up, and what it does now.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(&one_line(status))]);
}

/// Says in one line what the service does now; `systemctl status` shows it.
pub fn status(status: &str) {
    tell(&[NotifyState::Status(&one_line(status))]);
}

/// Says that the configuration is being read again; [`ready`] ends it.
pub fn reloading() {
    // Since version 253 systemd wants to know when the reload began, to tell its end from that of an earlier one.
    match NotifyState::monotonic_usec_now() {
        Ok(began) => tell(&[NotifyState::Reloading, began, NotifyState::Status("reading the configuration")]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// Says that the service ends, and asks for `time` to do so, beyond the unit's stop time-out if need be.
pub fn stopping(status: &str, time: Duration) {
    let microseconds = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
    tell(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(microseconds), NotifyState::Status(&one_line(status))]);
}

/// The listening sockets that systemd passes to a service with a `.socket` unit. To be called once, before any thread
/// is started: the variables that name them are removed so that no child takes them for its own.
pub fn passed_sockets() -> io::Result<Vec<TcpListener>> {
    let mut passed = ListenFd::from_env();
    (0..passed.len()).filter_map(|place| passed.take_tcp_listener(place).transpose()).collect()
}

/// The watchdog that the unit asks for with `WatchdogSec=`.
#[derive(Debug, Clone, Copy)]
pub struct Watchdog {
    limit: Duration,
}

impl Watchdog {
    /// How long systemd waits between two pings, if it watches this process.
    pub fn asked_for() -> Option<Self> {
        sd_notify::watchdog_enabled().map(|limit| Self { limit })
    }

    /// Pings three times per period, for as long as `check` proves that the service works. A check that fails or hangs
    /// is no ping; systemd restarts a service that misses them all. `pinged` is told each time, with the reason when
    /// no ping was sent.
    pub async fn keep<F>(self, check: impl Fn() -> F, pinged: impl Fn(Result<(), String>))
    where
        F: Future<Output = Result<(), String>>,
    {
        let mut pace = tokio::time::interval(self.limit / 3);
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            pace.tick().await;
            let proof = tokio::time::timeout(self.limit / 3, check()).await.unwrap_or_else(|_| Err("the proof took too long".into()));
            if proof.is_ok() {
                tell(&[NotifyState::Watchdog]);
            }
            pinged(proof);
        }
    }
}

/// A message that does not arrive changes nothing here: systemd then acts on its own time-outs.
fn tell(state: &[NotifyState<'_>]) {
    if let Err(cause) = sd_notify::notify(state) {
        tracing::debug!(%cause, "systemd does not listen");
    }
}

/// A line break in a status would begin a new assignment.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixDatagram;
    use std::process::{Command, Stdio};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Runs one of the ignored tests below in a process of its own, as systemd would run a service.
    fn service(test: &str) -> Command {
        let mut shell = Command::new("sh");
        let line =
            "exec 3<&0; LISTEN_PID=$$; WATCHDOG_PID=$$; export LISTEN_PID WATCHDOG_PID; exec \"$0\" --ignored --exact \"$1\" --nocapture";
        shell.arg("-c").arg(line).arg(std::env::current_exe().unwrap()).arg(test);
        shell.env_remove("LISTEN_FDS").env_remove("NOTIFY_SOCKET").stdin(Stdio::null()).stdout(Stdio::null());
        shell
    }

    #[test]
    fn systemd_hears_the_whole_life() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let heard = UnixDatagram::bind(&path).unwrap();
        heard.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut child = service("systemd::tests::child_lives").env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "300000").spawn().unwrap();
        let mut buffer = [0; 1024];
        let mut next = || {
            let length = heard.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..length].to_vec()).unwrap()
        };
        assert_eq!(next(), "READY=1\nSTATUS=serving  two lines\n");
        let reloading = next();
        assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
        assert_eq!(next(), "READY=1\nSTATUS=serving again\n");
        // Three proofs: good, bad, good. The bad one is no ping.
        assert_eq!(next(), "WATCHDOG=1\n");
        assert_eq!(next(), "WATCHDOG=1\n");
        assert_eq!(next(), "STOPPING=1\nEXTEND_TIMEOUT_USEC=65000000\nSTATUS=draining\n");
        assert!(child.wait().unwrap().success());
    }

    #[test]
    #[ignore = "run by systemd_hears_the_whole_life in a process of its own"]
    fn child_lives() {
        ready("serving\n two lines");
        reloading();
        ready("serving again");
        let watchdog = Watchdog::asked_for().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (checks, pings) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let check = || {
            let number = checks.fetch_add(1, Ordering::SeqCst);
            async move { if number == 1 { Err("stuck".to_owned()) } else { Ok(()) } }
        };
        let keep = watchdog.keep(check, |proof| {
            pings.fetch_add(usize::from(proof.is_ok()), Ordering::SeqCst);
        });
        runtime.block_on(async {
            let enough = async {
                while pings.load(Ordering::SeqCst) < 2 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::select! { () = keep => {}, () = enough => {} }
        });
        stopping("draining", Duration::from_secs(65));
    }

    #[test]
    fn a_passed_socket_is_served_by_the_child() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut child = service("systemd::tests::child_answers")
            .env("LISTEN_FDS", "1")
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(listener)))
            .spawn()
            .unwrap();
        let mut said = String::new();
        std::net::TcpStream::connect(address).unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(said, "here");
        assert!(child.wait().unwrap().success());
    }

    #[test]
    #[ignore = "run by a_passed_socket_is_served_by_the_child in a process of its own"]
    fn child_answers() {
        let sockets = passed_sockets().unwrap();
        assert_eq!(sockets.len(), 1);
        assert!(std::env::var_os("LISTEN_FDS").is_none());
        sockets[0].accept().unwrap().0.write_all(b"here").unwrap();
    }

    #[test]
    fn without_systemd_there_is_silence() {
        assert!(Watchdog::asked_for().is_none());
        assert!(passed_sockets().unwrap().is_empty());
        ready("nobody listens");
    }
}
