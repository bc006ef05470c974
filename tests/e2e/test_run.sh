#!/usr/bin/env bash
# What `qvl run`, `inspect` and `tokenize` promise when all is well.
. "$(dirname "$0")/common.sh"
model=$(golden a)
picture=tests/data/pictures/shapes.png
run() { "$qvl" run -m "$model" "$@" </dev/null 2>"$work/err"; }
results() { grep -vE '"timings"|"seed"|"threads"' "$1"; } # of a JSON object: what must not depend on how it was made

# ---- streams
run "$picture" "What is this?" -n 12 --temp 0 >"$work/text"
has "the answer ends with a line break" . "$work/text"
[ -z "$(tail -c 1 "$work/text")" ] && ok "one line break at the end" || bad "one line break at the end"
has "cut by -n is said" 'cut at 12 tokens' "$work/err"
has "a golden model is named as such" 'made for tests' "$work/err"
has "closing line" 'prefill 3[0-9]+ tok @ .* · 12 tok @ ' "$work/err"
run "$picture" "What is this?" -n 12 --temp 0 -q >"$work/quiet"
[ ! -s "$work/err" ] && ok "-q says nothing" || bad "-q says nothing" "$(cat "$work/err")"
same "-q changes no answer" "$work/text" "$work/quiet"
if grep -q $'\033' "$work/err"; then bad "no cursor codes off a terminal"; else ok "no cursor codes off a terminal"; fi

# ---- order, sources, defaults
run "What is this?" "$picture" -n 12 --temp 0 -q >"$work/b"
same "prompt before the picture" "$work/text" "$work/b"
"$qvl" -m "$model" "$picture" -n 12 "What is this?" --temp 0 -q >"$work/b" 2>/dev/null
same "without the verb" "$work/text" "$work/b"
"$qvl" run -m "$model" - "What is this?" -n 12 --temp 0 -q <"$picture" >"$work/b" 2>"$work/err"
same "picture from stdin" "$work/text" "$work/b"
printf 'What is this?' | "$qvl" run -m "$model" "$picture" -n 12 --temp 0 -q >"$work/b" 2>"$work/err"
same "prompt from stdin" "$work/text" "$work/b"
echo 'What is this?' | "$qvl" run -m "$model" "$picture" - -n 12 --temp 0 -q >"$work/b" 2>"$work/err"
same "without its last line break" "$work/text" "$work/b"
run --image "$picture" -p "What is this?" -n 12 --temp 0 -q >"$work/b"
same "--image and --prompt" "$work/text" "$work/b"
cp "$picture" "$work/no-extension"
run "$work/no-extension" "What is this?" -n 12 --temp 0 -q >"$work/b"
same "picture without an extension" "$work/text" "$work/b"
QVL_MODEL=$model QVL_MAX_TOKENS=12 QVL_TEMP=0 "$qvl" run "$picture" "What is this?" -q >"$work/b" 2>/dev/null
same "settings from the environment" "$work/text" "$work/b"
export QVL_MAX_TOKENS=3
run "$picture" "What is this?" --max-tokens=12 --temperature 0 -q >"$work/b"
same "the command line wins over the environment" "$work/text" "$work/b"
unset QVL_MAX_TOKENS

# ---- JSON
run "$picture" "What is this?" -n 12 --temp 0 --json --ids --logits 3 >"$work/json"
has "finish reason" '"finish_reason": "length"' "$work/json"
has "image sizes" '"original_hw": \[480, 640\], "resized_hw": \[480, 640\], "grid_thw": \[1, 30, 40\], "tokens": 300' "$work/json"
has "usage" '"completion_tokens": 12, .*"image_tokens": 300' "$work/json"
has "prompt with one placeholder" '"prompt": "<\|im_start\|>user\\n<\|vision_start\|><\|image_pad\|><\|vision_end\|>What is this\?<\|im_end\|>\\n<\|im_start\|>assistant\\n"' "$work/json"
[ "$(grep -o '"output_ids": .*' "$work/json" | tr ',' '\n' | wc -l)" -ge 12 ] && ok "output ids" || bad "output ids"
[ "$(grep -cE '^  \[\[[0-9]+, [-0-9.e+]+\], \[[0-9]+, [-0-9.e+]+\], \[[0-9]+, [-0-9.e+]+\]\]' "$work/json")" -eq 12 ] &&
    ok "three logits of each token" || bad "three logits of each token" "$(grep -A 3 '"logits"' "$work/json")"
