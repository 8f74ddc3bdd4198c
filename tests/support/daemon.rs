//! The real daemon as a child process, with a certificate of its own, against emulators; and a client that talks to
//! it over HTTPS as the label editor does.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::backend::Backend;
use super::fixture::ThrowAwayKey;
use super::model::StandIn;

pub const ORIGIN: &str = "https://app.encord.com";

/// A configuration to be written: keys by section, then agents; and the program that is to read it.
pub struct Setup {
    program: PathBuf,
    sections: BTreeMap<&'static str, BTreeMap<&'static str, String>>,
    agents: Vec<String>,
    environment: Vec<(&'static str, String)>,
    /// A line of `sh` after which the program is started, in the same process.
    wrapper: Option<String>,
    /// Whether it has mounts of its own, as root of a user namespace.
    own_mounts: bool,
    folder: PathBuf,
    port: u16,
    admin: u16,
    _temporary: Option<TempDir>,
}

/// A port that nobody else takes: below those that the kernel gives to outgoing connections and to port 0, and no two
/// calls of a process get the same.
pub fn free_port() -> u16 {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    loop {
        let place = std::process::id().wrapping_mul(97).wrapping_add(CALLS.fetch_add(1, Ordering::Relaxed));
        let port = 10_000 + (place % 20_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Writes a file that only its owner may read, as the daemon wants its secrets.
pub fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

impl Setup {
    /// In a folder that goes away with it. Points at the emulators; answers nothing until an agent is added.
    pub fn new(program: impl Into<PathBuf>, backend: &Backend, key: &ThrowAwayKey, model: &StandIn) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().to_owned();
        Self { _temporary: Some(temporary), ..Self::within(folder, program, backend, key, model) }
    }

    /// As `new`, in a folder that is there and stays.
    pub fn within(folder: PathBuf, program: impl Into<PathBuf>, backend: &Backend, key: &ThrowAwayKey, model: &StandIn) -> Self {
        write_private(&folder.join("encord_key"), &key.private_text);
        write_private(&folder.join("model_key"), "sk-secret-of-the-model\n");
        let (port, admin) = (free_port(), free_port());
        let program = program.into();
        let (sections, agents, environment) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self { program, sections, agents, environment, wrapper: None, own_mounts: false, folder, port, admin, _temporary: None }
            .set("server", "listen", format!("[\"127.0.0.1:{port}\"]"))
            .set("server.tls", "certificate", "\"certs/server.pem\"")
            .set("server.tls", "private_key", "\"certs/server.key\"")
            .set("admin", "listen", format!("\"127.0.0.1:{admin}\""))
            .set("encord", "domain", format!("\"{}\"", backend.url()))
            .set("encord", "ssh_key_file", "\"encord_key\"")
            .set("model", "base_url", format!("\"{}\"", model.url()))
            .set("model", "name", "\"stand-in\"")
            .set("model", "api_key_file", "\"model_key\"")
            .set("media", "cache_dir", "\"cache\"")
            .set("journal", "path", "\"journal.db\"")
    }

    /// Sets a key to a TOML value.
    pub fn set(mut self, section: &'static str, key: &'static str, value: impl Into<String>) -> Self {
        self.sections.entry(section).or_default().insert(key, value.into());
        self
    }

    /// Leaves a key to its default.
    pub fn unset(mut self, section: &'static str, key: &'static str) -> Self {
        self.sections.entry(section).or_default().remove(key);
        self
    }

    /// Sets a variable of the program's environment.
    pub fn environment(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// Starts the daemon after this line of shell, in the same process.
    pub fn after_shell(mut self, line: impl Into<String>) -> Self {
        self.wrapper = Some(line.into());
        self
    }

    /// As `after_shell`, where what the line mounts is seen by this daemon only.
    pub fn after_mounts(self, line: impl Into<String>) -> Self {
        Self { own_mounts: true, ..self.after_shell(line) }
    }

    /// Adds an agent: its path, the classification's title, and further lines of TOML.
    pub fn agent(mut self, path: &str, title: &str, more: &str) -> Self {
        self.agents.push(format!("[[agent]]\npath = \"{path}\"\nclassification = [\"{title}\"]\n{more}\n"));
        self
    }

    /// Adds lines of TOML as they are.
    pub fn text(mut self, lines: &str) -> Self {
        self.agents.push(lines.to_owned());
        self
    }

    pub fn config_file(&self) -> PathBuf {
        self.folder.join("config.toml")
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes the configuration; may be done again to change it under a running daemon.
    pub fn write(&self) {
        let mut text = String::new();
        for (section, keys) in &self.sections {
            text.push_str(&format!("[{section}]\n"));
            for (key, value) in keys {
                text.push_str(&format!("{key} = {value}\n"));
            }
        }
        text.push_str(&self.agents.join("\n"));
        std::fs::write(self.config_file(), text).unwrap();
    }

    /// Has the program make its own authority and a certificate for this machine.
    pub fn make_certificate(&self) {
        let mut make = self.command(&["cert", "init", "--name", "localhost", "--ip", "127.0.0.1", "--config"]);
        let made = make.arg(self.config_file()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    /// Writes the configuration, makes the certificate and starts the daemon; returns when it takes triggers.
    pub fn start(self) -> Daemon {
        self.write();
        self.make_certificate();
        let daemon = self.launch();
        daemon.wait_ready();
        daemon
    }

    /// Only starts the daemon.
    pub fn launch(self) -> Daemon {
        Daemon { child: self.spawn(), setup: self, started: Instant::now(), authority: OnceLock::new() }
    }

    /// The program with an environment that tells it nothing.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments);
        self.forget_environment(&mut command);
        command
    }

    fn forget_environment(&self, command: &mut Command) {
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            let prefixes = ["EDGELABEL_", "ENCORD_", "OPENAI_", "NOTIFY_", "WATCHDOG_", "LISTEN_", "JOURNAL_", "CREDENTIALS_"];
            if prefixes.iter().any(|prefix| text.starts_with(prefix)) {
                command.env_remove(&name);
            }
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
    }

    pub fn log_file(&self) -> PathBuf {
        self.folder.join("daemon.log")
    }

    fn spawn(&self) -> Child {
        let log = std::fs::File::options().create(true).append(true).open(self.log_file()).unwrap();
        let mut run = match &self.wrapper {
            None => self.command(&["run", "--config"]),
            Some(line) => {
                let mut shell = Command::new(if self.own_mounts { "unshare" } else { "/bin/sh" });
                if self.own_mounts {
                    shell.args(["--user", "--map-root-user", "--mount", "/bin/sh"]);
                }
                shell.arg("-c").arg(format!("{line}; exec \"$0\" \"$@\"")).arg(&self.program).args(["run", "--config"]);
                self.forget_environment(&mut shell);
                shell
            }
        };
        run.arg(self.config_file()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap()
    }
}

/// A running daemon; killed when dropped.
pub struct Daemon {
    child: Child,
    pub setup: Setup,
    started: Instant,
    authority: OnceLock<String>,
}

/// An answer to a request.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: String,
    pub took: Duration,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// The message for the person in the label editor. Every answer that has one keeps to its form.
    pub fn message(&self) -> String {
        let message = self.json()["message"].as_str().unwrap_or_else(|| panic!("no message: {self:?}")).to_owned();
        assert!(message.chars().count() <= 256, "{} characters: {message}", message.chars().count());
        let id = message.rsplit("request ").next().unwrap_or_default().to_owned();
        assert!(id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "no request id at the end: {message}");
        message
    }
}

impl Daemon {
    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.setup.port)
    }

    pub fn admin_url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.setup.admin)
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.setup.log_file()).unwrap_or_default()
    }

    /// Waits until triggers are taken; returns how long that took from the start of the process.
    pub fn wait_ready(&self) -> Duration {
        let agent =
            ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(2))).build().new_agent();
        while self.started.elapsed() < Duration::from_secs(60) {
            if agent.get(self.admin_url("/ready")).call().is_ok_and(|answer| answer.status() == 200) {
                return self.started.elapsed();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("not ready after 60 s:\n{}", self.log());
    }

    /// The box's own authority, as PEM.
    pub fn authority(&self) -> &str {
        self.authority.get_or_init(|| std::fs::read_to_string(self.setup.folder().join("certs/ca.pem")).unwrap())
    }

    /// A client that trusts the box's own authority and nobody else.
    pub fn client(&self) -> ureq::Agent {
        let authority = ureq::tls::Certificate::from_pem(self.authority().as_bytes()).unwrap();
        let tls = ureq::tls::TlsConfig::builder()
            .root_certs(ureq::tls::RootCerts::Specific(Arc::new(vec![authority])))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        ureq::Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(90)))
            .build()
            .new_agent()
    }

    /// A POST as the label editor makes it. Whatever comes back, a page of the label editor can read it.
    pub fn post(&self, path: &str, body: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.client().post(self.url(path)).header("origin", ORIGIN).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let begun = Instant::now();
        let mut answer = request.send(body).unwrap_or_else(|error| panic!("{error}\n{}", self.log()));
        let headers: BTreeMap<String, String> =
            answer.headers().iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned())).collect();
        assert_eq!(headers.get("access-control-allow-origin").map(String::as_str), Some(ORIGIN), "{headers:?}");
        let status = answer.status().as_u16();
        Answer { status, headers, body: answer.body_mut().read_to_string().unwrap(), took: begun.elapsed() }
    }

    /// A click on the agent at `path`.
    pub fn trigger(&self, path: &str, project: &str, data: &str, frame: u64) -> Answer {
        self.post(path, &json!({"projectHash": project, "dataHash": data, "frame": frame}).to_string(), &[])
    }

    /// Starts the program again, with the same files, after it has ended.
    pub fn restart(&mut self) {
        self.child = self.setup.spawn();
        self.started = Instant::now();
        self.wait_ready();
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, signal).unwrap();
    }

    pub fn port(&self) -> u16 {
        self.setup.port
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end of the process.
    pub fn wait_exit(&mut self, limit: Duration) -> ExitStatus {
        let begun = Instant::now();
        while begun.elapsed() < limit {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("still running after {limit:?}:\n{}", self.log());
    }

    /// Resident memory in KiB.
    pub fn resident_kib(&self) -> u64 {
        let mut status = String::new();
        std::fs::File::open(format!("/proc/{}/status", self.child.id())).unwrap().read_to_string(&mut status).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the daemon ---\n{}", self.log());
        }
    }
}
