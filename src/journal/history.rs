//! The last triggers: what was asked, what came of it, and where the time went.

use rusqlite::{OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::{Error, Journal};

/// How many episodes are kept; older ones make room.
pub const KEPT_EPISODES: u32 = 500;

/// One trigger, told afterwards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Episode {
    /// The request's id.
    pub id: String,
    /// When it ended, seconds since 1970.
    pub at: i64,
    /// Path of the agent.
    pub agent: String,
    /// The project.
    pub project: String,
    /// The data item.
    pub data: String,
    /// Its title, once known.
    pub title: String,
    /// The frame.
    pub frame: u64,
    /// `saved`, `kept`, `queued`, `late` (saved from the journal), `superseded`, or the kind of error.
    pub outcome: String,
    /// The station that the click came from; empty where nobody pressed the button, and in episodes of older versions.
    #[serde(default)]
    pub caller: String,
    /// What was answered, in words for people; empty when nothing was.
    #[serde(default)]
    pub answer: String,
    /// What the annotator was told, if anything.
    pub message: String,
    /// Milliseconds per step, in order.
    pub steps: Vec<(String, f64)>,
    /// Which decoder made the frame.
    pub decoder: String,
    /// Bytes of media that came over the network.
    pub bytes: u64,
    /// The model that answered.
    pub model: String,
    /// Tokens of prompt and answer.
    pub tokens: u64,
}

impl Journal {
    /// Writes an episode down and lets the oldest go. Losing one in a crash is no harm.
    pub fn remember(&self, episode: &Episode) -> Result<(), Error> {
        let text = serde_json::to_string(episode).unwrap_or_default();
        self.with(|db| {
            db.execute("INSERT INTO history(at, episode) VALUES (?1, ?2)", params![episode.at, text])?;
            db.execute("DELETE FROM history WHERE number <= (SELECT max(number) FROM history) - ?1", [KEPT_EPISODES]).map(drop)
        })
    }

    /// The last episodes, newest first, at most `count`.
    pub fn recent(&self, count: u32) -> Result<Vec<Episode>, Error> {
        self.with(|db| {
            let mut query = db.prepare_cached("SELECT episode FROM history ORDER BY number DESC LIMIT ?1")?;
            let texts = query.query_map([count], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
            // An episode of another version may not be readable any more; it is only history.
            Ok(texts.iter().filter_map(|text| serde_json::from_str(text).ok()).collect())
        })
    }

    /// What the last episode of this request says; `None` when there is none, or none any more.
    pub fn told(&self, id: &str) -> Result<Option<Episode>, Error> {
        let text = self.with(|db| {
            let mut query = db.prepare_cached("SELECT episode FROM history WHERE episode ->> 'id' = ?1 ORDER BY number DESC LIMIT 1")?;
            query.query_row([id], |row| row.get::<_, String>(0)).optional()
        })?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }
}
