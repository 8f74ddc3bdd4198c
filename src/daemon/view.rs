//! What the admin address shows: looked up at the moment it is asked.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::agent::Pool;
use crate::camera::nodes;
use crate::deadline::Deadline;
use crate::encord::requests::{Kind, Outcome};
use crate::journal::{Capture, Journal, State};
use crate::media::DecoderState;
use crate::model::Stats;
use crate::server::admin::{CameraStatus, CertificateStatus, Dependency};
use crate::server::authority::{AuthorityFiles, issuing_authority};
use crate::server::{AdminView, Server, Status, TlsSettings};
use crate::station::{Labeller, Shutters, Sight};
use crate::telemetry::{CameraReading, Metrics, ModelReading, Readings};

use super::desk::Desk;
use super::health::Health;
use super::press;

/// How long trying out all decoders may take.
const DECODERS_TIME: Duration = Duration::from_secs(120);

/// Triggers that the status page lists.
const LISTED: u32 = 50;

/// The parts that the admin address looks at.
pub(super) struct View {
    pub(super) desk: Arc<Desk>,
    pub(super) server: Arc<Server>,
    pub(super) pool: Arc<Pool>,
    pub(super) journal: Arc<Journal>,
    pub(super) shutters: Arc<Shutters>,
    pub(super) labeller: Arc<Labeller>,
    pub(super) health: Arc<Health>,
    pub(super) tls: TlsSettings,
    /// Paths of the agents now in force.
    pub(super) agents: Mutex<Vec<String>>,
    /// What decodes here, each proven; empty until they have been tried.
    pub(super) decoders: Mutex<Vec<String>>,
    /// V4L2 devices, looked at together with the decoders.
    pub(super) devices: Mutex<Vec<String>>,
    pub(super) started: i64,
    /// Whether all parts are at work.
    pub(super) serving: AtomicBool,
    pub(super) draining: AtomicBool,
}

impl View {
    pub(super) fn admin(self: &Arc<Self>, metrics: &Arc<Metrics>) -> AdminView {
        let (for_status, for_readings, for_pictures) = (Arc::clone(self), Arc::clone(self), Arc::clone(self));
        let (shutters, desk, labeller) = (Arc::clone(&self.shutters), Arc::clone(&self.desk), Arc::clone(&self.labeller));
        AdminView {
            status: Box::new(move || for_status.status()),
            readings: Box::new(move || for_readings.readings()),
            metrics: Arc::clone(metrics),
            picture: Box::new(move |request| for_pictures.desk.gallery.picture(request).map(|picture| (picture.mime, picture.bytes))),
            capture: Box::new(move |camera| press::capture(&shutters, &desk, &*labeller, camera)),
            ca_certificate: AuthorityFiles::beside(&self.tls).ca_certificate,
        }
    }

    /// Notes what a reload put in force.
    pub(super) fn set_agents(&self, paths: Vec<String>) {
        *self.agents.lock().unwrap_or_else(PoisonError::into_inner) = paths;
    }

    /// One line for `systemctl status`.
    pub(super) fn line(&self) -> String {
        let addresses: Vec<String> = self.server.addresses().iter().map(ToString::to_string).collect();
        let ill: Vec<String> = self.dependencies().into_iter().filter(|(_, state)| state.status != "ok").map(|(name, _)| name).collect();
        let degraded = if ill.is_empty() { String::new() } else { format!("; degraded: {}", ill.join(", ")) };
        format!("answering the label editor on {}{degraded}", addresses.join(", "))
    }

    /// Tries out all decoders of this box, and asks its V4L2 devices what they are; takes a while where there is hardware.
    pub(super) fn look_at_decoders(&self) {
        let found = match self.desk.parts().media.decoders(&Deadline::after(DECODERS_TIME)) {
            Ok(found) => found.iter().map(decoder_line).collect(),
            Err(error) => vec![error.to_string()],
        };
        *self.decoders.lock().unwrap_or_else(PoisonError::into_inner) = found;
        let devices = nodes::all().iter().map(nodes::Node::line).collect();
        *self.devices.lock().unwrap_or_else(PoisonError::into_inner) = devices;
    }

