//! The accept loop: takes connections, gives each a place, and never stops for one that fails.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use super::connection;
use super::door::{Door, Phase};
use crate::telemetry::Seldom;

/// Takes connections until `last` is over: sockets of our own are served while draining (new triggers are told to come
/// back), those of systemd are left to the next process.
pub(super) async fn accept_until(last: Phase, door: Arc<Door>, listener: TcpListener) {
    let mut phase = door.phase.clone();
    let trouble = Seldom::every(Duration::from_secs(10));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = phase.wait_for(|phase| *phase > last) => return,
        };
        match accepted {
            Ok((stream, address)) => {
                let is_probe = door.is_probe(address);
                // Before a place is looked for: whoever may not come in makes nobody leave.
                if !is_probe && !door.rules().may_connect(address.ip()) {
                    tracing::debug!(%address, "refused: the address is in no network of server.allowed_clients");
                    continue;
                }
                let place = if is_probe { Some(door.guests.admit_anyway(address.ip())) } else { door.guests.admit(address.ip()) };
                if let Some(guest) = place {
                    door.metrics.connected();
                    tokio::spawn(connection::serve(Arc::clone(&door), stream, address, guest));
                } else {
                    door.metrics.turned_away();
                    trouble.say(
                        |unsaid| tracing::warn!(%address, unsaid, "connection refused: all places are taken and busy (server.limits)"),
                    );
                }
            }
            Err(wrong) => {
                // Out of descriptors or memory: the connection stays in the kernel's queue, so going on at once would spin.
                trouble.say(|unsaid| tracing::warn!(unsaid, "cannot take a connection: {wrong}"));
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
