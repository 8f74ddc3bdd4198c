//! One completion from one endpoint: finds the dialect it takes, waits out its rate limits, retries what may pass.

use std::time::{Duration, Instant};

use serde_json::Value;
use time::OffsetDateTime;

use crate::deadline::Deadline;
use crate::http;

use super::Error;
use super::chat::{self, Completion, Repair};
use super::complaint::Complaint;
use super::dialect::{Rung, TokenBound};
use super::endpoint::{Endpoint, Failure, section};
use super::meaning::Meaning;
use super::pace::Pace;
use super::prompt::Prompt;
use super::search::Search;

/// Pauses before the second, third and fourth try of a request that may pass, before jitter.
const PAUSES: [Duration; 3] = [Duration::from_millis(300), Duration::from_millis(1_200), Duration::from_secs(3)];
/// Pause while the server loads its model.
const LOADING: Duration = Duration::from_millis(1_500);
/// No endpoint needs this many requests for one answer, whatever it refuses.
const MOST_REQUESTS: u32 = 24;
/// A second try after a time-out needs at least this long to make sense.
const WORTH_ANOTHER_TRY: Duration = Duration::from_secs(8);

/// What stays the same over all calls of one trigger to one endpoint.
pub(super) struct Caller<'a> {
    /// Whom to ask.
    pub(super) endpoint: &'a Endpoint,
    /// By when.
    pub(super) deadline: &'a Deadline,
    /// The pictures as request parts.
    pub(super) images: &'a [Value],
    /// Requests sent so far.
    pub(super) requests: u32,
    /// Tokens of prompts so far.
    pub(super) prompt_tokens: u64,
    /// Tokens of answers so far.
    pub(super) answer_tokens: u64,
}

/// One question as it may be put on any rung.
pub(super) struct Ask<'a> {
    /// The prompt for a rung that has the schema in the request, and for one that has not.
    pub(super) prompts: &'a [Prompt; 2],
    /// The schema.
    pub(super) schema: &'a Value,
    /// Tells schemas apart in memory.
    pub(super) schema_id: u64,
    /// Bound on the answer.
    pub(super) max_answer_tokens: u32,
    /// An earlier answer and what is wrong with it.
    pub(super) repair: Option<&'a Repair>,
}

/// A completion and the rung it was got on.
pub(super) struct Got {
    /// What the model said.
    pub(super) completion: Completion,
    /// How it was asked.
    pub(super) rung: Rung,
    /// The bound that was really sent.
    pub(super) bound: u32,
}

