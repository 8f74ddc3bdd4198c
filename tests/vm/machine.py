"""A virtual machine: booted, told what to do over a serial line, switched off in order or by pulling the plug.

The machine is made by `rootfs`; its agent runs scripts that come over the second serial port. It has one network card
without an address: nothing is reachable until a test gives it one, and then only this host, as 10.0.2.2.
"""

import base64
import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

# What the tests wait for takes long under emulation on a busy host; none of it is a measurement.
BOOT = 600
SCRIPT = 300


def accelerator():
    """KVM only where its own module is; others answer on /dev/kvm and never boot a stock kernel."""
    real = any(Path(f"/sys/module/{name}").exists() for name in ("kvm_intel", "kvm_amd"))
    return "kvm" if real and os.access("/dev/kvm", os.R_OK | os.W_OK) else "tcg"


def qemu(memory: int, *more, program="qemu-system-x86_64", emulated="max") -> subprocess.Popen:
    """Starts a machine with nothing in it but processors (`emulated`: which, where they are), memory and what `more` says."""
    accel = accelerator() if program.endswith(os.uname().machine) else "tcg"
    command = [
        # A machine does not outlive the test that started it, however that ends.
        "setpriv", "--pdeathsig", "KILL",
        program, "-nodefaults", "-display", "none", "-smp", "2", "-m", memory,
        "-accel", accel + (",thread=multi" if accel == "tcg" else ""), "-cpu", "host" if accel == "kvm" else emulated,
        "-device", "virtio-rng-pci", *more,
    ]  # fmt: skip
    return subprocess.Popen([str(word) for word in command])


def connected(machine: subprocess.Popen, path: Path) -> socket.socket:
    """A line to a machine that has just been started."""
    line = socket.socket(socket.AF_UNIX)
    for _ in range(1200):
        if machine.poll() is not None:
            raise Broken(f"qemu ended with {machine.returncode} before it opened {path.name}")
        try:
            line.connect(str(path))
            return line
        except OSError:
            time.sleep(0.05)
    raise Broken(f"qemu did not open {path.name}")


class Broken(Exception):
    """The machine or a script in it did not do what it was told."""


@dataclass
class Output:
    status: int
    text: str


class Machine:
    """One machine with its own copy of the disk, which outlives its boots."""

    def __init__(self, made: Path, work: Path, payload: Path | None = None, memory=1024):
        self.made, self.work, self.memory = made, work, memory
        work.mkdir(parents=True, exist_ok=True)
        self.disk = work / "disk.ext4"
        subprocess.run(["cp", "--reflink=auto", "--sparse=always", made / "disk.ext4", self.disk], check=True)
        self.payload = self._pack(payload) if payload else None
        self.qemu = self.serial = None
        self.boots = self._scripts = 0
        self._received = b""

    def _pack(self, folder: Path):
        """A tar file as a disk: needs no network, and nothing can be half there."""
        tar = self.work / "payload.tar"
        subprocess.run(["tar", "-C", folder, "-cf", tar, "."], check=True)
        size = -(-tar.stat().st_size // 1048576) * 1048576
        os.truncate(tar, size)
        return tar

    def boot(self):
        """Starts the machine and waits for its agent; the payload is then in /run/payload."""
        self.boots += 1
        console = self.work / f"console-{self.boots}.log"
        line = self.work / "serial"
        line.unlink(missing_ok=True)
        command = [
            "-no-reboot", "-kernel", self.made / "kernel", "-initrd", self.made / "initrd",
            # no_timer_check: on a busy host the emulated timer is late for the kernel's test of it, which then panics.
            "-append", "root=/dev/vda rw console=ttyS0 quiet panic=-1 net.ifnames=0 no_timer_check systemd.show_status=0",
            "-drive", f"file={self.disk},format=raw,if=virtio,cache=unsafe",
            "-nic", "user,model=virtio-net-pci",
            "-serial", f"file:{console}",
            "-chardev", f"socket,id=agent,path={line},server=on,wait=off", "-serial", "chardev:agent",
        ]  # fmt: skip
        if self.payload:
            command += ["-drive", f"file={self.payload},format=raw,if=virtio,readonly=on"]
        self.qemu = qemu(self.memory, *command)
        self.serial, self._received = connected(self.qemu, line), b""
        self._until(b"@ready", BOOT)
        if self.payload:
            self.sh("mkdir -p /run/payload && tar -C /run/payload -xf /dev/vdb")

    def _until(self, mark: bytes, patience):
        """Reads whole lines up to one that begins with `mark`; returns the lines before it, and that line."""
        end = time.monotonic() + patience
        lines = []
        while True:
            while b"\n" in self._received:
                line, self._received = self._received.split(b"\n", 1)
                line = line.strip(b"\r")
                if line.startswith(mark):
                    return lines, line
                lines.append(line)
            left = end - time.monotonic()
            if left <= 0:
                raise Broken(f"the machine did not say {mark.decode()} within {patience} s; see {self.work}/console-{self.boots}.log")
            self.serial.settimeout(left)
            try:
                more = self.serial.recv(65536)
            except TimeoutError:
                continue
            if not more:
                raise Broken("the machine ended")
            self._received += more

    def sh(self, script: str, patience=SCRIPT, check=True) -> Output:
        """Runs a script of bash as root in the machine."""
        # The tag tells this script's output from that of one that was given up on and answers late.
        self._scripts += 1
        tag = f"script {self._scripts}\n"
        self.serial.sendall(base64.b64encode(f"echo {tag}{script}".encode()) + b"\n")
        text = ""
        while not text.startswith(tag):
            self._until(b"@begin", patience)
            lines, last = self._until(b"@end", patience)
            text = base64.b64decode(b"".join(lines)).decode(errors="replace")
        output = Output(int(last.split()[1]), text.removeprefix(tag))
        if check and output.status != 0:
            raise Broken(f"exit status {output.status} of:\n{script.strip()}\n{output.text.strip()[-3000:]}")
        return output

    def wait(self, script: str, patience=SCRIPT, pause=0.5) -> str:
        """Repeats a script until it succeeds."""
        end = time.monotonic() + patience
        while True:
            output = self.sh(script, check=False)
            if output.status == 0:
                return output.text
            if time.monotonic() > end:
                raise Broken(f"not within {patience} s:\n{script.strip()}\n{output.text.strip()[-3000:]}")
            time.sleep(pause)

    def cut(self):
        """Pulls the plug."""
        self.qemu.kill()
        self.qemu.wait()
        self.serial.close()

    def off(self):
        """Shuts the machine down in order; returns qemu's exit status."""
        self.serial.sendall(base64.b64encode(b"systemctl poweroff --no-block") + b"\n")
        try:
            return self.qemu.wait(timeout=BOOT)
        except subprocess.TimeoutExpired:
            self.cut()
            raise Broken("the machine did not switch itself off") from None
        finally:
            self.serial.close()

    def discard(self):
        """Ends what still runs and removes the disk; logs stay."""
        if self.qemu and self.qemu.poll() is None:
            self.cut()
        self.disk.unlink(missing_ok=True)
        if self.payload:
            self.payload.unlink(missing_ok=True)


def fresh(folder: Path) -> Path:
    """An empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
