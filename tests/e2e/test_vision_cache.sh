#!/usr/bin/env bash
# --vision-cache-dir: what one program has seen the next one knows, with the same answer; one key knows nothing of another's;
# nothing that is wrong with the folder or the disk is an error, and it is said once.
if [ "${2:-}" != inside ] && unshare -rm mount -t tmpfs none /mnt 2>/dev/null; then
    exec unshare -rm bash "$0" "${1:-build}" inside
fi
. "$(dirname "$0")/common.sh"
. tests/e2e/serve.sh
if [ ! -e demo/model/model.safetensors ]; then
    echo "SKIP: demo/model/model.safetensors is not there: nothing is asked"
    finish
fi
dir=$work/seen
run() { # options: an answer as JSON in $work/json, what was said in $work/err
    "$qvl" run -m demo/model --temp 0 -n 20 --json --ids --logits 3 --progress none "$@" </dev/null >"$work/json" 2>"$work/err"
}
answer() { grep -E '"(text|prompt_ids|output_ids|logits)"' "$work/json"; }
reused() { # NAME N...: of each picture and clip
    local name=$1 got
    shift
    got=$(grep -oE '"reused": [0-9]+' "$work/json" | tr -dc '0-9\n' | paste -sd' ')
    [ "$got" = "$*" ] && ok "$name" || bad "$name" "$got, not $*: $(tail -n 2 "$work/err")"
}
quiet() { [ ! -s "$work/err" ] && ok "$1" || bad "$1" "$(cat "$work/err")"; }
warned() { # NAME PATTERN: one sentence
    if [ "$(wc -l <"$work/err")" -eq 1 ]; then has "$1" "$2" "$work/err"; else bad "$1" "$(cat "$work/err")"; fi
}

# ---- qvl run ---------------------------------------------------------------------------------------
question=(demo/shapes.png demo/text.png "What do you see?")
run "${question[@]}"
answer >"$work/want"
reused "without a folder" 0 0
[ ! -e "$dir" ] && ok "nothing is made" || bad "nothing is made"
run "${question[@]}" --vision-cache-dir "$dir"
reused "the first time" 0 0
quiet "nothing is said"
answer >"$work/got" && same "the same answer, cold" "$work/want" "$work/got"
[ "$(ls "$dir" | grep -c '^[0-9a-f]\{64\}\.vision$')" -eq 2 ] && ok "two files" || bad "two files" "$(ls "$dir")"
[ "$(stat -c %a "$dir" "$dir"/* | sort -u | paste -sd' ')" = "600 700" ] && ok "nobody else's" || bad "nobody else's" "$(ls -la "$dir")"
run "${question[@]}" --vision-cache-dir "$dir"
reused "the second time" 1 1
answer >"$work/got" && same "the same answer, from the disk" "$work/want" "$work/got"
run "${question[@]}" --vision-cache-dir "$dir" --vision-cache 0
reused "without memory" 1 1
answer >"$work/got" && same "and the same answer" "$work/want" "$work/got"
QVL_VISION_CACHE_DIR=$dir run "${question[@]}"
reused "by the environment" 1 1
run demo/text.png demo/text.png demo/clip-1.mp4 "What do you see?" --vision-cache-dir "$dir" --dtype f32
reused "other numbers" 0 1 "$(grep -oE '"reused": [0-9]+' "$work/json" | tail -n 1 | tr -dc '0-9')"
for f in "$dir"/*.vision; do truncate -s -7 "$f"; done
run "${question[@]}" --vision-cache-dir "$dir"
reused "torn files" 0 0
quiet "are no fault"
answer >"$work/got" && same "the same answer, after damage" "$work/want" "$work/got"
grep -raqE 'shapes|text\.png|What do' "$dir" && bad "no name or text in the folder" || ok "no name or text in the folder"

# ---- a budget, and foreign files
echo mine >"$dir/notes.txt"
"$qvl" run -q -m demo/model -n 1 demo/clip-1.mp4 demo/clip-2.mp4 "x" --vision-cache-dir "$dir" --vision-cache-disk 1 \
    </dev/null >/dev/null 2>&1
n=$(cat "$dir"/*.vision | wc -c)
[ "$n" -gt 0 ] && [ "$n" -le 1048576 ] && ok "the budget holds" || bad "the budget holds" "$n"
[ "$(cat "$dir/notes.txt")" = mine ] && ok "what is not ours stays" || bad "what is not ours stays"

# ---- folders that will not do
ln -s "$dir" "$work/link"
echo >"$work/file"
mkdir -m 777 "$work/open"
for bad_dir in "$work/link" "$work/link/" "$work/file" "$work/no/where" "$work/open" /proc; do
    run "${question[@]}" --vision-cache-dir "$bad_dir"
    reused "$(basename "$bad_dir"): it goes on" 0 0
    warned "$(basename "$bad_dir"): says so once" "^qvl: $bad_dir?: |^qvl: ${bad_dir%/}: "
done
QVL_LANG=zh run "${question[@]}" --vision-cache-dir "$work/file"
warned "in Chinese" "^qvl: .*：无法打开文件夹"
run "${question[@]}" --vision-cache-dir "$work/file" -q
quiet "-q: nothing"

# ---- a disk that is full
if [ "${2:-}" = inside ] && mkdir "$work/disk" && mount -t tmpfs -o size=160k none "$work/disk"; then
    run "${question[@]}" --vision-cache-dir "$work/disk/seen"
    reused "a full disk: it goes on" 0 0
    warned "a full disk: says so once" "^qvl: .*/seen: cannot write in this folder: No space left"
    answer >"$work/got" && same "a full disk: the same answer" "$work/want" "$work/got"
    run "${question[@]}" --vision-cache-dir "$work/disk/seen"
    has "a full disk: what fitted is used" '"reused": 1' "$work/json"
    umount "$work/disk"
