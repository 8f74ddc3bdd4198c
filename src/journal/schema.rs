//! The database file: opening, upgrading, and keeping a broken one aside.

use std::fs;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, ErrorCode};

use super::Error;

/// Steps that lead from each schema to the next; `user_version` says which have been taken.
const STEPS: [&str; 5] = [
    "
    CREATE TABLE pending (
        number   INTEGER PRIMARY KEY AUTOINCREMENT,
        id       TEXT NOT NULL UNIQUE,
        project  TEXT NOT NULL,
        data     TEXT NOT NULL,
        frame    INTEGER NOT NULL,
        agent    TEXT NOT NULL,
        payload  TEXT NOT NULL,
        state    TEXT NOT NULL CHECK (state IN ('waiting', 'refused')),
        since    INTEGER NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        error    TEXT NOT NULL DEFAULT ''
    ) STRICT;
    CREATE TABLE history (
        number  INTEGER PRIMARY KEY AUTOINCREMENT,
        at      INTEGER NOT NULL,
        episode TEXT NOT NULL
    ) STRICT;
    CREATE TABLE proof (id INTEGER PRIMARY KEY, at INTEGER NOT NULL) STRICT;
",
    "CREATE TABLE IF NOT EXISTS tokens (model TEXT PRIMARY KEY, day INTEGER NOT NULL, tokens INTEGER NOT NULL) STRICT;",
    // Until when the save that is under way may take, in seconds since 1970.
    "ALTER TABLE pending ADD COLUMN busy_until INTEGER NOT NULL DEFAULT 0;",
    "
    CREATE TABLE captures (
        number   INTEGER PRIMARY KEY AUTOINCREMENT,
        id       TEXT NOT NULL UNIQUE,
        camera   TEXT NOT NULL,
        folder   TEXT NOT NULL,
        dataset  TEXT NOT NULL,
        title    TEXT NOT NULL,
        metadata TEXT NOT NULL,
        bytes    INTEGER NOT NULL,
        leg      TEXT NOT NULL,
        state    TEXT NOT NULL CHECK (state IN ('waiting', 'refused')),
        since    INTEGER NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        error    TEXT NOT NULL DEFAULT ''
    ) STRICT;
",
    // Which agent labels the picture, in which project; and whether that is all that it waits for.
    "
    ALTER TABLE captures ADD COLUMN agent TEXT NOT NULL DEFAULT '';
    ALTER TABLE captures ADD COLUMN project TEXT NOT NULL DEFAULT '';
    ALTER TABLE captures ADD COLUMN delivered INTEGER NOT NULL DEFAULT 0;
",
];

/// What is taken over from a broken journal, by table. What was taken over once is left alone, so that an older program's table
/// may come after the newer's.
const SALVAGED: [(&str, &str); 3] = [
    ("pending", "id, project, data, frame, agent, payload, state, since, attempts, error"),
    ("captures", "id, camera, folder, dataset, title, metadata, bytes, leg, state, since, attempts, error, agent, project, delivered"),
    ("captures", "id, camera, folder, dataset, title, metadata, bytes, leg, state, since, attempts, error"),
];

/// Opens the file, making or upgrading it. A file that is no sound database is kept aside under a name that says so.
pub(super) fn open(path: &Path, replace_corrupt: bool) -> Result<Connection, Error> {
    match try_open(path) {
        Err(Failure::Corrupt(cause)) if replace_corrupt => {
            let aside =
                keep_aside(path).map_err(|error| file_error(path, format!("is corrupt ({cause}) and cannot be kept aside: {error}")))?;
            let db = try_open(path).map_err(|failure| failure.into_error(path))?;
            let salvaged = salvage(&aside, &db);
            tracing::error!(
                journal = %path.display(), kept = %aside.display(), %cause, salvaged,
                "the journal is corrupt; it is kept aside, and a new one is started with the waiting answers that could be read"
            );
            Ok(db)
        }
        other => other.map_err(|failure| failure.into_error(path)),
    }
}

enum Failure {
    Corrupt(String),
    Newer(i64),
    Other(String),
}

impl Failure {
    fn into_error(self, path: &Path) -> Error {
        match self {
            Self::Corrupt(cause) => file_error(path, format!("is corrupt ({cause}); the daemon keeps it aside when it next opens it")),
            Self::Other(cause) => file_error(path, cause),
            Self::Newer(found) => Error::Newer { path: path.into(), found, known: STEPS.len() as i64 },
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        if is_corruption(&error) { Self::Corrupt(error.to_string()) } else { Self::Other(error.to_string()) }
    }
}

/// Whether SQLite has come upon something that it did not write.
pub(super) fn is_corruption(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt))
}

fn file_error(path: &Path, cause: String) -> Error {
    Error::File { path: path.into(), cause }
}

fn try_open(path: &Path) -> Result<Connection, Failure> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(|error| Failure::Other(error.to_string()))?;
    }
    // Answers are customers' data: only the daemon's own user reads them. SQLite gives its side files the same mode.
    let is_new = !path.exists();
    fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .and_then(|file| file.set_permissions(fs::Permissions::from_mode(0o600)))
        .map_err(|error| Failure::Other(error.to_string()))?;
    if is_new {
        owned_as_its_folder(path);
    }

    let mut db = Connection::open(path)?;
    db.busy_timeout(Duration::from_secs(5))?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    let verdict: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(Failure::Corrupt(verdict));
    }
    upgrade(&mut db, &STEPS)?;
    Ok(db)
}

