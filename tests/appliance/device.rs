//! A device as far as its first boot knows one: its folders, and a medium that may be plugged in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Stands before what only a real device can do. The medium is a folder instead of a block device.
const STAND_INS: &str = r#"
media() { echo "$MEDIUM"; }
label_of() { echo "$LABEL"; }
mount_medium() { rmdir "$2" && ln -s "$1" "$2"; }
writable_medium() { true; }
unmount_medium() { rm "$1" && mkdir "$1"; }
to_disk() { true; }
set_hostname() { echo "$1" >"$RUN/hostname-in-force"; }
start_service() { echo started >>"$RUN/started"; }
"#;

pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("appliance").join(name)
}

pub(crate) fn text(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path.as_ref()).unwrap_or_else(|cause| panic!("{}: {cause}", path.as_ref().display()))
}

pub(crate) struct Device {
    folder: tempfile::TempDir,
}

impl Device {
    /// As `preinit` leaves it: named, with the configuration of the image.
    pub(crate) fn new() -> Self {
        let device = Self { folder: tempfile::tempdir().unwrap() };
        for folder in ["etc", "own", "run"] {
            fs::create_dir(device.path(folder)).unwrap();
        }
        fs::write(device.path("own/hostname"), "edgelabel-0a1b2c\n").unwrap();
        fs::write(device.path("etc/config.toml"), "# of the image\n").unwrap();
        fs::write(device.path("stand-ins"), STAND_INS).unwrap();
        device
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Boots with a medium, a folder of this device, or without one.
    pub(crate) fn boot(&self, medium: Option<&str>, label: &str) -> Output {
        let medium = medium.map(|name| self.path(name).display().to_string()).unwrap_or_default();
        Command::new("sh")
            .arg(script("first-boot"))
            .envs([("MEDIUM", medium.as_str()), ("LABEL", label), ("SERVICE_USER", "")])
            .envs([("ETC", self.path("etc")), ("OWN", self.path("own")), ("RUN", self.path("run"))])
            .envs([("STAND_INS", self.path("stand-ins")), ("ISSUE", self.path("issue"))])
            .env("EDGELABEL", env!("CARGO_BIN_EXE_edgelabel"))
            .output()
            .unwrap()
    }

    pub(crate) fn console(&self) -> String {
        text(self.path("issue"))
    }

    pub(crate) fn provisioned(&self) -> bool {
        self.path("own/provisioned").exists()
    }

    /// How often the service was started.
    pub(crate) fn starts(&self) -> usize {
        fs::read_to_string(self.path("run/started")).map(|starts| starts.lines().count()).unwrap_or(0)
    }

    /// Puts files into the folder edgelabel/ of a medium.
    pub(crate) fn medium(&self, name: &str, files: &[(&str, &str)]) {
        for (file, content) in files {
            let path = self.path(name).join("edgelabel").join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }
}

/// An Ed25519 key as `ssh-keygen` writes it.
pub(crate) fn private_key() -> String {
    let pair = ssh_key::private::Ed25519Keypair::from_seed(&[7; 32]);
    ssh_key::PrivateKey::from(pair).to_openssh(ssh_key::LineEnding::LF).unwrap().to_string()
}
