#!/usr/bin/env bash
# `qvl serve` with many clients at a time: mixed requests and errors, clients that leave, clients killed, slow and idle
# connections beside a stream. Answers must be what they are alone, nothing may be left in use, and memory must not grow.
# bench/load.py measures the same for longer.
. "$(dirname "$0")/common.sh"
if [ ! -e demo/model/model.safetensors ]; then
    echo "SKIP: demo/model/model.safetensors is not there: the server is not put under load"
    finish
fi
n_client=16 n_round=4
# What is freed stays with AddressSanitizer for a while; and all is ten times slower.
case $build in *address* | *thread*) n_round=1 ;; esac
export ASAN_OPTIONS=quarantine_size_mb=1 QVL_API_KEY=key-of-the-tests
. tests/e2e/serve.sh
start --log-file "$work/log"
if ! curl -sf -o "$work/ready" "$base/ready"; then
    bad "the server starts" "$(tail -n 3 "$work/said" "$work/log")"
    finish
fi
ok "the server starts"

call() { # options of curl…: with the key
    curl -sS -H "Authorization: Bearer $QVL_API_KEY" "$@"
}
metric() { # name: the sum of its samples
    call "$base/metrics" | awk -v name="$1" '$1 ~ "^" name "([{]|$)" { n += $NF } END { printf "%.0f\n", n }'
}
busy() { # requests begun or waiting, and bytes of keys and values that are theirs
    echo $(($(metric qvl_requests_running) + $(metric qvl_requests_waiting))) \
        $(($(metric qvl_kv_bytes) - $(metric qvl_prefix_cache_bytes)))
}
nothing_left() { # a second is promised; a test machine under load gets more
    for _ in $(seq 300); do # less than the minute of work that endless.json is
        left=$(busy)
        [ "$left" = "0 0" ] && return
        sleep 0.05
    done
    false
}
rss_kb() { awk '/^Rss(Anon|Shmem):/ { n += $2 } END { print n }' /proc/$pid/status; }
texts() { # of a reply or a stream on stdin: what was said, in JSON's own spelling
    grep -aoE '"content": ?"([^"\\]|\\.)*"' | sed -E 's/^"content": ?"//; s/"$//' | tr -d '\n'
    echo
}

# ---- requests --------------------------------------------------------------------------------------
picture="data:image/png;base64,$(base64 -w 0 demo/shapes.png)"
clip="data:video/mp4;base64,$(base64 -w 0 demo/clip-2.mp4)"
look="[{\"type\":\"image_url\",\"image_url\":{\"url\":\"$picture\"}},{\"type\":\"text\",\"text\":\"What do you see?\"}]"
watch="[{\"type\":\"video_url\",\"video_url\":{\"url\":\"$clip\"}},{\"type\":\"text\",\"text\":\"What happens?\"}]"
schema='{"type":"json_schema","json_schema":{"name":"x","schema":{"type":"object","required":["a"],
    "additionalProperties":false,"properties":{"a":{"type":"string","maxLength":12}}}}}'
request() { # name, content as JSON, other fields
    printf '{"messages":[{"role":"user","content":%s}],"max_tokens":24,%s}' "$2" "$3" >"$work/$1.json"
}
request text '"hello"' '"temperature":0'
request stream '"tell me more"' '"temperature":0,"stream":true'
request hot '"hello"' '"temperature":1.2,"seed":5,"stream":true,"ignore_eos":true'
request picture "$look" '"temperature":0,"stream":true'
request clip "$watch" '"temperature":0'
request schema '"the fields as JSON"' "\"temperature\":1,\"seed\":2,\"response_format\":$schema"
request error '"hello"' '"temperature":"hot"'
good=(text stream hot picture clip schema)
# A minute of work: what is free again soon was cancelled, and did not come to its end.
printf '{"messages":[{"role":"user","content":%s}],"n":8,"max_tokens":6000,"temperature":2,"seed":3,"ignore_eos":true,"stream":true}' \
    "$look" >"$work/endless.json"

post() { # name of the request, options of curl…
    local name=$1
    shift
    call -H 'Content-Type: application/json' --data-binary "@$work/$name.json" "$@" "$base/v1/chat/completions"
}

for name in "${good[@]}"; do
    post "$name" | texts >"$work/$name.alone"
    post "$name" | texts >"$work/$name.again"
    same "$name: the same from a warm cache" "$work/$name.alone" "$work/$name.again"
done

