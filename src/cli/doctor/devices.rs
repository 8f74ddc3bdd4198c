//! V4L2 devices: cameras, and the codec devices of small boards, each with the GStreamer elements that would use it.

use std::path::PathBuf;

use serde_json::Value;

use super::running::{self, moment};
use super::{Check, Status};
use crate::camera::{BUILT_IN, Device, Kind, Node, nodes};
use crate::config::Config;
use crate::config::file::Decoder;
use crate::media::decode::has_element;

/// One line for each device node, one for each configured camera, and one for what is missing altogether.
pub(super) fn check(config: &Config) -> Vec<Check> {
    if !BUILT_IN {
        let detail = "not looked at: this edgelabel was built without the feature v4l";
        return vec![match config.cameras().is_empty() {
            true => Check::ok("V4L2 devices", detail),
            false => Check::failed("V4L2 devices", detail, "build it with default features (needs libclang), or remove [[camera]]"),
        }];
    }
    let found = nodes::all();
    let mut checks: Vec<Check> = found.iter().map(|node| of_node(node, has_element)).collect();
    checks.extend(missing(&found, &nodes::media_controllers(), config.file.media.decoder == Decoder::V4l2));
    let cameras = config.cameras();
    if !cameras.is_empty() {
        // A daemon that does not run is told of elsewhere.
        let told = running::status(config).unwrap_or_default();
        let of = |name: &str| told["cameras"].as_array().into_iter().flatten().find(|camera| camera["name"] == name);
        checks.extend(cameras.iter().map(|camera| with_daemon(of_camera(&camera.name, &camera.device, &found), of(&camera.name))));
    }
    checks
}

/// Adds what the running daemon has seen of a camera.
fn with_daemon(mut check: Check, told: Option<&Value>) -> Check {
    let Some(told) = told else { return check };
    check.detail += &match told["last_picture"].as_i64() {
        Some(at) => format!("\nits last picture was taken at {}", moment(at)),
        None => "\nthe daemon has taken no picture with it yet".into(),
    };
    let what = [("waiting", "to be delivered"), ("refused", "refused"), ("unlabelled", "to be labelled")];
    let waits = what.iter().filter_map(|(key, what)| Some(format!("{} {what}", told[*key].as_u64().filter(|&count| count > 0)?)));
    let waits = waits.collect::<Vec<_>>().join(", ");
    if !waits.is_empty() {
        check.detail += &format!("\npictures that wait: {waits} (edgelabel pending)");
    }
    match told["reason"].as_str() {
        Some(reason) if check.status == Status::Ok && told["status"] != "ok" => {
            let remedy = "once that is mended, take a picture: `edgelabel capture NAME`, or POST /camera/NAME/capture on the admin address";
            Check::warning(check.name, format!("{}\nthe daemon got none last time: {reason}", check.detail), remedy)
        }
        _ => check,
    }
}

fn of_node(node: &Node, has_element: impl Fn(&str) -> bool) -> Check {
    let name = format!("V4L2 device {}", node.path.display());
    let device = match &node.device {
        Ok(device) => device,
        Err(trouble) => return Check::warning(name, trouble.to_string(), trouble.remedy()),
    };
    let mut detail = device.described();
    for (word, paths) in [("also", &node.stable), ("controlled by", &node.media)] {
        for path in paths {
            detail += &format!("\n{word} {}", path.display());
        }
    }
    match device.elements().as_slice() {
        [] => Check::ok(name, detail),
        elements => of_elements(name, detail, device, elements, has_element),
    }
}

fn of_elements(name: String, mut detail: String, device: &Device, elements: &[String], has_element: impl Fn(&str) -> bool) -> Check {
    let (there, lacking): (Vec<&String>, Vec<&String>) = elements.iter().partition(|element| has_element(element));
    let listed = |elements: &[&String]| elements.iter().map(|element| element.as_str()).collect::<Vec<_>>().join(", ");
    if !there.is_empty() {
        detail += &format!("\nused by GStreamer's {}", listed(&there));
    }
    // Pictures are taken without GStreamer.
    if lacking.is_empty() || device.kind() == Kind::Camera {
        return Check::ok(name, detail);
    }
    detail += &format!("\nGStreamer has no {}", listed(&lacking));
    if !there.is_empty() || !matches!(device.kind(), Kind::StatefulDecoder | Kind::StatelessDecoder) {
        return Check::ok(name, detail);
    }
    let remedy = format!("install {} (and remove ~/.cache/gstreamer-1.0, which remembers what was there)", device.package());
    Check::warning(name, detail, remedy)
}

/// What no node can tell.
fn missing(found: &[Node], controllers: &[PathBuf], wanted: bool) -> Option<Check> {
    let decodes = |node: &Node| {
        let kind = node.device.as_ref().map(Device::kind);
        matches!(kind, Ok(Kind::StatefulDecoder | Kind::StatelessDecoder | Kind::Codec))
    };
    if wanted && !found.iter().any(decodes) {
        let remedy = "media.decoder = \"v4l2\" needs a codec device: load its driver (`dmesg`, `modprobe`), or choose \"auto\"";
        return Some(Check::failed("V4L2 decoders", "there is none", remedy));
    }
    if found.is_empty() && !controllers.is_empty() {
        let listed = controllers.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
        let remedy = "the kernel has a media controller without a video device: look at `dmesg` for a driver that is missing or failed";
        return Some(Check::warning("V4L2 devices", format!("none, but {listed}"), remedy));
    }
    found.is_empty().then(|| Check::ok("V4L2 devices", "none (/dev/video*)"))
}

