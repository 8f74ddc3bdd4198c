//! The configuration from outside: real files, a passed environment, the real program.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use edgelabel::config::value::UpTo;
use edgelabel::config::{Config, Env, File};
use proptest::prelude::*;

struct Here {
    directory: tempfile::TempDir,
    env: Env,
}

impl Here {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), env: Env::new() }
    }

    fn with(config: &str) -> Self {
        let here = Self::new();
        here.write("config.toml", config);
        here
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    fn load(&self) -> Result<Config, String> {
        Config::load(Some(&self.path("config.toml")), &self.env).map_err(|invalid| invalid.to_string())
    }

    fn problems(&self) -> Vec<String> {
        let invalid = Config::load(Some(&self.path("config.toml")), &self.env).expect_err("the configuration is wrong");
        let prefix = format!("{}/", self.directory.path().display());
        invalid.problems.iter().map(|problem| problem.to_string().replace(&prefix, "")).collect()
    }
}

#[track_caller]
fn one_problem(config: &str, words: &[&str]) {
    let problems = Here::with(config).problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    for word in words {
        assert!(problems[0].contains(word), "{word:?} is not in {:?}", problems[0]);
    }
}

fn shipped() -> (String, PathBuf) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.toml");
    (std::fs::read_to_string(&path).unwrap(), path)
}

/// Every key of every table with its value, tables within tables by dotted names.
fn leaves(table: &toml::Table, at: &str, found: &mut BTreeMap<String, toml::Value>) {
    for (key, value) in table {
        let key = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
        match value {
            toml::Value::Table(inner) => leaves(inner, &key, found),
            toml::Value::Array(items) if items.first().is_some_and(toml::Value::is_table) => {
                leaves(items[0].as_table().unwrap(), &key, found);
            }
            other => drop(found.insert(key, other.clone())),
        }
    }
}

fn keys_of(text: &str) -> BTreeMap<String, toml::Value> {
    let mut found = BTreeMap::new();
    leaves(&text.parse().unwrap(), "", &mut found);
    found
}

#[test]
fn the_shipped_file_holds_the_built_in_defaults_key_by_key() {
    let (text, path) = shipped();
    let empty = Here::with("");
    let built_in = empty.load().unwrap();
    let shipped = Config::load(Some(&path), &Env::new()).unwrap();
    let directory = path.parent().unwrap().display().to_string();
    let mut from_file = keys_of(&shipped.effective());
    let from_defaults = keys_of(&built_in.effective());
    for name in ["server.tls.certificate", "server.tls.private_key"] {
        // Relative to the file that names them, which differs here.
        let beside_box = from_file[name].as_str().unwrap().replace(&directory, &empty.directory.path().display().to_string());
        from_file.insert(name.into(), beside_box.into());
    }
    assert_eq!(from_file, from_defaults);
    // And not because the keys are missing from it.
    let written: BTreeSet<String> = keys_of(&text).into_keys().collect();
    let known: BTreeSet<String> = from_defaults.into_keys().map(|key| key.replace("agent.\"/\".", "agent.")).collect();
    assert_eq!(written, known);
}

#[test]
fn keys_without_a_default_are_documented_and_valid_when_uncommented() {
    let (text, _) = shipped();
    let uncommented: Vec<&str> = text
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(key) if key.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => key,
            _ => line,
        })
        .collect();
    let config = Here::with(&uncommented.join("\n")).load().unwrap();
    assert_eq!(config.file.model.temperature, Some(UpTo(0.2)));
    assert_eq!(config.file.models["local"].name, "qwen2.5vl");
    let mut every = File::default();
    every.model.temperature = Some(UpTo(0.2));
    let every_key = keys_of(&toml::to_string(&every).unwrap());
    let documented = keys_of(&uncommented.join("\n"));
    for key in every_key.keys() {
        assert!(documented.contains_key(key), "{key} is not in config.toml");
    }
    // A camera's keys too, which stand in no table unless there is a camera, with their defaults.
    let defaults = keys_of(&toml::to_string(&edgelabel::config::file::Camera::default()).unwrap());
    for (key, default) in &defaults {
        let shown = documented.get(&format!("camera.{key}")).unwrap_or_else(|| panic!("camera.{key} is not in config.toml"));
        assert!(shown == default || matches!(key.as_str(), "name" | "device"), "camera.{key} is {default}, and {shown} in config.toml");
    }
}

