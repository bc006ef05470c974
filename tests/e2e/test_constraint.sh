#!/usr/bin/env bash
# Answers that must have a form: --format json, --json-schema, --regex, --choice, with the demo model, hot and greedy; what
# is refused.
. "$(dirname "$0")/common.sh"
model=$PWD/demo/model
ask() { "$qvl" run -m "$model" -q "$@" 2>"$work/err"; }

# A golden model has random weights: whatever it wants to say, the form holds.
random=$(golden a)
hot() { "$qvl" run -m "$random" -q "$@" --temp 1.5 --top-k 0 --top-p 1 2>"$work/err"; }

all_match() { # name, pattern, command…: for 12 seeds
    local name=$1 pattern=$2 seed
    shift 2
    for seed in 1 2 3 4 5 6 7 8 9 10 11 12; do
        "$@" --seed $seed >"$work/answer" || { bad "$name" "seed $seed: $(cat "$work/err")"; return; }
        if [ "$(wc -l <"$work/answer")" -ne 1 ] || ! LC_ALL=C.UTF-8 grep -qE -e "$pattern" "$work/answer"; then
            bad "$name" "seed $seed: $(head -c 300 "$work/answer")"
            return
        fi
    done
    ok "$name"
}

date='[0-9]{4}-(0[1-9]|1[0-2])-([0-2][0-9]|3[01])'
cat >"$work/schema.json" <<'END'
{
  "title": "invoice",
  "type": "object",
  "properties": {
    "no": {"type": "string", "pattern": "^[A-Z]-[0-9]{3}$"},
    "date": {"type": "string", "format": "date"},
    "paid": {"type": ["boolean", "null"]},
    "share": {"type": "number", "minimum": 0, "maximum": 1},
    "lines": {"type": "array", "items": {"enum": ["红", "b", 3]}, "minItems": 1, "maxItems": 3}
  },
  "required": ["no", "date", "paid", "share", "lines"]
}
END
item='("红"|"b"|3)'
form="^\{\"no\": ?\"[A-Z]-[0-9]{3}\", ?\"date\": ?\"$date\", ?\"paid\": ?(true|false|null), ?\"share\": ?(0(\.[0-9]+)?|1(\.0+)?), ?\"lines\": ?\[$item(, ?$item){0,2}\]\}\$"
all_match "a schema, hot" "$form" hot "Say something." --json-schema "$work/schema.json"
all_match "a regular expression, hot" '^[a-f]{3}-[0-9]{2,4}(x|y)?$' hot "Say something." --regex '[a-f]{3}-\d{2,4}(x|y)?'
all_match "a choice, hot" '^(yes|no|not, sure|是)$' hot "Say something." --choice 'yes,no,not\, sure,是'
all_match "a picture and a choice" '^(red|blue)$' hot tests/data/pictures/shapes.png "Which?" --choice red,blue
hot "Say something." --json-schema - --seed 3 <"$work/schema.json" >"$work/a"
hot "Say something." --json-schema "$(cat "$work/schema.json")" --seed 3 >"$work/b"
same "the schema from stdin and in the option itself" "$work/a" "$work/b"
hot "Say something." --json-schema "$work/schema.json" --seed 3 --lookup off >"$work/b"
same "with and without guessed tokens" "$work/a" "$work/b"
hot "Say something." --json-schema "$work/schema.json" --seed 3 --ignore-eos >"$work/b"
same "it ends where nothing can follow, end token or not" "$work/a" "$work/b"
hot "Say something." --format json --seed 5 -n 40 --loop-guard off >"$work/a"
has "--format json is an object, cut by -n" '^\{(\}|")' "$work/a"
hot "Say something." --regex 'a{300}' --seed 1 -n 3 --json >"$work/a"
has "an answer that is cut is as far as it came" '"finish_reason": "length"' "$work/a"

# ---- the demo model's own answers
if [ -e demo/model/model.safetensors ]; then
    ask demo/receipt.png "Return the fields as JSON." --temp 0 >"$work/a"
    ask demo/receipt.png "Return the fields as JSON." --temp 0 --format json >"$work/b"
    same "what is JSON by itself stays as it is" "$work/a" "$work/b"
    all_match "an invoice by schema, hot" "^\{\"total\": ?\"\\\$[0-9]+\.[0-9]{2}\"(, ?\"no\": ?\"[^\"]*\")?\}\$" \
        ask demo/receipt.png "Return the fields as JSON." --temp 1.5 --json-schema \
        '{"properties":{"total":{"type":"string","pattern":"^\\$\\d+\\.\\d\\d$"},"no":{"type":"string","maxLength":9}},"required":["total"]}'
else
    echo "SKIP: demo/model/model.safetensors is not there: its answers are not tested"
fi

# ---- chat
printf 'Say something.\n' | "$qvl" chat -m "$random" -q --choice one,two >"$work/a" 2>"$work/err"
has "chat" '^(one|two)$' "$work/a"

# ---- refused
refuse "a keyword that cannot be enforced" 2 'JSON schema, #/properties/a/not: this keyword cannot be enforced' \
    "$qvl" run -m "$random" -q x --json-schema '{"properties":{"a":{"not":{}}}}'
refuse "what is no JSON" 2 'JSON schema: not valid JSON' "$qvl" run -m "$random" -q x --json-schema '{"a"'
refuse "a file that is not there" 2 'none.json' "$qvl" run -m "$random" -q x --json-schema none.json
refuse "a regular expression" 2 'regular expression, byte 1: lookahead' "$qvl" run -m "$random" -q x --regex '(?=a)'
refuse "an empty choice" 2 'choice 2 must be' "$qvl" run -m "$random" -q x --choice a,
refuse "two forms" 2 'only one can hold' "$qvl" run -m "$random" -q x --choice a,b --format json
refuse "stdin for two" 2 'stdin' "$qvl" run -m "$random" -q - --json-schema -
refuse "in Chinese" 2 '正则表达式，第 1 字节' "$qvl" run -m "$random" -q x --regex '(?=a)' --lang zh
finish
