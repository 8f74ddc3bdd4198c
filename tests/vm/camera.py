"""A camera of the kernel's own (vivid): seen, used, pulled out and put back; its pictures labelled at Encord."""

import json
import time

from box import UNIT, Box, require

PLUG = "modprobe vivid n_devs=1 node_types=0x1 && udevadm settle"
PICTURE = "/var/lib/edgelabel/camera.jpg"
DROPIN = "/etc/edgelabel/conf.d/60-camera.toml"
# The kernel's own codec devices, as a driver of one plane and one of several.
CODECS = "d=/lib/modules/$(uname -r)/codecs; mkdir -p $d && cp /run/payload/*.ko $d/ && depmod -a && modprobe vicodec multiplanar={several} && udevadm settle"


def unplug(box: Box, driver: str):
    """Pulls a device out. Who looks at it at this moment (the daemon does after a reload, and GStreamer) does not hold it for long."""
    box.wait(f"modprobe -r {driver} && udevadm settle", 120)


def take(user: str, device: str) -> str:
    return f"rm -f {PICTURE}; runuser -u {user} -- edgelabel capture {device} --output {PICTURE} --json"


def takes_a_picture_and_knows_its_camera_again(box: Box):
    """camera: listed, a picture taken; refused to strangers; unplugged it is missing, put back it works again"""
    box.sh(PLUG)
    node = box.sh("for n in /dev/video*; do udevadm info -q property $n | grep -q 'ID_V4L_CAPABILITIES=.*:capture:' && echo $n && break; done").text.strip()
    box.sh("usermod -aG video edgelabel")
    listed = box.sh("runuser -u edgelabel -- edgelabel capture").text
    require(node and node in listed and "vivid" in listed, f"{node!r} is not listed:\n{listed}")
    box.sh(take("edgelabel", node))
    box.sh(f"[ $(stat -c %s {PICTURE}) -gt 1000 ] && [ $(head -c 3 {PICTURE} | od -An -tx1 | tr -d ' ') = ffd8ff ]")
    # Not to whom the device does not belong.
    stranger = box.sh(f"runuser -u nobody -- edgelabel capture {node} --output /tmp/stranger.jpg --config /dev/null; test ! -e /tmp/stranger.jpg", check=False).text
    require("may not open" in stranger and "group video" in stranger, f"a stranger is told: {stranger}")
    unplug(box, "vivid")
    gone = box.sh(take("edgelabel", node), check=False)
    require(gone.status != 0 and "is not there" in gone.text, f"without its camera: {gone.status}, {gone.text}")
    box.sh(PLUG)
    box.sh(take("edgelabel", node))
    box.sh(f"test -s {PICTURE} && rm {PICTURE}")
    box.click_saved()


def press(box: Box) -> tuple[int, dict]:
    """Has the daemon take a picture, within its unit's walls."""
    text = box.sh("curl -sS -X POST --max-time 200 -w '\\n%{http_code}' http://127.0.0.1:9464/camera/yard/capture").text
    facts, status = text.rsplit("\n", 1)
    return int(status), json.loads(facts)


def labelled(box: Box):
    """A picture that was delivered, and carries its answer; prints what it took."""
    begin = time.monotonic()
    status, facts = press(box)
    told = f"{status} {facts}\n{box.journal(lines=15)}"
    require(status == 200 and (facts["state"], facts["label"]) == ("delivered", "saved"), told)
    require(box.outside.frames_answered(facts["data"]) == [0], told)
    answers = box.outside.tell(row=facts["data"])["row"]["classification_answers"].values()
    given = [one.get("answers") for answer in answers for one in answer["classifications"]]
    require(given and all(given), f"{given}")
    print(f"      {facts['width']}x{facts['height']}, {facts['bytes']} bytes: JPEG after {facts['milliseconds']} ms {facts['steps']}, labelled after {time.monotonic() - begin:.1f} s: {given}")


def cameras(box: Box) -> dict:
    return box.ready()["dependencies"].get("cameras", {})


