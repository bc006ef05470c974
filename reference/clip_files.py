"""Makes the clips in tests/data/clips with the `ffmpeg` command (5.1, with libx264, x265, vpx, aom and SVT-AV1).

    python3 reference/clip_files.py [--check]

Each is a moving test pattern, a few KB, with one property that a reader can get wrong; tests/data/clips/bad holds what
must be refused, or read as far as it goes. Encoders of another version make other bytes: the committed files count, and
--check compares only where ffmpeg calls itself the version that made them. Frames, rates and pixels of the result stand
in vectors.jsonl (clip_file_vectors.py).
"""
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests/data/clips"
MADE_WITH = "ffmpeg version 5.1."
EXACT = ["-threads", "1", "-map_metadata", "-1", "-fflags", "+bitexact", "-flags", "+bitexact",
         "-flags:a", "+bitexact"]
VFR = "settb=1/1000,setpts='floor(N/3)*633+if(eq(mod(N,3),1),100,if(eq(mod(N,3),2),600,0))'"


def h264(bf=2, gop=12, extra="", crf=34):
    return ["-c:v", "libx264", "-crf", str(crf), "-bf", str(bf), "-g", str(gop), "-x264-params",
            "threads=1:lookahead-threads=1:scenecut=0" + extra]


def hevc(gop=12, extra=""):
    return ["-c:v", "libx265", "-crf", "36", "-x265-params",
            f"pools=none:frame-threads=1:log-level=error:info=0:keyint={gop}:min-keyint={gop}:scenecut=0{extra}"]


def vpx(codec, *more):
    return ["-c:v", f"libvpx{codec}", "-b:v", "30k", "-g", "15", "-deadline", "realtime", "-cpu-used", "5", *more]


AOM = ["-c:v", "libaom-av1", "-b:v", "50k", "-cpu-used", "8", "-g", "12", "-row-mt", "0"]
SVT = ["-c:v", "libsvtav1", "-preset", "12", "-qp", "55", "-g", "12", "-svtav1-params", "lp=1"]
MPEG4 = ["-c:v", "mpeg4", "-q:v", "24", "-g", "15"]
MJPEG = ["-c:v", "mjpeg", "-q:v", "31", "-huffman", "default"]
YUV = ["-pix_fmt", "yuv420p"]
AUDIO = ["-c:a", "aac", "-b:a", "16k"]

