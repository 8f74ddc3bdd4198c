//! Two systems, of which one is booted: what an update changes, and what a failed one leaves.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use sha2::{Digest, Sha256};

use crate::device::{script, text};

/// What is shipped, with the initrd that the image of Debian's packages has.
fn entry() -> String {
    let shipped = include_str!("../../yocto/meta-edgelabel/recipes-bsp/edgelabel-boot/files/root-a.conf");
    shipped.replace("linux /root-a/vmlinuz", "linux /root-a/vmlinuz\ninitrd /root-a/initrd")
}

/// An appliance as it was flashed: root-a runs, root-b is empty.
struct Slots {
    folder: tempfile::TempDir,
}

impl Slots {
    fn new() -> Self {
        let slots = Self { folder: tempfile::tempdir().unwrap() };
        for folder in ["esp/loader/entries", "system/boot", "partitions"] {
            fs::create_dir_all(slots.path(folder)).unwrap();
        }
        fs::write(slots.path("esp/loader/entries/root-a.conf"), entry()).unwrap();
        fs::write(slots.path("system/boot/vmlinuz"), "newer kernel").unwrap();
        fs::write(slots.path("system/boot/initrd"), "newer initrd").unwrap();
        fs::write(slots.path("partitions/root-b"), [0; 4096]).unwrap();
        slots.run("root-a");
        slots
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// From now on this slot is the one that was booted.
    fn run(&self, slot: &str) {
        fs::write(self.path("cmdline"), format!("initrd=x root=PARTLABEL={slot} ro quiet\n")).unwrap();
    }

    fn call(&self, name: &str, words: &[&str]) -> Output {
        Command::new("sh")
            .arg(script(name))
            .args(words)
            .envs([("ESP", self.path("esp")), ("SYSTEM", self.path("system")), ("CMDLINE", self.path("cmdline"))])
            .envs([("PARTITIONS", self.path("partitions")), ("SYNC", "true".into())])
            .output()
            .unwrap()
    }

    fn boot_slot(&self, words: &[&str]) -> String {
        let output = self.call("boot-slot", words);
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn entries(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("esp/loader/entries")).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// What systemd-boot does to an entry with tries each time it boots it.
    fn boot_counts_down(&self, from: &str, to: &str) {
        let entries = self.path("esp/loader/entries");
        fs::rename(entries.join(from), entries.join(to)).unwrap();
    }

    fn update(&self, content: &[u8], sum: &str) -> Output {
        fs::write(self.path("new.squashfs"), content).unwrap();
        self.call("update", &[self.path("new.squashfs").to_str().unwrap(), sum])
    }
}

fn sum_of(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn an_update_goes_to_the_other_slot_and_is_kept_when_it_answers() {
    let slots = Slots::new();
    assert_eq!((slots.boot_slot(&["get-current"]), slots.boot_slot(&["get-primary"])), ("root-a".into(), "root-a".into()));
    let output = slots.update(b"a newer system", &sum_of(b"a newer system"));
    assert!(output.status.success(), "{output:?}");
    assert!(fs::read(slots.path("partitions/root-b")).unwrap().starts_with(b"a newer system"));
    assert_eq!(slots.entries(), ["root-a.conf", "root-b+3.conf"]);
    let entry = text(slots.path("esp/loader/entries/root-b+3.conf"));
    assert!(entry.contains("version 2\n") && entry.contains("root=PARTLABEL=root-b") && !entry.contains("root-a"), "{entry}");
    // Without it systemd-boot goes by the entries' names, and root-b would win for ever.
    assert!(entry.contains("sort-key "), "{entry}");
    assert_eq!(text(slots.path("esp/root-b/vmlinuz")), "newer kernel");
    assert_eq!(slots.boot_slot(&["get-primary"]), "root-b");

    slots.boot_counts_down("root-b+3.conf", "root-b+2-1.conf");
    slots.run("root-b");
    slots.boot_slot(&["mark-good"]);
    assert_eq!(slots.entries(), ["root-a.conf", "root-b.conf"]);
    assert_eq!((slots.boot_slot(&["get-state", "root-b"]), slots.boot_slot(&["get-primary"])), ("good".into(), "root-b".into()));
}

#[test]
fn a_system_that_never_answers_is_left_again() {
    let slots = Slots::new();
    slots.update(b"broken", &sum_of(b"broken"));
    slots.boot_counts_down("root-b+3.conf", "root-b+0-3.conf");
    assert_eq!((slots.boot_slot(&["get-state", "root-b"]), slots.boot_slot(&["get-primary"])), ("bad".into(), "root-a".into()));

    // The next update goes there again.
    assert!(slots.update(b"mended", &sum_of(b"mended")).status.success());
    assert_eq!(slots.entries(), ["root-a.conf", "root-b+3.conf"]);
    assert_eq!(slots.boot_slot(&["get-primary"]), "root-b");
}

#[test]
fn what_is_damaged_or_too_large_is_never_booted() {
    let slots = Slots::new();
    let damaged = slots.update(b"bits have flipped", &sum_of(b"bits are right"));
    assert!(!damaged.status.success() && String::from_utf8_lossy(&damaged.stderr).contains("its SHA-256 is not"), "{damaged:?}");
    assert_eq!(fs::read(slots.path("partitions/root-b")).unwrap(), [0; 4096], "nothing is written");
    assert_eq!(slots.entries(), ["root-a.conf"]);

    slots.run("somewhere-else");
    assert!(!slots.update(b"x", &sum_of(b"x")).status.success(), "a system outside the slots");
}

#[test]
fn the_words_of_raucs_backend() {
    let slots = Slots::new();
    // RAUC says that a slot is bad before it writes to it, also when nothing was ever installed there.
    slots.boot_slot(&["set-state", "root-b", "bad"]);
    assert_eq!(slots.boot_slot(&["get-state", "root-b"]), "bad");
    slots.boot_slot(&["set-primary", "root-b"]);
    assert_eq!(slots.boot_slot(&["get-primary"]), "root-b");
    slots.boot_slot(&["set-primary", "root-a"]);
    assert_eq!(slots.boot_slot(&["get-primary"]), "root-a");
    assert_eq!(slots.entries(), ["root-a.conf", "root-b+3.conf"], "the system that runs needs no tries");
    slots.boot_slot(&["set-state", "root-b", "good"]);
    assert_eq!(slots.entries(), ["root-a.conf", "root-b.conf"]);
    for wrong in [&["get-state", "root-c"][..], &["set-state", "root-b", "fine"], &["reboot"], &[]] {
        assert!(!slots.call("boot-slot", wrong).status.success(), "{wrong:?}");
    }
}
