//! Counters of the daemon's life, in Prometheus' text form. Every label comes from a bounded set.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::cameras::{self, CameraReading, CameraStep};
use super::models::{self, ModelReading};

/// The steps of a trigger whose time is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Waiting for a free thread.
    Wait,
    /// Project, ontology and label row at Encord.
    LabelRow,
    /// The signed link to the media.
    Link,
    /// The bytes of the frame.
    Fetch,
    /// Decoding and encoding of the picture.
    Decode,
    /// The model's answer.
    Model,
    /// Writing the answer into the journal.
    Journal,
    /// Saving the label row.
    Save,
    /// All of it.
    Total,
}

impl Step {
    const ALL: [Self; 9] =
        [Self::Wait, Self::LabelRow, Self::Link, Self::Fetch, Self::Decode, Self::Model, Self::Journal, Self::Save, Self::Total];

    /// The name in metrics, logs and the status page.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::LabelRow => "label_row",
            Self::Link => "link",
            Self::Fetch => "fetch",
            Self::Decode => "decode",
            Self::Model => "model",
            Self::Journal => "journal",
            Self::Save => "save",
            Self::Total => "total",
        }
    }
}

/// Values that are looked up at the moment they are asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Readings {
    /// Triggers that run.
    pub triggers_running: u64,
    /// Triggers that wait for a thread.
    pub triggers_waiting: u64,
    /// Triggers past their deadline.
    pub triggers_overdue: u64,
    /// Answers in the journal that wait to be saved.
    pub journal_waiting: u64,
    /// Answers in the journal that Encord refused.
    pub journal_refused: u64,
    /// Seconds since the oldest waiting answer was written.
    pub journal_oldest_seconds: f64,
    /// Pictures that wait to be delivered.
    pub pictures_waiting: u64,
    /// Pictures that Encord refused.
    pub pictures_refused: u64,
    /// Seconds since the oldest waiting picture was taken.
    pub pictures_oldest_seconds: f64,
    /// Delivered pictures that wait for their label.
    pub pictures_unlabelled: u64,
    /// Bytes in the media cache.
    pub cache_bytes: u64,
    /// Requests to others by HTTP status, 0 for no answer, for each party.
    pub upstream: Vec<(&'static str, BTreeMap<u16, u64>)>,
    /// Calls to Encord by what they are for and how they ended.
    pub encord_calls: Vec<(&'static str, &'static str, u64)>,
    /// Open connections at the HTTPS door.
    pub connections: u64,
    /// Seconds since 1970 until which the server's certificate is valid.
    pub certificate_not_after: i64,
    /// The same of the box's own authority, if it issued the certificate.
    pub authority_not_after: Option<i64>,
    /// Whether the files on disk could replace the certificate in use.
    pub certificate_broken: bool,
    /// Dependencies by name, and whether each is well.
    pub dependencies: Vec<(String, bool)>,
    /// The configured models.
    pub models: Vec<ModelReading>,
    /// The configured cameras.
    pub cameras: Vec<CameraReading>,
}

const STATUSES: [u16; 21] = [200, 202, 204, 400, 401, 403, 404, 405, 408, 413, 414, 415, 422, 429, 431, 500, 501, 502, 503, 504, 0];

/// Upper bounds in seconds: a cache hit takes milliseconds, a slow model most of a minute.
const BUCKETS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

/// Everything that is counted, once per process.
#[derive(Debug, Default)]
pub struct Metrics {
    answers: [AtomicU64; STATUSES.len()],
    connections: AtomicU64,
    connections_refused: AtomicU64,
    handshakes_failed: AtomicU64,
    triggers: Labelled,
    steps: [Histogram; Step::ALL.len()],
    captures: Labelled,
    camera_steps: [Histogram; CameraStep::ALL.len()],
    bytes_fetched: AtomicU64,
    cache_hits: AtomicU64,
    cache_misses: AtomicU64,
    decoders: Labelled,
    software_fallbacks: AtomicU64,
    read_backs: Labelled,
    tokens_prompt: AtomicU64,
    tokens_completion: AtomicU64,
    watchdog_pings: AtomicU64,
    watchdog_withheld: AtomicU64,
}

