#!/usr/bin/env bash
# The Responses API and Ollama's by curl against the real server with the demo model: what a client reads there must be what
# Chat Completions says; the order of events; refusals in the words of each API.
. "$(dirname "$0")/common.sh"
. tests/e2e/serve.sh
if [ ! -e demo/model/model.safetensors ]; then
    echo "SKIP: demo/model/model.safetensors is not there: the server's answers are not tested"
    finish
fi
ask() { # name, code, path, body, options of curl…
    local name=$1 code=$2 path=$3
    printf '%s' "$4" >"$work/asked"
    shift 4
    status "$name" "$code" "${as_json[@]}" --data-binary "@$work/asked" "$@" "$base$path"
}
strings() { # member: its strings in $work/body, one a line, as they are written
    grep -aoE "\"$1\": ?\"([^\"\\\\]|\\\\.)*\"" "$work/body" | sed -E "s/^\"$1\": ?\"//; s/\"\$//"
}
joined() { strings "$1" | tr -d '\n'; } # the pieces of a stream
is() { # name, expected, found
    if [ -n "$2" ] && [ "$2" = "$3" ]; then ok "$1"; else bad "$1" "\"$3\" instead of \"$2\""; fi
}
start
picture=$(base64 -w 0 tests/data/pictures/shapes.png)
question='What is in the picture?'

ask "Chat Completions" 200 /v1/chat/completions "{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"image_url\",
    \"image_url\": {\"url\": \"data:image/png;base64,$picture\"}}, {\"type\": \"text\", \"text\": \"$question\"}]}]}"
answer=$(strings content)
[ ${#answer} -gt 10 ] && ok "says something" || bad "says something" "$answer"

# ---- Responses -------------------------------------------------------------------------------------
items="[{\"role\": \"user\", \"content\": [{\"type\": \"input_image\", \"image_url\": \"data:image/png;base64,$picture\"},
    {\"type\": \"input_text\", \"text\": \"$question\"}]}]"
ask "Responses" 200 /v1/responses "{\"model\": \"m\", \"input\": $items, \"metadata\": {\"a\": \"b\"}}"
is "says the same" "$answer" "$(strings text)"
json "in one message" '"object":"response","created_at":[0-9]+,"status":"completed".*"output":\[\{"id":"msg_[0-9a-f]{32}_0"'
json "repeats what was asked" '"metadata":\{"a":"b"\}'
json "counts tokens" '"usage":\{"input_tokens":[0-9]+,"input_tokens_details":\{"cached_tokens":[0-9]+,.*"image_tokens":[1-9]'
json "names pictures by their place" '"name":"input\[0\]\.content\[0\]\.image_url","original":\[640,480\]'
ask "without /v1" 200 /responses '{"input": "What colour?"}'
ask "a stream" 200 /v1/responses "{\"input\": $items, \"stream\": true}" -N
is "says the same" "$answer" "$(joined delta)"
grep -a '^event: ' "$work/body" | sed 's/^event: //' | uniq >"$work/events"
printf 'response.%s\n' created in_progress output_item.added content_part.added output_text.delta output_text.done \
    content_part.done output_item.done completed >"$work/want"
same "in events that follow each other" "$work/want" "$work/events"
grep -a '^data: ' "$work/body" | grep -oE '^data: \{"type":"[^"]*","sequence_number":[0-9]+' | sed 's/.*://' >"$work/numbers"
seq 0 $(($(grep -c . "$work/numbers") - 1)) >"$work/want"
same "numbered from 0" "$work/want" "$work/numbers"
has "as an event stream" '^Content-Type: text/event-stream' "$work/head"
ask "a cut answer" 200 /v1/responses "{\"input\": $items, \"max_output_tokens\": 2}"
json "is incomplete" '"status":"incomplete","completed_at":null,"error":null,"incomplete_details":\{"reason":"max_output_tokens"\}'
ask "a schema" 200 /v1/responses '{"input": "What colour?", "text": {"format": {"type": "json_schema", "name": "c", "schema":
    {"type": "object", "properties": {"c": {"enum": ["red", "blue"]}}, "required": ["c"], "additionalProperties": false}}}}'
has "is kept to" '"text": ?"\{\\"c\\": ?\\"(red|blue)\\"\}"' "$work/body"
tool='{"type": "function", "name": "click", "parameters": {"type": "object", "properties": {"x": {"type": "integer",
    "minimum": 0, "maximum": 9}}, "required": ["x"], "additionalProperties": false}}'
