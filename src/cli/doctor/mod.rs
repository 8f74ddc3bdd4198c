//! `edgelabel doctor`: tries out everything a trigger needs, and says how to mend what does not work.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::progress::Progress;
use super::{ConfigArgument, print};
use crate::config::Config;
use crate::ids::ProjectHash;

mod browser;
mod certificate;
mod decoders;
mod devices;
mod machine;
mod policies;
mod running;
mod upstream;

/// Tries out the box and everything it depends on, and says how to mend what does not work
///
/// Checks the configuration, the clock, disk space, the certificate, the port, the decoders (each is proven by decoding),
/// V4L2 devices, the sign-in at Encord and rights in projects and in cameras' folders and datasets, the model endpoints (pictures, JSON Schema; one small
/// question each, which costs a few tokens), and lists what the annotators' browsers need. Every line is ok, warning or
/// failed, with the remedy. Nothing is changed and nothing is saved at Encord.
///
/// Run it as the service's user, so that it sees what the service sees: sudo -u edgelabel edgelabel doctor
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 nothing failed, 1 something failed, 78 the configuration cannot be read.")]
pub(super) struct Arguments {
    /// Check the rights in this project too (as well as those in server.allowed_projects)
    #[arg(long, value_name = "HASH")]
    project: Vec<ProjectHash>,
    /// Leave out what calls Encord and the models
    #[arg(long)]
    offline: bool,
    /// Print {"checks":[{"name","status","detail","remedy"}],"failed","warnings"} on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgument,
}

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    Warning,
    Failed,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Check {
    name: String,
    status: Status,
    /// What was found.
    detail: String,
    /// What to do about it; empty when there is nothing to do.
    remedy: String,
}

impl Check {
    fn ok(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { name: name.into(), status: Status::Ok, detail: detail.into(), remedy: String::new() }
    }

    fn warning(name: impl Into<String>, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name: name.into(), status: Status::Warning, detail: detail.into(), remedy: remedy.into() }
    }

    fn failed(name: impl Into<String>, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name: name.into(), status: Status::Failed, detail: detail.into(), remedy: remedy.into() }
    }
}

/// A group of checks that runs beside the others, for so long at most.
struct Probe {
    name: &'static str,
    bound: Duration,
    run: Box<dyn FnOnce() -> Vec<Check> + Send>,
}

impl Probe {
    fn new(name: &'static str, seconds: u64, config: &Arc<Config>, run: impl FnOnce(&Config) -> Vec<Check> + Send + 'static) -> Self {
        let config = Arc::clone(config);
        Self { name, bound: Duration::from_secs(seconds), run: Box::new(move || run(&config)) }
    }
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut config = Config::load(arguments.config.config.as_deref(), &super::environment())?;
    let mut report = Report { json: arguments.json, checks: Vec::new() };
    report.add(machine::configuration(&mut config))?;
    let started: Vec<_> = probes(arguments, &Arc::new(config)).into_iter().map(start).collect();
    for probe in started {
        let progress = Progress::new(&format!("checking {}", probe.name));
        let checks = probe.finish();
        drop(progress);
        report.add(checks)?;
    }
    report.end()
}

/// All probes, in the order in which people read about them.
fn probes(arguments: &Arguments, config: &Arc<Config>) -> Vec<Probe> {
    let mut probes = vec![
        Probe::new("disk", 10, config, machine::disk),
        Probe::new("certificate", 10, config, certificate::check),
        Probe::new("port", 10, config, machine::ports),
        Probe::new("decoders", 110, config, decoders::check),
        // As long as for the decoders: to tell which elements there are, GStreamer scans its plugins.
        Probe::new("devices", 110, config, devices::check),
    ];
    if !arguments.offline {
        let mut projects = config.file.server.allowed_projects.clone();
        projects.extend(arguments.project.iter().cloned());
        projects.extend(config.cameras().iter().filter_map(|camera| Some(config.labelling(&camera.name)?.project)));
        projects.sort();
        projects.dedup();
        probes.push(Probe::new("clock", 15, config, upstream::clock));
        probes.push(Probe::new("Encord", 60, config, move |config| upstream::encord(config, &projects)));
        let patience = config.file.model.timeout.0.as_secs() + 20;
        probes.push(Probe::new("models", patience.max(60), config, upstream::models));
    }
    probes.push(Probe::new("browsers", 10, config, browser::check));
    probes
}

