#!/usr/bin/env bash
# `make demo`: the main job once, on a picture that is in the repository.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
model=$build/demo-model

if [ ! -e "$model/config.json" ]; then
    make --no-print-directory -s BUILD="$build" "$build/make_golden"
    rm -rf "$model.part"
    "$build/make_golden" "$model.part" a
    mv "$model.part" "$model"
fi
cat >&2 <<TEXT
qvl is built. There is no demo model yet that can see: this run uses the small golden model of the tests, with
random weights and the real architecture. Every stage is the real one; the words mean nothing.

  $build/qvl run -m $model demo/shapes.png "What is in this picture?" -n 48

TEXT
"$build/qvl" run -m "$model" demo/shapes.png "What is in this picture?" -n 48 --temp 0
cat >&2 <<TEXT

With the real model (Qwen3-VL-2B-Instruct, 4.3 GB, from Hugging Face or ModelScope, any way you like):

  $build/qvl run -m Qwen3-VL-2B-Instruct photo.jpg "What is this?"
TEXT
