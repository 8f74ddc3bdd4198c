"""What a request costs at the HTTPS edge: the editor's test request to edgelabel, to a bare hyper + rustls server, to
nginx and to Encord's own library for agents under uvicorn, one after another, round by round. Markdown to standard output.

What counts is the server's processor time per request: it hardly depends on what else the machine does.
Run by `make bench-edge`."""

import argparse
import contextlib
import datetime
import json
import os
import pathlib
import platform
import re
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/sdk"))
from daemon import Daemon, free_port  # noqa: E402
from emulator import Emulator  # noqa: E402

HERE = ROOT / "bench/edge"
HEADERS = {"Content-Type": "application/json", "Origin": "https://app.encord.com", "X-Encord-Editor-Agent": "test"}
CASES = ["HTTP/1.1, 32 connections kept", "HTTP/1.1, a connection for each request", "HTTP/2, 8 connections of 16 streams"]
MOST_OF_BARE, MOST_OF_PYTHON = 1.5, 0.1


class Server:
    """A process with its children, at an address."""

    def __init__(self, name, pid, port, path="/", http2=True):
        self.name, self.pid, self.http2 = name, pid, http2
        self.url = f"https://localhost:{port}{path}"
        self.port = port

    def cpu_seconds(self):
        ticks, todo = 0, [self.pid]
        while todo:
            pid = todo.pop()
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
            for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
                todo += [int(child) for child in task.read_text().split()]
        return ticks / os.sysconf("SC_CLK_TCK")


def wrk(url, seconds, *arguments):
    command = ["wrk", "-t1", "-c32", f"-d{seconds}s", "-s", HERE / "post.lua", url, "--", *arguments]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    told = json.loads(output.strip().splitlines()[-1])
    return told["requests"], told["failed"], told["seconds"]


def h2load(url, seconds, body):
    headers = [word for name, value in HEADERS.items() for word in ("-H", f"{name}: {value}")]
    command = ["h2load", "-t1", "-c8", "-m16", "-D", str(seconds), "-d", body, *headers, url]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    good = int(re.search(r"status codes: (\d+) 2xx", output)[1])
    done = int(re.search(r"(\d+) done", output)[1])
    return done, done - good, float(seconds)


def measure(case, server, seconds, body):
    """Requests a second, and processor time per request in microseconds."""
    before = server.cpu_seconds()
    if case == CASES[2]:
        requests, failed, took = h2load(server.url, seconds, body)
    else:
        requests, failed, took = wrk(server.url, seconds, *(["fresh"] if case == CASES[1] else []))
    # A connection that a server ends after its last request is a handful of retries, not failures of the server.
    if requests < 100 or failed > requests / 100:
        raise RuntimeError(f"{server.name}, {case}: {requests} requests, {failed} of them failed")
    return requests / took, (server.cpu_seconds() - before) / requests * 1e6


def wait_for(port, process):
    for _ in range(1200):
        if process.poll() is not None:
            raise RuntimeError(f"{process.args[0]} has ended")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise RuntimeError(f"nothing listens on {port}")


def nginx_configuration(folder, port, certificate, key):
    temporary = "\n".join(f"  {kind}_temp_path {folder}/{kind};" for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"])
    file = folder / "nginx.conf"
    file.write_text(f"""daemon off; worker_processes 2; pid {folder}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
{temporary}
  access_log off; keepalive_requests 10000; default_type application/json;
  server {{
    listen 127.0.0.1:{port} ssl http2; ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3;
    location / {{ return 200 'null'; }}
  }}
}}
""")
    return file


@contextlib.contextmanager
def servers(arguments):
    """The four of them, with the same certificate."""
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        emulator = Emulator(arguments.emulator, "--folder", folder / "emulator")
        stack.callback(emulator.stop)
        box = folder / "box"
        box.mkdir()
        daemon = Daemon(arguments.edgelabel, emulator, box)
        stack.callback(daemon.stop)
        certificate, key = box / "certs/server.pem", box / "certs/server.key"

        def start(name, http2, command):
            port = free_port()
            words = [str(word) for word in command(port)]
            process = subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL, stderr=open(folder / "log", "a"))
            stack.callback(process.wait)
            stack.callback(process.terminate)
            wait_for(port, process)
            return Server(name, process.pid, port, http2=http2)

        uvicorn = [sys.executable, "-m", "uvicorn", "--app-dir", HERE, "service:app", "--log-level", "warning"]
        yield [
            Server("edgelabel", daemon.process.pid, daemon.port, "/" + daemon.path("Scene description")),
            start("bare hyper + rustls", True, lambda port: [arguments.bare, f"127.0.0.1:{port}", certificate, key]),
            start("nginx, static answer", True, lambda port: ["nginx", "-e", "stderr", "-p", folder, "-c", nginx_configuration(folder, port, certificate, key)]),
            start("uvicorn, encord-agents", False, lambda port: [*uvicorn, "--port", port, "--ssl-certfile", certificate, "--ssl-keyfile", key]),
        ]


