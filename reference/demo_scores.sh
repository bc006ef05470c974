#!/usr/bin/env bash
# `make demo-scores`: the demo model's scores through qvl and through transformers, and what mistakes in the engine and
# smaller formats cost them, into the model card. Arguments go to score_demo.py (--n, --seed, --tasks).
# usage: demo_scores.sh BUILD [argument…]
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1
shift
mapfile -t packages <reference/score_demo.packages
tools/install-deps.sh "${packages[@]}" python3-venv
venv=$(reference/venv.sh)
score() {
    "$venv/bin/python" reference/score_demo.py --model demo/model --build "$build" --card demo/model/README.md "$@"
}
n_bad=0
score "$@" || n_bad=1
score --mutations || n_bad=1
score --formats || n_bad=1
exit $n_bad
