//! What happens to workers, and that it happens to nobody else.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use edgelabel::deadline::Deadline;
use edgelabel::media::worker::job::{self, JobError};
use edgelabel::media::worker::pool::Pool;
use edgelabel::media::worker::proofs::Proofs;
use edgelabel::media::worker::protocol::{Failure, FrameJob, Job};
use edgelabel::media::{Error, decode::clips};
use rustix::process::{Pid, Signal, kill_process};

use super::{PROGRAM, clip, media, soon, whole};

fn pool(dir: &Path) -> Pool {
    Pool::new(PROGRAM.into(), dir, 1).unwrap()
}

/// A frame of an item of `size` bytes, in software.
fn frame_job(frame: u64, size: usize) -> FrameJob {
    FrameJob {
        frame,
        size: size as u64,
        item: None,
        regions: Vec::new(),
        lossless: false,
        max_side: 1000,
        quality: 90,
        max_pixels: 1_000_000,
        decoder: "software".to_owned(),
        proven: Vec::new(),
        left_out: Vec::new(),
        budget_ms: 60_000,
    }
}

/// Frame 3 of the built-in clip; `interfere` is called with the worker's process id when it asks for the first bytes.
pub(super) fn frame_of_clip(pool: &Pool, deadline: &Deadline, interfere: impl Fn(Pid)) -> Result<(), JobError> {
    let video = clips::of("h264").unwrap().video;
    let job = frame_job(3, video.len());
    let worker = pool.idle()[0];
    let mut bytes = |spans: &[(u64, u64)], _: &Deadline| {
        interfere(Pid::from_raw(worker as i32).unwrap());
        Ok(clips::cut(video, spans))
    };
    job::run(pool, &Proofs::default(), &Job::Frame(job), &[], &mut bytes, deadline).map(|outcome| assert_eq!(outcome.pictures.len(), 1))
}

#[test]
fn a_worker_serves_many_jobs() {
    let dir = tempfile::tempdir().unwrap();
    let pool = pool(dir.path());
    let first = pool.idle();
    for _ in 0..3 {
        frame_of_clip(&pool, &soon(), |_| {}).unwrap();
    }
    assert_eq!(pool.idle(), first);
}

#[test]
fn a_kept_sample_table_is_not_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let pool = pool(dir.path());
    let video = clips::of("h264").unwrap().video;
    let mut index = Vec::new();
    for kept in [false, true] {
        let mut asked = Vec::new();
        let mut bytes = |spans: &[(u64, u64)], _: &Deadline| {
            asked.extend_from_slice(spans);
            Ok(clips::cut(video, spans))
        };
        let outcome = job::run(&pool, &Proofs::default(), &Job::Frame(frame_job(3, video.len())), &index, &mut bytes, &soon()).unwrap();
        assert_eq!(outcome.pictures.len(), 1);
        assert_eq!(asked.iter().any(|span| span.0 == 0), !kept, "{asked:?}");
        assert_eq!(outcome.index.is_none(), kept);
        index = outcome.index.unwrap_or_default();
    }
    // What is no table is no harm.
    let mut bytes = |spans: &[(u64, u64)], _: &Deadline| Ok(clips::cut(video, spans));
    let job = Job::Frame(frame_job(3, video.len()));
    assert!(job::run(&pool, &Proofs::default(), &job, b"edgetab\x02nonsense", &mut bytes, &soon()).unwrap().index.is_some());
}

#[test]
fn a_worker_that_crashes_costs_one_job() {
    let dir = tempfile::tempdir().unwrap();
    let pool = pool(dir.path());
    let first = pool.idle();
    let lost = frame_of_clip(&pool, &soon(), |worker| kill_process(worker, Signal::SEGV).unwrap()).unwrap_err();
    let JobError::Lost { how, using: None } = &lost else { panic!("{lost:?}") };
    assert!(how.contains("crashed") && how.contains("SIGSEGV"), "{how}");
    assert_ne!(pool.idle(), first, "a fresh worker is warm already");
    frame_of_clip(&pool, &soon(), |_| {}).unwrap();
}

#[test]
fn a_worker_that_died_in_its_sleep_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let pool = pool(dir.path());
    frame_of_clip(&pool, &soon(), |_| {}).unwrap();
    kill_process(Pid::from_raw(pool.idle()[0] as i32).unwrap(), Signal::KILL).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    frame_of_clip(&pool, &soon(), |_| {}).unwrap();
}

#[test]
fn a_worker_that_hangs_is_killed_at_the_deadline() {
    let dir = tempfile::tempdir().unwrap();
    let pool = pool(dir.path());
    frame_of_clip(&pool, &soon(), |_| {}).unwrap();
    let start = Instant::now();
    let short = Deadline::after(Duration::from_secs(1));
    let lost = frame_of_clip(&pool, &short, |worker| kill_process(worker, Signal::STOP).unwrap()).unwrap_err();
    assert!(matches!(lost, JobError::Here(Error::Deadline(_))), "{lost:?}");
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    frame_of_clip(&pool, &soon(), |_| {}).unwrap();
}

