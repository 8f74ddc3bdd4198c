//! Which videos can be decoded here, each codec proven by decoding a built-in clip.

use std::path::Path;
use std::time::Duration;

use super::Check;
use crate::config::Config;
use crate::deadline::Deadline;
use crate::media::{self, DecoderState, Media};

/// The first proof also starts a worker, which scans all plugins on a fresh box.
const PATIENCE: Duration = Duration::from_secs(100);

/// One line on the workers, one for each codec, and one for each decoder in hardware.
pub(super) fn check(config: &Config) -> Vec<Check> {
    let mut settings = config.media();
    settings.workers = 1;
    let media = match Media::new(settings) {
        Ok(media) => media,
        Err(error) => return vec![Check::failed("decoding", error.to_string(), "see the lines about the disk")],
    };
    let deadline = Deadline::after(PATIENCE);
    let mut checks = vec![contained(media.uncontained(&deadline))];
    checks.extend(Media::PROVABLE.into_iter().map(|codec| judged(codec, media.prove_codec(codec, &deadline))));
    match media.decoders(&deadline) {
        Ok(found) => checks.extend(hardware(&found, Path::new("/dev/dri"))),
        Err(error) => checks.push(Check::warning("hardware decoders", error.to_string(), "")),
    }
    checks
}

/// What hardware there is for decoding, and whether it decodes.
fn hardware(found: &[DecoderState], render_nodes: &Path) -> Vec<Check> {
    let hardware: Vec<_> = found.iter().filter(|state| state.family != "software").collect();
    if hardware.is_empty() {
        return vec![no_hardware(render_nodes)];
    }
    let line = |state: &&DecoderState| {
        let name = format!("hardware decoder {}", state.element);
        match &state.failure {
            None => Check::ok(name, format!("{} by {}, proven", state.codec, state.family)),
            Some(reason) => Check::warning(
                name,
                format!("{} by {} is left out: {reason}", state.codec, state.family),
                "videos are decoded by others meanwhile; look at the driver (vainfo, nvidia-smi, dmesg) and at the service's groups render and video",
            ),
        }
    };
    hardware.iter().map(line).collect()
}

/// A render node without a decoder is a driver that is missing, or a right.
fn no_hardware(render_nodes: &Path) -> Check {
    let name = "hardware decoders";
    let nodes = std::fs::read_dir(render_nodes).into_iter().flatten().flatten();
    let Some(node) = nodes.map(|node| node.path()).find(|path| path.to_string_lossy().contains("renderD")) else {
        return Check::ok(name, "none; videos are decoded in software");
    };
    let shown = node.display();
    if rustix::fs::access(&node, rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK).is_err() {
        let remedy = "add the service's user to the group render, and keep DeviceAllow=char-drm in its unit";
        return Check::warning(name, format!("none, as this user may not open {shown}"), remedy);
    }
    let remedy = "install the VA-API driver (Debian: va-driver-all, or intel-media-va-driver) and gstreamer1.0-plugins-bad";
    Check::warning(name, format!("none, though there is {shown}; videos are decoded in software"), remedy)
}

fn contained(missing: Result<Vec<String>, media::Error>) -> Check {
    let name = "decode workers";
    match missing {
        Ok(missing) if missing.is_empty() => Check::ok(name, "no network, no files, no programs, bounded memory and time"),
        Ok(missing) => {
            let remedy = "a kernel with landlock (5.13 or newer) and seccomp contains them fully";
            Check::warning(name, format!("not fully contained: {}", missing.join("; ")), remedy)
        }
        Err(error) => Check::failed(name, error.to_string(), "see the log of the daemon"),
    }
}

fn judged(codec: &str, proven: Result<String, media::Error>) -> Check {
    let name = format!("decoding {codec}");
    let error = match proven {
        Ok(decoder) => return Check::ok(name, format!("proven with {decoder}")),
        Err(error) => error,
    };
    let remedy = match &error {
        media::Error::NoDecoder { .. } => String::new(),
        media::Error::Deadline(_) => "the first scan of all GStreamer plugins takes long on a small or busy box; try again".into(),
        media::Error::Worker(_) => "see the log of the daemon; a worker needs /tmp, and the devices that its unit allows".into(),
        _ => "install the GStreamer plugins (Debian: gstreamer1.0-plugins-good, -plugins-bad, -libav), or choose another media.decoder"
            .into(),
    };
    match (codec, &error) {
        // A box without a rarer codec is a box that some projects never notice.
        ("h264", _) => Check::failed(name, error.to_string(), remedy),
        _ => Check::warning(name, error.to_string(), remedy),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn a_decoder_that_fails_is_a_warning_and_a_render_node_without_one_too() {
        let state = |family: &str, failure: Option<&str>| DecoderState {
            element: format!("{family}h264dec"),
            family: family.into(),
            codec: "h264".into(),
            failure: failure.map(str::to_owned),
        };
        let nodes = tempfile::tempdir().unwrap();
        let checks = hardware(&[state("software", None), state("vaapi", Some("garbage")), state("nvdec", None)], nodes.path());
        assert_eq!(checks.iter().map(|check| check.status).collect::<Vec<_>>(), [Status::Warning, Status::Ok]);
        assert!(checks[0].detail.contains("garbage"), "{checks:?}");
        assert_eq!(hardware(&[state("software", None)], nodes.path())[0].status, Status::Ok);
        std::fs::write(nodes.path().join("renderD128"), "").unwrap();
        assert_eq!(hardware(&[state("software", None)], nodes.path())[0].status, Status::Warning);
    }
}