# name: (size, frames a second, frames, filter, options of the output)
CLIPS = {
    "h264-moov-end.mp4": ("128x96", "25", 30, "", h264(3) + YUV),
    "h264-moov-start.mp4": ("128x96", "30000/1001", 45, "", h264() + YUV + ["-movflags", "+faststart"]),
    "h264-fragments.mp4": ("96x64", "25", 31, "", h264() + YUV + ["-movflags", "+frag_keyframe+empty_moov"]),
    "h264-23976.mov": ("130x98", "24000/1001", 37, "", h264() + YUV),
    "h264-vfr.mp4": ("96x64", "30", 30, VFR, h264(0) + YUV + ["-vsync", "passthrough", "-video_track_timescale",
                                                            "1000", "-enc_time_base", "1/1000"]),
    "h264-vfr.mkv": ("96x64", "30", 30, VFR, h264() + YUV + ["-vsync", "passthrough", "-enc_time_base", "1/1000"]),
    "h264-open-gop.mkv": ("128x96", "25", 50, "", h264(3, 10, ":open-gop=1:b-pyramid=normal") + YUV),
    "h264-open-gop.mp4": ("128x96", "25", 50, "", h264(3, 10, ":open-gop=1") + YUV),
    "h264-10bit.mp4": ("130x98", "25", 13, "", h264() + ["-pix_fmt", "yuv420p10le"]),
    "h264-444.mp4": ("132x98", "25", 13, "scale=131:97", h264() + ["-pix_fmt", "yuv444p"]),
    "h264-422.mkv": ("130x98", "25", 9, "", h264() + ["-pix_fmt", "yuv422p"]),
    "h264-full-range.mp4": ("128x96", "25", 13, "scale=out_range=full", h264() + YUV + ["-color_range", "pc"]),
    "h264-bt709.mp4": ("128x96", "25", 13, "scale=out_color_matrix=bt709", h264() + YUV + [
        "-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"]),
    "h264-interlaced.mkv": ("128x96", "25", 10, "", h264(0, 12, ":interlaced=1") + YUV + ["-flags", "+ildct+ilme"]),
    "h264-wide-pixels.mp4": ("96x96", "25", 8, "setsar=2", h264() + YUV),
    "h264.avi": ("128x96", "25", 21, "", h264(0) + YUV),
    "h264-late-start.mkv": ("96x64", "25", 20, "", h264() + YUV + ["-output_ts_offset", "5"]),
    "h264-long-gop.mp4": ("64x48", "25", 200, "", h264(2, 60, crf=40) + YUV),
    "h264-one-frame.mp4": ("64x48", "25", 1, "", h264() + YUV),
    "h264-three-frames.mkv": ("64x48", "25", 3, "", h264() + YUV),
    "hevc.mp4": ("128x96", "50", 33, "", hevc() + YUV + ["-tag:v", "hvc1"]),
    "hevc-open-gop.mkv": ("130x98", "25", 30, "", hevc(10, ":open-gop=1:bframes=4") + YUV),
    "hevc-10bit.mov": ("130x98", "25", 9, "", hevc() + ["-pix_fmt", "yuv420p10le", "-tag:v", "hvc1"]),
    "vp8.webm": ("128x96", "15", 31, "", vpx("") + YUV),
    "vp9-odd-size.webm": ("132x98", "30", 31, "scale=131:97", vpx("-vp9") + YUV),
    "vp9-two-frames.webm": ("64x48", "10", 2, "", vpx("-vp9") + YUV),
    "vp9.mp4": ("96x64", "30", 17, "", vpx("-vp9") + YUV),
    "vp9-444.webm": ("98x66", "30", 7, "scale=97:65", vpx("-vp9") + ["-pix_fmt", "yuv444p"]),
    "av1.mp4": ("128x96", "24", 25, "", SVT + YUV),
    "av1.webm": ("96x64", "30000/1001", 20, "", AOM + YUV),
    "av1-10bit.mkv": ("130x98", "25", 9, "", AOM + ["-pix_fmt", "yuv420p10le"]),
    "mpeg4.avi": ("96x64", "25", 40, "", MPEG4 + YUV),
    "mpeg4-b-frames.avi": ("98x66", "25", 29, "", MPEG4 + ["-bf", "2"] + YUV),
    "mpeg4.mp4": ("130x98", "30000/1001", 29, "", MPEG4 + ["-bf", "2"] + YUV),
    "mjpeg.avi": ("64x48", "12", 15, "", MJPEG + ["-pix_fmt", "yuvj420p"]),
    "mjpeg.mov": ("98x66", "10", 9, "", MJPEG + ["-pix_fmt", "yuvj422p"]),
    "mjpeg.mkv": ("64x48", "5", 4, "", MJPEG + ["-pix_fmt", "yuvj444p"]),
}


def ffmpeg(*args):
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-nostdin", *map(str, args)], check=True, timeout=60)


def pattern(size, rate, n, audio_s=0, more=""):
    out = ["-f", "lavfi", "-i", f"testsrc2=size={size}:rate={rate}"]
    if audio_s:
        out += ["-f", "lavfi", "-i", f"sine=frequency=440:sample_rate=16000:duration={audio_s}"]
    return out + (["-vf", more] if more else []) + ["-frames:v", n]


def make_patterns(to):
    for name, (size, rate, n, more, options) in CLIPS.items():
        ffmpeg(*pattern(size, rate, n, 0, more), *options, *EXACT, to / name)


