//! A worker ends with its daemon, also in the middle of a decode.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::RecvFlags;

/// How long a worker may outlive its daemon.
const GLANCE: Duration = Duration::from_millis(500);

/// Watches the daemon's socket from a thread of its own and ends this process when it is closed.
///
/// `PR_SET_PDEATHSIG` would be tied to the daemon's thread that started the worker, which may end long before the daemon does.
pub(super) fn exit_with_the_daemon(socket: &OwnedFd) -> io::Result<()> {
    let socket = socket.try_clone()?;
    std::thread::Builder::new().name("watch".to_owned()).spawn(move || {
        loop {
            // Looks without taking: nothing there yet is `AGAIN`, a closed peer is no bytes.
            let mut byte = [0; 1];
            if matches!(rustix::net::recv(&socket, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT), Ok((_, 0))) {
                std::process::exit(0);
            }
            std::thread::sleep(GLANCE);
        }
    })?;
    Ok(())
}