impl Metrics {
    /// An answer has been given at the HTTPS door.
    pub fn answered(&self, status: u16) {
        let place = STATUSES.iter().position(|known| *known == status).unwrap_or(STATUSES.len() - 1);
        add(&self.answers[place], 1);
    }

    /// A connection has been taken.
    pub fn connected(&self) {
        add(&self.connections, 1);
    }

    /// A connection has been refused for want of a place.
    pub fn turned_away(&self) {
        add(&self.connections_refused, 1);
    }

    /// A TLS handshake did not come about.
    pub fn handshake_failed(&self) {
        add(&self.handshakes_failed, 1);
    }

    /// A trigger ended: `outcome` as in `saved`, `kept`, `queued` or the kind of failure; `kind` of media as in `video`.
    pub fn trigger(&self, outcome: &str, kind: &str) {
        self.triggers.add(&[("outcome", outcome), ("kind", kind)]);
    }

    /// A step of a trigger took this long.
    pub fn step(&self, step: Step, took: Duration) {
        self.steps[step as usize].observe(took);
    }

    /// A camera gave a picture (`taken`), or none: `outcome` says why, in a word.
    pub fn capture(&self, camera: &str, outcome: &str) {
        self.captures.add(&[("camera", camera), ("outcome", outcome)]);
    }

    /// A part of a picture took this long.
    pub fn camera_step(&self, step: CameraStep, took: Duration) {
        self.camera_steps[step as usize].observe(took);
    }

    /// Media bytes came over the network.
    pub fn fetched(&self, bytes: u64) {
        add(&self.bytes_fetched, bytes);
    }

    /// Media bytes were, or were not, in the cache.
    pub fn cache(&self, hit: bool) {
        add(if hit { &self.cache_hits } else { &self.cache_misses }, 1);
    }

    /// A frame was decoded; `fell_back` if hardware was wanted and software did it.
    pub fn decoded(&self, decoder: &str, fell_back: bool) {
        self.decoders.add(&[("decoder", decoder)]);
        add(&self.software_fallbacks, u64::from(fell_back));
    }

    /// A row was read back after a slow save: `same`, `restored`, `changed` or `unread`.
    pub fn read_back(&self, outcome: &str) {
        self.read_backs.add(&[("outcome", outcome)]);
    }

    /// The model counted tokens.
    pub fn tokens(&self, prompt: u64, completion: u64) {
        add(&self.tokens_prompt, prompt);
        add(&self.tokens_completion, completion);
    }

    /// The watchdog was pinged, or the ping was withheld because something does not move.
    pub fn watchdog(&self, pinged: bool) {
        add(if pinged { &self.watchdog_pings } else { &self.watchdog_withheld }, 1);
    }

