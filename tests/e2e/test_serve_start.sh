#!/usr/bin/env bash
# `qvl serve` from its start to its end: options that it refuses, the first line, health, keys, metrics, the log, signals.
. "$(dirname "$0")/common.sh"
. tests/e2e/serve.sh
if [ ! -e demo/model/model.safetensors ]; then
    echo "SKIP: demo/model/model.safetensors is not there: the server is not started"
    finish
fi
key=a-key-that-must-not-be-seen-0123456789

# ---- what is refused before anything listens ------------------------------------------------------
serve=("$qvl" serve -m demo/model --port 0)
refuse "a public address without a key" 2 '0\.0\.0\.0.*--api-key-file.*--public' "${serve[@]}" --host 0.0.0.0
refuse "and the one of IPv6" 2 '^qvl: :: can be reached' "${serve[@]}" --host ::
refuse "an address that is none" 2 'nowhere' "${serve[@]}" --host nowhere.invalid --public
refuse "a certificate without its key" 2 'ssl-cert-file and --ssl-key-file' "${serve[@]}" --ssl-cert-file x.pem
refuse "a certificate that is not there" 1 'no-such.pem' "${serve[@]}" --ssl-cert-file no-such.pem --ssl-key-file x.pem
refuse "a media folder that is not there" 1 '/no/such/folder' "${serve[@]}" --media-path /no/such/folder
refuse "an origin with a path" 2 'cors-origins.*https://example.org/' "${serve[@]}" --cors-origins https://example.org/
refuse "any origin" 2 'cors-origins \*' "${serve[@]}" --cors-origins '*'
refuse "http without fetching" 2 'allow-url-fetch' "${serve[@]}" --allow-http-fetch
refuse "a log that cannot be written" 1 '/no/such/x.log' "${serve[@]}" --log-file /no/such/x.log
refuse "a key file that is not there" 1 'no-such-keys' "${serve[@]}" --api-key-file no-such-keys
printf '\n\n' >"$work/none"
refuse "a key file without a key" 2 'no key in it' "${serve[@]}" --api-key-file "$work/none"
printf 'good-key\nbad key\n' >"$work/blank"
refuse "a key with a blank" 2 'API key 2' "${serve[@]}" --api-key-file "$work/blank"
grep -q 'bad key\|good-key' "$work/said" && bad "and does not say it" || ok "and does not say it"
refuse "a port beyond all" 2 '65535' "$qvl" serve -m demo/model --port 65536
refuse "no model" 3 'no/such' "$qvl" serve -m no/such --port 0
refuse "two models" 2 'one model folder' "$qvl" serve demo/model demo/model

# ---- start, small routes --------------------------------------------------------------------------
start --log-file "$work/log" --strict
[ -n "$port" ] && ok "it listens on a free port" || { bad "it listens on a free port" "$(cat "$work/said")"; finish; }
has "a line to try" "curl http://127.0.0.1:$port/v1/chat/completions " "$work/said"
sh -c "$(grep -m1 -oE 'curl http.*' "$work/said") -sS" >"$work/body" 2>"$work/curl"
json "which works as it stands" '"object":"chat.completion"'
status "health" 200 "$base/health"
json "is ok" '^\{"status":"ok"\}$'
status "ready" 200 "$base/ready"
status "the model" 200 "$base/v1/models"
json "in OpenAI's shape" '^\{"object":"list","data":\[\{"id":"qvl-demo","object":"model","created":[0-9]+,"owned_by":"qvl"'
status "without /v1" 200 "$base/models"
status "by its name" 200 "$base/v1/models/qvl-demo"
status "percent-encoded" 200 "$base/v1/models/%71vl%2Ddemo"
status "another one" 404 "$base/v1/models/gpt-4"
json "is not found" '"type":"invalid_request_error","param":"model","code":"model_not_found"'
status "of a name that begins alike" 404 "$base/v1/models/qvl-demo2"
status "and of half a name" 404 "$base/v1/models/qvl"
status "the version" 200 "$base/version"
status "properties" 200 "$base/props"
json "with the context" '"n_ctx":8192,"total_slots":16,"modalities":\{"vision":true'
status "a page for browsers" 200 "$base/"
status "a route that is none" 404 "$base/v1/files"
json "in OpenAI's shape, too" '"error":\{"message":"[^"]+","type":"invalid_request_error","param":null,"code":"not_found"\}'
status "a route in Ollama's" 404 "$base/api/nothing"
json "has its shape" '^\{"error":"[^"]+"\}$'
status "the wrong method" 405 -X DELETE "$base/v1/models"

