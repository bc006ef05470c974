#!/usr/bin/env bash
# Makes the clips of SPEED.md, "Clips", with the ffmpeg command: a picture panned over, in 1080p H.264 at 25 frames a
# second: minute.mp4, 2min.mp4, 3min.mp4 and 2h.mp4 (the minute repeated, which costs no encoding).
# usage: bench/make_clips.sh PICTURE OUT_DIR     PICTURE: at least 1920x1380, a scanned page for instance
set -euo pipefail
picture=$1 out=$2
mkdir -p "$out"
ff() { ffmpeg -nostdin -hide_banner -loglevel error -y "$@"; }
# Up and down over 30 seconds, so that the end of a minute fits its beginning.
pan="scale=1920:-2,crop=1920:1080:0:'(ih-1080)*(1-cos(2*PI*t/30))/2',format=yuv420p"
ff -loop 1 -framerate 25 -i "$picture" -vf "$pan" -t 60 -c:v libx264 -preset veryfast -crf 30 -g 250 "$out/minute.mp4"
for length in 2min:2 3min:3 2h:120; do
    ff -stream_loop $((${length#*:} - 1)) -i "$out/minute.mp4" -c copy "$out/${length%:*}.mp4"
done
ls -l "$out"
