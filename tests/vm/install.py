"""The package, from `apt install` to `apt purge`, as an administrator meets it."""

import json

from box import Box, require

# Everything outside the folders of dpkg, apt and the running system that a package may touch.
FILES = "find /etc /usr /opt /srv /var -xdev -not -path '/var/lib/dpkg/*' -not -path '/var/lib/apt/*' -not -path '/var/cache/apt/*' -not -path '/var/log/*' -not -path '/var/cache/ldconfig/*' -not -path '/var/tmp/*' -not -path '/var/cache/debconf/*' -not -path '/var/lib/systemd/*' | sort"
INSTALL = "DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends -o Dpkg::Use-Pty=0"


def apt_installs_and_starts_nothing(box: Box):
    """apt installs the package; nothing runs before it is configured"""
    box.sh(f"{FILES} >/root/files-before")
    box.sh(f"{INSTALL} /run/payload/edgelabel.deb", patience=600)
    box.sh("edgelabel --version; id edgelabel; ! systemctl is-active edgelabel; ! systemctl is-enabled edgelabel")
    modes = box.sh("stat -c '%a %U:%G' /etc/edgelabel /etc/edgelabel/config.toml /etc/edgelabel/certs").text.split("\n")[:3]
    require(modes == ["750 root:edgelabel", "640 root:edgelabel", "750 edgelabel:edgelabel"], f"modes {modes}")


def a_new_user_follows_the_readme(box: Box):
    """three values, a certificate, doctor, enable --now: as the README says"""
    key = box.outside.key.read_text()
    box.sh(f"cat >/root/encord_ed25519 <<'END'\n{key.strip()}\nEND\necho sk-very-secret-model-key >/root/openai.key")
    for name in ("encord_ed25519", "openai.key"):
        box.sh(f"install -m 640 -g edgelabel /root/{name} /etc/edgelabel/")
    box.sh(r"""sed -i 's|^api_key_file = ""|api_key_file = "/etc/edgelabel/openai.key"|' /etc/edgelabel/config.toml""")
    box.sh("runuser -u edgelabel -- edgelabel cert init --name box.local --ip 10.0.2.15")
    box.sh("edgelabel check --quiet")
    report = json.loads(box.sh("runuser -u edgelabel -- edgelabel doctor --offline --json 2>/dev/null", patience=400, check=False).text)
    wrong = [check for check in report["checks"] if check["status"] == "failed"]
    require(report["checks"] and not wrong, f"doctor: {wrong}")
    box.be_patient()
    box.sh("systemctl enable --now edgelabel", patience=650)


def an_upgrade_keeps_configuration_and_journal(box: Box):
    """upgrade: configuration and waiting answers stay, the service is restarted"""
    box.sh("echo '# mine' >>/etc/edgelabel/config.toml")
    box.outside.tell(refuse_saves=100000)
    frame = box.frame()
    require(box.click(frame) == 202, "the answer should wait in the journal")
    before = box.pid()
    box.sh(f"{INSTALL} /run/payload/edgelabel-newer.deb", patience=500)
    require(box.sh("dpkg-query -W -f '${Version}' edgelabel").text.endswith("+newer"), "the newer version is not installed")
    box.restarted_since(before)
    box.sh("grep -qx '# mine' /etc/edgelabel/config.toml; systemctl is-enabled edgelabel; test ! -e /etc/edgelabel/config.toml.dpkg-new")
    box.outside.tell(refuse_saves=0)
    box.saved_late(frame)


def removal_keeps_what_purge_removes(box: Box):
    """remove stops the service and keeps its data; purge leaves nothing of ours"""
    remove = "DEBIAN_FRONTEND=noninteractive apt-get -y -o Dpkg::Use-Pty=0"
    box.sh(f"{remove} remove edgelabel", patience=500)
    box.sh("! systemctl is-active edgelabel; test -e /etc/edgelabel/config.toml; test -e /var/lib/edgelabel/journal.db")
    box.sh("rm -rf /etc/edgelabel/encord_ed25519 /etc/edgelabel/openai.key /etc/edgelabel/secrets /etc/edgelabel/conf.d/50-test.toml /etc/systemd/system/edgelabel.service.d")
    # Of the programs that remove users and groups, a minimal Debian has none: purge tells so and does not break dpkg.
    bare = "mkdir /run/bare && ln -s $(command -v rm rmdir getent) /run/bare/"
    told = box.sh(f"{bare} && env PATH=/run/bare /bin/sh /var/lib/dpkg/info/edgelabel.postrm purge").text
    require("no userdel" in told, f"without userdel, purge says {told!r}")
    box.sh("rm -r /run/bare; getent passwd edgelabel && test ! -e /var/lib/edgelabel")
    box.sh(f"{remove} purge edgelabel", patience=500)
    left = box.sh(f"{FILES} | comm -13 /root/files-before -").text.strip()
    ours = [line for line in left.splitlines() if "edgelabel" in line]
    require(not ours, f"purge left {ours}")
    box.sh("! getent passwd edgelabel; ! getent group edgelabel")
