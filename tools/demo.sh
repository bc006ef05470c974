#!/usr/bin/env bash
# `make demo`: puts the questions of demo/questions.txt to the built-in demo model. A line there: pictures and clips
# (files in demo/, with a blank between them), TAB, question, TAB, true answer.
# usage: tools/demo.sh BUILD
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
unset "${!QVL_@}" # settings for another model
export LC_ALL=C   # times with a point

for file in demo/model/model.safetensors demo/questions.txt; do
    [ -e $file ] || { echo "demo: $file is missing from this source tree" >&2; exit 1; }
done

seconds() { # between two EPOCHREALTIMEs
    awk -v from="$1" -v to="$2" 'BEGIN { printf "%.1f s", to - from }'
}

n_question=0 n_right=0
begin=$EPOCHREALTIME
mapfile -t lines <demo/questions.txt
for line in "${lines[@]}"; do
    IFS=$'\t' read -r names question truth <<<"$line"
    read -ra name <<<"$names"
    asked=$EPOCHREALTIME
    said=$("$build/qvl" run -m demo/model -q --temp 0 "${name[@]/#/demo/}" -p "$question")
    took=$(seconds "$asked" "$EPOCHREALTIME")
    printf '%s\n  %s\n  %s   (%s)\n' "${name[*]/#/demo/}" "$question" "$said" "$took"
    [ "$said" = "$truth" ] || printf '  true is: %s\n' "$truth"
    echo
    n_question=$((n_question + 1))
    said=$said truth=$truth awk -f tools/right_answer.awk && n_right=$((n_right + 1))
done
cat <<TEXT
$n_right of $n_question right in $(seconds "$begin" "$EPOCHREALTIME"). The built-in demo model knows coloured shapes, short printed text,
small forms and clips of shapes, in English and Chinese, and nothing else. Its training is not finished: text and
forms go best (demo/model/README.md). Ask it yourself, or chat with it:

  $build/qvl run ${name[*]/#/demo/} "$question"
  $build/qvl chat

Real pictures take the real model, 4.3 GB, from Hugging Face or ModelScope:

  $build/qvl pull
  $build/qvl run photo.jpg "What is this?"
TEXT
