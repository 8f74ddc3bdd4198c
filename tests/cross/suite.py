#!/usr/bin/env python3
"""The package for arm64 in a Debian of its own architecture, run by QEMU's user emulation: from its form to a saved label.

    machine ROOT suite.py --deb FILE --emulator FILE --corpus FOLDER --work FOLDER

The emulators of Encord and the model run on this machine's own processor. What QEMU's user emulation does not have (landlock, seccomp,
devices), no case here can see: those are the kernel's, and `make vm-test` proves them.
"""

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "vm"))
from box import require
from machine import Broken, fresh
from outside import Outside

# Emulated, on a busy host; none of it is a measurement.
PATIENCE = 400

CONFIG = """
[server]
listen = ["127.0.0.1:{port}"]
[admin]
listen = "127.0.0.1:{admin}"
[encord]
domain = "{encord}"
ssh_key_file = "{key}"
[model]
base_url = "{model}"
name = "stand-in"
[[agent]]
path = "/"
classification = ["Scene description"]
"""

# One file for each codec that a box meets, and what is hard to count: B-frames, an edit list, no table at all.
CLIPS = r"^(h264_bpyr_opengop|h264_editlist_midgop|h264_nocues|hevc_opengop|vp8|vp9|av1)\.(mp4|mkv|webm)$"


