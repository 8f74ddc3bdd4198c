# OE-core leaves the decoders of this plugin set off: without them a stock image decodes no H.264. Nothing changes until
# EDGELABEL_GST_DECODERS names some.
# nooelint: oelint.vars.noncoreoverride
PACKAGECONFIG:append = " ${EDGELABEL_GST_DECODERS}"

# nvcodec is switched off by hand in the recipe. It needs no CUDA to be built: it loads NVIDIA's libraries when it runs.
PACKAGECONFIG[nvcodec] = "-Dnvcodec=enabled,-Dnvcodec=disabled"
# nooelint: oelint.vars.noncoreoverride
EXTRA_OEMESON:remove = "${@bb.utils.contains('PACKAGECONFIG', 'nvcodec', '-Dnvcodec=disabled', '', d)}"
