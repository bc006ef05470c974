#!/usr/bin/env bash
# qvl doctor: all is well here; and what it says where something is not: helper, model, memory, folders, environment.
. "$(dirname "$0")/common.sh"
demo=demo/model
if [ ! -e $demo/model.safetensors ]; then
    echo "SKIP: $demo/model.safetensors is not there"
    exit 0
fi
export HOME=$work/home # and no word of anybody's caches, tokens and proxies
mkdir "$HOME"
unset "${!HF_@}" "${!MODELSCOPE_@}" "${!TRANSFORMERS_@}" "${!HUGGING_@}" "${!VLLM_@}" "${!XDG_@}"
unset http_proxy https_proxy HTTPS_PROXY all_proxy ALL_PROXY no_proxy NO_PROXY

doctor() { # exit code, name, command…: output in $work/out
    local want=$1 name=$2 rc
    shift 2
    "$@" >"$work/out" 2>"$work/err" </dev/null
    rc=$?
    if [ $rc -eq "$want" ] && [ ! -s "$work/err" ]; then ok "$name"
    else bad "$name" "exit code $rc, not $want: $(grep PROBLEM "$work/out" | head -c 300) $(head -c 300 "$work/err")"; fi
}

# ---- nothing wrong
doctor 0 "all is well" "$qvl" doctor $demo
for line in 'ok +program +qvl [0-9.]+, Linux' '(ok|note) +processor ' '(ok|note) +threads +[0-9]+ used' 'ok +memory +[0-9.]+ GB' \
    'ok +model +demo/model .*Instruct.*\(bf16\), 6 layers of 192' 'ok +weights +names, types and shapes' 'ok +fits ' \
    'ok +computing +kernels of level' '(ok|note) +web page' '(ok|note) +cache +Hugging Face: .*/home/.cache/huggingface/hub' '(ok|note) +cache +ModelScope' \
    'ok +network +not tried; https://huggingface.co \(token not set\)' 'ok +language +en LC_ALL=C'; do
    has "line: $line" "^$line" "$work/out"
done
has "the helper is locked in and decodes" '^ok +qvl-media +locked in by seccomp; decodes PNG JPEG WebP' "$work/out"
for format in HEIC AVIF H.264 H.265 VP9 AV1; do has "decodes $format" "decodes.* $format" "$work/out"; done
if [ -e build/page/index.html ]; then
    has "the page is there or not" 'web page +(in the program|not in this program)' "$work/out"
else
    has "no page: what to do" 'make page' "$work/out"
fi
[ -z "$(ls -A "$HOME")" ] && ok "nothing is written" || bad "nothing is written" "$(ls -A "$HOME")"
doctor 0 "no model named: the demo model" "$qvl" doctor
doctor 0 "--full reads everything" "$qvl" doctor $demo --full
has "--full says so" '^ok +weights +all read' "$work/out"
doctor 0 "--json" "$qvl" doctor $demo --json
has "--json: what it says" '^\{"qvl":"[0-9.]+","problems":0,.*\{"verdict":"ok","topic":"program","text":"qvl' "$work/out"
QVL_LANG=zh "$qvl" doctor $demo >"$work/out" 2>&1
has "in Chinese" '^正常 +处理器' "$work/out"

# ---- the helper
doctor 1 "no helper" "$qvl" doctor $demo --media-helper "$work/nowhere"
has "no helper: what to do" '^PROBLEM qvl-media +.*nowhere' "$work/out"
has "no helper: advice" '^ +-> qvl-media belongs beside qvl' "$work/out"
printf '#!/bin/sh\nexit 1\n' >"$work/broken"
chmod +x "$work/broken"
doctor 1 "a helper that does not work" "$qvl" doctor $demo --media-helper "$work/broken"
mkdir "$work/plain"
cp "$build/qvl-media" "$work/plain/"
doctor 0 "without the module: a note" "$qvl" doctor $demo --media-helper "$work/plain/qvl-media"
has "the plain formats are decoded" '^ok +qvl-media .*decodes PNG JPEG WebP$' "$work/out"
has "the others are not" '^note +qvl-media ' "$work/out"

