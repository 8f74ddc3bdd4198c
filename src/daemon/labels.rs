//! Labels for captured pictures: an agent answers, by the way of a trigger for which nobody pressed the button.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::agent::{self, Kind, Outcome, Pool, Trigger};
use crate::config::Config;
use crate::deadline::Deadline;
use crate::encord::Encord;
use crate::http;
use crate::journal::Journal;
use crate::station::{Failure, Labelled, Labeller, Task};
use crate::telemetry::Metrics;
use crate::trace::Trace;

use super::desk::Desk;
use super::health::Health;
use super::parts::Parts;

/// Through the pool: within its bounds, and in one run with an annotator who presses the button at the same moment. To be made
/// within the runtime, and called outside of it.
pub(super) fn by_pool(pool: &Arc<Pool>, desk: &Arc<Desk>) -> Arc<Labeller> {
    let (pool, desk, runtime) = (Arc::clone(pool), Arc::clone(desk), Handle::current());
    Arc::new(move |task| {
        let trigger = trigger(task, &desk)?;
        settled(task, runtime.block_on(pool.submit(trigger)))
    })
}

fn trigger(task: &Task, desk: &Desk) -> Result<Trigger, Failure> {
    let (parts, agent) = (desk.parts(), task.labelling.agent.clone());
    if !parts.agent.has(&agent) {
        let cause = format!("the configuration has no agent {agent:?} any more: write it again, or give the label up (edgelabel pending)");
        return Err(Failure::Unlabelled { cause, passes: false });
    }
    let ending = task.ending.clone();
    Ok(Trigger {
        id: task.id,
        agent,
        project: task.labelling.project.clone(),
        data: task.data.clone(),
        frame: 0,
        objects: Vec::new(),
        caller: None,
        deadline: Deadline::after(parts.budget).while_awaited(move || !ending.is_over()),
        trace: Trace::fresh(),
        unasked: true,
    })
}

fn settled(task: &Task, verdict: Result<Outcome, agent::Error>) -> Result<Labelled, Failure> {
    match verdict {
        Ok(Outcome::Saved { .. }) => Ok(Labelled::Saved),
        Ok(Outcome::Kept { .. }) => Ok(Labelled::Kept),
        Ok(Outcome::Queued { .. }) => Ok(Labelled::Queued),
        Err(error) if error.kind == Kind::NotFound => {
            let (dataset, project) = (&task.dataset, &task.labelling.project);
            let cause = format!(
                "the picture is in dataset {dataset}, and project {project} has no label row for it: attach the dataset to the project at Encord, and the label comes by itself"
            );
            Err(Failure::Unlabelled { cause, passes: true })
        }
        Err(error) => Err(Failure::Unlabelled { passes: !error.lasts, cause: error.message }),
    }
}

/// A desk without a daemon around it, for a command that has a picture labelled.
pub struct Alone {
    desk: Arc<Desk>,
}

impl Alone {
    /// Puts the parts together; calls nobody. Tokens of the day count, as the journal knows them, and are added there.
    ///
    /// # Errors
    /// A key or a trust anchor of the configuration cannot be used.
    pub fn new(mut config: Config, journal: &Arc<Journal>) -> anyhow::Result<Self> {
        // It has one picture.
        config.file.media.workers.0 = 1;
        let parts = Parts::build(&config, journal, None)?;
        let desk = Desk::new(parts, Arc::clone(journal), Arc::new(Metrics::default()), Arc::new(Health::default()));
        Ok(Self { desk: Arc::new(desk) })
    }

    /// Encord, and for its store.
    pub fn parties(&self) -> (Encord, http::Client) {
        let parts = self.desk.parts();
        (parts.encord.clone(), parts.store.clone())
    }

    /// What labels.
    pub fn labeller(&self) -> Arc<Labeller> {
        let desk = Arc::clone(&self.desk);
        Arc::new(move |task| settled(task, desk.handle(&trigger(task, &desk)?, Duration::ZERO)))
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.desk.parts().media.close();
    }
}