else
    echo "SKIP: no tmpfs can be mounted in a namespace of one's own: a full disk is not tested"
fi

# ---- qvl serve, restarted
seen=(--vision-cache-dir "$work/served" --vision-cache 0 --prefix-cache 0) # all from the disk
ask() { # NAME [KEY]: the answer to $work/want, and how many of its tokens were known, in $known
    status "$1" 200 "${as_json[@]}" ${2:+-H "Authorization: Bearer $2"} --data-binary "@$work/request" "$base/v1/chat/completions"
    known=$(tr -d ' \n' <"$work/body" | grep -oE '"reused_tokens":[0-9]+' | tr -dc 0-9)
    grep -oE '"content": ?"([^"\\]|\\.)*"' "$work/body" >"$work/got"
    [ -s "$work/want" ] || cp "$work/got" "$work/want"
    same "$1: the same answer" "$work/want" "$work/got"
}
known() { [ "${known:-0}" -gt 0 ] && ok "$1" || bad "$1" "$known"; }
new() { [ "$known" = 0 ] && ok "$1" || bad "$1" "$known"; }
metric() { # NAME METRIC VALUE [KEY]
    curl -sS ${4:+-H "Authorization: Bearer $4"} "$base/metrics" | grep -E "^$2\{" >"$work/metric"
    has "$1" " $3\$" "$work/metric"
}
{
    printf '{"temperature": 0, "max_tokens": 12, "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,'
    base64 -w 0 demo/shapes.png
    printf '"}}, {"type": "text", "text": "What do you see?"}]}]}'
} >"$work/request"
: >"$work/want"
export QVL_API_KEY=one-key,other-key
start "${seen[@]}"
ask "a key" one-key && new "new to the first"
ask "the other key" other-key && new "and to the second"
metric "two files' bytes" qvl_vision_cache_disk_bytes '[1-9][0-9]*' one-key
metric "asked twice" qvl_vision_cache_disk_queries_total 2 one-key
metric "in vain" qvl_vision_cache_disk_hits_total 0 one-key
stop "it ends" TERM 0
QVL_API_KEY=third-key,one-key start "${seen[@]}"
ask "after a restart" one-key && known "the key's own is known"
ask "another key" third-key && new "which knows nothing of it"
metric "one of two was there" qvl_vision_cache_disk_hits_total 1 one-key
stop "it ends again" TERM 0
unset QVL_API_KEY
start "${seen[@]}"
ask "without keys" && new "nothing of theirs"
ask "again" && known "but its own"
stop "it ends once more" TERM 0
start "${seen[@]}" --log-file "$work/log"
ask "a server" && known "knows it"
rm -rf "$work/served"
sed -i 's/What do you see/What is it/' "$work/request"
: >"$work/want"
ask "its folder has gone" && new "nothing is known"
ask "and again" && new "nothing is kept"
stop "it ends at last" TERM 0
[ "$(grep -c '"event": *"warning"' "$work/log")" -eq 1 ] && ok "one warning in the log" || bad "one warning in the log" "$(grep warning "$work/log")"
finish
