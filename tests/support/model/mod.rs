//! A stand-in for a model endpoint: it speaks `/v1/chat/completions`, really decodes the picture it is sent, and
//! answers within the schema from what can be measured in it: size, mean colour, brightness. It understands nothing.

mod answer;
mod dice;
mod picture;
mod published;
mod question;
mod quirks;
mod refusal;
mod speech;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

pub use picture::Picture;
pub use quirks::{Dress, ErrorStyle, Quirks, Sight, Window, Wrapping};

use question::Prompt;
use refusal::Complaint;

use super::faults::{Fault, Plan};
use super::server::{Handler, Reply, Request, Server};

/// What the next answer is, whatever was asked.
#[derive(Debug, Clone)]
pub enum Turn {
    /// This text as content.
    Content(String),
    /// `message.refusal`.
    Refusal(String),
    /// The proper answer, broken off in the middle, with `finish_reason: length`.
    Length,
    /// `finish_reason: content_filter`.
    ContentFilter,
    /// This message with this `finish_reason`.
    Message(Value, &'static str),
    /// This whole body.
    Body(Value),
    /// This whole answer over HTTP, with status and headers.
    Http(Reply),
}

/// A question as received.
#[derive(Debug, Clone)]
pub struct Question {
    pub request: Request,
    pub body: Value,
    pub pictures: Vec<Picture>,
    /// Status of the answer.
    pub status: u16,
    /// Text of the answer's content.
    pub answer: String,
    pub finished: Instant,
}

/// A running stand-in; it stops when the last clone is dropped.
#[derive(Clone)]
pub struct StandIn {
    inner: Arc<Inner>,
    server: Arc<Server>,
}

type Hook = Box<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct Inner {
    quirks: Mutex<Quirks>,
    faults: Plan<()>,
    script: Mutex<VecDeque<Turn>>,
    fixed: Mutex<Vec<(String, Value)>>,
    questions: Mutex<Vec<Question>>,
    received: AtomicUsize,
    looks: AtomicUsize,
    inside: AtomicUsize,
    most_inside: AtomicUsize,
    malformed: Mutex<Vec<String>>,
    meanwhile: Mutex<Option<Hook>>,
}

impl StandIn {
    /// Listens on loopback; port 0 takes any free one.
    pub fn start(port: u16, tls: Option<Arc<rustls::ServerConfig>>) -> std::io::Result<Self> {
        let inner = Arc::new(Inner::default());
        let server = Server::start(port, tls, Arc::new(Endpoint(inner.clone())))?;
        Ok(Self { inner, server: Arc::new(server) })
    }

    pub fn port(&self) -> u16 {
        self.server.address.port()
    }

    /// What `model.base_url` is to be.
    pub fn url(&self) -> String {
        format!("{}/v1", self.server.url)
    }

    pub fn quirks(&self, change: impl FnOnce(&mut Quirks)) {
        change(&mut self.inner.quirks.lock().unwrap());
    }

    /// The next `times` questions meet `fault`.
    pub fn fail(&self, fault: Fault, times: usize) {
        self.inner.faults.add((), fault, times);
    }

    /// Connections are refused from now on.
    pub fn refuse(&self) {
        self.server.gate().refuse();
    }

    /// From now on all goes well.
    pub fn heal(&self) {
        self.inner.faults.clear();
        self.server.gate().admit();
    }

    /// The next answer, ahead of what the picture would give.
    pub fn script(&self, turn: Turn) {
        self.inner.script.lock().unwrap().push_back(turn);
    }

    /// Answers the attribute of this title with a label, a list of labels, a text, a number or null. Attributes
    /// that may be left out, and are not named here, then are.
    pub fn fix(&self, title: &str, value: impl Into<Value>) {
        let mut fixed = self.inner.fixed.lock().unwrap();
        fixed.retain(|(have, _)| have != title);
        fixed.push((title.to_owned(), value.into()));
    }

    /// Back to answers from the picture.
    pub fn unfix(&self) {
        self.inner.fixed.lock().unwrap().clear();
    }

