//! The quirks themselves, as the endpoints that have them were seen or are documented to behave.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::faults::Fault;
use crate::support::model::{Dress, ErrorStyle, Quirks, Sight, StandIn, Turn, Window, Wrapping};
use crate::support::server::Reply;

/// The key of the endpoints that want one.
pub(super) const KEY: &str = "sk-of-the-endpoint";
const ALWAYS: usize = usize::MAX;

/// One quirk.
pub(super) struct Case {
    /// As the table in the document names it.
    pub(super) name: &'static str,
    /// Keys of the endpoint's table in the configuration.
    pub(super) table: &'static str,
    /// Keys of the agent.
    pub(super) agent: String,
    /// `base_url` as configured, made from the usual one.
    pub(super) address: fn(&str) -> String,
    pub(super) play: Box<dyn Fn(&StandIn) + Send + Sync>,
}

impl Case {
    fn table(self, table: &'static str) -> Self {
        Self { table, ..self }
    }

    fn at(self, address: fn(&str) -> String) -> Self {
        Self { address, ..self }
    }
}

fn plays(name: &'static str, play: impl Fn(&StandIn) + Send + Sync + 'static) -> Case {
    Case { name, table: "", agent: String::new(), address: str::to_owned, play: Box::new(play) }
}

fn quirk(name: &'static str, change: impl Fn(&mut Quirks) + Send + Sync + 'static) -> Case {
    plays(name, move |model| model.quirks(&change))
}

fn dressed(name: &'static str, dress: Dress) -> Case {
    quirk(name, move |quirks| quirks.dress = dress)
}

/// An endpoint that takes no schema and complains in this way.
fn complains(name: &'static str, errors: ErrorStyle) -> Case {
    quirk(name, move |quirks| (quirks.json_schema, quirks.errors) = (false, errors))
}

/// These answers first, then proper ones.
fn first(name: &'static str, turns: &[Turn]) -> Case {
    let turns = turns.to_vec();
    plays(name, move |model| turns.iter().for_each(|turn| model.script(turn.clone())))
}

/// This answer to every question.
fn always(name: &'static str, turn: Turn) -> Case {
    plays(name, move |model| (0..50).for_each(|_| model.script(turn.clone())))
}

fn fails(name: &'static str, fault: Fault, times: usize) -> Case {
    plays(name, move |model| model.fail(fault.clone(), times))
}

fn error(status: u16, message: &str, code: Value) -> Reply {
    let kind = "invalid_request_error";
    Reply::json(status, &json!({"error": {"message": message, "type": kind, "param": null, "code": code}}))
}

fn limited() -> Reply {
    error(429, "Rate limit reached for requests", json!("rate_limit_exceeded"))
}

fn text(status: u16, words: &str) -> Fault {
    Fault::Status(status, words.into())
}

fn http(reply: Reply) -> Turn {
    Turn::Http(reply)
}

pub(super) fn cases() -> Vec<Case> {
    [refused_parameters(), error_forms(), failures(), permanent(), limits(), dresses(), poor_answers(), addresses()]
        .into_iter()
        .flatten()
        .collect()
}

fn refused_parameters() -> Vec<Case> {
    vec![
        plays("speaks as OpenAI does", |_| {}),
        quirk("refuses `strict`", |quirks| quirks.refuse("strict")),
        quirk("takes no `json_schema`", |quirks| quirks.json_schema = false),
        quirk("takes no `json_schema` and no tools", |quirks| (quirks.json_schema, quirks.tools) = (false, false)),
        quirk("takes no `json_schema`, no tools, no `json_object`", |quirks| {
            (quirks.json_schema, quirks.tools, quirks.json_object) = (false, false, false);
        }),
        quirk("LM Studio, `json_object` refused by a bare text", |quirks| {
            (quirks.json_object, quirks.errors) = (false, ErrorStyle::Bare);
        }),
        quirk("takes tools, but `tool_choice` only as a word", |quirks| (quirks.json_schema, quirks.named_tools) = (false, false)),
        quirk("knows only `max_tokens` (older vLLM, `extra_forbidden`)", |quirks| {
            quirks.refuse("max_completion_tokens");
            quirks.errors = ErrorStyle::Detail;
        }),
        quirk("knows neither name of the bound", |quirks| {
            quirks.refuse("max_completion_tokens");
            quirks.refuse("max_tokens");
        }),
        quirk("takes at most 512 tokens of answer", |quirks| quirks.largest_bound = Some(512)),
        quirk("refuses `temperature`", |quirks| quirks.refuse("temperature")).table("temperature = 0.2"),
        quirk("refuses `detail`", |quirks| quirks.refuse("detail")).table("detail = \"low\""),
        quirk("Ollama with a model that cannot think", |quirks| {
            quirks.refuse("reasoning_effort");
            quirks.errors = ErrorStyle::Bare;
        })
        .table("reasoning_effort = \"low\""),
        quirk("refuses all of these", |quirks| {
            ["strict", "temperature", "detail", "reasoning_effort", "max_completion_tokens"].iter().for_each(|param| quirks.refuse(param));
        })
        .table("temperature = 0.2\ndetail = \"low\"\nreasoning_effort = \"low\""),
        quirk("takes no system message", |quirks| quirks.system = false),
    ]
}

