"""A device that a disk image was flashed to: started by its firmware, with a console and a slot for a USB stick."""

import contextlib
import json
import re
import shutil
import socket
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from machine import Broken, connected, qemu


@dataclass(frozen=True)
class Hardware:
    """A kind of machine: qemu's words for it, and its UEFI as Debian packs it."""

    program: str
    board: str
    processor: str
    code: Path
    variables: Path


FIRMWARE = Path("/usr/share")
HARDWARE = {
    "amd64": Hardware("qemu-system-x86_64", "q35", "max", FIRMWARE / "OVMF/OVMF_CODE_4M.fd", FIRMWARE / "OVMF/OVMF_VARS_4M.fd"),
    "arm64": Hardware("qemu-system-aarch64", "virt", "cortex-a72", FIRMWARE / "AAVMF/AAVMF_CODE.fd", FIRMWARE / "AAVMF/AAVMF_VARS.fd"),
}
# Seconds for whatever is waited for, on a busy host and perhaps emulated; none of it is a measurement.
PATIENCE = 900


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def squeezed(text: str) -> str:
    """Without repetitions: on a busy host an emulated serial port says a letter twice now and then."""
    return re.sub(r"(.)\1+", r"\1", text)


def drain(line: socket.socket):
    """Reads and forgets: qemu keeps the log."""
    with contextlib.suppress(OSError):
        while line.recv(65536):
            pass