#[test]
fn bytes_that_cannot_be_had_leave_the_worker_unharmed() {
    let dir = tempfile::tempdir().unwrap();
    let pool = pool(dir.path());
    let first = pool.idle();
    let gone = || Error::Store { host: "store.example".into(), cause: "reset".into() };
    let mut bytes = |_: &[(u64, u64)], _: &Deadline| Err(gone());
    let job = Job::Frame(frame_job(0, 1000));
    let error = job::run(&pool, &Proofs::default(), &job, &[], &mut bytes, &soon()).unwrap_err();
    assert!(matches!(error, JobError::Here(Error::Store { .. })), "{error:?}");
    assert_eq!(pool.idle(), first);
}

#[test]
fn a_program_that_is_no_worker_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let pool = Pool::new("/bin/true".into(), dir.path(), 1).unwrap();
    let mut bytes = |_: &[(u64, u64)], _: &Deadline| Ok(Vec::new());
    let error = job::run(&pool, &Proofs::default(), &Job::Candidates, &[], &mut bytes, &soon()).unwrap_err();
    assert!(matches!(error, JobError::Here(Error::Worker(_))), "{error:?}");
    let pool = Pool::new("/nowhere/edgelabel".into(), dir.path(), 1).unwrap();
    let error = job::run(&pool, &Proofs::default(), &Job::Candidates, &[], &mut bytes, &soon()).unwrap_err();
    let JobError::Here(Error::Worker(cause)) = error else { panic!("{error:?}") };
    assert!(cause.contains("/nowhere/edgelabel"), "{cause}");
}

#[test]
fn the_command_is_of_no_use_by_hand() {
    let output = Command::new(PROGRAM).arg("decode-worker").stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("daemon's own use"));
}

#[test]
fn a_pool_that_closes_sees_its_workers_leave() {
    let dir = tempfile::tempdir().unwrap();
    let pool = Pool::new(PROGRAM.into(), dir.path(), 2).unwrap();
    // Ready, so that they leave for being told to and need no killing.
    frame_of_clip(&pool, &soon(), |_| {}).unwrap();
    let workers = pool.idle();
    assert_eq!(workers.len(), 2);
    pool.close();
    assert!(pool.idle().is_empty());
    for worker in workers {
        assert!(!Path::new(&format!("/proc/{worker}")).exists(), "worker {worker} is still there");
    }
}

#[test]
fn a_pool_that_is_closed_keeps_no_worker() {
    let dir = tempfile::tempdir().unwrap();
    let pool = pool(dir.path());
    let lease = pool.take(None, &soon()).unwrap();
    let worker = lease.pid();
    pool.close();
    lease.done();
    assert!(pool.idle().is_empty() && !Path::new(&format!("/proc/{worker}")).exists());
}

#[test]
fn a_worker_ends_when_its_daemon_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    // A store that never answers keeps the command waiting.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/video.mp4", listener.local_addr().unwrap());
    let mut daemon = Command::new(PROGRAM)
        .args(["frame", &url, "--frame", "0", "--output"])
        .arg(dir.path().join("out.png"))
        .env("EDGELABEL__MEDIA__CACHE_DIR", dir.path())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let worker = wait_for(|| children(daemon.id()).first().copied());
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    wait_for(|| (!Path::new(&format!("/proc/{worker}")).exists()).then_some(()));
}

fn children(parent: u32) -> Vec<u32> {
    let tasks = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    let of_parent = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let after_name = stat.rsplit(')').next().unwrap_or_default().to_owned();
        after_name.split_whitespace().nth(1) == Some(&parent.to_string())
    };
    match tasks.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<u32>>() {
        // Kernels without that file: all processes are asked for their parent.
        none if none.is_empty() => std::fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
            .filter(of_parent)
            .collect(),
        found => found,
    }
}

fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "waited in vain");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn damaged_files_give_a_picture_or_an_error_and_the_worker_lives_on() {
    let dir = tempfile::tempdir().unwrap();
    let media = media(dir.path());
    let intact = std::fs::read(clip::h264(dir.path(), 30)).unwrap();
    let path = dir.path().join("damaged.mp4");
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as usize % below
    };
    for round in 0..40 {
        let mut bytes = intact.clone();
        if round % 2 == 0 {
            bytes.truncate(next(intact.len()));
        } else {
            for _ in 0..20 {
                bytes[next(intact.len())] = next(256) as u8;
            }
        }
        std::fs::write(&path, &bytes).unwrap();
        match media.frame_of_file(&path, &whole(25), &soon()) {
            Ok(frame) => assert_eq!(frame.pictures.len(), 1),
            Err(
                Error::Broken { .. }
                | Error::Unsupported { .. }
                | Error::FrameOutOfRange { .. }
                | Error::TooLarge { .. }
                | Error::NoDecoder { .. },
            ) => {}
            Err(other) => panic!("round {round}: {other}"),
        }
    }
    media.prove(&soon()).unwrap();
}

#[test]
fn a_failure_that_is_named_can_be_shown() {
    // What a worker says is shown to people: it must be a sentence.
    let failure = Failure::NoDecoder { codec: "h264".into(), remedy: "install gstreamer1.0-libav".into() };
    assert_eq!(failure.to_string(), "no decoder for h264: install gstreamer1.0-libav");
}
