//! The way in for the fuzzer: a file and an environment as an administrator could write them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Config, Env, Problem, complete, layer, merged, seed_variables};

const NAME: &str = "fuzz.toml";

/// The text up to the first NUL is a file, each line behind it a variable `NAME=value`. Whatever they are, they are a
/// configuration that can be shown as TOML and read again, or problems that each say where they are.
#[doc(hidden)]
pub fn fuzz_config(text: &str) {
    let (toml, variables) = text.split_once('\0').unwrap_or((text, ""));
    let env: Env = variables.lines().filter_map(|line| line.split_once('=')).map(|(name, value)| (name.into(), value.into())).collect();
    let mut problems = Vec::new();
    let (seed, _, _) = seed_variables(&env, &mut Vec::new());
    let layers = vec![layer::of_text(NAME, toml, &mut problems), layer::of_environment(&env), seed];
    match read(layers, problems) {
        Err(problems) => problems.iter().for_each(|problem| hold(problem, toml, &env)),
        // What is masked cannot be read back.
        Ok(shown) if shown.contains("***") => assert!(shown.parse::<toml::Table>().is_ok(), "what is shown is TOML"),
        Ok(shown) => {
            let mut problems = Vec::new();
            let layer = layer::of_text(NAME, &shown, &mut problems);
            let again = read(vec![layer], problems).unwrap_or_else(|problems| panic!("{problems:?} in what was shown:\n{shown}"));
            assert_eq!(without_origins(&again), without_origins(&shown), "what is shown is what is read");
        }
    }
}

/// A problem says what is wrong, and where: a line of the file, or a variable.
fn hold(problem: &Problem, toml: &str, env: &Env) {
    assert!(!problem.what.is_empty(), "{problem:?}");
    let in_file = problem.origin.strip_prefix(NAME).and_then(|place| place.strip_prefix(':'));
    let in_env = problem.origin.strip_prefix("environment ");
    match (in_file, in_env) {
        (Some(place), _) => {
            let line: usize = place.split(':').next().and_then(|line| line.parse().ok()).unwrap_or(0);
            assert!((1..=toml.split('\n').count()).contains(&line), "{problem:?} names a line that is not there");
        }
        (None, Some(name)) => assert!(env.contains_key(name), "{problem:?} names a variable that is not set"),
        (None, None) => panic!("{problem:?} does not say where it is"),
    }
}

/// The effective configuration of these layers, as text.
fn read(layers: Vec<layer::Layer>, mut problems: Vec<Problem>) -> Result<String, Vec<Problem>> {
    let (mut file, origins) = merged(layers, &mut problems).map_err(|invalid| invalid.problems)?;
    complete(&mut file, Path::new(NAME), &origins);
    let config = Config { path: PathBuf::new(), file, warnings: Vec::new(), origins, inline: BTreeMap::new() };
    if problems.is_empty() { Ok(config.effective()) } else { Err(problems) }
}

fn without_origins(shown: &str) -> String {
    shown.lines().map(|line| line.rsplit_once(" # from ").map_or(line, |(line, _)| line)).collect::<Vec<_>>().join("\n")
}
