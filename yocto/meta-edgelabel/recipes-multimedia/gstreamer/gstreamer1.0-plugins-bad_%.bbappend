# OE-core leaves the decoders of this plugin set off: without them a stock image decodes no H.264.
PACKAGECONFIG:append = " va v4l2codecs openh264"
