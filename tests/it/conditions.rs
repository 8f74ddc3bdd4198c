//! A box in trouble: each kind of it is one clear message and a `degraded` in readiness, and is over without a restart
//! when its cause is.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};

use crate::spine::World;
use crate::support::backend::{Call, Options};
use crate::support::daemon::{Answer, Daemon, Setup};
use crate::support::faults::Fault;
use crate::support::fixture::Fixture;
use crate::support::model::StandIn;
use crate::support::tls::LocalCertificate;

fn click(world: &World, daemon: &Daemon) -> Answer {
    daemon.trigger("/", &world.fixture.project, &world.fixture.image, 0)
}

#[track_caller]
pub fn assert_degraded(daemon: &Daemon, dependency: &str, because: &str) {
    let (status, reason) = daemon.dependency(dependency);
    assert_eq!(status, "degraded", "{dependency}: {}", daemon.ready());
    assert!(reason.contains(because), "{dependency}: {reason:?} does not tell of {because:?}");
    assert_eq!(daemon.ready()["status"], "degraded");
}

#[track_caller]
pub fn assert_well(daemon: &Daemon, dependency: &str) {
    assert_eq!(daemon.dependency(dependency).0, "ok", "{}", daemon.ready());
}

#[track_caller]
pub fn assert_told(answer: &Answer, status: u16, words: &[&str]) {
    assert_eq!(answer.status, status, "{answer:?}");
    let message = answer.message();
    assert!(words.iter().all(|word| message.contains(word)), "{message} does not tell of {words:?}");
}

fn answered(world: &World) -> usize {
    world.fixture.backend.row(&world.fixture.image).map_or(0, |_| world.answers(&world.fixture.image, "Cls+Scen").len())
}