class Device:
    def __init__(self, hardware: Hardware, image: Path, work: Path):
        self.hardware, self.work = hardware, work
        self.disk, self.stick = work / "disk.img", work / "stick.img"
        subprocess.run(["cp", "--sparse=always", image, self.disk], check=True)
        # A disk is larger than the image: the state partition is to be grown.
        with self.disk.open("r+b") as disk:
            disk.truncate(self.disk.stat().st_size + (512 << 20))
        shutil.copy(hardware.variables, work / "variables")
        self.port, self.ssh_port = free_port(), free_port()
        self.qemu = self._monitor = self._serial = None
        self._boots, self._stick_in = 0, False

    def boot(self):
        self._boots += 1
        monitor, serial = self.work / "monitor", self.work / "serial"
        for line in (monitor, serial):
            line.unlink(missing_ok=True)
        command = [
            "-machine", self.hardware.board,
            "-drive", f"if=pflash,format=raw,readonly=on,file={self.hardware.code}", "-drive", f"if=pflash,format=raw,file={self.work}/variables",
            "-drive", f"file={self.disk},format=raw,if=virtio,cache=unsafe", "-device", "qemu-xhci,id=usb",
            "-nic", f"user,model=virtio-net-pci,hostfwd=tcp:127.0.0.1:{self.port}-:8443,hostfwd=tcp:127.0.0.1:{self.ssh_port}-:22",
            "-chardev", f"socket,id=serial,path={serial},server=on,wait=off,logfile={self._log}", "-serial", "chardev:serial",
            "-qmp", f"unix:{monitor},server=on,wait=off",
        ]  # fmt: skip
        self.qemu = qemu(1024, *command, program=self.hardware.program, emulated=self.hardware.processor)
        self._monitor, self._serial = connected(self.qemu, monitor), connected(self.qemu, serial)
        # What nobody reads fills the socket after some hundred bytes; the device would then wait for its console.
        threading.Thread(target=drain, args=(self._serial,), daemon=True).start()
        self._answers = self._monitor.makefile("r")
        self._answers.readline()
        self._tell("qmp_capabilities")

    @property
    def _log(self) -> Path:
        return self.work / f"console-{self._boots}.log"

    def _tell(self, word: str, **arguments):
        self._monitor.sendall(json.dumps({"execute": word, "arguments": arguments}).encode() + b"\n")
        for line in self._answers:
            answer = json.loads(line)
            if "error" in answer:
                raise Broken(f"{word}: {answer['error']}")
            if "return" in answer:
                return answer["return"]
        raise Broken("qemu ended")

    def console(self) -> str:
        """What this boot has shown, without the terminal's control sequences."""
        text = self._log.read_bytes().decode(errors="replace") if self._log.exists() else ""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", text)

    def console_has(self, words: str, since=0) -> str:
        """Waits until the console shows these words, and returns what it has shown."""
        end = time.monotonic() + PATIENCE
        while squeezed(words) not in squeezed((text := self.console())[since:]):
            if time.monotonic() > end or self.qemu.poll() is not None:
                raise Broken(f'the console does not show "{words}":\n{text[-1500:]}')
            time.sleep(0.5)
        return text

    def log_in(self, name: str, password: str):
        """Tries a password at the console and sees that it is refused."""
        before = len(self.console())
        self._serial.sendall(f"{name}\n".encode())
        self.console_has("Password:", before)
        self._serial.sendall(f"{password}\n".encode())
        self.console_has("Login incorrect", before)
        self.console_has("login:", before + len(name) + 1)

    def answers(self, port: int, greeting: bytes) -> bool:
        """Whether what listens there greets; qemu itself takes any connection."""
        with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
            try:
                return line.recv(64).startswith(greeting)
            except OSError:
                return False

    def waits_for_ssh(self):
        end = time.monotonic() + PATIENCE
        while not self.answers(self.ssh_port, b"SSH-"):
            if time.monotonic() > end:
                raise Broken("SSH does not answer")
            time.sleep(1)

    def reachable(self):
        """Waits until the HTTPS port speaks TLS."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            command = ["openssl", "s_client", "-connect", f"127.0.0.1:{self.port}"]
            # qemu takes the connection long before there is somebody to speak.
            with contextlib.suppress(subprocess.TimeoutExpired):
                if b"BEGIN CERTIFICATE" in subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60).stdout:
                    return
            time.sleep(1)
        raise Broken(f"nothing answers on the HTTPS port:\n{self.console()[-1500:]}")

    def plug(self, files: dict[str, str]):
        """Makes a stick with the folder edgelabel/ and plugs it in."""
        with self.stick.open("wb") as stick:
            stick.truncate(64 << 20)
        subprocess.run(["mkfs.vfat", "-n", "STICK", self.stick], check=True, stdout=subprocess.DEVNULL)
        write_folder(self.stick, files)
        self._tell("blockdev-add", **{"driver": "raw", "node-name": "stick", "file": {"driver": "file", "filename": str(self.stick)}})
        self._tell("device_add", driver="usb-storage", id="stick", drive="stick", bus="usb.0")

    def write_provision(self, files: dict[str, str]):
        """Puts the folder edgelabel/ on the disk's own partition for it; the device is off."""
        write_folder(f"{self.disk}@@{partition(self.disk, 'provision')['start'] * 512}", files)

    def stick_says(self):
        """The device's name, outcome.txt and ca.pem, as the stick has them in the end."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            names = subprocess.run(["mdir", "-b", "-i", self.stick, "::edgelabel-boxes"], capture_output=True, text=True).stdout.split()
            if names:
                folder = names[0].rstrip("/")
                read = [subprocess.run(["mtype", "-i", self.stick, f"{folder}/{name}"], capture_output=True, text=True).stdout for name in ("outcome.txt", "ca.pem")]
                if "END CERTIFICATE" in read[1]:
                    return folder.rsplit("/", 1)[-1], *read
            time.sleep(1)
        raise Broken("nothing was written to the stick")

    def unplug(self):
        """The stick is left out of the next boot."""
        self.stick.unlink(missing_ok=True)

    def off(self):
        """Presses the power button and waits."""
        self._tell("system_powerdown")
        try:
            status = self.qemu.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            raise Broken(f"the device did not switch itself off:\n{self.console()[-1500:]}") from None
        if status != 0:
            raise Broken(f"qemu ended with {status}")

    def discard(self):
        """Ends what still runs and removes the disk; logs stay."""
        if self.qemu and self.qemu.poll() is None:
            self.qemu.kill()
            self.qemu.wait()
        for file in (self.disk, self.stick):
            file.unlink(missing_ok=True)


def partition(disk: Path, name: str) -> dict:
    """Where a partition is, in sectors."""
    table = json.loads(subprocess.run(["sfdisk", "--json", disk], check=True, capture_output=True).stdout)["partitiontable"]
    return next(part for part in table["partitions"] if part.get("name") == name)


def provisioning(config: str, encord_key: Path, ssh_key: Path) -> dict[str, str]:
    """The files of the folder edgelabel/, with an SSH key that is made for it."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", ssh_key], check=True)
    return {"config.toml": config, "encord_ed25519": encord_key.read_text(), "authorized_keys": ssh_key.with_suffix(".pub").read_text()}


def write_folder(medium: Path | str, files: dict[str, str]):
    """Makes the folder edgelabel/ on a FAT file system, in the words of mtools."""
    subprocess.run(["mmd", "-i", medium, "::edgelabel"], check=True)
    for name, text in files.items():
        subprocess.run(["mcopy", "-i", medium, "-", f"::edgelabel/{name}"], input=text.encode(), check=True)


def read_state(device: Device, name: str) -> bytes:
    """A file of /var/lib/appliance of a device that is off; empty when it is not there."""
    state = partition(device.disk, "state")
    image = device.work / "state.ext4"
    # In MiB, on which all partitions begin; the grown one ends where the disk does.
    place, size = state["start"] // 2048, -(-state["size"] // 2048)
    command = ["dd", f"if={device.disk}", f"of={image}", "bs=1M", f"skip={place}", f"count={size}", "conv=sparse", "status=none"]
    image.unlink(missing_ok=True)
    subprocess.run(command, check=True)
    read = subprocess.run(["debugfs", "-R", f"cat /lib/appliance/{name}", image], check=True, capture_output=True)
    if b"Filesystem not open" in read.stderr:  # its exit status says nothing
        raise Broken(read.stderr.decode())
    return read.stdout