ask "a call" 200 /v1/responses "{\"input\": \"click\", \"tools\": [$tool], \"tool_choice\": \"required\",
    \"parallel_tool_calls\": false}"
json "is an item" '"type":"function_call","status":"completed","call_id":"call_[A-Za-z0-9]{24}","name":"click","arguments":"\{'
call=$(grep -aoE '\{"id":"fc_[^}]*\}"\}' "$work/body")
id=$(strings call_id)
ask "its result" 200 /v1/responses "{\"input\": [{\"role\": \"user\", \"content\": \"click\"}, $call, {\"type\":
    \"function_call_output\", \"call_id\": \"$id\", \"output\": \"done\"}], \"tools\": [$tool], \"max_output_tokens\": 20}"
ask "a streamed call" 200 /v1/responses "{\"input\": \"click\", \"tools\": [$tool], \"tool_choice\": {\"type\": \"function\",
    \"name\": \"click\"}, \"stream\": true}" -N
has "has its arguments in pieces" '^event: response.function_call_arguments.delta' "$work/body"
is "which are the whole" "$(joined delta)" "$(grep -a 'arguments.done"' "$work/body" | grep -oE '"arguments":"([^"\\]|\\.)*"' |
    sed -E 's/^"arguments":"//; s/"$//')"
ask "log probabilities" 200 /v1/responses "{\"input\": [{\"role\": \"user\", \"content\": [{\"type\": \"input_image\",
    \"image_url\": \"data:image/png;base64,$picture\"}, {\"type\": \"input_text\", \"text\": \"$question\"}]}],
    \"include\": [\"message.output_text.logprobs\"], \"top_logprobs\": 2}"
json "of tokens and others" '"logprobs":\[\{"token":"[^"]+","logprob":-[0-9.e-]+,"bytes":\[[0-9,]+\],"top_logprobs":\[\{"token"'
ask "only counted" 200 /v1/responses/input_tokens "{\"input\": $items}"
json "tokens" '^\{"object":"response.input_tokens","input_tokens":[0-9]+'
for field in store background; do
    ask "$field" 400 /v1/responses "{\"input\": \"x\", \"$field\": true}"
    json "is refused by name" "\"param\":\"$field\""
done
for field in previous_response_id conversation prompt; do
    ask "$field" 400 /v1/responses "{\"input\": \"x\", \"$field\": \"resp_1\"}"
    json "is refused by name" "\"param\":\"$field\""
done
ask "an item kept elsewhere" 400 /v1/responses '{"input": [{"type": "item_reference", "id": "msg_1"}]}'
json "is refused" '"param":"input"'
ask "a picture that is none" 422 /v1/responses '{"input": [{"role": "user", "content": [{"type": "input_image", "image_url":
    "data:image/png;base64,aGVsbG8="}]}]}'
ask "too long an answer" 400 /v1/responses '{"input": "x", "max_output_tokens": 9000}'
json "says so" '"param":"input","code":"context_length_exceeded","n_prompt_tokens":[0-9]+,"n_ctx":8192'
has "in this API's words" 'a smaller max_output_tokens' "$work/body"
ask "a schema that cannot be kept to" 400 /v1/responses '{"input": "x", "text": {"format": {"type": "json_schema", "name": "n",
    "schema": {"type": "nothing"}}}}'
json "names the field" '"param":"text.format"'
ask "an unknown field" 200 /v1/responses '{"input": "What colour?", "foo": 1, "n": 3}'
has "is named" '^x-ignored-params: foo, n' "$work/head"

# ---- Ollama ----------------------------------------------------------------------------------------
message="[{\"role\": \"user\", \"content\": \"$question\", \"images\": [\"$picture\"]}]"
ask "/api/chat" 200 /api/chat "{\"model\": \"m\", \"messages\": $message, \"stream\": false}"
is "says the same" "$answer" "$(strings content)"
json "and how it went" '"done":true,"done_reason":"stop","total_duration":[1-9][0-9]+,"load_duration":0,"prompt_eval_count":[1-9]'
ask "as lines" 200 /api/chat "{\"model\": \"m\", \"messages\": $message}" -N
is "the same" "$answer" "$(joined content)"
has "in NDJSON" '^Content-Type: application/x-ndjson' "$work/head"
[ "$(grep -ac '^{"model":.*}$' "$work/body")" = "$(grep -ac '' "$work/body")" ] && ok "an object a line" || bad "an object a line"
is "of which one is the last" 1 "$(grep -ac '"done":true' "$work/body")"
ask "/api/generate" 200 /api/generate "{\"model\": \"m\", \"prompt\": \"$question\", \"images\": [\"$picture\"]}" -N
is "the same" "$answer" "$(joined response)"
ask "a bounded answer" 200 /api/generate "{\"model\": \"m\", \"prompt\": \"$question\", \"images\": [\"$picture\"], \"stream\":
    false, \"options\": {\"num_predict\": 2, \"num_gpu\": 1}}"
