use std::sync::atomic::AtomicUsize;

use super::*;
use crate::camera::{Eye, Format, FourCc, Shot};
use crate::journal::{Rounds, Settings};

struct Bench {
    shutters: Shutters,
    journal: Arc<Journal>,
    metrics: Arc<Metrics>,
    rung: Arc<AtomicUsize>,
    _courier: Rounds,
    _folder: tempfile::TempDir,
}

/// Cameras that look through `eye`, and a courier that only counts how often it is rung.
fn bench(eye: impl Fn(&camera::Settings) -> Result<Shot, camera::Error> + Send + Sync + 'static) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let journal = Arc::new(Journal::new(Settings::roomy(folder.path())));
    let rung = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&rung);
    let courier = Rounds::start("courier", Duration::from_secs(60), move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        true
    })
    .unwrap();
    let eye: Arc<Eye> = Arc::new(eye);
    let metrics = Arc::<Metrics>::default();
    let make = move |settings| Camera::seen_by(settings, Arc::clone(&eye));
    let shutters = Shutters::new(Arc::clone(&journal), courier.bell(), Box::new(make), Arc::clone(&metrics));
    Bench { shutters, journal, metrics, rung, _courier: courier, _folder: folder }
}

fn duty(name: &str, interval: Option<Duration>) -> Duty {
    let camera = camera::Settings {
        name: name.into(),
        device: "/dev/video0".into(),
        format: Format::Auto,
        size: None,
        timeout: Duration::from_millis(200),
        settle: Duration::ZERO,
        jpeg_quality: 90,
    };
    let (folder, dataset) = ("027e0c65-c53f-426d-9f02-04fafe8bd80e", "038ed92d-dbe8-4991-a3aa-6ede35d6e62d");
    let shelf = Some(Shelf { folder: folder.parse().unwrap(), dataset: dataset.parse().unwrap() });
    Duty { camera, shelf, labelling: None, interval }
}

fn shot() -> Shot {
    Shot {
        jpeg: vec![0xff, 0xd8, 0xff],
        width: 640,
        height: 480,
        format: FourCc(*b"MJPG"),
        path: "/dev/video0".into(),
        dropped: 0,
        settled: true,
        at: time::OffsetDateTime::now_utc(),
        times: camera::Times { total: Duration::from_millis(5), ..camera::Times::default() },
    }
}

fn missing() -> camera::Error {
    camera::Error::Missing { device: "/dev/video0".into() }
}

fn wait_until(told: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < Duration::from_secs(20), "not within 20 s: {told}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_press_ends_in_a_picture_that_is_in_the_journal_and_held() {
    let bench = bench(|_| Ok(shot()));
    bench.shutters.change(vec![duty("gate", None)]).unwrap();
    let taken = bench.shutters.press("gate").unwrap();
    assert_eq!((taken.width, taken.capture.camera.as_str(), taken.held.jpeg().unwrap()), (640, "gate", vec![0xff, 0xd8, 0xff]));
    assert!(matches!(bench.journal.hold(&taken.capture.id).unwrap(), journal::Hold::Busy));
    assert_eq!(bench.journal.captures().unwrap().len(), 1);
}

#[test]
fn pictures_are_counted_by_camera_and_outcome_and_what_was_no_try_is_not() {
    let looks = AtomicUsize::new(0);
    let bench = bench(move |_| if looks.fetch_add(1, Ordering::SeqCst) == 0 { Ok(shot()) } else { Err(missing()) });
    bench.shutters.change(vec![duty("gate", None), Duty { shelf: None, ..duty("door", None) }]).unwrap();
    assert!(bench.shutters.press("gate").is_ok() && bench.shutters.press("gate").is_err() && bench.shutters.press("door").is_err());
    let page = bench.metrics.render(&crate::telemetry::Readings::default());
    let counted: Vec<&str> = page.lines().filter(|line| line.starts_with("edgelabel_camera_pictures_total")).collect();
    let of = |outcome: &str| format!("edgelabel_camera_pictures_total{{camera=\"gate\",outcome=\"{outcome}\"}} 1");
    assert_eq!(counted, [of("missing"), of("taken")]);
    assert!(page.contains("edgelabel_camera_step_seconds_count{step=\"total\"} 1"), "{page}");
}

#[test]
fn what_cannot_be_pressed_is_told_by_name() {
    let bench = bench(|_| Ok(shot()));
    let told = |camera: &str| bench.shutters.press(camera).unwrap_err().to_string();
    assert!(told("gate").contains("edgelabel starts"), "{}", told("gate"));
    bench.shutters.change(Vec::new()).unwrap();
    assert!(told("gate").contains("no [[camera]]"), "{}", told("gate"));
    bench.shutters.change(vec![Duty { shelf: None, ..duty("gate", None) }]).unwrap();
    assert!(told("door").contains("it has gate"), "{}", told("door"));
    assert!(told("gate").contains("no folder and dataset"), "{}", told("gate"));
    bench.shutters.end();
    bench.shutters.change(vec![duty("gate", None)]).unwrap();
    assert!(matches!(bench.shutters.press("gate"), Err(Trouble::Over { .. })), "a reload during the end begins nothing");
}

