SUMMARY = "Appliance that answers Encord's label editor"
DESCRIPTION = "Read-only root file system, state on a partition of its own, two system partitions for updates, edgelabel enabled; each device makes its identity at its first boot."
HOMEPAGE = "https://encord.com"
LICENSE = "MIT"

inherit core-image

# No debug-tweaks, no empty or default password, no SSH server: a device is provisioned by a FAT partition or a USB stick.
IMAGE_FEATURES = "read-only-rootfs"
IMAGE_LINGUAS = ""
IMAGE_INSTALL = " \
    packagegroup-core-boot \
    edgelabel \
    edgelabel-appliance \
    kernel-image \
    kernel-modules \
    ${EDGELABEL_IMAGE_EXTRA} \
"
# Drivers of a machine's video decoder, such as intel-media-driver (in meta-intel); firmware of its network card.
EDGELABEL_IMAGE_EXTRA ??= ""

# The state partition is all of /var; what OE-core would put there into memory stays out.
BAD_RECOMMENDATIONS += "volatile-binds"

# Where a machine boots by EFI: systemd-boot, with one entry for each of the two systems (appliance/boot-slot).
EDGELABEL_EFI_NAME ?= "x64"
EDGELABEL_EFI_NAME:aarch64 ?= "aa64"
WKS_FILE ?= "edgelabel.wks.in"
WKS_FILE_DEPENDS:append = " e2fsprogs-native dosfstools-native mtools-native squashfs-tools-native"
IMAGE_BOOT_FILES ?= "\
    systemd-boot${EDGELABEL_EFI_NAME}.efi;EFI/BOOT/boot${EDGELABEL_EFI_NAME}.efi \
    edgelabel-boot/loader.conf;loader/loader.conf \
    edgelabel-boot/root-a.conf;loader/entries/root-a.conf \
    ${KERNEL_IMAGETYPE};root-a/vmlinuz \
"
do_image_wic[depends] += "${@bb.utils.contains('MACHINE_FEATURES', 'efi', 'systemd-boot:do_deploy edgelabel-boot:do_deploy', '', d)}"
IMAGE_FSTYPES = "squashfs-zst wic.zst wic.bmap"

ROOTFS_POSTPROCESS_COMMAND += "edgelabel_own_nothing edgelabel_names"

# No secret is in an image, and nothing that two devices would share.
edgelabel_own_nothing() {
    rm -f ${IMAGE_ROOTFS}${sysconfdir}/ssh/ssh_host_*
    : >${IMAGE_ROOTFS}${sysconfdir}/machine-id
    : >${IMAGE_ROOTFS}${sysconfdir}/hostname
    for key in $(find ${IMAGE_ROOTFS}${sysconfdir} -name '*.key' -o -name '*_ed25519' -o -name '*_rsa'); do
        bbfatal "$key is a private key: an image must hold none"
    done
}

# The console shows what `console` writes; updates take the kernel by one name.
edgelabel_names() {
    ln -sfn ../run/issue ${IMAGE_ROOTFS}${sysconfdir}/issue
    ln -sfn ${KERNEL_IMAGETYPE} ${IMAGE_ROOTFS}/boot/vmlinuz
}