#[test]
fn an_unknown_key_names_file_line_key_and_the_nearest_known_one() {
    one_problem(
        "\n[server]\nlisten = [\"0.0.0.0:1\"]\nrequest_bugdet = \"5s\"\n",
        &["config.toml:4: server.request_bugdet: unknown key", "request_budget"],
    );
    one_problem("[sever]\n", &["config.toml:1: sever: unknown key sever; the nearest known one is server"]);
    one_problem("[model]\napi_key = \"sk-secret\"\n", &["config.toml:2: model.api_key", "api_key_file"]);
    one_problem("[models.local]\nbase = \"x\"\n", &["config.toml:2: models.local.base", "base_url"]);
    one_problem("[[agent]]\npath = \"/cars\"\nexiting = \"keep\"\n", &["config.toml:3: agent.\"/cars\".exiting", "existing"]);
    assert!(!Here::with("[model]\napi_key = \"sk-secret\"\n").problems()[0].contains("sk-secret"));
}

#[test]
fn nothing_is_coerced() {
    one_problem(
        "[server]\nmax_concurrent_triggers = \"12\"",
        &["config.toml:2: server.max_concurrent_triggers", "whole number", "the text \"12\""],
    );
    one_problem("[server]\nmax_concurrent_triggers = 4.0", &["whole number"]);
    one_problem("[model]\nname = 5", &["model.name", "a text in quotes", "the number 5"]);
    one_problem("[server]\nlisten = \"0.0.0.0:8443\"", &["server.listen", "a list"]);
    one_problem("[server]\nrequest_budget = 55", &["a duration in quotes", "55s"]);
    one_problem("[log]\nlevel = true", &["log.level", "a log level in quotes"]);
    one_problem("journal = \"/x.db\"", &["config.toml:1: journal", "a table"]);
    one_problem("[encord]\nssh_key_file = 1979-05-27", &["encord.ssh_key_file"]);
    one_problem("[encord]\nssh_key_file = [\"a\"]", &["encord.ssh_key_file", "a text in quotes"]);
}