/// Files of the daemon may not grow beyond this: what a full disk is to whoever writes.
fn limit_files(daemon: &Daemon, bytes: Option<u64>) {
    let pid = Pid::from_raw(i32::try_from(daemon.id()).unwrap());
    prlimit(pid, Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
}

#[test]
fn a_full_disk_costs_the_journal_and_no_answer() {
    let world = World::new();
    // The signal that comes with this kind of full disk, and with no real one, is not to end the process.
    let setup = world.setup().set("server", "request_budget", "\"8s\"").agent("/", "Scene description", "").after_shell("trap '' XFSZ");
    let daemon = setup.start();
    world.click(&daemon, "/", &world.fixture.video, 1);
    assert_well(&daemon, "journal");

    // The log lies on the same disk: that it cannot be written either must not hurt anybody.
    limit_files(&daemon, Some(1));
    let saved = click(&world, &daemon);
    assert_eq!((saved.status, answered(&world)), (200, 1), "{saved:?}");
    assert_degraded(&daemon, "journal", "journal.db");

    world.fixture.backend.fail(Call::SaveRow, Fault::Status(503, String::new()), usize::MAX);
    let refused = daemon.trigger("/", &world.fixture.project, &world.fixture.video, 2);
    assert_told(&refused, 503, &["nor kept on this box"]);
    assert!(refused.headers.contains_key("retry-after"), "{refused:?}");

    // With room again it is well when somebody looks, and keeps what cannot be saved.
    limit_files(&daemon, None);
    assert_well(&daemon, "journal");
    let queued = daemon.trigger("/", &world.fixture.project, &world.fixture.video, 2);
    assert_told(&queued, 202, &["kept on this box"]);
    assert_eq!(daemon.pending().len(), 1);
}

#[test]
fn a_state_folder_that_cannot_be_written_costs_the_journal_and_no_answer() {
    let world = World::new();
    let setup = world.setup().set("journal", "path", "\"state/journal.db\"").agent("/", "Scene description", "");
    let state = setup.folder().join("state");
    // Nobody, not even root, makes files there.
    symlink("/sys/kernel", &state).unwrap();
    let daemon = setup.start();
    assert_degraded(&daemon, "journal", "state/journal.db");
    let saved = click(&world, &daemon);
    assert_eq!((saved.status, answered(&world)), (200, 1), "{saved:?}");

    std::fs::remove_file(&state).unwrap();
    std::fs::create_dir(&state).unwrap();
    assert_well(&daemon, "journal");
    world.fixture.backend.fail(Call::SaveRow, Fault::ResetBefore, usize::MAX);
    assert_eq!(daemon.trigger("/", &world.fixture.project, &world.fixture.video, 2).status, 202);
    assert_eq!(daemon.pending().len(), 1);
}

#[test]
fn a_corrupt_journal_is_kept_aside_and_named_and_what_can_be_read_of_it_is_saved() {
    let world = World::new();
    let mut daemon = world.setup().set("server", "request_budget", "\"8s\"").agent("/", "Scene description", "").start();
    world.fixture.backend.fail(Call::SaveRow, Fault::ResetBefore, usize::MAX);
    assert_eq!(click(&world, &daemon).status, 202);
    daemon.signal(Signal::TERM);
    daemon.wait_exit(Duration::from_secs(30));
    // A page that belongs to no answer: the schema lists the index of the history's table last.
    let journal = daemon.setup.folder().join("journal.db");
    damage(&journal);
    daemon.restart();
    assert_degraded(&daemon, "corrupt_journal", "journal.db.corrupt-");
    world.fixture.backend.heal();
    world.click(&daemon, "/", &world.fixture.video, 3);
    daemon.wait_until("the answer that was salvaged", Duration::from_secs(20), || answered(&world) == 1);

    for file in std::fs::read_dir(daemon.setup.folder()).unwrap().flatten() {
        if file.file_name().to_string_lossy().contains(".corrupt-") {
            std::fs::remove_file(file.path()).unwrap();
        }
    }
    assert_eq!(daemon.ready()["status"], "ready", "{}", daemon.ready());
}

#[test]
fn a_journal_that_is_destroyed_under_the_running_daemon_is_replaced_by_a_new_one_without_a_loss() {
    use std::os::unix::fs::FileExt;
    let world = World::new();
    let mut daemon = world.setup().set("server", "request_budget", "\"8s\"").agent("/", "Scene description", "").start();
    world.click(&daemon, "/", &world.fixture.video, 1);
    for name in ["journal.db", "journal.db-wal"] {
        let file = std::fs::OpenOptions::new().write(true).open(daemon.setup.folder().join(name)).unwrap();
        file.write_all_at(&vec![0xa5; file.metadata().unwrap().len() as usize], 0).unwrap();
    }
    world.fixture.backend.fail(Call::SaveRow, Fault::ResetBefore, usize::MAX);
    assert_eq!(click(&world, &daemon).status, 202, "{}", daemon.log());
    assert_degraded(&daemon, "corrupt_journal", "journal.db.corrupt-");
    assert!(daemon.log().contains("the journal is corrupt; it is kept aside"), "{}", daemon.log());
    assert_eq!(daemon.pending().len(), 1);

    // The answer is in the new file, not merely in what the daemon remembers.
    daemon.signal(Signal::KILL);
    daemon.wait_exit(Duration::from_secs(20));
    world.fixture.backend.heal();
    daemon.restart();
    daemon.wait_until("the late save", Duration::from_secs(30), || daemon.pending().is_empty());
    assert_eq!((answered(&world), world.model.questions().len()), (1, 2));
}

/// Spoils the pages of the history, which SQLite's check reads, too.
fn damage(journal: &Path) {
    use std::os::unix::fs::FileExt;
    let db = rusqlite::Connection::open(journal).unwrap();
    let page: i64 = db.query_row("PRAGMA page_size", [], |row| row.get(0)).unwrap();
    let root: i64 = db.query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'history'", [], |row| row.get(0)).unwrap();
    drop(db);
    let file = std::fs::OpenOptions::new().write(true).open(journal).unwrap();
    file.write_all_at(&[0xa5; 100], ((root - 1) * page) as u64).unwrap();
}

#[test]
fn a_journal_of_a_newer_version_is_left_alone_and_said_so() {
    let world = World::new();
    let setup = world.setup().agent("/", "Scene description", "");
    let journal = setup.folder().join("journal.db");
    rusqlite::Connection::open(&journal).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let daemon = setup.start();
    assert_degraded(&daemon, "journal", "schema 99");
    assert_eq!((click(&world, &daemon).status, answered(&world)), (200, 1));
    let shown = daemon.setup.command(&["pending", "list", "--config"]).arg(daemon.setup.config_file()).output().unwrap();
    assert_eq!(shown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&shown.stderr).contains("install the newer version again"), "{shown:?}");

    std::fs::rename(&journal, journal.with_extension("newer")).unwrap();
    assert_well(&daemon, "journal");
}

