//! What each configured model was asked and what that cost, in Prometheus' text form.

use std::collections::BTreeMap;

use super::metrics::{Page, plain};

/// One configured model at the moment it is looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelReading {
    /// The table without its prefix: empty for `[model]`, `local` for `[models.local]`.
    pub table: String,
    /// The model's name at its endpoint.
    pub name: String,
    /// Requests by HTTP status; 0 for those without an answer.
    pub requests: BTreeMap<u16, u64>,
    /// Tokens of prompts.
    pub prompt_tokens: u64,
    /// Tokens of answers.
    pub answer_tokens: u64,
    /// Tokens of both since UTC midnight.
    pub tokens_today: u64,
    /// As many may be used a day; 0 for no cap.
    pub daily_tokens: u64,
    /// It failed several times in a row and is left alone for a while.
    pub down: bool,
}

impl ModelReading {
    fn labels(&self) -> String {
        let table = if self.table.is_empty() { "model".to_owned() } else { format!("models.{}", self.table) };
        format!("table=\"{}\",name=\"{}\"", plain(&table), plain(&self.name))
    }
}

type Figure = (&'static str, &'static str, &'static str, fn(&ModelReading) -> Option<u64>);

const FIGURES: [Figure; 3] = [
    ("edgelabel_model_tokens_today", "gauge", "Tokens used since UTC midnight, by model.", |model| Some(model.tokens_today)),
    ("edgelabel_model_daily_tokens", "gauge", "Tokens a model may use a day, where there is a cap.", |model| {
        Some(model.daily_tokens).filter(|&cap| cap > 0)
    }),
    ("edgelabel_model_up", "gauge", "0 while a model's endpoint is left alone after failures in a row.", |model| {
        Some(u64::from(!model.down))
    }),
];

pub(super) fn render(models: &[ModelReading], page: &mut Page) {
    page.head("edgelabel_model_requests_total", "counter", "Requests to a model's endpoint by status.");
    for model in models {
        for (status, count) in &model.requests {
            let status = if *status == 0 { "none".to_owned() } else { status.to_string() };
            page.line("edgelabel_model_requests_total", &format!("{},status=\"{status}\"", model.labels()), count);
        }
    }
    page.head("edgelabel_model_used_tokens_total", "counter", "Tokens by model, estimated where its endpoint reports none.");
    for model in models {
        for (direction, tokens) in [("prompt", model.prompt_tokens), ("completion", model.answer_tokens)] {
            page.line("edgelabel_model_used_tokens_total", &format!("{},direction=\"{direction}\"", model.labels()), tokens);
        }
    }
    for (name, kind, help, figure) in FIGURES {
        page.head(name, kind, help);
        for model in models {
            if let Some(value) = figure(model) {
                page.line(name, &model.labels(), value);
            }
        }
    }
}
