"""The real daemon, started against the emulator and triggered over HTTPS as the label editor does it."""

import pathlib
import socket
import subprocess
import time

import requests

CONFIG = """
[server]
listen = ["127.0.0.1:{port}"]
[server.tls]
certificate = "certs/server.pem"
private_key = "certs/server.key"
[admin]
listen = "127.0.0.1:{admin}"
[encord]
domain = "{domain}"
ssh_key_file = "{key}"
[model]
base_url = "{model}"
name = "stand-in"
[media]
cache_dir = "cache"
[journal]
path = "journal.db"
"""

AGENT = """
[[agent]]
path = "/{path}"
classification = ["{title}"]
"""

ORIGIN = "https://app.encord.com"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Daemon:
    """One agent for each title of a classification, at a path made from the title."""

    TITLES = [
        "Scene description",
        "Weather",
        "Time of day",
        "Road users",
        "Visibility in metres",
        "Camera position",
    ]

    def __init__(self, program, emulator, folder):
        self.folder = pathlib.Path(folder)
        self.port, self.admin = free_port(), free_port()
        config = CONFIG.format(
            port=self.port,
            admin=self.admin,
            domain=emulator.encord_domain,
            key=emulator.ssh_key_file,
            model=emulator.model_base_url,
        )
        config += "".join(AGENT.format(path=self.path(title), title=title) for title in self.TITLES)
        config += AGENT.format(path="all", title="*") + 'reply = "summary"\n'
        config += AGENT.format(path="objects", title="*") + 'target = "objects"\n'
        file = self.folder / "config.toml"
        file.write_text(config)
        names = ["--name", "localhost", "--ip", "127.0.0.1"]
        subprocess.run([program, "cert", "init", *names, "--config", file], check=True, capture_output=True)
        self.log = open(self.folder / "daemon.log", "w")
        begun = time.monotonic()
        self.process = subprocess.Popen([program, "run", "--config", file], stderr=self.log, stdout=self.log)
        self.wait_ready()
        self.ready_ms = (time.monotonic() - begun) * 1000
        self.authority = self.folder / "certs/ca.pem"

    @staticmethod
    def path(title):
        return title.lower().replace(" ", "-")

    def wait_ready(self):
        for _ in range(10000):
            if self.process.poll() is not None:
                break
            try:
                if requests.get(f"http://127.0.0.1:{self.admin}/ready", timeout=1).ok:
                    return
            except requests.RequestException:
                pass
            time.sleep(0.005)
        raise RuntimeError("the daemon did not become ready:\n" + (self.folder / "daemon.log").read_text())

    def trigger(self, title, project, data, frame, objects=()):
        answer = self.post(title, project, data, frame, objects)
        assert answer.status_code == 200, f"{answer.status_code} {answer.text}\n{self.tail()}"
        return answer

    def post(self, title, project, data, frame, objects=()):
        answer = requests.post(
            f"https://localhost:{self.port}/{self.path(title)}",
            json={"projectHash": project, "dataHash": data, "frame": frame, "objectHashes": list(objects)},
            headers={"Origin": ORIGIN},
            verify=self.authority,
            timeout=60,
        )
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        return answer

    def tail(self):
        return "\n".join((self.folder / "daemon.log").read_text().splitlines()[-20:])

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        finally:
            self.process.kill()
            self.log.close()
