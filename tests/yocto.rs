//! What can be known of the Yocto layer without bitbake: its list of crates is that of `Cargo.lock`, and what its recipe
//! names is in the tree.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn recipe(name: &str) -> String {
    fs::read_to_string(root().join("yocto/meta-edgelabel/recipes-edgelabel/edgelabel").join(name)).unwrap()
}

/// Checksums by `name-version`, of all crates that come from a registry.
fn locked() -> BTreeMap<String, String> {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let value = |package: &str, key: &str| {
        let line = package.lines().find_map(|line| line.strip_prefix(&format!("{key} = ")))?;
        Some(line.trim_matches('"').to_owned())
    };
    let crates = lock
        .split("[[package]]")
        .skip(1)
        .filter_map(|package| Some((format!("{}-{}", value(package, "name")?, value(package, "version")?), value(package, "checksum")?)));
    crates.collect()
}

#[test]
fn the_list_of_crates_is_that_of_the_lock_file() {
    let list = recipe("edgelabel-crates.inc");
    let checksums: BTreeMap<String, String> = list
        .lines()
        .filter_map(|line| line.strip_prefix("SRC_URI[")?.split_once(".sha256sum] = "))
        .map(|(name, sum)| (name.to_owned(), sum.trim_matches('"').to_owned()))
        .collect();
    let fetched: Vec<String> = list
        .lines()
        .filter_map(|line| line.trim().strip_prefix("crate://crates.io/")?.strip_suffix(" \\"))
        .map(|crate_path| crate_path.replacen('/', "-", 1))
        .collect();
    let locked = locked();
    assert!(locked.len() > 100, "only {} crates were read from Cargo.lock", locked.len());
    assert_eq!(checksums, locked, "run yocto/update-crates");
    let mut sorted = fetched;
    sorted.sort();
    assert_eq!(sorted, locked.into_keys().collect::<Vec<_>>(), "run yocto/update-crates");
}

#[test]
fn what_the_recipe_installs_is_in_the_tree() {
    let recipe = recipe("edgelabel_0.1.0.bb");
    let named: Vec<&str> = recipe.split("${S}/").skip(1).filter_map(|rest| rest.split_whitespace().next()).collect();
    assert!(named.len() >= 4, "{named:?}");
    for path in named {
        assert!(root().join(path).is_file(), "{path} is not in the tree");
    }
    assert!(recipe.contains(&format!("edgelabel-{}", "crates.inc")));
}

#[test]
fn the_version_and_the_licences_are_those_of_the_package() {
    let version = env!("CARGO_PKG_VERSION");
    assert!(Path::new(&root().join(format!("yocto/meta-edgelabel/recipes-edgelabel/edgelabel/edgelabel_{version}.bb"))).is_file());
    let recipe = recipe("edgelabel_0.1.0.bb");
    for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
        let sum = Command::new("md5sum").arg(root().join(licence)).output().unwrap();
        let sum = String::from_utf8(sum.stdout).unwrap();
        let line = format!("file://{licence};md5={}", sum.split_whitespace().next().unwrap());
        assert!(recipe.contains(&line), "the recipe lacks {line}");
    }
}
