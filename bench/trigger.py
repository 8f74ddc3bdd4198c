"""The same clicks through edgelabel and through a service in the manner of Encord's documented Python example
(bench/seed), with an emulated backend and a stand-in model that answer at once. Writes Markdown to standard output.

Run by `make bench-trigger`."""

import argparse
import datetime
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

import numpy
import requests
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/sdk"))
from daemon import Daemon, free_port  # noqa: E402
from emulator import Emulator  # noqa: E402

TITLE = "Scene description"
VIDEO = {"frames": 750, "width": 1280, "height": 720}


class Processes:
    """Memory and processor time of a process and its children."""

    def __init__(self, pid):
        self.pid = pid

    def pids(self):
        found, todo = [], [self.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
                todo += [int(child) for child in task.read_text().split()]
        return found

    def status(self, key):
        total = 0
        for pid in self.pids():
            for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith(key + ":"):
                    total += int(line.split()[1])
        return total / 1024

    def cpu_seconds(self):
        ticks = 0
        for pid in self.pids():
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += sum(int(field) for field in fields[11:15])
        return ticks / os.sysconf("SC_CLK_TCK")


class Seed:
    """The Python service under uvicorn, on plain HTTP."""

    name = "Python, SDK and OpenCV"

    def __init__(self, python, emulator, folder):
        self.port = free_port()
        environment = dict(
            os.environ,
            ENCORD_SSH_KEY_FILE=emulator.ssh_key_file,
            ENCORD_DOMAIN=emulator.encord_domain,
            OPENAI_API_KEY="sk-none",
            OPENAI_BASE_URL=emulator.model_base_url,
        )
        begun = time.monotonic()
        command = [python, "-m", "uvicorn", "--app-dir", ROOT / "bench/seed", "agent:app", "--port", str(self.port), "--log-level", "warning"]
        self.process = subprocess.Popen(command, cwd=folder, env=environment)
        self.url = f"http://127.0.0.1:{self.port}/"
        while True:
            try:
                requests.get(self.url + "ready", timeout=1).raise_for_status()
                break
            except requests.RequestException:
                if time.monotonic() - begun > 60:
                    raise
                time.sleep(0.01)
        self.ready_ms = (time.monotonic() - begun) * 1000
        self.session = requests.Session()

    def stop(self):
        self.process.terminate()
        self.process.wait(10)


class Edgelabel:
    """The daemon, on HTTPS as always."""

    name = "edgelabel"

    def __init__(self, program, emulator, folder):
        self.daemon = Daemon(program, emulator, folder)
        self.process = self.daemon.process
        self.ready_ms = self.daemon.ready_ms
        self.url = f"https://localhost:{self.daemon.port}/{Daemon.path(TITLE)}"
        self.session = requests.Session()
        self.session.verify = str(self.daemon.authority)

    def stop(self):
        self.daemon.stop()


def clicks(service, emulator, places):
    """Milliseconds for each place, and what the backend saw of the last."""
    times = []
    for data, frame in places:
        calls = len(emulator.calls())
        begun = time.perf_counter()
        answer = service.session.post(service.url, json={"projectHash": emulator.project, "dataHash": data, "frame": frame}, timeout=120, verify=service.session.verify)
        times.append((time.perf_counter() - begun) * 1000)
        if answer.status_code != 200:
            raise RuntimeError(f"{service.name}: {answer.status_code} {answer.text}")
    return times, emulator.calls()[calls:]


def photo(folder, name, width, height):
    """A JPEG with shapes and grain, as large as a camera's."""
    rows, columns = numpy.mgrid[0:height, 0:width]
    noise = numpy.random.default_rng(7).integers(0, 24, (height, width, 3), numpy.uint8)
    base = numpy.stack([columns * 200 // width, rows * 200 // height, (rows + columns) % 200], -1).astype(numpy.uint8)
    path = folder / name
    Image.fromarray(base + noise).save(path, quality=90)
    return str(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edgelabel", required=True)
    parser.add_argument("--emulator", required=True)
    parser.add_argument("--seed-python", required=True, help="a Python with bench/seed/requirements.txt")
    parser.add_argument("--clicks", type=int, default=15)
    options = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="edgelabel-bench-") as folder:
        compare(options, pathlib.Path(folder))


def compare(options, folder):
    emulator = Emulator(options.emulator)
    small, large = photo(folder, "small.jpg", 640, 360), photo(folder, "large.jpg", 4000, 3000)
    sizes = {"small": os.path.getsize(small), "large": os.path.getsize(large)}

    made = emulator.tell(add_video=VIDEO)
    sizes["video"] = made["bytes"]
    places = {
        "small": [(emulator.tell(add_image=small)["data"], 0) for _ in range(options.clicks)],
        "large": [(emulator.tell(add_image=large)["data"], 0) for _ in range(options.clicks)],
        "video": [(made["data"], 37 + 97 * number % (VIDEO["frames"] - 40)) for number in range(options.clicks)],
    }

    (folder / "daemon").mkdir()
    rows = {}
    for make in (
        lambda: Seed(options.seed_python, emulator, folder),
        lambda: Edgelabel(options.edgelabel, emulator, folder / "daemon"),
    ):
        # For each service every click is the first on its frame or image.
        emulator.reset()
        service = make()
        processes = Processes(service.process.pid)
        time.sleep(3)
        row = {"ready": service.ready_ms, "idle": processes.status("VmRSS")}
        for kind, chosen in places.items():
            begun = processes.cpu_seconds()
            times, calls = clicks(service, emulator, chosen)
            row[kind] = times
            row[kind + " cpu"] = (processes.cpu_seconds() - begun) * 1000 / len(times)
            row[kind + " calls"] = calls
        row["peak"] = processes.status("VmHWM")
        rows[service.name] = row
        service.stop()
    emulator.stop()
    report(rows, sizes, options)


def report(rows, sizes, options):
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    print("# One click, compared\n")
    print(
        f"Made by `make bench-trigger` on {datetime.date.today()}: {os.cpu_count()} × {cpu}, Python {platform.python_version()}, "
        f"{options.clicks} clicks each, every one on a frame or image that was not clicked before. The emulated backend and the "
        "STAND-IN model answer at once, on loopback; so this is what each service adds by itself. The Python service is "
        "`bench/seed`, in the manner of Encord's documented example, on plain HTTP; edgelabel answers HTTPS.\n"
    )
    names = list(rows)
    print("| | " + " | ".join(names) + " |\n| --- |" + " --- |" * len(names))

    def line(title, value):
        print(f"| {title} | " + " | ".join(value(rows[name]) for name in names) + " |")

    labels = {
        "small": f"image 640×360, {sizes['small'] / 1e3:.0f} kB",
        "large": f"photo 4000×3000, {sizes['large'] / 1e6:.1f} MB",
        "video": f"frame of {VIDEO['frames'] // 25} s of 1280×720 H.264, {sizes['video'] / 1e6:.1f} MB",
    }
    for kind, label in labels.items():
        line(f"{label}: median (slowest), ms", lambda row: f"{statistics.median(row[kind]):.0f} ({max(row[kind]):.0f})")
        line("first click, ms", lambda row: f"{row[kind][0]:.0f}")
        line("processor time per click, ms", lambda row: f"{row[kind + ' cpu']:.0f}")
        line("calls to Encord, media requests, bytes of media (last click)", lambda row: seen(row[kind + " calls"]))
    line("from start to ready, ms", lambda row: f"{row['ready']:.0f}")
    line("resident memory idle, children included, MiB", lambda row: f"{row['idle']:.0f}")
    line("resident memory at its peak, MiB", lambda row: f"{row['peak']:.0f}")
    print(f"\nThe edgelabel binary has {os.path.getsize(options.edgelabel) / 1e6:.1f} MB, stripped.")


def seen(calls):
    media = [call for call in calls if call["call"] == "Media"]
    return f"{len(calls) - len(media)}, {len(media)}, {sum(call['bytes'] for call in media)}"


if __name__ == "__main__":
    main()
