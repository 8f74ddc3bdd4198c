//! A box without gstreamer1.0-libav: what else decodes is used, and what nothing decodes is named with its package.

use std::path::Path;
use std::process::{Command, Output};

use super::{PROGRAM, clip};

/// All plugins of this machine but libav, in a folder.
fn plugins(dir: &Path) -> std::path::PathBuf {
    let all = Command::new("pkg-config").args(["--variable=pluginsdir", "gstreamer-1.0"]).output().unwrap();
    let some = dir.join("plugins");
    std::fs::create_dir(&some).unwrap();
    for file in std::fs::read_dir(String::from_utf8(all.stdout).unwrap().trim()).unwrap() {
        let file = file.unwrap();
        if file.file_name() != "libgstlibav.so" {
            std::os::unix::fs::symlink(file.path(), some.join(file.file_name())).unwrap();
        }
    }
    some
}

fn frame(dir: &Path, clip: &Path, frame: u64) -> Output {
    Command::new(PROGRAM)
        .arg("frame")
        .arg(clip)
        .args(["--frame", &frame.to_string(), "--json", "--output"])
        .arg(dir.join("out.png"))
        .env("GST_PLUGIN_SYSTEM_PATH_1_0", dir.join("plugins"))
        .env("EDGELABEL__MEDIA__CACHE_DIR", dir.join("cache"))
        .output()
        .unwrap()
}

#[test]
fn other_decoders_show_the_same_frames() {
    let dir = tempfile::tempdir().unwrap();
    plugins(dir.path());
    let clips = [
        ("h264.mp4", "x264enc bframes=3 key-int-max=12 ! mp4mux", "software (openh264dec)"),
        ("plain.mkv", "x264enc bframes=0 key-int-max=12 ! matroskamux", "software (openh264dec)"),
        ("vp9.webm", "vp9enc keyframe-max-dist=12 deadline=1 ! webmmux", "software (vp9dec)"),
    ];
    for (name, pipeline, decoder) in clips {
        let path = clip::make(dir.path(), name, 40, pipeline);
        for number in [0, 11, 13, 39] {
            let output = frame(dir.path(), &path, number);
            assert!(output.status.success(), "{name} {number}: {}", String::from_utf8_lossy(&output.stderr));
            let facts: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(facts["decoder"], decoder, "{name}");
            assert_eq!(clip::shown(&std::fs::read(dir.path().join("out.png")).unwrap()), number, "{name}");
        }
    }
}

#[test]
fn what_nothing_decodes_is_named_with_its_package() {
    let dir = tempfile::tempdir().unwrap();
    plugins(dir.path());
    let output = frame(dir.path(), &clip::make(dir.path(), "h265.mp4", 12, "x265enc ! h265parse ! mp4mux"), 3);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("h265") && said.contains("gstreamer1.0-libav"), "{said}");
}
