//! `edgelabel capture`: lists the cameras of the box, or takes a picture with one.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use super::progress::Progress;
use super::{ConfigArgument, WrongUsage, print};
use crate::camera::{BUILT_IN, Camera, Error, Format, Node, Settings, Shot, nodes};

mod deliver;

/// Lists the cameras of this box, or takes a picture with one, to a file or to Encord
///
/// Without a name, lists the cameras that are there, each with the name to write into the configuration. With the name of
/// a [[camera]], or the path or bus id of one that is not configured, takes a picture once the exposure has settled. Without
/// --output it goes to Encord: uploaded to the camera's storage folder, registered, and put into its dataset. With --label
/// the camera's agent then answers for it, so that it is labelled when an annotator first opens it.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// A camera's name, or its path or bus id
    camera: Option<String>,
    /// Where the picture goes: a .jpg
    #[arg(long, value_name = "FILE", requires = "camera")]
    output: Option<PathBuf>,
    /// Send this picture to Encord instead of taking one: a .jpg that was taken before
    #[arg(long, value_name = "FILE", requires = "camera", conflicts_with = "output")]
    picture: Option<PathBuf>,
    /// Have the camera's agent label the picture at Encord
    #[arg(long, requires = "camera", conflicts_with = "output")]
    label: bool,
    /// Print facts as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, make: fn(Settings) -> Camera) -> anyhow::Result<ExitCode> {
    let config = arguments.config.load()?;
    let configured = config.cameras();
    if !BUILT_IN && arguments.picture.is_none() {
        return Err(Error::NotBuilt.into());
    }
    let Some(camera) = &arguments.camera else { return list(&configured, arguments.json) };
    let settings = named(camera, configured)?;
    match &arguments.output {
        Some(output) => take(&make(settings), output, arguments.json),
        None => deliver::run(config, &make(settings), arguments),
    }
}

fn list(configured: &[Settings], json: bool) -> anyhow::Result<ExitCode> {
    let mut cameras = nodes::all();
    cameras.retain(|node| !matches!(&node.device, Ok(device) if !device.is_usable_camera()));
    if json {
        let listed: Vec<serde_json::Value> = cameras.iter().map(listed).collect();
        print(&format!("{}\n", serde_json::to_string_pretty(&listed)?))?;
    } else if cameras.is_empty() {
        print("no camera is there (/dev/video*)\n")?;
    } else {
        print(&cameras.iter().map(|node| line(node, configured)).collect::<String>())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn listed(node: &Node) -> serde_json::Value {
    match &node.device {
        Ok(device) => serde_json::json!({
            "path": node.path,
            "stable": node.stable,
            "bus": device.bus,
            "card": device.card,
            "driver": device.driver,
            "formats": device.gives,
        }),
        Err(trouble) => {
            serde_json::json!({ "path": node.path, "stable": node.stable, "error": trouble.to_string(), "remedy": trouble.remedy() })
        }
    }
}

fn line(node: &Node, configured: &[Settings]) -> String {
    let device = match &node.device {
        Ok(device) => device,
        Err(trouble) => return format!("{}\n    {trouble}: {}\n", node.path.display(), trouble.remedy()),
    };
    let leads_here =
        |camera: &&Settings| camera.device == device.bus || std::fs::canonicalize(&camera.device).is_ok_and(|path| path == node.path);
    let names: Vec<&str> = configured.iter().filter(leads_here).map(|camera| camera.name.as_str()).collect();
    let known = if names.is_empty() { String::new() } else { format!("    configured as {}\n", names.join(", ")) };
    format!("{}\n    {}\n    device = {:?}, or {:?}\n{known}", node.path.display(), device.described(), node.best_name(), device.bus)
}

/// A configured camera, or one that is not, with default settings.
fn named(camera: &str, configured: Vec<Settings>) -> anyhow::Result<Settings> {
    let names = configured.iter().map(|camera| camera.name.clone()).collect::<Vec<_>>().join(", ");
    if let Some(found) = configured.into_iter().find(|settings| settings.name == camera) {
        return Ok(found);
    }
    // Paths and bus ids hold what no name may.
    if camera.contains(['/', ':']) {
        return Ok(Settings {
            name: camera.replace('/', "-"),
            device: camera.into(),
            format: Format::Auto,
            size: None,
            timeout: Duration::from_secs(10),
            settle: Duration::from_secs(2),
            jpeg_quality: 92,
        });
    }
    let known = if names.is_empty() { "there is no [[camera]] in it".into() } else { format!("it has {names}") };
    Err(WrongUsage(format!("the configuration has no camera {camera:?}: {known}; a path such as /dev/video0 will do too")).into())
}

fn take(camera: &Camera, output: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let is_jpeg = output.extension().is_some_and(|end| end.eq_ignore_ascii_case("jpg") || end.eq_ignore_ascii_case("jpeg"));
    if !is_jpeg {
        return Err(WrongUsage(format!("--output {}: the name must end in .jpg", output.display())).into());
    }
    let progress = Progress::new("waiting for the camera");
    let shot = camera.take()?;
    drop(progress);
    std::fs::write(output, &shot.jpeg).with_context(|| format!("{} cannot be written", output.display()))?;
    print(&if json { format!("{}\n", facts(&shot)) } else { told(&shot, output) })?;
    let settle = camera.settings().settle;
    if !shot.settled && !settle.is_zero() {
        eprintln!("warning: the exposure did not settle within {} s", settle.as_secs_f64());
    }
    Ok(ExitCode::SUCCESS)
}

fn told(shot: &Shot, output: &Path) -> String {
    format!(
        "{}: {}x{} from {} as {}, {} bytes, {} ms ({}), {} frames left out\n",
        output.display(),
        shot.width,
        shot.height,
        shot.path.display(),
        shot.format,
        shot.jpeg.len(),
        shot.times.total.as_millis(),
        shot.times,
        shot.dropped
    )
}

fn facts(shot: &Shot) -> serde_json::Value {
    serde_json::json!({
        "device": shot.path,
        "format": shot.format,
        "width": shot.width,
        "height": shot.height,
        "bytes": shot.jpeg.len(),
        "frames_left_out": shot.dropped,
        "settled": shot.settled,
        "milliseconds": shot.times.total.as_millis() as u64,
        "steps": shot.times.milliseconds(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_is_named_by_the_configuration_or_by_its_path() {
        let gate = || vec![Settings { name: "gate".into(), ..named("/dev/video4", Vec::new()).unwrap() }];
        assert_eq!(named("gate", gate()).unwrap().device, "/dev/video4");
        assert_eq!(named("usb-0000:00:14.0-1", gate()).unwrap().device, "usb-0000:00:14.0-1");
        let error = named("door", gate()).unwrap_err();
        assert!(error.is::<WrongUsage>() && error.to_string().contains("it has gate"), "{error}");
    }
}
