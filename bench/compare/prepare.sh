#!/usr/bin/env bash
# Gets and builds the programs that qvl is compared with, and writes the same weights in their formats. All of it goes
# into PEERS, a folder outside the tree (about 15 GB, with OpenVINO 25). What is done already is not done again.
#
# usage: bench/compare/prepare.sh PEERS MODEL [--openvino]
#
#   MODEL       the checkpoint in bf16: build/bench/make_checkpoint --preset 2b MODEL --tokenizer DIR
#   --openvino  OpenVINO GenAI, too: an environment of its own, and exports in int4 and int8 (15 GB of memory)
#
#   QVL_VENV    a Python environment with reference/requirements.txt (default: build/venv, made when missing)
#   JOBS        compile jobs (default: the processors there are)
#
# llama.cpp comes as a git bundle inside the npm package node-llama-cpp; packages come from whatever registries npm and
# pip are set up with. Needed beside them: git, cmake, ninja, a C++ compiler.
set -euo pipefail

NODE_LLAMA_CPP=3.22.1 # carries llama.cpp de3ff81
SENTENCEPIECE=0.2.3
OPENVINO=(optimum-intel==2.2.* openvino-genai==2026.4.1.* transformers==4.57.6 nncf pillow jinja2)

die() {
    echo "prepare.sh: $*" >&2
    exit 1
}

usage() { die "usage: bench/compare/prepare.sh PEERS MODEL [--openvino]"; }

