#!/usr/bin/env python3
"""The flashed disk in a machine of its own, from UEFI to a saved label; nothing is added to what is shipped.

The machine is seen as a person sees it: by its console, its HTTPS port and the provisioning stick, and, when it is off,
by its disk. Two devices are made of one image: what must be one device's own must differ between them.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "vm"))
import maintained
from box import require
from device import HARDWARE, Device, provisioning, read_state
from machine import Broken, fresh
from outside import Outside

CONFIG = """
[encord]
domain = "{encord}"
ssh_key_file = "encord_ed25519"

[model]
base_url = "{model}"
name = "stand-in"

[[agent]]
path = "/"
classification = ["Scene description"]
"""
IDENTITY = ["machine-id", "ssh_host_ed25519_key.pub", "edgelabel/certs/ca.pem", "edgelabel/certs/server.pem", "hostname"]


class Clicks:
    """An annotator's clicks on one frame of the video after the other."""

    def __init__(self, options, outside):
        self.options, self.outside = options, outside
        self.frame = 0

    def __call__(self, device: Device):
        """One click that must end in a saved label; the device's authority is in its ca.pem."""
        self.frame += 1
        command = [
            self.options.edgelabel, "trigger", "--json", "--project", self.outside.project, "--data", self.outside.video,
            "--frame", str(self.frame), "--url", f"https://localhost:{device.port}", "--ca", device.work / "ca.pem",
        ]  # fmt: skip
        said = subprocess.run(command, capture_output=True, text=True, timeout=300)
        try:
            status = json.loads(said.stdout)["status"]
        except (ValueError, KeyError):
            raise Broken(f"no answer to a trigger: {said.stdout}{said.stderr}") from None
        saved = self.outside.frames_answered(self.outside.video)
        require(status == 200 and self.frame in saved, f"status {status}, frame {self.frame}, saved frames {saved}")


class Flashed:
    """The first device, and what is known of it."""

    def __init__(self, options, outside, click, config: str):
        self.options, self.outside, self._click, self.config = options, outside, click, config
        self.device = Device(HARDWARE[options.arch], options.image, fresh(options.work / "first"))

    def click(self):
        self._click(self.device)

    def boots_without_configuration(self):
        """boots from UEFI without a configuration; the console asks for the stick and has a name and a fingerprint"""
        self.device.boot()
        text = self.device.console_has("plug in a FAT-formatted USB stick")
        self.device.console_has("https://10.0.2.15:8443/")
        require(text.count(":") > 31 and "SHA-256" in text, f"the console shows no fingerprint:\n{text[-800:]}")
        self.device.console_has("login:")

    def no_way_in(self):
        """neither SSH nor a password lets anybody in"""
        require(not self.device.answers(self.device.ssh_port, b"SSH-"), "SSH is open")
        for name, password in [("root", ""), ("root", "root"), ("edgelabel", "edgelabel")]:
            self.device.log_in(name, password)

    def takes_the_stick(self):
        """a USB stick that is plugged in is taken; what came of it is on the stick and on the console; its SSH key opens SSH"""
        self.device.plug(provisioning(self.config, self.outside.key, self.device.work / "key"))
        self.device.console_has("make the stations trust ca.pem")
        name, outcome, authority = self.device.stick_says()
        require("was taken" in outcome, outcome)
        self.device.console_has(name)
        (self.device.work / "ca.pem").write_text(authority)
        self.device.waits_for_ssh()

    def saves_a_label(self):
        """a trigger over HTTPS, with the stick's ca.pem, ends in a saved label"""
        self.device.reachable()
        self.click()

    def a_second_boot_keeps_all(self):
        """switched off and on: the same identity, and labels are saved without the stick"""
        self.device.off()
        before = {name: read_state(self.device, name) for name in IDENTITY}
        require(all(before.values()), f"identity: {before}")
        self.device.unplug()
        self.device.boot()
        self.device.reachable()
        self.click()
        self.device.off()
        after = {name: read_state(self.device, name) for name in IDENTITY}
        require(before == after, f"identity changed: {[name for name in IDENTITY if before[name] != after[name]]}")

    def another_device_is_another(self):
        """another device of the same image has another machine id, name, authority, certificate and SSH host key"""
        other = Device(HARDWARE[self.options.arch], self.options.image, fresh(self.options.work / "other"))
        try:
            other.boot()
            other.console_has("plug in a FAT-formatted USB stick")
            other.off()
            shared = [name for name in IDENTITY if read_state(other, name) in (b"", read_state(self.device, name))]
            require(not shared, f"two devices share, or lack, {shared}")
        finally:
            other.discard()


# The first boot, to a saved label, and what more boots must show.
SHORT = ["boots_without_configuration", "no_way_in", "takes_the_stick", "saves_a_label"]
CASES = [*SHORT, "a_second_boot_keeps_all", "another_device_is_another"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("image", "edgelabel", "emulator", "work"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--arch", choices=HARDWARE, default="amd64")
    parser.add_argument("--short", action="store_true", help="one boot, to a saved label")
    parser.add_argument("--updates", action="store_true", help="a third device is updated and rolled back, too")
    options = parser.parse_args()

    outside = Outside(options.emulator, fresh(options.work / "outside"))
    click = Clicks(options, outside)
    config = CONFIG.format(encord=outside.encord, model=outside.model)
    stories = [(Flashed, SHORT if options.short else CASES)] + ([(maintained.Maintained, maintained.CASES)] if options.updates else [])
    begin, wanted, passed = time.monotonic(), sum(len(cases) for _, cases in stories), 0
    try:
        for story, cases in stories:
            passed += tell(story(options, outside, click, config), cases)
    finally:
        outside.end()
    print(f"\nimage: {passed} passed, {wanted - passed} failed in {time.monotonic() - begin:.0f} s")
    sys.exit(0 if passed == wanted else 1)


def tell(story, cases: list[str]) -> int:
    """Runs a device's cases up to the first that fails, for each builds on those before; returns how many passed."""
    passed = 0
    try:
        for name in cases:
            case = getattr(story, name)
            started = time.monotonic()
            try:
                case()
                passed += 1
                print(f"ok     {time.monotonic() - started:6.1f} s  {case.__doc__}", flush=True)
            except (Broken, OSError, ValueError, KeyError, subprocess.SubprocessError) as cause:
                print(f"FAILED {time.monotonic() - started:6.1f} s  {case.__doc__}\n{type(cause).__name__}: {cause}", flush=True)
                break
        print("the console's last lines:\n" + "\n".join(story.device.console().splitlines()[-12:]), flush=True)
    finally:
        story.device.discard()
    return passed


if __name__ == "__main__":
    main()
