//! What is wrong with a configuration: always all of it at once, each with its place and its remedy.

use std::fmt;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// `config.toml:12`, `environment OPENAI_BASE_URL`, `credential model_api_key`; empty when nothing was written anywhere.
    pub origin: String,
    /// The key, such as `server.listen`; empty for a whole file.
    pub key: String,
    /// What is wrong with it, and what would be right.
    pub what: String,
}

impl Problem {
    /// A problem with `key` as it stands at `origin`.
    pub fn new(origin: impl Into<String>, key: impl Into<String>, what: impl Into<String>) -> Self {
        Self { origin: origin.into(), key: key.into(), what: what.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [&self.origin, &self.key] {
            if !part.is_empty() {
                write!(f, "{part}: ")?;
            }
        }
        f.write_str(&self.what)
    }
}

/// The configuration cannot be used; the program ends with exit code 78.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// Everything that is wrong; never empty.
    pub problems: Vec<Problem>,
}

impl Invalid {
    /// `Ok` when there is nothing wrong.
    pub(super) fn unless_none(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self { problems }) }
    }
}

impl From<Problem> for Invalid {
    fn from(problem: Problem) -> Self {
        Self { problems: vec![problem] }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [one] => write!(f, "wrong configuration: {one}"),
            many => {
                write!(f, "wrong configuration, {} problems:", many.len())?;
                many.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

impl std::error::Error for Invalid {}

/// The entry of `known` that `word` was probably meant to be.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    known
        .into_iter()
        .map(|candidate| {
            // A key that is begun or ended differently (`api_key` for `api_key_file`) is nearer than its letters say.
            let part_of = word.len() >= 3 && (candidate.contains(&word) || word.contains(candidate));
            (strsim::jaro_winkler(&word, candidate) + if part_of { 0.3 } else { 0.0 }, candidate)
        })
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_found_for_typing_errors_and_cut_off_names() {
        let known = ["base_url", "name", "api_key_file", "api_key_header", "ca_file", "timeout"];
        for (written, meant) in
            [("base-url", "base_url"), ("baseurl", "base_url"), ("api_key", "api_key_file"), ("timeouts", "timeout"), ("nmae", "name")]
        {
            assert_eq!(nearest(written, known), Some(meant), "{written}");
        }
        assert_eq!(nearest("zebra", known), None);
    }

    #[test]
    fn every_problem_stands_on_its_own_line() {
        let invalid = Invalid { problems: vec![Problem::new("a.toml:3", "server.listen", "wrong"), Problem::new("", "encord", "missing")] };
        assert_eq!(invalid.to_string(), "wrong configuration, 2 problems:\n  a.toml:3: server.listen: wrong\n  encord: missing");
    }
}
