//! What all connections share.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use hyper::HeaderMap;
use hyper::header::HeaderValue;
use tokio::sync::{Semaphore, watch};

use super::auth::{self, Unauthentic};
use super::cors::Caller;
use super::guests::{self, Guests};
use super::rates::Rates;
use super::reply::Reply;
use super::rules::Rules;
use super::tls::Tls;
use crate::agent::Pool;
use crate::ids::{ProjectHash, RequestId};
use crate::telemetry::{Metrics, Seldom};

/// What the bodies of all requests together may hold while they are read.
const BODY_MEMORY: usize = 16 * 1024 * 1024;

/// The life of the server, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Serving,
    /// Running triggers finish, new ones are refused; whoever is connected and has not asked yet is told so.
    Draining,
    /// All triggers have ended: idle connections end now, the others after their answer.
    Leaving,
    /// Every connection ends now.
    Closed,
}

/// The last time that a page of an allowed origin called: shows whether browsers can reach this box at all.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct BrowserCall {
    /// Seconds since 1970.
    pub at: u64,
    /// The page's origin.
    pub origin: String,
    /// The caller's address.
    pub address: String,
}

/// A [`BrowserCall`] as it is noted with every request: nothing is put into words until somebody asks.
struct LastCall {
    at: SystemTime,
    origin: HeaderValue,
    address: IpAddr,
}

pub(super) struct Door {
    pub(super) tls: Tls,
    pub(super) guests: Arc<Guests>,
    pub(super) pool: Arc<Pool>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) body_memory: Semaphore,
    /// Local ends of the daemon's own probes under way.
    pub(super) probes: Mutex<HashSet<SocketAddr>>,
    /// Triggers started of late, by address and by project.
    by_address: Rates<IpAddr>,
    by_project: Rates<ProjectHash>,
    rules: RwLock<Arc<Rules>>,
    last_call: Mutex<Option<LastCall>>,
    strangers: Seldom,
    lost: Seldom,
    forgeries: Seldom,
    newer: Seldom,
    hasty: Seldom,
    pub(super) handshakes: Seldom,
}

impl Door {
    pub(super) fn new(rules: Rules, tls: Tls, pool: Arc<Pool>, metrics: Arc<Metrics>, phase: watch::Receiver<Phase>) -> Self {
        Self {
            guests: Guests::new(rules.limits.connections, rules.limits.connections_per_address),
            tls,
            pool,
            metrics,
            phase,
            body_memory: Semaphore::new(BODY_MEMORY),
            probes: Mutex::default(),
            by_address: Rates::default(),
            by_project: Rates::default(),
            rules: RwLock::new(Arc::new(rules)),
            last_call: Mutex::default(),
            strangers: Seldom::every(Duration::from_secs(10)),
            lost: Seldom::every(Duration::from_secs(10)),
            forgeries: Seldom::every(Duration::from_secs(10)),
            newer: Seldom::every(Duration::from_secs(3600)),
            hasty: Seldom::every(Duration::from_secs(10)),
            handshakes: Seldom::every(Duration::from_secs(60)),
        }
    }

    pub(super) fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set_rules(&self, rules: Rules) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }

    pub(super) fn is_draining(&self) -> bool {
        *self.phase.borrow() > Phase::Serving
    }

    pub(super) fn note_call(&self, caller: &Caller, address: SocketAddr) {
        let Caller::Page(origin) = caller else { return };
        let call = LastCall { at: SystemTime::now(), origin: origin.clone(), address: address.ip() };
        *self.last_call.lock().unwrap_or_else(PoisonError::into_inner) = Some(call);
    }

    pub(super) fn last_call(&self) -> Option<BrowserCall> {
        let last = self.last_call.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().map(|call| BrowserCall {
            at: call.at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            origin: call.origin.to_str().unwrap_or_default().into(),
            address: call.address.to_canonical().to_string(),
        })
    }

    pub(super) fn is_probe(&self, address: SocketAddr) -> bool {
        self.probes.lock().unwrap_or_else(PoisonError::into_inner).contains(&address)
    }

    /// Counts a trigger of this address, or refuses it.
    pub(super) fn count_address(&self, address: SocketAddr, per_minute: u32) -> Result<(), Reply> {
        let taken = self.by_address.take(&guests::group(address.ip()), per_minute, Instant::now());
        taken.map_err(|pause| self.too_many("from this address", "server.limits.triggers_per_address", pause, address))
    }

    /// Counts a trigger on this project, or refuses it.
    pub(super) fn count_project(&self, project: &ProjectHash, address: SocketAddr, per_minute: u32) -> Result<(), Reply> {
        let taken = self.by_project.take(project, per_minute, Instant::now());
        taken.map_err(|pause| self.too_many("on this project", "server.limits.triggers_per_project", pause, address))
    }

    fn too_many(&self, whose: &str, key: &str, pause: Duration, address: SocketAddr) -> Reply {
        self.hasty.say(|unsaid| tracing::warn!(address = %address.ip(), unsaid, "refused: too many triggers {whose} ({key})"));
        Reply::too_many(whose, key, pause)
    }

    pub(super) fn warn_of_stranger(&self, origin: &str, address: SocketAddr) {
        self.strangers.say(|unsaid| {
            tracing::warn!(
                origin, address = %address.ip(), unsaid,
                "refused a page of this origin; if it is your label editor, add it to server.allowed_origins"
            );
        });
    }

    /// The path stays unsaid: a mistyped access token is nearly the token.
    pub(super) fn warn_of_lost(&self, caller: &Caller, address: SocketAddr, id: RequestId) {
        if !matches!(caller, Caller::Page(_)) {
            return;
        }
        self.lost.say(|unsaid| {
            tracing::warn!(
                request = %id, address = %address.ip(), unsaid,
                "the label editor asked for an address where there is no agent: compare the agent's URL in Encord with the `path` of \
                 each [[agent]] and with server.access_token_file"
            );
        });
    }

    pub(super) fn warn_of_unauthentic(&self, why: &Unauthentic, address: SocketAddr, id: RequestId) {
        self.forgeries.say(|unsaid| tracing::warn!(request = %id, address = %address.ip(), unsaid, "request refused: {why}"));
    }

    pub(super) fn warn_of_newer_schemes(&self, headers: &HeaderMap) {
        for name in auth::newer_schemes(headers) {
            self.newer.say(|_| tracing::warn!(header = name, "Encord signs with a newer scheme too, which this edgelabel does not check"));
        }
    }
}
