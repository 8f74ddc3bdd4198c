//! `edgelabel frame`: extracts one frame of a file or a link, the same way a trigger does.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::deadline::Deadline;
use crate::media::{AssetLink, DataType, Frame, Media, Settings, Want};

/// What `edgelabel frame` is asked for.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// A file, or an http(s) link
    pub source: String,
    /// 0-based position in presentation order
    #[arg(long, default_value_t = 0)]
    pub frame: u64,
    /// Where the picture goes: .jpg as a model gets it, .png without loss and in full size
    #[arg(long)]
    pub output: PathBuf,
    /// auto, software, vaapi, nvdec or v4l2 [default: as configured]
    #[arg(long, value_parser = ["auto", "software", "vaapi", "nvdec", "v4l2"])]
    pub decoder: Option<String>,
    /// Facts about the frame as JSON on stdout
    #[arg(long)]
    pub json: bool,
    /// Give up after so many seconds
    #[arg(long, default_value_t = 120)]
    pub timeout: u64,
}

/// Extracts the frame with `settings`, whose decoder the arguments may override.
pub fn run(args: &Arguments, mut settings: Settings) -> Result<()> {
    if let Some(decoder) = &args.decoder {
        settings.decoder.clone_from(decoder);
    }
    // One frame needs one worker, which starts while the first bytes are fetched.
    settings.workers = 1;
    let lossless = match args.output.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase).as_deref() {
        Some("png") => true,
        Some("jpg" | "jpeg") => false,
        _ => bail!("--output {} must end in .jpg or .png", args.output.display()),
    };
    let want = Want { frame: args.frame, regions: Vec::new(), lossless, max_side: None };
    let deadline = Deadline::after(Duration::from_secs(args.timeout));
    let media = Media::new(settings)?;
    let frame = if args.source.starts_with("http://") || args.source.starts_with("https://") {
        let link = link(&args.source)?;
        media.frame(&link, &want, &mut || None, &deadline)?
    } else {
        media.frame_of_file(args.source.as_ref(), &want, &deadline)?
    };
    let picture = frame.pictures.first().context("the decoder made no picture")?;
    std::fs::write(&args.output, &picture.bytes).with_context(|| format!("{} cannot be written", args.output.display()))?;
    if args.json {
        println!("{}", facts(&frame, args.frame));
    }
    Ok(())
}

fn link(source: &str) -> Result<AssetLink> {
    let url: crate::ids::SignedUrl = source.parse().context("the link cannot be read")?;
    let path = url.expose().path();
    let title = path.rsplit('/').next().unwrap_or_default().to_owned();
    // Nobody says what it is: its extension does, and a wrong guess is no contradiction worth an error.
    let still = ["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "heic"];
    let extension = title.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    let data_type = if still.contains(&extension.as_str()) { DataType::Image } else { DataType::Video };
    Ok(AssetLink { url, data_type, mime: None, title })
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