#[test]
fn a_clock_that_is_years_off_is_named_whichever_way_it_is_off() {
    let years = 5 * 365 * 86_400;
    let world = World::new();
    let daemon = world.setup().agent("/", "Scene description", "").start();
    for (ahead, words) in [(years, ["clock", "1825 days behind"]), (-years, ["clock", "1825 days ahead of"])] {
        world.fixture.backend.behave(|behaviour| behaviour.clock_ahead = ahead);
        assert_told(&click(&world, &daemon), 502, &words);
        assert_degraded(&daemon, "encord", "clock");
    }
    world.fixture.backend.behave(|behaviour| behaviour.clock_ahead = 0);
    assert_eq!(click(&world, &daemon).status, 200);
    assert_well(&daemon, "encord");
}

/// Everything upstream answers HTTPS with certificates of these dates, in days from now.
fn world_with_dates(encord: (i64, i64), model: (i64, i64)) -> (World, String) {
    let (encord, model) = (LocalCertificate::valid(encord.0, encord.1), LocalCertificate::valid(model.0, model.1));
    let fixture = Fixture::start(Options { tls: Some(encord.server.clone()), ..Options::default() });
    let world = World { fixture, model: StandIn::start(0, Some(model.server.clone())).unwrap() };
    (world, encord.authority_pem + &model.authority_pem)
}

fn trusting(world: &World, authorities: &str) -> Setup {
    let setup = world.setup().agent("/", "Scene description", "");
    std::fs::write(setup.folder().join("upstream.pem"), authorities).unwrap();
    ["encord", "model", "media"].into_iter().fold(setup, |setup, section| setup.set(section, "ca_file", "\"upstream.pem\""))
}

#[test]
fn a_certificate_of_encord_that_only_the_clock_makes_invalid_names_the_clock() {
    for (dates, words) in [((-400, -300), "expired 300 days ago"), ((700, 800), "begins to be valid in")] {
        let (world, authorities) = world_with_dates(dates, (-1, 1));
        let daemon = trusting(&world, &authorities).start();
        assert_told(&click(&world, &daemon), 502, &["Encord", words, "clock"]);
        assert_degraded(&daemon, "encord", "clock");
    }
}

#[test]
fn an_expired_certificate_of_the_model_is_named_and_a_new_one_is_taken_at_once() {
    let (mut world, authorities) = world_with_dates((-1, 1), (-40, -30));
    let renewed = LocalCertificate::valid(-1, 1);
    let daemon = trusting(&world, &(authorities + &renewed.authority_pem)).start();
    assert_told(&click(&world, &daemon), 502, &["model", "certificate expired 30 days ago"]);
    assert_degraded(&daemon, "model", "certificate expired");
    assert_well(&daemon, "encord");

    let port = world.model.port();
    world.model = StandIn::start(0, None).unwrap();
    world.model = StandIn::start(port, Some(renewed.server.clone())).unwrap();
    assert_eq!(click(&world, &daemon).status, 200, "{}", daemon.log());
    assert_well(&daemon, "model");
}

