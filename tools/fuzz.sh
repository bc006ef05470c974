#!/usr/bin/env bash
# Runs each fuzz target for some seconds from its committed corpus, as many at a time as there are processors.
# usage: tools/fuzz.sh BUILD SECONDS [pattern]
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1 seconds=$2 pattern=${3:-.}

run_one() {
    local target=$1 name=${1##*/fuzz_}
    local log=$build/fuzz-$name.log
    mkdir -p "$build/found/$name"
    if ! "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2560 -malloc_limit_mb=1024 -print_final_stats=1 \
            -artifact_prefix="$build/found/" "$build/found/$name" "tests/fuzz/corpus/$name" >"$log" 2>&1; then
        printf 'not ok fuzz %s\n%s\n' "$name" "$(tail -n 40 "$log")"
        return 1
    fi
    echo "ok fuzz $name: $(grep -oE 'number_of_executed_units: +[0-9]+' "$log" | grep -oE '[0-9]+$') inputs"
}

n_running=0 n_failed=0
take_one() {
    wait -n || n_failed=$((n_failed + 1))
    n_running=$((n_running - 1))
}
for target in "$build"/fuzz_*; do
    [ -x "$target" ] && [[ $target != *.* ]] || continue
    echo "${target##*/fuzz_}" | grep -qE "$pattern" || continue
    [ $n_running -lt "$(nproc)" ] || take_one
    run_one "$target" &
    n_running=$((n_running + 1))
done
while [ $n_running -gt 0 ]; do take_one; done
[ $n_failed -eq 0 ]
