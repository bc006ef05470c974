#!/usr/bin/env bash
# Chat Completions by curl against the real server with the demo model: pictures and clips, whole and streamed, forms of
# answers, tools, several answers, log probabilities, errors. What a client reads must be what `qvl run` says.
. "$(dirname "$0")/common.sh"
if [ ! -e demo/model/model.safetensors ]; then
    echo "SKIP: demo/model/model.safetensors is not there: the server's answers are not tested"
    finish
fi
. tests/e2e/serve.sh
serve() { # options: a server, its log in $work/log, its address in $url
    rm -f "$work/log"
    start --log-file "$work/log" "$@"
    url=$base/v1/chat/completions
    check "the server starts ${*}" curl -sf -o "$work/ready" "$base/ready"
}
stop_server() { stop "the server ends" TERM 0; }

# ---- requests and replies --------------------------------------------------------------------------
post() { # body, options of curl…: the reply on stdout
    local body=$1
    shift
    curl -sS -H 'Content-Type: application/json' --data-binary "$body" "$@" "$url"
}
say() { # text, other members: a body
    printf '{"messages": [{"role": "user", "content": "%s"}]%s}' "$1" "${2:+, $2}"
}
unescape() { sed -e 's/\\"/"/g; s/\\n/\n/g; s/\\\\/\\/g'; }
strings() { # member: its strings in a reply or a stream, one a line, as they are written
    grep -aoE "\"$1\":\"([^\"\\\\]|\\\\.)*\"" | sed -E "s/^\"$1\":\"//; s/\"\$//"
}
text() { # of a whole reply, or of a stream
    strings content | tr -d '\n' | unescape
    echo
}
first() { # member: its first value, a number or null or a word
    grep -aoE "\"$1\":[^,}\"]*" | head -n 1 | sed "s/.*://"
}
is() { # name, expected, found
    if [ "$2" = "$3" ]; then ok "$1"; else bad "$1" "$3 instead of $2"; fi
}
data() { echo "data:$1;base64,$(base64 -w 0 "$2")"; }

serve --media-path "$PWD/demo"

# ---- the demo's questions, as files of a form, as data and as paths ---------------------------------
n=0
while IFS=$'\t' read -r files question _; do
    form=() content=
    for f in $files; do
        kind=image mime=image/png
        case $f in *.mp4) kind=video mime=video/mp4 ;; esac
        form+=(-F "$kind=@demo/$f")
        case $((n % 2)) in
        0) content+="{\"type\":\"${kind}_url\",\"${kind}_url\":{\"url\":\"$(data $mime "demo/$f")\"}}," ;;
        1) content+="{\"type\":\"${kind}_url\",\"${kind}_url\":{\"url\":\"file://$PWD/demo/$f\"}}," ;;
        esac
    done
    "$qvl" run -m demo/model -q --temp 0 $(printf 'demo/%s ' $files) -p "$question" >"$work/a" 2>"$work/err" </dev/null
    curl -sS "$url" "${form[@]}" -F temperature=0 -F prompt="$question" </dev/null | text >"$work/b"
    same "$files: $question, a form" "$work/a" "$work/b"
    printf '{"messages":[{"role":"user","content":[%s{"type":"text","text":"%s"}]}],"temperature":0,"stream":true}' \
        "$content" "$question" >"$work/body"
    post @"$work/body" | text >"$work/b"
    same "$files: $question, a stream" "$work/a" "$work/b"
    n=$((n + 1))
done <demo/questions.txt
check "questions were asked" test $n -ge 10
curl -sS "$url" -F image=@demo/boxes.png -F prompt="Find the orange square. Give its box." -F temperature=0 >"$work/reply"
pixels=$(text <"$work/reply" | grep -oE '\[[0-9]+,[0-9]+,[0-9]+,[0-9]+\]' | tr -d '[]' |
    awk -F, '{ printf "%.0f,%.0f,%.0f,%.0f", $1 * .64, $2 * .64, $3 * .64, $4 * .64 }') # the picture has 640 x 640
has "its box in pixels of the picture, too" "\"boxes\":\\[\\{\"choice\":0,\"label\":\"orange square\",\"bbox_2d\":\\[$pixels\\]\\}\\]" \
    "$work/reply"
