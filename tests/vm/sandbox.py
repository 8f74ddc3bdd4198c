"""The unit's walls: tight by systemd's own score, and wide enough for what the daemon does."""

import json
import subprocess

from box import UNIT, Box, require

# systemd's exposure level times ten.
THRESHOLD = 20


def exposure_is_low(box: Box):
    """systemd-analyze security: at most 2.0"""
    output = box.sh(f"systemd-analyze security --no-pager --threshold={THRESHOLD} {UNIT}", check=False)
    verdict = next((line for line in output.text.splitlines() if "Overall exposure" in line), output.text)
    print(f"      {verdict.strip()}")
    require(output.status == 0, verdict)


def doctor_inside_the_unit(box: Box):
    """doctor inside the unit's sandbox: decoders proven, virtual camera seen, Encord and model answer"""
    box.sh("modprobe vivid n_devs=1 node_types=0x1 && udevadm settle")
    box.sh(
        "sed -e 's|^ExecStart=.*|ExecStart=/usr/bin/edgelabel doctor --json|' -e 's|^Type=.*|Type=oneshot|' -e '/^WatchdogSec/d' -e '/^Restart/d'"
        " /usr/lib/systemd/system/edgelabel.service >/run/systemd/system/edgelabel-doctor.service;"
        " printf 'StandardOutput=file:/run/doctor.json\\nStandardError=journal\\n' >/run/doctor.conf; rm -f /run/doctor.json; mkdir -p /run/systemd/system/edgelabel-doctor.service.d;"
        " (echo '[Service]'; cat /run/doctor.conf) >/run/systemd/system/edgelabel-doctor.service.d/out.conf; systemctl daemon-reload"
    )
    box.sh("systemctl start edgelabel-doctor.service", patience=200, check=False)
    report = json.loads(box.sh("cat /run/doctor.json").text)
    status = {check["name"]: check["status"] for check in report["checks"]}
    wrong = [check for check in report["checks"] if check["status"] == "failed"]
    require(not wrong, f"{wrong}")
    contained = [check["detail"] for check in report["checks"] if check["name"] == "decode workers"]
    require(len(contained) == 1 and "seccomp" not in contained[0], f"decode workers: {contained}")
    require(status.get("decoding h264") == "ok" and status.get("decoding vp9") == "ok", f"{status}")
    cameras = [check["detail"] for check in report["checks"] if check["name"].startswith("V4L2 device /dev/video")]
    require(any("vivid" in detail for detail in cameras), f"no camera among {cameras}: {status}")
    require(any("ncord" in name for name in status) and any("model" in name for name in status), f"{status}")


def credentials_instead_of_files(box: Box):
    """secrets as systemd credentials: root's files, unreadable to the service's user, used by the daemon"""
    box.sh(
        "install -d -m 700 /etc/edgelabel/secrets; mv /etc/edgelabel/encord_ed25519 /etc/edgelabel/openai.key /etc/edgelabel/secrets/;"
        " chown -R root:root /etc/edgelabel/secrets; chmod 600 /etc/edgelabel/secrets/*"
    )
    box.drop_in("credentials", "LoadCredential=encord_ssh_key:/etc/edgelabel/secrets/encord_ed25519\nLoadCredential=model_api_key:/etc/edgelabel/secrets/openai.key")
    box.start()
    box.sh("! runuser -u edgelabel -- cat /etc/edgelabel/secrets/encord_ed25519 2>/dev/null")
    box.click_saved()


def the_journal_has_fields_and_no_secret(box: Box):
    """one journal entry a trigger, with fields; no secret in it"""
    frame = box.frame()
    require(box.click(frame) == 200, "the trigger failed")
    lines = box.sh(f"journalctl -u {UNIT} -o json --no-pager EDGELABEL_FRAME={frame} EDGELABEL_OUTCOME=saved").text.splitlines()
    require(len(lines) == 1, f"{len(lines)} entries for one trigger")
    entry = json.loads(lines[0])
    wanted = {"PROJECT": box.outside.project, "DATA": box.outside.video, "OUTCOME": "saved", "MODEL": None, "STEPS": None, "DECODER": None, "BYTES": None, "REQUEST": None}
    for name, value in wanted.items():
        found = entry.get(f"EDGELABEL_{name}")
        require(found and (value is None or found == value), f"EDGELABEL_{name} is {found!r}")
    require("decode=" in entry["EDGELABEL_STEPS"], entry["EDGELABEL_STEPS"])
    everything = box.journal(lines=5000)
    require("sk-very-secret-model-key" not in everything and "sig=" not in everything, "a secret or a signed link is in the journal")


def prometheus_reads_the_metrics(box: Box):
    """/metrics: Prometheus' own tool reads it, and it tells of triggers, steps, requests and the watchdog"""
    # What a step fetches is counted where it is fetched: nothing may be kept from before.
    box.sh(f"systemctl stop {UNIT}; find /var/cache/edgelabel -mindepth 1 -maxdepth 1 ! -name gstreamer -exec rm -rf {{}} +")
    box.start()
    box.click_saved()
    box.wait("curl -sS --max-time 20 http://127.0.0.1:9464/metrics | grep -qE '^edgelabel_watchdog_pings_total [1-9]'", 60)
    text = box.metrics()
    judged = subprocess.run([box.promtool, "check", "metrics"], input=text, capture_output=True, text=True)
    # People think of certificates in days; the same is given in seconds for rules that must not.
    in_days = ("edgelabel_certificate_days_left", "edgelabel_ca_days_left")
    complaints = [line for line in (judged.stdout + judged.stderr).splitlines() if line.strip() and not line.startswith(in_days)]
    require(not complaints and judged.returncode in (0, 3), f"promtool: {complaints}")
    figures = {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if not line.startswith("#")}
    for wanted in (
        'edgelabel_triggers_total{outcome="saved",kind="mp4"}', 'edgelabel_step_seconds_count{step="decode"}', 'edgelabel_media_bytes_total',
        'edgelabel_upstream_requests_total{party="encord",status="200"}', 'edgelabel_upstream_requests_total{party="media",status="206"}',
        'edgelabel_encord_calls_total{call="save",outcome="ok"}', 'edgelabel_watchdog_pings_total', 'edgelabel_certificate_days_left',
        'edgelabel_cache_bytes', 'process_resident_memory_bytes',
    ):  # fmt: skip
        require(figures.get(wanted, 0) > 0, f"{wanted} is {figures.get(wanted)}")


def hardened_as_told(box: Box):
    """the process: no capability, no new privileges, seccomp on, not root"""
    facts = box.sh(f"grep -E '^(Uid|CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/{box.pid()}/status; id -u edgelabel").text
    values = dict(line.split(":", 1) for line in facts.splitlines() if ":" in line)
    user = facts.strip().splitlines()[-1]
    require(
        int(values["CapEff"], 16) == 0 and int(values["CapBnd"], 16) == 0 and values["NoNewPrivs"].strip() == "1"
        and values["Seccomp"].strip() == "2" and values["Uid"].split()[0] == user, facts,
    )  # fmt: skip
