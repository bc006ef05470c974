# Shared by the tests of `qvl serve`: sourced after common.sh.
trap 'kill -9 $(jobs -p) 2>/dev/null; rm -rf "$work"' EXIT
as_json=(-H 'Content-Type: application/json')

# start OPTION…: a server of $model on a free port, ready; sets pid, port, base. Its stderr is $work/said.
model=demo/model
start() {
    rm -f "$work/said" # else the loop below may read what the server before this one has said
    "$qvl" serve -m "$model" --port 0 "$@" </dev/null >"$work/out" 2>"$work/said" &
    pid=$!
    for _ in $(seq 2400); do # two minutes
        port=$(grep -s '^qvl: listening on ' "$work/said" | grep -oE '[0-9]+$')
        [ -n "$port" ] && grep -q '^qvl: ready after ' "$work/said" && break
        kill -0 $pid 2>/dev/null || break
        sleep 0.05
    done
    base=http://127.0.0.1:$port
}
# stop NAME SIGNAL CODE: signalled, gone with this code, with no report of a sanitizer.
stop() {
    local rc
    kill -"$2" $pid
    wait $pid
    rc=$?
    if [ $rc -ne "$3" ]; then bad "$1" "exit code $rc: $(tail -n 3 "$work/said")"
    elif grep -q 'Sanitizer\|runtime error' "$work/said"; then bad "$1" "$(tail -n 8 "$work/said")"
    else ok "$1"; fi
}
# status NAME CODE options of curl…: the reply's status; its body is $work/body, its head $work/head.
status() {
    local name=$1 want=$2 got
    shift 2
    got=$(curl -sS -o "$work/body" -D "$work/head" -w '%{http_code}' "$@" 2>"$work/curl")
    if [ "$got" = "$want" ]; then ok "$name"; else bad "$name" "$got: $(head -c 300 "$work/body" "$work/curl")"; fi
}
json() { # name, pattern: of the body without blanks
    tr -d ' \n' <"$work/body" >"$work/flat"
    has "$1" "$2" "$work/flat"
}
