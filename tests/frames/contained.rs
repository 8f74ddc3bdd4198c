//! What a decoder can do that a hostile file has taken over: spoil its own picture, and nothing else. It is tried from
//! within a real worker, by a plugin that tries.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use edgelabel::deadline::Deadline;
use edgelabel::media::worker::job;
use edgelabel::media::worker::pool::Pool;
use edgelabel::media::worker::proofs::Proofs;
use edgelabel::media::worker::protocol::Job;

use super::hardware::Bench;
use super::workers::frame_of_clip;
use super::{PROGRAM, soon};

#[test]
fn a_decoder_that_was_taken_over_reaches_nothing() {
    let bench = Bench::new();
    // It says so in its error if it gets anywhere.
    assert_eq!(bench.decoder("vaapi", "vah264dec:escape"), "vaapi (vah264dec)");
    for left in ["/tmp/escaped", "/dev/shm/escaped", "/usr/bin/escaped"] {
        assert!(!Path::new(left).exists(), "{left} was written");
    }
}

/// A program that runs this one as if on a kernel without what `lacks` names.
fn on_old_kernel(dir: &Path, lacks: &str) -> PathBuf {
    let old_kernel = dir.join("old_kernel");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/frames/old_kernel.c");
    assert!(Command::new("cc").arg("-o").arg(&old_kernel).arg(source).status().expect("a C compiler").success());
    let script = dir.join(lacks);
    std::fs::write(&script, format!("#!/bin/sh\nexec {} {lacks} {PROGRAM} \"$@\"\n", old_kernel.display())).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).unwrap();
    script
}

#[test]
fn a_kernel_that_cannot_contain_decodes_all_the_same_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    // One cache for all: what plugins there are does not depend on the kernel.
    let pool = |program: PathBuf| Pool::new(program, dir.path(), 1).unwrap();
    assert_eq!(pool(PROGRAM.into()).uncontained(&soon()).unwrap(), Vec::<String>::new(), "on this kernel");
    let (files, calls) = ("file system and network (landlock)", "system calls (seccomp)");
    for (lacks, named) in [("landlock", &[files][..]), ("seccomp", &[calls]), ("both", &[files, calls])] {
        let pool = pool(on_old_kernel(dir.path(), lacks));
        let missing = pool.uncontained(&soon()).unwrap();
        let what: Vec<&str> = missing.iter().map(|missing| missing.split(": ").next().unwrap()).collect();
        assert_eq!(what, named, "without {lacks}: {missing:?}");
        frame_of_clip(&pool, &soon(), |_| {}).unwrap();
    }
}

#[test]
fn a_worker_is_replaced_before_its_leaks_add_up() {
    let dir = tempfile::tempdir().unwrap();
    let pool = Pool::new(PROGRAM.into(), dir.path(), 1).unwrap();
    let mut nothing = |_: &[(u64, u64)], _: &Deadline| Ok(Vec::new());
    let mut ask = || job::run(&pool, &Proofs::default(), &Job::Candidates, &[], &mut nothing, &soon()).map(drop).unwrap();
    ask();
    let first = pool.idle();
    (0..498).for_each(|_| ask());
    assert_eq!(pool.idle(), first, "after 499 jobs");
    ask();
    assert_ne!(pool.idle(), first, "after 500 jobs");
    ask();
}
