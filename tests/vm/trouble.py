"""What befalls a box: no network, a full disk, a root that cannot be written, a power cut."""

from box import UNIT, Box, require


def starts_without_network(box: Box):
    """no network at boot: active and ready; what it cannot reach is degraded, not failed"""
    box.wait(f"systemctl is-active {UNIT}", 650)
    require(box.sh("ip -4 route").text.strip() == "", "the machine has a route, so this shows nothing")
    require(box.ready()["status"] in ("ready", "degraded"), f"{box.ready()}")
    status = box.click()
    require(status == 502, f"status {status} instead of 502 for a box without network")
    ready = box.ready()
    require(ready["status"] == "degraded" and ready["dependencies"]["encord"]["status"] == "degraded", f"{ready}")
    require(ready["dependencies"]["encord"]["reason"] and ready["dependencies"]["encord"]["since"] > 0, f"{ready}")
    box.wait(f"systemctl show {UNIT} -p StatusText --value | grep 'degraded: encord'", 60)


def full_disk(box: Box):
    """full disk: the label is saved all the same, the journal is degraded, and well again when there is room"""
    box.sh(f"systemctl stop {UNIT}; mount -t tmpfs -o size=512k,mode=700 tmpfs /var/lib/edgelabel")
    box.start()
    box.sh("dd if=/dev/zero of=/var/lib/edgelabel/filler bs=4k 2>/dev/null || true")
    box.click_saved()
    require(box.ready()["dependencies"]["journal"]["status"] == "degraded", f"{box.ready()}")
    box.sh("rm /var/lib/edgelabel/filler")
    box.click_saved()
    require(box.ready()["dependencies"]["journal"]["status"] == "ok", f"{box.ready()}")


def read_only_root(box: Box):
    """read-only root: state and cache on file systems of their own are all it writes to"""
    box.sh(f"systemctl stop {UNIT}; mountpoint -q /var/lib/edgelabel || mount -t tmpfs -o mode=700 tmpfs /var/lib/edgelabel; mount -t tmpfs -o mode=700 tmpfs /var/cache/edgelabel")
    # The journal's own file is open on the root file system.
    box.sh("journalctl --relinquish-var; sync; mount -o remount,ro / && ! touch /etc/edgelabel/written 2>/dev/null")
    box.start()
    box.click_saved()
    box.sh(f"mount -o remount,rw /; journalctl --flush; systemctl stop {UNIT}; umount /var/lib/edgelabel /var/cache/edgelabel")
    box.start()


def power_cut(box: Box):
    """power cut with an answer that waits: after the boot it is saved without anybody asking"""
    box.outside.tell(refuse_saves=100000)
    frame = box.frame()
    require(box.click(frame) == 202, "the answer should wait in the journal")
    box.machine.cut()
    box.machine.boot()
    box.wait(f"systemctl is-active {UNIT}")
    box.outside.tell(refuse_saves=0)
    box.connect()
    box.saved_late(frame)
    box.click_saved()
