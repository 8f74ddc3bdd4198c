//! How endpoints differ from each other: switches for every way that is known (docs/models.md has the table).

use std::time::Duration;

/// An endpoint's ways. The default is OpenAI's own, with a model that does as it is told.
#[derive(Debug, Clone)]
pub struct Quirks {
    /// If set, any other key is refused with 401.
    pub api_key: Option<String>,
    /// The header that carries the key; `authorization` wants `Bearer` before it.
    pub key_header: &'static str,
    /// Where chat completions are; elsewhere is 404.
    pub path: &'static str,
    /// A query parameter that must be there.
    pub wanted_query: Option<&'static str>,
    /// If set, any other model name is refused with 404.
    pub model: Option<String>,
    pub json_schema: bool,
    pub json_object: bool,
    pub tools: bool,
    /// `tool_choice` may name the tool; otherwise it must be a word.
    pub named_tools: bool,
    /// Takes system messages.
    pub system: bool,
    pub sight: Sight,
    /// More pictures are refused.
    pub most_pictures: usize,
    /// Types of pictures that it can read.
    pub picture_types: &'static [&'static str],
    /// Refused wherever they stand: in the body, beside the schema or beside a picture.
    pub refused_parameters: Vec<String>,
    /// A larger bound on the answer is refused.
    pub largest_bound: Option<u64>,
    /// Tokens that its context holds.
    pub window: Option<Window>,
    /// Holds the answer to the schema; otherwise the model only knows what the text says.
    pub constrains: bool,
    /// Tokens that the model thinks away before it speaks; they count towards the bound of the answer.
    pub thoughts: u64,
    /// Reports how many tokens were used.
    pub usage: bool,
    /// How refusals are written.
    pub errors: ErrorStyle,
    /// The status of refusals that OpenAI answers with 400.
    pub refusal_status: u16,
    /// How the JSON of an answer is dressed up.
    pub dress: Dress,
    /// How the body of an answer is wrapped.
    pub wrapping: Wrapping,
    /// If set, answers are any instance of the schema, drawn with this seed, instead of what the picture shows.
    pub dice: Option<u64>,
    /// How long it seems to think.
    pub thinking_time: Duration,
}

impl Default for Quirks {
    fn default() -> Self {
        Self {
            api_key: None,
            key_header: "authorization",
            path: "/v1/chat/completions",
            wanted_query: None,
            model: None,
            json_schema: true,
            json_object: true,
            tools: true,
            named_tools: true,
            system: true,
            sight: Sight::Sees,
            most_pictures: usize::MAX,
            picture_types: &["image/jpeg", "image/png", "image/webp", "image/gif"],
            refused_parameters: Vec::new(),
            largest_bound: None,
            window: None,
            constrains: true,
            thoughts: 0,
            usage: true,
            errors: ErrorStyle::OpenAi,
            refusal_status: 400,
            dress: Dress::Plain,
            wrapping: Wrapping::Plain,
            dice: None,
            thinking_time: Duration::ZERO,
        }
    }
}

impl Quirks {
    /// Refuses one more parameter.
    pub fn refuse(&mut self, parameter: &str) {
        self.refused_parameters.push(parameter.to_owned());
    }
}

/// What becomes of pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    Sees,
    /// As llama.cpp without a projector words it.
    Refuses,
    /// They are taken, and the model never sees them.
    Ignores,
}

/// A context of so many tokens, and what happens to a question that does not fit.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    pub tokens: usize,
    /// The front is cut off without a word, as Ollama does; otherwise the question is refused.
    pub cuts: bool,
}

/// How an error is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorStyle {
    /// `{"error": {"message", "type", "param", "code"}}`.
    OpenAi,
    /// `{"error": "text"}`, as LM Studio writes it.
    Bare,
    /// llama.cpp: `code` is a number, there is no `param`.
    LlamaCpp,
    /// vLLM before it had an `error` object.
    Vllm,
    /// `{"detail": …}`: a text, or a list that points at the parameter with status 422.
    Detail,
    /// LiteLLM: the provider's words behind its own, `code` is a text.
    LiteLlm,
    /// Plain text.
    Text,
    /// OpenAI's object under status 200.
    UnderOk,
    /// An `error` event under status 200.
    EventUnderOk,
}

/// How the JSON of an answer is dressed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dress {
    Plain,
    /// Between ``` fences.
    Fenced,
    /// After `<think>…</think>`.
    Thinking,
    /// After thoughts whose opening tag the template has swallowed.
    ThinkingClosed,
    /// Within sentences.
    Prose,
    /// After a byte order mark.
    ByteOrderMark,
    /// In a list of one.
    Listed,
    /// Inside of another object.
    Nested,
    /// The first key twice, with different values.
    KeyTwice,
    /// `content` is null, the JSON is in `reasoning_content`.
    Reasoning,
    /// `content` is a list of parts.
    Parts,
    /// The old `function_call`.
    FunctionCall,
    /// The arguments of a tool call as an object instead of a text.
    ToolObject,
}

/// How the body of an answer is wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrapping {
    Plain,
    /// After a byte order mark.
    ByteOrderMark,
    /// As events, though nobody asked for a stream.
    Events,
    /// No `choices` in it.
    NoChoices,
}