def takes_pictures_that_are_labelled_at_encord(box: Box):
    """camera of the daemon: POST ends in a labelled item; pulled out it is degraded, put back it works; doctor lists the devices"""
    box.sh(f"{PLUG} && usermod -aG video edgelabel")
    found = json.loads(box.sh("runuser -u edgelabel -- edgelabel capture --json").text)
    device = next(camera["stable"][0] if camera["stable"] else camera["path"] for camera in found if camera["driver"] == "vivid")
    out = box.outside
    box.sh(
        f"cat >{DROPIN} <<'END'\n[[camera]]\nname = \"yard\"\ndevice = \"{device}\"\nfolder = \"{out.folder}\"\ndataset = \"{out.dataset}\"\n"
        f"agent = \"/\"\nproject = \"{out.project}\"\nEND\nsystemctl reload {UNIT}"
    )  # fmt: skip
    box.wait("curl -sS http://127.0.0.1:9464/ready | grep -q '\"cameras\":{\"status\":\"ok\"'", 60)
    labelled(box)

    unplug(box, "vivid")
    away = cameras(box)
    require(away.get("status") == "degraded" and away["since"] > 0 and "yard: camera" in away["reason"] and "is not there" in away["reason"], f"{away}")
    box.sh("curl -sSf -o /dev/null http://127.0.0.1:9464/ready")
    status, facts = press(box)
    require(status == 502 and "is not there" in facts["error"], f"{status} {facts}")
    print(f"      pulled out: {away['reason']}")

    box.sh(PLUG)
    require(cameras(box)["status"] == "ok", f"{cameras(box)}")
    labelled(box)
    metrics = box.metrics()
    for outcome, count in (("taken", 2), ("missing", 1)):
        require(f'edgelabel_camera_pictures_total{{camera="yard",outcome="{outcome}"}} {count}\n' in metrics, f"{outcome}:\n{metrics}")

    report = json.loads(box.sh("runuser -u edgelabel -- edgelabel doctor --offline --json 2>/dev/null", patience=400, check=False).text)
    table = [check for check in report["checks"] if check["name"].startswith(("V4L2", "camera "))]
    for check in table:
        print("      " + f"{check['status']:<8} {check['name']}: {check['detail']}".replace("\n", "\n               "))
    yard = [check for check in table if check["name"] == "camera yard"]
    require(len(yard) == 1 and yard[0]["status"] == "ok" and "last picture was taken at" in yard[0]["detail"], f"{table}")
    box.sh(f"rm {DROPIN}; systemctl reload {UNIT}")
    box.click_saved()


def devices(box: Box) -> dict[str, str]:
    """Doctor's table of V4L2 devices as the service's user sees them."""
    box.sh("usermod -aG video edgelabel")
    report = json.loads(box.sh("runuser -u edgelabel -- edgelabel doctor --offline --json 2>/dev/null", patience=400, check=False).text)
    table = {check["name"]: f"{check['status']}: {check['detail']} {check['remedy']}" for check in report["checks"] if check["name"].startswith("V4L2")}
    for name, told in table.items():
        print("      " + f"{name}: {told}".replace("\n", "\n               "))
    return table


def codec_devices_are_told_apart(box: Box):
    """codec devices (vicodec, and visl where the kernel has it): encoder, stateful and stateless decoders, formats, GStreamer's elements"""
    box.sh("test -e /run/payload/vicodec.ko")
    stateless = box.sh("test -e /run/payload/visl.ko", check=False).status == 0
    for several in (0, 1):
        box.sh(CODECS.format(several=several))
        if stateless:
            box.sh("modprobe visl && udevadm settle")
        told = " ".join(devices(box).values())
        for words in ("encoder: ", "decoder (stateful): ", "decoder (stateless): ", "takes FWHT", "gives FWHT", "takes SFWH", "controlled by /dev/media"):
            require(words in told, f"no {words!r} with several planes: {several}")
        require("v4l2fwhtdec" in told and "v4l2fwhtenc" in told, told)
        if stateless:
            require("(driver visl" in told and " S264 " in told and "v4l2slh264dec" in told, told)
            unplug(box, "visl")
        unplug(box, "vicodec")
