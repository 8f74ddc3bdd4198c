//! One daemon works on a journal at a time: two would both save what waits in it, and neither knows the other's row locks.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a predecessor that is just ending is waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// Another daemon works on the journal.
#[derive(Debug, thiserror::Error)]
#[error("another edgelabel works on {journal}: stop it, or give this one a journal of its own (journal.path)")]
pub struct Taken {
    /// The database file.
    journal: PathBuf,
}

/// Holds a journal until it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct Owner {
    _lock: Option<File>,
}

impl Owner {
    /// Takes the journal at `path`. A folder that cannot be written is none of this room's business: nobody can work on a
    /// journal in it.
    pub fn take(path: &Path) -> Result<Self, Taken> {
        let name = path.with_extension("lock");
        let Ok(lock) = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(name) else {
            return Ok(Self { _lock: None });
        };
        let start = Instant::now();
        loop {
            match lock.try_lock() {
                Err(TryLockError::WouldBlock) if start.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(50)),
                Err(TryLockError::WouldBlock) => return Err(Taken { journal: path.to_owned() }),
                // A file system without locks: as it was before there were any.
                Ok(()) | Err(TryLockError::Error(_)) => return Ok(Self { _lock: Some(lock) }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_is_held_by_one_until_it_lets_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.db");
        let first = Owner::take(&path).unwrap();
        let refused = Owner::take(&path).unwrap_err().to_string();
        assert!(refused.contains("another edgelabel") && refused.contains("journal.db"), "{refused}");
        let later = std::thread::spawn({
            let path = path.clone();
            move || Owner::take(&path).map(drop)
        });
        std::thread::sleep(Duration::from_millis(200));
        drop(first);
        later.join().unwrap().unwrap();
        assert!(Owner::take(Path::new("/nowhere/at/all/journal.db")).is_ok());
    }
}
