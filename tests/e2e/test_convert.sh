#!/usr/bin/env bash
# qvl convert: the demo model as GGUF answers its questions as the folder does; a packed model says that it is one; a full
# disk, Ctrl-C and wrong wishes end in one sentence and leave nothing behind.
. "$(dirname "$0")/common.sh"
demo=demo/model


# ---- there and back
demo_answers -m "$(realpath "$demo")" >"$work/folder" 2>&1
for type in f16 bf16 q8_0; do
    check "convert --type $type" "$qvl" convert "$demo" "$work/$type.gguf" --type $type
    check "the tower's file is beside it" test -s "$work/mmproj-$type.gguf"
    check "$type: inspect --check" "$qvl" inspect "$work/$type.gguf" --check
done
# bf16 is what the folder holds; rounding to F16 changes none of these numbers, which are small enough
for type in bf16 f16; do
    demo_answers -m "$work/$type.gguf" --quantize none >"$work/answers" 2>&1
    same "$type: the answers of the folder" "$work/folder" "$work/answers"
done
demo_answers -m "$work/q8_0.gguf" --quantize none >"$work/q8_answers" 2>&1
"$qvl" convert "$work/q8_0.gguf" "$work/again.gguf" --type q8_0 >"$work/out" 2>"$work/err"
has "a quantised source is said" 'q8_0.gguf is quantised: the files hold its rounded weights' "$work/err"
demo_answers -m "$work/again.gguf" --quantize none >"$work/again_answers" 2>&1
same "q8_0 out of q8_0: the same answers" "$work/q8_answers" "$work/again_answers"

# ---- what it says
"$qvl" convert "$demo" "$work/json.gguf" --mmproj "$work/eyes.gguf" --json -q >"$work/out" 2>"$work/err"
has "--json" '^\{"model":"demo/model","output":".*/json.gguf","mmproj":".*/eyes.gguf","type":"f16","parameters":[0-9]+,"input_bytes":[0-9]+,"bytes":[0-9]+,"source_quantized":false,"ms":' "$work/out"
[ ! -s "$work/err" ] && ok "--quiet says nothing" || bad "--quiet says nothing" "$(cat "$work/err")"
mkdir "$work/one"
"$qvl" convert "$demo" "$work/one/f16.gguf" -t 1 -q
same "the same bytes with one thread" "$work/f16.gguf" "$work/one/f16.gguf"
same "and of the tower" "$work/mmproj-f16.gguf" "$work/one/mmproj-f16.gguf"
"$qvl" quantize "$demo" "$work/packed" -q
"$qvl" convert "$work/packed" "$work/packed.gguf" >"$work/out" 2>"$work/err"
has "a packed model is said to be quantised" 'packed is quantised: the files hold its rounded weights' "$work/err"
demo_answers -m "$work/packed" >"$work/packed_folder" 2>&1
demo_answers -m "$work/packed.gguf" --quantize none >"$work/answers" 2>&1
n_same=$(paste -d '\n' "$work/packed_folder" "$work/answers" | awk 'NR % 2 { a = $0; next } a == $0 { n++ } END { print n + 0 }')
n_all=$(grep -c . "$work/packed_folder")
[ $((4 * n_same)) -ge $((3 * n_all)) ] && ok "its GGUF answers as it does ($n_same of $n_all)" ||
    bad "its GGUF answers as it does" "$n_same of $n_all"

# ---- wrong wishes
nothing_left() { # name, path: neither the files nor their hidden beginnings
    local folder name
    folder=$(dirname "$2") name=$(basename "$2")
    if ls -d "$2" "$folder/mmproj-$name" "$folder"/.*"$name".qvl-* >/dev/null 2>&1; then bad "$1"; else ok "$1"; fi
}
refuse "convert: nothing" 2 'a model and the GGUF file' "$qvl" convert
refuse "convert: one word" 2 'a model and the GGUF file' "$qvl" convert "$demo"
refuse "unknown type" 2 'f16\|q8_0\|bf16' "$qvl" convert "$demo" "$work/x.gguf" --type q4
refuse "a file that is there" 2 'f16.gguf is there already: name a new file' "$qvl" convert "$demo" "$work/f16.gguf"
refuse "one file for both" 2 'two files' "$qvl" convert "$demo" "$work/x.gguf" --mmproj "$work/x.gguf"
refuse "missing folder" 1 'No such file' "$qvl" convert "$demo" "$work/none/x.gguf"
refuse "missing model" 3 "$work/none" "$qvl" convert "$work/none" "$work/x.gguf"
nothing_left "nothing was written" "$work/x.gguf"
QVL_LANG=zh "$qvl" convert "$demo" "$work/f16.gguf" 2>"$work/err"
has "in Chinese" '已经存在：请换一个新文件名' "$work/err"

# ---- full disk, Ctrl-C
refuse "a file that may not grow" 1 'x.gguf: cannot be written: File too large' \
    limited 100 "$qvl" convert "$demo" "$work/x.gguf" -q
nothing_left "leaves nothing" "$work/x.gguf"
mkdir "$work/disk"
if mount -t tmpfs -o size=8m none "$work/disk" 2>/dev/null; then
    refuse "too little room for the second file" 1 'mmproj-x.gguf: needs 13 MB, and [0-9] MB are free there' \
        "$qvl" convert "$demo" "$work/disk/x.gguf" -q
    nothing_left "leaves nothing on the small disk" "$work/disk/x.gguf"
    umount "$work/disk"
else
    echo "SKIP: no right to mount: a small disk is not tested"
fi
interrupt_at_work "$work/*x.gguf" "$work/.x.gguf.qvl-*" "$qvl" convert "$demo" "$work/x.gguf" -t 1 --progress plain
nothing_left "leaves nothing" "$work/x.gguf"
finish