#[test]
fn a_full_queue_is_told_at_once_and_a_slow_camera_serves_those_in_it() {
    let gate = Arc::new(Mutex::new(()));
    let shut = gate.lock().unwrap();
    let for_eye = Arc::clone(&gate);
    let bench = bench(move |_| {
        drop(for_eye.lock().unwrap());
        Ok(shot())
    });
    bench
        .shutters
        .change(vec![Duty {
            camera: camera::Settings { timeout: Duration::from_secs(60), ..duty("gate", None).camera },
            ..duty("gate", None)
        }])
        .unwrap();
    std::thread::scope(|scope| {
        let (answers, results) = channel();
        // One is being taken, and the queue is full behind it: of two more than that, one at least is refused.
        for _ in 0..QUEUE + 2 {
            let (answers, shutters) = (answers.clone(), &bench.shutters);
            scope.spawn(move || answers.send(shutters.press("gate").map(drop)));
        }
        assert!(matches!(results.recv_timeout(Duration::from_secs(20)).unwrap(), Err(Trouble::Busy { .. })));
        drop(shut);
        drop(answers);
        let served = results.iter().filter(Result::is_ok).count();
        assert!(served >= QUEUE && bench.journal.captures().unwrap().len() == served, "{served}");
    });
}

#[test]
fn a_camera_that_hangs_holds_up_neither_another_nor_the_end() {
    let hangs = Arc::new(AtomicBool::new(false));
    let for_eye = Arc::clone(&hangs);
    let bench = bench(move |settings| {
        if settings.name == "stuck" {
            for_eye.store(true, Ordering::SeqCst);
            std::thread::sleep(Duration::from_secs(3600));
        }
        Ok(shot())
    });
    bench.shutters.change(vec![duty("stuck", None), duty("gate", None)]).unwrap();
    std::thread::scope(|scope| {
        let (shutters, begin) = (&bench.shutters, Instant::now());
        let stuck = scope.spawn(move || shutters.press("stuck"));
        wait_until("the camera that hangs", || hangs.load(Ordering::SeqCst));
        wait_until("the other camera", || shutters.press("gate").is_ok());
        shutters.end();
        assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
        // Given up after the camera's time and the driver's grace.
        assert!(matches!(stuck.join().unwrap(), Err(Trouble::Camera(camera::Error::Silent { .. }))));
    });
}

#[test]
fn a_camera_at_an_interval_survives_being_unplugged_and_calls_the_courier() {
    let plugged = Arc::new(AtomicBool::new(true));
    let for_eye = Arc::clone(&plugged);
    let looks = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&looks);
    let bench = bench(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        if for_eye.load(Ordering::SeqCst) { Ok(shot()) } else { Err(missing()) }
    });
    wait_until("the courier's first round", || bench.rung.load(Ordering::SeqCst) == 1);
    bench.shutters.change(vec![duty("gate", Some(Duration::from_millis(50)))]).unwrap();
    let pictures = || bench.journal.captures().unwrap().len();
    wait_until("two pictures", || pictures() >= 2);
    wait_until("the courier", || bench.rung.load(Ordering::SeqCst) >= 2);
    plugged.store(false, Ordering::SeqCst);
    let tries = looks.load(Ordering::SeqCst);
    wait_until("tries without a camera", || looks.load(Ordering::SeqCst) >= tries + 3);
    assert!(matches!(bench.shutters.press("gate"), Err(Trouble::Camera(camera::Error::Missing { .. }))));
    let before = pictures();
    plugged.store(true, Ordering::SeqCst);
    wait_until("pictures again", || pictures() > before);
}

#[test]
fn a_reload_leaves_cameras_alone_that_did_not_change_and_ends_those_that_are_gone() {
    let looks = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&looks);
    let bench = bench(move |settings| {
        seen.lock().unwrap().push(settings.name.clone());
        Ok(shot())
    });
    let hourly = Some(Duration::from_secs(3600));
    let count = |name: &str| looks.lock().unwrap().iter().filter(|seen| *seen == name).count();
    bench.shutters.change(vec![duty("gate", hourly), duty("door", hourly)]).unwrap();
    wait_until("the first pictures", || count("gate") == 1 && count("door") == 1);
    bench.shutters.change(vec![duty("gate", hourly), duty("yard", hourly)]).unwrap();
    wait_until("the new camera's", || count("yard") == 1);
    assert_eq!((count("gate"), count("door")), (1, 1), "the first picture is taken at the start only");
    assert!(matches!(bench.shutters.press("door"), Err(Trouble::Unknown { .. })));
    assert!(bench.shutters.press("gate").is_ok());
}