#[test]
fn a_name_that_does_not_resolve_is_named() {
    let world = World::new();
    let setup = world.setup().set("server", "request_budget", "\"9s\"").agent("/", "Scene description", "");
    let (good, nowhere) = (format!("\"{}\"", world.fixture.backend.url()), "\"https://encord.invalid\"");
    let daemon = setup.set("encord", "domain", nowhere).start();
    assert_told(&click(&world, &daemon), 502, &["encord.invalid", "does not resolve"]);
    assert_degraded(&daemon, "encord", "does not resolve");

    let text = std::fs::read_to_string(daemon.setup.config_file()).unwrap();
    std::fs::write(daemon.setup.config_file(), text.replace(nowhere, &good)).unwrap();
    daemon.signal(Signal::HUP);
    daemon.wait_until("the new configuration", Duration::from_secs(10), || daemon.log().contains("is in force"));
    assert_eq!(click(&world, &daemon).status, 200);
    assert_well(&daemon, "encord");
}

#[test]
fn a_resolver_that_is_gone_and_comes_back_needs_neither_restart_nor_reload() {
    let world = World::new();
    let setup = world.setup().set("server", "request_budget", "\"9s\"").agent("/", "Scene description", "");
    let domain = format!("\"{}\"", world.fixture.backend.url().replace("127.0.0.1", "encord.test"));
    // Names of this daemon's own: a file, and behind it a server that does not answer.
    let (hosts, server) = (setup.folder().join("hosts"), setup.folder().join("resolv.conf"));
    let known = |names: &str| std::fs::write(&hosts, format!("127.0.0.1 localhost\n{names}")).unwrap();
    known("");
    std::fs::write(&server, "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n").unwrap();
    let bind = |from: &Path, to: &str| format!("mount --bind {} {to} || exit 1", from.display());
    let setup = setup.after_mounts(format!("{}; {}", bind(&hosts, "/etc/hosts"), bind(&server, "/etc/resolv.conf")));
    let daemon = setup.set("encord", "domain", domain).start();
    assert_told(&click(&world, &daemon), 502, &["encord.test", "does not resolve"]);
    assert_degraded(&daemon, "encord", "does not resolve");
    known("127.0.0.1 encord.test\n");
    assert_eq!((click(&world, &daemon).status, answered(&world)), (200, 1));
    assert_well(&daemon, "encord");
}

#[test]
fn a_revoked_key_is_named_and_taken_again_once_it_is_back() {
    let world = World::new();
    let daemon = world.setup().agent("/", "Scene description", "").start();
    world.click(&daemon, "/", &world.fixture.image, 0);
    let keys = std::mem::take(&mut world.fixture.backend.store().keys);
    let public: String = world.fixture.key.public.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    assert_told(&daemon.trigger("/", &world.fixture.project, &world.fixture.video, 1), 403, &["SSH key", &public]);
    assert_degraded(&daemon, "encord", "SSH key");
    // The model was not paid for an answer that nobody could save.
    assert_eq!(world.model.questions().len(), 1);
    world.fixture.backend.store().keys = keys;
    world.click(&daemon, "/", &world.fixture.video, 1);
    assert_well(&daemon, "encord");
}

#[test]
fn beyond_the_limit_of_waiting_triggers_the_refusal_is_at_once() {
    let world = World::new();
    let setup = world.setup().set("server", "max_concurrent_triggers", "1").set("server", "max_waiting_triggers", "0");
    let daemon = setup.agent("/", "Scene description", "").start();
    world.model.quirks(|quirks| quirks.thinking_time = Duration::from_secs(4));
    std::thread::scope(|scope| {
        let running = scope.spawn(|| click(&world, &daemon));
        daemon.wait_until("the running trigger", Duration::from_secs(10), || daemon.status()["running"] == 1);
        let refused = daemon.trigger("/", &world.fixture.project, &world.fixture.video, 1);
        assert_told(&refused, 503, &["too many triggers"]);
        assert!(refused.headers.contains_key("retry-after"), "{refused:?}");
        let answer = running.join().unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(refused.took < answer.took, "{:?} is not at once", refused.took);
    });
}