    /// Done once, while the next question is being thought about.
    pub fn meanwhile(&self, action: impl Fn() + Send + Sync + 'static) {
        *self.inner.meanwhile.lock().unwrap() = Some(Box::new(action));
    }

    /// All questions so far.
    pub fn questions(&self) -> Vec<Question> {
        self.inner.questions.lock().unwrap().clone()
    }

    /// How many questions have arrived, answered or not.
    pub fn received(&self) -> usize {
        self.inner.received.load(Ordering::SeqCst)
    }

    /// How often somebody looked which models there are.
    pub fn looks(&self) -> usize {
        self.inner.looks.load(Ordering::SeqCst)
    }

    /// The most questions that were being thought about at once.
    pub fn most_at_once(&self) -> usize {
        self.inner.most_inside.load(Ordering::SeqCst)
    }

    /// Requests that OpenAI's published schema does not allow; none is expected.
    pub fn malformed(&self) -> Vec<String> {
        self.inner.malformed.lock().unwrap().clone()
    }

    pub fn forget_questions(&self) {
        self.inner.questions.lock().unwrap().clear();
    }
}

struct Endpoint(Arc<Inner>);

impl Handler for Endpoint {
    fn answer(&self, request: &Request) -> Reply {
        let quirks = self.0.quirks.lock().unwrap().clone();
        if request.method == "GET" && request.path == "/v1/models" {
            self.0.looks.fetch_add(1, Ordering::SeqCst);
            let name = quirks.model.as_deref().unwrap_or("stand-in");
            return Reply::json(200, &json!({"object": "list", "data": [{"id": name, "object": "model", "owned_by": "stand-in"}]}));
        }
        self.0.received.fetch_add(usize::from(request.method == "POST"), Ordering::SeqCst);
        let queried = quirks.wanted_query.is_none_or(|name| request.query(name).is_some());
        if request.method != "POST" || request.path != quirks.path || !queried {
            let reply = Complaint { kind: "not_found_error", ..Complaint::new(404, "Not Found") }.reply(&quirks);
            self.remember(request, Vec::new(), &reply, String::new());
            return reply;
        }
        match self.0.faults.take(&()) {
            None => self.converse(request, &quirks),
            Some(fault) => match fault.instead() {
                Some(reply) => {
                    self.remember(request, Vec::new(), &reply, String::new());
                    reply
                }
                None => fault.after(self.converse(request, &quirks)),
            },
        }
    }
}

/// What goes out, with the pictures it is about and what it says.
struct Spoken {
    reply: Reply,
    pictures: Vec<Picture>,
    content: String,
}

impl Endpoint {
    fn converse(&self, request: &Request, quirks: &Quirks) -> Reply {
        let inside = self.0.inside.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.most_inside.fetch_max(inside, Ordering::SeqCst);
        let outcome = self.think(request, quirks);
        if let Some(action) = self.0.meanwhile.lock().unwrap().take() {
            action();
        }
        std::thread::sleep(quirks.thinking_time);
        self.0.inside.fetch_sub(1, Ordering::SeqCst);
        let Spoken { reply, pictures, content } =
            outcome.unwrap_or_else(|complaint| Spoken { reply: complaint.reply(quirks), pictures: Vec::new(), content: String::new() });
        self.remember(request, pictures, &reply, content);
        reply
    }

    fn remember(&self, request: &Request, pictures: Vec<Picture>, reply: &Reply, answer: String) {
        let mut questions = self.0.questions.lock().unwrap();
        if questions.len() >= 1000 {
            questions.drain(..500);
        }
        questions.push(Question {
            body: serde_json::from_slice(&request.body).unwrap_or_default(),
            request: request.clone(),
            pictures,
            status: reply.status,
            answer,
            finished: Instant::now(),
        });
    }