#[test]
fn wrong_values_say_what_would_be_right() {
    let (folder, dataset) = ("027e0c65-c53f-426d-9f02-04fafe8bd80e", "038ed92d-dbe8-4991-a3aa-6ede35d6e62d");
    let shelf = format!("folder = \"{folder}\"\ndataset = \"{dataset}\"");
    let too_often = format!("[[camera]]\nname = \"a\"\ndevice = \"x\"\n{shelf}\ninterval = \"100ms\"\n");
    let camera = format!("[[camera]]\nname = \"a\"\ndevice = \"x\"\n{shelf}\n");
    let (alone, idle) = (format!("{camera}agent = \"/\"\n"), format!("{camera}project = \"{folder}\"\n"));
    let homeless = format!("[[camera]]\nname = \"a\"\ndevice = \"x\"\nagent = \"/\"\nproject = \"{folder}\"\n[[agent]]\n");
    let labelled =
        |agent: &str, more: &str| format!("{camera}agent = \"{agent}\"\nproject = \"{folder}\"\n[[agent]]\npath = \"/cars\"\n{more}");
    let (lost, selected) = (labelled("/car", ""), labelled("/cars", "target = \"objects\"\n"));
    let barred = labelled("/cars", &format!("[server]\nallowed_projects = [\"{dataset}\"]\n"));
    for (config, words) in [
        ("[server]\nrequest_budget = \"0s\"", &["longer than zero"][..]),
        ("[server]\nrequest_budget = \"55\"", &["no unit", "55s"]),
        ("[server]\nrequest_budget = \"5 weeks\"", &["500ms, 55s, 2m"]),
        ("[server]\nlisten = [\n  \"0.0.0.0:1\",\n  \"8443\",\n]", &["config.toml:4: server.listen.1", "0.0.0.0:8443"]),
        ("[server]\nallowed_origins = [\"*\"]", &["every web page"]),
        ("[server]\nallowed_origins = [\"https://app.encord.com/\"]", &["write \"https://app.encord.com\""]),
        ("[server]\nallowed_projects = [\"abc\"]", &["server.allowed_projects.0", "abc"]),
        ("[server]\nallowed_clients = [\"10.0.0.0/64\"]", &["address range"]),
        ("[server]\nwebhook_signature = \"require\"", &["when-present", "did you mean \"required\""]),
        ("[server]\nwebhook_signature = \"required\"", &["ENCORD_WEBHOOK_SECRET"]),
        ("[server]\nlisten = []", &["at least one"]),
        ("[encord]\ndomain = \"api.encord.com\"", &["begins with https://"]),
        ("[encord]\ndomain = \"http://93.184.215.14\"", &["config.toml:2: encord.domain", "private addresses only"]),
        ("[model]\nbase_url = \"http://8.8.8.8/v1\"", &["model.base_url", "private addresses only"]),
        ("[model]\nmax_answer_tokens = 0", &["from 16"]),
        ("[model]\ntemperature = 3.5", &["from 0 to 2"]),
        ("[model]\nfallback = [\"locl\"]\n[models.local]\n", &["did you mean \"local\""]),
        ("[media]\ndecoder = \"cuda\"", &["\"auto\"", "\"nvdec\""]),
        ("[media]\njpeg_quality = 101", &["from 1 to 100", "101"]),
        ("[media]\ncache_bytes = \"1 parsec\"", &["1GiB"]),
        ("[media]\ncache_bytes = -1", &["media.cache_bytes"]),
        ("[[agent]]\npath = \"cars\"", &["must begin with /"]),
        ("[[agent]]\nconfidence = 1.5", &["from 0 to 1"]),
        ("[[agent]]\nclassification = []", &["must name what to answer"]),
        ("[[agent]]\nmodel = \"local\"", &["[models.local]"]),
        ("[[camera]]\nname = \"a\"\n", &["camera.a.device", "edgelabel capture"]),
        ("[[camera]]\nname = \"a b\"\ndevice = \"/dev/video0\"\n", &["config.toml:2", "no camera's name"]),
        ("[[camera]]\nname = \"a\"\ndevice = \"x\"\nsize = \"4k\"\n", &["config.toml:4: camera.a.size", "1920x1080"]),
        ("[[camera]]\nname = \"a\"\ndevice = \"x\"\nsettle = \"20s\"\n", &["config.toml:4: camera.a.settle", "shorter"]),
        ("[[camera]]\nname = \"a\"\ndevice = \"x\"\ninterval = \"10s\"\n", &["config.toml:4: camera.a.interval", "folder and dataset"]),
        (&alone, &["config.toml:6: camera.a.agent", "needs project"]),
        (&idle, &["config.toml:6: camera.a.project", "needs agent"]),
        (&homeless, &["config.toml:4: camera.a.agent", "needs folder and dataset"]),
        (&lost, &["config.toml:6: camera.a.agent", "no agent \"/car\"", "did you mean \"/cars\""]),
        (&selected, &["config.toml:6: camera.a.agent", "selected objects", "target = \"frame\""]),
        (&barred, &["camera.a.project", "server.allowed_projects"]),
        (&too_often, &["config.toml:6: camera.a.interval", "from 1s to 30d"]),
        ("[[agent]]\n[[agent]]\n", &["config.toml:2", "already taken by the agent at", "config.toml:1"]),
        ("[agent]\npath = \"/\"", &["[[agent]]"]),
        ("[log]\nlevel = \"infoo\"", &["config.toml:2: log.level", "no level"]),
        ("[server]\nmax_waiting_triggers = 99999999999999999999", &["too large"]),
    ] {
        one_problem(config, words);
    }
}

