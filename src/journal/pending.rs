//! The answers that wait to be saved.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

use super::{Error, Journal};
use crate::ids::{DataHash, ProjectHash};

/// Whether an answer is tried again by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Encord could not be reached; it is tried again.
    Waiting,
    /// Encord refused it; only `pending retry` tries again.
    Refused,
}

/// One answer that was paid for and is not in its label row yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pending {
    /// The request's id.
    pub id: String,
    /// The project.
    pub project: ProjectHash,
    /// The data item.
    pub data: DataHash,
    /// The frame.
    pub frame: u64,
    /// Path of the agent.
    pub agent: String,
    /// Waiting or refused.
    pub state: State,
    /// When the model answered, RFC 3339.
    #[serde(with = "time::serde::rfc3339")]
    pub since: time::OffsetDateTime,
    /// Saves tried so far.
    pub attempts: u32,
    /// Why the last one failed.
    pub error: String,
    /// What to save, as JSON; the journal does not look into it.
    #[serde(skip)]
    pub payload: String,
}

/// No save takes longer.
const LONGEST_SAVE: Duration = Duration::from_secs(3600);

const COLUMNS: &str = "id, project, data, frame, agent, payload, state, since, attempts, error";

impl Journal {
    /// Writes an answer down whose save begins now and may take `busy`. When this returns `Ok` it is on the disk, and can be
    /// read from there.
    pub fn put(&self, entry: &Pending, busy: Duration) -> Result<(), Error> {
        let bound = self.settings.max_entries;
        let taken = self.with(|db| {
            forget_pages(db)?;
            let step = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            let entries: i64 = step.query_row("SELECT count(*) FROM pending", [], |row| row.get(0))?;
            if entries as usize >= bound {
                return Ok(Err(entries as usize));
            }
            step.execute(
                "INSERT INTO pending(id, project, data, frame, agent, payload, state, since, busy_until)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, unixepoch() + ?9) ON CONFLICT(id) DO NOTHING",
                params![
                    entry.id,
                    entry.project.as_str(),
                    entry.data.as_str(),
                    entry.frame as i64,
                    entry.agent,
                    entry.payload,
                    state_text(entry.state),
                    entry.since.unix_timestamp(),
                    seconds(busy)
                ],
            )?;
            step.commit()?;
            forget_pages(db)?;
            db.query_row("SELECT payload FROM pending WHERE id = ?1", [&entry.id], |row| row.get::<_, String>(0)).map(|_| Ok(()))
        })?;
        taken.map_err(|entries| Error::Full { path: self.settings.path.clone(), entries })
    }

    /// Notes that a save of this entry begins, which may take `busy`. Says whether it is still there.
    pub fn begin_save(&self, id: &str, busy: Duration) -> Result<bool, Error> {
        self.with(|db| db.execute("UPDATE pending SET busy_until = unixepoch() + ?2 WHERE id = ?1", params![id, seconds(busy)]))
            .map(|count| count > 0)
    }

    /// Gives an entry up, unless a save of it is under way: that could not be called back. Says whether it was there.
    pub fn give_up(&self, id: &str) -> Result<bool, Error> {
        // A time far ahead is a clock that was wrong, not a save.
        let sql = "DELETE FROM pending WHERE id = ?1 AND busy_until NOT BETWEEN unixepoch() + 1 AND unixepoch() + ?2";
        if self.with(|db| db.execute(sql, params![id, seconds(LONGEST_SAVE)]))? > 0 {
            return Ok(true);
        }
        match self.entry(id) {
            Ok(_) => Err(Error::BeingSaved { id: id.to_owned() }),
            Err(Error::NoSuchEntry { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes an entry out: it is saved. Says whether it was there.
    pub fn remove(&self, id: &str) -> Result<bool, Error> {
        self.with(|db| db.execute("DELETE FROM pending WHERE id = ?1", [id])).map(|count| count > 0)
    }

    /// Notes that a save failed, and whether it is tried again by itself.
    pub fn note_failure(&self, id: &str, state: State, error: &str) -> Result<(), Error> {
        self.with(|db| {
            db.execute(
                "UPDATE pending SET attempts = attempts + 1, state = ?2, error = ?3, busy_until = 0 WHERE id = ?1",
                params![id, state_text(state), error],
            )
        })
        .map(drop)
    }

    /// Lets refused entries be tried again: one, or all. Says how many.
    pub fn retry(&self, id: Option<&str>) -> Result<usize, Error> {
        self.with(|db| db.execute("UPDATE pending SET state = 'waiting' WHERE ?1 IS NULL OR id = ?1", [id]))
    }

    /// All entries, oldest first.
    pub fn pending(&self) -> Result<Vec<Pending>, Error> {
        self.with(|db| {
            let mut query = db.prepare_cached(&format!("SELECT {COLUMNS} FROM pending ORDER BY number"))?;
            query.query_map([], read)?.collect()
        })
    }

    /// The oldest entry after `after` that is tried by itself, with its place in the order.
    pub fn next_waiting(&self, after: i64) -> Result<Option<(i64, Pending)>, Error> {
        self.with(|db| {
            let sql = format!("SELECT {COLUMNS}, number FROM pending WHERE state = 'waiting' AND number > ?1 ORDER BY number LIMIT 1");
            db.prepare_cached(&sql)?.query_row([after], |row| Ok((row.get("number")?, read(row)?))).optional()
        })
    }

    /// One entry.
    pub fn entry(&self, id: &str) -> Result<Pending, Error> {
        self.with(|db| db.prepare_cached(&format!("SELECT {COLUMNS} FROM pending WHERE id = ?1"))?.query_row([id], read).optional())?
            .ok_or_else(|| Error::NoSuchEntry { id: id.to_owned() })
    }
}

/// Lets go of what is remembered of the file, so that it is read itself: damage hides behind what is remembered.
fn forget_pages(db: &Connection) -> rusqlite::Result<()> {
    db.execute_batch("PRAGMA shrink_memory")
}

fn seconds(span: Duration) -> i64 {
    i64::try_from(span.as_secs()).unwrap_or(i64::MAX / 2)
}

pub(super) fn state_text(state: State) -> &'static str {
    match state {
        State::Waiting => "waiting",
        State::Refused => "refused",
    }
}

pub(super) fn state_of(text: &str) -> State {
    if text == "refused" { State::Refused } else { State::Waiting }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Pending> {
    let hash_error = |index, error| rusqlite::Error::FromSqlConversionFailure(index, rusqlite::types::Type::Text, Box::new(error));
    Ok(Pending {
        id: row.get(0)?,
        project: row.get::<_, String>(1)?.parse().map_err(|error| hash_error(1, error))?,
        data: row.get::<_, String>(2)?.parse().map_err(|error| hash_error(2, error))?,
        frame: row.get::<_, i64>(3)? as u64,
        agent: row.get(4)?,
        payload: row.get(5)?,
        state: state_of(&row.get::<_, String>(6)?),
        since: time::OffsetDateTime::from_unix_timestamp(row.get(7)?).unwrap_or(time::OffsetDateTime::UNIX_EPOCH),
        attempts: row.get(8)?,
        error: row.get(9)?,
    })
}
