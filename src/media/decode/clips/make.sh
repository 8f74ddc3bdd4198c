#!/bin/sh
# Makes the clips that decoders prove themselves on. Needs ffmpeg with libx264, libx265, libvpx and an AV1 encoder.
# 320x192 is above the smallest size of every hardware decoder; frame 3 is one that refers to others; the hue turns from
# frame to frame, so that a neighbour is not taken for it. The .rgb is what frame 3 looks like in 16x12 pixels.
set -eu
cd "$(dirname "$0")"
clip() {
    out=$1
    shift
    ffmpeg -v error -y -f lavfi -i testsrc2=size=320x192:rate=25,hue=H=n -frames:v 5 -pix_fmt yuv420p \
        -map_metadata -1 -fflags +bitexact -flags:v +bitexact "$@" "$out"
    ffmpeg -v error -y -i "$out" -vf "select=eq(n\,3),format=gbrp,scale=16:12:flags=area" -frames:v 1 -f rawvideo -pix_fmt rgb24 "${out%.*}.rgb"
}
clip h264.mp4 -c:v libx264 -crf 32 -bf 2 -x264-params keyint=5:scenecut=0
clip h265.mp4 -c:v libx265 -crf 34 -bf 2 -tag:v hvc1 -x265-params log-level=error:info=0:keyint=5
clip vp8.webm -c:v libvpx -b:v 200k -crf 40
clip vp9.webm -c:v libvpx-vp9 -b:v 0 -crf 45
clip av1.mp4 -c:v libaom-av1 -cpu-used 8 -crf 45
