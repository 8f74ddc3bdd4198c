//! Hardware decoders that fail in every way there is, and software that takes over, or does not where it must not.
//!
//! No hardware is needed: a plugin registers decoders under the hardware names, in the worker's own GStreamer.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::{PROGRAM, clip};

/// Compiles the plugin of decoders that misbehave.
fn plugin(dir: &Path) -> PathBuf {
    let flags = Command::new("pkg-config").args(["--cflags", "--libs", "gstreamer-1.0"]).output().expect("pkg-config");
    let plugins = dir.join("plugins");
    std::fs::create_dir_all(&plugins).unwrap();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/frames/fake_decoder.c");
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(plugins.join("libgstfake.so"))
        .arg(source)
        .args(String::from_utf8(flags.stdout).unwrap().split_whitespace())
        .status()
        .expect("a C compiler");
    assert!(status.success());
    plugins
}

pub(super) struct Bench {
    dir: tempfile::TempDir,
    plugins: PathBuf,
    clip: PathBuf,
}

impl Bench {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (plugins, clip) = (plugin(dir.path()), clip::make(dir.path(), "clip.mp4", 30, "x264enc bframes=0 key-int-max=60 ! mp4mux"));
        Self { plugins, clip, dir }
    }

    /// Frame 23, for which 24 pictures are decoded, from a box with these decoders.
    fn frame(&self, decoder: &str, fakes: &str) -> Output {
        Command::new(PROGRAM)
            .arg("frame")
            .arg(&self.clip)
            .args(["--frame", "23", "--json", "--decoder", decoder, "--output"])
            .arg(self.picture())
            .env("GST_PLUGIN_PATH", &self.plugins)
            .env("GST_FAKE_DECODERS", fakes)
            // A cache for each, since GStreamer remembers there which elements a plugin had.
            .env("EDGELABEL__MEDIA__CACHE_DIR", self.dir.path().join(fakes.replace([':', ','], "-")))
            .output()
            .unwrap()
    }

    fn picture(&self) -> PathBuf {
        self.dir.path().join("out.png")
    }

    /// Which decoder made the frame; it must be the right frame.
    pub(super) fn decoder(&self, setting: &str, fakes: &str) -> String {
        self.facts(setting, fakes)["decoder"].as_str().unwrap().to_owned()
    }

    /// What is told of the frame; it must be the right frame.
    fn facts(&self, setting: &str, fakes: &str) -> serde_json::Value {
        let output = self.frame(setting, fakes);
        assert!(output.status.success(), "{fakes}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(clip::shown(&std::fs::read(self.picture()).unwrap()), 23, "{fakes}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn error(&self, setting: &str, fakes: &str) -> String {
        let output = self.frame(setting, fakes);
        assert_eq!(output.status.code(), Some(1), "{fakes}");
        String::from_utf8(output.stderr).unwrap()
    }
}

#[test]
fn hardware_that_proves_itself_is_used_in_its_order() {
    let bench = Bench::new();
    assert_eq!(bench.decoder("auto", "vah264dec:good"), "vaapi (vah264dec)");
    assert_eq!(bench.decoder("auto", "v4l2slh264dec:good,nvh264dec:good"), "nvdec (nvh264dec)");
    assert_eq!(bench.decoder("auto", "v4l2slh264dec:good"), "v4l2 (v4l2slh264dec)");
    assert_eq!(bench.decoder("v4l2", "vah264dec:good,v4l2slh264dec:good"), "v4l2 (v4l2slh264dec)");
    assert_eq!(bench.decoder("software", "vah264dec:good"), "software (avdec_h264)");
}

#[test]
fn hardware_that_fails_its_proof_is_left_out() {
    let bench = Bench::new();
    assert_eq!(bench.decoder("auto", "vah264dec:start"), "software (avdec_h264)");
    assert_eq!(bench.decoder("auto", "vah264dec:wrong"), "software (avdec_h264)");
    assert_eq!(bench.decoder("auto", "vah264dec:wrong,nvh264dec:good"), "nvdec (nvh264dec)");
}

#[test]
fn hardware_that_fails_in_the_middle_is_made_good_by_software() {
    let bench = Bench::new();
    for (fakes, said) in [("vah264dec:middle", "the device is gone"), ("vah264dec:crash", "crashed")] {
        let facts = bench.facts("auto", fakes);
        assert_eq!(facts["decoder"], "software (avdec_h264)", "{fakes}");
        let fell_back = facts["fell_back"].as_array().unwrap();
        let told = fell_back.first().and_then(|why| why.as_str()).unwrap_or_default();
        assert!(fell_back.len() == 1 && told.starts_with("vah264dec: ") && told.contains(said), "{fakes}: {fell_back:?}");
    }
    assert_eq!(bench.facts("auto", "vah264dec:wrong")["fell_back"].as_array().map(Vec::len), Some(0), "it was never relied on");
}

#[test]
fn hardware_that_hangs_is_made_good_by_software_within_the_budget() {
    let bench = Bench::new();
    let start = std::time::Instant::now();
    assert_eq!(bench.decoder("auto", "vah264dec:hang"), "software (avdec_h264)");
    assert!(start.elapsed() < std::time::Duration::from_secs(40), "{:?}", start.elapsed());
}

#[test]
fn hardware_asked_for_by_name_is_not_replaced() {
    let bench = Bench::new();
    for (fakes, said) in [
        ("", "no such decoder is registered"),
        ("nvh264dec:good", "no such decoder is registered"),
        ("vah264dec:wrong", "wrong picture"),
        ("vah264dec:middle", "the device is gone"),
        ("vah264dec:crash", "crashed"),
    ] {
        let error = bench.error("vaapi", fakes);
        assert!(error.contains(said), "{fakes}: {error}");
    }
}
