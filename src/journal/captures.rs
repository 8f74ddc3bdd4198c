//! The pictures that wait to be delivered or labelled: how far each has come. A picture's file is there before its row, and goes
//! before it.

use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::pending::{state_of, state_text};
use super::pictures::{Grip, Held, Pictures};
use super::{Error, Journal, State, WhenFull};
use crate::ids::{DatasetHash, FolderUuid, ProjectHash};

/// Which agent answers for a picture once that is delivered, and in which project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labelling {
    /// The agent's path.
    pub agent: String,
    /// A project that has the dataset.
    pub project: ProjectHash,
}

/// One picture that was taken and is not in its dataset yet, or not labelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    /// Names it in `edgelabel pending`.
    pub id: String,
    /// The camera's name.
    pub camera: String,
    /// The storage folder that it goes to.
    pub folder: FolderUuid,
    /// The dataset.
    pub dataset: DatasetHash,
    /// The data item's title.
    pub title: String,
    /// What is to be shown beside it, as JSON.
    pub metadata: String,
    /// Length of the picture.
    pub bytes: u64,
    /// How far it has come, as JSON; the journal does not look into it.
    pub leg: String,
    /// Who labels it, if it is to be labelled.
    pub labelling: Option<Labelling>,
    /// Whether it is in its dataset, and only waits for its label.
    pub delivered: bool,
    /// Waiting or refused.
    pub state: State,
    /// When it was taken.
    pub since: time::OffsetDateTime,
    /// Deliveries tried so far, or labellings once it is delivered.
    pub attempts: u32,
    /// Why the last one failed.
    pub error: String,
}

/// What came of trying to hold a picture.
#[derive(Debug)]
pub enum Hold {
    /// As it stands now that nobody else touches it.
    Mine(Box<Capture>, Held),
    /// Somebody is at work on it.
    Busy,
    /// It is done with.
    Gone,
    /// Its file is gone.
    Lost(Box<Capture>),
}

const COLUMNS: &str = "id, camera, folder, dataset, title, metadata, bytes, leg, state, since, attempts, error, agent, project, delivered";

impl Journal {
    /// Writes a picture down, and holds it. When this returns `Ok` it is on the disk.
    ///
    /// # Errors
    /// There is no room, and it is not to be made; or the disk cannot be written.
    pub fn put_capture(&self, capture: &Capture, jpeg: &[u8]) -> Result<Held, Error> {
        let held = self.pictures().lay_down(&capture.id, jpeg).map_err(|error| self.picture_error(&error))?;
        let put = self.with(|db| {
            let step = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            if let Err(full) = self.make_room(&step, jpeg.len() as u64)? {
                return Ok(Err(full));
            }
            insert(&step, capture, jpeg.len())?;
            step.commit().map(Ok)
        });
        let put = put.and_then(|put| put);
        if put.is_err() {
            // Without a row nobody knows of it.
            let _ = held.remove();
        }
        put.map(|()| held)
    }