#[test]
fn all_problems_of_all_layers_are_reported_at_once() {
    let here = Here::with("[server]\nlisten = [\"nowhere\"]\nrequest_budget = 5\n\n[log]\nlevle = \"info\"\n")
        .set("EDGELABEL__MEDIA__WORKERS", "many");
    here.write("conf.d/10-model.toml", "[model]\nname = 7\n");
    let problems = here.problems();
    let places: Vec<&str> = problems.iter().map(|problem| problem.split(": ").next().unwrap()).collect();
    assert_eq!(places.len(), 5, "{problems:#?}");
    for place in ["config.toml:2", "config.toml:3", "config.toml:6", "conf.d/10-model.toml:2", "environment EDGELABEL__MEDIA__WORKERS"] {
        assert!(places.contains(&place), "{place}: {problems:#?}");
    }
}

#[test]
fn a_wrong_value_is_an_error_also_where_a_stronger_layer_hides_it() {
    let here = Here::with("[server]\nrequest_budget = \"soon\"\n").set("EDGELABEL__SERVER__REQUEST_BUDGET", "30s");
    assert!(here.problems()[0].starts_with("config.toml:2: server.request_budget"), "{:?}", here.problems());
}

#[test]
fn a_syntax_error_has_line_and_column_and_does_not_repeat_the_line() {
    let problems = Here::with("[model]\nname = \"a\"\napi_key_file = \"sk-secret\n").problems();
    assert!(problems[0].starts_with("config.toml:3:") && problems[0].contains("is not TOML"), "{problems:?}");
    assert!(!problems.join(" ").contains("sk-secret"), "{problems:?}");
    let problems = Here::with("[log]\nlevel = \"info\"\nlevel = \"warn\"\n").problems();
    assert!(problems[0].starts_with("config.toml:3:1: "), "{problems:?}");
}

#[test]
fn a_table_or_key_that_is_there_twice_is_named() {
    one_problem(
        "[model]\nname = \"a\"\n[model]\nbase_url = \"http://localhost/v1\"\n",
        &["config.toml:3:2: ", "has model a second time", "once"],
    );
    one_problem("[log]\nlevel = \"info\"\nlevel = \"warn\"\n", &["config.toml:3:1: ", "has level a second time"]);
}

#[test]
fn layers_win_in_the_order_of_strength() {
    let text = |name: &str| format!("[model]\nname = {name:?}\n");
    let here = Here::with(&text("main"));
    assert_eq!(here.load().unwrap().file.model.name, "main");
    here.write("conf.d/20-b.toml", &text("second"));
    here.write("conf.d/10-a.toml", &text("first"));
    here.write("conf.d/.hidden.toml", &text("hidden"));
    here.write("conf.d/99.toml.orig", &text("backup"));
    let config = here.load().unwrap();
    assert_eq!(config.file.model.name, "second");
    assert!(config.origin("model.name").ends_with("conf.d/20-b.toml:2"));
    let config = here.set("EDGELABEL__MODEL__NAME", "environment").load().unwrap();
    assert_eq!(config.file.model.name, "environment");
    assert_eq!(config.origin("model.name"), "environment EDGELABEL__MODEL__NAME");
    assert_eq!(config.origin("model.timeout"), "default");
}

