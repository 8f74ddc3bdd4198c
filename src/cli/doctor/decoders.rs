//! Which videos can be decoded here, each codec proven by decoding a built-in clip.

use std::time::Duration;

use super::Check;
use crate::config::Config;
use crate::deadline::Deadline;
use crate::media::{self, Media};

/// The first proof also starts a worker, which scans all plugins on a fresh box.
const PATIENCE: Duration = Duration::from_secs(50);

/// One line for each codec.
pub(super) fn check(config: &Config) -> Vec<Check> {
    let mut settings = config.media();
    settings.workers = 1;
    let media = match Media::new(settings) {
        Ok(media) => media,
        Err(error) => return vec![Check::failed("decoding", error.to_string(), "see the lines about the disk")],
    };
    let deadline = Deadline::after(PATIENCE);
    Media::PROVABLE.into_iter().map(|codec| judged(codec, media.prove_codec(codec, &deadline))).collect()
}

fn judged(codec: &str, proven: Result<String, media::Error>) -> Check {
    let name = format!("decoding {codec}");
    let error = match proven {
        Ok(decoder) => return Check::ok(name, format!("proven with {decoder}")),
        Err(error) => error,
    };
    let remedy = match &error {
        media::Error::NoDecoder { .. } => String::new(),
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