/// Gives what root has made to the user whose folder it is in: a command run by root must not lock the daemon out.
pub(super) fn owned_as_its_folder(path: &Path) {
    use std::os::unix::fs::MetadataExt;
    if let Some(Ok(folder)) = path.parent().map(fs::metadata) {
        // Only root may, and for others it is so already.
        let _ = std::os::unix::fs::chown(path, Some(folder.uid()), Some(folder.gid()));
    }
}

/// Takes the steps that are still ahead, all of them or none.
fn upgrade(db: &mut Connection, steps: &[&str]) -> Result<(), Failure> {
    let step = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let version: i64 = step.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let done = usize::try_from(version).ok().filter(|&done| done <= steps.len()).ok_or(Failure::Newer(version))?;
    for sql in &steps[done..] {
        step.execute_batch(sql)?;
    }
    step.pragma_update(None, "user_version", steps.len() as i64)?;
    step.commit()?;
    Ok(())
}

/// Takes over what waits in a broken journal, as far as it can be read; says how many rows.
fn salvage(aside: &Path, db: &Connection) -> usize {
    SALVAGED.iter().map(|(table, columns)| salvage_table(aside, db, table, columns).unwrap_or(0)).sum()
}

fn salvage_table(aside: &Path, db: &Connection, table: &str, columns: &str) -> rusqlite::Result<usize> {
    let broken = Connection::open_with_flags(aside, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut query = broken.prepare(&format!("SELECT {columns} FROM {table} ORDER BY number"))?;
    let width = query.column_count();
    let mut rows = query.query([])?;
    let places = vec!["?"; width].join(", ");
    let mut insert = db.prepare(&format!("INSERT OR IGNORE INTO {table}({columns}) VALUES ({places})"))?;
    let mut taken = 0;
    // The first row that cannot be read ends it; those before are whole.
    while let Ok(Some(row)) = rows.next() {
        let values = (0..width).map(|column| row.get::<_, rusqlite::types::Value>(column)).collect::<Result<Vec<_>, _>>()?;
        taken += insert.execute(rusqlite::params_from_iter(values))?;
    }
    Ok(taken)
}

/// Corrupt journals that were kept aside and still lie beside the journal.
pub(super) fn kept_aside(path: &Path) -> Vec<PathBuf> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else { return Vec::new() };
    let mark = format!("{name}.corrupt-");
    let is_one = |name: &str| name.strip_prefix(&mark).is_some_and(|stamp| stamp.bytes().all(|byte| byte.is_ascii_digit()));
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter(|file| file.file_name().to_str().is_some_and(is_one)).map(|file| file.path()).collect()
}

fn keep_aside(path: &Path) -> std::io::Result<PathBuf> {
    let stamp = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let with = |suffix: &str| PathBuf::from(format!("{}{suffix}", path.display()));
    let aside = with(&format!(".corrupt-{stamp}"));
    fs::rename(path, &aside)?;
    // The side files belong to the broken database; a new one must not read them.
    for side in ["-wal", "-shm"] {
        match fs::rename(with(side), with(&format!(".corrupt-{stamp}{side}"))) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(aside)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: [&str; 2] = ["CREATE TABLE a (x INTEGER) STRICT;", "ALTER TABLE a ADD COLUMN y TEXT NOT NULL DEFAULT 'new';"];

    fn version(db: &Connection) -> i64 {
        db.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn what_an_older_program_wrote_is_taken_along() {
        let mut db = Connection::open_in_memory().unwrap();
        upgrade(&mut db, &TWO[..1]).ok().unwrap();
        db.execute("INSERT INTO a VALUES (7)", []).unwrap();
        upgrade(&mut db, &TWO).ok().unwrap();
        assert_eq!(version(&db), 2);
        let row = db.query_row("SELECT x, y FROM a", [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))).unwrap();
        assert_eq!(row, (7, "new".into()));
        upgrade(&mut db, &TWO).ok().unwrap();
    }

    #[test]
    fn steps_that_fail_change_nothing() {
        let mut db = Connection::open_in_memory().unwrap();
        upgrade(&mut db, &TWO[..1]).ok().unwrap();
        let broken = [TWO[0], TWO[1], "CREATE TABLE a (again INTEGER) STRICT;"];
        assert!(matches!(upgrade(&mut db, &broken), Err(Failure::Other(_))));
        assert_eq!(version(&db), 1);
        assert!(db.prepare("SELECT y FROM a").is_err(), "the second step was taken back, too");
    }

    #[test]
    fn an_older_program_refuses_what_a_newer_one_wrote() {
        let mut db = Connection::open_in_memory().unwrap();
        upgrade(&mut db, &TWO).ok().unwrap();
        assert!(matches!(upgrade(&mut db, &TWO[..1]), Err(Failure::Newer(2))));
        assert_eq!(version(&db), 2);
    }

    #[test]
    fn what_lies_beside_a_broken_file_goes_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        let beside = |path: &Path, side: &str| PathBuf::from(format!("{}{side}", path.display()));
        for side in ["", "-wal", "-shm"] {
            fs::write(beside(&path, side), format!("broken{side}")).unwrap();
        }
        let aside = keep_aside(&path).unwrap();
        assert_eq!(kept_aside(&path), std::slice::from_ref(&aside));
        for side in ["", "-wal", "-shm"] {
            assert!(!beside(&path, side).exists(), "a new file must not read the broken one's {side}");
            assert_eq!(fs::read_to_string(beside(&aside, side)).unwrap(), format!("broken{side}"));
        }

        // Not every broken file has them.
        fs::write(&path, "broken").unwrap();
        fs::remove_file(&aside).unwrap();
        assert!(keep_aside(&path).unwrap().exists());
    }
}