#[test]
fn the_environment_is_read_by_the_type_of_its_key() {
    let config = Here::with("")
        .set("EDGELABEL__SERVER__LISTEN", "127.0.0.1:1, [::1]:2")
        .set("EDGELABEL__SERVER__ALLOWED_ORIGINS", "[\"https://a.example\", \"https://b.example\"]")
        .set("EDGELABEL__MEDIA__WORKERS", "3")
        .set("EDGELABEL__MEDIA__CACHE_BYTES", "1MiB")
        .set("EDGELABEL__MODEL__NAME", "007")
        .set("EDGELABEL__MODEL__TEMPERATURE", "0.5")
        .set("EDGELABEL__MODELS__LOCAL__BASE_URL", "http://127.0.0.1:1/v1")
        .set("EDGELABEL__AGENT__CLASSIFICATION", "Weather,Time of day")
        .load()
        .unwrap()
        .file;
    assert_eq!(config.server.listen.len(), 2);
    assert_eq!(config.server.allowed_origins[1].0, "https://b.example");
    assert_eq!((config.media.workers.0, config.media.cache_bytes.0), (3, 1 << 20));
    assert_eq!((config.model.name.as_str(), config.model.temperature), ("007", Some(UpTo(0.5))));
    assert_eq!(config.models["local"].base_url.0, "http://127.0.0.1:1/v1");
    assert_eq!(config.agent["/"].classification, ["Weather", "Time of day"]);
    let problems = Here::with("").set("EDGELABEL__SERVR__LISTEN", "x").problems();
    assert!(problems[0].starts_with("environment EDGELABEL__SERVR__LISTEN: servr: unknown key"), "{problems:?}");
}

#[test]
fn a_later_file_amends_the_agent_of_the_same_path_and_adds_others() {
    let here = Here::with("[[agent]]\nclassification = [\"A\"]\nprompt = \"short\"\n");
    here.write("conf.d/cars.toml", "[[agent]]\nreply = \"summary\"\n\n[[agent]]\npath = \"/cars\"\nclassification = [\"Cars\"]\n");
    let config = here.load().unwrap();
    let agents = config.agents();
    assert_eq!(agents.iter().map(|agent| agent.path.as_str()).collect::<Vec<_>>(), ["/", "/cars"]);
    assert_eq!(agents[0].classification, ["A"]);
    assert_eq!(agents[0].prompt, "short");
    assert_eq!(agents[0].reply, edgelabel::agent::ReplyStyle::Summary);
}

#[test]
fn an_agent_for_objects_answers_all_their_attributes_unless_it_says_which() {
    let config =
        Here::with("[[agent]]\ntarget = \"objects\"\n[[agent]]\npath = \"/c\"\ntarget = \"objects\"\nclassification = [\"Car\"]\n");
    let agents = config.load().unwrap().agents();
    assert_eq!((&agents[0].classification[..], &agents[1].classification[..]), (&["*".to_owned()][..], &["Car".to_owned()][..]));
}

#[test]
fn relative_paths_are_relative_to_the_file_that_names_them() {
    let here = Here::with("[encord]\nssh_key_file = \"key\"\n");
    here.write("conf.d/a.toml", "[media]\ncache_dir = \"cache\"\n[journal]\npath = \"/abs/j.db\"\n");
    let config = here.load().unwrap();
    assert_eq!(config.file.encord.ssh_key_file.0, here.path("key"));
    assert_eq!(config.file.media.cache_dir.0, here.path("conf.d/cache"));
    assert_eq!(config.file.journal.path.0, Path::new("/abs/j.db"));
    assert_eq!(config.file.server.tls.certificate.0, here.path("certs/server.pem"));
}

