//! The parts that a configuration makes, and which of them survive a reload.

use std::sync::Arc;
use std::time::Duration;

use crate::agent::Saves;
use crate::agent::editor::EditorAgent;
use crate::config::Config;
use crate::encord::{self, Encord};
use crate::http;
use crate::journal::Journal;
use crate::media::{self, Media};
use crate::model::{self, Models};

/// Everything that answers triggers. Parts whose settings did not change are carried over a reload with what they
/// have learnt: connections, caches, warm workers, the abilities of endpoints.
pub(super) struct Parts {
    pub(super) agent: Arc<EditorAgent>,
    pub(super) media: Media,
    pub(super) encord: Encord,
    pub(super) models: Models,
    /// For what is uploaded.
    pub(super) store: http::Client,
    /// For one trigger, all steps.
    pub(super) budget: Duration,
    saves: Arc<Saves>,
    made_of: MadeOf,
}

#[derive(PartialEq)]
struct MadeOf {
    encord: encord::Settings,
    media: media::Settings,
    models: Vec<model::Settings>,
}

impl Parts {
    pub(super) fn build(config: &Config, journal: &Arc<Journal>, before: Option<&Self>) -> anyhow::Result<Self> {
        let made_of = MadeOf { encord: config.encord()?, media: config.media(), models: config.models()? };
        let encord = match before.filter(|old| old.made_of.encord == made_of.encord) {
            Some(old) => old.encord.clone(),
            None => Encord::new(made_of.encord.clone())?,
        };
        let media = match before.filter(|old| old.made_of.media == made_of.media) {
            Some(old) => old.media.clone(),
            None => Media::new(made_of.media.clone())?,
        };
        let store = match before.filter(|old| old.made_of.media.http == made_of.media.http) {
            Some(old) => old.store.clone(),
            None => http::Client::new(&made_of.media.http)?,
        };
        let models = match before.filter(|old| old.made_of.models == made_of.models) {
            Some(old) => old.models.clone(),
            None => {
                let models = Models::new(made_of.models.clone())?;
                count_what_was_used(&models, journal);
                models
            }
        };
        let saves = before.map(|old| Arc::clone(&old.saves)).unwrap_or_default();
        let agent =
            EditorAgent::new(config.agents(), encord.clone(), media.clone(), models.clone(), Arc::clone(journal), Arc::clone(&saves));
        let budget = config.file.server.request_budget.0;
        Ok(Self { agent: Arc::new(agent), media, encord, models, store, budget, saves, made_of })
    }
}

/// Daily caps hold across restarts and reloads. Without the journal the day begins anew, which is better than no answers.
fn count_what_was_used(models: &Models, journal: &Journal) {
    if models.stats().iter().all(|model| model.daily_tokens == 0) {
        return;
    }
    let today = model::day(time::OffsetDateTime::now_utc());
    match journal.tokens_of_day(today) {
        Ok(used) => used.iter().for_each(|(table, tokens)| models.tokens_noted(table, today, 0, *tokens)),
        Err(error) => tracing::warn!(%error, "the tokens used today are not known; daily caps count from now on"),
    }
}
