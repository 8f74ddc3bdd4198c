SUMMARY = "On-prem webhook for Encord's label editor"
DESCRIPTION = "Fetches the one frame an annotator looks at, asks an OpenAI-compatible model, and saves the answer to the label row."
HOMEPAGE = "https://encord.com"
SECTION = "multimedia"
LICENSE = "MIT | Apache-2.0"
LIC_FILES_CHKSUM = " \
    file://LICENSE-MIT;md5=860511582b0d1e31598d7cb2dc4e6ff3 \
    file://LICENSE-APACHE;md5=22a53954e4e0ec258dfce4391e905dac \
"

DEPENDS = "gstreamer1.0 gstreamer1.0-plugins-base"

# The sources are this repository: set EDGELABEL_SRC_URI in the configuration of the build, or use externalsrc.
EDGELABEL_SRC_URI ??= "git:///srv/git/edgelabel;protocol=file;branch=main"
SRCREV ??= "${AUTOREV}"
SRC_URI = "${EDGELABEL_SRC_URI}"
require edgelabel-crates.inc

inherit cargo pkgconfig systemd useradd

# The camera and codec devices need libclang when the crate is built.
PACKAGECONFIG ??= "v4l"
PACKAGECONFIG[v4l] = ",,clang-native"
PACKAGECONFIG[vaapi] = ",,,,gstreamer1.0-plugins-bad-va"
PACKAGECONFIG[v4l2codecs] = ",,,,gstreamer1.0-plugins-bad-v4l2codecs"
PACKAGECONFIG[openh264] = ",,,,gstreamer1.0-plugins-bad-openh264"
# libav is licensed commercially restricted: LICENSE_FLAGS_ACCEPTED += "commercial_gstreamer1.0-libav commercial_ffmpeg".
PACKAGECONFIG[libav] = ",,,,gstreamer1.0-libav"

CARGO_BUILD_FLAGS:append = "${@bb.utils.contains('PACKAGECONFIG', 'v4l', '', ' --no-default-features', d)}"

do_install:append() {
    install -d ${D}${sysconfdir}/edgelabel/conf.d ${D}${sysconfdir}/edgelabel/certs
    install -m 0640 ${S}/config.toml ${D}${sysconfdir}/edgelabel/config.toml
    install -d ${D}${systemd_system_unitdir}
    install -m 0644 ${S}/systemd/edgelabel.service ${D}${systemd_system_unitdir}/edgelabel.service
    install -m 0644 ${S}/systemd/edgelabel.socket ${D}${systemd_system_unitdir}/edgelabel.socket
    install -d ${D}${nonarch_libdir}/tmpfiles.d
    install -m 0644 ${S}/systemd/edgelabel.tmpfiles ${D}${nonarch_libdir}/tmpfiles.d/edgelabel.conf
    chown -R root:edgelabel ${D}${sysconfdir}/edgelabel
}

SYSTEMD_SERVICE:${PN} = "edgelabel.service"

USERADD_PACKAGES = "${PN}"
GROUPADD_PARAM:${PN} = "--system render; --system edgelabel"
USERADD_PARAM:${PN} = "--system --home-dir /var/lib/edgelabel --shell /sbin/nologin --gid edgelabel --groups video,render edgelabel"

FILES:${PN} += "${systemd_system_unitdir} ${nonarch_libdir}/tmpfiles.d"
CONFFILES:${PN} = "${sysconfdir}/edgelabel/config.toml"

RDEPENDS:${PN} += "ca-certificates gstreamer1.0-plugins-base gstreamer1.0-plugins-good"