# ---- tokens ---------------------------------------------------------------------------------------
"$qvl" tokenize -m demo/model "hello world" | tr ' ' , >"$work/want"
status "text to tokens" 200 "${as_json[@]}" -d '{"content": "hello world"}' "$base/tokenize"
json "as qvl tokenize has them" "^\{\"tokens\":\[$(cat "$work/want")\],\"count\":[0-9]+,\"max_model_len\":8192\}$"
status "under /v1" 200 "${as_json[@]}" -d '{"prompt": "hello world"}' "$base/v1/tokenize"
json "the same" "\[$(cat "$work/want")\]"
status "and back" 200 "${as_json[@]}" -d "{\"tokens\": [$(cat "$work/want")]}" "$base/detokenize"
has "to the text" '"content": "hello world"' "$work/body"
has "under both names" '"prompt": "hello world"' "$work/body"
status "special tokens" 200 "${as_json[@]}" -d '{"content": "<|im_end|>"}' "$base/tokenize"
json "are one" '"count":1,'
status "or text" 200 "${as_json[@]}" -d '{"content": "<|im_end|>", "parse_special": false}' "$base/tokenize"
json "of some tokens" '"count":([2-9]|1[0-9]),'
status "no text" 400 "${as_json[@]}" -d '{}' "$base/tokenize"
status "text that is a number" 400 "${as_json[@]}" -d '{"prompt": 1}' "$base/tokenize"
json "with the field's name" '"param":"prompt"'
{ printf '{"prompt": "'; head -c 4194305 /dev/zero | tr '\0' a; printf '"}'; } >"$work/long"
status "text that would hold others up" 400 "${as_json[@]}" --data-binary "@$work/long" "$base/tokenize"
status "a conversation" 400 "${as_json[@]}" -d '{"messages": [{}]}' "$base/tokenize"
status "an unknown field" 400 "${as_json[@]}" -d '{"prompt": "x", "colour": 1}' "$base/tokenize"
json "is named, with --strict" 'colour'
status "an id that is none" 400 "${as_json[@]}" -d '{"tokens": [1, 4000000]}' "$base/detokenize"
status "nor a number" 400 "${as_json[@]}" -d '{"tokens": [1, "x"]}' "$base/detokenize"
json "with its place" 'tokens\[1\]'
status "no JSON" 400 "${as_json[@]}" -d '{"prompt": ' "$base/tokenize"
status "no JSON's type" 415 -H 'Content-Type: text/plain' -d '{"prompt": "x"}' "$base/tokenize"

# ---- metrics --------------------------------------------------------------------------------------
status "metrics" 200 "$base/metrics"
has "as Prometheus wants them" '^Content-Type: text/plain; version=0.0.4' "$work/head"
for name in num_requests_running num_requests_waiting kv_cache_usage_perc prefix_cache_queries_total \
    prompt_tokens_total generation_tokens_total time_to_first_token_seconds_bucket e2e_request_latency_seconds_sum; do
    has "with vllm:$name" "^vllm:$name\{" "$work/body"
done
has "counts answers" '^vllm:request_success_total\{finished_reason="(stop|length)",.*\} 1$' "$work/body"
has "and replies" '^qvl_http_requests_total\{route="/v1/models",status="200"\} 1$' "$work/body"
has "unknown paths as one" '^qvl_http_requests_total\{route="unknown",status="404"\} 2$' "$work/body"

# ---- the log --------------------------------------------------------------------------------------
mv "$work/log" "$work/log.1"
kill -HUP $pid
until_true 60 test -s "$work/log"
status "after a moved log" 200 -A "$(printf 'x\033[31m')" "$base/version?q=secret-query"
until_true 60 grep -q '/version' "$work/log"
has "lines go to a new one" '"event": "request".*"path": "/version", "status": 200' "$work/log"
[ "$(grep -vcE '^\{"time": "[0-9T:.-]+Z", "event": "[a-z_]+".*\}$' "$work/log" "$work/log.1" | grep -vc ':0$')" -eq 0 ] &&
    ok "each line is an object" || bad "each line is an object" "$(cat "$work/log")"
