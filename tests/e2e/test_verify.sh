#!/usr/bin/env bash
# qvl verify: the demo model and a golden one beside what transformers made of them (tests/golden/verify, written by
# reference/verify.py); each known mistake of ports is caught; what cannot be compared is refused with a sentence.
. "$(dirname "$0")/common.sh"
refs=tests/golden/verify
demo=demo/model
golden=$(golden a)
if [ ! -e $demo/model.safetensors ]; then
    echo "SKIP: $demo/model.safetensors is not there"
    exit 0
fi

# ---- the same
verify() { "$qvl" verify "$@" >"$work/out" 2>"$work/err" </dev/null; }
check "the demo model computes what transformers computes" verify $demo $refs/demo.ref
for row in 'f32 +english +prompt ids +all 114 equal' 'f32 +clip_picture +pixels +all 2 equal' 'f32 +pictures +vision tower' \
    'f32 +clip +deepstack' 'f32 +chinese +decoder' 'f32 +picture +answer +all [0-9]+ equal' 'bf16 +all +next token'; do
    has "row: $row" "^ok +$row" "$work/out"
done
has "the verdict" '^the same: this build computes' "$work/out"
[ "$(grep -c '^NOT' "$work/out")" -eq 0 ] && ok "nothing is off" || bad "nothing is off"
check "golden model a, too" verify "$golden" $refs/a.ref
check "REF alone: the model of -m" verify -m $demo $refs/demo.ref --dtype f32
[ "$(grep -c bf16 "$work/out")" -eq 0 ] && ok "--dtype f32: that pass only" || bad "--dtype f32: that pass only"
check "--json" verify $demo $refs/demo.ref --json
has "--json: what it says" '^\{"qvl":"[0-9.]+","ok":true,.*"dtype":"float32".*\{"pass":"f32","what":"prompt_ids","ok":true,"case":"english","n":114' "$work/out"
for wish in "--quantize q8" "--quantize q4" "--quantize balanced" "--kv int8" "--quantize-vision"; do
    # shellcheck disable=SC2086 # words
    check "$wish: within its own limits" verify $demo $refs/demo.ref $wish
    has "$wish: says so" '^the same, within what .* fewer bits' "$work/out"
done
check "a packed folder" sh -c "'$qvl' quantize $demo '$work/q8' --type q8 -q && '$qvl' verify '$work/q8' $refs/demo.ref"
refuse "a packed folder in f32" 2 'f32 arithmetic' "$qvl" verify "$work/q8" $refs/demo.ref --dtype f32
check "a quantised GGUF file" sh -c "'$qvl' convert $demo '$work/demo.gguf' --type q8_0 -q && '$qvl' verify '$work/demo.gguf' $refs/demo.ref >'$work/out'"
has "a quantised GGUF file: as what it is" '^ok +packed +all +next token' "$work/out"
check "the same, as it is" verify "$work/demo.gguf" $refs/demo.ref --dtype f32
"$qvl" verify "$work/demo.gguf" $refs/demo.ref --json -q >"$work/json" 2>/dev/null
has "--json: a GGUF file has no config.json" '"same_config":null' "$work/json"
has "the same, as it is: within its own limits" '^the same, within what .* fewer bits' "$work/out"
QVL_LANG=zh verify $demo $refs/demo.ref
has "in Chinese" '^一致：' "$work/out"

# ---- not the same
off() { # name, command…: exit code 1, a row that is NOT, and the verdict
    local name=$1 rc
    shift
    "$@" >"$work/out" 2>"$work/err" </dev/null
    rc=$?
    if [ $rc -eq 1 ] && grep -q '^NOT  ' "$work/out" && grep -q '^NOT the same' "$work/out"; then ok "$name"
    else bad "$name" "exit code $rc: $(tail -n 1 "$work/out" "$work/err" | head -c 300)"; fi
}
# A picture or clip puts T, H and W at most some dozens apart, and the pairs that UNBOUNDED_MROPE_STRIDE turns by another
# axis turn by less than rounding there: no prompt shows it (tests/golden/mistakes does, with made-up positions). Two
# show in weights that were drawn for it, not in trained ones.
for mistake in $(sed -n 's/^    X(\([A-Z_]*\)).*/\1/p' src/model/mistake.h | grep -v UNBOUNDED_MROPE_STRIDE); do
    case $mistake in
    ERF_GELU_IN_BLOCK | LAYER_NORM_EPS) off "$mistake is caught" env QVL_MISTAKE=$mistake "$build/qvl-mistaken" verify "$golden" $refs/a.ref ;;
    *) off "$mistake is caught" env QVL_MISTAKE=$mistake "$build/qvl-mistaken" verify $demo $refs/demo.ref ;;
    esac
done
check "without a mistake that program passes" "$build/qvl-mistaken" verify $demo $refs/demo.ref
cp -r $demo "$work/other"
printf '\x3f\x3f\x3f\x3f\x3f\x3f\x3f\x3f' | dd of="$work/other/model.safetensors" bs=1 seek=9000000 conv=notrunc 2>/dev/null
off "four weights of another model" "$qvl" verify "$work/other" $refs/demo.ref
cp -r $demo "$work/config"
sed -i 's/"use_cache": true/"use_cache": false/' "$work/config/config.json"
check "another config.json that says the same" verify "$work/config" $refs/demo.ref
has "is noted" '^config.json is not the one' "$work/out"
"$qvl" verify "$work/other" $refs/demo.ref --json >"$work/out" 2>/dev/null
has "--json: config.json is the same" '"same_config":true' "$work/out"
has "--json: not ok" '"ok":false,.*"first_beyond":' "$work/out"

# ---- not comparable
refuse "no words" 2 'qvl verify MODEL REF' "$qvl" verify
refuse "three words" 2 'qvl verify MODEL REF' "$qvl" verify a b c
refuse "no REF" 2 'nowhere.ref: cannot open' "$qvl" verify $demo "$work/nowhere.ref"
refuse "no model" 3 'nowhere' "$qvl" verify "$work/nowhere" $refs/demo.ref
refuse "another model" 3 'is not the model that .*demo.ref was made with \(qvl demo model\): its text.hidden is' "$qvl" verify "$golden" $refs/demo.ref
head -c 200000 $refs/demo.ref >"$work/cut.ref"
refuse "cut short" 2 'damaged' "$qvl" verify $demo "$work/cut.ref"
cp $refs/demo.ref "$work/flipped.ref"
printf '\x55' | dd of="$work/flipped.ref" bs=1 seek=150000 conv=notrunc 2>/dev/null
refuse "a byte is another" 2 'damaged: it has not the SHA-256' "$qvl" verify $demo "$work/flipped.ref"
LC_ALL=C sed '1s/"version":"1"/"version":"2"/' $refs/demo.ref >"$work/newer.ref"
refuse "a newer version" 2 'version 2 of the format; this qvl reads version 1' "$qvl" verify $demo "$work/newer.ref"
refuse "weights are no REF" 2 'not a file that reference/verify.py has written' "$qvl" verify $demo $demo/model.safetensors
refuse "text is no REF" 2 'not a file that reference/verify.py has written' "$qvl" verify $demo README.md
finish