    /// Everything in Prometheus' text form, version 0.0.4.
    pub fn render(&self, now: &Readings) -> String {
        let mut page = Page(String::with_capacity(8192));
        page.head("edgelabel_http_answers_total", "counter", "Answers at the HTTPS door by status.");
        for (status, count) in STATUSES.iter().zip(&self.answers) {
            let status = if *status == 0 { "other".to_owned() } else { status.to_string() };
            page.line("edgelabel_http_answers_total", &format!("status=\"{status}\""), get(count));
        }
        page.counter("edgelabel_connections_total", "Connections taken at the HTTPS door.", &self.connections);
        page.counter("edgelabel_connections_refused_total", "Connections refused for want of a place.", &self.connections_refused);
        page.counter("edgelabel_handshakes_failed_total", "TLS handshakes that did not come about.", &self.handshakes_failed);
        page.labelled("edgelabel_triggers_total", "Triggers by outcome and kind of media.", &self.triggers);
        page.head("edgelabel_step_seconds", "histogram", "Time of the steps of a trigger.");
        for step in Step::ALL {
            self.steps[step as usize].render(&mut page, "edgelabel_step_seconds", step.name());
        }
        page.labelled("edgelabel_camera_pictures_total", "Pictures asked of cameras, by camera and what came of it.", &self.captures);
        page.head("edgelabel_camera_step_seconds", "histogram", "Time of the parts of taking a picture.");
        for step in CameraStep::ALL {
            self.camera_steps[step as usize].render(&mut page, "edgelabel_camera_step_seconds", step.name());
        }
        page.counter("edgelabel_media_bytes_total", "Media bytes fetched over the network.", &self.bytes_fetched);
        page.counter("edgelabel_cache_hits_total", "Media reads answered by the cache.", &self.cache_hits);
        page.counter("edgelabel_cache_misses_total", "Media reads that needed the network.", &self.cache_misses);
        page.labelled("edgelabel_frames_decoded_total", "Frames by decoder.", &self.decoders);
        page.counter(
            "edgelabel_software_fallbacks_total",
            "Frames decoded in software though hardware was wanted.",
            &self.software_fallbacks,
        );
        page.labelled("edgelabel_read_backs_total", "Rows read back after a slow save, by what they held.", &self.read_backs);
        page.head("edgelabel_model_tokens_total", "counter", "Tokens as counted by the model endpoint.");
        page.line("edgelabel_model_tokens_total", "direction=\"prompt\"", get(&self.tokens_prompt));
        page.line("edgelabel_model_tokens_total", "direction=\"completion\"", get(&self.tokens_completion));
        page.counter("edgelabel_watchdog_pings_total", "Watchdog pings sent.", &self.watchdog_pings);
        page.counter(
            "edgelabel_watchdog_withheld_total",
            "Watchdog pings withheld because something does not move.",
            &self.watchdog_withheld,
        );
        now.render(&mut page);
        process_figures(&mut page);
        page.0
    }
}

impl Readings {
    fn render(&self, page: &mut Page) {
        page.gauge("edgelabel_triggers_running", "Triggers that run.", self.triggers_running);
        page.gauge("edgelabel_triggers_waiting", "Triggers that wait for a thread.", self.triggers_waiting);
        page.gauge("edgelabel_triggers_overdue", "Triggers past their deadline.", self.triggers_overdue);
        page.gauge("edgelabel_journal_waiting", "Answers that wait to be saved.", self.journal_waiting);
        page.gauge("edgelabel_journal_refused", "Answers that Encord refused.", self.journal_refused);
        page.gauge("edgelabel_journal_oldest_seconds", "Age of the oldest waiting answer.", self.journal_oldest_seconds);
        page.gauge("edgelabel_pictures_waiting", "Pictures of cameras that wait to be delivered.", self.pictures_waiting);
        page.gauge("edgelabel_pictures_refused", "Pictures of cameras that Encord refused.", self.pictures_refused);
        page.gauge("edgelabel_pictures_oldest_seconds", "Age of the oldest waiting picture.", self.pictures_oldest_seconds);
        page.gauge("edgelabel_pictures_unlabelled", "Delivered pictures that wait for their label.", self.pictures_unlabelled);
        page.gauge("edgelabel_cache_bytes", "Bytes in the media cache.", self.cache_bytes);
        page.head("edgelabel_upstream_requests_total", "counter", "Requests to others by party and HTTP status.");
        for (party, statuses) in &self.upstream {
            for (status, count) in statuses {
                let status = if *status == 0 { "none".to_owned() } else { status.to_string() };
                page.line("edgelabel_upstream_requests_total", &format!("party=\"{party}\",status=\"{status}\""), count);
            }
        }
        page.head("edgelabel_encord_calls_total", "counter", "Calls to Encord by what they are for and how they ended.");
        for (call, outcome, count) in self.encord_calls.iter().filter(|(.., count)| *count > 0) {
            page.line("edgelabel_encord_calls_total", &format!("call=\"{call}\",outcome=\"{outcome}\""), count);
        }
        page.gauge("edgelabel_connections", "Open connections at the HTTPS door.", self.connections);
        page.gauge("edgelabel_certificate_not_after_seconds", "End of the certificate, in seconds since 1970.", self.certificate_not_after);
        page.gauge("edgelabel_certificate_days_left", "Days until the certificate ends.", days_until(self.certificate_not_after));
        if let Some(end) = self.authority_not_after {
            page.gauge("edgelabel_ca_not_after_seconds", "End of the box's own certificate authority, in seconds since 1970.", end);
            page.gauge("edgelabel_ca_days_left", "Days until the box's own certificate authority ends.", days_until(end));
        }
        page.gauge("edgelabel_certificate_broken", "1 if the files on disk cannot be used.", u8::from(self.certificate_broken));
        page.head("edgelabel_dependency_up", "gauge", "1 if a dependency is well, 0 if it is degraded.");
        for (name, well) in &self.dependencies {
            page.line("edgelabel_dependency_up", &format!("name=\"{}\"", plain(name)), u8::from(*well));
        }
        models::render(&self.models, page);
        cameras::render(&self.cameras, page);
        page.head("edgelabel_build_info", "gauge", "The version that runs.");
        page.line("edgelabel_build_info", &format!("version=\"{}\"", env!("CARGO_PKG_VERSION")), 1);
    }
}