# ---- in company ------------------------------------------------------------------------------------
client() { # number: what went wrong, one line each
    local i name code
    for ((i = 0; i < n_round; i++)); do
        name=${good[($1 + i) % ${#good[@]}]}
        post "$name" | texts | cmp -s - "$work/$name.alone" || echo "client $1: another answer to $name"
        code=$(post error -o /dev/null -w '%{http_code}')
        [ "$code" = 400 ] || echo "client $1: status $code instead of 400"
        code=$(call -o /dev/null -w '%{http_code}' "$base/v1/nothing")
        [ "$code" = 404 ] || echo "client $1: status $code instead of 404"
        post endless -o /dev/null --max-time "0.$((RANDOM % 3))$((1 + RANDOM % 9))" 2>/dev/null # and is gone
    done
}
load() {
    local i pids=()
    for ((i = 0; i < n_client; i++)); do
        client $i >"$work/client.$i" 2>&1 &
        pids+=($!)
    done
    wait "${pids[@]}"
    cat "$work"/client.* >"$work/faults"
}
for half in first second; do
    load
    if [ -s "$work/faults" ]; then bad "$n_client clients, $half time" "$(head -n 4 "$work/faults")"
    else ok "$n_client clients, $half time: every answer as it was alone, errors as they should be"; fi
    check "$half time: nothing is left" nothing_left
    [ "${left:-}" = "0 0" ] || echo "    $left"
    eval "rss_$half=$(rss_kb)"
done
# How many answers there are at a time, and so how much memory, is the machine's affair; what is lost is lost each time.
rss=("$rss_first" "$rss_second")
while [ $((rss[-1] - rss[-2])) -gt 16384 ] && [ ${#rss[@]} -lt 6 ]; do
    load
    nothing_left
    rss+=("$(rss_kb)")
done
if [ $((rss[-1] - rss[-2])) -le 16384 ]; then ok "memory does not grow"
else bad "memory does not grow" "${rss[*]} kB"; fi

# ---- kill -9 ---------------------------------------------------------------------------------------
n_left=0
for moment in 0.00 0.02 0.05 0.1 0.2 0.3; do
    pids=()
    for _ in 1 2 3; do
        curl -sN -o /dev/null -H "Authorization: Bearer $QVL_API_KEY" -H 'Content-Type: application/json' \
            --data-binary "@$work/endless.json" "$base/v1/chat/completions" & # no function: it is curl that is killed
        pids+=($!)
    done
    sleep $moment
    kill -9 "${pids[@]}"
    wait "${pids[@]}" 2>/dev/null
    nothing_left || n_left=$((n_left + 1))
done
[ $n_left -eq 0 ] && ok "kill -9 of clients: nothing is left" || bad "kill -9 of clients: nothing is left" "$left"

# ---- slow and idle connections -----------------------------------------------------------------------
for _ in 1 2 3 4 5; do # the server cuts them when their time is up: until all is done before, which no machine misses each time
    fds=()
    for i in $(seq 100); do
        exec {fd}<>"/dev/tcp/127.0.0.1/$port" || break
        fds+=("$fd")
        case $((i % 3)) in
        1) printf 'POST /v1/chat/comp' >&"$fd" ;; # half a header
        2) printf 'POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"m' \
            "$QVL_API_KEY" >&"$fd" ;; # half a body
        esac
    done
    [ ${#fds[@]} -eq 100 ] || break
    post hot | texts >"$work/beside"
    cmp -s "$work/hot.alone" "$work/beside" || break
    health=$(curl -s -o /dev/null -m 60 -w '%{http_code}' "$base/health")
    read -r -t 0 -u "${fds[0]}" || break # the first one is still there
    health="$health, but only when they were cut"
    for fd in "${fds[@]}"; do exec {fd}>&-; done
done
[ ${#fds[@]} -eq 100 ] && ok "100 connections that say nothing, half a header, half a body" || bad "100 connections" "${#fds[@]}"
same "a stream beside them" "$work/hot.alone" "$work/beside"
[ "${health:-}" = 200 ] && ok "/health beside them" || bad "/health beside them" "${health:-}"
# A client that reads nothing of its stream holds nobody up.
exec {deaf}<>"/dev/tcp/127.0.0.1/$port"
printf 'POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %s\r\n\r\n' \
    "$QVL_API_KEY" "$(wc -c <"$work/endless.json")" >&"$deaf"
cat "$work/endless.json" >&"$deaf"
post hot | texts >"$work/beside"
same "a stream beside one that is not read" "$work/hot.alone" "$work/beside"
for fd in "${fds[@]}" "$deaf"; do exec {fd}>&-; done
check "and nothing is left of them" nothing_left

# ---- the end -----------------------------------------------------------------------------------------
post endless -N -o "$work/last" &
client_pid=$!
until_true 60 test -s "$work/last"
kill -TERM $pid
for _ in $(seq 1000); do
    code=$(curl -s -o /dev/null -w '%{http_code}' "$base/health")
    [ "$code" = 503 ] && break
    sleep 0.05
done
[ "$code" = 503 ] && ok "while it drains /health says 503" || bad "while it drains /health says 503" "$code"
kill -TERM $pid
wait $pid
rc=$?
[ $rc -eq 0 ] && ok "told twice, it ends at once" || bad "told twice, it ends at once" "exit code $rc"
wait $client_pid
has "a stream that was cut says so" '"error"' "$work/last"
if grep -aq "$QVL_API_KEY\|Sanitizer\|runtime error" "$work/log" "$work/said"; then
    bad "no key and no sanitizer's report in the log" "$(grep -a 'Sanitizer\|runtime error' "$work/log" "$work/said" | head -n 3)"
else ok "no key and no sanitizer's report in the log"; fi
finish
