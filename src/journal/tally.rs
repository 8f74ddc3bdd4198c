//! Tokens that models with a daily cap have used, so that a restart does not begin the day anew.

use rusqlite::params;

use super::{Error, Journal};

impl Journal {
    /// Notes that the model of table `table` has used `tokens` more on day `day` (days since 1970), and says how many that makes, with
    /// those of other programs. Other days are forgotten.
    pub fn add_tokens(&self, day: i64, table: &str, tokens: u64) -> Result<u64, Error> {
        let tokens = i64::try_from(tokens).unwrap_or(i64::MAX);
        self.with(|db| {
            let step = db.transaction()?;
            step.execute("DELETE FROM tokens WHERE day <> ?1", [day])?;
            let total: i64 = step.query_row(
                "INSERT INTO tokens(model, day, tokens) VALUES (?1, ?2, ?3)
                 ON CONFLICT(model) DO UPDATE SET tokens = tokens + excluded.tokens RETURNING tokens",
                params![table, day, tokens],
                |row| row.get(0),
            )?;
            step.commit()?;
            Ok(total.unsigned_abs())
        })
    }

    /// Tokens used on a day, by table.
    pub fn tokens_of_day(&self, day: i64) -> Result<Vec<(String, u64)>, Error> {
        self.with(|db| {
            let mut query = db.prepare_cached("SELECT model, tokens FROM tokens WHERE day = ?1")?;
            let rows = query.query_map([day], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())))?;
            rows.collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Journal, Settings};

    #[test]
    fn tokens_of_a_day_add_up_and_yesterday_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Journal::new(Settings::small(folder.path().join("journal.db")));
        let (journal, command) = (open(), open());
        assert_eq!(journal.add_tokens(20_000, "", 70).unwrap(), 70);
        assert_eq!(command.add_tokens(20_000, "local", 5).unwrap(), 5);
        assert_eq!(command.add_tokens(20_000, "", 60).unwrap(), 130);
        assert_eq!(journal.add_tokens(20_000, "", 1).unwrap(), 131);
        drop((journal, command));
        let mut kept = open().tokens_of_day(20_000).unwrap();
        kept.sort();
        assert_eq!(kept, [(String::new(), 131), ("local".to_owned(), 5)]);
        open().add_tokens(20_001, "", 3).unwrap();
        assert_eq!(open().tokens_of_day(20_000).unwrap(), []);
        assert_eq!(open().tokens_of_day(20_001).unwrap(), [(String::new(), 3)]);
    }
}