json "is cut" '"done_reason":"length".*"eval_count":2,'
has "what tunes another program is named" '^x-ignored-params: num_gpu' "$work/head"
ask "a format" 200 /api/chat '{"model": "m", "messages": [{"role": "user", "content": "What colour?"}], "stream": false, "format":
    {"type": "object", "properties": {"c": {"enum": ["red", "blue"]}}, "required": ["c"], "additionalProperties": false}}'
has "is kept to" '"content": ?"\{\\"c\\": ?\\"(red|blue)\\"\}"' "$work/body"
ask "a clip" 200 /api/chat "{\"model\": \"m\", \"messages\": [{\"role\": \"user\", \"content\": \"What happens?\", \"videos\":
    [\"$(base64 -w 0 tests/data/clips/h264-moov-start.mp4)\"]}], \"stream\": false}"
json "is seen" '"media":\[\{"kind":"video"'
ask "no message" 200 /api/chat '{"model": "m", "messages": []}'
json "asks for the model" '"done":true,"done_reason":"load"\}$'
status "the models" 200 "$base/api/tags"
json "are one" '^\{"models":\[\{"name":"qvl-demo","model":"qvl-demo",.*"family":"qwen3vl"'
status "what runs" 200 "$base/api/ps"
json "is that one" '"name":"qvl-demo".*"context_length":8192'
ask "what it is" 200 /api/show '{"model": "qvl-demo"}'
json "and can do" '"qwen3vl.context_length":8192.*"capabilities":\["completion","vision","tools"\]'
status "the version" 200 "$base/api/version"
json "is Ollama's" '^\{"version":"0\.[0-9]+\.[0-9]+"'
status "a look" 200 -I "$base/"
ask "too large a context" 400 /api/chat "{\"messages\": $message, \"options\": {\"num_ctx\": 100000}}"
json "has Ollama's shape" '^\{"error":"num_ctxis100000'
ask "a raw prompt" 400 /api/generate '{"prompt": "x", "raw": true}'
json "is refused by name" '^\{"error":"raw'
ask "thinking" 400 /api/chat "{\"messages\": $message, \"think\": true}"
json "is another model's" '^\{"error":"think:'
ask "a picture that is none" 422 /api/chat '{"messages": [{"role": "user", "content": "x", "images": ["aGVsbG8="]}]}'
ask "no JSON" 400 /api/chat '{"model": '
json "has Ollama's shape" '^\{"error":"thebody:notvalidJSON'
stop "it ends" TERM 0

# ---- a Thinking model, with random weights: it thinks until it is cut -------------------------------
start -m "$(golden c)"
ask "reasoning" 200 /v1/responses '{"input": "Hi", "max_output_tokens": 4, "stream": true}' -N
grep -a '^event: ' "$work/body" | sed 's/^event: //' | uniq >"$work/events"
printf 'response.%s\n' created in_progress output_item.added content_part.added reasoning_text.delta reasoning_text.done \
    content_part.done output_item.done incomplete >"$work/want"
same "is an item of its own" "$work/want" "$work/events"
ask "whole" 200 /v1/responses '{"input": "Hi", "max_output_tokens": 4, "temperature": 0}'
json "has no text" '"output":\[\{"id":"rs_[0-9a-f]*_0","type":"reasoning","status":"incomplete","summary":\[\],"content"'
json "and is counted" '"output_tokens":4,"output_tokens_details":\{"reasoning_tokens":4\}'
thought=$(strings text)
ask "Ollama's" 200 /api/chat '{"messages": [{"role": "user", "content": "Hi"}], "think": true, "options": {"num_predict": 4,
    "temperature": 0}}' -N
is "thinking is the same" "$thought" "$(joined thinking)"
ask "an answer without" 400 /api/chat '{"messages": [{"role": "user", "content": "Hi"}], "think": false}'
json "is not to be had" '^\{"error":"think:'
ask "less of it" 400 /v1/responses '{"input": "Hi", "reasoning": {"effort": "low"}}'
json "neither" '"param":"reasoning.effort"'
ask "what it is" 200 /api/show '{"model": "c"}'
json "says so" '"capabilities":\["completion","vision","tools","thinking"\]'
stop "it ends, too" TERM 0
finish
