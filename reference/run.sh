#!/usr/bin/env bash
# `make reference`: regenerates every committed vector with the reference libraries and compares it with the committed
# one, compares the golden models of C and Python byte by byte, then runs the program beside transformers. Ends with a
# table; not 0 on any difference.
#
# QVL_VENV   a Python environment with reference/requirements.txt (default: build/venv, made when missing)
# QVL_BUILD  build folder (default: build)
# QVL_DATA   folder with tokenizer/ and photos/ of the published model's data (default: ../shared/data); without it
#            what needs the real vocabulary is skipped
set -uo pipefail
cd "$(dirname "$0")/.."
build=${QVL_BUILD:-build}
data=${QVL_DATA:-../shared/data}
export QVL_BUILD=$build QVL_DATA=$data
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
table=$work/table
n_bad=0

venv=$(reference/venv.sh) || exit 1
# No step may hang: half an hour is many times what the longest takes.
py() { timeout 1800 "$venv/bin/python" "$@"; }

note() { # ok | FAILED | skipped, what, seconds
    printf '%-8s %-58s %4s s\n' "$1" "$2" "$3" | tee -a "$table"
    [ "$1" != FAILED ] || n_bad=$((n_bad + 1))
}

step() { # what, command…
    local what=$1 start=$SECONDS
    shift
    if "$@" >"$work/log" 2>&1; then
        grep -E '^(ok|not ok|SKIP)[ :]' "$work/log" | sed 's/^/    /'
        note ok "$what" $((SECONDS - start))
    else
        tail -n 40 "$work/log" | sed 's/^/    /'
        note FAILED "$what" $((SECONDS - start))
    fi
}

same_models() {
    local letter
    for letter in a b c d; do
        "$build/make_golden" "$work/c.$letter" "$letter" &&
            py reference/golden_model.py "$letter" "$work/py.$letter" &&
            diff -r "$work/c.$letter" "$work/py.$letter" || return 1
    done
}

# Floating point may differ by a rounding on another processor: reference/compare_vectors.py says what must be equal.
same_vectors() {
    py reference/make_vectors.py "$work/vectors" &&
        py reference/compare_vectors.py tests/golden/vectors "$work/vectors"
}

same_tokenizer() {
    py reference/golden_tokenizer.py "$work/tokenizer.json" &&
        cmp "$work/tokenizer.json" tests/golden/tokenizer.json
}

make --no-print-directory -s BUILD="$build" all "$build/make_golden" || exit 1
step "golden tokenizer: trained again, equal bytes" same_tokenizer
step "golden models: equal bytes from C and Python" same_models
step "golden vectors: regenerated, equal" same_vectors
for script in unicode_classes tokenizer_vectors chat_vectors clip_vectors picture_vectors heif_pictures sampler_vectors; do
    step "$script: regenerated, equal" py "reference/$script.py" --check
done
# Pillow 12 beside the environment's Pillow 13, for one column of the resize vectors.
pillow12=$build/pillow12
[ -d "$pillow12/PIL" ] || "$venv/bin/pip" install --quiet --no-deps --target "$pillow12" pillow==12.0.0 || true
[ -d "$pillow12/PIL" ] || note skipped "resize_vectors: the column of Pillow 12 (cannot be installed)" 0
[ -d "$pillow12/PIL" ] || pillow12=
step "resize_vectors: regenerated, equal" py reference/resize_vectors.py --check ${pillow12:+--pillow12 "$pillow12"}
gguf=$build/gguf
[ -d "$gguf/gguf" ] || "$venv/bin/pip" install --quiet --no-deps --target "$gguf" gguf==0.19.0 || true
if [ -d "$gguf/gguf" ]; then
    step "ggml_vectors: regenerated, equal" env PYTHONPATH="$gguf" "$venv/bin/python" reference/ggml_vectors.py --check
    step "ggml_narrow_vectors: regenerated, equal" env PYTHONPATH="$gguf" "$venv/bin/python" \
        reference/ggml_narrow_vectors.py --check
    step "qvl convert: the package gguf reads the demo model's files, with the bytes that it makes itself" \
        env PYTHONPATH="$gguf" "$venv/bin/python" reference/gguf/convert.py "$build/qvl"
    step "GGUF files of the package gguf, every type: logits of transformers" \
        env PYTHONPATH="$gguf" timeout 1800 "$venv/bin/python" reference/gguf/load.py "$build/qvl"
