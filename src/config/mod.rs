//! The configuration: read in layers, checked as a whole, handed to each part as that part's own `Settings`.
//!
//! Order of strength, weakest first: built-in defaults, `config.toml`, `conf.d/*.toml` in order of name, systemd
//! credentials, `EDGELABEL__SECTION__KEY`, and the variables that scripts around Encord's SDK already set.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ::config::{Map, Value, ValueKind};

use crate::ids::Secret;

pub mod file;
pub mod problem;
pub mod value;

mod check;
mod fuzz;
mod layer;
mod ready;
mod secret;
mod settings;
mod show;
mod strict;

pub use file::File;
#[doc(hidden)]
pub use fuzz::fuzz_config;
pub use layer::Env;
pub use problem::{Invalid, Problem};

/// Where the configuration is looked for when no other file is named.
pub const DEFAULT_PATH: &str = "/etc/edgelabel/config.toml";

/// A valid configuration. What it needs besides (key files, certificates) is read when a part's settings are asked for.
#[derive(Debug, Clone)]
pub struct Config {
    /// The main file, whether it exists or not.
    pub path: PathBuf,
    /// All keys, merged, with absolute paths.
    pub file: File,
    /// What is allowed but probably not meant.
    pub warnings: Vec<Problem>,
    /// Where each key that is not at its default was written.
    origins: BTreeMap<String, String>,
    /// Secrets that came as text in a variable instead of as a file, by the key of that file.
    inline: BTreeMap<&'static str, Secret>,
}

impl Config {
    /// Reads all layers. Without `path`, [`DEFAULT_PATH`] is read if it is there.
    ///
    /// # Errors
    /// Every unknown key, wrong type and wrong value in every layer, and every contradiction between keys.
    pub fn load(path: Option<&Path>, env: &Env) -> Result<Self, Invalid> {
        let mut problems = Vec::new();
        let mut warnings = Vec::new();
        let main = path.unwrap_or(Path::new(DEFAULT_PATH)).to_owned();
        let mut layers = files(&main, path.is_some(), &mut problems, &mut warnings);
        layers.push(layer::of_credentials(env));
        layers.push(layer::of_environment(env));
        let (seed, inline, inline_origins) = seed_variables(env, &mut warnings);
        layers.push(seed);

        let (mut file, mut origins) = merged(layers, &mut problems)?;
        origins.extend(inline_origins);
        complete(&mut file, &main, &origins);
        let mut config = Self { path: main, file, warnings, origins, inline };
        config.contradictions(&mut problems);
        Invalid::unless_none(problems)?;
        Ok(config)
    }

    /// Where `key` was written: `config.toml:12`, `environment NAME`, `credential NAME`, or `default`.
    pub fn origin(&self, key: &str) -> &str {
        self.origins.get(key).map_or("default", String::as_str)
    }

    fn problem(&self, key: &str, what: impl Into<String>) -> Problem {
        Problem::new(self.origins.get(key).cloned().unwrap_or_default(), key, what)
    }
}

/// One file out of all layers, the strongest last, and where each key was written. `problems` are those of reading the
/// layers' texts; when there are none, those of the whole are added.
fn merged(layers: Vec<layer::Layer>, problems: &mut Vec<Problem>) -> Result<(File, BTreeMap<String, String>), Invalid> {
    // Each layer on its own, so that a wrong value is an error also where a stronger layer hides it.
    for layer in &layers {
        strict::read::<File>(layer.0.clone(), problems);
    }
    Invalid::unless_none(std::mem::take(problems))?;

    let mut builder = ::config::Config::builder();
    for layer in layers {
        builder = builder.add_source(layer);
    }
    let merged = builder.build().map_err(|error| Problem::new("", "", error.to_string()))?.cache;
    let mut origins = BTreeMap::new();
    note_origins(&merged, "", &mut origins);
    Ok((strict::read(merged, problems), origins))
}

/// The main file and its drop-ins.
fn files(main: &Path, required: bool, problems: &mut Vec<Problem>, warnings: &mut Vec<Problem>) -> Vec<layer::Layer> {
    let mut paths = vec![main.to_owned()];
    match layer::drop_ins(main) {
        Ok(found) => paths.extend(found),
        Err(problem) => problems.push(problem),
    }
    let mut layers = Vec::new();
    for path in paths {
        let name = path.display().to_string();
        match std::fs::read_to_string(&path) {
            Ok(text) => layers.push(layer::of_text(&name, &text, problems)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && path == main && !required => {
                warnings.push(Problem::new(name, "", "there is no such file: built-in defaults and the environment are used"));
            }
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => problems.push(Problem::new(name, "", "is not UTF-8 text")),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                let what = "may not be read by this user: run this as the user of the service (sudo -u edgelabel edgelabel …)";
                problems.push(Problem::new(name, "", what));
            }
            Err(error) => problems.push(Problem::new(name, "", format!("cannot be read: {error}"))),
        }
    }
    layers
}

