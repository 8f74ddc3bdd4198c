//! The search for a dialect that an endpoint takes, while one question is being put.

use std::time::{Duration, Instant};

use super::dialect::{Dialect, Rung, TokenBound};
use super::endpoint::Endpoint;
use super::meaning::Meaning;
use super::memory::{DOUBTED, GUESSED, TOLD};

/// No answer fits into fewer tokens.
const SMALLEST_BOUND: u32 = 16;

/// Where the search for an answer stands.
pub(super) struct Search {
    pub(super) dialect: Dialect,
    /// The rung has worked before: a vague refusal is then not about it.
    pub(super) proven: bool,
    pub(super) refused_rungs: Vec<Rung>,
    pub(super) refused_bounds: Vec<TokenBound>,
    pub(super) address: usize,
    pub(super) addresses_left: usize,
    /// Somebody answered with this good status at one address, though not as a model does.
    pub(super) stranger: Option<u16>,
    pub(super) tries: usize,
    /// The endpoint counts as down; this is the call that finds out.
    pub(super) probing: bool,
    pub(super) timed_out: bool,
    /// How long to believe that the changes were needed.
    pub(super) belief: Duration,
    /// The bound of the last request.
    pub(super) sent: u32,
}

impl Search {
    /// Begins with what is known of the endpoint. `tries` are all there are: a probe of an endpoint that was down has
    /// none left, since nobody is to be kept waiting by it.
    pub(super) fn begin(endpoint: &Endpoint, schema: u64, tries: usize) -> Self {
        let (dialect, proven) = endpoint.memory.recall(schema, Instant::now());
        let probing = endpoint.breaker.is_down();
        Self {
            dialect,
            proven,
            refused_rungs: Vec::new(),
            refused_bounds: Vec::new(),
            address: endpoint.memory.address(),
            addresses_left: endpoint.address.chat.len() - 1,
            stranger: None,
            tries: if probing { tries } else { 0 },
            probing,
            timed_out: false,
            belief: TOLD,
            sent: 0,
        }
    }

    /// Changes what the complaint is about; `false` if there is nothing left to change.
    pub(super) fn adapt(&mut self, meaning: &Meaning) -> bool {
        let dialect = &mut self.dialect;
        match meaning {
            Meaning::Bound => return self.next_bound(),
            Meaning::BoundTooLarge(named) => {
                let smaller = named.filter(|&named| named < self.sent).unwrap_or(self.sent / 4);
                if smaller < SMALLEST_BOUND {
                    return false;
                }
                dialect.largest_bound = Some(smaller);
            }
            Meaning::Temperature => dialect.temperature = false,
            Meaning::ReasoningEffort => dialect.reasoning_effort = false,
            Meaning::Detail => dialect.detail = false,
            Meaning::Strict => dialect.strict = false,
            Meaning::System => dialect.system = false,
            Meaning::NamedTool => dialect.named_tool = false,
            Meaning::Form => return self.next_rung(),
            Meaning::Unclear => {
                self.belief = self.belief.min(GUESSED);
                return self.next_rung();
            }
            _ => return false,
        }
        true
    }

    fn next_bound(&mut self) -> bool {
        self.refused_bounds.push(self.dialect.bound);
        let next =
            [TokenBound::Completion, TokenBound::Plain, TokenBound::None].into_iter().find(|bound| !self.refused_bounds.contains(bound));
        self.dialect.bound = next.unwrap_or(TokenBound::None);
        next.is_some()
    }

    /// The best rung not refused yet: also after a remembered one was refused, since the server may be another now.
    fn next_rung(&mut self) -> bool {
        self.refused_rungs.push(self.dialect.rung);
        let next = Rung::ALL.into_iter().find(|rung| !self.refused_rungs.contains(rung));
        self.dialect.rung = next.unwrap_or(Rung::Prompt);
        self.proven = false;
        next.is_some()
    }

    /// After a failure that named no reason: skips to the rungs that ask least of a server.
    pub(super) fn simpler(&mut self) -> bool {
        self.belief = DOUBTED;
        self.refused_rungs.extend(Rung::ALL.into_iter().filter(|rung| *rung < Rung::JsonObject));
        let next = [Rung::JsonObject, Rung::Prompt].into_iter().find(|rung| *rung > self.dialect.rung);
        self.dialect.rung = next.unwrap_or(Rung::Prompt);
        next.is_some()
    }

    pub(super) fn next_address(&mut self, endpoint: &Endpoint) -> bool {
        if self.addresses_left == 0 {
            return false;
        }
        self.addresses_left -= 1;
        self.address = (self.address + 1) % endpoint.address.chat.len();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search() -> Search {
        let endpoint = Endpoint::new(super::super::tests::settings("http://127.0.0.1:1/v1")).unwrap();
        Search { sent: 400, proven: true, ..Search::begin(&endpoint, 1, 3) }
    }

    #[test]
    fn a_bound_that_is_too_large_shrinks_to_what_was_named_or_to_a_quarter_but_not_to_nothing() {
        for (named, sent, expected) in
            [(Some(128), 400, Some(128)), (Some(900), 400, Some(100)), (None, 400, Some(100)), (Some(8), 400, None), (None, 40, None)]
        {
            let mut search = Search { sent, ..search() };
            assert_eq!((search.adapt(&Meaning::BoundTooLarge(named)), search.dialect.largest_bound), (expected.is_some(), expected));
        }
    }

    #[test]
    fn a_refused_form_is_a_matter_of_fact_and_a_vague_refusal_a_guess() {
        let mut told = search();
        assert!(told.adapt(&Meaning::Form));
        assert_eq!((told.dialect.rung, told.proven, told.belief), (Rung::Schema, false, TOLD));
        let mut guessed = search();
        assert!(guessed.adapt(&Meaning::Unclear));
        assert_eq!((guessed.dialect.rung, guessed.proven, guessed.belief), (Rung::Schema, false, GUESSED));
        assert!(guessed.simpler());
        assert_eq!((guessed.dialect.rung, guessed.belief), (Rung::JsonObject, DOUBTED));
    }
}
