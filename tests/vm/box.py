"""The box under test: the machine with edgelabel on it, and the words that the cases speak."""

import json
import time
from pathlib import Path

from machine import Broken, Machine, accelerator
from outside import Outside

UNIT = "edgelabel.service"
DROPIN = "/etc/systemd/system/edgelabel.service.d"


class Box:
    def __init__(self, machine: Machine, outside: Outside, promtool: Path):
        self.machine, self.outside, self.promtool = machine, outside, promtool
        self.sh, self.wait = machine.sh, machine.wait
        # Each click is on a frame of its own, so that an answer can be told from earlier ones.
        self._next_frame = 0

    def connect(self):
        """Gives the machine its address; until then it has no network."""
        self.sh("ip address replace 10.0.2.15/24 dev eth0 && ip link set eth0 up")

    # systemd's view

    def show(self, key: str) -> str:
        return self.sh(f"systemctl show {UNIT} -p {key} --value").text.strip()

    def pid(self) -> int:
        return int(self.show("MainPID"))

    def start(self):
        """Forgets earlier failures and starts the service; READY has been said when this returns."""
        self.sh(f"systemctl daemon-reload; systemctl reset-failed {UNIT} 2>/dev/null; systemctl restart {UNIT}", patience=650)

    def be_patient(self):
        """What is emulated on a busy host may take longer to start than any real box: the unit's own limit is no subject here."""
        if accelerator() == "tcg":
            self.drop_in("emulated", "TimeoutStartSec=600")

    def drop_in(self, name: str, text: str):
        """Amends the unit, as `systemctl edit` does; an empty text takes the amendment back."""
        file = f"{DROPIN}/{name}.conf"
        if text:
            self.sh(f"mkdir -p {DROPIN}; cat >{file} <<'END'\n[Service]\n{text}\nEND\nsystemctl daemon-reload")
        else:
            self.sh(f"rm -f {file}; systemctl daemon-reload")

    def restarted_since(self, pid: int, patience=300) -> str:
        """Waits until systemd has replaced a process; returns what the journal says of it."""
        self.wait(f'new=$(systemctl show {UNIT} -p MainPID --value); [ "$new" != 0 ] && [ "$new" != {pid} ] && systemctl is-active {UNIT}', patience)
        return self.journal(f"--output-fields=MESSAGE,EDGELABEL_CAUSE _PID={pid} + UNIT={UNIT}")

    def clock(self) -> str:
        """The machine's time, for `journal("… --since @TIME")`."""
        return self.sh("date +%s.%N").text.strip()

    def journal(self, match="", lines=400) -> str:
        return self.sh(f"journalctl --no-pager -o cat -n {lines} {match or '-u ' + UNIT}").text

    # edgelabel's view

    def configure(self, **sections):
        """Writes a drop-in configuration: section="key = value lines"; agents are tables of their own."""
        text = "\n".join(f"[{name.replace('__', '.')}]\n{lines}" for name, lines in sections.items() if name != "agents")
        agents = "\n".join(f'[[agent]]\npath = "{path}"\nclassification = ["{title}"]' for path, title in sections.get("agents", {}).items())
        self.sh(f"cat >/etc/edgelabel/conf.d/50-test.toml <<'END'\n{text}\n{agents}\nEND")

    def configure_usual(self, agents=None, **more):
        """Against the emulators outside, with one agent."""
        self.configure(
            encord=f'domain = "{self.outside.encord}"\nontology_ttl = "5m"', model=f'base_url = "{self.outside.model}"\nname = "stand-in"',
            journal='retry_max = "5s"', agents=agents or {"/": "Scene description"}, **more,
        )  # fmt: skip

    def ready(self) -> dict:
        return json.loads(self.sh("curl -sS --max-time 60 http://127.0.0.1:9464/ready").text)

    def metrics(self) -> str:
        return self.sh("curl -sS --max-time 60 http://127.0.0.1:9464/metrics").text

    # For a script: waits until a trigger is under way, whatever the start of the command that sends it takes.
    UNDER_WAY = "for n in $(seq 200); do curl -sS http://127.0.0.1:9464/metrics | grep -q '^edgelabel_triggers_running [1-9]' && break; sleep 0.1; done"

    def frame(self) -> int:
        self._next_frame += 1
        return self._next_frame

    def click_line(self, frame: int, agent="/", data=None) -> str:
        data = data or self.outside.video
        return (
            f"edgelabel trigger --json --agent {agent} --project {self.outside.project} --data {data} --frame {frame}"
            " --url https://localhost:8443 --ca /etc/edgelabel/certs/ca.pem"
        )

    def click(self, frame=None, agent="/", data=None) -> int:
        """Presses the button; returns the answer's status."""
        line = self.click_line(self.frame() if frame is None else frame, agent, data)
        said = self.sh(f"{line} 2>/run/click.errors", check=False).text
        try:
            return json.loads(said)["status"]
        except (ValueError, KeyError):
            raise Broken(f"no answer to a trigger: {said}{self.sh('cat /run/click.errors').text}\n{self.journal(lines=15)}") from None

    def click_saved(self, agent="/"):
        """Presses the button and sees the answer in the label row, on that frame."""
        frame = self.frame()
        status = self.click(frame, agent)
        saved = self.outside.frames_answered(self.outside.video)
        require(status == 200 and frame in saved, f"status {status}, frame {frame}, saved frames {saved}\n{self.journal(lines=15)}")

    def saved_late(self, frame: int, patience=300):
        """Waits until the label row has an answer on a frame."""
        end = time.monotonic() + patience
        while frame not in self.outside.frames_answered(self.outside.video):
            if time.monotonic() > end:
                raise Broken(f"frame {frame} was not saved within {patience} s\n{self.journal(lines=15)}")
            time.sleep(0.5)


def require(condition, otherwise: str):
    if not condition:
        raise Broken(otherwise)