/// Whether a configured camera is there.
fn of_camera(name: &str, device: &str, found: &[Node]) -> Check {
    let title = format!("camera {name}");
    let real = std::fs::canonicalize(device).unwrap_or_else(|_| device.into());
    let is_it = |node: &&Node| node.path == real || node.device.as_ref().is_ok_and(|found| found.bus == device && found.is_usable_camera());
    match found.iter().find(is_it) {
        None => Check::failed(title, format!("{device} is not there"), "plug it in, or name one that `edgelabel capture` lists"),
        Some(node) => match &node.device {
            Ok(found) if found.is_usable_camera() => Check::ok(title, format!("{} ({})", node.path.display(), found.card)),
            Ok(found) => {
                Check::failed(title, format!("{device} is no camera: {}", found.kind()), "name one that `edgelabel capture` lists")
            }
            Err(trouble) => Check::failed(title, format!("{device}: {trouble}"), trouble.remedy()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::camera::{FourCc, Trouble};

    fn node(path: &str, capabilities: u32, takes: &[&[u8; 4]], gives: &[&[u8; 4]]) -> Node {
        let formats = |names: &[&[u8; 4]]| names.iter().map(|name| FourCc(**name)).collect();
        let (driver, card, bus) = ("drv".into(), "Card".into(), format!("bus{path}"));
        let device = Ok(Device { capabilities, driver, card, bus, takes: formats(takes), gives: formats(gives) });
        Node { path: path.into(), stable: Vec::new(), media: Vec::new(), device }
    }

    const M2M: u32 = 0x8000;

    #[test]
    fn a_decoder_is_shown_with_its_elements_or_with_the_package_that_lacks() {
        let stateless = node("/dev/video1", M2M, &[b"S264"], &[b"NV12"]);
        let good = of_node(&stateless, |element| element == "v4l2slh264dec");
        assert_eq!(good.status, Status::Ok);
        assert!(
            good.detail.contains("decoder (stateless)") && good.detail.contains("used by GStreamer's v4l2slh264dec"),
            "{}",
            good.detail
        );
        let bad = of_node(&stateless, |_| false);
        assert_eq!(bad.status, Status::Warning);
        assert!(bad.remedy.contains("gstreamer1.0-plugins-bad"), "{}", bad.remedy);
        let stateful = node("/dev/video1", M2M, &[b"H264"], &[b"NV12"]);
        assert!(of_node(&stateful, |_| false).remedy.contains("gstreamer1.0-plugins-good"));
    }

    #[test]
    fn what_may_not_be_opened_says_how_to_mend_it() {
        let closed = Node { device: Err(Trouble::Permission), ..node("/dev/video0", 0, &[], &[]) };
        let check = of_node(&closed, |_| true);
        assert_eq!(check.status, Status::Warning);
        assert!(check.remedy.contains("group video") && check.remedy.contains("DeviceAllow"));
    }

    #[test]
    fn a_missing_driver_is_told_by_what_is_there_without_it() {
        assert_eq!(missing(&[], &[], false).unwrap().status, Status::Ok);
        assert_eq!(missing(&[], &["/dev/media0".into()], false).unwrap().status, Status::Warning);
        assert_eq!(missing(&[node("/dev/video0", 1, &[], &[])], &[], true).unwrap().status, Status::Failed);
        assert_eq!(missing(&[node("/dev/video0", M2M, &[b"H264"], &[])], &[], true), None);
    }

    #[test]
    fn what_the_daemon_has_seen_of_a_camera_is_added() {
        let told = |status: &str, last: Option<i64>, waiting: u64| serde_json::json!({"name": "gate", "status": status, "reason": "it is in use", "last_picture": last, "waiting": waiting, "refused": 0, "unlabelled": 2});
        let good = || Check::ok("camera gate", "/dev/video0 (Cam)");
        assert_eq!(with_daemon(good(), None), good());
        let check = with_daemon(good(), Some(&told("ok", Some(1_700_000_000), 0)));
        assert_eq!((check.status, check.remedy.as_str()), (Status::Ok, ""));
        assert!(
            check.detail.contains("at 2023-11-14T22:13:20Z") && check.detail.contains("wait: 2 to be labelled (edgel"),
            "{}",
            check.detail
        );
        let check = with_daemon(good(), Some(&told("degraded", None, 3)));
        assert_eq!(check.status, Status::Warning);
        assert!(
            check.detail.contains("3 to be delivered, 2 to be") && check.detail.contains("no picture") && check.detail.contains("in use")
        );
        let gone = Check::failed("camera gate", "is not there", "plug it in");
        assert_eq!(with_daemon(gone, Some(&told("degraded", None, 0))).remedy, "plug it in");
    }

    #[test]
    fn a_configured_camera_is_found_by_path_and_by_bus() {
        let found = [node("/dev/video90", 1, &[], &[b"MJPG"]), node("/dev/video91", M2M, &[b"H264"], &[])];
        assert_eq!(of_camera("gate", "/dev/video90", &found).status, Status::Ok);
        assert_eq!(of_camera("gate", "bus/dev/video90", &found).status, Status::Ok);
        assert!(of_camera("gate", "/dev/video91", &found).detail.contains("is no camera"));
        assert!(of_camera("gate", "/dev/video92", &found).detail.contains("is not there"));
    }
}
