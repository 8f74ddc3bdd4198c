//! What the box itself must bring: a configuration, space, and a port.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Check;
use crate::config::Config;

const MIB: u64 = 1 << 20;
/// Less than this for the journal, and the next answers may be lost.
const STATE_NEEDS: u64 = 64 * MIB;

/// The configuration as a whole, and the files it names.
pub(super) fn configuration(config: &mut Config) -> Vec<Check> {
    let ready = config.ready();
    let problems = ready.err().map(|invalid| invalid.problems).unwrap_or_default();
    let mut checks = Vec::new();
    if problems.is_empty() {
        checks.push(Check::ok("configuration", config.path.display().to_string()));
    }
    for problem in problems {
        checks.push(Check::failed(
            "configuration",
            problem.to_string(),
            "`edgelabel check` shows what is in force and where it comes from",
        ));
    }
    // The certificate has lines of its own.
    for warning in config.warnings.iter().filter(|warning| !warning.key.starts_with("server.tls.")) {
        checks.push(Check::warning("configuration", warning.to_string(), ""));
    }
    checks
}

/// Room and rights for the journal and the cache.
pub(super) fn disk(config: &Config) -> Vec<Check> {
    let journal = config.file.journal.path.0.parent().unwrap_or(Path::new("/"));
    let cache = &config.file.media.cache_dir.0;
    let mut checks = vec![space("disk: journal", "journal.path", journal, STATE_NEEDS, 4 * STATE_NEEDS)];
    let wanted = config.file.media.cache_bytes.0;
    if wanted > 0 {
        // What the cache already holds is part of its bound.
        let more = wanted.saturating_sub(size_of(cache));
        checks.push(space("disk: media cache", "media.cache_dir", cache, 16 * MIB, more + 64 * MIB));
    }
    checks
}

fn space(name: &str, key: &str, directory: &Path, least: u64, good: u64) -> Check {
    let shown = directory.display();
    let there = directory.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    if rustix::fs::access(there, rustix::fs::Access::WRITE_OK).is_err() {
        let remedy =
            format!("give it to the service's user, or run doctor as that user (sudo -u edgelabel edgelabel doctor); the key is {key}");
        return Check::failed(name, format!("{} cannot be written by this user", there.display()), remedy);
    }
    let free = match rustix::fs::statvfs(there) {
        Ok(facts) => facts.f_bavail.saturating_mul(facts.f_frsize),
        Err(error) => return Check::warning(name, format!("the space at {shown} cannot be read: {error}"), ""),
    };
    let detail = format!("{} MiB free at {shown}", free / MIB);
    if free < least {
        Check::failed(name, detail, format!("free some space, or put {key} elsewhere"))
    } else if free < good {
        Check::warning(
            name,
            format!("{detail}, {} MiB would be comfortable", good / MIB),
            format!("free some space, or put {key} elsewhere"),
        )
    } else {
        Check::ok(name, detail)
    }
}

/// Bytes of the files in a directory and one level below: as deep as the cache is.
fn size_of(directory: &Path) -> u64 {
    let entries = |path: &Path| std::fs::read_dir(path).into_iter().flatten().flatten().collect::<Vec<_>>();
    let bytes = |path: PathBuf| std::fs::metadata(path).map_or(0, |facts| if facts.is_file() { facts.len() } else { 0 });
    entries(directory)
        .into_iter()
        .map(|entry| entry.path())
        .map(|path| if path.is_dir() { entries(&path).into_iter().map(|inner| bytes(inner.path())).sum() } else { bytes(path) })
        .sum()
}

/// Each address is free, or it is the running daemon that has it.
pub(super) fn ports(config: &Config) -> Vec<Check> {
    let admin = config.file.admin.listen.0;
    let runs = daemon_answers(admin);
    let mut addresses: BTreeMap<SocketAddr, &str> = config.file.server.listen.iter().map(|address| (address.0, "server.listen")).collect();
    addresses.insert(admin, "admin.listen");
    addresses.into_iter().map(|(address, key)| port(address, key, runs)).collect()
}

fn port(address: SocketAddr, key: &str, runs: bool) -> Check {
    let name = format!("port {address}");
    match TcpListener::bind(address) {
        Ok(_) => Check::ok(name, "is free; the daemon is not running"),
        Err(error) if error.kind() == ErrorKind::AddrInUse && runs => Check::ok(name, "is taken, and the daemon is running"),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            let remedy = format!("see who has it with `ss -ltnp 'sport = :{}'`, or set {key}", address.port());
            Check::failed(name, "is taken by another program, or by a daemon that does not answer on its admin address", remedy)
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let remedy = format!("use a port of 1024 or more in {key}, or let systemd open it (edgelabel.socket)");
            Check::failed(name, "this user may not listen there", remedy)
        }
        Err(error) => Check::failed(name, error.to_string(), format!("{key} must be an address of this box")),
    }
}

/// Whether our own daemon answers on the admin address.
fn daemon_answers(admin: SocketAddr) -> bool {
    use std::io::{Read, Write};
    let bound = Duration::from_secs(2);
    let ask = || {
        let mut stream = TcpStream::connect_timeout(&admin, bound)?;
        stream.set_read_timeout(Some(bound))?;
        stream.set_write_timeout(Some(bound))?;
        write!(stream, "GET /live HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n")?;
        let mut head = [0; 12];
        stream.read_exact(&mut head)?;
        Ok::<_, std::io::Error>(head.starts_with(b"HTTP/1.1 "))
    };
    ask().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn a_port_is_free_or_taken() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let check = port(address, "server.listen", false);
        assert_eq!(check.status, Status::Failed);
        assert!(check.remedy.contains(&address.port().to_string()), "{check:?}");
        assert_eq!(port(address, "server.listen", true).status, Status::Ok);
        drop(taken);
        assert_eq!(port(address, "server.listen", false).status, Status::Ok);
    }

    #[test]
    fn space_is_judged_at_the_nearest_directory_that_exists() {
        let directory = tempfile::tempdir().unwrap();
        let deep = directory.path().join("not/yet/there");
        assert_eq!(space("d", "k", &deep, 1, 1).status, Status::Ok);
        assert_eq!(space("d", "k", &deep, 1, u64::MAX).status, Status::Warning);
        assert_eq!(space("d", "k", &deep, u64::MAX, u64::MAX).status, Status::Failed);
    }
}
