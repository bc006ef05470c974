#!/usr/bin/env bash
# Runs each fuzz target for some seconds from its committed corpus. usage: tools/fuzz.sh BUILD SECONDS [pattern]
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1 seconds=$2 pattern=${3:-.}
for target in "$build"/fuzz_*; do
    [ -x "$target" ] && [[ $target != *.* ]] || continue
    name=${target##*/fuzz_}
    echo "$name" | grep -qE "$pattern" || continue
    mkdir -p "$build/found/$name"
    log=$build/fuzz-$name.log
    if ! "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2560 -malloc_limit_mb=1024 -print_final_stats=1 \
            -artifact_prefix="$build/found/" "$build/found/$name" "tests/fuzz/corpus/$name" >"$log" 2>&1; then
        echo "not ok fuzz $name"
        tail -n 40 "$log"
        exit 1
    fi
    echo "ok fuzz $name: $(grep -oE 'number_of_executed_units: +[0-9]+' "$log" | grep -oE '[0-9]+$') inputs"
done
