#!/usr/bin/env bash
# qvl quantize, packed folders and qvl compare: the demo model in each type answers its questions as when it is quantised
# while loading; damage, a full disk, Ctrl-C and wrong wishes end in one sentence and leave nothing behind.
. "$(dirname "$0")/common.sh"
demo=demo/model
source=$(golden a)

# ---- the demo model in each type
for type in q8 q4 balanced; do
    check "quantize --type $type" "$qvl" quantize "$demo" "$work/$type" --type $type
    demo_answers -m "$work/$type" >"$work/written" 2>&1
    demo_answers -m "$(realpath "$demo")" --quantize $type >"$work/loaded" 2>&1
    same "$type: the answers of the folder are those of quantising while loading" "$work/written" "$work/loaded"
    check "$type: inspect --check" "$qvl" inspect "$work/$type" --check
    "$qvl" inspect "$work/$type" >"$work/out"
    has "$type: inspect says the type" "quantization +$type" "$work/out"
done
"$qvl" inspect "$work/q4" --json >"$work/out"
has "inspect --json says bits per weight" '"bits_per_weight":[0-9.]+,"types":\{"q4":\{.*"bf16":\{' "$work/out"
for file in tokenizer.json preprocessor_config.json generation_config.json README.md; do
    same "copied along: $file" "$demo/$file" "$work/q4/$file"
done
"$qvl" quantize "$demo" "$work/json" --json -q >"$work/out" 2>"$work/err"
has "--json" '^\{"model":"demo/model","output":".*/json","type":"q4","parameters":[0-9]+,.*"ms":' "$work/out"
[ ! -s "$work/err" ] && ok "--quiet says nothing" || bad "--quiet says nothing" "$(cat "$work/err")"
same "the same bytes again" "$work/q4/model.safetensors" "$work/json/model.safetensors"
"$qvl" quantize "$demo" "$work/one" -t 1 -q
same "and with one thread" "$work/q4/model.safetensors" "$work/one/model.safetensors"
check "three shards become one file" "$qvl" quantize "$(golden c)" "$work/shards"
check "which is whole" "$qvl" inspect "$work/shards" --check

# ---- from GGUF
check "a GGUF file for the next" "$qvl" convert "$demo" "$work/demo.gguf" --type bf16 -q
check "quantize a GGUF file" "$qvl" quantize "$work/demo.gguf" "$work/from-gguf" --type q8
check "which is whole" "$qvl" inspect "$work/from-gguf" --check
demo_answers -m "$work/from-gguf" >"$work/written" 2>&1
demo_answers -m "$work/q8" >"$work/loaded" 2>&1
same "and answers as the folder that it was made of" "$work/written" "$work/loaded"
"$qvl" compare "$demo" "$work/demo.gguf" demo/shapes.png >"$work/out" 2>"$work/err"
has "compare: a folder beside a GGUF file of the same numbers" 'pictures +[0-9]+ +0.000000 +0.000000 +0.000000 +100.00 %' "$work/out"
check "a GGUF file in 8 bits" "$qvl" convert "$demo" "$work/eight.gguf" --type q8_0 -q
demo_answers -m "$work/eight.gguf" >"$work/written" 2>&1
demo_answers -m "$work/eight.gguf" --quantize q8 >"$work/loaded" 2>&1
same "is packed in q8 where nothing is said" "$work/written" "$work/loaded"
demo_answers -m "$work/eight.gguf" --quantize none --dtype f32 >"$work/loaded" 2>&1
demo_answers -m "$work/eight.gguf" --dtype f32 >"$work/written" 2>&1
same "and f32 with --dtype f32" "$work/written" "$work/loaded"
refuse "f32 and packed weights" 2 'exclude each other' "$qvl" run -q -m "$work/eight.gguf" --dtype f32 --quantize q8 hello

# ---- wrong wishes
nothing_left() { # name, path: neither the folder nor its hidden beginnings
    if ls -d "$2" "$(dirname "$2")/.$(basename "$2")".qvl-* >/dev/null 2>&1; then bad "$1"; else ok "$1"; fi
}
refuse "quantize: no folders" 2 'two folders' "$qvl" quantize
refuse "quantize: one folder" 2 'two folders' "$qvl" quantize "$demo"
refuse "quantize: unknown type" 2 'q4\|q8\|balanced' "$qvl" quantize "$demo" "$work/x" --type q5
refuse "quantize a quantised folder" 2 'q4 is quantised already' "$qvl" quantize "$work/q4" "$work/x"
refuse "run --quantize of a quantised folder" 2 'q4 is quantised already' "$qvl" run -m "$work/q4" --quantize q8 x
refuse "the source itself" 2 'is there already' "$qvl" quantize "$demo" "$demo"
refuse "a target that is there" 2 'is there already: name a folder that is new or empty' "$qvl" quantize "$demo" "$work/q8"
check "which is as it was" "$qvl" inspect "$work/q8" --check
nothing_left "and nothing was written" "$work/x"
QVL_LANG=zh "$qvl" quantize "$work/q4" "$work/x" 2>"$work/err"
has "in Chinese" '已经量化过了' "$work/err"
mkdir "$work/empty"
check "an empty folder is taken" "$qvl" quantize "$source" "$work/empty/" -q
check "and is a model then" "$qvl" inspect "$work/empty"
refuse "missing model" 3 "$work/none" "$qvl" quantize "$work/none" "$work/x"
refuse "missing parent" 1 'No such file' "$qvl" quantize "$source" "$work/none/x"
refuse "f32 arithmetic" 2 'f32' "$qvl" run -m "$work/q4" --dtype f32 x

