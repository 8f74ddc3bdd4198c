SUMMARY = "Entries of the boot loader of an edgelabel appliance"
DESCRIPTION = "What systemd-boot reads on machines that boot by EFI: an entry for the first of the two systems."
HOMEPAGE = "https://encord.com"
SECTION = "bootloaders"
LICENSE = "MIT"
# Two files of settings carry no licence of their own.
# nooelint: oelint.var.licenseremotefile
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302"

SRC_URI = "\
    file://loader.conf \
    file://root-a.conf \
"
S = "${UNPACKDIR}"

inherit deploy

do_configure[noexec] = "1"
do_compile[noexec] = "1"
do_install[noexec] = "1"

do_deploy() {
    install -d ${DEPLOYDIR}/edgelabel-boot
    install -m 0644 ${S}/loader.conf ${DEPLOYDIR}/edgelabel-boot/loader.conf
    install -m 0644 ${S}/root-a.conf ${DEPLOYDIR}/edgelabel-boot/root-a.conf
}
addtask deploy after do_install before do_build
do_deploy[doc] = "Puts the entries where the image takes its boot files from"