[ $# -ge 2 ] && [ $# -le 3 ] || usage
[ $# -eq 2 ] || [ "$3" = --openvino ] || usage
root=$(cd "$(dirname "$0")/../.." && pwd)
[ -s "$2/config.json" ] || die "$2 has no config.json. Write a checkpoint first: make bench && \
build/bench/make_checkpoint --preset 2b $2 --tokenizer DIR"
[ -s "$2/tokenizer.json" ] || die "$2 has no tokenizer.json: make_checkpoint copies it with --tokenizer DIR"
for program in git cmake ninja c++ npm python3; do
    command -v "$program" >/dev/null || die "$program is not installed"
done
peers=$(realpath -m "$1") model=$(realpath "$2")
case $peers/ in "$root"/*) die "$peers lies in the tree; name a folder outside" ;; esac
mkdir -p "$peers"
jobs=${JOBS:-$(nproc)}
log=$peers/log
: >"$log"

# One part that leaves a file: made under another name, so that a part half done is not taken for whole.
part() { # what, file, command… (the command gets the name to write as its last argument)
    local what=$1 file=$2 start=$SECONDS
    shift 2
    if [ -e "$file" ]; then
        echo "there      $what"
        return
    fi
    printf 'making     %s …' "$what"
    rm -rf "$file.part"
    if ! "$@" "$file.part" >>"$log" 2>&1; then
        printf '\n'
        tail -n 20 "$log" >&2
        die "$what failed; the whole output is in $log"
    fi
    mv "$file.part" "$file"
    printf ' %d s\n' $((SECONDS - start))
}

# ---- llama.cpp -----------------------------------------------------------------------------------

get_bundle() { # out
    local there
    there=$(mktemp -d "$peers/npm.XXXXXX")
    (cd "$there" && npm pack --silent "node-llama-cpp@$NODE_LLAMA_CPP" && tar xzf ./*.tgz) &&
        mv "$there/package/llama/gitRelease.bundle" "$1" && rm -rf "$there"
}

# GCC 12 takes it that _tile_loadconfig reads 8 bytes, and drops the stores that fill the rest: llama.cpp then crashes
# at its first product on AMX. A barrier in front keeps them.
get_source() { # out
    git -c advice.detachedHead=false clone --quiet "$peers/llama.cpp.bundle" "$1" &&
        sed -i 's/^    _tile_loadconfig(&tc);/    __asm__ volatile("" ::"r"(\&tc) : "memory");\n&/' \
            "$1/ggml/src/ggml-cpu/amx/mmq.cpp" &&
        grep -q '__asm__ volatile("" ::"r"(&tc)' "$1/ggml/src/ggml-cpu/amx/mmq.cpp"
}

build_llama() { # out: a file that says that it is built
    cmake -G Ninja -S "$peers/llama.cpp" -B "$peers/llama.cpp/build" -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON \
        -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF &&
        nice -n 10 ninja -C "$peers/llama.cpp/build" -j "$jobs" llama-bench llama-mtmd-cli llama-quantize &&
        touch "$1"
}

convert() { # --outtype X [--mmproj], out
    PYTHONPATH=$peers/llama.cpp/gguf-py:$peers/python "$peers/venv/bin/python" \
        "$peers/llama.cpp/convert_hf_to_gguf.py" "$model" "${@:1:$#-1}" --outfile "${!#}"
}

quantize() { # type, out
    "$peers/llama.cpp/build/bin/llama-quantize" "$peers/gguf/text-bf16.gguf" "$2" "$1" "$jobs"
}

install_into() { # package, out
    "$peers/venv/bin/pip" install --quiet --no-deps --target "$2" "$1"
}

# ---- OpenVINO ------------------------------------------------------------------------------------

# torchvision by itself: it asks for one build of torch, and the one for CPUs will do (reference/hf.py).
make_openvino() { # out: a file that says that it is whole
    local venv=$peers/openvino/venv
    python3 -m venv "$venv" &&
        "$venv/bin/pip" install --quiet "${OPENVINO[@]}" "$(grep '^torch==' "$root/reference/requirements.txt")" &&
        "$venv/bin/pip" install --quiet --no-deps "$(grep '^torchvision==' "$root/reference/requirements.txt")" &&
        touch "$1"
}

# optimum-cli, behind reference/hf.py.
export_openvino() { # options…, out
    PYTHONPATH=$root/reference "$peers/openvino/venv/bin/python" -c \
        'import hf; from optimum.commands.optimum_cli import main; main()' \
        export openvino --model "$model" --task image-text-to-text "$@"
}

# ---- all of it -----------------------------------------------------------------------------------

venv=$(cd "$root" && reference/venv.sh)
ln -sfn "$(cd "$root" && cd "$venv" && pwd)" "$peers/venv"

# Files made of other weights are of no use.
identity=$(stat -L -c '%s %Y' "$model"/*.safetensors; echo "$model")
if [ "$(cat "$peers/model.identity" 2>/dev/null)" != "$identity" ]; then
    rm -rf "$peers/gguf" "$peers/openvino/int4" "$peers/openvino/int8"
    echo "$identity" >"$peers/model.identity"
fi
mkdir -p "$peers/gguf" "$peers/openvino"
ln -sfn "$model" "$peers/model"

part "llama.cpp, source from node-llama-cpp $NODE_LLAMA_CPP" "$peers/llama.cpp.bundle" get_bundle
part "llama.cpp, working tree" "$peers/llama.cpp" get_source
part "llama.cpp, built for this processor (10 to 30 minutes)" "$peers/llama.cpp.built" build_llama
part "sentencepiece, for the conversion" "$peers/python" install_into "sentencepiece==$SENTENCEPIECE"
part "text model, bf16" "$peers/gguf/text-bf16.gguf" convert --outtype bf16
part "vision, bf16" "$peers/gguf/mmproj-bf16.gguf" convert --mmproj --outtype bf16
part "vision, f16" "$peers/gguf/mmproj-f16.gguf" convert --mmproj --outtype f16
for type in F16 Q8_0 Q4_0 Q4_K_M; do
    part "text model, $type" "$peers/gguf/text-${type,,}.gguf" quantize $type
done
if [ $# -eq 3 ]; then
    part "OpenVINO GenAI" "$peers/openvino/installed" make_openvino
    part "OpenVINO export, int4" "$peers/openvino/int4" export_openvino --weight-format int4 --sym --group-size 128 \
        --ratio 1.0
    part "OpenVINO export, int8" "$peers/openvino/int8" export_openvino --weight-format int8
fi

echo
echo "Now, with nothing else running:"
echo "    python3 bench/compare/run.py $1 --qvl build/qvl --out DIR"
