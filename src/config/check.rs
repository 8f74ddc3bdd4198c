//! What single keys cannot know of each other.

use std::sync::mpsc;
use std::time::Duration;

use url::{Host, Url};

use super::file::{self, Target, WebhookSignature};
use super::problem::{Problem, nearest};
use super::{Config, strict};
use crate::http;

/// Between two pictures of a camera.
const LONGEST_INTERVAL: Duration = Duration::from_secs(30 * 24 * 3600);

impl Config {
    /// Adds contradictions between keys to `problems`, and doubtful ones to the warnings.
    pub(super) fn contradictions(&mut self, problems: &mut Vec<Problem>) {
        self.agents_name_models(problems);
        self.cameras_name_devices(problems);
        self.models_are_usable(problems);
        self.plain_http_stays_private(problems);
        let server = &self.file.server;
        let secret = "server.webhook_secret_file";
        if server.webhook_signature == WebhookSignature::Required
            && server.webhook_secret_file.get().is_none()
            && !self.inline.contains_key(secret)
        {
            let what = format!("every request would be refused: no secret is set; set {secret} or the variable ENCORD_WEBHOOK_SECRET");
            problems.push(self.problem("server.webhook_signature", what));
        }
        for (key, empty) in [("server.listen", server.listen.is_empty()), ("server.allowed_origins", server.allowed_origins.is_empty())] {
            if empty {
                problems.push(self.problem(key, "must name at least one"));
            }
        }
        for (key, path) in [
            ("media.cache_dir", &self.file.media.cache_dir),
            ("journal.path", &self.file.journal.path),
            ("server.tls.certificate", &server.tls.certificate),
            ("server.tls.private_key", &server.tls.private_key),
        ] {
            if path.get().is_none() {
                problems.push(self.problem(key, "must not be empty"));
            }
        }
    }

    fn agents_name_models(&self, problems: &mut Vec<Problem>) {
        for (path, agent) in &self.file.agent {
            let key = |name: &str| format!("agent.{}.{name}", strict::shown(path));
            if let Some(what) = self.unknown_model(&agent.model) {
                problems.push(self.problem(&key("model"), what));
            }
            let blank = agent.classification.iter().any(|title| title.trim().is_empty());
            if agent.classification.is_empty() || blank {
                let what = "must name what to answer: titles or feature node hashes of classifications, or [\"*\"] for all";
                problems.push(self.problem(&key("classification"), what));
            }
        }
    }

    fn cameras_name_devices(&self, problems: &mut Vec<Problem>) {
        for (name, camera) in &self.file.camera {
            let key = |last: &str| format!("camera.{}.{last}", strict::shown(name));
            if camera.name.0.is_empty() {
                problems.push(self.problem(&format!("camera.{}", strict::shown(name)), "needs a name, such as name = \"gate\""));
            }
            if camera.device.trim().is_empty() {
                let what =
                    "must name the camera's device, such as \"/dev/v4l/by-id/usb-…\": `edgelabel capture` lists those that are there";
                problems.push(self.problem(&key("device"), what));
            }
            for (one, other, lacks) in [
                ("folder", "dataset", camera.folder.0.is_some() && camera.dataset.0.is_none()),
                ("dataset", "folder", camera.dataset.0.is_some() && camera.folder.0.is_none()),
            ] {
                if lacks {
                    problems.push(self.problem(
                        &key(one),
                        format!("needs {other} as well: pictures go to a storage folder, and from there into a dataset"),
                    ));
                }
            }
            if camera.timeout.0 > Duration::from_secs(600) {
                problems.push(self.problem(&key("timeout"), "must be at most 10m"));
            }
            if camera.settle.0 >= camera.timeout.0 {
                let what = format!("{} must be shorter than the camera's timeout ({})", camera.settle, camera.timeout);
                problems.push(self.problem(&key("settle"), what));
            }
            let interval = camera.interval.0.map(|interval| interval.0);
            if interval.is_some_and(|interval| !(Duration::from_secs(1)..=LONGEST_INTERVAL).contains(&interval)) {
                problems.push(self.problem(&key("interval"), "must be from 1s to 30d, or \"\" for pictures on demand only"));
            }
            if interval.is_some() && camera.folder.0.is_none() && camera.dataset.0.is_none() {
                let what = "needs folder and dataset: pictures that are taken at an interval go to Encord";
                problems.push(self.problem(&key("interval"), what));
            }
            self.camera_is_labelled(camera, &key, problems);
        }
    }

