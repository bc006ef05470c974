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
venv=${QVL_VENV:-build/venv}
export QVL_BUILD=$build QVL_DATA=$data
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
table=$work/table
n_bad=0

if [ ! -x "$venv/bin/python" ]; then
    echo "making $venv (set QVL_VENV to use another environment)"
    python3 -m venv "$venv" && "$venv/bin/pip" install --quiet -r reference/requirements.txt || exit 1
fi
python=$venv/bin/python

note() { # ok | FAILED | skipped, what, seconds
    printf '%-8s %-58s %4s s\n' "$1" "$2" "$3" | tee -a "$table"
    [ "$1" != FAILED ] || n_bad=$((n_bad + 1))
}

step() { # what, command…
    local what=$1 start=$SECONDS
    shift
    if "$@" >"$work/log" 2>&1; then
        grep -E '^(ok|not ok) ' "$work/log" | sed 's/^/    /'
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
            "$python" reference/golden_model.py "$letter" "$work/py.$letter" &&
            diff -r "$work/c.$letter" "$work/py.$letter" || return 1
    done
}

# Floating point may differ by a rounding on another processor: reference/compare_vectors.py says what must be equal.
same_vectors() {
    "$python" reference/make_vectors.py "$work/vectors" &&
        "$python" reference/compare_vectors.py tests/golden/vectors "$work/vectors"
}

same_tokenizer() {
    "$python" reference/golden_tokenizer.py "$work/tokenizer.json" &&
        cmp "$work/tokenizer.json" tests/golden/tokenizer.json
}

make --no-print-directory -s BUILD="$build" all "$build/make_golden" || exit 1
step "golden tokenizer: trained again, equal bytes" same_tokenizer
step "golden models: equal bytes from C and Python" same_models
step "golden vectors: regenerated, equal" same_vectors
for script in unicode_classes tokenizer_vectors chat_vectors picture_vectors resize_vectors \
    sampler_vectors; do
    [ -e "reference/$script.py" ] || continue
    if grep -q -e '--check' "reference/$script.py"; then
        step "$script: regenerated, equal" "$python" "reference/$script.py" --check
    else
        note skipped "$script has no --check" 0
    fi
done
if [ -d "$data/tokenizer" ] && [ -d "$data/photos" ]; then
    step "program beside transformers, real vocabulary, photographs" "$python" reference/live.py "$build/qvl" "$data"
else
    note skipped "program beside transformers: $data has no tokenizer/ and photos/" 0
fi

echo
cat "$table"
[ $n_bad -eq 0 ]
