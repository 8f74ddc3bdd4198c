//! What must survive a crash: the answers that wait to be saved, the pictures that wait to be delivered, and the history of
//! triggers. One SQLite file, write-ahead log, every commit synced (`synchronous=FULL`): what is in it is on the disk. The
//! pictures themselves are files beside it.

mod captures;
mod history;
mod owner;
mod pending;
mod pictures;
mod rounds;
mod schema;
mod tally;

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;

pub use captures::{Capture, Hold, Labelling};
pub use history::{Episode, KEPT_EPISODES};
pub use owner::{Owner, Taken};
pub use pending::{Pending, State};
pub use pictures::Held;
pub use rounds::{Bell, Rounds};

/// What the configuration says about the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The database file.
    pub path: PathBuf,
    /// Longest pause between late saves.
    pub retry_max: Duration,
    /// Most answers that may wait; beyond, a trigger whose save fails is answered as failed.
    pub max_entries: usize,
    /// Most pictures that may wait.
    pub max_pictures: usize,
    /// Most bytes that they may have together.
    pub max_picture_bytes: u64,
    /// What becomes of a picture for which there is no room.
    pub when_full: WhenFull,
}

/// What gives way when there is no room for another picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// The oldest pictures that nobody is delivering.
    DropOldest,
    /// The new one.
    Refuse,
}

/// Why the journal could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened, read or written.
    #[error("journal {path}: {cause}")]
    File {
        /// The database file.
        path: PathBuf,
        /// What failed, in SQLite's or the operating system's words.
        cause: String,
    },
    /// The file was written by a newer edgelabel.
    #[error(
        "journal {path} has schema {found}, this edgelabel knows up to {known}: install the newer version again, or move the file away"
    )]
    Newer {
        /// The database file.
        path: PathBuf,
        /// The file's schema.
        found: i64,
        /// The newest schema this program knows.
        known: i64,
    },
    /// As many answers wait as may wait.
    #[error("journal {path} is full: {entries} answers wait (journal.max_entries)")]
    Full {
        /// The database file.
        path: PathBuf,
        /// How many wait.
        entries: usize,
    },
    /// The daemon is in the middle of saving this entry, so that it can no longer be given up.
    #[error("answer {id:?} is being saved at this moment: look again with `edgelabel pending list` in half a minute")]
    BeingSaved {
        /// The entry's id.
        id: String,
    },
    /// There is no room for another picture.
    #[error(
        "journal {path} has no room for a picture of {bytes} bytes: {waiting} wait, with {waiting_bytes} bytes (journal.max_pictures, journal.max_picture_bytes)"
    )]
    NoRoom {
        /// The database file.
        path: PathBuf,
        /// Of the new picture.
        bytes: u64,
        /// Pictures that wait.
        waiting: usize,
        /// Theirs.
        waiting_bytes: u64,
    },
    /// Somebody is in the middle of delivering this picture.
    #[error("picture {id:?} is being delivered at this moment: look again with `edgelabel pending list` in half a minute")]
    BeingDelivered {
        /// The picture's id.
        id: String,
    },
    /// No entry has this id.
    #[error("no answer or picture {id:?} waits in the journal; `edgelabel pending list` shows those that do")]
    NoSuchEntry {
        /// The id asked for.
        id: String,
    },
}

/// The journal. Opened on first use and again after a failure, so that a disk that was full or read-only for a while
/// needs no restart. Several processes may have it open.
pub struct Journal {
    settings: Settings,
    connection: Mutex<Option<Opened>>,
    /// Whether a corrupt file is kept aside and a new one started: the daemon's decision, not a command's.
    replaces_corrupt: bool,
}

/// An open database, and which file it is: one that was moved away under us would take every further answer with it.
struct Opened {
    db: Connection,
    file: Option<(u64, u64)>,
}

impl Journal {
    /// Takes the settings; touches no file yet.
    pub fn new(settings: Settings) -> Self {
        Self { settings, connection: Mutex::new(None), replaces_corrupt: true }
    }

    /// As [`Journal::new`], but a corrupt file is an error: for commands, which must not change files under a daemon.
    pub fn to_inspect(settings: Settings) -> Self {
        Self { replaces_corrupt: false, ..Self::new(settings) }
    }

    /// What the configuration says.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Opens the file and writes a row to it, so that a disk that cannot be written is known now.
    pub fn prove(&self) -> Result<(), Error> {
        self.with(|db| {
            db.execute("INSERT INTO proof(id, at) VALUES (1, unixepoch()) ON CONFLICT(id) DO UPDATE SET at = excluded.at", []).map(drop)
        })
    }

