//! What the watchdog asks for: proof that the service works, not merely that a timer runs.

use std::sync::Arc;
use std::time::Duration;

use crate::agent::Pool;
use crate::deadline::Deadline;
use crate::server::Server;

use super::desk::Desk;

/// How long the door may take to answer itself.
const DOOR_TIME: Duration = Duration::from_secs(3);

/// How long a decode worker may take for the built-in clip.
const CLIP_TIME: Duration = Duration::from_secs(4);

/// How far a trigger may be past its deadline before the pool counts as stuck. Each step is bounded by the deadline, but
/// a step's own clean-up takes a moment.
const OVERDUE: Duration = Duration::from_secs(10);

pub(super) struct Proof {
    server: Arc<Server>,
    pool: Arc<Pool>,
    desk: Arc<Desk>,
}

impl Proof {
    pub(super) fn new(server: &Arc<Server>, pool: &Arc<Pool>, desk: &Arc<Desk>) -> Self {
        Self { server: Arc::clone(server), pool: Arc::clone(pool), desk: Arc::clone(desk) }
    }

    /// The accept loop answers, the trigger pool moves, and the decode pool decodes.
    pub(super) async fn of_work(self: Arc<Self>) -> Result<(), String> {
        self.server.probe(DOOR_TIME).await.map_err(|error| format!("the HTTPS door does not answer itself: {error}"))?;
        let stats = self.pool.stats(OVERDUE);
        if stats.overdue > 0 {
            return Err(format!("{} triggers are past their deadline", stats.overdue));
        }
        let media = self.desk.parts().media.clone();
        let proved = tokio::task::spawn_blocking(move || media.prove(&Deadline::after(CLIP_TIME))).await;
        match proved {
            Ok(Ok(())) => Ok(()),
            // Workers that are busy with triggers which keep to their deadlines do work.
            Ok(Err(crate::media::Error::Deadline(_))) if stats.running > 0 => Ok(()),
            Ok(Err(error)) => Err(format!("no decode worker answers: {error}")),
            Err(panic) => Err(format!("the decode pool panicked: {panic}")),
        }
    }
}
