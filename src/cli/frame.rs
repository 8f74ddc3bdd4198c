//! `edgelabel frame`: extracts one frame of a file or a link, the same way a trigger does.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use super::ConfigArgument;
use crate::deadline::Deadline;
use crate::media::{Frame, Media, Want};

/// Extracts one frame of a file or link, the way a trigger does
///
/// Frame N is the N-th picture, from 0, in presentation order: what a browser shows when it plays the file from the start,
/// and what Encord's label editor counts.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// A file, or an http(s) link
    #[arg(value_name = "FILE or URL")]
    source: String,
    /// 0-based position in presentation order
    #[arg(long, value_name = "N", default_value_t = 0)]
    frame: u64,
    /// Where the picture goes: .jpg as a model gets it, .png without loss and in full size
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// What decodes it [default: media.decoder]
    #[arg(long, value_parser = ["auto", "software", "vaapi", "nvdec", "v4l2"])]
    decoder: Option<String>,
    /// Print facts about the frame as JSON
    #[arg(long)]
    json: bool,
    /// Give up after so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    timeout: u64,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = arguments.config.load()?;
    let mut settings = config.media();
    if let Some(decoder) = &arguments.decoder {
        settings.decoder.clone_from(decoder);
    }
    // One frame needs one worker, which starts up while the first bytes are fetched.
    settings.workers = 1;
    settings.cache_dir = usable_cache(settings.cache_dir);
    let want = Want { frame: arguments.frame, regions: Vec::new(), lossless: lossless(&arguments.output)?, ..Want::default() };
    let deadline = Deadline::after(Duration::from_secs(arguments.timeout));
    let media = Media::new(settings)?;
    let frame = if arguments.source.starts_with("http://") || arguments.source.starts_with("https://") {
        let url = arguments.source.parse().context("the link cannot be read")?;
        media.frame_of_url(&url, &want, &deadline)?
    } else {
        media.frame_of_file(arguments.source.as_ref(), &want, &deadline)?
    };
    let picture = frame.pictures.first().context("the decoder made no picture")?;
    std::fs::write(&arguments.output, &picture.bytes).with_context(|| format!("{} cannot be written", arguments.output.display()))?;
    if arguments.json {
        super::print(&format!("{}\n", facts(&frame, arguments.frame)))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn lossless(output: &Path) -> anyhow::Result<bool> {
    match output.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase).as_deref() {
        Some("png") => Ok(true),
        Some("jpg" | "jpeg") => Ok(false),
        _ => Err(super::WrongUsage(format!("--output {}: the name must end in .jpg or .png", output.display())).into()),
    }
}

/// The daemon's cache where this user may write it, else one of the user's own.
pub(super) fn usable_cache(configured: PathBuf) -> PathBuf {
    let usable = |dir: &PathBuf| std::fs::create_dir_all(dir).is_ok() && may_write(dir);
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let own = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or(home).map(|dir| dir.join("edgelabel"));
    let last = std::env::temp_dir().join(format!("edgelabel-{}", rustix::process::getuid().as_raw()));
    [Some(configured), own].into_iter().flatten().find(usable).unwrap_or(last)
}

fn may_write(dir: &Path) -> bool {
    rustix::fs::access(dir, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_ok()
}

fn facts(frame: &Frame, number: u64) -> serde_json::Value {
    let tenth = |ms: f64| (ms * 10.0).round() / 10.0;
    let timings = &frame.timings;
    serde_json::json!({
        "frame": number,
        "pts_seconds": frame.pts_seconds,
        "width": frame.width,
        "height": frame.height,
        "decoder": frame.decoder,
        "container": frame.container,
        "codec": frame.codec,
        "hdr": frame.hdr,
        "fell_back": frame.fell_back,
        "bytes_fetched": frame.bytes_fetched,
        "requests": frame.requests,
        "total_bytes": frame.total_bytes,
        "milliseconds": {
            "fetch": tenth(timings.fetch),
            "index": tenth(timings.index),
            "decode": tenth(timings.decode),
            "encode": tenth(timings.encode),
            "total": tenth(timings.total),
        },
    })
}