fn error_forms() -> Vec<Case> {
    vec![
        complains("… complains in a bare text", ErrorStyle::Bare),
        complains("… as llama.cpp: `code` is a number", ErrorStyle::LlamaCpp),
        complains("… as vLLM: no `error` object", ErrorStyle::Vllm),
        complains("… in a list under `detail`, status 422", ErrorStyle::Detail),
        complains("… as LiteLLM: the provider's words inside, `code` is a text", ErrorStyle::LiteLlm),
        complains("… in plain text", ErrorStyle::Text),
        quirk("… under status 500 (llama-cpp-python)", |quirks| (quirks.json_schema, quirks.refusal_status) = (false, 500)),
        complains("… in an `error` object under status 200", ErrorStyle::UnderOk),
        complains("… in an `error` event under status 200 (vLLM)", ErrorStyle::EventUnderOk),
    ]
}

fn failures() -> Vec<Case> {
    let loading = || http(Reply::json(503, &json!({"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}})));
    vec![
        fails("500 in plain text, once", text(500, "Internal Server Error"), 1),
        fails("500 in plain text, always", text(500, "Internal Server Error"), ALWAYS),
        fails("502 with a proxy's page, once", text(502, "<html>Bad Gateway</html>"), 1),
        fails("503, always", text(503, "upstream connect error"), ALWAYS),
        first("503 while the model loads", &[loading(), loading()]),
        fails("hangs up before it answers, once", Fault::ResetBefore, 1),
        fails("hangs up in the middle of its answer, once", Fault::Cut(30), 1),
        fails("answers something that is not HTTP", Fault::Garbage, ALWAYS),
        quirk("is slower than `timeout`", |quirks| quirks.thinking_time = Duration::from_secs(4)).table("timeout = \"1s\""),
    ]
}

fn permanent() -> Vec<Case> {
    let forbidden = |message: &str| Reply::json(400, &json!({"error": {"message": message, "type": "auth_error", "code": "400"}}));
    vec![
        quirk("llama.cpp without a projector: pictures are a 500", |quirks| {
            (quirks.sight, quirks.refusal_status, quirks.errors) = (Sight::Refuses, 500, ErrorStyle::LlamaCpp);
        }),
        quirk("takes pictures and never looks at them (`doctor` finds out)", |quirks| quirks.sight = Sight::Ignores),
        quirk("reads no WebP (none is sent)", |quirks| quirks.picture_types = &["image/jpeg", "image/png"]),
        quirk("cannot read the picture", |quirks| (quirks.picture_types, quirks.errors) = (&["image/png"], ErrorStyle::LlamaCpp)),
        quirk("takes one picture a question (more are never sent)", |quirks| quirks.most_pictures = 1),
        quirk("its context is too small, and it says so", |quirks| {
            (quirks.window, quirks.errors) = (Some(Window { tokens: 512, cuts: false }), ErrorStyle::LlamaCpp);
        }),
        Case {
            agent: format!("prompt = \"{}\"", "Mind the weather. ".repeat(300)),
            ..quirk("Ollama: cuts off the front of a long question without a word", |quirks| {
                quirks.window = Some(Window { tokens: 2048, cuts: true });
            })
        },
        quirk("has no model of this name", |quirks| quirks.model = Some("another".into())),
        quirk("refuses the key", |quirks| quirks.api_key = Some("sk-another".into())).table("api_key_file = \"endpoint_key\""),
        always("LiteLLM refuses the key with 400", http(forbidden("Authentication Error, Invalid proxy server token passed"))),
        fails("LiteLLM misses a key, with 500 in plain text", text(500, "Authentication Error, No api key passed in."), ALWAYS),
        always("redirects", http(Reply::new(301, "text/html", "").header("location", "https://elsewhere.example/v1"))),
        fails("the request is too large for its proxy", text(413, "<html>Request Entity Too Large</html>"), ALWAYS),
        fails("answers 200 with a web page", Fault::Body("<html>Welcome to the portal</html>".into()), ALWAYS),
        quirk("answers 200 without `choices`", |quirks| quirks.wrapping = Wrapping::NoChoices),
        quirk("has nothing at this address", |quirks| quirks.path = "/elsewhere"),
    ]
}

fn limits() -> Vec<Case> {
    let quota = |status| error(status, "You exceeded your current quota, please check your plan", json!("insufficient_quota"));
    vec![
        first("429 with `Retry-After: 1`", &[http(limited().header("retry-after", "1"))]),
        first("429 with `retry-after-ms: 200`", &[http(limited().header("retry-after-ms", "200"))]),
        first(
            "429 with `x-ratelimit-reset-requests: 6m0s` (a full refill, not a pause)",
            &[http(limited().header("x-ratelimit-reset-requests", "6m0s"))],
        ),
        first("429 with Azure's reset of `-1`", &[http(limited().header("x-ratelimit-reset-tokens", "-1"))]),
        first("429 without a word about when (LiteLLM)", &[http(limited())]),
        always("429 with `Retry-After: 120`", http(limited().header("retry-after", "120"))),
        always("429 without an end", http(limited())),
        always("429 `insufficient_quota`", http(quota(429).header("retry-after", "1"))),
        always("402", http(quota(402))),
    ]
}

fn dresses() -> Vec<Case> {
    vec![
        dressed("JSON between fences", Dress::Fenced),
        dressed("JSON after `<think>…</think>`", Dress::Thinking),
        dressed("JSON after thoughts of which only `</think>` is left", Dress::ThinkingClosed),
        dressed("JSON within sentences", Dress::Prose),
        dressed("JSON after a byte order mark", Dress::ByteOrderMark),
        dressed("JSON in a list of one", Dress::Listed),
        dressed("JSON inside of another object", Dress::Nested),
        dressed("JSON in `reasoning_content`, `content` null (vLLM)", Dress::Reasoning),
        dressed("`content` as a list of parts", Dress::Parts),
        dressed("JSON in the old `function_call`", Dress::FunctionCall),
        dressed("a tool call's arguments as an object", Dress::ToolObject),
        quirk("streams though nobody asked for it", |quirks| quirks.wrapping = Wrapping::Events),
        quirk("the body begins with a byte order mark", |quirks| quirks.wrapping = Wrapping::ByteOrderMark),
        quirk("reports no `usage` (estimated)", |quirks| quirks.usage = false),
    ]
}

fn poor_answers() -> Vec<Case> {
    let wrong = Turn::Content(r#"{"scene_description": "A wet road.", "weather": "Foggy"}"#.into());
    let filtered = error(
        400,
        "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
        json!("content_filter"),
    );
    vec![
        first(
            "a key twice, once",
            &[Turn::Content(r#"{"weather": "Sunny", "scene_description": "A wet road.", "weather": "Cloudy"}"#.into())],
        ),
        dressed("a key twice, always", Dress::KeyTwice),
        first("a choice that is not listed, once", std::slice::from_ref(&wrong)),
        always("a choice that is not listed, always", wrong),
        quirk("llama.cpp: ignores a schema it cannot read, under 200", |quirks| quirks.constrains = false),
        always("prose, always", Turn::Content("It looks like a wet road under clouds.".into())),
        always("an empty answer, always", Turn::Content(String::new())),
        first("cut off at the bound, once", &[Turn::Length]),
        always("cut off at the bound, always", Turn::Length),
        quirk("thinks for 1,500 tokens, within a bound of 1,024", |quirks| quirks.thoughts = 1_500),
        quirk("thinks for 50,000 tokens", |quirks| quirks.thoughts = 50_000),
        always("`refusal`", Turn::Refusal("I cannot help with that.".into())),
        always("content filter on the answer: 200, `content_filter`, half the JSON", Turn::ContentFilter),
        always("content filter on the picture: 400 `content_filter` (Azure)", http(filtered)),
    ]
}

fn addresses() -> Vec<Case> {
    vec![
        quirk("Azure: deployment path, `api-version`, key in `api-key`", |quirks| {
            quirks.path = "/openai/deployments/stand-in/chat/completions";
            quirks.wanted_query = Some("api-version");
            (quirks.api_key, quirks.key_header) = (Some(KEY.into()), "api-key");
        })
        .table("api_key_header = \"api-key\"\napi_key_file = \"endpoint_key\"")
        .at(|url| url.replace("/v1", "/openai/deployments/stand-in")),
        plays("`base_url` without `/v1`", |_| {}).at(|url| url.replace("/v1", "")),
        plays("`base_url` with a slash at its end", |_| {}).at(|url| format!("{url}/")),
        plays("`base_url` with `/chat/completions`", |_| {}).at(|url| format!("{url}/chat/completions")),
        quirk("the server has no `/v1`, `base_url` has", |quirks| quirks.path = "/chat/completions"),
        quirk("a proxy with a path of its own", |quirks| quirks.path = "/proxy/v1/chat/completions").at(|url| url.replace("/v1", "/proxy")),
    ]
}
