//! `make demo`: the real daemon on this machine, from a click to a saved label, with everything that is outside
//! played by emulators on loopback.
//!
//! `demo PROGRAM` runs it with that `edgelabel` program; with `KEEP=1` in the environment all of it stays up.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::error::Error;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use support::backend::{Backend, Call, Options};
use support::daemon::{Daemon, Setup};
use support::fixture::{ThrowAwayKey, add_video, ontology};
use support::media::{VideoRecipe, moving_bars};
use support::model::StandIn;

/// Five GOPs a minute would be typical of a camera; two a second make the point in a small file.
const RECIPE: VideoRecipe = VideoRecipe {
    frames: 600,
    width: 640,
    height: 360,
    fps: 20,
    encode: "x264enc key-int-max=40 speed-preset=veryfast bitrate=2500 ! video/x-h264,profile=main ! mp4mux faststart=true",
};
const FRAME: u64 = 417;
const TITLE: &str = "Scene description";

fn main() -> Result<(), Box<dyn Error>> {
    let program = PathBuf::from(std::env::args().nth(1).ok_or("usage: demo PROGRAM")?).canonicalize()?;
    let keep = std::env::var("KEEP").is_ok_and(|value| !value.is_empty() && value != "0");
    let paint = Paint { colour: std::io::stdout().is_terminal() };
    paint.headline("edgelabel demo: a click in the label editor becomes a saved label");
    paint.note("Real: the daemon, HTTPS, signatures, ranges, decoding, the label row. Emulated: Encord, and a STAND-IN for the model.");

    let outside = Outside::start(&paint)?;
    let mut daemon = start_daemon(&paint, &program, &outside)?;
    click(&paint, &daemon, &outside)?;
    if keep {
        leave_running(&paint, &daemon, &outside)?;
    }
    daemon.signal(rustix::process::Signal::TERM);
    daemon.wait_exit(Duration::from_secs(15));
    Ok(())
}

/// Everything that is not the box.
struct Outside {
    backend: Backend,
    model: StandIn,
    key: ThrowAwayKey,
    project: String,
    video: String,
    video_bytes: usize,
}

impl Outside {
    fn start(paint: &Paint) -> Result<Self, Box<dyn Error>> {
        let step = paint.step("a video with a moving pattern");
        let bytes = RECIPE.painted(|frame, x, y| moving_bars(frame, RECIPE.frames, x, y));
        let video_bytes = bytes.len();
        let length = RECIPE.frames / u64::from(RECIPE.fps);
        step.done(&format!("{length} s, {}×{}, H.264 in MP4, {}", RECIPE.width, RECIPE.height, size(video_bytes as u64)));

        let step = paint.step("an emulated Encord backend");
        let backend = Backend::start(Options::default())?;
        let key = ThrowAwayKey::new();
        let (project, video) = {
            let mut store = backend.store();
            store.add_key(&key.public, "agent@example.com");
            let project = store.add_project("Road scenes", ontology());
            let video = add_video(&mut store, &project, "drive.mp4", &RECIPE, bytes);
            (project, video)
        };
        step.done(backend.url());

        let step = paint.step("a STAND-IN for the model");
        let model = StandIn::start(0, None)?;
        step.done(&format!("{}, measures the picture, understands nothing", model.url()));
        Ok(Self { backend, model, key, project, video, video_bytes })
    }
}

fn fresh_folder() -> Result<PathBuf, Box<dyn Error>> {
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from).join("demo");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    Ok(folder.canonicalize()?)
}

/// Starts the real daemon against the emulators.
fn start_daemon(paint: &Paint, program: &Path, outside: &Outside) -> Result<Daemon, Box<dyn Error>> {
    let setup = Setup::within(fresh_folder()?, program, &outside.backend, &outside.key, &outside.model).agent("/", TITLE, "");
    setup.write();
    let step = paint.step("a certificate of this box's own authority");
    setup.make_certificate();
    step.done("for localhost and 127.0.0.1");

    let step = paint.step("the daemon");
    let daemon = setup.launch();
    let ready = daemon.wait_ready();
    std::fs::write(daemon.setup.folder().join("ca.crt"), daemon.authority())?;
    step.done(&format!("{} ready {} ms after its start", daemon.url("/"), ready.as_millis()));
    Ok(daemon)
}

fn leave_running(paint: &Paint, daemon: &Daemon, outside: &Outside) -> Result<(), Box<dyn Error>> {
    paint.headline("Left running; Ctrl-C ends it");
    let body = serde_json::json!({"projectHash": outside.project, "dataHash": outside.video, "frame": 100});
    println!("  status page   {}", daemon.admin_url("/"));
    println!("  log           {}", daemon.setup.log_file().display());
    println!("  click again   curl -i --cacert {} -H 'Content-Type: application/json' \\", daemon.setup.folder().join("ca.crt").display());
    println!("                  -d '{body}' {}", daemon.url("/"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut end = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            outcome = tokio::signal::ctrl_c() => outcome,
            _ = end.recv() => Ok(()),
        }
    })?;
    Ok(())
}

