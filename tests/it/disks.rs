//! Real file systems in trouble: full, read-only, gone and back. The daemon sees mounts of its own, in a user namespace.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::conditions::{assert_degraded, assert_told, assert_well};
use crate::spine::World;
use crate::support::backend::Call;
use crate::support::daemon::{Daemon, Setup};
use crate::support::faults::Fault;

/// A file system of this size in the place of a folder of the daemon's.
fn mounted(setup: &Setup, name: &str, size: &str) -> String {
    let folder = setup.folder().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    format!("mount -t tmpfs -o size={size},mode=700 none {} || exit 1", folder.display())
}

/// A path as the daemon sees it.
fn within(daemon: &Daemon, path: &str) -> PathBuf {
    let root = PathBuf::from(format!("/proc/{}/root", daemon.id()));
    root.join(daemon.setup.folder().join(path).strip_prefix("/").unwrap())
}

/// Fills the file system of a folder to the last byte; frees it when dropped.
struct Ballast(PathBuf);

impl Ballast {
    fn into(folder: &Path) -> Self {
        let ballast = Self(folder.join("ballast"));
        let mut file = std::fs::File::create(&ballast.0).unwrap();
        for size in [1 << 16, 1 << 12, 1] {
            while std::io::Write::write_all(&mut file, &vec![1; size]).is_ok() {}
        }
        let full = std::fs::write(folder.join("more"), b"x").unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull, "{full}");
        // The name itself takes no room here.
        std::fs::remove_file(folder.join("more")).unwrap();
        ballast
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Mounts a folder of the daemon's anew, as `options` say.
fn remount(daemon: &Daemon, name: &str, options: &str) {
    let mut enter = Command::new("nsenter");
    enter.args(["--user", "--mount", "--preserve-credentials", "--target", &daemon.id().to_string()]);
    let done = enter.args(["mount", "-o", &format!("remount,{options}")]).arg(daemon.setup.folder().join(name)).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

fn with_state_on(size: &str, world: &World) -> Daemon {
    let setup = world.setup().set("journal", "path", "\"state/journal.db\"").set("server", "request_budget", "\"8s\"");
    let setup = setup.agent("/", "Scene description", "");
    let mount = mounted(&setup, "state", size);
    setup.after_mounts(mount).start()
}

fn assert_journal_is_missed_and_no_answer_is(world: &World, daemon: &Daemon, frame: u64, why: &str) {
    world.click(daemon, "/", &world.fixture.video, frame);
    assert_degraded(daemon, "journal", why);
    world.fixture.backend.fail(Call::SaveRow, Fault::ResetBefore, usize::MAX);
    let refused = daemon.trigger("/", &world.fixture.project, &world.fixture.video, frame + 1);
    assert_told(&refused, 503, &["nor kept on this box"]);
    assert!(refused.headers.contains_key("retry-after"), "{refused:?}");
}

fn assert_journal_is_back(world: &World, daemon: &Daemon, frame: u64) {
    assert_well(daemon, "journal");
    assert_eq!(daemon.trigger("/", &world.fixture.project, &world.fixture.video, frame).status, 202);
    assert_eq!(daemon.pending().len(), 1);
    world.fixture.backend.heal();
    world.click(daemon, "/", &world.fixture.image, 0);
    daemon.wait_until("the late save", Duration::from_secs(20), || daemon.pending().is_empty());
}

#[test]
fn a_state_folder_on_a_full_disk_costs_the_journal_and_no_answer() {
    let world = World::new();
    let daemon = with_state_on("600k", &world);
    assert_well(&daemon, "journal");
    let ballast = Ballast::into(&within(&daemon, "state"));
    assert_journal_is_missed_and_no_answer_is(&world, &daemon, 1, "journal.db");
    drop(ballast);
    assert_journal_is_back(&world, &daemon, 2);
}

#[test]
fn a_state_folder_on_a_read_only_file_system_costs_the_journal_and_no_answer() {
    let world = World::new();
    let daemon = with_state_on("4m,ro", &world);
    assert_degraded(&daemon, "journal", "journal.db");
    assert_journal_is_missed_and_no_answer_is(&world, &daemon, 1, "journal.db");
    remount(&daemon, "state", "rw");
    assert_journal_is_back(&world, &daemon, 2);
}

#[test]
fn a_cache_on_a_full_disk_costs_time_and_no_answer() {
    let world = World::new();
    let setup = world.setup().agent("/", "Scene description", "");
    let mount = mounted(&setup, "cache", "24m");
    let daemon = setup.after_mounts(mount).start();
    world.click(&daemon, "/", &world.fixture.image, 0);
    assert_well(&daemon, "cache");
    let ballast = Ballast::into(&within(&daemon, "cache"));
    world.click(&daemon, "/", &world.fixture.video, 1);
    assert_degraded(&daemon, "cache", "kept in memory");
    drop(ballast);
    assert_well(&daemon, "cache");
    assert_eq!(daemon.ready()["status"], "ready");
}

#[test]
fn a_cache_that_cannot_be_used_at_the_start_is_used_once_it_can() {
    let world = World::new();
    let setup = world.setup().agent("/", "Scene description", "");
    let cache = setup.folder().join("cache");
    std::fs::write(&cache, "a file where the folder should be").unwrap();
    let daemon = setup.start();
    world.click(&daemon, "/", &world.fixture.image, 0);
    assert_degraded(&daemon, "cache", "kept in memory");
    std::fs::remove_file(&cache).unwrap();
    assert_well(&daemon, "cache");
    world.click(&daemon, "/", &world.fixture.video, 1);
    assert!(std::fs::read_dir(cache.join("items")).unwrap().count() > 0, "the item is on the disk");
}
