#!/usr/bin/env bash
# qvl-mistaken, with which reference/score_demo.py shows that the demo model's answers depend on what ports get wrong:
# without a mistake it is qvl, with one it is not, and with each of four the demo model answers otherwise than with transformers.
. "$(dirname "$0")/common.sh"
mistaken=$build/qvl-mistaken
mistakes="NO_DEEPSTACK MROPE_AXES_SWAPPED NO_TIMES PATCHES_TRANSPOSED"

clip=$(ls tests/data/clips/h264*.mp4 | head -n 1)
answer() { # program: what it says of a picture and a clip, and the logits
    "$1" run -m "$(golden a)" demo/shapes.png "$clip" "What?" -n 6 --temp 0 --seed 1 --json --logits 2 \
        --max-pixels 20000 2>/dev/null | grep -v '"timings"'
}

answer "$qvl" >"$work/right"
answer "$mistaken" >"$work/answer"
same "without a mistake it is qvl" "$work/right" "$work/answer"
refuse "an unknown mistake" 2 'NOTHING is not among the mistakes' env QVL_MISTAKE=NOTHING "$mistaken" --version
for mistake in $mistakes; do
    QVL_MISTAKE=$mistake answer "$mistaken" >"$work/answer"
    if [ -s "$work/answer" ] && ! cmp -s "$work/right" "$work/answer"; then ok "$mistake says something else"
    else bad "$mistake says something else"; fi
done

if [ ! -e demo/model/model.safetensors ]; then
    echo "SKIP: demo/model/model.safetensors is not there: what mistakes cost the demo model is not tested"
    finish
fi
n_same() { # of the demo's questions: answered as transformers answers them
    local n=0 names question answer name said
    while IFS=$'\t' read -r names question answer; do
        read -ra name <<<"$names"
        said=$("$mistaken" run -m demo/model "${name[@]/#/demo/}" -p "$question" --temp 0 -q </dev/null 2>/dev/null)
        said=$said truth=$answer awk -f tools/right_answer.awk && n=$((n + 1))
    done <tests/golden/demo_answers.txt
    echo "$n"
}
all=$(n_same)
for mistake in $mistakes; do
    n=$(QVL_MISTAKE=$mistake n_same)
    if [ "$n" -lt "$all" ]; then ok "$mistake: $n of the demo's questions answered as by transformers, $all without it"
    else bad "$mistake: $n of the demo's questions answered as by transformers, $all without it"; fi
done
finish
