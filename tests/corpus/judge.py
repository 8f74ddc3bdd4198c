"""Lets `edgelabel frame` extract frames of the corpus in EDGELABEL_CORPUS and has the corpus's own judge,
score_frames.py in the folder `tools` beside it, say which frame each picture shows.

A file passes when every frame asked for is the right one and its colours are right. Of a damaged file a frame may be
refused instead, but never another one be shown; what is no video at all must be refused. `--frames N` asks for at most N frames of each file (0: all that have a known truth). With `--http` the files
come by ranges over HTTP, from range_server.py in the same folder, instead of from the disk."""

import argparse
import collections
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time

# Mean difference per channel above which the conversion to RGB is probably wrong.
COLOUR_BOUND = 3

# Files that are cut short or have bytes flipped: a clear error is as good as the right picture.
DAMAGED = re.compile(r"^bad_|corrupted")

# Bytes flipped within the pictures, three of which are lost with them. ffmpeg counts on without these, so that in its truth
# all later GOPs are three frames early; a player that goes by the clock, and the sample table, count them. Such frames are
# told, but judged neither way.
UNDEFINED = {"bad_flipped_bytes.mp4"}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=4)
    parser.add_argument("--only", default="", help="files that match this regular expression")
    parser.add_argument("--http", action="store_true")
    parser.add_argument("--timeout", type=int, default=30, help="seconds that a frame may take")
    options = parser.parse_args()

    program = pathlib.Path(os.environ.get("EDGELABEL_BIN", "target/release/edgelabel")).resolve()
    corpus = pathlib.Path(os.environ.get("EDGELABEL_CORPUS", "../shared/media")).resolve()
    judge = corpus.parent / "tools" / "score_frames.py"
    for needed in (program, corpus / "manifest.json", judge):
        if not needed.exists():
            sys.exit(f"{needed} is not there; EDGELABEL_CORPUS names the folder with manifest.json, EDGELABEL_BIN the program")

    server, url = serve(corpus, judge.with_name("range_server.py")) if options.http else (None, None)
    try:
        frames = scores(options, program, corpus, judge, url)
    finally:
        if server:
            server.terminate()

    files = collections.defaultdict(list)
    for frame in frames:
        files[frame["file"]].append(frame)
    wrong = [name for name, results in files.items() if not all(right(result) for result in results)]
    undefined = sum(1 for frame in frames if frame["file"] in UNDEFINED and frame["v"] == "wrong")
    print(f"not judged: {undefined} frames behind pictures that are lost")
    for name in wrong:
        print(f"FAILED {name}")
    print(f"corpus: {len(files) - len(wrong)} passed, {len(wrong)} failed")
    sys.exit(1 if wrong or not files else 0)


def scores(options, program, corpus, judge, url):
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        command = [sys.executable, judge, "--manifest", corpus / "manifest.json", "--media", corpus]
        command += ["--per-file", str(options.frames), "--jobs", str(os.cpu_count() or 2), "--timeout", str(options.timeout), "--json", report.name]
        command += ["--only", options.only] if options.only else []
        command += ["--url", url] if url else []
        command += [f"{program} frame {{file}} --frame {{frame}} --output {{out.png}}"]
        subprocess.run(command, check=True)
        return json.load(report)


def serve(corpus, program):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen([sys.executable, program, corpus, str(port)])
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return server, f"http://127.0.0.1:{port}"
        time.sleep(0.05)
    sys.exit("range_server.py does not listen")


def right(result):
    if result["v"] == "error" and DAMAGED.search(result["file"]) or result["file"] in UNDEFINED:
        return True
    return result["v"] == "exact" and result.get("col", 0) <= COLOUR_BOUND


main()