# ---- the model
doctor 1 "no such model" "$qvl" doctor "$work/nowhere"
has "no such model: the sentence" '^PROBLEM model +.*nowhere' "$work/out"
has "no such model: the helper is tried all the same" '^ok +qvl-media' "$work/out"
doctor 1 "no model at all" "$(without_model)" doctor
has "no model at all: what to do" '-> qvl pull, or -m DIR' "$work/out"
has "no model at all: the helper cannot be tried" '^note +qvl-media +not tried' "$work/out"
cp -r $demo "$work/damaged"
truncate -s -100000 "$work/damaged/model.safetensors"
doctor 1 "weights cut short" "$qvl" doctor "$work/damaged"
has "weights cut short: the sentence" '^PROBLEM model +.*cut short' "$work/out"
mkdir "$work/text"
"$qvl" convert $demo "$work/text/demo.gguf" --mmproj "$work/eyes.gguf" -q
doctor 1 "a text model without its vision tower" "$qvl" doctor "$work/text/demo.gguf"
doctor 0 "--mmproj names the tower" "$qvl" doctor "$work/text/demo.gguf" --mmproj "$work/eyes.gguf"
"$qvl" quantize $demo "$work/q4" -q
printf '\x55\x55\x55\x55' | dd of="$work/q4/model.safetensors" bs=1 seek=1000000 conv=notrunc 2>/dev/null
doctor 0 "a damaged packed folder, not read" "$qvl" doctor "$work/q4"
doctor 1 "a damaged packed folder, read" "$qvl" doctor "$work/q4" --full
has "its checksum" '^PROBLEM weights ' "$work/out"
mkdir -p "$work/hub/blobs" "$work/hub/snapshots"
cp -r $demo "$work/hub/snapshots/one"
sum=$(sha256sum <$demo/model.safetensors | cut -d' ' -f1)
mv "$work/hub/snapshots/one/model.safetensors" "$work/hub/blobs/$sum"
ln -s "../../blobs/$sum" "$work/hub/snapshots/one/model.safetensors"
doctor 0 "a snapshot of a hub's cache" "$qvl" doctor "$work/hub/snapshots/one" --full
has "its blobs are compared with their names" '^ok +weights +1 files read and compared with their SHA-256' "$work/out"
printf '\x3f' | dd of="$work/hub/blobs/$sum" bs=1 seek=9000000 conv=notrunc 2>/dev/null
doctor 1 "a blob that is damaged" "$qvl" doctor "$work/hub/snapshots/one" --full
has "which one" '^PROBLEM weights +.*model.safetensors has not the SHA-256' "$work/out"
sum=$(sha256sum <"$work/text/demo.gguf" | cut -d' ' -f1)
mv "$work/text/demo.gguf" "$work/hub/blobs/$sum"
ln -s "../hub/blobs/$sum" "$work/text/demo.gguf"
doctor 0 "a GGUF file of a hub's cache" "$qvl" doctor "$work/text/demo.gguf" --mmproj "$work/eyes.gguf" --full
has "its blob is compared with its name" '^ok +weights +1 files read and compared with their SHA-256' "$work/out"
printf '\x3f' | dd of="$work/hub/blobs/$sum" bs=1 seek=3000000 conv=notrunc 2>/dev/null
doctor 1 "a GGUF file that is damaged" "$qvl" doctor "$work/text/demo.gguf" --mmproj "$work/eyes.gguf" --full
has "that one" '^PROBLEM weights +.*demo.gguf has not the SHA-256' "$work/out"
refuse "two models" 2 'one model at most' "$qvl" doctor a b

# ---- limits
case $build in
*address* | *thread*) echo "SKIP: address space of a program with a sanitizer is not limited" ;;
*)
    doctor 1 "too little address space" bash -c "ulimit -v 500000; exec '$qvl' doctor $demo -c 8192"
    has "too little address space: a note" '^note +limits +this process may have 0.5 GB' "$work/out"
    has "too little address space: what to do" 'ulimit -v unlimited' "$work/out"
    ;;
esac
doctor 0 "few files" bash -c "ulimit -n 64; exec '$qvl' doctor $demo"
has "few files: a note" '^note +limits +this process may open 64 files' "$work/out"

# ---- folders and environment
mkdir "$work/locked"
chmod 555 "$work/locked"
if [ "$(id -u)" -ne 0 ]; then
    doctor 0 "a home that cannot be written" env HOME="$work/locked" "$qvl" doctor $demo
    has "a home that cannot be written: a note" '^note +cache +Hugging Face' "$work/out"
elif command -v setpriv >/dev/null; then
    mkdir -p "$work/all/program"
    chmod 755 "$work" "$work/all" "$work/all/program"
    cp "$qvl" "$build/qvl-media" "$build/qvl-media-av.so" "$work/all/program/"
    cp -r $demo "$work/all/model"
    chmod -R go+rX "$work/all"
    doctor 0 "a home that cannot be written" env HOME="$work/locked" setpriv --reuid 65534 --regid 65534 --clear-groups \
        "$work/all/program/qvl" doctor "$work/all/model"
    has "a home that cannot be written: a note" '^note +cache +Hugging Face' "$work/out"
    has "and what to do" 'HF_HOME' "$work/out"
else
    echo "SKIP: a home that cannot be written: the tests run as root, and setpriv is missing"
fi
doctor 0 "tokens" env HF_TOKEN=hf_secret MODELSCOPE_API_TOKEN=ms-secret https_proxy=http://me:pass@proxy.example:3128 "$qvl" doctor $demo
has "tokens: set" 'token set.*token set.*https_proxy=…@proxy.example:3128' "$work/out"
if grep -qE 'secret|pass@|me:' "$work/out"; then bad "no secret is shown"; else ok "no secret is shown"; fi
doctor 0 "offline" env HF_HUB_OFFLINE=1 "$qvl" doctor $demo
has "offline: a note" '^note +network ' "$work/out"
doctor 1 "an endpoint that is none" env HF_ENDPOINT='a b' "$qvl" doctor $demo
has "an endpoint that is none: the variable" '^PROBLEM network +HF_ENDPOINT' "$work/out"
finish
