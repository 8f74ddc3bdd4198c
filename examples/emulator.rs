//! The emulated Encord backend and the stand-in model by themselves, for the Python SDK and for trying things by hand.
//!
//! `cargo run --example emulator -- [--port N] [--media-port N] [--model-port N] [--folder DIR] [--latency-ms N]
//! [--media-host HOST]`
//!
//! Writes the private key that it lets in to DIR (default: a temporary directory), prints one line of JSON with
//! every address and hash, and runs until its standard input ends or it is killed.
//!
//! Lines of JSON on standard input change what it does; each is answered by one line of JSON:
//! `{"fix": {"Weather": "Sunny"}}` fixes answers of the stand-in model, `{"fix": null}` frees them, `{"reset": true}`
//! forgets all label rows and records, `{"row": "<data hash>"}` shows a stored label row, `{"calls": true}` the calls
//! received so far, `{"remarks": true}` what was odd in saves. `{"add_image": FILE}` and
//! `{"add_video": {"frames": N, "width": W, "height": H}}` add a data item and answer its hash as `{"data"}`.
//! `{"thinking_ms": N}` is how long the model takes from now on; `{"refuse_saves": N}` answers the next N saves with 503.
//! `{"add_project": {"editor": ONTOLOGY, "video": true}}` makes a project with an image, and a video if wanted.
//! `{"dice": SEED}` has the model answer any instance of the schema, `{"dice": null}` what it sees; `{"questions": true}`
//! shows the schemas that it was asked, each with its answer.
//! `{"fail": "GetRow", "status": 503, "body": "…", "times": N}` lets the next N calls of a kind (`Model` for the model)
//! meet that status, `{"heal": true}` ends it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use support::backend::{Backend, Call, Options};
use support::daemon::write_private;
use support::faults::Fault;
use support::fixture::{Fixture, add_video};
use support::media::{VideoRecipe, jpeg, moving_bars};
use support::model::{Question, StandIn};

#[derive(Default)]
struct Arguments {
    port: u16,
    media_port: u16,
    model_port: u16,
    folder: Option<PathBuf>,
    latency: Duration,
    media_host: Option<String>,
}

impl Arguments {
    fn read() -> Result<Self, String> {
        let mut arguments = Self::default();
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
            let number = || value.parse::<u16>().map_err(|_| format!("{word} needs a number, not {value}"));
            match word.as_str() {
                "--port" => arguments.port = number()?,
                "--media-port" => arguments.media_port = number()?,
                "--model-port" => arguments.model_port = number()?,
                "--latency-ms" => arguments.latency = Duration::from_millis(number()?.into()),
                "--media-host" => arguments.media_host = Some(value),
                "--folder" => arguments.folder = Some(value.into()),
                _ => return Err(format!("unknown option {word}")),
            }
        }
        Ok(arguments)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::read()?;
    let fixture =
        Fixture::start(Options { port: arguments.port, media_port: arguments.media_port, media_host: arguments.media_host, tls: None });
    let model = StandIn::start(arguments.model_port, None)?;
    fixture.backend.behave(|behaviour| behaviour.latency = arguments.latency);
    model.quirks(|quirks| quirks.thinking_time = arguments.latency);

    let temporary = tempfile::tempdir()?;
    let folder = arguments.folder.unwrap_or_else(|| temporary.path().to_owned());
    std::fs::create_dir_all(&folder)?;
    let key = folder.join("encord_key");
    write_private(&key, &fixture.key.private_text);
    say(&json!({
        "note": "emulated Encord backend and STAND-IN model: nothing here is real",
        "encord_domain": fixture.backend.url(),
        "media": fixture.backend.media_url(),
        "model_base_url": model.url(),
        "ssh_key_file": key,
        "project": fixture.project,
        "image": fixture.image,
        "group": fixture.group,
        "video": fixture.video,
        "folder": fixture.folder,
        "dataset": fixture.dataset,
    }))?;

    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let answer = match serde_json::from_str(&line) {
            Ok(command) => obey(&command, &fixture.backend, &fixture.project, &model),
            Err(error) => json!({"error": error.to_string()}),
        };
        say(&answer)?;
    }
    Ok(())
}

fn say(value: &Value) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{value}")?;
    out.flush()
}