    /// Drops the oldest pictures that nobody delivers until another of `bytes` fits; none if that is not enough. Those that
    /// are delivered take no room.
    fn make_room(&self, db: &Transaction<'_>, bytes: u64) -> rusqlite::Result<Result<(), Error>> {
        let mut query = db.prepare("SELECT id, bytes FROM captures WHERE NOT delivered ORDER BY number")?;
        let there: Vec<(String, u64)> =
            query.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())))?.collect::<Result<_, _>>()?;
        let (waiting, waiting_bytes) = (there.len(), there.iter().map(|(_, bytes)| bytes).sum::<u64>());
        let (mut count, mut sum) = (waiting, waiting_bytes);
        let fits = |count: usize, sum: u64| count < self.settings.max_pictures && sum + bytes <= self.settings.max_picture_bytes;
        let mut victims = Vec::new();
        if self.settings.when_full == WhenFull::DropOldest {
            for (id, size) in there {
                if fits(count, sum) {
                    break;
                }
                let held = match self.pictures().hold(&id) {
                    Ok(Grip::Mine(held)) => Some(held),
                    Ok(Grip::NoFile) => None,
                    Ok(Grip::Others) | Err(_) => continue,
                };
                (count, sum) = (count - 1, sum - size);
                victims.push((id, held));
            }
        }
        if !fits(count, sum) {
            return Ok(Err(Error::NoRoom { path: self.settings.path.clone(), bytes, waiting, waiting_bytes }));
        }
        for (id, held) in victims {
            db.execute("DELETE FROM captures WHERE id = ?1", [&id])?;
            // A file that stays is named at the next start.
            let _ = held.map(|held| held.remove());
            tracing::warn!(picture = %id, "the oldest picture that waited is dropped, to make room (journal.max_pictures, journal.max_picture_bytes)");
        }
        Ok(Ok(()))
    }

    /// Takes a picture for oneself, as it stands then.
    pub fn hold(&self, id: &str) -> Result<Hold, Error> {
        let grip = self.pictures().hold(id).map_err(|error| self.picture_error(&error))?;
        if matches!(grip, Grip::Others) {
            return Ok(Hold::Busy);
        }
        // Read only now: whoever held it before may have got further.
        match (self.capture(id), grip) {
            (Ok(capture), Grip::Mine(held)) => Ok(Hold::Mine(Box::new(capture), held)),
            (Ok(capture), _) => Ok(Hold::Lost(Box::new(capture))),
            (Err(Error::NoSuchEntry { .. }), _) => Ok(Hold::Gone),
            (Err(error), _) => Err(error),
        }
    }

    /// Notes how far a picture has come.
    pub fn note_leg(&self, id: &str, leg: &str) -> Result<(), Error> {
        match self.with(|db| db.execute("UPDATE captures SET leg = ?2 WHERE id = ?1", params![id, leg]))? {
            0 => Err(Error::NoSuchEntry { id: id.to_owned() }),
            _ => Ok(()),
        }
    }

    /// Notes that a picture is in its dataset and only waits for its label: its bytes are no longer needed. There are at most
    /// as many of these as of pictures that wait to be delivered; beyond, the oldest label is given up.
    pub fn note_delivered(&self, id: &str, leg: &str, held: &Held) -> Result<(), Error> {
        let sql = "UPDATE captures SET leg = ?2, delivered = 1, state = 'waiting', attempts = 0, error = '' WHERE id = ?1";
        if self.with(|db| db.execute(sql, params![id, leg]))? == 0 {
            return Err(Error::NoSuchEntry { id: id.to_owned() });
        }
        if let Err(error) = held.empty() {
            tracing::debug!(picture = %id, %error, "the delivered picture still takes room");
        }
        for id in self.labels_beyond(self.settings.max_pictures)? {
            if self.give_up_capture(&id).unwrap_or(false) {
                tracing::warn!(picture = %id, "the oldest picture that waited for its label goes without, to make room (journal.max_pictures)");
            }
        }
        Ok(())
    }

    fn labels_beyond(&self, most: usize) -> Result<Vec<String>, Error> {
        self.with(|db| {
            let sql = "SELECT id FROM captures WHERE delivered ORDER BY number DESC LIMIT -1 OFFSET ?1";
            let mut query = db.prepare_cached(sql)?;
            query.query_map([i64::try_from(most).unwrap_or(i64::MAX)], |row| row.get(0))?.collect()
        })
    }

    /// Notes that a delivery, or a labelling, failed, and whether it is tried again by itself.
    pub fn note_failed_capture(&self, id: &str, state: State, error: &str) -> Result<(), Error> {
        let sql = "UPDATE captures SET attempts = attempts + 1, state = ?2, error = ?3 WHERE id = ?1";
        self.with(|db| db.execute(sql, params![id, state_text(state), error])).map(drop)
    }

    /// Takes a picture out: it is delivered and labelled, or given up.
    pub fn remove_capture(&self, id: &str, held: Option<&Held>) -> Result<(), Error> {
        held.map_or(Ok(()), Held::remove).map_err(|error| self.picture_error(&error))?;
        self.with(|db| db.execute("DELETE FROM captures WHERE id = ?1", [id])).map(drop)
    }

    /// Gives a picture up, unless somebody delivers it. Says whether it was there.
    pub fn give_up_capture(&self, id: &str) -> Result<bool, Error> {
        match self.hold(id)? {
            Hold::Gone => Ok(false),
            Hold::Busy => Err(Error::BeingDelivered { id: id.to_owned() }),
            Hold::Mine(capture, held) => self.remove_capture(&capture.id, Some(&held)).map(|()| true),
            Hold::Lost(capture) => self.remove_capture(&capture.id, None).map(|()| true),
        }
    }

    /// Lets refused pictures be tried again: one, or all. Says how many.
    pub fn retry_captures(&self, id: Option<&str>) -> Result<usize, Error> {
        self.with(|db| db.execute("UPDATE captures SET state = 'waiting' WHERE ?1 IS NULL OR id = ?1", [id]))
    }

    /// All pictures, oldest first.
    pub fn captures(&self) -> Result<Vec<Capture>, Error> {
        self.with(|db| {
            let mut query = db.prepare_cached(&format!("SELECT {COLUMNS} FROM captures ORDER BY number"))?;
            query.query_map([], read)?.collect()
        })
    }

    /// The oldest picture after `after` that is tried by itself, of those that wait for their label or of those that wait to be
    /// delivered: its place in the order, and its id.
    pub fn next_capture(&self, after: i64, delivered: bool) -> Result<Option<(i64, String)>, Error> {
        self.with(|db| {
            let sql = "SELECT number, id FROM captures WHERE state = 'waiting' AND number > ?1 AND delivered = ?2 ORDER BY number LIMIT 1";
            db.prepare_cached(sql)?.query_row(params![after, delivered], |row| Ok((row.get(0)?, row.get(1)?))).optional()
        })
    }

    /// The same, and tries to hold it: its place in the order, and what came of that.
    pub fn hold_next(&self, after: i64, delivered: bool) -> Result<Option<(i64, Hold)>, Error> {
        match self.next_capture(after, delivered)? {
            Some((number, id)) => self.hold(&id).map(|hold| Some((number, hold))),
            None => Ok(None),
        }
    }

    /// One picture.
    pub fn capture(&self, id: &str) -> Result<Capture, Error> {
        self.with(|db| db.prepare_cached(&format!("SELECT {COLUMNS} FROM captures WHERE id = ?1"))?.query_row([id], read).optional())?
            .ok_or_else(|| Error::NoSuchEntry { id: id.to_owned() })
    }

    /// Removes files that a crash left half written, and names whole ones that the journal does not know.
    pub fn tidy_pictures(&self) {
        let pictures = self.pictures();
        for id in pictures.tidy() {
            if matches!(self.capture(&id), Err(Error::NoSuchEntry { .. })) {
                tracing::warn!(picture = %id, folder = %pictures.folder().display(), "this picture is not in the journal: deliver it with `edgelabel capture NAME --picture`, or remove it");
            }
        }
    }

    fn pictures(&self) -> Pictures {
        Pictures::beside(&self.settings.path)
    }

    fn picture_error(&self, error: &std::io::Error) -> Error {
        Error::File { path: self.pictures().folder().to_owned(), cause: error.to_string() }
    }
}