    fn camera_is_labelled(&self, camera: &file::Camera, key: &dyn Fn(&str) -> String, problems: &mut Vec<Problem>) {
        let (agent, project) = match (&camera.agent.0, &camera.project.0) {
            (None, None) => return,
            (Some(agent), Some(project)) => (agent, project),
            (Some(_), None) => {
                let what = "needs project as well: the project, with the camera's dataset, whose label rows the agent answers in";
                return problems.push(self.problem(&key("agent"), what));
            }
            (None, Some(_)) => {
                let what = "needs agent as well: the path of the [[agent]] that answers for the camera's pictures";
                return problems.push(self.problem(&key("project"), what));
            }
        };
        if camera.folder.0.is_none() && camera.dataset.0.is_none() {
            problems.push(self.problem(&key("agent"), "needs folder and dataset: a picture is labelled at Encord"));
        }
        match self.file.agent.get(&agent.0) {
            None => {
                let hint = match nearest(&agent.0, self.file.agent.keys().map(String::as_str)) {
                    Some(known) => format!("; did you mean {known:?}?"),
                    None => ": write an [[agent]] with this path, or name another".to_owned(),
                };
                problems.push(self.problem(&key("agent"), format!("there is no agent {:?}{hint}", agent.0)));
            }
            Some(found) if found.target == Target::Objects => {
                let what = format!(
                    "agent {:?} answers for selected objects, and a new picture has none: name one with target = \"frame\"",
                    agent.0
                );
                problems.push(self.problem(&key("agent"), what));
            }
            Some(_) => {}
        }
        let allowed = &self.file.server.allowed_projects;
        if !allowed.is_empty() && !allowed.contains(project) {
            problems
                .push(self.problem(&key("project"), format!("{project} is not in server.allowed_projects: add it there, or name another")));
        }
    }

    fn models_are_usable(&mut self, problems: &mut Vec<Problem>) {
        let mut warnings = Vec::new();
        for (table, model) in self.all_models() {
            let key = |name: &str| format!("{}.{name}", Self::model_key(table));
            if model.name.trim().is_empty() {
                problems.push(self.problem(&key("name"), "must not be empty"));
            }
            if !model.api_key_header.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
                problems.push(self.problem(&key("api_key_header"), "is not a header's name, such as \"api-key\""));
            }
            for name in &model.fallback {
                let itself = (name == table).then(|| "names itself".to_owned());
                if let Some(what) = itself.or_else(|| self.unknown_model(name)) {
                    problems.push(self.problem(&key("fallback"), what));
                }
            }
            let budget = self.file.server.request_budget;
            if model.timeout.0 > budget.0 {
                let what = format!("{} is longer than server.request_budget ({budget}), which cuts it", model.timeout);
                warnings.push(self.problem(&key("timeout"), what));
            }
        }
        self.warnings.extend(warnings);
    }

    /// Why `name` is no model; nothing for `[model]` and for tables that exist.
    fn unknown_model(&self, name: &str) -> Option<String> {
        if name.is_empty() || self.file.models.contains_key(name) {
            return None;
        }
        let hint = match nearest(name, self.file.models.keys().map(String::as_str)) {
            Some(known) => format!("; did you mean {known:?}?"),
            None => format!(": write a table [models.{}], or leave it empty for [model]", strict::shown(name)),
        };
        Some(format!("there is no model {name:?}{hint}"))
    }

    fn plain_http_stays_private(&mut self, problems: &mut Vec<Problem>) {
        let mut addresses = vec![("encord.domain".to_owned(), &self.file.encord.domain)];
        for (table, model) in self.all_models() {
            addresses.push((format!("{}.base_url", Self::model_key(table)), &model.base_url));
        }
        let mut warnings = Vec::new();
        for (key, address) in addresses {
            let Some(url) = address.url().filter(|url| url.scheme() == "http") else { continue };
            let host = url.host_str().unwrap_or_default().to_owned();
            match leads_to(&url) {
                Reach::Private => {}
                Reach::Public => {
                    let what = format!("plain http:// is for loopback and private addresses only, and {host} is public: write https://");
                    problems.push(self.problem(&key, what));
                }
                // A box may start before its network: this must not end in an error that systemd does not retry.
                Reach::Unknown => {
                    let what = format!("{host} does not resolve now; it will be called only if its address is loopback or private");
                    warnings.push(self.problem(&key, what));
                }
            }
        }
        self.warnings.extend(warnings);
    }
}

enum Reach {
    Private,
    Public,
    Unknown,
}

/// Where plain HTTP to `url` would go. A name is looked up, for three seconds at most.
fn leads_to(url: &Url) -> Reach {
    let settled = |private: bool| if private { Reach::Private } else { Reach::Public };
    let Some(Host::Domain(name)) = url.host() else { return settled(http::is_private(url)) };
    if name == "localhost" {
        return Reach::Private;
    }
    let (sender, receiver) = mpsc::channel();
    let (name, asked) = (name.to_owned(), url.clone());
    let resolve = move || {
        use std::net::ToSocketAddrs;
        let found = (name.as_str(), 80).to_socket_addrs().is_ok_and(|mut found| found.next().is_some());
        // The receiver may have given up.
        let _ = sender.send(found.then(|| http::is_private(&asked)));
    };
    if std::thread::Builder::new().name("resolve".into()).spawn(resolve).is_err() {
        return Reach::Unknown;
    }
    match receiver.recv_timeout(Duration::from_secs(3)) {
        Ok(Some(private)) => settled(private),
        _ => Reach::Unknown,
    }
}