def make_hidden(to):
    """Frames that are decoded and never shown; the encoders make them in the second of two passes only."""
    for name, codec in (("vp8-hidden-frames.webm", "libvpx"), ("vp9-hidden-frames.webm", "libvpx-vp9")):
        for i_pass in (1, 2):
            ffmpeg(*pattern("128x96", "25", 40), "-c:v", codec, "-b:v", "40k", "-g", "40", "-cpu-used", "1",
                   "-auto-alt-ref", "1", "-lag-in-frames", "16", *YUV, "-pass", i_pass, "-passlogfile", to / "log",
                   *EXACT, to / name)
        for log in to.glob("log*"):
            log.unlink()


def make_rotated(to):
    """The display matrix of phones; the pictures themselves are not turned."""
    ffmpeg(*pattern("128x96", "25", 14), *h264(), *YUV, *EXACT, to / "straight.mp4")
    for degrees, end in ((90, "mp4"), (180, "mov"), (270, "mp4")):
        ffmpeg("-i", to / "straight.mp4", "-c", "copy", *EXACT, "-metadata:s:v", f"rotate={degrees}",
               to / f"h264-rotated-{degrees}.{end}")
    (to / "straight.mp4").unlink()


def make_with_audio(to):
    for name in ("h264-audio-at-end.mp4", "h264-audio-at-end.mkv"):
        ffmpeg(*pattern("96x64", "25", 24, 3), *h264(), *YUV, *AUDIO, *EXACT, to / name)
    ffmpeg("-f", "lavfi", "-i", "sine=frequency=440:sample_rate=16000:duration=2", "-itsoffset", "1", "-f", "lavfi",
           "-i", "testsrc2=size=96x64:rate=25:duration=1", "-map", "0:a", "-map", "1:v", *h264(), *YUV, *AUDIO,
           *EXACT, to / "h264-audio-first.mp4")


def make_with_cover(to):
    ffmpeg(*pattern("40x30", "25", 1), "-c:v", "mjpeg", *EXACT, to / "cover.jpg")
    ffmpeg(*pattern("96x64", "25", 19), *h264(), *YUV, *EXACT, to / "plain.mkv")
    ffmpeg("-i", to / "plain.mkv", "-attach", to / "cover.jpg", "-metadata:s:t", "mimetype=image/jpeg",
           "-metadata:s:t", "filename=cover.jpg", "-c", "copy", *EXACT, to / "h264-cover.mkv")
    ffmpeg("-i", to / "cover.jpg", "-i", to / "plain.mkv", "-map", "0", "-map", "1", "-c", "copy", *EXACT,
           "-disposition:v:0", "attached_pic", to / "h264-cover-first.mp4")
    (to / "cover.jpg").unlink()
    (to / "plain.mkv").unlink()


def make_edited(to):
    """An edit list whose clip begins between two key frames: packets before it are decoded and not shown."""
    ffmpeg(*pattern("96x64", "25", 40), *h264(2, 20), *YUV, *EXACT, to / "whole.mp4")
    ffmpeg("-ss", "0.5", "-i", to / "whole.mp4", "-c", "copy", *EXACT, to / "h264-edit-list.mp4")
    (to / "whole.mp4").unlink()


def put(data, at, form, value):
    return data[:at] + struct.pack(form, value) + data[at + struct.calcsize(form):]


def after(data, tag, nth=0):
    at = -1
    for _ in range(nth + 1):
        at = data.index(tag, at + 1)
    return at + len(tag)