has "what was done to the picture" '"media":\[\{"kind":"image",.*"original":\[640,640\],"used":\[192,192\],"tokens":36' "$work/reply"
has "usage" '"prompt_tokens_details":\{"cached_tokens":[0-9]+,"image_tokens":36,"video_tokens":0' "$work/reply"
curl -sS "$url" -F video=@demo/clip-1.mp4 -F prompt="What happens, and when?" -F num_frames=4 -F max_tokens=1 >"$work/reply"
has "a clip's frames and times" '"kind":"video",.*"frames":4,"times":\[[0-9.]+,[0-9.]+\],"fps":[0-9.]+,"duration_s":[0-9.]+' "$work/reply"
curl -sS "$url" -F image=@demo/boxes.png -F max_pixels=65536 -F prompt=x -F max_tokens=1 >"$work/a"
post "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"file:boxes.png\"}},
    {\"type\":\"text\",\"text\":\"x\"}]}],\"max_tokens\":1,\"mm_processor_kwargs\":{\"max_pixels\":65536}}" >"$work/b"
is "max_pixels in a form and in mm_processor_kwargs" "$(grep -oE '"used":[^a-z]*' "$work/a")" "$(grep -oE '"used":[^a-z]*' "$work/b")"

# ---- streams ---------------------------------------------------------------------------------------
post "$(say 'Tell me more.' '"temperature": 0, "stream": true, "max_tokens": 20, "ignore_eos": true')" -D "$work/head" >"$work/stream"
has "a stream's type" '^content-type: text/event-stream; charset=utf-8' <(tr A-Z a-z <"$work/head")
has "the role comes first" '^data: .*"delta":\{"role":"assistant","content":""\},"logprobs":null,"finish_reason":null\}\]\}$' \
    <(head -n 1 "$work/stream")
is "events only, a blank line behind each" "$(grep -c '^data: ' "$work/stream")" "$(grep -c '^$' "$work/stream")"
is "no chunk without choices" 0 "$(grep -c '"choices":\[\]' "$work/stream")"
is "one id" 1 "$(strings id <"$work/stream" | sort -u | wc -l)"
has "the last delta is empty and has the reason" '"delta":\{\},"logprobs":null,"finish_reason":"length"' <(grep '^data: {' "$work/stream" | tail -n 1)
is "the end" 'data: [DONE]' "$(grep . "$work/stream" | tail -n 1)"
post "$(say 'Tell me more.' '"temperature": 0, "max_tokens": 20, "ignore_eos": true')" >"$work/reply"
is "the same text as in one piece" "$(text <"$work/reply")" "$(text <"$work/stream")"
post "$(say 'Tell me more.' '"temperature": 0, "stream": true, "stream_options": {"include_usage": true}')" >"$work/stream"
has "usage comes last" '"choices":\[\],"usage":\{"prompt_tokens":[0-9]+,"completion_tokens":[0-9]+' <(grep '^data: {' "$work/stream" | tail -n 1)
is "and is null before" "$(grep -c '^data: {' "$work/stream")" "$(($(grep -c '"usage":null' "$work/stream") + 1))"
curl -sSN "$url" -F image=@demo/text.png -F prompt=x -F stream=true -F 'stream_options={"include_progress": true}' >"$work/stream"
has "progress on request" '"choices":\[\],"progress":\{"stage":"prefill","done":[0-9]+,"total":[0-9]+' "$work/stream"

# ---- the form of an answer --------------------------------------------------------------------------
schema='{"type":"object","properties":{"a":{"enum":["red","blue"]},"b":{"type":"integer","minimum":3,"maximum":5}},"required":["a","b"],"additionalProperties":false}'
form='^\{"a": ?"(red|blue)", ?"b": ?[345]\}$'
i=0
for member in "\"response_format\": {\"type\": \"json_schema\", \"json_schema\": {\"name\": \"x\", \"strict\": true, \"schema\": $schema}}" \
    "\"response_format\": {\"type\": \"json_schema\", \"schema\": $schema}" "\"response_format\": {\"type\": \"json_object\", \"schema\": $schema}" \
    "\"guided_json\": $schema" "\"structured_outputs\": {\"json\": $schema}" "\"json_schema\": $schema"; do
    i=$((i + 1))
    post "$(say 'Say something.' "$member, \"temperature\": 1.5, \"seed\": $i")" | text >"$work/a"
    has "a schema, spelling $i" "$form" "$work/a"
done
curl -sS "$url" -F image=@demo/receipt.png -F prompt="Return the fields as JSON." -F temperature=0 -F stream=true \
    -F "response_format={\"type\":\"json_schema\",\"json_schema\":{\"name\":\"x\",\"schema\":$schema}}" | text >"$work/a"