grep -qE 'secret-query|hello world|Hello!' "$work/log" "$work/log.1" && bad "no prompts or queries in it" || ok "no prompts or queries in it"
has "health is not in it, tokens are" '"route": "/tokenize"' "$work/log.1"
grep -q '"/health"' "$work/log.1" && bad "of probes nothing" || ok "of probes nothing"

# ---- a port that is taken -------------------------------------------------------------------------
refuse "a port that is taken" 1 "127\.0\.0\.1.*$port" "$qvl" serve -m demo/model --port "$port"
stop "SIGTERM ends it" TERM 0
grep -q 'drained' "$work/log" && ok "and it says so in the log" || bad "and it says so in the log" "$(tail -n 3 "$work/log")"

# ---- keys -----------------------------------------------------------------------------------------
printf '%s\r\n\nother-key\ncomma,key' $key >"$work/keys"
start --api-key-file "$work/keys" --log-file "$work/log.2"
status "without a key" 401 "$base/v1/models"
status "with a wrong one" 401 -H "Authorization: Bearer ${key}x" "$base/v1/models"
status "with one of the file" 200 -H "Authorization: Bearer $key" "$base/v1/models"
status "with the other, as x-api-key" 200 -H 'x-api-key: other-key' "$base/v1/models"
status "with one that has a comma" 200 -H 'x-api-key: comma,key' "$base/v1/models"
status "but not with half of it" 401 -H 'x-api-key: comma' "$base/v1/models"
status "metrics need one" 401 "$base/metrics"
status "health does not" 200 "$base/health"
has "the line to try has a place for it" 'Authorization: Bearer \$QVL_API_KEY' "$work/said"
if [ "$(id -u)" -ne 0 ]; then
    cat "/proc/$pid/environ" >"$work/environ" 2>/dev/null && bad "nobody may look into it" || ok "nobody may look into it"
fi
has "no core of it is written" '^Max core file size +0 +0' "/proc/$pid/limits"
stop "and ends" INT 0
start --api-key $key --log-file "$work/log.3"
has "a key on the command line is warned of" 'can be seen' "$work/said"
tr '\0' ' ' <"/proc/$pid/cmdline" >"$work/cmdline"
grep -q "$key" "$work/cmdline" && bad "and taken away" "$(cat "$work/cmdline")" || ok "and taken away"
status "and works" 200 -H "Authorization: Bearer $key" "$base/v1/models"
stop "and ends" TERM 0
QVL_API_KEY=first,$key start --log-file "$work/log.4"
status "two keys of the environment" 200 -H "Authorization: Bearer first" "$base/v1/models"
status "and the second" 200 -H "Authorization: Bearer $key" "$base/v1/models"
grep -q 'can be seen' "$work/said" && bad "needs no warning" || ok "needs no warning"
stop "and ends" TERM 0
grep -q "$key" "$work"/log* "$work/said" "$work/out" && bad "no key in a log" || ok "no key in a log"

# ---- HTTPS ----------------------------------------------------------------------------------------
if command -v openssl >/dev/null; then
    openssl req -x509 -newkey rsa:2048 -nodes -keyout "$work/key.pem" -out "$work/cert.pem" -days 2 -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost,IP:127.0.0.1 2>/dev/null
    start --ssl-cert-file "$work/cert.pem" --ssl-key-file "$work/key.pem" --log-file "$work/log.7"
    has "over TLS it says so" "listening on https://127\.0\.0\.1:$port" "$work/said"
    status "and answers" 200 --cacert "$work/cert.pem" "https://127.0.0.1:$port/v1/models"
    curl -s -m 5 "http://127.0.0.1:$port/health" >"$work/body"
    [ -s "$work/body" ] && bad "nothing without it" || ok "nothing without it"
    stop "and ends" TERM 0
    refuse "a key that is none" 1 'cert\.pem|key\.pem|certificate' "${serve[@]}" --ssl-cert-file "$work/cert.pem" \
        --ssl-key-file "$work/cert.pem"
else
    echo "SKIP: there is no openssl to make a certificate"
fi