def make_patched(to):
    """Headers that say other than what follows."""
    avi = (to / "mpeg4.avi").read_bytes()
    count = put(put(avi, after(avi, b"avih") + 4 + 16, "<I", 7), after(avi, b"strh") + 4 + 32, "<I", 7)
    (to / "mpeg4-wrong-count.avi").write_bytes(count)

    bad = to / "bad"
    avi = (to / "mjpeg.avi").read_bytes()
    start_of_frame = bytes.fromhex("ffc0001108")
    size = avi
    for i in range(avi.count(start_of_frame)):
        size = put(size, after(avi, start_of_frame, i), ">I", 0xffdcffdc)  # 65500 x 65500
    for at in (after(avi, b"avih") + 4 + 32, after(avi, b"strf") + 4 + 4):
        size = put(put(size, at, "<I", 65500), at + 4, "<I", 65500)
    (bad / "huge-size.avi").write_bytes(size)
    (bad / "huge-rate.avi").write_bytes(put(put(avi, after(avi, b"strh") + 4 + 20, "<I", 1),
                                            after(avi, b"strh") + 4 + 24, "<I", 2_000_000_000))
    mp4 = (to / "h264-moov-end.mp4").read_bytes()
    (bad / "huge-rate.mp4").write_bytes(put(mp4, after(mp4, b"mdhd") + 12, ">I", 2_000_000_000))


def cut(to, name, part):
    data = (to / name).read_bytes()
    (to / "bad" / f"cut-{name}").write_bytes(data[:int(len(data) * part)])


def make_bad(to):
    bad = to / "bad"
    no_frames = ["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=1", "-vf", "select=0"]
    sine = ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=16000:duration=1"]
    ffmpeg(*sine, *AUDIO, *EXACT, bad / "audio-only.mp4")
    ffmpeg(*sine, "-c:a", "libvorbis", *EXACT, bad / "audio-only.webm")
    ffmpeg(*no_frames, *h264(), *YUV, *EXACT, bad / "no-frames.mp4")
    ffmpeg(*no_frames, *MPEG4, *YUV, *EXACT, bad / "no-frames.avi")
    ffmpeg(*no_frames, *h264(), *YUV, *EXACT, bad / "no-frames.mkv")
    ffmpeg("-f", "lavfi", "-i", "color=gray:size=8208x8192:rate=25", "-frames:v", 1, *h264(), "-preset", "veryfast",
           *YUV, *EXACT, bad / "huge-size.mp4")
    ffmpeg("-f", "lavfi", "-i", "color=gray:size=4096x16:rate=25", "-frames:v", 2, *h264(), *YUV, *EXACT,
           bad / "narrow.mp4")
    (bad / "text.mp4").write_text("This is not a clip.\n")
    (bad / "empty.mp4").write_bytes(b"")
    for name, part in (("h264-moov-end.mp4", .6), ("h264-moov-start.mp4", .6), ("h264-fragments.mp4", .6),
                       ("h264-open-gop.mkv", .6), ("mpeg4.avi", .6), ("vp9-odd-size.webm", .5), ("hevc.mp4", .3)):
        cut(to, name, part)


def make(to):
    (to / "bad").mkdir(parents=True, exist_ok=True)
    for part in (make_patterns, make_hidden, make_rotated, make_with_audio, make_with_cover, make_edited, make_patched, make_bad):
        part(to)


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()
            and p.suffix not in (".jsonl", ".txt")}


def main():
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        is_check = "--check" in sys.argv
        if is_check and not shutil.which("ffmpeg"):
            return print("SKIP: clips not made again: no ffmpeg")
        version = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=True).stdout
        if is_check and not version.startswith(MADE_WITH):
            return print(f"SKIP: clips not made again: {version.split(' Copyright')[0]}, not {MADE_WITH}")
        make(work)
        made, committed = files(work), files(OUT)
        differ = sorted(n for n in made.keys() | committed.keys() if made.get(n) != committed.get(n))
        print(f"{len(made)} clips, {sum(map(len, made.values()))} bytes")
        if is_check:
            print("not ok clips differ: " + " ".join(differ) if differ else "ok clips equal")
            return bool(differ)
        for name in differ:
            (OUT / name).parent.mkdir(parents=True, exist_ok=True)
            (OUT / name).unlink(missing_ok=True)
            if name in made:
                (OUT / name).write_bytes(made[name])
    return 0


if __name__ == "__main__":
    sys.exit(main())
