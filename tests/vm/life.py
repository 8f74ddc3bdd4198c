"""Start, reload, drain, crash, restart: the service's life under systemd."""

from box import UNIT, Box, require


def saves_a_label(box: Box):
    """triggers over HTTPS end in saved labels: a video's frame and a still"""
    box.configure_usual()
    box.start()
    box.click_saved()
    require(box.click(0, data=box.outside.image) == 200 and box.outside.frames_answered(box.outside.image) == [0], "the still is not saved")
    require("answering" in box.show("StatusText"), box.show("StatusText"))


def reloads_under_load(box: Box):
    """reload under load: nothing fails, the new agent is there; a broken file changes nothing"""
    before, frames = box.pid(), [box.frame() for _ in range(6)]
    clicks = "\n".join(f"({box.click_line(frame)} >/run/load.{frame} 2>&1; echo $? >>/run/load.{frame}) &" for frame in frames)
    box.outside.tell(thinking_ms=800)
    box.configure_usual(agents={"/": "Scene description", "/weather": "Weather"})
    box.sh(f"rm -f /run/load.*\n{clicks}\nsleep 0.7; systemctl reload {UNIT}; sleep 0.3; systemctl reload {UNIT}; wait", patience=200)
    box.outside.tell(thinking_ms=0)
    ends = box.sh("tail -qn 1 /run/load.*").text.split()
    saved = box.outside.frames_answered(box.outside.video)
    require(ends == ["0"] * 6 and set(frames) <= set(saved), f"ends {ends}, {frames} of {saved}: " + box.sh("cat /run/load.*").text)
    require(box.click(agent="/weather") == 200, "the new agent is not there")
    box.sh("cp /etc/edgelabel/conf.d/50-test.toml /root/good; echo 'listne = 1' >>/etc/edgelabel/conf.d/50-test.toml")
    box.sh(f"systemctl reload {UNIT}", check=False)
    box.sh("sleep 1; mv /root/good /etc/edgelabel/conf.d/50-test.toml")
    require(box.click(agent="/weather") == 200 and box.pid() == before, "a broken configuration was not harmless")
    require("listne" in box.journal(lines=30), "the journal does not name the wrong key")


def drains_on_stop(box: Box):
    """stop: the running trigger is finished and saved before the process ends"""
    box.outside.tell(thinking_ms=8000)
    frame, since = box.frame(), box.clock()
    box.sh(f"({box.click_line(frame)} >/run/drain 2>&1; echo $? >>/run/drain) & {box.UNDER_WAY}; systemctl stop {UNIT}; wait", patience=200)
    box.outside.tell(thinking_ms=0)
    require(box.sh("tail -n 1 /run/drain").text.strip() == "0", box.sh("cat /run/drain").text)
    require(frame in box.outside.frames_answered(box.outside.video), "the answer is not saved")
    require(box.show("Result") == "success", box.show("Result"))
    last = box.journal(f"-u {UNIT} --since @{since}")
    require("SIGKILL" not in last, f"decode workers had to be killed:\n{last}")
    box.start()


def survives_kill_9(box: Box):
    """kill -9 with an answer that waits: restarted, and the answer is saved late"""
    box.outside.tell(refuse_saves=100000)
    frame, before = box.frame(), box.pid()
    require(box.click(frame) == 202, "the answer should wait in the journal")
    box.sh(f"kill -9 {before}")
    box.restarted_since(before)
    waiting = box.sh("runuser -u edgelabel -- edgelabel pending list --json").text
    require(f'"frame":{frame}' in waiting.replace(" ", ""), f"the journal lost it: {waiting}")
    box.outside.tell(refuse_saves=0)
    box.saved_late(frame)


def wrong_configuration_is_not_retried(box: Box):
    """a wrong configuration: exit 78, and systemd does not try again"""
    box.sh("cp /etc/edgelabel/conf.d/50-test.toml /root/good; echo 'listne = 1' >>/etc/edgelabel/conf.d/50-test.toml")
    box.sh(f"systemctl reset-failed {UNIT}; systemctl restart {UNIT}", check=False)
    box.sh("sleep 4")
    state = [box.show(key) for key in ("ActiveState", "ExecMainStatus", "NRestarts")]
    box.sh("mv /root/good /etc/edgelabel/conf.d/50-test.toml")
    require(state == ["failed", "78", "0"], f"{state}")
    box.start()


def crash_loops_stop(box: Box):
    """a crash loop stops at the start limit"""
    box.drop_in("crash", "ExecStart=\nExecStart=/bin/sh -c 'kill -SEGV $$$$'\nRestartSec=0.2")
    box.sh(f"systemctl reset-failed {UNIT}; systemctl restart {UNIT}", check=False)
    box.wait(f'[ "$(systemctl show {UNIT} -p ActiveState --value)" = failed ]', 300)
    box.sh("sleep 2")
    state = [box.show(key) for key in ("ActiveState", "Result", "NRestarts")]
    box.drop_in("crash", "")
    require(state[0] == "failed" and 3 <= int(state[2]) <= 6, f"{state}")
    require("start request repeated too quickly" in box.journal(f"UNIT={UNIT}").lower(), "systemd does not say why it gave up")
    box.start()


def the_socket_keeps_the_port(box: Box):
    """socket activation: under load through a restart no connection is refused or cut"""
    box.sh(f"systemctl stop {UNIT}; systemctl enable --now edgelabel.socket; ! systemctl is-active {UNIT}")
    # The label editor's own test request: answered by the daemon, and nothing outside is asked.
    ask = (
        "curl -sS --cacert /etc/edgelabel/certs/ca.pem --max-time 300 -o /dev/null -w '%{http_code} %{exitcode}\\n' -H 'Content-Type: application/json'"
        f" -H 'X-Encord-Editor-Agent: x' -d '{{\"projectHash\":\"{box.outside.project}\",\"dataHash\":\"{box.outside.video}\",\"frame\":0}}' https://localhost:8443/"
    )
    first = box.sh(ask).text.strip()
    require(first == "200 0", f"the first call did not start the service: {first}")
    require(box.click() == 200, "no label through the socket")
    before = box.pid()
    box.sh(
        f"rm -f /run/asked.*; touch /run/asking\nfor n in 1 2; do (while [ -e /run/asking ]; do {ask}; done >/run/asked.$n 2>&1) & done\n"
        f"sleep 1; systemctl restart {UNIT}; for n in $(seq 1500); do [ $(cat /run/asked.* | wc -l) -ge 12 ] && break; sleep 0.2; done; rm /run/asking; wait", patience=900,
    )  # fmt: skip
    answers = box.sh("cat /run/asked.*").text.split("\n")[:-1]
    counts = {answer: answers.count(answer) for answer in sorted(set(answers))}
    print(f"      answers through the restart: {counts}")
    require(box.pid() != before, "it was not restarted")
    require(len(answers) >= 10, f"too few answers to tell: {counts}")
    require(set(counts) <= {"200 0", "503 0"}, f"{counts}")
    box.sh(f"systemctl stop edgelabel.socket {UNIT}; systemctl disable edgelabel.socket")
    box.start()