# ---- ending with work under way -------------------------------------------------------------------
# stream N: an answer of N tokens into $work/stream; sets client. Returns when it has begun.
stream() {
    curl -sSN "${as_json[@]}" -d '{"messages": [{"role": "user", "content": "go on"}], "max_tokens": '"$1"',
        "temperature": 2, "seed": 1, "ignore_eos": true, "stream": true}' "$base/v1/chat/completions" >"$work/stream" 2>"$work/curl" &
    client=$!
    until_true 60 is_streaming || bad "an answer begins" "$(head -c 300 "$work/stream" "$work/curl")"
}
is_streaming() { [ "$(grep -c '^data: ' "$work/stream")" -gt 3 ]; }
draining() { grep -q draining "$1" || gone "$pid"; }
for n_token in 900 2000 4000 7000; do # until it is still being given when the server has been asked
    start --log-file "$work/log.5" --drain 1000 --served-model-name 'Qwen/Qwen3-VL "x"'
    [ $n_token -ne 900 ] || status "a name with a slash" 200 "$base/v1/models/Qwen/Qwen3-VL%20%22x%22"
    stream $n_token
    kill -TERM $pid
    until_true 60 draining "$work/log.5"
    health=$(curl -sS -o "$work/health" -w '%{http_code}' "$base/health" 2>&1)
    refusal=$(curl -sS -o "$work/refusal" -D "$work/head" -w '%{http_code}' "${as_json[@]}" \
        -d '{"messages": [{"role": "user", "content": "x"}]}' "$base/v1/chat/completions" 2>&1)
    gone $client || break
    wait $client
    wait $pid
    rm "$work/log.5"
done
tr -d ' \n' <"$work/health" >"$work/body"
[ "$health" = 503 ] && ok "while it drains, health says so" || bad "while it drains, health says so" "$health"
json "by its name" '^\{"status":"draining"\}$'
cp "$work/refusal" "$work/body"
[ "$refusal" = 503 ] && ok "and new questions are refused" || bad "and new questions are refused" "$refusal"
json "with the reason" '"type":"server_error","param":null,"code":"draining"'
has "and when to come back" '^Retry-After: [0-9]+' "$work/head"
wait $client
[ $? -eq 0 ] && ok "what is under way is finished" || bad "what is under way is finished" "$(cat "$work/curl")"
tail -n 3 "$work/stream" >"$work/end"
has "to its last event" '^data: \[DONE\]' "$work/end"
wait $pid
[ $? -eq 0 ] && ok "then it ends" || bad "then it ends" "$(tail -n 3 "$work/said")"

start --drain 1000 --strict-model
status "with --strict-model another model's name" 404 "${as_json[@]}" -d '{"model": "gpt-4", "prompt": "x"}' "$base/tokenize"
json "is refused" '"code":"model_not_found"'
status "its own" 200 "${as_json[@]}" -d '{"model": "qvl-demo", "prompt": "x"}' "$base/tokenize"
status "or none is not" 200 "${as_json[@]}" -d '{"prompt": "x"}' "$base/tokenize"
is_finished() { grep -q '"finish_reason": \?"\(stop\|length\)"' "$work/stream"; }
for i in 1 2 3 4 5; do # an answer of many seconds, which may end before this script has had its turn, but not each time
    [ $i -eq 1 ] || start --drain 1000
    stream 7000
    kill -TERM $pid
    until_true 60 draining "$work/said"
    kill -TERM $pid 2>/dev/null
    wait $pid
    rc=$?
    wait $client
    is_finished || break
done
[ $rc -eq 0 ] && ! grep -q 'Sanitizer\|runtime error' "$work/said" && ok "a second SIGTERM ends it" || bad "a second SIGTERM ends it" "$rc: $(tail -n 8 "$work/said")"
is_finished && bad "at once: the answer is not finished, nor passed off as that" || ok "at once: the answer is not finished, nor passed off as that"

start --drain 0.2
stream 7000
stop "after --drain it does not wait any longer" TERM 0
wait $client

for _ in 1 2 3 4 5; do # others on this machine may get the port in between
    start --log-file "$work/log.6" # killed: nothing is left behind that stops the next one
    disown $pid
    kill -9 $pid
    while kill -0 $pid 2>/dev/null; do sleep 0.05; done
    start --log-file "$work/log.6" --port "$port"
    gone $pid || break
done
status "after kill -9 the same port serves again" 200 "$base/health"
stop "and ends" TERM 0

# ---- in Chinese -----------------------------------------------------------------------------------
start_zh() { LC_ALL=zh_CN.UTF-8 "$qvl" serve -m demo/model --port 0 --host 0.0.0.0 </dev/null >/dev/null 2>"$work/said"; }
start_zh
has "in Chinese, too" '可以从其他机器访问.*--api-key-file' "$work/said"
finish
