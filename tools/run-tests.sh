#!/usr/bin/env bash
# Runs every test program and script of a build folder, one more at a time than there are processors, shows what fails, and
# closes with one line of counts.
# usage: tools/run-tests.sh BUILD [name pattern]
set -u
cd "$(dirname "$0")/.."
build=${1:-build}
pattern=${2:-.}
export QVL_BUILD=$build
export QVL_DATA=${QVL_DATA:-$PWD/../shared/data}
log=$build/test-logs
rm -rf "$log"
mkdir -p "$log"
n_job=$(($(nproc) + 1)) # scripts wait a good deal: for servers, hubs, terminals
seconds=1200 # for one test, sanitizers included: one that hangs is to fail

# A test counts its cases itself: cmocka's "[       OK ]" lines, or a script's "ok …" / "not ok …" lines.
count() {
    grep -cE "$1" "$2" || true
}

# Runs one test and says how it went, in one piece: others run beside it. Its counts go to FILE.counts.
run_one() {
    local name=$1 file=$2 start=$SECONDS rc=0
    shift 2
    timeout -k 10 "$seconds" "$@" >"$file" 2>&1 || rc=$?
    [ $rc -ne 124 ] || echo "not ok $name: not done after $seconds seconds" >>"$file"
    local ok bad skip
    ok=$(count '^(\[       OK \]|ok )' "$file")
    bad=$(count '^(\[  FAILED  \] .*[^:]$|not ok )' "$file")
    skip=$(count '^(SKIP|\[  SKIPPED \] .*[^:]$)' "$file")
    if [ $rc -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
    if [ $rc -eq 0 ] && [ "$ok" -eq 0 ] && [ "$skip" -eq 0 ]; then
        echo "not ok $name: ran no case" >>"$file"
        rc=1 bad=1
    fi
    local text
    if [ $rc -ne 0 ]; then
        text="FAILED  $name ($ok passed, $bad failed, $((SECONDS - start)) s), end of $file:"
        text+=$'\n'$(grep -vE '^\[ (RUN|      OK) ' "$file" | tail -n 30 | sed 's/^/    /')
    else
        text="passed  $name ($ok, $((SECONDS - start)) s)"
    fi
    text+=$(grep -E '^SKIP' "$file" | sed 's/^/    /; 1s/^/\n/')
    echo "$ok $bad $skip" >"$file.counts"
    printf '%s\n' "$text"
}

n_running=0 n_begun=0
run() {
    local name=$1
    shift
    echo "$name" | grep -qE "$pattern" || return 0
    if [ $n_running -ge "$n_job" ]; then
        wait -n
        n_running=$((n_running - 1))
    fi
    run_one "$name" "$log/$(echo "$name" | tr / _).log" "$@" &
    n_running=$((n_running + 1)) n_begun=$((n_begun + 1))
}

run layers tools/check-layers.sh
run source tools/check-source.sh
run messages tools/check-messages.sh
run spills tools/check-spills.sh "$build"
# The long ones first, so that none is left to run alone.
for script in tests/e2e/test_*.sh; do
    [ -e "$script" ] && run "e2e/${script##*/}" bash "$script" "$build"
done
for program in $(find "$build"/tests/unit "$build"/tests/kernel "$build"/tests/golden -type f -name 'test_*' \
        -perm -u+x 2>/dev/null | sort); do
    run "${program#"$build"/tests/}" "$program"
done
for target in $(find "$build"/replay -type f -name 'fuzz_*' -perm -u+x 2>/dev/null | sort); do
    run "replay/${target##*/}" "$target" "tests/fuzz/corpus/${target##*/fuzz_}"
done
wait

read -r n_ended n_passed n_failed n_skipped < <(cat /dev/null "$log"/*.counts |
    awk '{ n++; ok += $1; bad += $2; skip += $3 } END { print n + 0, ok + 0, bad + 0, skip + 0 }')
n_failed=$((n_failed + n_begun - n_ended)) # one that did not even leave its counts
echo
echo "$n_passed passed, $n_failed failed, $n_skipped skipped"
[ $n_failed -eq 0 ] && [ $n_passed -gt 0 ]