type Inline = BTreeMap<&'static str, Secret>;

/// The variables that set-ups around Encord's SDK already have. An empty one counts as not set.
fn seed_variables(env: &Env, warnings: &mut Vec<Problem>) -> (layer::Layer, Inline, Vec<(String, String)>) {
    let set = |name: &str| env.get(name).map(|text| text.trim()).filter(|text| !text.is_empty());
    let origin = |name: &str| format!("{}{name}", strict::ENVIRONMENT);
    let mut root: Value = Map::<String, Value>::new().into();
    let mut inline = Inline::new();
    let mut origins = Vec::new();

    for (name, path) in [("ENCORD_DOMAIN", ["encord", "domain"]), ("OPENAI_BASE_URL", ["model", "base_url"])] {
        if let Some(text) = set(name) {
            layer::put(&mut root, &path, &origin(name), text);
        }
    }
    let mut secrets = vec![("OPENAI_API_KEY", "model.api_key_file"), ("ENCORD_WEBHOOK_SECRET", "server.webhook_secret_file")];
    // As the SDK does, the file goes before the text; unlike it, a file that is not there gives way to the text.
    match (set("ENCORD_SSH_KEY_FILE").map(|text| in_home(text, env)), set("ENCORD_SSH_KEY")) {
        (Some(file), None) => layer::put(&mut root, &["encord", "ssh_key_file"], &origin("ENCORD_SSH_KEY_FILE"), &file),
        (Some(file), Some(_)) if Path::new(&file).exists() => {
            layer::put(&mut root, &["encord", "ssh_key_file"], &origin("ENCORD_SSH_KEY_FILE"), &file);
            warnings.push(Problem::new(
                origin("ENCORD_SSH_KEY"),
                "",
                "is ignored because ENCORD_SSH_KEY_FILE is set too: unset one of them",
            ));
        }
        (Some(_), Some(_)) => {
            secrets.push(("ENCORD_SSH_KEY", "encord.ssh_key_file"));
            let what = "names a file that does not exist, so ENCORD_SSH_KEY is used: unset one of them";
            warnings.push(Problem::new(origin("ENCORD_SSH_KEY_FILE"), "", what));
        }
        (None, Some(_)) => secrets.push(("ENCORD_SSH_KEY", "encord.ssh_key_file")),
        (None, None) => {}
    }
    for (name, key) in secrets {
        if let Some(text) = set(name) {
            inline.insert(key, Secret::new(text));
            origins.push((key.to_owned(), origin(name)));
        }
    }
    (layer::Layer(root), inline, origins)
}

/// `~/` as a shell would read it.
fn in_home(text: &str, env: &Env) -> String {
    match (text.strip_prefix("~/"), env.get("HOME")) {
        (Some(rest), Some(home)) => format!("{home}/{rest}"),
        _ => text.to_owned(),
    }
}

/// What the defaults leave open: an agent when none is written, what an agent for objects answers, and relative paths
/// that no file names.
fn complete(file: &mut File, main: &Path, origins: &BTreeMap<String, String>) {
    if file.agent.is_empty() {
        file.agent.insert("/".into(), file::Agent::default());
    }
    for (path, agent) in &mut file.agent {
        let written = origins.contains_key(&format!("agent.{}.classification", strict::shown(path)));
        if agent.target == file::Target::Objects && !written {
            agent.classification = vec!["*".into()];
        }
    }
    let directory = main.parent().unwrap_or(Path::new(""));
    for path in [&mut file.server.tls.certificate, &mut file.server.tls.private_key] {
        if path.get().is_some_and(Path::is_relative) {
            let whole = directory.join(&path.0);
            // Only a process without a working directory has no absolute paths.
            path.0 = std::path::absolute(&whole).unwrap_or(whole);
        }
    }
}

fn note_origins(value: &Value, key: &str, origins: &mut BTreeMap<String, String>) {
    if let ValueKind::Table(table) = &value.kind {
        for (name, child) in table {
            let name = strict::shown(name);
            let path = if key.is_empty() { name } else { format!("{key}.{name}") };
            note_origins(child, &path, origins);
        }
    } else if let Some(origin) = value.origin() {
        origins.insert(key.to_owned(), origin.to_owned());
    }
}
