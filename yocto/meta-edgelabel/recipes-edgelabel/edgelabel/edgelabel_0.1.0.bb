SUMMARY = "On-prem webhook for Encord's label editor"
SUMMARY:${PN}-appliance = "Identity, provisioning, console and updates of an edgelabel appliance"
DESCRIPTION = "Fetches the one frame an annotator looks at, asks an OpenAI-compatible model, and saves the answer to the label row."
HOMEPAGE = "https://encord.com"
SECTION = "multimedia"
# Its own licence, and those of the crates that are linked into it: the list of deny.toml.
LICENSE = "(MIT | Apache-2.0) & MIT & Apache-2.0 & Apache-2.0-with-LLVM-exception & ISC & BSD-2-Clause & BSD-3-Clause & Zlib & 0BSD & Unicode-3.0 & Unlicense & IJG & CDLA-Permissive-2.0"
LIC_FILES_CHKSUM = "\
    file://LICENSE-MIT;md5=860511582b0d1e31598d7cb2dc4e6ff3 \
    file://LICENSE-APACHE;md5=22a53954e4e0ec258dfce4391e905dac \
"

DEPENDS = "gstreamer1.0 gstreamer1.0-plugins-base"

# The sources are this repository: set EDGELABEL_SRC_URI and SRCREV in the configuration of the build, or use externalsrc.
EDGELABEL_SRC_URI ??= "git:///srv/git/edgelabel;protocol=file;branch=main"
SRC_URI = "${EDGELABEL_SRC_URI}"
require edgelabel-crates.inc

inherit cargo pkgconfig systemd useradd

# The camera and codec devices need libclang when the crate is built.
PACKAGECONFIG ??= "v4l"
PACKAGECONFIG[v4l] = ",,clang-native"
# Decoders. Each needs its counterpart in EDGELABEL_GST_DECODERS, and hardware that has it.
PACKAGECONFIG[vaapi] = ",,,gstreamer1.0-plugins-bad-va"
PACKAGECONFIG[v4l2codecs] = ",,,gstreamer1.0-plugins-bad-v4l2codecs"
PACKAGECONFIG[nvdec] = ",,,gstreamer1.0-plugins-bad-nvcodec"
PACKAGECONFIG[openh264] = ",,,gstreamer1.0-plugins-bad-openh264"
# FFmpeg's decoders may need patent licences: LICENSE_FLAGS_ACCEPTED += "commercial_gstreamer1.0-libav commercial_ffmpeg".
PACKAGECONFIG[libav] = ",,,gstreamer1.0-libav"

CARGO_BUILD_FLAGS:append = " ${@bb.utils.contains('PACKAGECONFIG', 'v4l', '', '--no-default-features', d)}"

