//! What can be seen of a running daemon from outside: its admin address, its processes, its files.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::daemon::Daemon;

/// One look at the daemon's processes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weight {
    /// Resident memory of the daemon, in KiB.
    pub daemon_kib: u64,
    /// Resident memory of its children together, in KiB.
    pub children_kib: u64,
    /// Open descriptors of the daemon.
    pub descriptors: usize,
    /// Threads of the daemon.
    pub threads: usize,
    /// Its child processes.
    pub children: usize,
}

impl Daemon {
    fn admin(&self, path: &str) -> String {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(20))).build();
        let mut answer = agent.new_agent().get(self.admin_url(path)).call().unwrap_or_else(|error| panic!("{error}\n{}", self.log()));
        answer.body_mut().read_to_string().unwrap()
    }

    /// What `/ready` says.
    pub fn ready(&self) -> Value {
        serde_json::from_str(&self.admin("/ready")).unwrap()
    }

    /// The state of one dependency, and why it is in it.
    pub fn dependency(&self, name: &str) -> (String, String) {
        let found = &self.ready()["dependencies"][name];
        let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
        (text("status"), text("reason"))
    }

    /// What `/status.json` says.
    pub fn status(&self) -> Value {
        serde_json::from_str(&self.admin("/status.json")).unwrap()
    }

    /// The answers that wait to be saved.
    pub fn pending(&self) -> Vec<Value> {
        self.status()["pending"].as_array().unwrap().clone()
    }

    /// The sum of a metric over all its labels that contain `labels`.
    pub fn metric(&self, name: &str, labels: &str) -> f64 {
        let page = self.admin("/metrics");
        let lines = page.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
        lines.filter(|line| line.contains(labels)).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Waits until something is so.
    #[track_caller]
    pub fn wait_until(&self, what: &str, limit: Duration, mut done: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !done() {
            assert!(begun.elapsed() < limit, "{what} has not come about within {limit:?}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ids of its child processes.
    pub fn children(&self) -> Vec<u32> {
        children_of(self.id())
    }

    pub fn weight(&self) -> Weight {
        let children = self.children();
        let own = format!("/proc/{}", self.id());
        Weight {
            daemon_kib: resident_kib(self.id()),
            children_kib: children.iter().map(|child| resident_kib(*child)).sum(),
            descriptors: std::fs::read_dir(format!("{own}/fd")).map_or(0, Iterator::count),
            threads: std::fs::read_dir(format!("{own}/task")).map_or(0, Iterator::count),
            children: children.len(),
        }
    }
}

/// Whether a process is there and not merely waiting to be buried.
pub fn is_alive(process: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{process}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X'])))
}

fn children_of(process: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<u32>>()).collect()
}

fn resident_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0)
}