fn insert(db: &Transaction<'_>, capture: &Capture, bytes: usize) -> rusqlite::Result<usize> {
    db.execute(
        "INSERT INTO captures(id, camera, folder, dataset, title, metadata, bytes, leg, state, since, agent, project)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        params![
            capture.id,
            capture.camera,
            capture.folder.as_str(),
            capture.dataset.as_str(),
            capture.title,
            capture.metadata,
            bytes as i64,
            capture.leg,
            state_text(capture.state),
            capture.since.unix_timestamp(),
            capture.labelling.as_ref().map_or("", |labelling| &labelling.agent),
            capture.labelling.as_ref().map_or("", |labelling| labelling.project.as_str())
        ],
    )
}

fn read(row: &Row<'_>) -> rusqlite::Result<Capture> {
    let not_an_id = |index, error| rusqlite::Error::FromSqlConversionFailure(index, rusqlite::types::Type::Text, Box::new(error));
    Ok(Capture {
        id: row.get(0)?,
        camera: row.get(1)?,
        folder: row.get::<_, String>(2)?.parse().map_err(|error| not_an_id(2, error))?,
        dataset: row.get::<_, String>(3)?.parse().map_err(|error| not_an_id(3, error))?,
        title: row.get(4)?,
        metadata: row.get(5)?,
        bytes: row.get::<_, i64>(6)?.unsigned_abs(),
        leg: row.get(7)?,
        state: state_of(&row.get::<_, String>(8)?),
        since: time::OffsetDateTime::from_unix_timestamp(row.get(9)?).unwrap_or(time::OffsetDateTime::UNIX_EPOCH),
        attempts: row.get(10)?,
        error: row.get(11)?,
        labelling: match (row.get::<_, String>(12)?, row.get::<_, String>(13)?) {
            (agent, _) if agent.is_empty() => None,
            (agent, project) => Some(Labelling { agent, project: project.parse().map_err(|error| not_an_id(13, error))? }),
        },
        delivered: row.get(14)?,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::super::Settings;
    use super::*;

    fn capture(id: &str) -> Capture {
        Capture {
            id: id.into(),
            camera: "gate".into(),
            folder: "027e0c65-c53f-426d-9f02-04fafe8bd80e".parse().unwrap(),
            dataset: "038ed92d-dbe8-4991-a3aa-6ede35d6e62d".parse().unwrap(),
            title: format!("{id}.jpg"),
            metadata: "{}".into(),
            bytes: 1000,
            leg: "\"taken\"".into(),
            labelling: None,
            delivered: false,
            state: State::Waiting,
            since: time::OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap(),
            attempts: 0,
            error: String::new(),
        }
    }

    fn ids(journal: &Journal) -> Vec<String> {
        journal.captures().unwrap().into_iter().map(|capture| capture.id).collect()
    }

    fn files(folder: &tempfile::TempDir) -> usize {
        std::fs::read_dir(folder.path().join("journal.pictures")).unwrap().count()
    }

    fn small(folder: &tempfile::TempDir) -> Settings {
        Settings::small(folder.path().join("journal.db"))
    }

    #[test]
    fn a_picture_survives_the_process_that_wrote_it_and_is_held_by_one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, other) = (Journal::new(small(&folder)), Journal::new(small(&folder)));
        let held = journal.put_capture(&capture("a"), &[7; 1000]).unwrap();
        assert!(matches!(other.hold("a").unwrap(), Hold::Busy));
        assert!(matches!(other.give_up_capture("a"), Err(Error::BeingDelivered { .. })));
        journal.note_leg("a", "further").unwrap();
        drop(held);
        let Hold::Mine(found, held) = other.hold("a").unwrap() else { panic!() };
        assert_eq!((found.leg.as_str(), held.jpeg().unwrap()), ("further", vec![7; 1000]));
        other.remove_capture("a", Some(&held)).unwrap();
        assert!(matches!(journal.hold("a").unwrap(), Hold::Gone));
        assert!(journal.note_leg("a", "beyond").is_err(), "what is done with goes nowhere");
        assert_eq!(files(&folder), 0);
    }

    #[test]
    fn the_oldest_gives_way_unless_it_is_being_delivered() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(small(&folder));
        let first = journal.put_capture(&capture("a"), &[7; 1000]).unwrap();
        for id in ["b", "c", "d"] {
            drop(journal.put_capture(&capture(id), &[7; 1000]).unwrap());
        }
        assert_eq!((ids(&journal), files(&folder)), (vec!["a".into(), "c".into(), "d".into()], 3));
        // By bytes: both of the others have to go, and for more there is no room whatever goes.
        drop(journal.put_capture(&capture("e"), &[7; 2000]).unwrap());
        assert_eq!(ids(&journal), ["a", "e"]);
        assert!(matches!(journal.put_capture(&capture("f"), &[7; 2001]), Err(Error::NoRoom { waiting: 2, waiting_bytes: 3000, .. })));
        assert_eq!((ids(&journal), files(&folder)), (vec!["a".into(), "e".into()], 2));
        drop(first);
    }

    #[test]
    fn the_new_one_gives_way_where_that_is_configured() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(Settings { when_full: WhenFull::Refuse, ..small(&folder) });
        for id in ["a", "b", "c"] {
            drop(journal.put_capture(&capture(id), &[7; 10]).unwrap());
        }
        assert!(matches!(journal.put_capture(&capture("d"), &[7; 10]), Err(Error::NoRoom { waiting: 3, .. })));
        assert_eq!((ids(&journal), files(&folder)), (vec!["a".into(), "b".into(), "c".into()], 3));
    }

    #[test]
    fn a_picture_that_waits_for_its_label_takes_no_room_and_is_found_apart() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(Settings { when_full: WhenFull::Refuse, ..small(&folder) });
        let labelling = Some(Labelling { agent: "/".into(), project: "027e0c65-c53f-426d-9f02-04fafe8bd80e".parse().unwrap() });
        for id in ["a", "b", "c", "d"] {
            let held = journal.put_capture(&Capture { labelling: labelling.clone(), ..capture(id) }, &[7; 1000]).unwrap();
            journal.note_failed_capture(id, State::Waiting, "no network").unwrap();
            journal.note_delivered(id, "there", &held).unwrap();
            assert!(held.jpeg().unwrap().is_empty());
        }
        // The oldest label gives way to the fourth; three more pictures are taken in all the same.
        for id in ["e", "f", "g"] {
            drop(journal.put_capture(&capture(id), &[7; 1000]).unwrap());
        }
        assert_eq!((ids(&journal), files(&folder)), (["b", "c", "d", "e", "f", "g"].map(String::from).into(), 6));
        let first = |delivered| journal.next_capture(0, delivered).unwrap().unwrap().1;
        assert_eq!((first(true).as_str(), first(false).as_str()), ("b", "e"));
        let found = journal.capture("b").unwrap();
        assert_eq!((found.labelling, found.delivered, found.leg.as_str(), found.error.as_str()), (labelling, true, "there", ""));
        assert!(journal.capture("e").unwrap().labelling.is_none());
    }

    #[test]
    fn what_a_crash_leaves_half_written_is_removed_and_a_lost_file_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(small(&folder));
        drop(journal.put_capture(&capture("a"), &[7; 10]).unwrap());
        let pictures = folder.path().join("journal.pictures");
        std::fs::write(pictures.join("b.part"), "half").unwrap();
        journal.tidy_pictures();
        assert_eq!(files(&folder), 1);
        std::fs::remove_file(pictures.join("a.jpg")).unwrap();
        assert!(matches!(journal.hold("a").unwrap(), Hold::Lost(_)));
        assert!(journal.give_up_capture("a").unwrap() && !journal.give_up_capture("a").unwrap());
    }

    #[test]
    fn pictures_are_taken_over_from_a_corrupt_journal() {
        let folder = tempfile::tempdir().unwrap();
        let before = Journal::new(small(&folder));
        drop(before.put_capture(&capture("a"), &[7; 1000]).unwrap());
        before.note_failed_capture("a", State::Refused, "no").unwrap();
        before.checkpoint().unwrap();
        // The table that nothing is taken over from.
        let page: i64 =
            before.with(|db| db.query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'history'", [], |row| row.get(0))).unwrap();
        drop(before);
        let file = std::fs::OpenOptions::new().write(true).open(folder.path().join("journal.db")).unwrap();
        file.write_all_at(&[0xa5; 4096], (page as u64 - 1) * 4096).unwrap();
        let after = Journal::new(small(&folder));
        let expected = Capture { state: State::Refused, attempts: 1, error: "no".into(), ..capture("a") };
        assert_eq!((after.captures().unwrap(), after.kept_aside().len()), (vec![expected], 1));
        assert!(matches!(after.hold("a").unwrap(), Hold::Mine(..)));
    }
}