#[test]
fn the_variables_of_the_seed_win_over_files_and_prefixed_variables() {
    let here = Here::with("[encord]\ndomain = \"https://a.example\"\nssh_key_file = \"other\"\n[model]\napi_key_file = \"absent\"\n")
        .set("EDGELABEL__ENCORD__DOMAIN", "https://b.example")
        .set("ENCORD_DOMAIN", "https://c.example/")
        .set("OPENAI_BASE_URL", "https://models.example/v1/")
        .set("OPENAI_API_KEY", " sk-1 \n")
        .set("ENCORD_SSH_KEY", "the key")
        .set("ENCORD_WEBHOOK_SECRET", "one\ntwo");
    let config = here.load().unwrap();
    let encord = config.encord().unwrap();
    assert_eq!(encord.domain, "https://c.example");
    assert_eq!((encord.ssh_key.expose(), encord.ssh_key_origin.as_str()), ("the key", "ENCORD_SSH_KEY"));
    let models = config.models().unwrap();
    assert_eq!(models[0].base_url, "https://models.example/v1");
    assert_eq!(models[0].api_key.as_ref().unwrap().expose(), "sk-1");
    assert_eq!(models[0].api_key_setting, "OPENAI_API_KEY");
    assert_eq!(config.server().unwrap().webhook_secrets.len(), 2);
    let shown = config.effective();
    assert!(shown.contains("api_key_file = \"***\"") && shown.contains("# from environment OPENAI_API_KEY"), "{shown}");
    assert!(!shown.contains("sk-1") && !shown.contains("the key"), "{shown}");
}

#[test]
fn the_key_file_goes_before_the_key_text_if_it_is_there() {
    let here = Here::with("");
    let key = here.write("key", "from file");
    let here = here.set("ENCORD_SSH_KEY", "from text").set("ENCORD_SSH_KEY_FILE", key.display().to_string());
    let config = here.load().unwrap();
    assert_eq!(config.encord().unwrap().ssh_key.expose(), "from file");
    assert!(config.warnings.iter().any(|warning| warning.to_string().contains("ENCORD_SSH_KEY: is ignored")), "{:?}", config.warnings);
    let here = here.set("ENCORD_SSH_KEY_FILE", "/nowhere/key");
    let config = here.load().unwrap();
    assert_eq!(config.encord().unwrap().ssh_key.expose(), "from text");
    let here = here.set("ENCORD_SSH_KEY", "");
    assert!(here.load().unwrap().encord().unwrap_err().to_string().contains("/nowhere/key does not exist"));
}

#[test]
fn credentials_win_over_files_and_lose_to_the_environment() {
    let here = Here::with("[encord]\nssh_key_file = \"other\"\n[model]\napi_key_file = \"other\"\n");
    here.write("other", "from file");
    here.write("credentials/encord_ssh_key", "from credential\n");
    here.write("credentials/model_api_key", "sk-credential");
    here.write("credentials/tls_private_key", "PEM");
    let directory = here.path("credentials").display().to_string();
    let here = here.set("CREDENTIALS_DIRECTORY", directory).set("OPENAI_API_KEY", "sk-env");
    let config = here.load().unwrap();
    assert_eq!(config.encord().unwrap().ssh_key.expose(), "from credential");
    assert_eq!(config.origin("encord.ssh_key_file"), "credential encord_ssh_key");
    assert_eq!(config.models().unwrap()[0].api_key.as_ref().unwrap().expose(), "sk-env");
    assert!(config.server().unwrap().tls.private_key.ends_with("credentials/tls_private_key"));
}

#[test]
fn what_is_missing_to_run_is_named_with_every_way_to_give_it() {
    let mut config = Here::with("").set("EDGELABEL__ENCORD__SSH_KEY_FILE", "").load().unwrap();
    let missing = config.ready().unwrap_err().to_string();
    for word in ["encord.ssh_key_file", "encord_ssh_key", "ENCORD_SSH_KEY_FILE", "model.api_key_file", "model_api_key", "OPENAI_API_KEY"] {
        assert!(missing.contains(word), "{word}: {missing}");
    }
    // A model on the box needs no key.
    let mut local = Here::with("[model]\nbase_url = \"http://127.0.0.1:11434/v1\"\n").set("ENCORD_SSH_KEY", "k").load().unwrap();
    local.ready().unwrap();
    assert!(local.warnings.iter().any(|warning| warning.to_string().contains("edgelabel cert init")));
}

#[test]
fn a_named_file_that_is_missing_is_an_error_and_the_default_one_is_not() {
    let missing = Config::load(Some(Path::new("/nowhere/config.toml")), &Env::new()).unwrap_err().to_string();
    assert!(missing.contains("/nowhere/config.toml") && missing.contains("cannot be read"), "{missing}");
}