has "a schema, with a picture, streamed" "$form" "$work/a"
for member in '"guided_regex": "[a-f]{3}-\\d{2}"' '"structured_outputs": {"regex": "[a-f]{3}-\\d{2}"}'; do
    post "$(say 'Say something.' "$member, \"temperature\": 1.5, \"seed\": 4")" | text >"$work/a"
    has "a regular expression: $member" '^[a-f]{3}-[0-9]{2}$' "$work/a"
done
post "$(say 'Say something.' '"guided_choice": ["yes", "no"], "temperature": 1.5, "seed": 4')" | text >"$work/a"
has "a choice" '^(yes|no)$' "$work/a"
post "$(say 'Say something.' '"response_format": {"type": "json_object"}, "temperature": 1.5, "seed": 4, "max_tokens": 9')" | text >"$work/a"
has "any object" '^\{' "$work/a"

# ---- how an answer ends, and what it is made of -------------------------------------------------------
receipt=(-F image=@demo/receipt.png -F prompt="Return the fields as JSON." -F temperature=0)
curl -sS "$url" "${receipt[@]}" -F stop=Y-0 >"$work/reply"
is "a stop string" '{"no":"' "$(text <"$work/reply")"
has "and which it was" '"finish_reason":"stop","stop_reason":"Y-0"' "$work/reply"
curl -sS "$url" "${receipt[@]}" -F 'stop=["xyz", "date"]' -F stream=true | text >"$work/a"
is "one of several, in a stream" '{"no":"Y-011","' "$(cat "$work/a")"
curl -sS "$url" "${receipt[@]}" -F max_tokens=5 >"$work/reply"
has "max_tokens" '"finish_reason":"length".*"completion_tokens":5,' "$work/reply"
post "$(say 'Tell me more.' '"temperature": 0, "ignore_eos": true, "max_tokens": 3000')" >"$work/reply"
has "an answer that goes round in circles" '"finish_reason":"length".*"cut":"loop"\}\}$' "$work/reply"
curl -sS "$url" "${receipt[@]}" -F max_tokens=5 -F logprobs=true -F top_logprobs=2 >"$work/reply"
is "log probabilities: a token each" "$(text <"$work/reply")" \
    "$(grep -oE '\{"token":"([^"\\]|\\.)*","logprob":-?[0-9.e-]+,"bytes":\[[0-9,]+\],"top_logprobs"' "$work/reply" | strings token | tr -d '\n' | unescape)"
is "and two candidates for each" 10 "$(grep -oE '"logprob":[^,]*,"bytes":\[[0-9,]*\]\}' "$work/reply" | wc -l)"
id=$(curl -sS -H 'Content-Type: application/json' -d '{"content": "1"}' "${url%/chat/completions}/tokenize" | grep -oE '[0-9]+' | head -n 1)
post "$(say x '"temperature": 0, "max_tokens": 9, "ignore_eos": true, "logit_bias": {"'$id'": 100}')" | text >"$work/a"
is "a token with a bias comes" 111111111 "$(cat "$work/a")"
post "$(say x '"temperature": 0, "max_tokens": 9, "ignore_eos": true, "logit_bias": {"'$id'": -100}')" | text >"$work/a"
is "or does not" 0 "$(grep -c 1 "$work/a")"
curl -sS "$url" "${receipt[@]}" | text >"$work/a"
printf '{"messages": [{"role": "user", "content": [{"type": "image", "image": "receipt.png"}, {"type": "text", "text":
    "Return the fields as JSON."}]}, {"role": "assistant", "content": "{\\"no\\":\\"Y"}], "continue_final_message": true, "temperature": 0}' >"$work/body"
post @"$work/body" | strings content | unescape >"$work/b"
is "an answer that is begun goes on" "$(cat "$work/a")" "{\"no\":\"Y$(cat "$work/b")"

# ---- several answers, seeds, company ------------------------------------------------------------------
hot='"temperature": 1.5, "top_k": 0, "top_p": 1, "max_tokens": 12, "ignore_eos": true'
for seed in 7 8 9; do post "$(say 'Go on.' "$hot, \"seed\": $seed")" | strings content; done >"$work/a"
post "$(say 'Go on.' "$hot, \"seed\": 7, \"n\": 3")" >"$work/reply"
strings content <"$work/reply" >"$work/b"
same "three answers are those of three seeds" "$work/a" "$work/b"
is "and all are counted" 36 "$(first completion_tokens <"$work/reply")"
post "$(say 'Go on.' "$hot, \"seed\": 7, \"n\": 3, \"stream\": true")" >"$work/stream"
for i in 0 1 2; do grep "\"index\":$i," "$work/stream" | strings content | tr -d '\n'; echo; done >"$work/b"
same "streamed, too" "$work/a" "$work/b"
post "$(say 'Go on.' "$hot")" >"$work/a"
seed=$(first seed <"$work/a")
post "$(say 'Go on.' "$hot, \"seed\": $seed")" >"$work/b"
is "a seed by chance is told, and repeats the answer" "$(strings content <"$work/a")" "$(strings content <"$work/b")"
long='"temperature": 1.2, "seed": 3, "max_tokens": 150, "ignore_eos": true'
post "$(say 'All of it.' "$long")" | strings content >"$work/alone"
pids=()
for i in 1 2 3 4 5 6 7 8; do
    [ $i -eq 4 ] && seed=3 || seed=$((10 + i))
    post "$(say 'All of it.' "${long/\"seed\": 3/\"seed\": $seed}")" >"$work/company.$i" &
    pids+=($!)
