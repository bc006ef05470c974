#!/usr/bin/env bash
# Runs every test program and script of a build folder, shows what fails, and closes with one line of counts.
# usage: tools/run-tests.sh BUILD [name pattern]
set -u
cd "$(dirname "$0")/.."
build=${1:-build}
pattern=${2:-.}
export QVL_BUILD=$build
export QVL_DATA=${QVL_DATA:-$PWD/../shared/data}
log=$build/test-logs
mkdir -p "$log"
n_passed=0 n_failed=0 n_skipped=0

# A test counts its cases itself: cmocka's "[       OK ]" lines, or a script's "ok …" / "not ok …" lines.
count() {
    grep -cE "$1" "$2" || true
}

run() {
    local name=$1 file
    shift
    echo "$name" | grep -qE "$pattern" || return 0
    file=$log/$(echo "$name" | tr / _).log
    local start=$SECONDS
    if "$@" >"$file" 2>&1; then local rc=0; else local rc=$?; fi
    local ok bad skip
    ok=$(count '^(\[       OK \]|ok )' "$file")
    bad=$(count '^(\[  FAILED  \] .*[^:]$|not ok )' "$file")
    skip=$(count '^(SKIP|\[  SKIPPED \] .*[^:]$)' "$file")
    if [ $rc -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
    if [ $rc -eq 0 ] && [ "$ok" -eq 0 ] && [ "$skip" -eq 0 ]; then
        echo "not ok $name: ran no case" >>"$file"
        rc=1 bad=1
    fi
    n_passed=$((n_passed + ok)) n_failed=$((n_failed + bad)) n_skipped=$((n_skipped + skip))
    if [ $rc -ne 0 ]; then
        echo "FAILED  $name ($ok passed, $bad failed, $((SECONDS - start)) s), end of $file:"
        grep -vE '^\[ (RUN|      OK) ' "$file" | tail -n 30 | sed 's/^/    /'
    else
        echo "passed  $name ($ok, $((SECONDS - start)) s)"
    fi
    grep -E '^SKIP' "$file" | sed 's/^/    /'
    return 0
}

run layers tools/check-layers.sh
run source tools/check-source.sh
run messages tools/check-messages.sh
run spills tools/check-spills.sh "$build"
for program in $(find "$build"/tests/unit "$build"/tests/kernel "$build"/tests/golden -type f -name 'test_*' \
        -perm -u+x 2>/dev/null | sort); do
    run "${program#"$build"/tests/}" "$program"
done
for target in $(find "$build"/replay -type f -name 'fuzz_*' -perm -u+x 2>/dev/null | sort); do
    run "replay/${target##*/}" "$target" "tests/fuzz/corpus/${target##*/fuzz_}"
done
for script in tests/e2e/test_*.sh; do
    [ -e "$script" ] && run "e2e/${script##*/}" bash "$script" "$build"
done

echo
echo "$n_passed passed, $n_failed failed, $n_skipped skipped"
[ $n_failed -eq 0 ] && [ $n_passed -gt 0 ]