#[test]
fn the_effective_configuration_is_itself_a_configuration() {
    let here = Here::with("[[agent]]\npath = \"/a\"\nclassification = [\"x\"]\n[models.\"a b\"]\nname = \"q\\\"\\n\"\n");
    let shown = here.load().unwrap().effective();
    let again = Here::with(&shown).load().unwrap();
    assert_eq!(again.file, here.load().unwrap().file);
    assert!(shown.lines().filter(|line| line.contains(" = ")).all(|line| line.contains("# from ")), "{shown}");
}

fn edgelabel(arguments: &[&str]) -> (i32, String, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_edgelabel")).args(arguments).env_clear().output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
}

#[test]
fn exit_codes_tell_usage_from_configuration_from_failure() {
    let wrong = Here::with("[server]\nlisten = 1\n");
    let (code, _, errors) = edgelabel(&["check", "--config", wrong.path("config.toml").to_str().unwrap()]);
    assert_eq!(code, 78);
    assert!(errors.contains("config.toml:2: server.listen"), "{errors}");
    let (code, _, errors) = edgelabel(&["check", "--config", "/nowhere.toml"]);
    assert_eq!((code, errors.contains("/nowhere.toml")), (78, true));
    assert_eq!(edgelabel(&["chekc"]).0, 2);
    assert_eq!(edgelabel(&[]).0, 2);
    assert_eq!(edgelabel(&["--help"]).0, 0);
    assert_eq!(edgelabel(&["--version"]).0, 0);
    let good = Here::with("[encord]\nssh_key_file = \"key\"\n[model]\nbase_url = \"http://127.0.0.1:1/v1\"\n");
    good.write("key", include_str!("../src/encord/testdata/throw-away-key"));
    let (code, shown, _) = edgelabel(&["check", "--config", good.path("config.toml").to_str().unwrap()]);
    assert_eq!(code, 0);
    assert!(shown.contains("[server]") && shown.contains("# from default"), "{shown}");
    good.write("key", "no key at all");
    let (code, _, errors) = edgelabel(&["check", "--config", good.path("config.toml").to_str().unwrap()]);
    assert_eq!(code, 78);
    assert!(errors.contains("ssh_key_file") && !errors.contains("no key at all"), "{errors}");
}

proptest! {
    #[test]
    fn any_bytes_are_a_configuration_or_a_list_of_problems(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        edgelabel::config::fuzz_config(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_values_in_known_places_are_read_or_refused(
        section in prop::sample::select(vec!["server", "server.tls", "server.limits", "admin", "encord", "model", "models.x", "[agent]", "media", "journal", "log"]),
        key in prop::sample::select(vec!["listen", "request_budget", "certificate", "domain", "base_url", "timeout", "path", "classification", "confidence", "cache_bytes", "level", "format", "temperature", "allowed_projects"]),
        value in prop::sample::select(vec!["1", "-1", "1e308", "nan", "\"\"", "\"/\"", "\"0s\"", "[]", "[[]]", "[\"\"]", "{}", "{a={b=1}}", "true", "1979-05-27", "\"https://x\"", "\"\\u0000\"", "0xffffffffffffffff"]),
    ) {
        edgelabel::config::fuzz_config(&format!("[{section}]\n{key} = {value}\n"));
    }
}

#[test]
fn a_file_of_webhook_secrets_without_one_is_refused() {
    let here = Here::with("").set("ENCORD_WEBHOOK_SECRET", "# the old one was revoked\n");
    let wrong = here.load().unwrap().server().unwrap_err().to_string();
    assert!(wrong.contains("webhook_secret_file") && wrong.contains("no secret"), "{wrong}");
    assert!(Here::with("").set("ENCORD_WEBHOOK_SECRET", "# new\nwhsec_1").load().unwrap().server().unwrap().webhook_secrets.len() == 1);
}