for setting in "-t 1" "-t 3" "--chunk 1" "--chunk 64" "--chunk 512"; do
    # shellcheck disable=SC2086
    run "$picture" "What is this?" -n 12 --temp 0 --json --ids --logits 3 $setting >"$work/b"
    results "$work/json" >"$work/j1"
    results "$work/b" >"$work/j2"
    sed -i 's/"threads": [0-9]*//' "$work/j1" "$work/j2"
    same "the same bits with $setting" "$work/j1" "$work/j2"
done
run "x" --seed 5 -n 40 --json >"$work/b" && run "x" --seed 5 -n 40 --json >"$work/c"
grep '"text"' "$work/b" >"$work/b1" && grep '"text"' "$work/c" >"$work/c1"
same "the same seed gives the same text" "$work/b1" "$work/c1"
run "x" --seed 6 -n 40 --json | grep '"text"' >"$work/c1"
if cmp -s "$work/b1" "$work/c1"; then bad "another seed gives another text"; else ok "another seed gives another text"; fi
has "--temp 0 takes no penalty of the model" '"temperature": 0, .*"presence_penalty": 0,' "$work/json"
run "x" --temp 0 --presence-penalty 1 -n 2 --json >"$work/b"
has "--temp 0 takes a penalty that is given" '"presence_penalty": 1,' "$work/b"

cp "$picture" "$work/caf"$'\xe9'.png
run "$work/caf"$'\xe9'.png "x" --dry-run --json >"$work/b"
has "a name that is not UTF-8 in the JSON" $'"name": "[^"]*caf\xef\xbf\xbd\\.png"' "$work/b"
check "which stays UTF-8" iconv -f UTF-8 -t UTF-8 "$work/b"
cp -r "$model" "$work/mod"$'\xe9'
"$qvl" inspect "$work/mod"$'\xe9' --json >"$work/b" 2>"$work/err"
check "inspect of a folder whose name is not UTF-8" iconv -f UTF-8 -t UTF-8 "$work/b"
check "and as text" "$qvl" inspect "$work/mod"$'\xe9'

# ---- dry run and dump
run "$picture" "What is this?" --dry-run --json --ids --max-pixels 65536 >"$work/b"
has "dry run resizes" '"resized_hw": \[192, 288\]' "$work/b"
has "dry run has no answer" '"text": null' "$work/b"
run "$picture" "x" -n 2 --dump "$work/dump" -q >/dev/null
has "dumped pixels are npy" 'NUMPY' "$work/dump/prompt.pixels.0.npy"
[ "$(wc -c <"$work/dump/prompt.pixels.0.npy")" -eq $((128 + 480 * 640 * 3)) ] && ok "dumped pixels are whole" ||
    bad "dumped pixels are whole" "$(wc -c <"$work/dump/prompt.pixels.0.npy")"
[ "$(ls "$work/dump" | grep -c '^vision\.')" -ge 8 ] && [ "$(ls "$work/dump" | grep -c '^decoder\.')" -ge 3 ] &&
    ok "vision and decoder are dumped" || bad "vision and decoder are dumped" "$(ls "$work/dump" | head -n 30 | tr '\n' ' ')"

# ---- loops and stops
# A penalty below zero makes the first token win for ever after.
run "hello" --temp 0 --presence-penalty -50 --ignore-eos --json >"$work/b"
has "an endless loop is stopped" '"finish_reason": "loop"' "$work/b"
has "after 200 repeated tokens" '"completion_tokens": 201' "$work/b"
has "and said so" 'repeated itself without end' "$work/err"
run "hello" --temp 0 --presence-penalty -50 --ignore-eos -n 300 --loop-guard off --json >"$work/b"
has "--loop-guard off goes on" '"finish_reason": "length"' "$work/b"
has "its tokens were guessed" '"drafted_tokens": 2[0-9]{2}, "accepted_tokens": 2[0-9]{2}' "$work/b"
run "hello" --temp 0 --presence-penalty -50 --ignore-eos -n 300 --loop-guard off --lookup off --json >"$work/c"
has "--lookup off guesses nothing" '"drafted_tokens": 0, "accepted_tokens": 0' "$work/c"
results "$work/b" >"$work/b.results"
results "$work/c" >"$work/c.results"
same "and gives the same answer" "$work/b.results" "$work/c.results"

