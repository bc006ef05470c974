#!/usr/bin/env bash
# huggingface_hub and modelscope, as people use them, on the same caches as `qvl pull`, both ways, against a hub on this
# machine. Installs pinned versions of them below build/hub. Prints "ok …" and "not ok …"; ends with 1 where one is not.
# usage: reference/hub/run.sh [BUILD] [PATTERN]      PATTERN: only cases whose name holds it
set -euo pipefail
cd "$(dirname "$0")/../.."
build=$(realpath "${1:-build}")
pattern=${2:-}
python=build/hub/python
unset "${!QVL_@}" "${!HF_@}" "${!MODELSCOPE_@}" "${!TRANSFORMERS_@}" http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
[ -d demo/model ] || { echo "SKIP: demo/model is not there"; exit 0; }
tools/install-deps.sh python3-venv
make --no-print-directory BUILD="$build" "$build/fake_hub"
if ! cmp -s reference/hub/requirements.txt $python/complete; then
    rm -rf $python
    mkdir -p build/hub
    python3 -m venv $python
    timeout 600 $python/bin/pip install --quiet --disable-pip-version-check --no-compile --no-deps -r reference/hub/requirements.txt \
        >build/hub/python.log 2>&1 || { tail -n 20 build/hub/python.log >&2; exit 1; }
    cp reference/hub/requirements.txt $python/complete
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export QVL_BUILD=$build QVL_WORK=$work PYTHONPATH=reference/hub:reference PYTHONDONTWRITEBYTECODE=1
export HF_HUB_DISABLE_PROGRESS_BARS=1 HF_HUB_DISABLE_TELEMETRY=1 HF_HUB_DISABLE_XET=1

n_bad=0
for name in huggingface modelscope; do
    timeout 600 $python/bin/python reference/hub/test_$name.py "$pattern" || n_bad=$((n_bad + 1))
done
[ $n_bad -eq 0 ]
