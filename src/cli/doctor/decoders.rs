//! Whether videos can be decoded here, proven by decoding.

use std::time::Duration;

use super::Check;
use crate::config::Config;
use crate::deadline::Deadline;
use crate::media::Media;

/// Starts a decode worker and lets it decode the built-in clip.
pub(super) fn check(config: &Config) -> Vec<Check> {
    let name = "decoding";
    let mut settings = config.media();
    settings.workers = 1;
    let decoder = settings.decoder.clone();
    let proven = Media::new(settings).and_then(|media| media.prove(&Deadline::after(Duration::from_secs(50))));
    vec![match proven {
        Ok(()) => Check::ok(name, format!("a worker decoded the built-in clip (media.decoder = {decoder:?})")),
        Err(error) => {
            let remedy = "install the GStreamer plugins (Debian: gstreamer1.0-plugins-good, gstreamer1.0-plugins-bad, gstreamer1.0-libav), \
                          or choose another media.decoder";
            Check::failed(name, error.to_string(), remedy)
        }
    }]
}