fn obey(command: &Value, backend: &Backend, project: &str, model: &StandIn) -> Value {
    if let Some(fixed) = command.get("fix") {
        model.unfix();
        for (title, value) in fixed.as_object().into_iter().flatten() {
            model.fix(title, value.clone());
        }
        return json!({"ok": true});
    }
    if command["reset"] == true {
        backend.store().forget_rows();
        backend.forget_records();
        model.forget_questions();
        return json!({"ok": true});
    }
    if let Some(data) = command["row"].as_str() {
        return json!({"row": backend.row(data)});
    }
    if command["calls"] == true {
        let calls: Vec<Value> = backend
            .records()
            .iter()
            .map(|record| json!({"call": format!("{:?}", record.call), "status": record.status, "code": record.code, "bytes": record.bytes, "connection": record.request.connection}))
            .collect();
        return json!({"calls": calls, "questions": model.questions().len()});
    }
    if command["remarks"] == true {
        return json!({"remarks": backend.store().remarks});
    }
    if let Some(kind) = command["fail"].as_str() {
        return fail(kind, command, backend, model).map_or_else(|error| json!({"error": error}), |()| json!({"ok": true}));
    }
    if command["heal"] == true {
        backend.heal();
        model.heal();
        return json!({"ok": true});
    }
    if let Some(milliseconds) = command["thinking_ms"].as_u64() {
        model.quirks(|quirks| quirks.thinking_time = Duration::from_millis(milliseconds));
        return json!({"ok": true});
    }
    if let Some(times) = command["refuse_saves"].as_u64() {
        backend.heal();
        backend.fail(Call::SaveRow, Fault::Status(503, "maintenance".into()), times as usize);
        return json!({"ok": true});
    }
    if let Some(file) = command["add_image"].as_str() {
        return add_image(backend, project, file).map_or_else(|error| json!({"error": error.to_string()}), |data| json!({"data": data}));
    }
    if let Some(video) = command.get("add_video") {
        let number = |key: &str| video[key].as_u64().unwrap_or(64);
        let recipe = VideoRecipe {
            frames: number("frames"),
            width: number("width") as u32,
            height: number("height") as u32,
            fps: 25,
            encode: "x264enc key-int-max=50 speed-preset=veryfast bitrate=4000 ! video/x-h264,profile=main ! mp4mux faststart=true",
        };
        let bytes = recipe.painted(|frame, x, y| moving_bars(frame, recipe.frames, x, y));
        let size = bytes.len();
        let data = add_video(&mut backend.store(), project, "drive.mp4", &recipe, bytes);
        return json!({"data": data, "bytes": size});
    }
    if let Some(seed) = command.get("dice") {
        model.quirks(|quirks| quirks.dice = seed.as_u64());
        model.forget_questions();
        return json!({"ok": true});
    }
    if command["questions"] == true {
        let shown = |asked: Question| json!({"schema": asked.body["response_format"]["json_schema"]["schema"], "answer": asked.answer});
        return json!({"questions": model.questions().into_iter().map(shown).collect::<Vec<_>>()});
    }
    if let Some(wanted) = command.get("add_project") {
        return add_project(backend, wanted);
    }
    json!({"error": "unknown command"})
}

fn add_project(backend: &Backend, wanted: &Value) -> Value {
    let (width, height) = (64, 48);
    let mut store = backend.store();
    let project = store.add_project("Made on demand", wanted["editor"].clone());
    let image = store.add_image(&project, "grey.jpg", "image/jpeg", (width, height), jpeg(width, height, [90, 90, 90]));
    let video = (wanted["video"] == true).then(|| {
        let recipe = VideoRecipe { frames: 8, ..VideoRecipe::default() };
        add_video(&mut store, &project, "short.mp4", &recipe, recipe.coloured())
    });
    json!({"project": project, "image": image, "video": video})
}

/// Lets the next calls of a kind meet an HTTP status instead of their proper answer.
fn fail(kind: &str, command: &Value, backend: &Backend, model: &StandIn) -> Result<(), String> {
    const CALLS: [Call; 7] = [Call::Project, Call::Ontology, Call::ListRows, Call::CreateRow, Call::GetRow, Call::SaveRow, Call::Media];
    let status = command["status"].as_u64().and_then(|status| u16::try_from(status).ok()).ok_or("fail needs a status")?;
    let fault = Fault::Status(status, command["body"].as_str().unwrap_or("{}").to_owned());
    let times = command["times"].as_u64().map_or(usize::MAX, |times| times as usize);
    if kind == "Model" {
        model.fail(fault, times);
        return Ok(());
    }
    let call = CALLS.into_iter().find(|call| format!("{call:?}") == kind).ok_or_else(|| format!("unknown kind of call {kind}"))?;
    backend.fail(call, fault, times);
    Ok(())
}

fn add_image(backend: &Backend, project: &str, file: &str) -> Result<String, Box<dyn std::error::Error>> {
    let bytes = std::fs::read(file)?;
    let reader = image::ImageReader::new(std::io::Cursor::new(&bytes)).with_guessed_format()?;
    let mime = reader.format().ok_or("not a picture")?.to_mime_type();
    let size = reader.into_dimensions()?;
    let name = std::path::Path::new(file).file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(backend.store().add_image(project, &name, mime, size, bytes))
}
