# meta-rauc wants its configuration replaced: that is what this layer is for.
# nooelint: oelint.vars.noncoreoverride
FILESEXTRAPATHS:prepend := "${THISDIR}/files:"

# Whose bundles a device takes: a file of your own.
# nooelint: oelint.vars.noncoreoverride
RAUC_KEYRING_FILE = "${@os.path.basename(d.getVar('EDGELABEL_RAUC_KEYRING') or 'EDGELABEL_RAUC_KEYRING-is-not-set')}"
# nooelint: oelint.vars.noncoreoverride
RAUC_KEYRING_URI = "file://${EDGELABEL_RAUC_KEYRING}"

# nooelint: oelint.vars.noncoreoverride
do_install:append() {
    sed -i -e 's|@KEYRING@|${RAUC_KEYRING_FILE}|' ${D}${sysconfdir}/rauc/system.conf
}
