# Shared by the end-to-end tests: sourced with the build folder as $1. Each check prints "ok name" or "not ok name".
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=${1:-build}
qvl=$build/qvl
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
n_bad=0
unset "${!QVL_@}" # nothing from the caller's environment
export LC_ALL=C
# No model of whoever runs the tests, no network, and nobody is asked whether to fetch one.
no_hub=(HF_HUB_CACHE="$work/no-hub" MODELSCOPE_CACHE="$work/no-hub" XDG_DATA_HOME="$work/no-hub" HF_HUB_OFFLINE=1)
export "${no_hub[@]}" XDG_STATE_HOME="$work/state"
mkdir -p "$work/state/qvl" && : >"$work/state/qvl/no-pull"

golden() { # letter: path of a golden model, made once for all tests of this build
    local dir=$build/e2e-models/$1
    if [ ! -e "$dir/config.json" ]; then
        mkdir -p "$build/e2e-models"
        "$build/make_golden" "$dir.$$" "$1" && mv -T "$dir.$$" "$dir" 2>/dev/null
        rm -rf "$dir.$$" # another test was quicker
    fi
    echo "$dir"
}

without_model() { # path of a copy of the programs that has no demo model near it
    mkdir -p "$work/far/from/any"
    cp "$qvl" "$build/qvl-media" "$build/qvl-media-av.so" "$work/far/from/any/"
    echo "$work/far/from/any/qvl"
}

demo_answers() { # options of run: the answers to the demo's questions
    local program files question truth
    program=$(realpath "$qvl")
    while IFS=$'\t' read -r files question truth; do
        # shellcheck disable=SC2086 # files are separated by blanks
        (cd demo && "$program" run -q --temp 0 "$@" $files --prompt "$question" </dev/null)
    done <demo/questions.txt
}

ok() { echo "ok $1"; }
bad() {
    echo "not ok $1${2:+: $2}"
    n_bad=$((n_bad + 1))
}
check() { # name, command…: passes when the command does
    local name=$1
    shift
    if "$@" >/dev/null 2>&1; then ok "$name"; else bad "$name"; fi
}
same() { # name, file, file: equal, and not empty
    if [ ! -s "$2" ]; then bad "$1" "$2 is empty"
    elif cmp -s "$2" "$3"; then ok "$1"
    else bad "$1" "$(diff "$2" "$3" | head -n 4)"; fi
}
has() { # name, pattern, file
    if grep -aqE -e "$2" "$3"; then ok "$1"; else bad "$1" "$(tail -c 600 "$3")"; fi
}

# refuse NAME CODE PATTERN command…: the exit code; nothing on stdout; one sentence on stderr that matches the
# pattern; no report of a sanitizer.
refuse() {
    local name=$1 code=$2 pattern=$3 rc
    shift 3
    "$@" >"$work/out" 2>"$work/err" </dev/null
    rc=$?
    grep -v 'made for tests and demonstrations' "$work/err" >"$work/said"
    if [ $rc -ne "$code" ]; then
        bad "$name" "exit code $rc, not $code: $(head -c 300 "$work/said")"
    elif [ -s "$work/out" ]; then
        bad "$name" "wrote to stdout: $(head -c 100 "$work/out")"
    elif ! grep -qE -e "$pattern" "$work/said"; then
        bad "$name" "says: $(head -c 300 "$work/said")"
    elif [ "$(grep -c . "$work/said")" -ne 1 ] || grep -q 'Sanitizer\|runtime error' "$work/said"; then
        bad "$name" "more than one sentence: $(head -c 300 "$work/said")"
    else
        ok "$name"
    fi
}

# until_true SECONDS command…: waits until it holds, and no longer; false when it did not in all that time.
until_true() {
    local until=$((SECONDS + $1))
    shift
    while ! "$@" 2>/dev/null; do
        [ $SECONDS -lt $until ] || return 1
        sleep 0.02
    done
}
gone() { ! kill -0 "$1" 2>/dev/null; } # pid of a child
# listens PID SIGNAL: it waits for that signal, which before would be lost or end it anyhow; or it is gone.
listens() {
    local mask
    mask=$(sed -n 's/^SigBlk:[[:space:]]*//p' "/proc/$1/status" 2>/dev/null)
    gone "$1" || [ $((0x${mask:-0} >> ($(kill -l "$2") - 1) & 1)) -eq 1 ]
}

limited() { (ulimit -f "$1" && shift && exec "$@"); } # blocks of 1024 bytes, command…: no file grows beyond

# interrupt_at_work RESULT BEGINNING command…: Ctrl-C once BEGINNING, a pattern of names, is there, ends it with 130. It is
# tried until it is caught at work, since this script may have to wait for its turn; RESULT, a pattern too, is what it made
# where it was done before.
interrupt_at_work() {
    local result=$1 beginning=$2 pid rc
    shift 2
    begun() { compgen -G "$beginning" >/dev/null || gone $pid; }
    for _ in $(seq 20); do
        "$@" >"$work/out" 2>"$work/err" </dev/null &
        pid=$!
        until_true 60 begun
        kill -INT $pid 2>/dev/null
        wait $pid
        rc=$?
        [ $rc -eq 0 ] || break
        rm -r $result # a pattern
    done
    [ $rc -eq 130 ] && ok "Ctrl-C" || bad "Ctrl-C" "exit code $rc: $(tail -n 2 "$work/err")"
}

finish() { exit $((n_bad > 0)); }
