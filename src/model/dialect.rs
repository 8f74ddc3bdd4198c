//! What an endpoint understands: how strictly it can be held to a schema, and which parameters it takes.

/// How the form of the answer is asked for, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Rung {
    /// `response_format` of type `json_schema`, `strict: true`.
    StrictSchema,
    /// The same, `strict: false`.
    Schema,
    /// A tool that must be called, with the schema as its parameters.
    Tool,
    /// `response_format` of type `json_object`, the schema in the prompt.
    JsonObject,
    /// Only the prompt asks for JSON.
    Prompt,
}

impl Rung {
    /// All rungs, best first.
    pub(super) const ALL: [Self; 5] = [Self::StrictSchema, Self::Schema, Self::Tool, Self::JsonObject, Self::Prompt];

    /// Whether the prompt has to spell out the schema.
    pub(super) fn needs_schema_in_prompt(self) -> bool {
        matches!(self, Self::JsonObject | Self::Prompt)
    }

    /// The next one down; from the last back to the first: the model may have been replaced.
    pub(super) fn below(self) -> Self {
        match self {
            Self::StrictSchema => Self::Schema,
            Self::Schema => Self::Tool,
            Self::Tool => Self::JsonObject,
            Self::JsonObject => Self::Prompt,
            Self::Prompt => Self::StrictSchema,
        }
    }

    /// For people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::StrictSchema => "strict json_schema",
            Self::Schema => "plain json_schema",
            Self::Tool => "forced tool call",
            Self::JsonObject => "json_object",
            Self::Prompt => "prompt only",
        }
    }
}

/// The parameter that bounds the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenBound {
    /// `max_completion_tokens`, the current name.
    Completion,
    /// `max_tokens`, the old name, all that older servers know.
    Plain,
    /// Neither is taken.
    None,
}

/// How to talk to one endpoint about one model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dialect {
    /// How the form of the answer is asked for.
    pub(super) rung: Rung,
    /// How the answer is bounded.
    pub(super) bound: TokenBound,
    /// The largest bound it takes, if it said so.
    pub(super) largest_bound: Option<u32>,
    /// Takes `temperature`.
    pub(super) temperature: bool,
    /// Takes `reasoning_effort`.
    pub(super) reasoning_effort: bool,
    /// Takes `detail` beside a picture.
    pub(super) detail: bool,
    /// Takes `strict` beside a schema.
    pub(super) strict: bool,
    /// Takes a system message.
    pub(super) system: bool,
    /// Takes `tool_choice` with the name of the tool; otherwise `required`.
    pub(super) named_tool: bool,
}

impl Default for Dialect {
    /// What OpenAI's own endpoint speaks.
    fn default() -> Self {
        Self {
            rung: Rung::StrictSchema,
            bound: TokenBound::Completion,
            largest_bound: None,
            temperature: true,
            reasoning_effort: true,
            detail: true,
            strict: true,
            system: true,
            named_tool: true,
        }
    }
}