# ---- full disk, Ctrl-C
refuse "a file that may not grow" 1 'x/model.safetensors: cannot be written: File too large' \
    limited 100 "$qvl" quantize "$source" "$work/x" -q
nothing_left "leaves nothing" "$work/x"
mkdir "$work/disk"
if mount -t tmpfs -o size=2m none "$work/disk" 2>/dev/null; then
    refuse "too little room" 1 'x: needs [0-9]+ MB, and 2 MB are free there' "$qvl" quantize "$demo" "$work/disk/x" -q
    nothing_left "leaves nothing on the small disk" "$work/disk/x"
    umount "$work/disk"
else
    echo "SKIP: no right to mount: a small disk is not tested"
fi
interrupt_at_work "$work/x" "$work/.x.qvl-*" "$qvl" quantize "$demo" "$work/x" -t 1 --progress plain
nothing_left "leaves nothing" "$work/x"

# ---- damage
damaged() { rm -rf "$work/model" && cp -r "$work/q4" "$work/model"; }
weights=$work/model/model.safetensors
damaged && printf '\x55\xaa\x55' | dd of="$weights" bs=1 conv=notrunc status=none seek=900000
refuse "a damaged byte: inspect --check" 3 'model\.[a-z_.0-9]+: its bytes are not those .*damaged' \
    "$qvl" inspect "$work/model" --check
damaged && truncate -s -4096 "$weights"
refuse "cut short" 3 'cut short' "$qvl" run -m "$work/model" x
damaged && cp "$demo/config.json" "$work/model/"
refuse "config of the source" 3 'packed by qvl quantize as q4' "$qvl" run -m "$work/model" x
damaged && cp "$demo/model.safetensors" "$work/model/"
refuse "weights of the source" 3 'not written by qvl quantize' "$qvl" run -m "$work/model" x
damaged && sed -i 's/"version": 1/"version": 2/' "$work/model/config.json"
refuse "a newer version" 3 'version is 2, and this qvl reads version 1' "$qvl" run -m "$work/model" x
damaged && sed -i 's/"type": "q4"/"type": "q3"/' "$work/model/config.json"
refuse "an unknown type" 3 'type is "q3", expected' "$qvl" run -m "$work/model" x
damaged && sed -i 's/"quant_method": "qvl"/"quant_method": "exl2"/' "$work/model/config.json"
refuse "another method" 3 'quant_method is "exl2"' "$qvl" run -m "$work/model" x

# ---- compare
"$qvl" compare "$demo" "$work/q4" README.md demo/text.png -p "What does it say?" -q --json >"$work/folder" 2>"$work/err"
has "compare two folders" '"texts":\{"positions":[0-9]+,"kl_mean":0\..*"pictures":\{"positions":[0-9]+,"kl_mean":0\.0' "$work/folder"
"$qvl" compare "$demo" --quantize q4 README.md demo/text.png -p "What does it say?" -q --json >"$work/loaded" 2>"$work/err"
figures() { sed 's/.*"texts"/"texts"/' "$1" >"$1.figures"; }
figures "$work/folder" && figures "$work/loaded"
same "as quantised while loading" "$work/folder.figures" "$work/loaded.figures"
"$qvl" compare "$demo" "$demo" README.md -q >"$work/out" 2>"$work/err"
has "a model and itself: no divergence" '^texts +[0-9]+ +0\.000000 +0\.000000 +0\.000000 +100\.00 %' "$work/out"
refuse "compare: nothing" 2 'takes a model folder' "$qvl" compare
refuse "compare: one model" 2 'compared with itself' "$qvl" compare "$demo" README.md
refuse "compare: no files" 2 'no text and no picture' "$qvl" compare "$demo" "$work/q4"
refuse "compare: another tokenizer" 2 'different tokenizers|vocabularies' "$qvl" compare "$demo" "$source" README.md -q
refuse "compare: missing text" 4 'nowhere.txt' "$qvl" compare "$demo" --quantize q8 nowhere.txt -q
finish
