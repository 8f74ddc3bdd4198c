//! A stand-in for a model endpoint: it speaks `/v1/chat/completions`, really decodes the picture it is sent, and
//! answers within the schema from what can be measured in it: size, mean colour, brightness. It understands nothing.

mod answer;
mod picture;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

pub use picture::Picture;

use super::faults::{Fault, Plan};
use super::server::{Handler, Reply, Request, Server};

/// How endpoints differ from each other.
#[derive(Debug, Clone)]
pub struct Quirks {
    /// If set, any other key is refused with 401.
    pub api_key: Option<String>,
    /// If set, any other model name is refused with 404.
    pub model: Option<String>,
    pub json_schema: bool,
    pub json_object: bool,
    pub tools: bool,
    /// Pictures are taken; otherwise refused with 400.
    pub pictures: bool,
    /// Parameters refused with 400 and `error.param`.
    pub refused_parameters: Vec<String>,
    /// Errors are `{"error": "text"}` instead of an object.
    pub bare_errors: bool,
    /// How the JSON of an answer is dressed up.
    pub dress: Dress,
    /// How long it seems to think.
    pub thinking_time: Duration,
}

impl Default for Quirks {
    fn default() -> Self {
        Self {
            api_key: None,
            model: None,
            json_schema: true,
            json_object: true,
            tools: true,
            pictures: true,
            refused_parameters: Vec::new(),
            bare_errors: false,
            dress: Dress::Plain,
            thinking_time: Duration::ZERO,
        }
    }
}

/// How the JSON of an answer is dressed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dress {
    Plain,
    /// Between ``` fences.
    Fenced,
    /// After `<think>…</think>`.
    Thinking,
    /// Within sentences.
    Prose,
    /// `content` is null, the JSON is in `reasoning_content`.
    Reasoning,
}

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
    /// This whole body.
    Body(Value),
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
    meanwhile: Mutex<Option<Hook>>,
}

impl StandIn {
    /// Listens on loopback; port 0 takes any free one.
    pub fn start(port: u16, tls: Option<Arc<rustls::ServerConfig>>) -> std::io::Result<Self> {
        let inner = Arc::new(Inner::default());
        let server = Server::start(port, tls, Arc::new(Endpoint(inner.clone())))?;
        Ok(Self { inner, server: Arc::new(server) })
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

    /// From now on all goes well.
    pub fn heal(&self) {
        self.inner.faults.clear();
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

    pub fn forget_questions(&self) {
        self.inner.questions.lock().unwrap().clear();
    }
}

struct Endpoint(Arc<Inner>);

impl Handler for Endpoint {
    fn answer(&self, request: &Request) -> Reply {
        match (request.method.as_str(), request.path.as_str()) {
            ("POST", "/v1/chat/completions") => {}
            ("GET", "/v1/models") => {
                let name = self.0.quirks.lock().unwrap().model.clone().unwrap_or_else(|| "stand-in".into());
                return Reply::json(200, &json!({"object": "list", "data": [{"id": name, "object": "model", "owned_by": "stand-in"}]}));
            }
            _ => return Reply::json(404, &json!({"error": {"message": "Not Found", "type": "not_found_error"}})),
        }
        match self.0.faults.take(&()) {
            None => self.converse(request),
            Some(fault) => match fault.instead() {
                Some(reply) => {
                    self.remember(request, Vec::new(), &reply, String::new());
                    reply
                }
                None => fault.after(self.converse(request)),
            },
        }
    }
}

impl Endpoint {
    fn converse(&self, request: &Request) -> Reply {
        let quirks = self.0.quirks.lock().unwrap().clone();
        let outcome = self.think(request, &quirks);
        if let Some(action) = self.0.meanwhile.lock().unwrap().take() {
            action();
        }
        std::thread::sleep(quirks.thinking_time);
        let (reply, pictures, answer) = match outcome {
            Ok((body, pictures, answer)) => (Reply::json(200, &body), pictures, answer),
            Err(Complaint { status, message, param }) => {
                let error = match quirks.bare_errors {
                    true => json!(message),
                    false => json!({"message": message, "type": "invalid_request_error", "param": param, "code": null}),
                };
                (Reply::json(status, &json!({"error": error})), Vec::new(), String::new())
            }
        };
        self.remember(request, pictures, &reply, answer);
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

    fn think(&self, request: &Request, quirks: &Quirks) -> Result<(Value, Vec<Picture>, String), Complaint> {
        if let Some(key) = &quirks.api_key {
            let bearer = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
            if bearer.or(request.header("api-key")) != Some(key) {
                return Err(Complaint::new(401, "Incorrect API key provided."));
            }
        }
        let body: Value = serde_json::from_slice(&request.body).map_err(|error| Complaint::new(400, &error.to_string()))?;
        refuse_unsupported(&body, quirks)?;
        let prompt = Prompt::read(&body, quirks)?;
        let asked = asked_schema(&body, &prompt.text);
        let fixed = self.0.fixed.lock().unwrap().clone();
        let proper = match &asked {
            Some(schema) => answer::within(schema, &answer::View { picture: prompt.pictures.first(), fixed: &fixed }).to_string(),
            None => answer::description(prompt.pictures.first()),
        };
        let turn = self.0.script.lock().unwrap().pop_front();
        let (message, finish, content) = match turn {
            Some(Turn::Body(body)) => return Ok((body, prompt.pictures, String::new())),
            Some(Turn::Refusal(reason)) => (json!({"role": "assistant", "content": null, "refusal": reason}), "stop", String::new()),
            Some(Turn::ContentFilter) => (json!({"role": "assistant", "content": "", "refusal": null}), "content_filter", String::new()),
            Some(Turn::Length) => {
                let half = proper[..proper.floor_char_boundary(proper.len() / 2)].to_owned();
                (message(&body, quirks.dress, &half), "length", half)
            }
            Some(Turn::Content(content)) => (message(&body, Dress::Plain, &content), "stop", content),
            None => (message(&body, quirks.dress, &proper), "stop", proper),
        };
        let finish = if message.get("tool_calls").is_some() && finish == "stop" { "tool_calls" } else { finish };
        let (asked, answered) = (prompt.text.len() / 4 + 765 * prompt.pictures.len(), content.len() / 4 + 1);
        let reply = json!({
            "id": format!("chatcmpl-standin-{:08x}", request.connection),
            "object": "chat.completion",
            "created": time::OffsetDateTime::now_utc().unix_timestamp(),
            "model": body["model"],
            "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": finish}],
            "usage": {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered},
        });
        Ok((reply, prompt.pictures, content))
    }
}

/// Why a question is refused.
struct Complaint {
    status: u16,
    message: String,
    param: Option<String>,
}

impl Complaint {
    fn new(status: u16, message: &str) -> Self {
        Self { status, message: message.to_owned(), param: None }
    }

