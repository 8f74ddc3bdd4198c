//! Identity and provisioning.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::device::{Device, private_key, text};

const CONFIG: &str =
    "[encord]\nssh_key_file = \"encord_ed25519\"\n[model]\nbase_url = \"http://127.0.0.1:11434/v1\"\nname = \"qwen2.5vl\"\n";

#[test]
fn the_first_boot_makes_a_certificate_and_the_next_one_keeps_it() {
    let device = Device::new();
    let first = device.boot(None, "");
    assert!(first.status.success(), "{first:?}");
    let certificate = text(device.path("etc/certs/server.pem"));
    assert!(device.boot(None, "").status.success());
    assert_eq!(text(device.path("etc/certs/server.pem")), certificate);
    assert!(!device.provisioned());
    assert_eq!(device.starts(), 0);

    let other = Device::new();
    other.boot(None, "");
    assert_ne!(text(other.path("etc/certs/ca.pem")), text(device.path("etc/certs/ca.pem")), "two devices share an authority");
}

#[test]
fn the_console_tells_name_address_fingerprint_and_the_next_step() {
    let device = Device::new();
    device.boot(None, "");
    let console = device.console();
    assert!(console.contains("edgelabel-0a1b2c"), "{console}");
    assert!(console.contains(r"https://\4:8443/ or https://edgelabel-0a1b2c.local:8443/"), "{console}");
    assert!(console.contains("plug in a FAT-formatted USB stick"), "{console}");
    let fingerprint = console.split("SHA-256 ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
    assert_eq!(fingerprint.split(':').count(), 32, "{fingerprint}");

    let shown = std::process::Command::new(env!("CARGO_BIN_EXE_edgelabel"))
        .args(["cert", "show", "--config"])
        .arg(device.path("etc/config.toml"))
        .output()
        .unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    let authority = shown.split_once("authority").unwrap().1;
    assert!(authority.contains(fingerprint), "{fingerprint} is not the authority's:\n{shown}");
}

#[test]
fn a_right_folder_is_taken_once() {
    let device = Device::new();
    let windows = format!("\u{feff}{}", CONFIG.replace('\n', "\r\n"));
    device.medium(
        "stick",
        &[("config.toml", &windows), ("encord_ed25519", &private_key()), (".DS_Store", "x"), ("authorized_keys", "ssh-ed25519 AAAA me\n")],
    );
    let output = device.boot(Some("stick"), "");
    assert!(output.status.success(), "{output:?}");
    assert!(device.provisioned(), "{output:?}");
    assert_eq!(device.starts(), 1);
    assert_eq!(text(device.path("etc/config.toml")), CONFIG, "without what Windows puts into files");
    assert_eq!(text(device.path("etc/encord_ed25519")), private_key());
    let mode = |name: &str| fs::metadata(device.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("etc/encord_ed25519"), mode("own/authorized_keys")), (0o640, 0o600));
    for absent in ["etc/.DS_Store", "etc/authorized_keys", "own/taken", "own/before"] {
        assert!(!device.path(absent).exists(), "{absent}");
    }
    assert!(device.console().contains("register the address of the agents in Encord"), "{}", device.console());

    // A stick is its owner's: it keeps the folder, and gets the answer beside it.
    assert!(device.path("stick/edgelabel/encord_ed25519").exists());
    let answer = device.path("stick/edgelabel-boxes/edgelabel-0a1b2c");
    assert_eq!(text(answer.join("ca.pem")), text(device.path("etc/certs/ca.pem")));
    assert!(text(answer.join("outcome.txt")).contains("was taken"));

    // What comes later is not taken.
    device.medium("other", &[("config.toml", &CONFIG.replace("qwen2.5vl", "other")), ("encord_ed25519", &private_key())]);
    assert!(device.boot(Some("other"), "").status.success());
    assert_eq!(text(device.path("etc/config.toml")), CONFIG);
    assert_eq!(device.starts(), 1);
}

#[test]
fn keys_do_not_stay_on_the_devices_own_partition() {
    let device = Device::new();
    device.medium("provision", &[("config.toml", CONFIG), ("encord_ed25519", &private_key()), ("hostname", "label-box-7\r\n")]);
    assert!(device.boot(Some("provision"), "provision").status.success());
    assert!(device.provisioned());
    assert!(!device.path("provision/edgelabel").exists());
    assert_eq!(text(device.path("run/hostname-in-force")), "label-box-7\n");
    assert_eq!(text(device.path("own/hostname")), "label-box-7\n");
    assert!(device.console().contains("https://label-box-7.local:8443/"), "{}", device.console());
}

#[test]
fn a_wrong_folder_changes_nothing_and_is_named_where_one_looks() {
    let device = Device::new();
    device.medium("stick", &[("config.toml", &CONFIG.replace("ssh_key_file", "ssh_key_fiel")), ("encord_ed25519", &private_key())]);
    device.boot(Some("stick"), "");
    assert!(!device.provisioned());
    assert_eq!(device.starts(), 0);
    assert_eq!(text(device.path("etc/config.toml")), "# of the image\n");
    assert!(!device.path("etc/encord_ed25519").exists(), "a key of a refused folder stays behind");
    assert!(device.path("etc/certs/server.pem").exists());
    for shown in [device.console(), text(device.path("stick/edgelabel-boxes/edgelabel-0a1b2c/outcome.txt"))] {
        assert!(shown.contains("was not taken") && shown.contains("ssh_key_fiel"), "{shown}");
    }

    device.medium("stick", &[("config.toml", CONFIG)]);
    device.boot(Some("stick"), "");
    assert!(device.provisioned(), "{}", device.console());
    assert!(!device.console().contains("wrong"), "{}", device.console());
}

#[test]
fn folders_that_are_no_configuration_are_refused() {
    let key = private_key();
    let large = "#".repeat(2 << 20);
    let cases: [(&str, &[(&str, &str)]); 4] = [
        ("without config.toml", &[("encord_ed25519", &key)]),
        ("with a large one", &[("config.toml", &large)]),
        ("without the key it names", &[("config.toml", CONFIG)]),
        ("with a name that is a command", &[("config.toml", CONFIG), ("encord_ed25519", &key), ("hostname", "a;reboot\n")]),
    ];
    for (what, files) in cases {
        let device = Device::new();
        device.medium("stick", files);
        device.boot(Some("stick"), "");
        assert!(!device.provisioned(), "a folder {what} was taken");
        assert!(device.console().contains("was not taken"), "{what}: {}", device.console());
        assert_eq!(text(device.path("own/hostname")), "edgelabel-0a1b2c\n");
    }
}

#[test]
fn a_device_that_lost_its_state_says_so() {
    let device = Device::new();
    device.boot(None, "");
    let output = std::process::Command::new("sh")
        .arg(crate::device::script("console"))
        .envs([("ETC", device.path("etc")), ("OWN", device.path("own")), ("ISSUE", device.path("issue")), ("NO_STATE", device.path("etc"))])
        .env("EDGELABEL", env!("CARGO_BIN_EXE_edgelabel"))
        .status();
    assert!(output.unwrap().success());
    assert!(device.console().contains("the state partition cannot be used"), "{}", device.console());
}