else
    note skipped "ggml_vectors, ggml_narrow_vectors, qvl convert, GGUF files: gguf cannot be installed" 0
fi
qwen=$build/qwen_vl_utils
[ -d "$qwen/qwen_vl_utils" ] || "$venv/bin/pip" install --quiet --no-deps --target "$qwen" qwen-vl-utils==0.0.14 || true
if [ -d "$qwen/qwen_vl_utils" ]; then
    step "sample_frames_vectors: regenerated, equal" py reference/sample_frames_vectors.py "$qwen" --check
else
    note skipped "sample_frames_vectors: qwen_vl_utils cannot be installed" 0
fi
compressed=$build/compressed_tensors
[ -d "$compressed/compressed_tensors" ] ||
    "$venv/bin/pip" install --quiet --no-deps --target "$compressed" compressed-tensors==0.20.0 pydantic==2.14.3 \
        pydantic-core==2.50.4 annotated-types typing-inspection loguru psutil || true
if [ -d "$compressed/compressed_tensors" ]; then
    step "foreign_vectors: regenerated, equal" env "PYTHONPATH=$compressed" timeout 1800 "$venv/bin/python" \
        reference/foreign_vectors.py --check
else
    note skipped "foreign_vectors: compressed-tensors cannot be installed" 0
fi
step "clip_files: made again, equal bytes" py reference/clip_files.py --check
if [ -d "$qwen/qwen_vl_utils" ] && reference/torchcodec.sh "$build/torchcodec" "$venv/bin/python" &&
    "${PYAV_PYTHON:-/usr/bin/python3}" -c 'import av, sys; sys.exit(av.library_versions["libswscale"][0] != 6)'; then
    step "clip_file_vectors: regenerated, equal" env "LD_LIBRARY_PATH=$build/torchcodec/so" \
        "PYTHONPATH=$build/torchcodec/lib" timeout 1800 "$venv/bin/python" reference/clip_file_vectors.py "$qwen" --check
else
    note skipped "clip_file_vectors: no torchcodec, or no PyAV (python3-av) over FFmpeg 5" 0
fi
mapfile -t fonts <reference/score_demo.packages
tools/install-deps.sh "${fonts[@]}" || exit 1
step "training of the demo model: its forward pass is the reference's" py reference/train_demo.py --check
step "demo model: the same answers from transformers" py reference/demo_answers.py --check
step "what qvl verify compares with, demo model: made again, equal" py reference/verify.py demo/model \
    tests/golden/verify/demo.ref --size 0.27 --tokens 32 --top 16 --name "qvl demo model" --check
same_verify_a() {
    "$build/make_golden" "$work/verify.a" a && py reference/verify.py "$work/verify.a" tests/golden/verify/a.ref --size 0.19 \
        --tokens 16 --top 16 --name "golden model a" --check
}
step "what qvl verify compares with, golden model a: made again, equal" same_verify_a
step "golden models saved again by transformers: equal logits" py reference/resave.py "$build/qvl"
if [ -d "$data/tokenizer" ] && [ -d "$data/photos" ]; then
    step "program beside transformers, real vocabulary, photographs, a clip" env "LD_LIBRARY_PATH=$build/torchcodec/so" \
        "PYTHONPATH=$build/torchcodec/lib" timeout 1800 "$venv/bin/python" reference/live.py "$build/qvl" "$data" "$qwen"
else
    note skipped "program beside transformers: $data has no tokenizer/ and photos/" 0
fi

echo
cat "$table"
[ $n_bad -eq 0 ]
