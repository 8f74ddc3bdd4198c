//! Objects that annotators drew: where they are on a frame, and answers to their attributes.

use super::Error;
use super::label_row::{LabelRow, malformed};
use super::merge::Merged;
use super::prepared::PreparedAnswer;

impl LabelRow {
    pub(super) fn object_holds(&self, _answer: &PreparedAnswer, _frame: u64) -> Result<bool, Error> {
        Ok(false)
    }

    pub(super) fn merge_into_object(&mut self, _answer: &PreparedAnswer, hash: &str, _frame: u64) -> Result<Merged, Error> {
        Err(malformed(&format!("object_answers.{hash} cannot be answered yet")))
    }
}
