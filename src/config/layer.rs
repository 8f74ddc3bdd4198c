//! The layers of a configuration, weakest first: files, credentials, environment. Each value remembers where it stands.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use config::{Map, Source, Value, ValueKind};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Problem;
use super::strict::ENVIRONMENT;

/// Environment variables: passed in, so that tests and reloads see what they should.
pub type Env = BTreeMap<String, String>;

/// One layer: a table of values.
#[derive(Debug, Clone)]
pub(super) struct Layer(pub Value);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        self.0.clone().into_table()
    }
}

/// The main file's drop-ins: `conf.d/*.toml` beside it, in order of name.
pub(super) fn drop_ins(main: &Path) -> Result<Vec<PathBuf>, Problem> {
    let directory = main.parent().unwrap_or(Path::new("")).join("conf.d");
    let wrong = |error: std::io::Error| Problem::new(directory.display().to_string(), "", format!("cannot be listed: {error}"));
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => return Ok(Vec::new()),
        Err(error) => return Err(wrong(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(wrong)?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if path.extension().is_some_and(|extension| extension == "toml") && !hidden {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// What is wrong with a table or key that a file has a second time: the slip of who appends what a manual shows.
fn twice(text: &str, error: &toml::de::Error) -> Option<String> {
    let name = text.get(error.span()?).filter(|_| error.message() == "duplicate key")?;
    Some(format!("has {name} a second time: it may be there once, with all that belongs to it"))
}

/// Reads one file's text. Every syntax error is added to `problems`, with line and column; then the layer is empty.
pub(super) fn of_text(name: &str, text: &str, problems: &mut Vec<Problem>) -> Layer {
    let (table, errors) = DeTable::parse_recoverable(text);
    let place = Place { name, text };
    if !errors.is_empty() {
        // One slip often makes the parser stumble on: the first few say it all.
        for error in errors.iter().take(3) {
            // Only the message: the error's own display quotes the line, which may hold a pasted key.
            let what = twice(text, error).unwrap_or_else(|| format!("is not TOML: {}", error.message()));
            problems.push(Problem::new(place.line_and_column(error.span()), "", what));
        }
        return Layer(Map::<String, Value>::new().into());
    }
    let mut converted = table_of(table.get_ref(), &place, problems);
    if let ValueKind::Table(root) = &mut converted.kind {
        for list in [AGENTS, CAMERAS] {
            if let Some(tables) = root.remove(list.table) {
                root.insert(list.table.into(), list.by_key(tables, problems));
            }
        }
    }
    Layer(converted)
}

struct Place<'a> {
    name: &'a str,
    text: &'a str,
}

impl Place<'_> {
    fn line(&self, span: Range<usize>) -> usize {
        1 + self.text.as_bytes().iter().take(span.start).filter(|b| **b == b'\n').count()
    }

    fn origin(&self, span: Range<usize>) -> String {
        format!("{}:{}", self.name, self.line(span))
    }

    fn line_and_column(&self, span: Option<Range<usize>>) -> String {
        let span = span.unwrap_or(0..0);
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        format!("{}:{}:{column}", self.name, self.line(span))
    }
}

fn table_of(table: &DeTable<'_>, place: &Place<'_>, problems: &mut Vec<Problem>) -> Value {
    let mut values = Map::new();
    for (key, value) in table {
        values.insert(key.get_ref().clone().into_owned(), value_of(value, key.span(), place, problems));
    }
    values.into()
}

/// The line of a value is the one its key stands on, so that a table is named by its header.
fn value_of(value: &Spanned<DeValue<'_>>, key: Range<usize>, place: &Place<'_>, problems: &mut Vec<Problem>) -> Value {
    let origin = place.origin(key.clone());
    let kind = match value.get_ref() {
        DeValue::String(text) => ValueKind::String(text.clone().into_owned()),
        DeValue::Boolean(word) => ValueKind::Boolean(*word),
        DeValue::Integer(digits) => match i64::from_str_radix(digits.as_str(), digits.radix()) {
            Ok(number) => ValueKind::I64(number),
            Err(_) => {
                problems.push(Problem::new(&origin, "", format!("the number {digits} is too large")));
                ValueKind::I64(0)
            }
        },
        DeValue::Float(digits) => ValueKind::Float(digits.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Datetime(_) => ValueKind::Nil,
        DeValue::Array(items) => ValueKind::Array(items.iter().map(|item| value_of(item, item.span(), place, problems)).collect()),
        DeValue::Table(table) => table_of(table, place, problems).kind,
    };
    Value::new(Some(&origin), kind)
}

/// Tables that are written as a list, and the key that tells them apart.
#[derive(Clone, Copy)]
struct List {
    table: &'static str,
    key: &'static str,
    /// What the key is when it is left out.
    default: Option<&'static str>,
}

const AGENTS: List = List { table: "agent", key: "path", default: Some("/") };
const CAMERAS: List = List { table: "camera", key: "name", default: None };

impl List {
    /// The tables as one table by their key, so that a later layer amends the one it names and adds those that are new.
    fn by_key(self, tables: Value, problems: &mut Vec<Problem>) -> Value {
        let Self { table, key, default } = self;
        let origin = tables.origin().unwrap_or_default().to_owned();
        let ValueKind::Array(items) = tables.kind else {
            problems.push(Problem::new(origin, table, format!("must be written as [[{table}]], with two brackets, once for each {table}")));
            return Map::<String, Value>::new().into();
        };
        let mut named: Map<String, Value> = Map::new();
        for item in items {
            let origin = item.origin().unwrap_or_default().to_owned();
            let name = match &item.kind {
                ValueKind::Table(keys) => keys.get(key).map_or(default.map(Into::into), |name| name.clone().into_string().ok()),
                _ => None,
            };
            // A key that is no text is complained about when the table is read.
            let name = name.unwrap_or_else(|| format!("(line {})", origin.rsplit(':').next().unwrap_or_default()));
            if let Some(first) = named.get(&name) {
                let first = first.origin().unwrap_or_default();
                problems.push(Problem::new(origin, table, format!("the {key} {name:?} is already taken by the {table} at {first}")));
                continue;
            }
            named.insert(name, item);
        }
        Value::new(Some(&origin), ValueKind::Table(named))
    }
}

/// Files that systemd unpacked for this service, and the keys they stand for.
pub(super) fn of_credentials(env: &Env) -> Layer {
    const NAMES: [(&str, &str); 7] = [
        ("encord_ssh_key", "encord.ssh_key_file"),
        ("encord_ssh_key_password", "encord.ssh_key_password_file"),
        ("model_api_key", "model.api_key_file"),
        ("webhook_secret", "server.webhook_secret_file"),
        ("access_token", "server.access_token_file"),
        ("admin_token", "admin.token_file"),
        ("tls_private_key", "server.tls.private_key"),
    ];
    let mut root = Map::<String, Value>::new().into();
    let Some(directory) = env.get("CREDENTIALS_DIRECTORY").filter(|directory| !directory.is_empty()) else { return Layer(root) };
    for (name, key) in NAMES {
        let file = Path::new(directory).join(name);
        if file.exists() {
            let path: Vec<&str> = key.split('.').collect();
            put(&mut root, &path, &format!("credential {name}"), &file.to_string_lossy());
        }
    }
    Layer(root)
}

/// `EDGELABEL__SECTION__KEY`; `EDGELABEL__AGENT__KEY` speaks of the agent at `/`.
pub(super) fn of_environment(env: &Env) -> Layer {
    let mut root = Map::<String, Value>::new().into();
    for (name, text) in env {
        let Some(key) = name.strip_prefix("EDGELABEL__") else { continue };
        let key = key.to_lowercase();
        let mut path: Vec<&str> = key.split("__").collect();
        if path.first() == Some(&"agent") {
            path.insert(1, "/");
        }
        put(&mut root, &path, &format!("{ENVIRONMENT}{name}"), text);
    }
    Layer(root)
}

/// Sets one text at `path`, making tables on the way.
pub(super) fn put(root: &mut Value, path: &[&str], origin: &str, text: &str) {
    let Some((segment, inner)) = path.split_first() else { return };
    if !matches!(root.kind, ValueKind::Table(_)) {
        root.kind = ValueKind::Table(Map::new());
    }
    let ValueKind::Table(table) = &mut root.kind else { return };
    if inner.is_empty() {
        table.insert((*segment).to_owned(), Value::new(Some(&origin.to_owned()), text));
    } else {
        let child = table.entry((*segment).to_owned()).or_insert_with(|| Value::new(Some(&origin.to_owned()), Map::<String, Value>::new()));
        put(child, inner, origin, text);
    }
}