# ---- inspect, tokenize, help
"$qvl" inspect "$model" >"$work/b" 2>"$work/err"
has "inspect shows the layers" 'layers +3' "$work/b"
"$qvl" inspect "$model" --json >"$work/b" 2>"$work/err"
has "inspect as JSON" '^\{"model":.*"tensors":134,' "$work/b"
"$qvl" inspect "$model" --check >"$work/b" 2>"$work/err"
has "inspect --check" '^all [0-9]{6,} weights are finite numbers$' "$work/b"
"$qvl" inspect "$model" --check --json >"$work/b" 2>"$work/err"
has "inspect --check as JSON" '^\{"model":.*"all_finite":true\}$' "$work/b"
"$qvl" tokenize -m "$model" "a b" "<|im_end|>" >"$work/b" 2>"$work/err"
[ "$(wc -l <"$work/b")" -eq 2 ] && ok "tokenize: a line for each text" || bad "tokenize: a line for each text"
printf '%s\n' '"a b"' '"<|im_end|>"' | "$qvl" tokenize -m "$model" --jsonl >"$work/c" 2>"$work/err"
sed 's/[][,]//g' "$work/c" >"$work/d"
same "tokenize --jsonl gives the same ids" "$work/b" "$work/d"
printf '%s\n' '"<|im_end|>"' | "$qvl" tokenize -m "$model" --jsonl --special >"$work/c" 2>"$work/err"
has "tokenize --special: one id" '^\[[0-9]+\]$' "$work/c"
printf '"a"\nnot json\n' | "$qvl" tokenize -m "$model" --jsonl >"$work/c" 2>"$work/err"
[ $? -eq 2 ] && grep -q 'line 2' "$work/err" && ok "tokenize --jsonl names the bad line" || bad "tokenize --jsonl names the bad line"
[ "$("$qvl" --help | wc -l)" -le 30 ] && ok "help fits a screen" || bad "help fits a screen"
"$qvl" help all >"$work/help"
for verb in chat serve pull list rm quantize convert doctor inspect verify compare bench tokenize; do
    "$qvl" $verb --help >"$work/one"
    if grep -q "qvl $verb" "$work/help" && head -n 1 "$work/one" | grep -q "^usage: qvl.*" && grep -q "qvl $verb" "$work/one" &&
        ! grep -q -- "--ssl-cert-file" "$work/one" || [ $verb = serve ]; then ok "$verb --help is about $verb"
    else bad "$verb --help is about $verb" "$(head -n 3 "$work/one")"; fi
done
has "version" '^qvl [0-9]' <("$qvl" --version)
"$qvl" help man >"$work/man"
[ "$(grep -c '^\.It Fl ' "$work/man")" -eq "$("$qvl" help all | grep -cE '^  +(-., )?--')" ] &&
    ok "the manual page has every option" || bad "the manual page has every option" "$(grep -c '^\.It' "$work/man")"
if command -v groff >/dev/null; then
    sed -e "/^@OPTIONS@\$/{r $work/man" -e 'd;}' docs/qvl.1.in | groff -k -mdoc -Tutf8 -ww -z 2>"$work/err"
    [ ! -s "$work/err" ] && ok "the manual page is good mdoc" || bad "the manual page is good mdoc" "$(cat "$work/err")"
else
    echo "SKIP: no groff: the manual page is not formatted"
fi
LC_ALL=zh_CN.UTF-8 "$qvl" --help >"$work/b"
has "help in Chinese" '用法' "$work/b"
for letter in b c d; do
    other=$(golden $letter)
    "$qvl" run -m "$other" "$picture" "x" -n 4 --temp 0 -q >"$work/b" 2>"$work/err" && [ -s "$work/b" ] &&
        ok "golden model $letter answers" || bad "golden model $letter answers" "$(cat "$work/err")"
done
finish
