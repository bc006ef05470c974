#!/usr/bin/env bash
# One clip through qvl: times by stage, and the greatest memory of qvl and its helpers together that is not a mapped
# file (so without the weights), polled every 0.1 s. A line for SPEED.md.
# usage: bench/clips.sh QVL MODEL CLIP [options of qvl run]
set -euo pipefail
qvl=$1 model=$2 clip=$3
shift 3
out=$(mktemp)
trap 'rm -f "$out"' EXIT
"$qvl" run -m "$model" "$clip" "What happens in this clip?" --json --ids -q -n 16 --temp 0 --ignore-eos "$@" \
    </dev/null >"$out" 2>/dev/null &
pid=$!
peak=0 helper=0
while kill -0 $pid 2>/dev/null; do
    sum=0 own=0
    for p in $pid $(cat /proc/$pid/task/*/children 2>/dev/null || true); do
        n=$(awk '/^Rss(Anon|Shmem):/ { n += $2 } END { print n + 0 }' "/proc/$p/status" 2>/dev/null || echo 0)
        sum=$((sum + n))
        [ "$p" = $pid ] || own=$((own + n))
    done
    [ $sum -gt $peak ] && peak=$sum
    [ $own -gt $helper ] && helper=$own
    sleep 0.1
done
wait $pid
number() { grep -o "\"$1\": *[0-9.]*" "$out" | head -1 | grep -o '[0-9.]*$'; }
list() { grep -o "\"$1\": *\[[^]]*\]" "$out" | head -1 | tr ',' '\n' | wc -l; }
printf '%s: %s frames seen, prompt %s tok (clip %s) | decode+resize %s ms, vision %s ms, prefill %s ms, first token %s ms, generation %s tok/s | peak beside weights %s MiB, of it qvl-media %s MiB\n' \
    "${clip##*/}" "$(list frame_indices)" "$(number prompt_tokens)" "$(number video_tokens)" "$(number media_ms)" \
    "$(number vision_ms)" "$(number prefill_ms)" "$(number first_token_ms)" "$(number generate_per_second)" \
    $((peak / 1024)) $((helper / 1024))
