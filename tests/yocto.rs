//! What can be known of the Yocto layer without bitbake: its list of crates is that of `Cargo.lock`, and what its recipe
//! names is in the tree.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
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

/// Of deny.toml: what may be linked into the program.
fn allowed_licences() -> BTreeSet<String> {
    let deny: toml::Table = fs::read_to_string(root().join("deny.toml")).unwrap().parse().unwrap();
    let allowed = deny["licenses"]["allow"].as_array().unwrap().iter().map(|licence| licence.as_str().unwrap());
    allowed.map(|licence| licence.replace(" WITH ", "-with-")).collect()
}

#[test]
fn the_recipes_licence_names_what_may_be_linked_in() {
    let recipe = recipe("edgelabel_0.1.0.bb");
    let licence = recipe.lines().find_map(|line| line.strip_prefix("LICENSE = \"")?.strip_suffix('"')).unwrap();
    let (own, linked) = licence.split_once(" & ").unwrap();
    assert_eq!(own, format!("({})", env!("CARGO_PKG_LICENSE").replace(" OR ", " | ")));
    let linked: BTreeSet<String> = linked.split(" & ").map(str::to_owned).collect();
    assert_eq!(linked, allowed_licences(), "LICENSE of the recipe and deny.toml differ");
}

/// Name, size, type and file system of each partition, as appliance/partitions has it.
fn planned() -> Vec<[String; 4]> {
    let plan = fs::read_to_string(root().join("appliance/partitions")).unwrap();
    let lines = plan.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_whitespace().take(4).map(str::to_owned).collect::<Vec<_>>().try_into().unwrap()).collect()
}

#[test]
fn the_yocto_image_has_the_partitions_of_the_appliance() {
    let plan = planned();
    assert_eq!(plan.len(), 5);
    for name in ["edgelabel.wks.in", "edgelabel-raspberrypi.wks.in"] {
        let wks = fs::read_to_string(root().join("yocto/meta-edgelabel/wic").join(name)).unwrap();
        let parts: Vec<&str> = wks.lines().filter(|line| line.starts_with("part ")).collect();
        assert_eq!(parts.len(), plan.len(), "{name}");
        for (part, [partition, size, kind, system]) in parts.iter().zip(&plan) {
            let value = |option: &str| {
                let found = part.split_whitespace().skip_while(|word| word.split('=').next() != Some(option));
                found.flat_map(|word| word.split('=')).nth(1).map(str::to_owned)
            };
            assert_eq!(value("--part-name").as_ref(), Some(partition), "{name}: {part}");
            assert_eq!(value("--fixed-size"), Some(format!("{size}M")), "{name}: {part}");
            // The firmware of a Raspberry Pi wants a partition of its own kind in the place of EFI's.
            if !(partition == "esp" && name.contains("raspberrypi")) {
                assert_eq!(value("--part-type").as_ref(), Some(kind), "{name}: {part}");
            }
            assert_eq!(value("--fstype").as_deref().unwrap_or("none"), system, "{name}: {part}");
        }
    }
}

#[test]
fn what_the_units_run_is_installed_by_the_recipe() {
    let recipe = recipe("edgelabel_0.1.0.bb");
    let mut named = 0;
    for entry in fs::read_dir(root().join("appliance")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "service") {
            continue;
        }
        let unit = path.file_name().unwrap().to_str().unwrap();
        assert!(recipe.contains(&format!("${{systemd_system_unitdir}}/{unit}")), "the recipe does not install {unit}");
        for program in fs::read_to_string(&path).unwrap().lines().filter_map(|line| line.strip_prefix("ExecStart=/usr/lib/edgelabel/")) {
            let program = program.split(' ').next().unwrap();
            assert!(root().join("appliance").join(program).is_file(), "{unit} runs {program}");
            assert!(recipe.contains(&format!("${{nonarch_libdir}}/edgelabel/{program}")), "the recipe does not install {program}");
            named += 1;
        }
    }
    assert!(named >= 2, "{named}");
}