    fn about(param: &str, message: String) -> Self {
        Self { status: 400, message, param: Some(param.to_owned()) }
    }
}

fn refuse_unsupported(body: &Value, quirks: &Quirks) -> Result<(), Complaint> {
    let name = body["model"].as_str().unwrap_or_default();
    if quirks.model.as_deref().is_some_and(|served| served != name) {
        return Err(Complaint::new(404, &format!("The model `{name}` does not exist or you do not have access to it.")));
    }
    for param in &quirks.refused_parameters {
        let inside = body["response_format"]["json_schema"].get(param).is_some();
        if body.get(param).is_some() || inside {
            return Err(Complaint::about(param, format!("Unsupported parameter: '{param}' is not supported with this model.")));
        }
    }
    let refused = match body["response_format"]["type"].as_str() {
        Some("json_schema") => !quirks.json_schema,
        Some("json_object") => !quirks.json_object,
        Some("text") | None => false,
        Some(_) => true,
    };
    if refused {
        let format = &body["response_format"]["type"];
        return Err(Complaint::about("response_format", format!("'response_format.type' {format} is not supported with this model.")));
    }
    if body.get("tools").is_some() && !quirks.tools {
        return Err(Complaint::about("tools", "This model does not support tools.".into()));
    }
    Ok(())
}

/// The conversation as read: all its text, and its pictures decoded.
struct Prompt {
    text: String,
    pictures: Vec<Picture>,
}

impl Prompt {
    fn read(body: &Value, quirks: &Quirks) -> Result<Self, Complaint> {
        let messages = body["messages"].as_array().filter(|list| !list.is_empty());
        let messages = messages.ok_or_else(|| Complaint::about("messages", "'messages' is missing or empty.".into()))?;
        let mut prompt = Self { text: String::new(), pictures: Vec::new() };
        for message in messages {
            match &message["content"] {
                Value::String(text) => prompt.text.push_str(text),
                Value::Array(parts) => parts.iter().try_for_each(|part| prompt.take_part(part, quirks))?,
                _ => {}
            }
            prompt.text.push('\n');
        }
        Ok(prompt)
    }

    fn take_part(&mut self, part: &Value, quirks: &Quirks) -> Result<(), Complaint> {
        match part["type"].as_str() {
            Some("text") => self.text.push_str(part["text"].as_str().unwrap_or_default()),
            Some("image_url") if !quirks.pictures => return Err(Complaint::new(400, "image input is not supported by this model")),
            Some("image_url") => {
                let link = part["image_url"]["url"].as_str().unwrap_or_default();
                let picture = Picture::from_data_url(link).map_err(|reason| Complaint::about("messages", reason))?;
                self.pictures.push(picture);
            }
            other => return Err(Complaint::about("messages", format!("Unknown content part {other:?}."))),
        }
        Ok(())
    }
}

/// The schema from wherever it was sent: `response_format`, a tool, or the text of the prompt.
fn asked_schema(body: &Value, text: &str) -> Option<Value> {
    let format = &body["response_format"]["json_schema"]["schema"];
    let tool = &body["tools"][0]["function"]["parameters"];
    [format, tool].into_iter().find(|schema| schema.is_object()).cloned().or_else(|| schema_in(text))
}

fn schema_in(text: &str) -> Option<Value> {
    let starts = text.match_indices('{').map(|(at, _)| at);
    starts
        .filter_map(|at| serde_json::Deserializer::from_str(&text[at..]).into_iter::<Value>().next()?.ok())
        .find(|value| value["properties"].is_object())
}

fn message(body: &Value, dress: Dress, content: &str) -> Value {
    if body.get("tools").is_some() && body["response_format"]["type"].as_str() != Some("json_schema") {
        let name = &body["tools"][0]["function"]["name"];
        let call = json!({"id": "call_standin", "type": "function", "function": {"name": name, "arguments": content}});
        return json!({"role": "assistant", "content": null, "refusal": null, "tool_calls": [call]});
    }
    let content = match dress {
        Dress::Plain => content.to_owned(),
        Dress::Fenced => format!("```json\n{content}\n```"),
        Dress::Thinking => format!("<think>A {{curly}} thought about the picture.</think>\n{content}"),
        Dress::Prose => format!("Here is the answer you asked for:\n{content}\nLet me know if you need more."),
        Dress::Reasoning => return json!({"role": "assistant", "content": null, "reasoning_content": content}),
    };
    json!({"role": "assistant", "content": content, "refusal": null})
}
