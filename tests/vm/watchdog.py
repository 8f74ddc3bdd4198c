"""The watchdog: systemd restarts the service when it stands still, or when any one of its parts does.

Each case blocks one part and leaves the rest running, timers included: a service that pets the dog from a timer would live on.
"""

from box import Box, require
from machine import accelerator

# Short, so that the cases are; three proofs to a period, also of a processor that is emulated on a busy host.
PERIOD = f"WatchdogSec={12 if accelerator() == 'kvm' else 24}"
NO_PROOF = "no proof that the service works"


def restarted_by_watchdog(box: Box, before: int, reason: str):
    said = box.restarted_since(before)
    require("watchdog" in said.lower(), f"systemd does not speak of its watchdog:\n{said}")
    require(reason in said, f"the journal does not say {reason!r}:\n{said}")
    box.click_saved()


def begin(box: Box) -> int:
    box.drop_in("watchdog", PERIOD)
    box.start()
    return box.pid()


def hold(box: Box, pid: int, threads: str):
    """Stops threads by name. Nothing can be executed under /run on Debian, and a program that did not run holds nothing."""
    box.sh("install -m 755 /run/payload/hold_threads /usr/local/sbin/hold_threads")
    box.sh(f"systemd-run --quiet --collect --unit=hold-{threads.strip('-')} bash -c 'exec hold_threads {pid} {threads} >/run/held'")
    box.wait("grep -q '^held [1-9]' /run/held && rm /run/held", 60)


def the_whole_process(box: Box):
    """watchdog: the process is stopped (kill -STOP)"""
    before = begin(box)
    box.sh(f"kill -STOP {before}")
    restarted_by_watchdog(box, before, "")


def the_server_threads(box: Box):
    """watchdog: the threads of the accept loop hang, all others run"""
    before = begin(box)
    hold(box, before, "server")
    restarted_by_watchdog(box, before, "")


def the_accept_loop(box: Box):
    """watchdog: the accept loop can take no connection (descriptors are used up), timers run"""
    before = begin(box)
    box.sh(f"prlimit --pid {before} --nofile=3:3")
    restarted_by_watchdog(box, before, NO_PROOF)


def the_trigger_pool(box: Box):
    """watchdog: the trigger pool's threads hang in a trigger past its deadline"""
    box.sh("cp /etc/edgelabel/conf.d/50-test.toml /root/good")
    # Time enough to hold the threads while the trigger is with them: idle ones that hang owe nobody anything.
    box.configure_usual(server='request_budget = "40s"')
    before = begin(box)
    box.outside.tell(thinking_ms=39000)
    box.sh(f"{box.click_line(box.frame())} >/dev/null 2>&1 & {box.UNDER_WAY}")
    hold(box, before, "trigger-")
    require("edgelabel_triggers_running 1" in box.metrics(), "the trigger had ended before its thread was held")
    box.outside.tell(thinking_ms=0)
    box.sh("mv /root/good /etc/edgelabel/conf.d/50-test.toml")
    restarted_by_watchdog(box, before, "past their deadline")


def the_decode_pool(box: Box):
    """watchdog: every decode worker hangs as soon as it is there"""
    before = begin(box)
    box.sh(f"systemd-run --quiet --unit=hang-workers bash -c 'while kill -0 {before}; do pkill -STOP -P {before}; sleep 0.1; done'")
    # Which proof it is depends on how long the others took before.
    restarted_by_watchdog(box, before, NO_PROOF)
    box.drop_in("watchdog", "")
