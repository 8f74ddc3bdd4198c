//! What the configuration says about one agent (`[[agent]]`).

/// One agent: a path of the webhook and what it does.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Path of the webhook, beginning with `/`.
    pub path: String,
    /// Titles or feature node hashes of the classifications it answers; `*` for all.
    pub classification: Vec<String>,
    /// What it works on.
    pub target: Target,
    /// Extra instructions for the model.
    pub prompt: String,
    /// Full prompt template; empty for the built-in one.
    pub template: String,
    /// Language of free text; empty leaves it to the model.
    pub language: String,
    /// What happens when the frame already has an answer.
    pub existing: Existing,
    /// What the annotator is told after a save.
    pub reply: ReplyStyle,
    /// Name of a `[models.NAME]` table; empty for `[model]`.
    pub model: String,
    /// Confidence that is written with each answer, 0 to 1.
    pub confidence: f64,
}

/// What an agent works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The frame: its classifications.
    Frame,
    /// The selected objects: their attributes.
    Objects,
}

/// What happens when the frame already has an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// The new answer takes its place.
    Replace,
    /// It stays, and the model is not called.
    Keep,
    /// The trigger fails with a message.
    Fail,
}

/// What the annotator is told after a save.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyStyle {
    /// Nothing: the editor refreshes and shows the label.
    Empty,
    /// A sentence: what was answered, and what was left out.
    Summary,
}