    fn think(&self, request: &Request, quirks: &Quirks) -> Result<Spoken, Complaint> {
        if let Some(key) = &quirks.api_key {
            let carried = request.header(quirks.key_header);
            let carried =
                if quirks.key_header == "authorization" { carried.and_then(|value| value.strip_prefix("Bearer ")) } else { carried };
            if carried != Some(key) {
                return Err(Complaint { kind: "authentication_error", ..Complaint::new(401, "Incorrect API key provided.") });
            }
        }
        let body: Value = serde_json::from_slice(&request.body).map_err(|error| Complaint::new(400, &error.to_string()))?;
        published::check(&body).map_err(|reason| {
            self.0.malformed.lock().unwrap().push(reason.clone());
            Complaint::new(400, &reason)
        })?;
        let turn = self.0.script.lock().unwrap().pop_front();
        if let Some(Turn::Http(reply)) = turn {
            return Ok(Spoken { reply, pictures: Vec::new(), content: String::new() });
        }
        refusal::unsupported(&body, quirks)?;
        let prompt = Prompt::read(&body, quirks)?;
        let proper = self.proper_answer(&body, &prompt, quirks);
        Ok(speak(&body, prompt, quirks, turn, proper))
    }

    fn proper_answer(&self, body: &Value, prompt: &Prompt, quirks: &Quirks) -> String {
        let picture = prompt.pictures.first();
        match (question::schema(body, prompt, quirks), quirks.dice) {
            (None, _) => answer::description(picture),
            (Some(schema), Some(seed)) => {
                dice::instance(&schema, seed.wrapping_add(self.0.questions.lock().unwrap().len() as u64)).to_string()
            }
            (Some(schema), None) => {
                let fixed = self.0.fixed.lock().unwrap().clone();
                answer::within(&schema, &answer::View { picture, fixed: &fixed }).to_string()
            }
        }
    }
}

/// Puts the proper answer, or what a test wants instead, into a chat completion.
fn speak(body: &Value, prompt: Prompt, quirks: &Quirks, turn: Option<Turn>, proper: String) -> Spoken {
    let half = || proper[..proper.floor_char_boundary(proper.len() / 2)].to_owned();
    let bound = ["max_completion_tokens", "max_tokens"].iter().find_map(|key| body[*key].as_u64());
    let too_long = bound.is_some_and(|bound| quirks.thoughts + proper.len() as u64 / 4 > bound);
    let (message, finish, content) = match turn {
        Some(Turn::Body(body)) => return Spoken { reply: Reply::json(200, &body), pictures: prompt.pictures, content: String::new() },
        Some(Turn::Refusal(reason)) => (json!({"role": "assistant", "content": null, "refusal": reason}), "stop", String::new()),
        Some(Turn::ContentFilter) => (json!({"role": "assistant", "content": half(), "refusal": null}), "content_filter", half()),
        Some(Turn::Message(message, finish)) => (message, finish, String::new()),
        Some(Turn::Content(content)) => (speech::message(body, Dress::Plain, &content), "stop", content),
        Some(Turn::Length) => (speech::message(body, quirks.dress, &half()), "length", half()),
        _ if too_long && quirks.thoughts > 0 => (json!({"role": "assistant", "content": "", "refusal": null}), "length", String::new()),
        _ if too_long => (speech::message(body, quirks.dress, &half()), "length", half()),
        _ => (speech::message(body, quirks.dress, &proper), "stop", proper),
    };
    let finish = if message.get("tool_calls").is_some() && finish == "stop" { "tool_calls" } else { finish };
    let asked = quirks.window.map_or(prompt.tokens(), |window| prompt.tokens().min(window.tokens));
    let answered = quirks.thoughts as usize + content.len() / 4 + 1;
    let mut reply = json!({
        "id": "chatcmpl-standin",
        "object": "chat.completion",
        "created": time::OffsetDateTime::now_utc().unix_timestamp(),
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": finish}],
    });
    if quirks.usage {
        reply["usage"] = json!({"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered});
    }
    Spoken { reply: speech::wrap(&reply, quirks), pictures: prompt.pictures, content }
}