    fn status(&self) -> Status {
        let stats = self.pool.stats(Duration::ZERO);
        let state = match (self.draining.load(Ordering::SeqCst), self.serving.load(Ordering::SeqCst)) {
            (true, _) => "draining",
            (false, true) => "serving",
            (false, false) => "starting",
        };
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            state: state.into(),
            started: self.started,
            addresses: self.server.addresses().iter().map(ToString::to_string).collect(),
            agents: self.agents.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            dependencies: self.dependencies(),
            running: stats.running,
            waiting: stats.waiting,
            triggers: values(self.journal.recent(LISTED).unwrap_or_default()),
            pending: values(self.journal.pending().unwrap_or_default()),
            pictures: self.desk.gallery.requests(),
            decoders: self.decoders.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            devices: self.devices.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            cameras: self.cameras(),
            certificate: Some(self.certificate()),
            last_browser_call: self.server.last_browser_call(),
        }
    }

    fn dependencies(&self) -> std::collections::BTreeMap<String, Dependency> {
        self.note_certificate();
        self.note_journal();
        self.note_pictures();
        self.note_cameras();
        self.health.note("cache", self.desk.parts().media.cache_problem().map_or(Ok(()), Err));
        let shown = |state: super::health::State| Dependency { status: state.status.into(), reason: state.reason, since: state.since };
        self.health.all().into_iter().map(|(name, state)| (name.to_owned(), shown(state))).collect()
    }

    /// A journal that could not be written is tried again when somebody looks: a disk is mended without a click, too.
    fn note_journal(&self) {
        if self.health.is_degraded("journal") {
            self.health.note("journal", self.journal.prove().map_err(|error| error.to_string()));
        }
        const ASIDE: &str = "corrupt_journal";
        match self.journal.kept_aside().first() {
            Some(file) => {
                let told = format!("a corrupt journal is kept as {}: have a look at it, then move it away", file.display());
                self.health.note(ASIDE, Err(told));
            }
            None if self.health.is_degraded(ASIDE) => self.health.note(ASIDE, Ok(())),
            None => {}
        }
    }

    /// Pictures that could not be delivered or labelled yet say why; refused ones wait for somebody to look at them.
    fn note_pictures(&self) {
        let captures = self.journal.captures().unwrap_or_default();
        for (name, delivered, what) in [("pictures", false, "wait to be delivered"), ("labels", true, "wait for their label")] {
            let waiting: Vec<&Capture> = captures.iter().filter(|capture| capture.delivered == delivered).collect();
            match waiting.iter().find(|capture| !capture.error.is_empty()) {
                Some(first) => {
                    let told = format!("{} {what} (edgelabel pending): {}", waiting.len(), first.error);
                    self.health.note(name, Err(told));
                }
                None if self.health.is_degraded(name) => self.health.note(name, Ok(())),
                None => {}
            }
        }
    }

    /// A camera that is away costs pictures, and no trigger.
    fn note_cameras(&self) {
        const CAMERAS: &str = "cameras";
        let sights = self.shutters.sights();
        let ill = sights.iter().filter_map(|sight| Some(format!("{}: {}", sight.camera, sight.trouble.as_ref()?))).collect::<Vec<_>>();
        if !ill.is_empty() {
            self.health.note(CAMERAS, Err(ill.join("; ")));
        } else if !sights.is_empty() || self.health.is_degraded(CAMERAS) {
            self.health.note(CAMERAS, Ok(()));
        }
    }

    fn cameras(&self) -> Vec<CameraStatus> {
        let captures = self.journal.captures().unwrap_or_default();
        let shown = |sight: Sight| {
            let count = |of: &dyn Fn(&Capture) -> bool| captures.iter().filter(|found| found.camera == sight.camera && of(found)).count();
            CameraStatus {
                status: if sight.trouble.is_none() { "ok" } else { "degraded" }.into(),
                reason: sight.trouble.unwrap_or_default(),
                interval: sight.interval.map(|interval| interval.as_secs_f64()),
                last_picture: sight.last_picture.map(time::OffsetDateTime::unix_timestamp),
                waiting: count(&|found| found.state == State::Waiting && !found.delivered),
                refused: count(&|found| found.state == State::Refused),
                unlabelled: count(&|found| found.state == State::Waiting && found.delivered),
                name: sight.camera.clone(),
                device: sight.device,
            }
        };
        self.shutters.sights().into_iter().map(shown).collect()
    }

    /// The certificate ages without anybody calling, so its state is found out when somebody looks.
    fn note_certificate(&self) {
        let state = self.server.certificate();
        let problem = state.problem.map(|(_, cause)| cause).or_else(|| state.facts.date_problem(std::time::SystemTime::now()));
        let problem = problem.or_else(|| state.renewal.map(|cause| format!("it cannot be renewed: {cause}")));
        self.health.note("certificate", problem.map_or(Ok(()), Err));
    }

    fn certificate(&self) -> CertificateStatus {
        let state = self.server.certificate();
        let facts = state.facts;
        let authority = issuing_authority(&AuthorityFiles::beside(&self.tls));
        CertificateStatus {
            names: facts.dns_names.iter().cloned().chain(facts.addresses.iter().map(ToString::to_string)).collect(),
            not_after: facts.not_after,
            sha256: facts.sha256,
            ca_not_after: authority.as_ref().map(|facts| facts.not_after),
            ca_sha256: authority.map(|facts| facts.sha256),
            problem: state.problem.map(|(_, cause)| cause),
        }
    }

    fn readings(&self) -> Readings {
        let stats = self.pool.stats(Duration::from_secs(10));
        let pending = self.journal.pending().unwrap_or_default();
        let count = |state: State| pending.iter().filter(|entry| entry.state == state).count() as u64;
        let oldest = pending.iter().filter(|entry| entry.state == State::Waiting).map(|entry| entry.since).min();
        let captures = self.journal.captures().unwrap_or_default();
        let pictures = |state: State| captures.iter().filter(move |capture| capture.state == state && !capture.delivered);
        let oldest_picture = pictures(State::Waiting).map(|capture| capture.since).min();
        let age = |since: time::OffsetDateTime| (time::OffsetDateTime::now_utc() - since).as_seconds_f64().max(0.0);
        let certificate = self.server.certificate();
        let parts = self.desk.parts();
        let requests = parts.encord.requests();
        Readings {
            triggers_running: stats.running as u64,
            triggers_waiting: stats.waiting as u64,
            triggers_overdue: stats.overdue as u64,
            journal_waiting: count(State::Waiting),
            journal_refused: count(State::Refused),
            journal_oldest_seconds: oldest.map_or(0.0, age),
            pictures_waiting: pictures(State::Waiting).count() as u64,
            pictures_refused: pictures(State::Refused).count() as u64,
            pictures_oldest_seconds: oldest_picture.map_or(0.0, age),
            pictures_unlabelled: captures.iter().filter(|capture| capture.delivered).count() as u64,
            cache_bytes: parts.media.cache_bytes(),
            upstream: vec![("encord", parts.encord.statuses()), ("media", parts.media.statuses())],
            encord_calls: Kind::ALL
                .into_iter()
                .flat_map(|kind| Outcome::ALL.map(|outcome| (kind.name(), outcome.name(), requests.of(kind, outcome))))
                .collect(),
            connections: self.server.connections() as u64,
            certificate_not_after: certificate.facts.not_after,
            authority_not_after: issuing_authority(&AuthorityFiles::beside(&self.tls)).map(|facts| facts.not_after),
            certificate_broken: certificate.problem.is_some(),
            dependencies: self.dependencies().into_iter().map(|(name, dependency)| (name, dependency.status == "ok")).collect(),
            models: parts.models.stats().into_iter().map(reading).collect(),
            cameras: self.shutters.sights().into_iter().map(camera_reading).collect(),
        }
    }
}

/// `h264: vah264dec (vaapi)`, and why it is left out if it is.
fn decoder_line(state: &DecoderState) -> String {
    let failure = state.failure.as_ref().map_or(String::new(), |failure| format!(", left out: {failure}"));
    format!("{}: {} ({}){failure}", state.codec, state.element, state.family)
}

fn reading(stats: Stats) -> ModelReading {
    ModelReading {
        table: stats.table,
        name: stats.model,
        requests: stats.requests,
        prompt_tokens: stats.prompt_tokens,
        answer_tokens: stats.answer_tokens,
        tokens_today: stats.tokens_today,
        daily_tokens: stats.daily_tokens,
        down: stats.down,
    }
}

fn camera_reading(sight: Sight) -> CameraReading {
    CameraReading {
        well: sight.trouble.is_none(),
        last_picture: sight.last_picture.map(time::OffsetDateTime::unix_timestamp),
        name: sight.camera,
    }
}

fn values<T: serde::Serialize>(all: Vec<T>) -> Vec<serde_json::Value> {
    all.iter().filter_map(|one| serde_json::to_value(one).ok()).collect()
}