impl Caller<'_> {
    /// Puts the question until there is a completion or no hope.
    pub(super) fn complete(&mut self, ask: &Ask<'_>) -> Result<Got, Error> {
        let endpoint = self.endpoint;
        let mut search = Search::begin(endpoint, ask.schema_id, PAUSES.len());
        for _ in 0..MOST_REQUESTS {
            search.sent = ask.max_answer_tokens.min(search.dialect.largest_bound.unwrap_or(u32::MAX));
            let request = chat::Request {
                model: &endpoint.settings.name,
                // A model that was not held to the schema must at least read it before it answers again.
                prompt: &ask.prompts[usize::from(search.dialect.rung.needs_schema_in_prompt() || ask.repair.is_some())],
                images: self.images,
                schema: ask.schema,
                max_answer_tokens: ask.max_answer_tokens,
                temperature: endpoint.settings.temperature,
                reasoning_effort: &endpoint.settings.reasoning_effort,
                repair: ask.repair,
            };
            let body = chat::body(&request, &search.dialect);
            self.requests += 1;
            let failure = match endpoint.exchange(search.address, &body, self.deadline)? {
                Ok(answer) => match Completion::read(&answer) {
                    Some(completion) => return Ok(self.take(completion, ask, &search)),
                    None => Failure::Foreign(200),
                },
                Err(failure) => failure,
            };
            match failure {
                Failure::Complaint(complaint, pace) => self.heed(&complaint, pace, &mut search)?,
                Failure::Fault(fault) => self.again_after(fault, &mut search)?,
                Failure::Foreign(status) => {
                    endpoint.breaker.alive();
                    search.stranger = Some(status);
                    if !search.next_address(endpoint) {
                        return Err(no_model(endpoint, status));
                    }
                }
            }
        }
        Err(endpoint.failure("it refuses every way of asking".into()))
    }

    fn take(&mut self, completion: Completion, ask: &Ask<'_>, search: &Search) -> Got {
        let endpoint = self.endpoint;
        endpoint.breaker.alive();
        let mut dialect = search.dialect;
        if dialect.bound == TokenBound::Completion && completion.ignored_bound(search.sent) {
            dialect.bound = TokenBound::Plain;
        }
        endpoint.memory.worked(ask.schema_id, dialect, search.address, &completion.served_by, search.belief, Instant::now());
        let (prompt, answer) = completion.tokens.unwrap_or_else(|| estimate(ask, self.images, &completion));
        if completion.tokens.is_some() {
            self.prompt_tokens += prompt;
            self.answer_tokens += answer;
        }
        endpoint.meter.tokens(prompt, answer, OffsetDateTime::now_utc());
        Got { completion, rung: search.dialect.rung, bound: search.sent }
    }

    /// Changes the dialect, or waits, as the complaint asks for; or gives up.
    fn heed(&self, complaint: &Complaint, pace: Pace, search: &mut Search) -> Result<(), Error> {
        let endpoint = self.endpoint;
        let settings = &endpoint.settings;
        let model = || settings.name.clone();
        let meaning = complaint.meaning(&search.dialect);
        tracing::debug!(
            model = settings.name,
            host = endpoint.address.host,
            complaint = complaint.name(),
            ?meaning,
            "model endpoint refuses"
        );
        if meaning != Meaning::Failing {
            endpoint.breaker.alive();
        }
        let refused = || endpoint.failure(complaint.name());
        match meaning {
            Meaning::Key => Err(Error::KeyRefused {
                model: model(),
                host: endpoint.address.host.clone(),
                status: complaint.status,
                setting: setting(endpoint),
            }),
            Meaning::NoQuota => Err(Error::NoQuota { model: model(), cause: complaint.name() }),
            Meaning::Filtered => Err(Error::Refusal { model: model(), cause: "content_filter".into() }),
            Meaning::Hopeless(why) => Err(endpoint.failure(format!("{why} ({})", complaint.name()))),
            Meaning::Limited => {
                let limited = Error::RateLimited { model: model(), retry_after: pace.hint() };
                self.pause(pace, search, limited)
            }
            Meaning::Loading => self
                .deadline
                .sleep(pace.wait.unwrap_or_else(|| http::jittered(LOADING)))
                .map_err(|_| endpoint.failure(format!("it is still loading the model ({})", complaint.name()))),
            Meaning::Failing => {
                endpoint.breaker.failed(Instant::now());
                // Some servers call a permanent fault 500: once it came twice, a simpler way of asking may help.
                if complaint.status == 500 && search.tries > 0 && !search.proven && !search.probing {
                    return if search.simpler() { Ok(()) } else { Err(refused()) };
                }
                self.pause(pace, search, refused())
            }
            Meaning::NoSuchPath if search.next_address(endpoint) => Ok(()),
            Meaning::NoSuchPath => {
                if let Some(status) = search.stranger {
                    return Err(no_model(endpoint, status));
                }
                Err(endpoint.failure(format!("nothing is at this address ({}): check base_url and model name", complaint.name())))
            }
            other => {
                if search.adapt(&other) {
                    Ok(())
                } else {
                    Err(refused())
                }
            }
        }
    }

    fn again_after(&self, fault: http::Fault, search: &mut Search) -> Result<(), Error> {
        let endpoint = self.endpoint;
        if matches!(fault, http::Fault::Deadline(_)) || self.deadline.left().is_err() {
            return Err(Error::Deadline(crate::deadline::Expired::Spent));
        }
        let failed = endpoint.failure(fault.to_string());
        if !fault.is_transient() {
            return Err(failed);
        }
        // A model that was too slow once is asked once more, if there is time for it: it may have been loading.
        if matches!(fault, http::Fault::Timeout { phase: "answer" | "body", .. }) {
            let worth = WORTH_ANOTHER_TRY.min(endpoint.settings.timeout);
            if search.timed_out || self.deadline.left()? < worth {
                return Err(failed);
            }
            search.timed_out = true;
            // Local servers that do not know the new name of the bound ignore it, and a model may run on without end.
            if search.dialect.bound == TokenBound::Completion && endpoint.is_private() {
                search.dialect.bound = TokenBound::Plain;
            }
        }
        self.pause(Pace::default(), search, failed)
    }

    /// Waits before the next try; gives up with `error` after the last one or when the deadline comes first.
    fn pause(&self, pace: Pace, search: &mut Search, error: Error) -> Result<(), Error> {
        let Some(pause) = PAUSES.get(search.tries) else { return Err(error) };
        search.tries += 1;
        // A refill of everything is more than one call needs; it only tells when to come back at the latest.
        let pause = pace.wait.map_or_else(|| http::jittered(*pause), |wait| wait + http::jittered(Duration::from_millis(50)));
        self.deadline.sleep(pause).map_err(|_| error)
    }
}

fn no_model(endpoint: &Endpoint, status: u16) -> Error {
    endpoint.failure(format!("HTTP {status}, but no chat completion: check base_url"))
}

/// Where the key is to be mended.
fn setting(endpoint: &Endpoint) -> String {
    match endpoint.settings.api_key_setting.as_str() {
        "" => format!("{} api_key_file", section(&endpoint.settings.table)),
        named => named.to_owned(),
    }
}

/// Tokens for the daily cap where an endpoint reports none: four characters each, and what pictures commonly cost.
fn estimate(ask: &Ask<'_>, images: &[Value], completion: &Completion) -> (u64, u64) {
    const OF_A_PICTURE: usize = 1_000;
    let prompt = &ask.prompts[0];
    let said: usize = completion.texts.iter().map(String::len).sum();
    let asked = (prompt.system.len() + prompt.user.len()) / 4 + images.len() * OF_A_PICTURE;
    (asked as u64, said as u64 / 4)
}