    /// Corrupt journals that were kept aside and still lie beside this one.
    pub fn kept_aside(&self) -> Vec<PathBuf> {
        schema::kept_aside(&self.settings.path)
    }

    /// Moves what is in the write-ahead log into the file; for an orderly end.
    pub fn checkpoint(&self) -> Result<(), Error> {
        self.with(|db| db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())))
    }

    /// Runs `work` on the open database. A failure of the file itself closes it, so that the next use opens it anew; so
    /// does another file, or none, in its place. Damage that is found on the way has the daemon start a new file, in which
    /// the work is done again: it must bear that.
    fn with<T>(&self, work: impl Fn(&mut Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        let mut slot = self.lock();
        match self.on_open(&mut slot, &work)? {
            Err(error) if self.replaces_corrupt && schema::is_corruption(&error) => self.on_open(&mut slot, &work)?,
            settled => settled,
        }
        .map_err(|error| self.file_error(&error))
    }

    fn on_open<T>(
        &self,
        slot: &mut Option<Opened>,
        work: &impl Fn(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<rusqlite::Result<T>, Error> {
        let mut opened = match slot.take().filter(|opened| opened.file == self.identity()) {
            Some(opened) => opened,
            None => {
                let db = schema::open(&self.settings.path, self.replaces_corrupt)?;
                Opened { db, file: self.identity() }
            }
        };
        let done = work(&mut opened.db);
        if done.is_ok() {
            *slot = Some(opened);
        }
        Ok(done)
    }

    /// Device and inode of the file that is there now.
    fn identity(&self) -> Option<(u64, u64)> {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(&self.settings.path).ok().map(|facts| (facts.dev(), facts.ino()))
    }

    fn file_error(&self, error: &rusqlite::Error) -> Error {
        Error::File { path: self.settings.path.clone(), cause: error.to_string() }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Opened>> {
        // A panic under the lock leaves the slot empty, which only means opening the file again.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl Settings {
    /// Room for three of everything.
    fn small(path: PathBuf) -> Self {
        let when_full = WhenFull::DropOldest;
        Self { path, retry_max: Duration::from_secs(60), max_entries: 3, max_pictures: 3, max_picture_bytes: 3000, when_full }
    }

    /// For tests whose subject is not the journal: room for more than they put in.
    pub(crate) fn roomy(folder: &std::path::Path) -> Self {
        let more = Self::small(folder.join("journal.db"));
        Self { max_entries: 100, max_pictures: 100, max_picture_bytes: 1 << 20, when_full: WhenFull::Refuse, ..more }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn journal(folder: &tempfile::TempDir) -> Journal {
        Journal::new(Settings::small(folder.path().join("state/journal.db")))
    }

    fn entry(id: &str) -> Pending {
        Pending {
            id: id.into(),
            project: "027e0c65-c53f-426d-9f02-04fafe8bd80e".parse().unwrap(),
            data: "038ed92d-dbe8-4991-a3aa-6ede35d6e62d".parse().unwrap(),
            frame: 7,
            agent: "/".into(),
            state: State::Waiting,
            since: time::OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap(),
            attempts: 0,
            error: String::new(),
            payload: r#"{"answers":[]}"#.into(),
        }
    }

    #[test]
    fn an_entry_survives_the_process_that_wrote_it() {
        let folder = tempfile::tempdir().unwrap();
        journal(&folder).put(&entry("a"), Duration::ZERO).unwrap();
        assert_eq!(journal(&folder).pending().unwrap(), [entry("a")]);
    }

    #[test]
    fn entries_wait_in_order_until_they_are_saved_or_refused() {
        let folder = tempfile::tempdir().unwrap();
        let journal = journal(&folder);
        for id in ["a", "b", "c"] {
            journal.put(&entry(id), Duration::ZERO).unwrap();
        }
        let (first, waiting) = journal.next_waiting(0).unwrap().unwrap();
        assert_eq!(waiting.id, "a");
        journal.note_failure("a", State::Refused, "no").unwrap();
        assert_eq!(journal.next_waiting(0).unwrap().unwrap().1.id, "b");
        assert_eq!(journal.next_waiting(first).unwrap().unwrap().1.id, "b");
        assert_eq!(journal.retry(Some("a")).unwrap(), 1);
        let again = journal.next_waiting(0).unwrap().unwrap().1;
        assert_eq!((again.id.as_str(), again.attempts, again.error.as_str()), ("a", 1, "no"));
        assert!(journal.remove("a").unwrap());
        assert!(!journal.remove("a").unwrap());
        assert!(matches!(journal.entry("a"), Err(Error::NoSuchEntry { .. })));
    }

    #[test]
    fn an_entry_that_is_being_saved_is_not_given_up_and_one_that_waits_is() {
        let folder = tempfile::tempdir().unwrap();
        let journal = journal(&folder);
        let minute = Duration::from_secs(60);
        journal.put(&entry("a"), minute).unwrap();
        assert!(matches!(journal.give_up("a"), Err(Error::BeingSaved { id }) if id == "a"));
        journal.note_failure("a", State::Waiting, "no").unwrap();
        assert!(journal.begin_save("a", minute).unwrap());
        assert!(matches!(journal.give_up("a"), Err(Error::BeingSaved { .. })));
        journal.note_failure("a", State::Waiting, "no").unwrap();
        assert!(journal.give_up("a").unwrap());
        assert!(!journal.give_up("a").unwrap());
        assert!(!journal.begin_save("a", minute).unwrap(), "what was given up is not saved");

        // A save that died with its daemon, and one that began before the clock was set back.
        journal.put(&entry("b"), Duration::ZERO).unwrap();
        assert!(journal.give_up("b").unwrap());
        journal.put(&entry("c"), 100_000 * minute).unwrap();
        assert!(journal.give_up("c").unwrap());
    }

    #[test]
    fn an_answer_is_written_down_though_the_file_is_destroyed_under_the_open_journal() {
        use std::os::unix::fs::FileExt;
        for whole in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let journal = journal(&folder);
            journal.put(&entry("a"), Duration::ZERO).unwrap();
            journal.checkpoint().unwrap();
            let overwrite = |name: &str, from: u64| {
                let file = std::fs::OpenOptions::new().write(true).open(folder.path().join("state").join(name)).unwrap();
                let length = file.metadata().unwrap().len();
                file.write_all_at(&vec![0xa5; length.saturating_sub(from) as usize], from).unwrap();
            };
            overwrite("journal.db", if whole { 0 } else { 4096 });
            overwrite("journal.db-wal", 0);
            journal.put(&entry("b"), Duration::ZERO).unwrap();
            assert_eq!(journal.kept_aside().len(), 1, "whole: {whole}");
            let after = self::journal(&folder);
            assert_eq!(after.entry("b").unwrap().id, "b");
        }
    }

    #[test]
    fn a_panic_in_the_middle_leaves_a_journal_that_works() {
        let folder = tempfile::tempdir().unwrap();
        let journal = journal(&folder);
        journal.put(&entry("a"), Duration::ZERO).unwrap();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            journal.with::<()>(|db| {
                let step = db.transaction()?;
                step.execute("DELETE FROM pending", [])?;
                panic!("on purpose");
            })
        }));
        assert!(panicked.is_err());
        journal.put(&entry("b"), Duration::ZERO).unwrap();
        assert_eq!(journal.pending().unwrap().len(), 2, "what was not committed is taken back");
    }

    #[test]
    fn a_full_journal_says_how_many_wait() {
        let folder = tempfile::tempdir().unwrap();
        let journal = journal(&folder);
        for id in ["a", "b", "c"] {
            journal.put(&entry(id), Duration::ZERO).unwrap();
        }
        assert!(matches!(journal.put(&entry("d"), Duration::ZERO), Err(Error::Full { entries: 3, .. })));
    }

    #[test]
    fn a_corrupt_file_is_kept_aside_and_a_new_one_started() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/journal.db");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "this is not a database, but it is long enough to be looked at as one".repeat(20)).unwrap();
        let journal = journal(&folder);
        journal.put(&entry("a"), Duration::ZERO).unwrap();
        let names: Vec<_> =
            std::fs::read_dir(path.parent().unwrap()).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
        assert!(names.iter().any(|name| name.starts_with("journal.db.corrupt-")), "{names:?}");
        assert_eq!(journal.pending().unwrap().len(), 1);
    }

    #[test]
    fn waiting_answers_are_taken_out_of_a_corrupt_file_as_far_as_they_can_be_read() {
        use std::os::unix::fs::FileExt;
        let folder = tempfile::tempdir().unwrap();
        let before = journal(&folder);
        before.put(&entry("a"), Duration::ZERO).unwrap();
        before.put(&Pending { state: State::Refused, ..entry("b") }, Duration::ZERO).unwrap();
        let long = Pending { payload: "x".repeat(100_000), ..entry("c") };
        before.put(&long, Duration::ZERO).unwrap();
        before.checkpoint().unwrap();
        let path = before.settings().path.clone();
        drop(before);
        // The overflow pages of the third entry lie at the end of the file.
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        let end = file.metadata().unwrap().len();
        file.write_all_at(&[0xa5; 40_000], end - 60_000).unwrap();
        let after = journal(&folder);
        let left = after.pending().unwrap();
        assert_eq!(left[..2], [entry("a"), Pending { state: State::Refused, ..entry("b") }], "{}", left.len());
        assert_eq!(after.kept_aside().len(), 1);
        std::fs::remove_file(&after.kept_aside()[0]).unwrap();
        assert_eq!(after.kept_aside().len(), 0);
    }

    #[test]
    fn a_command_leaves_a_corrupt_file_alone_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        std::fs::write(&path, [0xa5; 9000]).unwrap();
        let error = Journal::to_inspect(Settings::small(path.clone())).pending().unwrap_err();
        assert!(matches!(&error, Error::File { .. }), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), [0xa5; 9000]);
    }

    #[test]
    fn a_file_that_is_moved_away_takes_no_further_answers_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let journal = journal(&folder);
        journal.put(&entry("a"), Duration::ZERO).unwrap();
        let path = &journal.settings().path;
        let with = |name: &str| path.with_file_name(name);
        std::fs::rename(path, with("away.db")).unwrap();
        for side in ["-wal", "-shm"] {
            std::fs::rename(with(&format!("journal.db{side}")), with(&format!("away.db{side}"))).unwrap();
        }
        journal.put(&entry("b"), Duration::ZERO).unwrap();
        let ids = |journal: &Journal| journal.pending().unwrap().into_iter().map(|entry| entry.id).collect::<Vec<_>>();
        assert_eq!(ids(&journal), ["b"]);
        let away = Journal::to_inspect(Settings { path: with("away.db"), ..journal.settings().clone() });
        assert_eq!(ids(&away), ["a"]);
    }

    #[test]
    fn a_newer_schema_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        journal(&folder).put(&entry("a"), Duration::ZERO).unwrap();
        let path = folder.path().join("state/journal.db");
        let own: i64 = Connection::open(&path).unwrap().query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
        assert!(matches!(journal(&folder).pending(), Err(Error::Newer { found: 99, .. })));
        Connection::open(&path).unwrap().pragma_update(None, "user_version", own).unwrap();
        assert_eq!(journal(&folder).pending().unwrap().len(), 1);
    }

    #[test]
    fn only_the_owner_reads_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let journal = journal(&folder);
        journal.prove().unwrap();
        let mode = std::fs::metadata(&journal.settings().path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_folder_that_appears_later_needs_no_restart() {
        let folder = tempfile::tempdir().unwrap();
        let blocked = folder.path().join("state");
        std::fs::write(&blocked, "a file where the folder should be").unwrap();
        let journal = journal(&folder);
        assert!(matches!(journal.put(&entry("a"), Duration::ZERO), Err(Error::File { .. })));
        std::fs::remove_file(&blocked).unwrap();
        journal.put(&entry("a"), Duration::ZERO).unwrap();
        assert_eq!(journal.pending().unwrap().len(), 1);
    }

    #[test]
    fn the_history_keeps_the_newest() {
        let folder = tempfile::tempdir().unwrap();
        let journal = journal(&folder);
        for number in 0..KEPT_EPISODES + 5 {
            let episode = Episode {
                id: number.to_string(),
                at: i64::from(number),
                agent: "/".into(),
                project: String::new(),
                data: String::new(),
                title: String::new(),
                frame: 0,
                outcome: "saved".into(),
                caller: String::new(),
                answer: String::new(),
                message: String::new(),
                steps: vec![("model".into(), 1.5)],
                decoder: String::new(),
                bytes: 0,
                model: String::new(),
                tokens: 0,
            };
            journal.remember(&episode).unwrap();
        }
        let all = journal.recent(10_000).unwrap();
        assert_eq!(all.len(), KEPT_EPISODES as usize);
        assert_eq!(all[0].id, (KEPT_EPISODES + 4).to_string());
        assert_eq!(journal.told("7").unwrap().map(|one| one.at), Some(7));
        assert_eq!(journal.told("4").unwrap(), None, "it made room");
    }
}
