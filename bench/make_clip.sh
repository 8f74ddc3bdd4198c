#!/bin/sh
# make_clip.sh OUT.mp4 [SECONDS]   The clip that bench/frames.py asks for frames of: 1080p at 30 pictures a second, ten minutes
# (about 170 MB), H.264 with B pictures and a key frame every 250 pictures, AAC, index at the front.
# Every picture shows its number as sixteen black or white squares, so that a wrong one is seen as such.
set -eu
out=${1:?usage: make_clip.sh OUT.mp4 [SECONDS]}
seconds=${2:-600}
squares=""
for bit in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
    squares="$squares,drawbox=x=$((64 + bit * 112)):y=940:w=96:h=96:color=white:t=fill:enable='mod(floor(n/$((1 << bit))),2)'"
done
ffmpeg -hide_banner -loglevel error -nostdin -y \
    -f lavfi -i "testsrc2=size=1920x1080:rate=30:duration=$seconds" \
    -f lavfi -i "sine=frequency=440:beep_factor=4:duration=$seconds:sample_rate=48000" \
    -filter_complex "[0:v]noise=c0s=7:c0f=t:all_seed=7,drawbox=x=48:y=924:w=1824:h=128:color=black:t=fill$squares,format=yuv420p[v]" \
    -map '[v]' -map 1:a -c:v libx264 -preset superfast -b:v 2200k -maxrate 4000k -bufsize 8000k -g 250 -bf 3 \
    -x264-params b-pyramid=normal -c:a aac -b:a 96k -fflags +bitexact -flags:v +bitexact -flags:a +bitexact \
    -movflags +faststart "$out.part.mp4"
mv "$out.part.mp4" "$out"
