#!/usr/bin/env bash
# Clips and conversations from the command line: where they come from, what is said about them, what is refused.
. "$(dirname "$0")/common.sh"
model=$(golden a)
thinking=$(golden c)
clips=tests/data/clips
picture=tests/data/pictures/shapes.png
short=$clips/h264-moov-start.mp4 # 45 frames, 29.97 a second
long=$clips/h264-long-gop.mp4    # 200 frames, 25 a second
dry() { "$qvl" run -m "$model" --dry-run --json --ids "$@" </dev/null 2>"$work/err"; }
ask() { "$qvl" run -m "$model" --temp 0 -n 6 "$@" </dev/null 2>"$work/err"; }
plan() { grep -vE '"timings"|"seed"' "$1" | sed 's/{"name": "[^"]*"/{/'; } # without times and file names

# ---- every container and codec, from a file and from stdin
n_clip=0
for clip in "$clips"/*.{mp4,mov,avi,mkv,webm}; do
    name=$(basename "$clip")
    case $name in h264*) codec=h264 ;; hevc*) codec=hevc ;; *) codec=${name%%[-.]*} ;; esac
    dry "$clip" "x" >"$work/a"
    "$qvl" run -m "$model" --dry-run --json --ids - "x" <"$clip" >"$work/b" 2>>"$work/err"
    plan "$work/a" >"$work/a1"
    plan "$work/b" >"$work/b1"
    if cmp -s "$work/a1" "$work/b1" && grep -q "\"codec\": \"$codec\", .*\"cut\": false" "$work/a" &&
        ! grep -q '"frame_indices": \[\]' "$work/a" && ! grep -vq 'made for tests' "$work/err"; then
        ok "$name: file and stdin"
    else
        bad "$name: file and stdin" "$(tail -n 1 "$work/err") $(diff "$work/a1" "$work/b1" | head -n 2)"
    fi
    n_clip=$((n_clip + 1))
done
[ $n_clip -ge 20 ] && ok "$n_clip clips" || bad "only $n_clip clips"

# ---- which frames (spec: evenly spread, first and last; at least 4, at most 768), and what --json says
dry "$short" "x" >"$work/a"
has "frames" '"frame_indices": \[0, 15, 29, 44\]' "$work/a"
has "times as in the prompt" '"timestamps": \[0\.3, 1\.2\]' "$work/a"
has "one placeholder in the prompt" '"prompt": "<\|im_start\|>user\\n<\|vision_start\|><\|video_pad\|><\|vision_end\|>x<\|im_end\|>' "$work/a"
has "size, grid, tokens" '"original_hw": \[96, 128\], "resized_hw": \[96, 128\], "grid_thw": \[2, 6, 8\], "tokens": 24,' "$work/a"
has "the file" '"fps": 29\.97[0-9]*, "duration": 1\.5[0-9]*, "codec": "h264", "frames_in_file": 45, "cut": false' "$work/a"
has "no picture" '"images": \[\]' "$work/a"
has "usage" '"image_tokens": 0, "video_tokens": 24, "text_tokens": [0-9]+, "cached_tokens": 0' "$work/a"
dry "$long" "x" --fps 1 >"$work/a"
has "--fps" '"frame_indices": \[0, 28, 57, 85, 114, 142, 171, 199\]' "$work/a"
dry "$long" "x" --num-frames 3 >"$work/a"
has "--num-frames" '"frame_indices": \[0, 100, 199\]' "$work/a"
dry "$long" "x" --fps 1 --max-frames 4 >"$work/a"
has "--max-frames" '"frame_indices": \[0, 66, 133, 199\]' "$work/a"
dry "$long" "x" --fps 1 --min-frames 10 >"$work/a"
has "--min-frames" '"frame_indices": \[0, 22, 44, 66, 88, 111, 133, 155, 177, 199\]' "$work/a"
dry "$long" "x" --start 4 --end 0:06 --num-frames 4 >"$work/a"
has "--start, --end: the file's own times" '"frame_indices": \[100, 117, 133, 150\],' "$work/a"
has "and they begin at 4 s" '"timestamps": \[4\.3, 5\.7\]' "$work/a"
dry "$long" "x" --num-frames 4 --max-pixels 1024 >"$work/a"
has "--max-pixels holds for each frame" '"resized_hw": \[32, 32\]' "$work/a"
dry "$long" "x" --num-frames 4 --image-max-tokens 1 >"$work/a"
has "and so does --image-max-tokens" '"resized_hw": \[32, 32\]' "$work/a"
dry "$long" "x" --num-frames 4 --total-pixels 4096 >"$work/a"
has "--total-pixels for all together" '"resized_hw": \[32, 32\]' "$work/a"
dry "$short" "x" >"$work/a"
dry "$short" "x" --video-wrapper >"$work/b"
n_a=$(grep -o '"prompt_tokens": [0-9]*' "$work/a") n_b=$(grep -o '"prompt_tokens": [0-9]*' "$work/b")
[ "${n_b##* }" -gt "${n_a##* }" ] && ok "--video-wrapper" || bad "--video-wrapper" "$n_a, $n_b"
"$qvl" run -m "$model" --dry-run "$short" "$picture" "x" </dev/null >"$work/a" 2>"$work/err"
has "plan of a clip" 'h264-moov-start.mp4: h264, 128 x 96 pixels, 45 frames, 29.97 a second, 1.50 s' "$work/a"
has "with its frames" '^    0 at 0.00 s, 15 at 0.50 s, 29 at 0.97 s, 44 at 1.47 s' "$work/a"
"$qvl" run -m "$model" --dry-run "$long" "x" --fps 5 </dev/null >"$work/b" 2>"$work/err"
has "of many frames the first and the last" '(--json lists them all)' "$work/b"
has "of a picture" 'shapes.png: 640 x 480 pixels, resized to 640 x 480, 300 tokens' "$work/a"
has "and in all" 'tokens, 300 for pictures and 24 for clips; context' "$work/a"

# ---- answers
ask "$short" "What is this?" --json --ids >"$work/whole"
for setting in "--chunk 1" "--chunk 16" "--chunk 500" "-t 1"; do
    # shellcheck disable=SC2086
    ask "$short" "What is this?" --json --ids $setting >"$work/b"
    plan "$work/whole" | grep -v '"threads"' >"$work/a1"
    plan "$work/b" | grep -v '"threads"' >"$work/b1"
    same "the same bits with $setting" "$work/a1" "$work/b1"
done
ask "$short" "$picture" "What is this?" >"$work/a"
has "closing line counts both" '^1 picture 640x480, 300 tok · 1 clip [12] s, 4 frames, 24 tok · vision .* · prefill ' "$work/err"
ask "$short" "$short" "What is this?" >"$work/a"
has "and two clips" '^2 clips, 8 frames, 48 tok · vision ' "$work/err"
ask --video "$short" --image "$picture" -p "What is this?" >"$work/b"
ask "$short" "$picture" "What is this?" >"$work/a"
same "--video, --image and --prompt" "$work/a" "$work/b"
ask "$(realpath "$short" | sed 's|^|file://|')" "$picture" "What is this?" >"$work/b"
same "a file: URI" "$work/a" "$work/b"
cp "$short" "$work/no-extension"
ask "$work/no-extension" "$picture" "What is this?" >"$work/b"
same "a clip without an extension" "$work/a" "$work/b"
ask --video - --image "$picture" -p "What is this?" >"$work/b" # stdin is empty here
[ $? -eq 2 ] && has "--video - wants something" 'stdin is empty' "$work/err" || bad "--video - of nothing"
"$qvl" run -m "$model" --temp 0 -n 6 --video - --image "$picture" -p "What is this?" <"$short" >"$work/b" 2>"$work/err"
same "--video -" "$work/a" "$work/b"
ask "$long" "x" --num-frames 150 -n 1 --progress plain >"$work/a"
[ "$(wc -l <"$work/err")" -le 6 ] && ok "progress does not flood" || bad "progress does not flood" "$(wc -l <"$work/err") lines"

# ---- pictures as a clip
mkdir "$work/frames"
for i in 1 2 3 10; do cp "$picture" "$work/frames/shot$i.png"; done
dry --video "$work/frames" "x" --max-pixels 40000 >"$work/a"
has "a folder: 2 a second" '"frame_indices": \[0, 1, 2, 3\],' "$work/a"
has "without a file" '"timestamps": \[0\.2, 1\.2\],' "$work/a"
has "so without its facts" '"fps": null, "duration": null, "codec": null, "frames_in_file": null, "cut": false' "$work/a"
dry "$work/frames" "x" --sample-fps 2 --max-pixels 40000 >"$work/b"
plan "$work/a" >"$work/a1" && plan "$work/b" >"$work/b1"
same "a folder as a word, with --sample-fps" "$work/a1" "$work/b1"
dry "$work/frames/shot1.png" "$work/frames/shot2.png" "$work/frames/shot3.png" "$work/frames/shot10.png" "x" --sample-fps 2 \
    --max-pixels 40000 >"$work/b"
plan "$work/b" >"$work/b1"
same "a list with --sample-fps" "$work/a1" "$work/b1"
dry --video "$work/frames/shot1.png" "$work/frames/shot2.png" "$work/frames/shot3.png" "$work/frames/shot10.png" "x" \
    --max-pixels 40000 >"$work/b"
plan "$work/b" >"$work/b1"
same "a list after --video" "$work/a1" "$work/b1"
dry "$work/frames" "x" --frame-times 0,4,8.5,9.5 --max-pixels 40000 >"$work/b"
has "--frame-times" '"timestamps": \[2\.0, 9\.0\]' "$work/b"
"$qvl" run -m "$model" --dry-run "$work/frames" "x" --sample-fps 2 </dev/null >"$work/b" 2>"$work/err"
has "plan of pictures" 'frames: 640 x 480 pixels$' "$work/b"

# ---- a still clip is looked at once
answer() { grep -E '"(text|prompt_ids|output_ids|logits)"' "$1"; }
mkdir "$work/still"
for i in 1 2 3 4 5 6 7 8 9 10 11; do cp "$picture" "$work/still/$i.png"; done # 6 temporal patches
ask --video "$work/still" "x" --max-pixels 40000 --json --ids --logits 3 >"$work/a"
has "five of six temporal patches are reused" '"grid_thw": \[6, [0-9, ]*\], "tokens": [0-9]+, "reused": 5,' "$work/a"
ask --video "$work/still" "x" --max-pixels 40000 --json --ids --logits 3 --vision-cache 0 >"$work/b"
has "--vision-cache 0: none" '"reused": 0,' "$work/b"
answer "$work/a" >"$work/a1" && answer "$work/b" >"$work/b1"
same "and the same answer" "$work/a1" "$work/b1"
ask "$picture" "$picture" "x" --max-pixels 40000 --json >"$work/a"
check "a picture twice" [ "$(grep -o '"reused": [0-9]*' "$work/a" | tr -dc '0-9\n' | paste -sd' ')" = "0 1" ]

# ---- conversations
mkdir "$work/talk" && cp "$short" "$work/talk/clip.mp4" && cp "$picture" "$work/talk/picture.png"
dry "$short" "x" >"$work/a" && plan "$work/a" >"$work/a1"
data="data:video/mp4;base64,$(base64 -w 0 "$short")"
i=0
for part in '{"type": "video", "video": "clip.mp4"}' '{"video": "clip.mp4"}' \
    '{"type": "video_url", "video_url": {"url": "clip.mp4"}}' "{\"type\": \"video\", \"video\": \"file://$work/talk/clip.mp4\"}" \
    "{\"type\": \"video\", \"video\": \"$work/talk/clip.mp4\"}" "{\"type\": \"video_url\", \"video_url\": {\"url\": \"$data\"}}"; do
    i=$((i + 1))
    printf '[{"role": "user", "content": [%s, {"type": "text", "text": "x"}]}]' "$part" >"$work/talk/$i.json"
    dry --messages "$work/talk/$i.json" >"$work/b" && plan "$work/b" >"$work/b1"
    same "--messages: clip as ${part:0:48}" "$work/a1" "$work/b1"
done
(cd "$work/talk" && "$OLDPWD/$qvl" run -m "$OLDPWD/$model" --dry-run --json --ids --messages - <1.json) >"$work/b" 2>"$work/err"
grep -v '"model"' "$work/a1" >"$work/a2" && plan "$work/b" | grep -v '"model"' >"$work/b1"
same "--messages from stdin: relative to the working folder" "$work/a2" "$work/b1"
dry "$picture" "x" >"$work/a" && plan "$work/a" >"$work/a1"
for part in '{"type": "image", "image": "picture.png"}' '{"type": "image_url", "image_url": {"url": "picture.png"}}' \
    '{"image": "picture.png"}'; do
    printf '{"messages": [{"role": "user", "content": [%s, {"text": "x"}]}]}' "$part" >"$work/talk/p.json"
    dry --messages "$work/talk/p.json" >"$work/b" && plan "$work/b" >"$work/b1"
    same "--messages: picture as $part" "$work/a1" "$work/b1"
done
cat >"$work/talk/long.json" <<'END'
{"messages": [
  {"role": "system", "content": "Be brief."},
  {"role": "user", "content": [{"type": "image", "image": "picture.png", "max_pixels": 40000}, {"type": "text", "text": "What?"}]},
  {"role": "assistant", "content": "Shapes."},
  {"role": "user", "content": [{"type": "video", "video": "clip.mp4", "num_frames": 2, "start": 0.5, "end": 1.2}, {"text": "And this?"}]},
  {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": {"name": "look", "arguments": "{\"at\": 3}"}}]},
  {"role": "tool", "content": [{"type": "image", "image": "picture.png", "max_pixels": 40000}]}],
 "tools": [{"type": "function", "function": {"name": "look", "description": "Look.", "parameters": {"type": "object", "properties": {}}}}]}
END
dry --messages "$work/talk/long.json" >"$work/b"
[ "$(grep -c '"grid_thw": \[1, ' "$work/b")" -eq 3 ] && ok "a long conversation: two pictures, a clip of two frames" ||
    bad "a long conversation" "$(cat "$work/err"; head -c 600 "$work/b")"
has "with its tools" '"prompt": ".*# Tools.*look.*<tool_response>' "$work/b"
dry --messages "$work/talk/1.json" --fps 4 >"$work/b"
has "--fps holds for parts without their own" '"frame_indices": \[0, 9, 18, 26, 35, 44\]' "$work/b"

# ---- Thinking
"$qvl" run -m "$thinking" "hello" --temp 0 -n 8 -q </dev/null >"$work/a" 2>"$work/err"
"$qvl" run -m "$thinking" "hello" --temp 0 -n 8 -q --json </dev/null >"$work/b" 2>"$work/err"
has "reasoning has its own place in the JSON" "\"reasoning\": \"$(tr -d '\n' <"$work/a")\"" "$work/b"
has "and is no part of the text" '^\{"text": "",' "$work/b"
"$qvl" run -m "$thinking" "hello" --temp 0 -n 8 -q --no-think-text </dev/null >"$work/a" 2>"$work/err"
[ $? -eq 0 ] && [ ! -s "$work/a" ] && ok "--no-think-text hides it" || bad "--no-think-text hides it" "$(cat "$work/a")"
ask "hello" --json >"$work/b"
has "Instruct models have none" '"reasoning": null' "$work/b"

# ---- warnings
ask "$clips/bad/cut-h264-moov-start.mp4" "x" >"$work/a"
has "a cut clip is used, and said to be cut" 'cut-h264-moov-start.mp4 is cut or damaged: only 0\.8 s' "$work/err"
dry "$clips/bad/cut-h264-moov-start.mp4" "x" >"$work/a"
has "in the JSON, too" '"cut": true' "$work/a"
ask "$clips/h264-three-frames.mkv" "x" --num-frames 8 >"$work/a"
has "fewer frames than asked for" 'has only 3 frames: some of the 8' "$work/err"
ask "$clips/mjpeg.mkv" "x" --fps 50 >"$work/a"
has "a lower rate than asked for" 'has only 5 frames a second' "$work/err"
ask "$long" "x" --end 60 --num-frames 2 >"$work/a"
has "an end beyond the end" 'ends after 8\.0 s, before --end' "$work/err"
ask "$picture" "x" --fps 1 >"$work/a"
has "settings of clips without a clip" '\-\-fps is for clips, and there is none' "$work/err"
ask --video "$work/frames" "x" --fps 1 --max-pixels 40000 >"$work/a"
has "settings of files, and there are pictures" '\-\-fps chooses frames of a video file; of pictures all' "$work/err"
ask "$short" "x" --sample-fps 1 >"$work/a"
has "settings of pictures, and there is a file" '\-\-sample-fps is for pictures that are a clip' "$work/err"
ask "$short" --video "$work/frames" "x" --fps 2 --sample-fps 1 --max-pixels 40000 >"$work/a"
if grep -q -e '--\(sample-\)*fps' "$work/err"; then bad "each clip has its own" "$(cat "$work/err")"; else ok "each clip has its own"; fi
"$qvl" run -m "$model" "hello" --temp 0 -c 20 >"$work/a" 2>"$work/err" </dev/null
has "an answer that fills the context" 'cut at [0-9]+ tokens: the context of 20 tokens is full' "$work/err"
cp "$short" "$work/"$'\e[31mred.mp4'
ask "$work/"$'\e[31mred.mp4' "x" --end 60 >"$work/a"
has "a name that would steer the terminal" '31mred\.mp4 ends after' "$work/err"
if grep -q $'\e' "$work/err"; then bad "does not"; else ok "does not"; fi

# ---- refused: usage (2)
run() { "$qvl" run -m "$model" --dry-run "$@"; }
refuse "--fps and --num-frames" 2 '--fps and --num-frames contradict' run "$short" x --fps 1 --num-frames 4
refuse "--num-frames and --max-frames" 2 'go with --fps' run "$short" x --num-frames 4 --max-frames 8
refuse "--min-frames above --max-frames" 2 '--min-frames 9 is more' run "$short" x --min-frames 9 --max-frames 8
refuse "--start behind --end" 2 '--start 2 s does not lie before --end 1 s' run "$short" x --start 2 --end 1
refuse "--start that is no time" 2 'mm:ss' run "$short" x --start 1:75
refuse "--start behind the clip's end" 2 'h264-moov-start.mp4' run "$short" x --start 60
refuse "--fps 0" 2 '--fps 0' run "$short" x --fps 0
refuse "--sample-fps and --frame-times" 2 'contradict' run "$work/frames" x --sample-fps 1 --frame-times 0,1,2,3
refuse "times that are too few" 2 '2 times, but there are 4 pictures' run "$work/frames" x --frame-times 0,1
refuse "times that go back" 2 '0,2,1,3: .*never go back' run "$work/frames" x --frame-times 0,2,1,3
refuse "--messages and a prompt" 2 'whole conversation' run --messages "$work/talk/1.json" x
refuse "--messages and --system" 2 '--system does not go' run --messages "$work/talk/1.json" --system x
refuse "--messages that is no JSON" 2 'talk/picture.png' run --messages "$work/talk/picture.png"
echo '[{"role": "user", "content": [{"type": "audio", "audio": "x"}]}]' >"$work/talk/bad.json"
refuse "--messages with an unknown part" 2 'messages\[0\]\.content\[0\]' run --messages "$work/talk/bad.json"
refuse "--interactive with --messages -" 2 'where a chat reads its questions' run -i --messages -
refuse "--interactive with --json" 2 '--interactive' run -i --json

# ---- refused: clips (4)
for name in empty.mp4 no-frames.mp4 no-frames.mkv no-frames.avi audio-only.mp4 audio-only.webm text.mp4 huge-size.mp4 \
    huge-size.avi huge-rate.avi cut-h264-moov-end.mp4 cut-hevc.mp4 narrow.mp4; do
    refuse "$name" 4 "$name: " run "$clips/bad/$name" x
done
refuse "missing clip" 4 'gone.mp4: no such file' run gone.mp4 x
refuse "missing clip by --video" 4 'gone: ' run --video gone x
refuse "picture as --video of one frame, missing" 4 'gone.png' run --video gone.png x
refuse "folder without pictures" 4 'tests/data: the folder has no picture' run --video "$(dirname "$clips")" x
refuse "folder without --video" 4 'a folder \(--video' run "$work/frames/" x
cp "$clips/mjpeg.mkv" "$work/frames/odd.png"
refuse "folder with a clip called .png" 4 'odd.png' run --video "$work/frames" x
rm "$work/frames/odd.png"
refuse "missing conversation" 4 'gone.json' run --messages gone.json
echo '[{"role": "user", "content": [{"type": "video", "video": "gone.mp4"}]}]' >"$work/talk/bad.json"
refuse "conversation with a missing clip" 4 'gone.mp4' run --messages "$work/talk/bad.json"
refuse "too large for the context" 5 'context' run "$long" x --num-frames 200 -c 300

# ---- Ctrl-C
"$qvl" run -m "$model" "$long" x --num-frames 200 --min-pixels 200000 -q </dev/null >"$work/out" 2>"$work/err" &
pid=$!
until_true 60 listens $pid INT
sleep 1.2
if kill -INT $pid 2>/dev/null; then
    wait $pid
    rc=$?
    [ $rc -eq 130 ] && [ ! -s "$work/out" ] && ok "Ctrl-C while a clip is looked at" || bad "Ctrl-C while a clip is looked at" "exit code $rc"
else
    bad "Ctrl-C while a clip is looked at" "was over before"
fi

# ---- Chinese
chinese() { # name, bytes of UTF-8 as a pattern, file
    if LC_ALL=C grep -q "$2" "$3"; then ok "$1"; else bad "$1" "$(head -c 200 "$3")"; fi
}
"$qvl" --help --lang zh >"$work/a"
chinese "--lang zh" $'\xe7\x94\xa8\xe6\xb3\x95' "$work/a"
env LC_ALL= LANG=zh_CN.UTF-8 "$qvl" --help all >"$work/b"
chinese "LANG" $'\xe7\x94\xa8\xe6\xb3\x95' "$work/b"
env LC_ALL= LANG=zh_CN.UTF-8 "$qvl" --help --lang en >"$work/b"
has "--lang en wins" '^usage: ' "$work/b"
finish