def check_answer(server):
    """All of them answer the same request with the same words."""
    import http.client

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=context, timeout=10)
    connection.request("POST", "/" + server.url.split("/", 3)[3], "{}", HEADERS)
    answer = connection.getresponse()
    if (answer.status, answer.read()) != (200, b"null"):
        raise RuntimeError(f"{server.name} answers {answer.status}")


def report(found, arguments):
    versions = " · ".join(version(words) for words in (["nginx", "-v"], [sys.executable, "-m", "uvicorn", "--version"]))
    print(f"""# What a request costs at the HTTPS edge

Written by `make bench-edge` on {datetime.date.today()}: {os.cpu_count()} cores ({platform.machine()}), Linux {platform.release()},
{versions}. The editor's test request (POST, answered `null`) over TLS 1.3 with one P-256 certificate, {arguments.rounds}
rounds of {arguments.seconds} s for each, medians. The machine may have been busy with other things: processor time per request is the
figure to look at. edgelabel runs with all of its limits, timers, CORS headers and counters; the bare server
(`examples/bare_https.rs`) has none, and answers any POST.
""")
    good = True
    for case, by_server in found.items():
        print(f"## {case}\n\n| server | requests/s | processor time per request | edgelabel's is |\n| --- | ---: | ---: | ---: |")
        own = by_server["edgelabel"]
        for name, rounds in by_server.items():
            rate, cost = (statistics.median(column) for column in zip(*rounds))
            ratio = statistics.median(mine[1] / theirs[1] for mine, theirs in zip(own, rounds))
            print(f"| {name} | {rate:,.0f} | {cost:.1f} µs | {'' if name == 'edgelabel' else f'{ratio:.2f} ×'} |")
            if name.startswith("bare"):
                good &= ratio <= MOST_OF_BARE
            if name.startswith("uvicorn") and case == CASES[0]:
                good &= ratio <= MOST_OF_PYTHON
        print()
    print(f"Goal: at most {MOST_OF_BARE} × the bare server in each case, and at most {MOST_OF_PYTHON} × uvicorn over kept connections: {'met' if good else 'missed'}.")
    return good


def version(words):
    shown = subprocess.run(words, check=True, capture_output=True, text=True)
    return (shown.stdout + shown.stderr).strip().splitlines()[0].replace("nginx version: ", "").replace("Running ", "")


def main():
    parser = argparse.ArgumentParser()
    for name in ["--edgelabel", "--bare", "--emulator"]:
        parser.add_argument(name, required=True, type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    arguments = parser.parse_args()
    with servers(arguments) as all_servers, tempfile.NamedTemporaryFile() as body:
        body.write(b"{}")
        body.flush()
        for server in all_servers:
            check_answer(server)
        found = {case: {server.name: [] for server in all_servers if server.http2 or case != CASES[2]} for case in CASES}
        for number in range(arguments.rounds):
            for case, by_server in found.items():
                print(f"round {number + 1} of {arguments.rounds}: {case}", file=sys.stderr)
                for server in all_servers:
                    if server.name in by_server:
                        by_server[server.name].append(measure(case, server, arguments.seconds, body.name))
    sys.exit(0 if report(found, arguments) else 1)


if __name__ == "__main__":
    main()
