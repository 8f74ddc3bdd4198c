SUMMARY = "Signed update of an edgelabel appliance"
DESCRIPTION = "The root file system of edgelabel-image as a RAUC bundle."
HOMEPAGE = "https://encord.com"
SECTION = "base"
LICENSE = "MIT"
# What is in it is the image's; the class takes it from where images are deployed.
SRC_URI = ""

inherit bundle

RAUC_BUNDLE_COMPATIBLE = "edgelabel"
RAUC_BUNDLE_FORMAT = "verity"
RAUC_BUNDLE_DESCRIPTION = "edgelabel appliance"
RAUC_BUNDLE_SLOTS = "rootfs"
RAUC_SLOT_rootfs = "edgelabel-image"
RAUC_SLOT_rootfs[fstype] = "squashfs-zst"
RAUC_SLOT_rootfs[adaptive] = "block-hash-index"

# Files of your own; none is in this repository.
RAUC_KEY_FILE = "${EDGELABEL_RAUC_KEY}"
RAUC_CERT_FILE = "${EDGELABEL_RAUC_CERT}"