class Foreign:
    """The other architecture's Debian with the package in it."""

    def __init__(self, options, outside):
        self.options, self.outside = options, outside
        self.root = Path(os.environ["MACHINE"])
        self.program = self.root / "usr/bin/edgelabel"
        self.port, self.admin = free_port(), free_port()
        self.daemon, self.log = None, options.work / "daemon.log"

    def edgelabel(self, *words, check=True) -> subprocess.CompletedProcess:
        command = ["chroot", self.root, "/usr/bin/edgelabel", *words]
        said = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        require(not check or said.returncode == 0, f"edgelabel {' '.join(words)}: status {said.returncode}\n{said.stdout}{said.stderr}")
        return said

    def is_a_stripped_program_of_its_architecture(self):
        """the program is for AArch64 and stripped"""
        run("dpkg-deb", "-x", self.options.deb, self.root)
        header, sections = run("readelf", "-hW", self.program), run("readelf", "-SW", self.program)
        require(re.search(r"Machine:\s+AArch64", header), header)
        require(not re.search(r"\.(symtab|debug\w*)\s", sections), f"not stripped:\n{sections}")
        print(f"         program {self.program.stat().st_size / 1e6:.1f} MB, package {self.options.deb.stat().st_size / 1e6:.1f} MB")

    def depends_on_what_it_needs(self):
        """the package depends on what dpkg-shlibdeps finds the program to need"""
        require(run("dpkg-deb", "-f", self.options.deb, "Architecture").strip() == "arm64", "not a package for arm64")
        listed = split(run("dpkg-deb", "-f", self.options.deb, "Depends"))
        # dpkg knows no foreign package's symbols here; the same version's for this machine tell of the same libraries.
        own = self.root / "DEBIAN"
        own.mkdir()
        symbols = [text for file in Path("/var/lib/dpkg/info").glob("*:amd64.symbols") if "libgcc" not in file.name for text in [file.read_text()]]
        (own / "symbols").write_text("".join(symbols))
        folder = fresh(self.options.work / "shlibdeps")
        (folder / "debian").mkdir()
        (folder / "debian/control").touch()
        environment = {**os.environ, "DEB_HOST_ARCH": "arm64"}
        command = ["dpkg-shlibdeps", "-xlibgcc-s1", "-O", "--warnings=0", f"-S{self.root}", self.program]
        said = subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True).stdout
        needed = split(said.partition("shlibs:Depends=")[2])
        require(len(needed) > 3, f"dpkg-shlibdeps finds only {said!r}")
        require(needed <= listed, f"Depends is {sorted(listed)}, in Cargo.toml; needed is {sorted(needed)}")

    def takes_its_configuration(self):
        """check takes the package's configuration and three values besides"""
        key = "/etc/edgelabel/encord_ed25519"
        (self.root / key[1:]).write_text(self.outside.key.read_text())
        (self.root / key[1:]).chmod(0o600)
        # What the scripts of Debian's packages would have made.
        (self.root / "etc/hosts").write_text("127.0.0.1 localhost\n")
        anchors = (self.root / "usr/share/ca-certificates/mozilla").glob("*.crt")
        (self.root / "etc/ssl/certs/ca-certificates.crt").write_text("".join(file.read_text() for file in anchors))
        config = CONFIG.format(port=self.port, admin=self.admin, encord=self.outside.encord, model=self.outside.model, key=key)
        (self.root / "etc/edgelabel/conf.d").mkdir(exist_ok=True)
        (self.root / "etc/edgelabel/conf.d/50-test.toml").write_text(config)
        self.edgelabel("cert", "init", "--name", "localhost", "--ip", "127.0.0.1")
        self.edgelabel("check", "--quiet")

    def doctor_finds_it_well(self):
        """doctor proves every codec, reaches Encord and the model, and tells what the kernel lacks"""
        said = self.edgelabel("doctor", "--json", check=False)
        checks = {check["name"]: check for check in json.loads(said.stdout)["checks"]}
        wrong = [check for check in checks.values() if check["status"] == "failed"]
        require(said.returncode == 0 and not wrong, f"status {said.returncode}: {wrong}\n{said.stderr}")
        for codec in ("h264", "h265", "vp8", "vp9", "av1"):
            require(checks[f"decoding {codec}"]["status"] == "ok", f"{checks[f'decoding {codec}']}")
        walls = checks["decode workers"]
        require(walls["status"] == "warning" and "seccomp" in walls["detail"] and "landlock" in walls["detail"], f"{walls}")

    def shows_the_right_frames(self):
        """frame shows the right frames of clips of every codec, by the corpus's own judge"""
        program = self.options.work / "edgelabel"
        program.write_text(f'#!/bin/sh\nexec chroot {self.root} /usr/bin/edgelabel "$@"\n')
        program.chmod(0o755)
        corpus = self.options.corpus.resolve()
        inside = self.root / str(corpus)[1:]
        inside.mkdir(parents=True, exist_ok=True)
        run("mount", "--bind", corpus, inside)
        judge = [sys.executable, HERE.parent / "corpus/judge.py", "--frames", "2", "--only", CLIPS, "--timeout", "200"]
        environment = {**os.environ, "EDGELABEL_BIN": str(program), "EDGELABEL_CORPUS": str(corpus)}
        judged = subprocess.run(judge, env=environment, capture_output=True, text=True, timeout=1200)
        counted = re.search(r"^corpus: (\d+) passed, (\d+) failed", judged.stdout, re.MULTILINE)
        require(counted and counted.groups() == ("7", "0"), f"{judged.stdout}{judged.stderr}")

    def saves_a_label(self):
        """a trigger over HTTPS, trusted by its own authority, ends in a saved label"""
        command = ["chroot", self.root, "/usr/bin/edgelabel", "run"]
        with self.log.open("w") as log:
            self.daemon = subprocess.Popen(command, stdout=log, stderr=log)
        end = time.monotonic() + PATIENCE
        while not self.ready():
            require(self.daemon.poll() is None and time.monotonic() < end, f"the daemon is not ready:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.5)
        begun = time.monotonic()
        said = self.edgelabel(
            "trigger", "--json", "--project", self.outside.project, "--data", self.outside.video, "--frame", "7",
            "--url", f"https://localhost:{self.port}", "--ca", "/etc/edgelabel/certs/ca.pem",
        )  # fmt: skip
        saved = self.outside.frames_answered(self.outside.video)
        require(json.loads(said.stdout)["status"] == 200 and saved == [7], f"{said.stdout}saved frames {saved}\n{self.log.read_text()[-3000:]}")
        print(f"         {time.monotonic() - begun:.1f} s for the command and its trigger")

    def ends_in_order(self):
        """told to stop, the daemon ends in order"""
        self.daemon.terminate()
        status = self.daemon.wait(timeout=60)
        require(status == 0, f"status {status}\n{self.log.read_text()[-3000:]}")

    def ready(self) -> bool:
        with socket.socket() as line:
            line.settimeout(20)
            if line.connect_ex(("127.0.0.1", self.admin)) != 0:
                return False
            line.sendall(b"GET /ready HTTP/1.0\r\nHost: localhost\r\n\r\n")
            return b" 200 " in line.recv(64)

    def discard(self):
        if self.daemon and self.daemon.poll() is None:
            self.daemon.kill()
            self.daemon.wait()


CASES = [
    Foreign.is_a_stripped_program_of_its_architecture,
    Foreign.depends_on_what_it_needs,
    Foreign.takes_its_configuration,
    Foreign.doctor_finds_it_well,
    Foreign.shows_the_right_frames,
    Foreign.saves_a_label,
    Foreign.ends_in_order,
]


def run(*command) -> str:
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True, timeout=120).stdout


def split(dependencies: str) -> set[str]:
    return {one.strip() for one in dependencies.replace("\n", ",").split(",") if one.strip()}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("deb", "emulator", "corpus", "work"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    options = parser.parse_args()

    fresh(options.work)
    outside = Outside(options.emulator, fresh(options.work / "outside"), "127.0.0.1")
    foreign = Foreign(options, outside)
    begin, passed = time.monotonic(), 0
    try:
        for case in CASES:
            started = time.monotonic()
            try:
                case(foreign)
                passed += 1
                print(f"ok     {time.monotonic() - started:6.1f} s  {case.__doc__}", flush=True)
            except (Broken, OSError, ValueError, KeyError, subprocess.SubprocessError) as cause:
                print(f"FAILED {time.monotonic() - started:6.1f} s  {case.__doc__}\n{type(cause).__name__}: {cause}", flush=True)
                break  # each builds on those before
    finally:
        foreign.discard()
        outside.end()
    print(f"\ncross: {passed} passed, {len(CASES) - passed} failed in {time.monotonic() - begin:.0f} s")
    sys.exit(0 if passed == len(CASES) else 1)


if __name__ == "__main__":
    main()