/// In hundredths of a day.
fn days_until(end: i64) -> f64 {
    let left = (end as f64 - unix_seconds()) / 86_400.0;
    (left * 100.0).round() / 100.0
}

/// Counters by label; beyond a bound everything new is counted under one line.
#[derive(Debug, Default)]
struct Labelled(Mutex<BTreeMap<String, u64>>);

impl Labelled {
    const MOST: usize = 96;

    fn add(&self, labels: &[(&str, &str)]) {
        let write = |value: &dyn Fn(&str) -> String| {
            labels.iter().map(|(name, text)| format!("{name}=\"{}\"", value(text))).collect::<Vec<_>>().join(",")
        };
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = write(&plain);
        if counts.len() >= Self::MOST && !counts.contains_key(&key) {
            key = write(&|_| "other".to_owned());
        }
        *counts.entry(key).or_default() += 1;
    }
}

/// A label's value without anything that would need escaping.
pub(super) fn plain(text: &str) -> String {
    text.chars().take(40).map(|c| if c.is_ascii_alphanumeric() || "_-.:/ ".contains(c) { c } else { '_' }).collect()
}

#[derive(Debug, Default)]
struct Histogram {
    buckets: [AtomicU64; BUCKETS.len()],
    count: AtomicU64,
    microseconds: AtomicU64,
}

impl Histogram {
    fn observe(&self, took: Duration) {
        if let Some(bucket) = BUCKETS.iter().position(|bound| took.as_secs_f64() <= *bound) {
            add(&self.buckets[bucket], 1);
        }
        add(&self.count, 1);
        add(&self.microseconds, u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    fn render(&self, page: &mut Page, name: &str, step: &str) {
        let mut below = 0;
        for (bound, count) in BUCKETS.iter().zip(&self.buckets) {
            below += get(count);
            page.line(&format!("{name}_bucket"), &format!("step=\"{step}\",le=\"{bound}\""), below);
        }
        // A concurrent observation may already be in a bucket and not yet in the count.
        let count = get(&self.count).max(below);
        page.line(&format!("{name}_bucket"), &format!("step=\"{step}\",le=\"+Inf\""), count);
        page.line(&format!("{name}_sum"), &format!("step=\"{step}\""), get(&self.microseconds) as f64 / 1e6);
        page.line(&format!("{name}_count"), &format!("step=\"{step}\""), count);
    }
}

pub(super) struct Page(String);

impl Page {
    pub(super) fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    pub(super) fn line(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.0, "{name}{{{labels}}} {value}");
    }

    fn counter(&mut self, name: &str, help: &str, value: &AtomicU64) {
        self.head(name, "counter", help);
        let _ = writeln!(self.0, "{name} {}", get(value));
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl std::fmt::Display) {
        self.head(name, "gauge", help);
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn labelled(&mut self, name: &str, help: &str, counts: &Labelled) {
        self.head(name, "counter", help);
        for (labels, count) in counts.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            self.line(name, labels, count);
        }
    }
}

/// Memory, descriptors and processor time of this process, under the names that every exporter uses.
fn process_figures(page: &mut Page) {
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        let kilobytes = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)?.trim().split(' ').next()?.parse::<u64>().ok());
        if let Some(resident) = kilobytes("VmRSS:") {
            page.gauge("process_resident_memory_bytes", "Resident memory.", resident * 1024);
        }
        if let Some(threads) = kilobytes("Threads:") {
            page.gauge("process_threads", "Threads.", threads);
        }
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        page.gauge("process_open_fds", "Open descriptors.", open.count());
    }
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    page.head("process_cpu_seconds_total", "counter", "Processor time of user and system.");
    let _ = writeln!(page.0, "process_cpu_seconds_total {:.2}", used.tv_sec as f64 + used.tv_nsec as f64 / 1e9);
}

fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_rendered() {
        let metrics = Metrics::default();
        metrics.answered(200);
        metrics.answered(418);
        metrics.trigger("saved", "video");
        metrics.trigger("saved", "video");
        metrics.step(Step::Model, Duration::from_millis(40));
        metrics.step(Step::Model, Duration::from_secs(90));
        metrics.tokens(900, 21);
        let page = metrics.render(&Readings {
            dependencies: vec![("encord".into(), false)],
            upstream: vec![("encord", BTreeMap::from([(0, 2), (503, 1)]))],
            encord_calls: vec![("save", "busy", 1), ("save", "ok", 0)],
            cameras: vec![CameraReading { name: "gate".into(), well: false, last_picture: Some(7) }],
            ..Readings::default()
        });
        for line in [
            "edgelabel_http_answers_total{status=\"200\"} 1",
            "edgelabel_http_answers_total{status=\"other\"} 1",
            "edgelabel_triggers_total{outcome=\"saved\",kind=\"video\"} 2",
            "edgelabel_step_seconds_bucket{step=\"model\",le=\"0.025\"} 0",
            "edgelabel_step_seconds_bucket{step=\"model\",le=\"0.05\"} 1",
            "edgelabel_step_seconds_bucket{step=\"model\",le=\"60\"} 1",
            "edgelabel_step_seconds_bucket{step=\"model\",le=\"+Inf\"} 2",
            "edgelabel_step_seconds_sum{step=\"model\"} 90.04",
            "edgelabel_upstream_requests_total{party=\"encord\",status=\"503\"} 1",
            "edgelabel_upstream_requests_total{party=\"encord\",status=\"none\"} 2",
            "edgelabel_encord_calls_total{call=\"save\",outcome=\"busy\"} 1",
            "edgelabel_model_tokens_total{direction=\"completion\"} 21",
            "edgelabel_dependency_up{name=\"encord\"} 0",
            "edgelabel_camera_up{camera=\"gate\"} 0",
            "edgelabel_camera_last_picture_seconds{camera=\"gate\"} 7",
        ] {
            assert!(page.lines().any(|rendered| rendered == line), "{line}\n{page}");
        }
        assert!(page.contains("process_resident_memory_bytes "));
    }

    #[test]
    fn labels_are_bounded_and_need_no_escaping() {
        let metrics = Metrics::default();
        metrics.decoded("a\"b\n", false);
        for number in 0..500 {
            metrics.decoded(&format!("decoder{number}"), true);
        }
        let page = metrics.render(&Readings::default());
        assert!(page.contains("edgelabel_frames_decoded_total{decoder=\"a_b_\"} 1"));
        assert!(page.contains("edgelabel_frames_decoded_total{decoder=\"other\"} "));
        assert!(page.lines().filter(|line| line.starts_with("edgelabel_frames_decoded_total")).count() <= 98);
    }
}
