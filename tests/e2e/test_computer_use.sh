#!/usr/bin/env bash
# docs/computer-use.json, the tool of docs/computer-use.md, with the demo model: every call has the form, an
# action has what it needs, places turn into pixels of the picture; step by step, streamed, hot. The demo model points
# badly: where it points is not asked.
. "$(dirname "$0")/common.sh"
. tests/e2e/serve.sh
if [ ! -e demo/model/model.safetensors ]; then
    echo "SKIP: demo/model/model.safetensors is not there: its calls are not tested"
    finish
fi

tr -d '\n' <docs/computer-use.json >"$work/tool"
check "the definition is there" test "$(wc -c <"$work/tool")" -gt 2000
picture="data:image/png;base64,$(base64 -w 0 demo/boxes.png)"
width=$((16#$(od -An -tx1 -j16 -N4 demo/boxes.png | tr -d ' ')))
height=$((16#$(od -An -tx1 -j20 -N4 demo/boxes.png | tr -d ' ')))

# ask OPTION…: members of the body beside messages and tools; the reply is $work/body, a call's arguments $work/action.
messages="[{\"role\": \"user\", \"content\": [{\"type\": \"image_url\", \"image_url\": {\"url\": \"$picture\"}},
    {\"type\": \"text\", \"text\": \"Click on the red circle.\"}]}]"
ask() {
    printf '{"messages": %s, "tools": [%s], %s}' "$messages" "$(cat "$work/tool")" "$1" >"$work/question"
    curl -sS -H 'Content-Type: application/json' --data-binary @"$work/question" "$base/v1/chat/completions" >"$work/body"
    arguments <"$work/body" >"$work/action"
}
arguments() { # of all pieces, one after another
    grep -aoE '"arguments":"([^"\\]|\\.)*"' | sed -E 's/^"arguments":"//; s/"$//' | tr -d '\n' | sed -e 's/\\"/"/g; s/\\\\/\\/g'
    echo
}

string='"([^"\\]|\\.)*"'
number='(1000|[0-9]{1,3})'
place="\"coordinate\": ?\\[$number, ?$number\\]"
time='"time": ?(60(\.0+)?|[0-5]?[0-9](\.[0-9]+)?)'
keys="\"keys\": ?\\[$string(, ?$string){0,3}\\]"
status='"status": ?"(success|failure)"'
pixels='"pixels": ?-?[0-9]{1,5}'
mouse='"(mouse_move|left_click|left_click_drag|right_click|middle_click|double_click|triple_click)"'
form="^\{\"action\": ?($mouse, ?$place|\"h?scroll\"(, ?$place)?, ?$pixels|\"(type|answer)\", ?\"text\": ?$string|\"key\", ?$keys|\"wait\", ?$time|\"terminate\", ?$status)\}\$"
named='"tool_choice": {"type": "function", "function": {"name": "computer_use"}}, "max_tokens": 600'

start

# ---- one step ----------------------------------------------------------------------------------------
ask "$named, \"temperature\": 0"
has "a call" '"finish_reason":"tool_calls"' "$work/body"
has "of the tool" '"tool_calls":\[\{"id":"call_[A-Za-z0-9]{24}","type":"function","function":\{"name":"computer_use",' "$work/body"
has "with an action and what it needs" "$form" "$work/action"
cp "$work/action" "$work/whole"
ask "$named, \"temperature\": 0, \"stream\": true"
same "streamed in pieces: the same" "$work/whole" "$work/action"

n_whole=0
for seed in 1 2 3 4 5 6 7 8 9 10; do
    ask "$named, \"temperature\": 1.5, \"top_k\": 0, \"top_p\": 1, \"seed\": $seed"
    grep -q '"finish_reason":"tool_calls"' "$work/body" || continue # a text without end, cut
    n_whole=$((n_whole + 1))
    grep -qE -e "$form" "$work/action" || bad "hot, seed $seed" "$(cat "$work/action")"
done
if [ $n_whole -ge 5 ]; then ok "hot: $n_whole calls"; else bad "hot" "only $n_whole calls came to an end"; fi

# ---- places ------------------------------------------------------------------------------------------
sed 's/"enum": \["key", "type"[^]]*\]/"enum": ["left_click"]/' "$work/tool" >"$work/clicks"
cp "$work/tool" "$work/tool.whole"
cp "$work/clicks" "$work/tool"
ask "$named, \"temperature\": 1, \"seed\": 3"
has "a click has a place" "\"left_click\".*$place" "$work/action"
has "the reply has the picture's size" "\"original\": ?\[$width, ?$height\]" "$work/body"
read -r x y <<<"$(grep -oE "$place" "$work/action" | grep -oE '[0-9]+' | tr '\n' ' ')"
x=$((${x:--1} * width / 1000)) y=$((${y:--1} * height / 1000))
check "in pixels it lies in the picture" test "$x" -ge 0 -a "$x" -le "$width" -a "$y" -ge 0 -a "$y" -le "$height"

# ---- the next step: what was done, and a new screenshot ----------------------------------------------
cp "$work/tool.whole" "$work/tool"
first=$messages
messages="${first%]}, {\"role\": \"assistant\", \"content\": null, \"tool_calls\": [{\"id\": \"call_1\", \"type\": \"function\",
    \"function\": {\"name\": \"computer_use\", \"arguments\": \"{\\\"action\\\": \\\"left_click\\\", \\\"coordinate\\\": [10, 20]}\"}}]},
    {\"role\": \"tool\", \"tool_call_id\": \"call_1\", \"content\": [{\"type\": \"image_url\", \"image_url\": {\"url\": \"$picture\"}}]}]"
ask '"tool_choice": "required", "parallel_tool_calls": false, "max_tokens": 600, "temperature": 0'
has "a result with a screenshot leads to the next call" "$form" "$work/action"
has "both screenshots were seen" '"image_tokens":[1-9]' "$work/body"

# ---- the model decides -------------------------------------------------------------------------------
messages=$first
ask '"max_tokens": 30, "temperature": 0'
has "auto: an answer" '"finish_reason":"(stop|length|tool_calls)"' "$work/body"
kill -TERM $pid
wait $pid
check "the server ends" test $? -eq 0
finish
