"""Frames of a long video behind a line of 20 ms and 100 Mbit/s: edgelabel and what one would use in Python or a shell.

Each frame is asked of every way in turn, in random order, each time in a fresh process and without anything kept from
before; then a second frame of the same GOP. The services are then asked again without the start of their processes.
Writes Markdown to standard output, and every single figure to --figures.

Run by `make bench-frames`."""

import argparse
import ctypes
import datetime
import json
import os
import pathlib
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
GOP = 250
FPS = 30


class Store:
    """The range server, and what it counted."""

    def __init__(self, folder, latency_ms, mbit):
        command = [sys.executable, HERE / "range_server.py", folder, "0", str(latency_ms), str(mbit)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().strip()

    def counts(self):
        # What is in flight to a reader that hung up is counted when the server notices.
        time.sleep(0.05)
        with urllib.request.urlopen(self.url + "/_counts", timeout=10) as answer:
            return json.load(answer)

    def stop(self):
        self.process.kill()
        self.process.wait()


class Family:
    """A process with all its descendants: their processor time, and the most memory that they had at one time."""

    def __init__(self, pid):
        self.pid = pid
        self.peak = 0.0
        self.over = threading.Event()
        self.watch = threading.Thread(target=self.look)
        self.watch.start()

    def pids(self):
        found, todo = [], [self.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            try:
                for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                    todo += [int(child) for child in (task / "children").read_text().split()]
            except OSError:
                # It ended meanwhile.
                pass
        return found

    def look(self):
        while not self.over.wait(0.01):
            together = 0
            for pid in self.pids():
                try:
                    status = pathlib.Path(f"/proc/{pid}/status").read_text()
                except OSError:
                    continue
                if "VmHWM:" in status:
                    # Of each that lives now, its own peak: nothing between two looks is missed.
                    together += int(status.split("VmHWM:")[1].split()[0]) / 1024
            self.peak = max(self.peak, together)

    def ticks(self):
        """Processor seconds so far, those of children that ended included."""
        total = 0
        for pid in self.pids():
            try:
                fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            total += sum(int(field) for field in fields[11:15])
        return total / os.sysconf("SC_CLK_TCK")

    def peak_mib(self):
        self.over.set()
        self.watch.join()
        return self.peak


class Edgelabel:
    name = "edgelabel"

    def __init__(self, options, folder):
        self.program = options.edgelabel
        self.service_program = options.service
        self.environment = dict(os.environ, EDGELABEL__MEDIA__CACHE_DIR=str(folder / "cache"), EDGELABEL__MEDIA__DECODER="software")

    def command(self, url, frame, output):
        return [self.program, "frame", url, "--frame", str(frame), "--output", output]

    def service(self):
        return [self.service_program, self.program]


class Python:
    environment = None

    def __init__(self, options, folder):
        self.python = options.python

    def command(self, url, frame, output):
        return [self.python, HERE / "peers.py", self.way, url, str(frame), output]

    def service(self):
        return [self.python, HERE / "peers.py", self.way]


class PyAv(Python):
    name, way = "PyAV on the link", "pyav"


class OpenCv(Python):
    name, way = "OpenCV on the link", "opencv"


class Download(Python):
    name, way = "download, then OpenCV", "download"


class Ffmpeg:
    name = "ffmpeg -ss"
    environment = None

    def __init__(self, options, folder):
        pass

    def command(self, url, frame, output):
        # The middle of the frame before is the one place that rounding cannot move to another frame.
        seconds = f"{max(0, frame - 0.5) / FPS:.6f}"
        return ["ffmpeg", "-hide_banner", "-loglevel", "error", "-nostdin", "-y", "-ss", seconds, "-i", url, "-frames:v", "1", "-q:v", "3", output]


def number_in(picture):
    """The number that a picture of the clip shows in its squares."""
    import PIL.Image

    image = PIL.Image.open(picture).convert("L")
    at = lambda x, y: image.getpixel((round(x * image.width / 1920), round(y * image.height / 1080)))
    return sum((at(64 + bit * 112 + 48, 988) > 128) << bit for bit in range(16))


def run(way, store, url, frame, folder):
    output = str(folder / "frame.jpg")
    pathlib.Path(output).unlink(missing_ok=True)
    store.counts()
    before = os.times()
    begun = time.monotonic()
    process = subprocess.Popen(way.command(url, frame, output), env=way.environment)
    family = Family(process.pid)
    status = process.wait(300)
    wall = time.monotonic() - begun
    reap()
    after = os.times()
    return dict(
        wall=wall,
        cpu=after.children_user + after.children_system - before.children_user - before.children_system,
        memory=family.peak_mib(),
        right=status == 0 and number_in(output) == frame,
        **store.counts(),
    )


def reap():
    """Waits for orphans, so that their processor time is counted; this process inherits them."""
    begun = time.monotonic()
    while time.monotonic() - begun < 5:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                # The range server is a child, too, and lives on.
                if not [child for child in children() if child not in KEPT]:
                    return
                time.sleep(0.002)
        except ChildProcessError:
            return


KEPT = set()


def children():
    return [int(pid) for task in pathlib.Path("/proc/self/task").glob("*/children") for pid in task.read_text().split()]


class Service:
    """A way that stays up and answers lines."""

    def __init__(self, way):
        self.process = subprocess.Popen(way.service(), env=way.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        KEPT.add(self.process.pid)
        assert self.process.stdout.readline().strip() == "ready"
        self.family = Family(self.process.pid)

    def ask(self, store, url, frame, folder):
        output = str(folder / "frame.jpg")
        pathlib.Path(output).unlink(missing_ok=True)
        store.counts()
        before, begun = self.family.ticks(), time.monotonic()
        self.process.stdin.write(f"{url} {frame} {output}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        wall = time.monotonic() - begun
        cpu = self.family.ticks() - before
        return dict(wall=wall, cpu=cpu, memory=0, right=answer == "done" and number_in(output) == frame, **store.counts())

    def stop(self):
        peak = self.family.peak_mib()
        self.process.stdin.close()
        self.process.wait(20)
        return peak


def table(rows, peers):
    """One line for each way: medians, and edgelabel's share of the best peer."""
    lines = ["| | right | MB | requests | processor s | wall s | peak MiB |", "| --- | --- | --- | --- | --- | --- | --- |"]
    middle = {way: {key: statistics.median(row[key] for row in found) for key in ("bytes", "requests", "cpu", "wall", "memory")} for way, found in rows.items()}
    for way, found in rows.items():
        m = middle[way]
        right = f"{sum(row['right'] for row in found)}/{len(found)}"
        lines.append(f"| {way} | {right} | {m['bytes'] / 1e6:.2f} | {m['requests']:g} | {m['cpu']:.2f} | {m['wall']:.2f} | {m['memory']:.0f} |")
    best = {key: min(middle[way][key] for way in peers) for key in ("bytes", "requests", "cpu", "wall", "memory")}
    # Pair by pair: the same frame, the same minute on the machine.
    ratio = {
        key: statistics.median(
            ours[key] / min(rows[way][at][key] for way in peers) for at, ours in enumerate(rows["edgelabel"]) if min(rows[way][at][key] for way in peers)
        )
        for key in best
    }
    lines.append("| **edgelabel : best of the link readers**, median of pairs | | " + " | ".join(f"**{ratio[key]:.2f}**" for key in best) + " |")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edgelabel", required=True)
    parser.add_argument("--service", required=True, help="the example `frames`")
    parser.add_argument("--python", default=sys.executable, help="a Python with bench/requirements.txt")
    parser.add_argument("--clip", required=True, type=pathlib.Path, help="made by bench/make_clip.sh")
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--downloads", type=int, default=2)
    parser.add_argument("--latency", type=float, default=20)
    parser.add_argument("--mbit", type=float, default=100)
    parser.add_argument("--figures", type=pathlib.Path)
    options = parser.parse_args()
    options.edgelabel = str(pathlib.Path(options.edgelabel).resolve())

    # Orphans of what is measured come here, where their time is counted.
    ctypes.CDLL(None).prctl(36, 1)
    chance = random.Random(7)
    length = int(float(subprocess.check_output(["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", options.clip])) * FPS)
    # A second frame follows in the same GOP.
    frames = [frame for frame in (chance.randrange(length - 60) for _ in range(50 * options.frames)) if frame % GOP < GOP - 45][: options.frames]

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        store = Store(options.clip.parent, options.latency, options.mbit)
        KEPT.add(store.process.pid)
        ours, peers = Edgelabel(options, folder), [way(options, folder) for way in (Ffmpeg, PyAv, OpenCv)]
        ways = [ours, *peers]
        copies = iter(range(10**9))

        def link():
            # Another parameter is another item to a cache.
            return f"{store.url}/{options.clip.name}?copy={next(copies)}"

        def progress(text):
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)

        # What GStreamer and Python write down at their first start is not what is measured.
        for way in ways:
            run(way, store, link(), 0, folder)
        first = {way.name: [] for way in ways}
        second = {way.name: [] for way in ways}
        for at, frame in enumerate(frames):
            for way in chance.sample(ways, len(ways)):
                progress(f"frame {at + 1} of {len(frames)}: {way.name}")
                url = link()
                first[way.name].append(run(way, store, url, frame, folder))
                second[way.name].append(run(way, store, url, frame + 23, folder))
        download = {Download.name: []}
        for frame in frames[: options.downloads]:
            progress(f"{Download.name}")
            download[Download.name].append(run(Download(options, folder), store, link(), frame, folder))

        warm_first = {way.name: [] for way in ways if hasattr(way, "service")}
        warm_second = {way.name: [] for way in ways if hasattr(way, "service")}
        services = {way.name: Service(way) for way in ways if hasattr(way, "service")}
        for service in services.values():
            service.ask(store, link(), 0, folder)
        for at, frame in enumerate(frames):
            for name in chance.sample(list(services), len(services)):
                progress(f"services, frame {at + 1} of {len(frames)}: {name}")
                url = link()
                warm_first[name].append(services[name].ask(store, url, frame, folder))
                warm_second[name].append(services[name].ask(store, url, frame + 23, folder))
        for name, service in services.items():
            peak = service.stop()
            for row in warm_first[name] + warm_second[name]:
                row["memory"] = peak
        progress("")
        store.stop()

    names = [way.name for way in peers]
    if options.figures:
        everything = dict(first=first, second=second, download=download, warm_first=warm_first, warm_second=warm_second, frames=frames)
        options.figures.write_text(json.dumps(everything, indent=1))
    report(options, first, second, download, warm_first, warm_second, names, length)


def report(options, first, second, download, warm_first, warm_second, names, length):
    cpu = next((line.split(": ")[1] for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), platform.machine())
    megabytes = options.clip.stat().st_size / 1e6
    downloaded = statistics.median(row["wall"] for row in download[Download.name]) if download[Download.name] else None
    print("# Frames by link\n")
    print(
        f"One frame of a video of {length / FPS / 60:.0f} minutes (1080p, H.264, a key frame every {GOP} pictures, {megabytes:.0f} MB) behind a line of "
        f"{options.latency:g} ms and {options.mbit:g} Mbit/s. {len(first['edgelabel'])} random frames, all ways by turns; medians; software decoding. Every "
        "picture is written as JPEG, and its number, which it shows, is checked. `make bench-frames` makes this page.\n"
    )
    print("The first frame of a file, in a fresh process, with nothing kept from before:\n")
    rows = dict(first)
    print("\n".join(table(rows, names)))
    print("\nA second frame, 23 pictures after the first, again in a fresh process; edgelabel has the index and the GOP so far:\n")
    print("\n".join(table(second, names)))
    if downloaded:
        row = {key: statistics.median(row[key] for row in download[Download.name]) for key in ("bytes", "requests", "cpu", "wall", "memory")}
        print(
            f"\nDownloading the file and then seeking with OpenCV: {row['bytes'] / 1e6:.0f} MB, {row['cpu']:.2f} s of processor, {row['wall']:.1f} s: "
            f"{row['wall'] / statistics.median(r['wall'] for r in first['edgelabel']):.0f} times as long."
        )
    print("\nAs a service whose process is up, its libraries loaded, first frame of a file:\n")
    services = [name for name in names if name in warm_first]
    print("\n".join(table(warm_first, services)))
    print("\nSecond frame in the same GOP, in which edgelabel's decoder still stands:\n")
    print("\n".join(table(warm_second, services)))
    print(
        "\nMemory is the peaks of a way's processes at one time, added up, so that libraries shared by two count twice. Bytes are what the store sent: a reader "
        "that asks for an open range and hangs up pays for what was on its way.\n"
    )
    versions = subprocess.check_output([options.python, HERE / "peers.py", "versions"], text=True).strip()
    ffmpeg = subprocess.check_output(["ffmpeg", "-version"], text=True).split()[2]
    edgelabel = subprocess.check_output([options.edgelabel, "--version"], text=True).strip()
    load = os.getloadavg()[2]
    print(f"{edgelabel}, ffmpeg {ffmpeg}, {versions}; {datetime.date.today()}, {os.cpu_count()} × {cpu}, load {load:.1f}.")


if __name__ == "__main__":
    main()
