"""A device that its administrator may log in to: the provisioning folder brought an SSH key. It is updated and rolled back."""

import hashlib
import subprocess
import tempfile
import time
from pathlib import Path

from box import require
from device import HARDWARE, PATIENCE, Device, provisioning, squeezed
from machine import Broken, fresh


def bad_system(good: Path, to: Path):
    """A system with a kernel that starts and nothing that it could start: it boots no further than the initrd."""
    with tempfile.TemporaryDirectory(dir=to.parent) as folder:
        subprocess.run(["unsquashfs", "-quiet", "-no-progress", "-d", f"{folder}/root", good, "boot"], check=True)
        to.unlink(missing_ok=True)
        subprocess.run(["mksquashfs", f"{folder}/root", to, "-quiet", "-no-progress", "-comp", "zstd"], check=True)


class Maintained:
    def __init__(self, options, outside, click, config: str):
        self.work = fresh(options.work / "maintained")
        self.device = Device(HARDWARE[options.arch], options.image, self.work)
        self.system = options.image.with_suffix(".squashfs")
        self.outside, self._click, self.config = outside, click, config
        self.key = self.work / "key"

    def ssh(self, command: str, given=None) -> str:
        """What a command says, run as root; any failure is one of the device."""
        words = [
            "ssh", "-i", self.key, "-p", str(self.device.ssh_port), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no",
            "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=60", "root@127.0.0.1", command,
        ]  # fmt: skip
        done = subprocess.run(words, stdin=given or subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE)
        if done.returncode != 0:
            raise Broken(f"{command}: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    def slot(self, *words: str) -> str:
        return self.ssh("/usr/lib/edgelabel/boot-slot " + " ".join(words))

    def marked(self, slot: str, state: str):
        """Waits until a slot is judged so."""
        end = time.monotonic() + PATIENCE
        while (now := self.slot("get-state", slot)) != state:
            if time.monotonic() > end:
                raise Broken(f"{slot} is {now}, not {state}")
            time.sleep(2)

    def install(self, system: Path) -> str:
        """Updates to `system`, up to the reboot that takes it."""
        name = f"/var/tmp/{system.name}"
        self.ssh("mkdir -p /var/tmp")
        with system.open("rb") as given:
            self.ssh(f"cat >{name}", given)
        said = self.ssh(f"/usr/lib/edgelabel/update {name} {hashlib.sha256(system.read_bytes()).hexdigest()} && rm {name}")
        return said.splitlines()[-1]

    def reboot(self):
        """Reboots and waits until edgelabel answers again: its id of this boot is another one."""
        before = self.ssh("cat /proc/sys/kernel/random/boot_id")
        self.ssh("systemctl --no-block reboot")
        end = time.monotonic() + PATIENCE
        while True:
            time.sleep(3)
            try:
                if self.ssh("cat /proc/sys/kernel/random/boot_id") != before:
                    break
            except (Broken, subprocess.TimeoutExpired):
                pass
            if time.monotonic() > end:
                raise Broken(f"the device does not come back:\n{self.device.console()[-1500:]}")
        self.device.reachable()

    def click(self):
        self._click(self.device)

    def provisioned_on_its_own_partition(self):
        """the folder on the disk's own partition is taken at the first boot, and removed; its SSH key gets in, as root"""
        self.device.write_provision(provisioning(self.config, self.outside.key, self.key))
        self.device.boot()
        self.device.reachable()
        (self.work / "ca.pem").write_text(self.ssh("cat /etc/edgelabel/certs/ca.pem"))
        self.click()
        left = self.ssh("mount -o ro PARTLABEL=provision /mnt && find /mnt -type f && umount /mnt")
        require("edgelabel-boxes" in left and "encord_ed25519" not in left, f"on the partition: {left}")

    def an_update_runs_in_the_other_slot(self):
        """an update is booted from the other slot, kept once /ready says yes, and has the state of before"""
        identity = self.ssh("cat /etc/machine-id")
        require(self.ssh("id -u edgelabel; id -g edgelabel").split() == ["860", "860"], "the service's user has not the number that all images give it")
        require(self.slot("get-current") == "root-a", "the first system is not in root-a")
        print("      " + self.install(self.system), flush=True)
        self.reboot()
        require(self.slot("get-current") == "root-b", "the new system was not booted")
        require(self.ssh("cat /etc/machine-id") == identity, "another identity after the update")
        self.click()
        self.marked("root-b", "good")
        entries = self.ssh("mount -o ro PARTLABEL=esp /mnt && ls /mnt/loader/entries && umount /mnt")
        require("root-b.conf" in entries.split(), f"the new system is still on trial: {entries}")

    def rolled_back_by_hand(self):
        """boot-slot set-primary and a reboot lead back to the system of before"""
        self.slot("set-primary", "root-a")
        self.reboot()
        require(self.slot("get-current") == "root-a", "the old system was not booted")
        self.click()

    def a_system_that_does_not_start_is_left(self):
        """an update that does not start is left for the old system after three tries"""
        bad = self.work / "bad.squashfs"
        bad_system(self.system, bad)
        self.install(bad)
        seen = len(self.device.console())
        self.reboot()
        require(self.slot("get-current") == "root-a", "the old system is not back")
        require(self.slot("get-state", "root-b") == "bad", "what did not start is not known as bad")
        tries = squeezed(self.device.console()[seen:]).count(squeezed("Rebooting automatically due to panic= boot argument"))
        require(tries == 3, f"the new system was tried {tries} times")
        self.click()


CASES = ["provisioned_on_its_own_partition", "an_update_runs_in_the_other_slot", "rolled_back_by_hand", "a_system_that_does_not_start_is_left"]
