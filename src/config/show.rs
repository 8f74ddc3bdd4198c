//! The effective configuration as TOML, with the origin of each value, secrets masked.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::{Config, strict};

type Table = Map<String, Value>;

impl Config {
    /// All keys with their values, each followed by `# from …`.
    pub fn effective(&self) -> String {
        let mut out = String::new();
        // As JSON, because that keeps the order of the keys; texts, numbers and lists are written alike in TOML.
        let Ok(Value::Object(root)) = serde_json::to_value(&self.file) else { return out };
        for (section, value) in &root {
            match (section.as_str(), value) {
                (list @ ("agent" | "camera"), Value::Object(tables)) => {
                    for (name, table) in tables {
                        let Value::Object(keys) = table else { continue };
                        self.section(&mut out, &format!("[[{list}]]"), &format!("{list}.{}", strict::shown(name)), keys);
                    }
                }
                ("models", Value::Object(models)) => {
                    for (name, model) in models {
                        let Value::Object(keys) = model else { continue };
                        let key = format!("models.{}", strict::shown(name));
                        self.section(&mut out, &format!("[{key}]"), &key, keys);
                    }
                }
                (name, Value::Object(keys)) => self.section(&mut out, &format!("[{name}]"), name, keys),
                _ => {}
            }
        }
        out
    }

    fn section(&self, out: &mut String, header: &str, key: &str, keys: &Table) {
        if !out.is_empty() {
            out.push('\n');
        }
        // Writing to a String does not fail.
        let _ = writeln!(out, "{header}");
        let (tables, values): (Vec<_>, Vec<_>) = keys.iter().partition(|(_, value)| value.is_object());
        for (name, value) in values {
            let path = format!("{key}.{name}");
            let shown = if self.inline.contains_key(path.as_str()) {
                "\"***\"".into()
            } else {
                strict::quoted(&without_password(value).to_string())
            };
            let line = format!("{name} = {shown}");
            let _ = writeln!(out, "{line:<60} # from {}", self.origin(&path));
        }
        for (name, value) in tables {
            let Value::Object(keys) = value else { continue };
            let path = format!("{key}.{name}");
            self.section(out, &format!("[{path}]"), &path, keys);
        }
    }
}

/// An address may carry a user's password; a path may turn out to be a pasted key.
fn without_password(value: &Value) -> Value {
    let Value::String(text) = value else { return value.clone() };
    if text.contains("PRIVATE KEY") || text.rsplit('/').next().is_some_and(|last| last.starts_with("sk-")) {
        return "***".into();
    }
    match url::Url::parse(text) {
        Ok(mut url) if url.password().is_some() => match url.set_password(Some("***")) {
            Ok(()) => String::from(url).into(),
            Err(()) => "***".into(),
        },
        _ => value.clone(),
    }
}
