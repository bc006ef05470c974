#!/usr/bin/env bash
# Prints the path of a Python environment with reference/requirements.txt: QVL_VENV, or else build/venv, which is made
# when it is missing or has other requirements.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${QVL_VENV:-build/venv}
if [ -z "${QVL_VENV:-}" ] && ! cmp -s reference/requirements.txt "$venv/complete"; then
    echo "making $venv (set QVL_VENV to use another environment)" >&2
    python3 -m venv "$venv" >&2
    # torchvision by itself: it asks for one build of torch, and the one for CPUs will do (reference/hf.py).
    timeout 1800 "$venv/bin/pip" install --quiet -r <(grep -v '^torchvision==' reference/requirements.txt) >&2
    timeout 600 "$venv/bin/pip" install --quiet --no-deps "$(grep '^torchvision==' reference/requirements.txt)" >&2
    cp reference/requirements.txt "$venv/complete"
fi
echo "$venv"