done
wait "${pids[@]}"
strings content <"$work/company.4" >"$work/b"
same "the same bytes beside seven others" "$work/alone" "$work/b"

# ---- tools ---------------------------------------------------------------------------------------------
tools='"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"n": {"enum": [1, 2]}},
    "required": ["n"], "additionalProperties": false}}}, {"type": "function", "function": {"name": "g", "parameters": {"type": "object",
    "properties": {}}}}]'
post "$(say 'Call it.' "$tools, \"tool_choice\": {\"type\": \"function\", \"function\": {\"name\": \"f\"}}")" >"$work/reply"
has "a call of a named tool" '"content":null,"tool_calls":\[\{"id":"call_[A-Za-z0-9]{24}","type":"function","function":\{"name":"f","arguments":"\{\\"n\\": ?[12]\}"\}\}\]' "$work/reply"
has "is why it ended" '"finish_reason":"tool_calls"' "$work/reply"
post "$(say 'Call it.' "$tools, \"tool_choice\": {\"type\": \"function\", \"function\": {\"name\": \"f\"}}, \"stream\": true")" >"$work/stream"
has "streamed: the call" '"delta":\{"tool_calls":\[\{"index":0,"id":"call_[^"]*","type":"function","function":\{"name":"f","arguments":""\}\}\]\}' "$work/stream"
has "streamed: its arguments" '^\{"n": ?[12]\}$' <(strings arguments <"$work/stream" | tr -d '\n' | unescape; echo)
post "$(say 'Call it.' "$tools, \"tool_choice\": \"required\", \"parallel_tool_calls\": false, \"temperature\": 1.5, \"seed\": 1, \"max_tokens\": 300")" >"$work/reply"
is "one call where one is wanted" 1 "$(strings name <"$work/reply" | grep -c '^[fg]$')"
post '{"messages": [{"role": "user", "content": "Call it."}, {"role": "assistant", "content": null, "tool_calls": [{"id": "c1",
    "type": "function", "function": {"name": "f", "arguments": "{\"n\": 1}"}}]}, {"role": "tool", "tool_call_id": "c1", "content": "3"}],
    '"$tools"', "max_tokens": 5}' >"$work/reply"
has "a result goes back" '"finish_reason":"(stop|length)"' "$work/reply"

for seed in 1 2 3; do # agents want both: calls, or an answer in JSON
    post "$(say 'Call it.' "$tools, \"response_format\": {\"type\": \"json_schema\", \"schema\": $schema}, \"temperature\": 1.5, \"seed\": $seed")" >"$work/reply"
    has "calls or JSON, seed $seed" '"content":"\{\\"a\\": ?\\"(red|blue)\\", ?\\"b\\": ?[345]\}"|"tool_calls":\[\{"id":"call_' "$work/reply"
done

# ---- counting --------------------------------------------------------------------------------------------
count=$(curl -sS "$url/input_tokens" -F image=@demo/boxes.png -F prompt=x)
curl -sS "$url" -F image=@demo/boxes.png -F prompt=x -F max_tokens=1 >"$work/reply"
is "what it would cost is what it costs" "$(first prompt_tokens <"$work/reply")" "$(first input_tokens <<<"$count")"

