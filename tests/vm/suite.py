#!/usr/bin/env python3
"""`make vm-test`: a real Debian machine under systemd, the package installed, and everything that may befall the service.

suite.py --made FOLDER --deb FILE --newer FILE --emulator FILE --promtool FILE --work FOLDER [--short] [--only NAME…]

FOLDER is what `rootfs` made. Ends with a table and a line `vm: N passed, N failed`; exit status 1 when anything failed.
"""

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

import camera
import install
import life
import sandbox
import trouble
import watchdog
from box import Box
from machine import Broken, Machine, accelerator, fresh
from outside import Outside

HERE = Path(__file__).resolve().parent

# In this order; each begins with a running service unless the first ones say otherwise.
CASES = [
    install.apt_installs_and_starts_nothing,
    install.a_new_user_follows_the_readme,
    trouble.starts_without_network,
    life.saves_a_label,
    sandbox.exposure_is_low,
    sandbox.hardened_as_told,
    sandbox.doctor_inside_the_unit,
    camera.takes_a_picture_and_knows_its_camera_again,
    camera.takes_pictures_that_are_labelled_at_encord,
    camera.codec_devices_are_told_apart,
    sandbox.credentials_instead_of_files,
    sandbox.the_journal_has_fields_and_no_secret,
    sandbox.prometheus_reads_the_metrics,
    life.reloads_under_load,
    life.drains_on_stop,
    life.survives_kill_9,
    life.wrong_configuration_is_not_retried,
    life.crash_loops_stop,
    life.the_socket_keeps_the_port,
    watchdog.the_whole_process,
    watchdog.the_server_threads,
    watchdog.the_accept_loop,
    watchdog.the_trigger_pool,
    watchdog.the_decode_pool,
    trouble.full_disk,
    trouble.read_only_root,
    trouble.power_cut,
    install.an_upgrade_keeps_configuration_and_journal,
    install.removal_keeps_what_purge_removes,
]

# What makes an appliance of it, for every change: one boot, no case that waits long.
SHORT = [
    install.apt_installs_and_starts_nothing,
    install.a_new_user_follows_the_readme,
    trouble.starts_without_network,
    life.saves_a_label,
    sandbox.exposure_is_low,
    sandbox.hardened_as_told,
    sandbox.doctor_inside_the_unit,
    camera.takes_pictures_that_are_labelled_at_encord,
    sandbox.credentials_instead_of_files,
    life.drains_on_stop,
    life.survives_kill_9,
    life.the_socket_keeps_the_port,
    watchdog.the_whole_process,
    install.an_upgrade_keeps_configuration_and_journal,
    install.removal_keeps_what_purge_removes,
]


def payload(arguments, work: Path) -> Path:
    """What the machine gets besides its disk: the two packages, the codec devices of `codecs`, and the program that holds threads."""
    folder = fresh(work / "payload")
    shutil.copy(arguments.deb, folder / "edgelabel.deb")
    shutil.copy(arguments.newer, folder / "edgelabel-newer.deb")
    for module in (arguments.made / "codecs").glob("*.ko"):
        shutil.copy(module, folder)
    subprocess.run(["cc", "-O1", "-Wall", "-static", "-o", folder / "hold_threads", HERE / "guest/hold_threads.c"], check=True)
    return folder


def attempt(case, box: Box):
    """Runs a case; returns what was wrong, or None."""
    name = case.__doc__.strip()
    begin = time.monotonic()
    print(f"  …   {name}", flush=True)
    try:
        case(box)
        wrong = None
    except (Broken, OSError, ValueError, KeyError, IndexError) as cause:
        wrong = f"{type(cause).__name__}: {cause}"
        print(f"FAILED {name}\n{wrong}\n", flush=True)
    return name, wrong, time.monotonic() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("made", "deb", "newer", "emulator", "promtool", "work"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=[], help="names of cases besides those that install and start")
    parser.add_argument("--short", action="store_true", help="the cases that every change must pass")
    arguments = parser.parse_args()
    chosen = SHORT if arguments.short else CASES
    cases = [case for place, case in enumerate(chosen) if not arguments.only or place < 4 or case.__name__ in arguments.only]

    work = fresh(arguments.work)
    outside = Outside(arguments.emulator, fresh(work / "outside"))
    machine = Machine(arguments.made, work / "machine", payload(arguments, work))
    begin = time.monotonic()
    results = []
    try:
        machine.boot()
        print(f"booted {arguments.made.name} ({accelerator()}) after {time.monotonic() - begin:.0f} s", flush=True)
        box = Box(machine, outside, arguments.promtool)
        for case in cases:
            if case is life.saves_a_label:
                box.connect()
            results.append(attempt(case, box))
        # The last word of the machine, and that of qemu: a machine that vanished midway passes nothing.
        word = machine.sh("echo the machine is well").text.strip()
        ended = machine.off()
        results.append(("the machine answers to the end and switches itself off", None if (word, ended) == ("the machine is well", 0) else f"{word!r}, {ended}", 0))
    except Broken as cause:
        print(f"the machine: {cause}", flush=True)
        results.append(("the machine", str(cause), 0))
    finally:
        machine.discard()
        outside.end()
    sys.exit(report(results, time.monotonic() - begin))


def report(results, seconds) -> int:
    print()
    for name, wrong, took in results:
        print(f"{'FAILED' if wrong else 'ok':<7}{took:6.1f} s  {name}")
    failed = sum(1 for _, wrong, _ in results if wrong)
    print(f"\nvm: {len(results) - failed} passed, {failed} failed in {seconds:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    main()