struct Started {
    name: &'static str,
    bound: Duration,
    begin: Instant,
    result: std::sync::mpsc::Receiver<Vec<Check>>,
}

fn start(probe: Probe) -> Started {
    let (sender, result) = channel();
    let work = move || {
        // Whoever asked may have given up.
        let _ = sender.send((probe.run)());
    };
    // A thread that cannot be made drops its sender, which is reported like a panic.
    drop(std::thread::Builder::new().name(format!("doctor {}", probe.name)).spawn(work));
    Started { name: probe.name, bound: probe.bound, begin: Instant::now(), result }
}

impl Started {
    fn finish(self) -> Vec<Check> {
        match self.result.recv_timeout(self.bound.saturating_sub(self.begin.elapsed())) {
            Ok(checks) => checks,
            Err(RecvTimeoutError::Timeout) => {
                let detail = format!("gave no result within {} s", self.bound.as_secs());
                vec![Check::failed(self.name, detail, "look for what hangs: a device, a file system, a name server")]
            }
            Err(RecvTimeoutError::Disconnected) => {
                vec![Check::failed(self.name, "the check itself broke off", "please report this with the lines above")]
            }
        }
    }
}

struct Report {
    json: bool,
    checks: Vec<Check>,
}

impl Report {
    fn add(&mut self, checks: Vec<Check>) -> std::io::Result<()> {
        if !self.json {
            checks.iter().try_for_each(|check| print(&line(check)))?;
        }
        self.checks.extend(checks);
        Ok(())
    }

    fn end(self) -> anyhow::Result<ExitCode> {
        let count = |status| self.checks.iter().filter(|check| check.status == status).count();
        let (failed, warnings) = (count(Status::Failed), count(Status::Warning));
        if self.json {
            let whole = serde_json::json!({ "checks": self.checks, "failed": failed, "warnings": warnings });
            print(&format!("{}\n", serde_json::to_string_pretty(&whole)?))?;
        } else {
            print(&format!("\n{} checks: {failed} failed, {warnings} with a warning\n", self.checks.len()))?;
        }
        Ok(ExitCode::from(if failed == 0 { 0 } else { 1 }))
    }
}

fn line(check: &Check) -> String {
    let status = match check.status {
        Status::Ok => "ok",
        Status::Warning => "warning",
        Status::Failed => "FAILED",
    };
    let indented = |text: &str| text.replace('\n', "\n            ");
    let mut text = format!("{status:<8} {}: {}\n", check.name, indented(&check.detail));
    if !check.remedy.is_empty() {
        text += &format!("         -> {}\n", indented(&check.remedy));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Arc<Config> {
        Arc::new(Config::load(None, &Default::default()).unwrap())
    }

    #[test]
    fn a_check_that_hangs_or_panics_fails_by_name_and_does_not_hold_the_others() {
        let hangs = Probe::new("hangs", 0, &config(), |_| {
            std::thread::sleep(Duration::from_secs(3));
            Vec::new()
        });
        let panics = Probe::new("panics", 5, &config(), |_| panic!("broken check"));
        let begin = Instant::now();
        let found: Vec<Check> = [hangs, panics].map(start).into_iter().flat_map(Started::finish).collect();
        assert!(begin.elapsed() < Duration::from_secs(2));
        assert_eq!(
            found.iter().map(|check| (check.name.as_str(), check.status)).collect::<Vec<_>>(),
            [("hangs", Status::Failed), ("panics", Status::Failed)]
        );
    }

    #[test]
    fn a_line_shows_status_detail_and_remedy() {
        assert_eq!(line(&Check::ok("clock", "right")), "ok       clock: right\n");
        assert_eq!(line(&Check::failed("disk", "full", "free some")), "FAILED   disk: full\n         -> free some\n");
    }
}