do_install:append() {
    install -d ${D}${sysconfdir}/edgelabel/conf.d ${D}${sysconfdir}/edgelabel/certs
    install -m 0640 ${S}/config.toml ${D}${sysconfdir}/edgelabel/config.toml
    install -d ${D}${systemd_system_unitdir}
    install -m 0644 ${S}/systemd/edgelabel.service ${D}${systemd_system_unitdir}/edgelabel.service
    install -m 0644 ${S}/systemd/edgelabel.socket ${D}${systemd_system_unitdir}/edgelabel.socket
    install -d ${D}${nonarch_libdir}/tmpfiles.d
    install -m 0644 ${S}/systemd/edgelabel.tmpfiles ${D}${nonarch_libdir}/tmpfiles.d/edgelabel.conf
    chown -R root:edgelabel ${D}${sysconfdir}/edgelabel
    chown edgelabel:edgelabel ${D}${sysconfdir}/edgelabel/certs

    # What makes a system an appliance; the scripts stand where the units look for them.
    install -d ${D}${nonarch_libdir}/edgelabel
    install -m 0755 ${S}/appliance/preinit ${D}${nonarch_libdir}/edgelabel/preinit
    install -m 0755 ${S}/appliance/first-boot ${D}${nonarch_libdir}/edgelabel/first-boot
    install -m 0755 ${S}/appliance/console ${D}${nonarch_libdir}/edgelabel/console
    install -m 0755 ${S}/appliance/boot-slot ${D}${nonarch_libdir}/edgelabel/boot-slot
    install -m 0755 ${S}/appliance/update ${D}${nonarch_libdir}/edgelabel/update
    install -m 0644 ${S}/appliance/edgelabel-first-boot.service ${D}${systemd_system_unitdir}/edgelabel-first-boot.service
    install -m 0644 ${S}/appliance/edgelabel-ready.service ${D}${systemd_system_unitdir}/edgelabel-ready.service
    install -m 0644 ${S}/appliance/edgelabel-good.service ${D}${systemd_system_unitdir}/edgelabel-good.service
    install -d ${D}${systemd_system_unitdir}/edgelabel.service.d ${D}${systemd_system_unitdir}/sshd.socket.d
    install -m 0644 ${S}/appliance/edgelabel.service.d/appliance.conf ${D}${systemd_system_unitdir}/edgelabel.service.d/appliance.conf
    install -m 0644 ${S}/appliance/ssh.service.d/appliance.conf ${D}${systemd_system_unitdir}/sshd.socket.d/appliance.conf
    install -d ${D}${sysconfdir}/ssh/sshd_config.d
    install -m 0644 ${S}/appliance/sshd_config ${D}${sysconfdir}/ssh/sshd_config.d/edgelabel.conf
    install -d ${D}${nonarch_libdir}/udev/rules.d ${D}${systemd_unitdir}/network
    install -m 0644 ${S}/appliance/70-edgelabel-stick.rules ${D}${nonarch_libdir}/udev/rules.d/70-edgelabel-stick.rules
    install -m 0644 ${S}/appliance/80-edgelabel.network ${D}${systemd_unitdir}/network/80-edgelabel.network
    install -d ${D}${systemd_unitdir}/journald.conf.d ${D}${systemd_unitdir}/resolved.conf.d
    install -m 0644 ${S}/appliance/journal.conf ${D}${systemd_unitdir}/journald.conf.d/edgelabel.conf
    install -m 0644 ${S}/appliance/multicast-dns.conf ${D}${systemd_unitdir}/resolved.conf.d/edgelabel.conf
}

SYSTEMD_PACKAGES = "${PN} ${PN}-appliance"
SYSTEMD_SERVICE:${PN} = "edgelabel.service"
SYSTEMD_SERVICE:${PN}-appliance = "edgelabel-first-boot.service edgelabel-ready.service edgelabel-good.service"

# Fixed numbers: what lies on the state partition is the service's also after an update.
USERADD_PACKAGES = "${PN}"
GROUPADD_PARAM:${PN} = "--system render; --system --gid 860 edgelabel"
USERADD_PARAM:${PN} = "--system --uid 860 --home-dir ${localstatedir}/lib/edgelabel --shell /sbin/nologin --gid edgelabel --groups video,render edgelabel"

PACKAGES =+ "${PN}-appliance"
FILES:${PN}-appliance += "\
    ${nonarch_libdir}/edgelabel \
    ${nonarch_libdir}/udev/rules.d \
    ${sysconfdir}/ssh \
    ${systemd_system_unitdir}/*/appliance.conf \
    ${systemd_system_unitdir}/edgelabel-first-boot.service \
    ${systemd_system_unitdir}/edgelabel-good.service \
    ${systemd_system_unitdir}/edgelabel-ready.service \
    ${systemd_unitdir}/journald.conf.d \
    ${systemd_unitdir}/network \
    ${systemd_unitdir}/resolved.conf.d \
"
FILES:${PN} += "${nonarch_libdir}/tmpfiles.d"
CONFFILES:${PN} = "${sysconfdir}/edgelabel/config.toml"

RDEPENDS:${PN} += "ca-certificates gstreamer1.0-plugins-base gstreamer1.0-plugins-good"
RDEPENDS:${PN}-appliance = "\
    ${PN} \
    curl \
    e2fsprogs-e2fsck \
    e2fsprogs-resize2fs \
    util-linux-agetty \
    util-linux-blkid \
    util-linux-mount \
    util-linux-mountpoint \
    util-linux-partx \
    util-linux-runuser \
    util-linux-sfdisk \
"
# Without OpenSSH there is no maintenance by network; with it, only for keys that came with the provisioning folder.
RSUGGESTS:${PN}-appliance = "openssh-sshd openssh-keygen"
