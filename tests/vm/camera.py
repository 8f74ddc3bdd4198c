"""A camera of the kernel's own (vivid): seen, used, pulled out and put back."""

from box import Box, require

PLUG = "modprobe vivid n_devs=1 node_types=0x1 && udevadm settle"
UNPLUG = "modprobe -r vivid && udevadm settle"
PICTURE = "/var/lib/edgelabel/camera.jpg"


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
    box.sh(UNPLUG)
    gone = box.sh(take("edgelabel", node), check=False)
    require(gone.status != 0 and "is not there" in gone.text, f"without its camera: {gone.status}, {gone.text}")
    box.sh(PLUG)
    box.sh(take("edgelabel", node))
    box.sh(f"test -s {PICTURE} && rm {PICTURE}")
    box.click_saved()