/// Triggers, and shows what came of it.
fn click(paint: &Paint, daemon: &Daemon, outside: &Outside) -> Result<(), Box<dyn Error>> {
    paint.headline(&format!("The annotator clicks at frame {FRAME}"));
    outside.backend.forget_records();
    let begun = Instant::now();
    let link = format!("https://app.encord.com/label_editor/{}/{}/{FRAME}", outside.project, outside.video);
    let url = daemon.url("");
    println!("  $ edgelabel trigger {link} --url {url}");
    let sent = daemon.setup.command(&["trigger", &link, "--url", &url, "--config"]).arg(daemon.setup.config_file()).output()?;
    let took = begun.elapsed();
    println!("{}", indent(&String::from_utf8_lossy(&sent.stdout)));
    if !sent.status.success() {
        return Err(format!("{}\n{}", String::from_utf8_lossy(&sent.stderr), daemon.log()).into());
    }
    own_account(paint, daemon)?;
    timeline(paint, outside, begun, took);

    let row = outside.backend.row(&outside.video).ok_or("no label row was saved")?;
    let answers = row["classification_answers"].as_object().ok_or("the row has no answers")?;
    let answer = answers.values().next().ok_or("the row has no answer")?;
    if answer["range"] != serde_json::json!([[FRAME, FRAME]]) {
        return Err(format!("the answer is at {} instead of frame {FRAME}", answer["range"]).into());
    }
    paint.headline("Saved in the label row");
    println!("{}", indent(&serde_json::to_string_pretty(answer)?));
    let text = answer["classifications"][0]["answers"].as_str().unwrap_or_default();
    paint.headline(&format!("frame {FRAME} of drive.mp4, {TITLE}: {text}"));
    Ok(())
}

/// The daemon's own account of the trigger, from the history in its journal.
fn own_account(paint: &Paint, daemon: &Daemon) -> Result<(), Box<dyn Error>> {
    let journal = daemon.setup.folder().join("journal.db");
    let journal = rusqlite::Connection::open_with_flags(journal, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let newest = || journal.query_row("SELECT episode FROM history ORDER BY number DESC LIMIT 1", [], |row| row.get::<_, String>(0));
    // The history is written after the answer is sent.
    let mut episode = newest();
    for _ in 0..50 {
        if episode.is_ok() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
        episode = newest();
    }
    let episode: serde_json::Value = serde_json::from_str(&episode?)?;
    paint.headline("Where the daemon spent the time");
    for step in episode["steps"].as_array().into_iter().flatten() {
        println!("  {:<12} {:>8.1} ms", step[0].as_str().unwrap_or_default(), step[1].as_f64().unwrap_or_default());
    }
    let decoder = episode["decoder"].as_str().unwrap_or_default();
    println!("  bytes fetched {}, decoder {decoder}", episode["bytes"]);
    Ok(())
}

/// What the outside saw, in order, counted from the click.
fn timeline(paint: &Paint, outside: &Outside, begun: Instant, took: Duration) {
    paint.headline("What the outside saw, in milliseconds since the click");
    let since = |at: Instant| at.saturating_duration_since(begun).as_secs_f64() * 1000.0;
    let records = outside.backend.records();
    let mut steps: Vec<(f64, f64, String)> = Vec::new();
    for record in records.iter().filter(|record| record.call != Call::Media) {
        steps.push((since(record.request.at), since(record.finished), format!("Encord: {}", step_name(record.call))));
    }
    let media: Vec<_> = records.iter().filter(|record| record.call == Call::Media).collect();
    let fetched: u64 = media.iter().map(|record| record.bytes).sum();
    if let (Some(first), Some(last)) = (media.first(), media.last()) {
        let share = fetched as f64 * 100.0 / outside.video_bytes as f64;
        let what = format!("media: {} in {} requests, {share:.1} % of the file", size(fetched), media.len());
        steps.push((since(first.request.at), since(last.finished), what));
    }
    for question in outside.model.questions() {
        let picture = question.pictures.first();
        let seen = picture
            .map_or("no picture".into(), |seen| format!("{}×{} {}, {}", seen.width, seen.height, seen.mime, size(seen.bytes as u64)));
        steps.push((since(question.request.at), since(question.finished), format!("STAND-IN model: {seen}")));
    }
    steps.sort_by(|one, other| one.0.total_cmp(&other.0));
    for (from, to, what) in &steps {
        println!("  {from:>8.1} {to:>8.1}  {what}");
    }
    println!("  {:>17.1}  done; bytes fetched: {fetched} of {}", took.as_secs_f64() * 1000.0, outside.video_bytes);
}

fn step_name(call: Call) -> &'static str {
    match call {
        Call::Project => "project with its ontology",
        Call::Ontology => "ontology",
        Call::StorageItem => "storage item",
        Call::ListRows => "list label rows",
        Call::CreateRow => "create the label row, with signed link",
        Call::GetRow => "read the label row",
        Call::DataLinks => "signed links",
        Call::SaveRow => "save the label row",
        Call::UploadLink | Call::Upload | Call::Register | Call::UploadJob | Call::LinkItem | Call::Media | Call::Other => "other",
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{:.0} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

/// Output for a person.
struct Paint {
    colour: bool,
}

impl Paint {
    fn headline(&self, text: &str) {
        if self.colour { println!("\n\x1b[1m{text}\x1b[0m") } else { println!("\n{text}") }
    }

    fn note(&self, text: &str) {
        println!("{text}\n");
    }

    /// A line that says what is being done, finished by [`Step::done`].
    fn step(&self, what: &str) -> Step {
        print!("  {what:<44}");
        let _ = std::io::stdout().flush();
        Step { begun: Instant::now() }
    }
}

struct Step {
    begun: Instant,
}

impl Step {
    fn done(self, result: &str) {
        println!("{:>6} ms  {result}", self.begun.elapsed().as_millis());
    }
}
