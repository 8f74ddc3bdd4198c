//! Holds the drawing in `ARCHITECTURE.md`: which room may import which. Read off the code's own `crate::` paths.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Leaves: every room may know them, and they know no room.
const LEAVES: [&str; 4] = ["ids", "deadline", "telemetry", "trace"];

/// Each room with the rooms it may know besides the leaves.
const MAY_KNOW: [(&str, &[&str]); 15] = [
    ("http", &[]),
    ("media", &["http"]),
    ("camera", &["media"]),
    ("encord", &["media", "http"]),
    ("model", &["encord", "media", "http"]),
    ("journal", &[]),
    ("agent", &["journal", "model", "encord", "media"]),
    ("server", &["agent"]),
    ("station", &["camera", "encord", "http", "journal"]),
    ("systemd", &[]),
    // Builds the plain settings that the parts own.
    ("config", &["agent", "camera", "encord", "http", "journal", "media", "model", "server"]),
    ("daemon", &["agent", "camera", "config", "encord", "http", "journal", "media", "model", "server", "station", "systemd"]),
    ("cli", &["agent", "camera", "config", "daemon", "encord", "http", "journal", "media", "model", "server", "station", "systemd"]),
    ("main", &["cli"]),
    ("lib", &[]),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The room a file is in: the first part of its path under `src`.
fn room(path: &Path, src: &Path) -> String {
    let inner = path.strip_prefix(src).unwrap();
    inner.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

/// The rooms that a file names: the word after each `crate::`, also inside `use crate::{a, b::c};`.
fn named(text: &str) -> BTreeSet<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut rooms = BTreeSet::new();
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    // A log filter such as "info,edgelabel::media=debug" imports nothing.
    let code = code.replace(",edgelabel::", ",");
    for path in code.split("crate::").skip(1).chain(code.split("edgelabel::").skip(1)) {
        match path.strip_prefix('{') {
            None => rooms.extend([word(path)]),
            Some(list) => {
                let mut depth = 0;
                let mut item = String::new();
                for c in list.chars() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => rooms.extend([word(std::mem::take(&mut item).trim())]),
                        _ if depth == 0 => item.push(c),
                        _ => {}
                    }
                }
                rooms.extend([word(item.trim())]);
            }
        }
    }
    rooms.retain(|name| !name.is_empty());
    rooms
}

#[test]
fn imports_run_one_way() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let allowed: BTreeMap<&str, &[&str]> = MAY_KNOW.into_iter().collect();
    let mut files = Vec::new();
    sources(&src, &mut files);
    assert!(files.len() > 20, "only {} source files found", files.len());

    let mut wrong = Vec::new();
    for file in &files {
        let here = room(file, &src);
        for other in named(&fs::read_to_string(file).unwrap()) {
            let known_room = LEAVES.contains(&other.as_str()) || allowed.contains_key(other.as_str());
            let fine = other == here
                || !known_room
                || (LEAVES.contains(&other.as_str()) && !LEAVES.contains(&here.as_str()))
                || allowed.get(here.as_str()).is_some_and(|rooms| rooms.contains(&other.as_str()));
            if !fine {
                wrong.push(format!("{} knows {other}", file.strip_prefix(&src).unwrap().display()));
            }
        }
        assert!(LEAVES.contains(&here.as_str()) || allowed.contains_key(here.as_str()), "room {here} is not in the drawing");
    }
    assert!(wrong.is_empty(), "against the drawing:\n{}", wrong.join("\n"));
}

#[test]
fn the_reader_of_imports_sees_all_forms() {
    let seen = named("use crate::{encord, media::{Frame, http}};\n// crate::server\nlet x = crate::model::ask();\nedgelabel::cli::run()");
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["cli", "encord", "media", "model"]);
}