# ---- refused: status, code and field ----------------------------------------------------------------------
refused() { # name, status, pattern, body, options of curl…
    local name=$1 status=$2 pattern=$3 body=$4 found
    shift 4
    found=$(post "$body" -o "$work/reply" -w '%{http_code}' "$@")
    if [ "$found" != "$status" ]; then
        bad "refused: $name" "$found: $(head -c 300 "$work/reply")"
    else
        has "refused: $name" "^\{\"error\": \{\"message\": .*\"type\": .*\"param\": .*\"code\": .*\}\}\$" <(cat "$work/reply"; echo)
        has "and says: $pattern" "$pattern" "$work/reply"
    fi
}
refused "no JSON" 400 'not valid JSON' '{"messages": '
refused "a list" 400 'must be a JSON object' '[]'
refused "UTF-8 that is none" 400 'UTF-8' "$(printf '{"messages": "\xff"}')"
refused "no messages" 400 '"param": "messages"' '{}'
refused "too hot" 400 '"param": "temperature"' "$(say x '"temperature": 9')"
refused "a schema that cannot be enforced" 400 'cannot be enforced.*"param": "guided_json"' "$(say x '"guided_json": {"not": {}}')"
refused "functions" 400 'send tools' "$(say x '"functions": [{"name": "f"}]')"
refused "a picture that is none" 422 '"code": "invalid_media"' \
    '{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}]}'
refused "base64 that is none" 422 'base64' \
    '{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,!"}}]}]}'
refused "a URL" 400 '"code": "url_fetch_disabled"' \
    '{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://127.0.0.1/x.png"}}]}]}'
refused "a path outside" 422 'no such file below' \
    '{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]}]}'
refused "a tool whose schema makes no sense" 400 '"param": "tools"' "$(say x '"tool_choice": "required", "tools": [{"type": "function",
    "function": {"name": "f", "strict": true, "parameters": {"type": 5}}}]')"
refused "a picture where none may be" 400 '"param": "messages"' '{"messages": [{"role": "system", "content": [{"type": "image", "image":
    "boxes.png"}]}, {"role": "user", "content": "x"}]}'
refused "a token that is none" 400 '"param": "logit_bias"' "$(say x '"logit_bias": {"99999999": 1}')"
refused "more than the context" 400 '"code": "context_length_exceeded", "n_prompt_tokens": [0-9]+, "n_ctx": [0-9]+' "$(say x '"max_tokens": 100000')"
printf '{"messages": [{"role": "user", "content": "%0200000d"}]}' 0 >"$work/body"
refused "a long text" 400 '"code": "context_length_exceeded"' "@$work/body"
refused "a plain type" 415 'application/json' '{}' -H 'Content-Type: text/plain'
post "$(say x '"max_tokens": 1, "foo": 1, "bar": [2]')" -D "$work/head" >"$work/reply"
has "unknown fields are named" '^x-ignored-params: foo, bar' "$work/head"
has "and nothing else happens" '"finish_reason"' "$work/reply"

# ---- a client that leaves -----------------------------------------------------------------------------------
# Hot, so that no loop guard ends it.
post "$(say x '"max_tokens": 7000, "ignore_eos": true, "stream": true, "temperature": 2, "seed": 1')" -m 0.3 >"$work/stream" 2>"$work/err"
until_true 60 grep -q '"event": "answer".*"finish": "cancelled"' "$work/log"
has "who leaves is not answered on" '"event": "answer".*"finish": "cancelled"' "$work/log"
check "the log has no prompts" sh -c "! grep -q 'All of it' '$work/log'"
stop_server

serve --strict --strict-model
refused "an unknown field, strictly" 400 '"param": "foo", "code": "unknown_parameter"' "$(say x '"max_tokens": 1, "foo": 1')"
refused "another model, strictly" 404 '"param": "model", "code": "model_not_found"' "$(say x '"model": "gpt-4o"')"
stop_server

# Random weights think without end.
model=$(golden c)
serve
"$qvl" run -m "$model" hello --temp 0 -n 20 -q --json </dev/null 2>"$work/err" | sed -nE 's/^ "reasoning": "(.*)",$/\1/p' >"$work/a"
post "$(say hello '"temperature": 0, "max_tokens": 20')" | strings reasoning_content >"$work/b"
same "reasoning" "$work/a" "$work/b"
post "$(say hello '"temperature": 0, "max_tokens": 20, "stream": true')" >"$work/stream"
strings reasoning_content <"$work/stream" | tr -d '\n' >"$work/b"
echo >>"$work/b"
same "reasoning, streamed" "$work/a" "$work/b"
is "and nothing else" "" "$(text <"$work/stream")"
refused "no thinking" 400 '"param": "chat_template_kwargs"' "$(say x '"chat_template_kwargs": {"enable_thinking": false}')"
stop_server

model=demo/model
serve --timeout 1
refused "an answer that takes too long" 504 '"code": "deadline_exceeded"' \
    "$(say x '"max_tokens": 8000, "ignore_eos": true, "temperature": 2, "seed": 1, "n": 8')" -D "$work/head"
has "not to be asked again" '^x-should-retry: false' "$work/head"
stop_server
finish
