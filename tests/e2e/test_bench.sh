#!/usr/bin/env bash
# qvl bench: what it writes, what it refuses, what it leaves out, and that Ctrl-C keeps what was measured. How fast
# anything is, is nobody's test.
. "$(dirname "$0")/common.sh"
model=$(golden a)
bench() { "$qvl" bench -m "$model" --runs 2 -t 2 "$@" </dev/null 2>"$work/err"; }
fields() { awk -F, '{ print NF }' "$1" | sort -u | tr '\n' ' '; }

# ---- the table
bench --tests load,vision:16,prefill:8,decode:0,decode:200,first-token:64 >"$work/table"
has "the machine" '^qvl [0-9.]+ · .* · level (scalar|neon|avx2|avx512|avx512_bf16|amx) · 2 threads' "$work/table"
has "the model and its weights" '^model .*e2e-models/a · [0-9.]+ million weights, bf16, 9 MiB$' "$work/table"
has "a peak" '^f32 +2 .* GMAC/s ' "$work/table"
has "the peak of reading" '^read +2 .* GB/s ' "$work/table"
for test in vision:16 prefill:8 decode:0 decode:200 first-token:64; do
    has "$test, as a share of a peak" "^$test +2 .* [0-9.]+ % (f32|bf16|int8|read) +[0-9]+ MiB$" "$work/table"
done
has "loading" '^load +2 +[0-9.]+ +[0-9.]+ +[0-9.]+ .* MiB$' "$work/table"

# ---- CSV, JSON
bench --csv --tests load,vision:16,prefill:8,decode:200,first-token:64 >"$work/csv"
has "CSV: the columns" '^test,runs,median_ms,min_ms,max_ms,cpu_ms,per_second,unit,gmac_per_s,gb_per_s,peak,of_peak,peak_memory_bytes$' "$work/csv"
[ "$(fields "$work/csv")" = "13 " ] && ok "CSV: as many in every line" || bad "CSV: as many in every line" "$(fields "$work/csv")"
has "CSV: a row" '^decode:200,2,[0-9.]+,[0-9.]+,[0-9.]+,[0-9.]+,[0-9.]+,tok,[0-9.]+,[0-9.]+,[a-z0-9]+,[0-9.]+,[0-9]+$' "$work/csv"
bench --json --tests vision:16,decode:200,decode:2000k >"$work/json"
has "JSON: the machine" '"isa": "[a-z0-9_]+", "threads": 2, "dtype": "bf16", "kv": "bf16", "busy_elsewhere": [0-9.]+,$' "$work/json"
has "JSON: the model" '"parameters": [0-9]+, "weight_format": "bf16", "weight_bytes": [0-9]+,$' "$work/json"
has "JSON: whole" '^ "cancelled": false,$' "$work/json"
number='[0-9]+(\.[0-9]+)?'
has "JSON: a row" "^  \{\"test\": \"vision:16\", \"runs\": 2, \"median_ms\": $number, \"min_ms\": $number, \"max_ms\": $number, \"cpu_ms\": $number, \"per_second\": $number, \"unit\": \"patches\", \"gmac_per_s\": $number, \"gb_per_s\": $number, \"peak\": \"[a-z0-9]+\", \"of_peak\": $number, \"peak_memory_bytes\": [0-9]+\},$" "$work/json"
has "JSON: what was left out, and why" '^  \{"test": "decode:2048000", "left_out": ".*positions are more than the context of [0-9]+"\}$' "$work/json"
[ "$(head -c 1 "$work/json")" = "{" ] && [ "$(tail -n 1 "$work/json")" = " ]}" ] && ok "JSON: one object" || bad "JSON: one object"
# Each row but the last ends in a comma.
awk '/^  \{/ { if (row) bad += row !~ /\},$/; row = $0 } END { exit bad || row !~ /\}$/ }' "$work/json" &&
    ok "JSON: commas between rows" || bad "JSON: commas between rows"

# ---- what does not fit
bench --tests decode:2000k,prefill:8 >"$work/table"
rc=$?
[ $rc -eq 0 ] && ok "a context that is too large fails nothing" || bad "a context that is too large fails nothing" "exit code $rc"
has "it is said" '^qvl: decode:2048000 is left out: .* more than the context' "$work/err"
if grep -q '^decode' "$work/table"; then bad "it has no row"; else ok "it has no row"; fi
has "the next test runs" '^prefill:8 ' "$work/table"
bench --tests prefill:65 -c 64 >"$work/table"
has "a context cut by --ctx-size" 'prefill:65 is left out: 65 positions are more than the context of 64' "$work/err"
bench --tests decode:64 -c 64 >"$work/table"
has "the last position of a full context" '^decode:64 ' "$work/table"

# ---- faults
refuse "an unknown test" 2 '^qvl: --tests prefil:5: no such test; the tests are peaks, load,' "$qvl" bench -m "$model" -q --tests prefil:5
refuse "a size that is none" 2 '^qvl: --tests vision:x: no such test' "$qvl" bench -m "$model" -q --tests vision:x
refuse "a size where there is none" 2 '^qvl: --tests load:3: no such test' "$qvl" bench -m "$model" -q --tests load:3
refuse "no runs" 2 '^qvl: --runs 0: it must be' "$qvl" bench -m "$model" -q --runs 0
refuse "two forms" 2 '^qvl: --json and --csv contradict' "$qvl" bench -m "$model" -q --json --csv
refuse "a word" 2 '^qvl: bench takes options only' "$qvl" bench -m "$model" -q photo.jpg
refuse "an option of another command" 2 'temp: no such option here' "$qvl" bench -m "$model" -q --temp 1
refuse "no such model" 3 'nowhere' "$qvl" bench -m "$work/nowhere" -q
refuse "patches that no picture has" 2 '^qvl: no picture has 15 patches: a multiple of 4' "$qvl" bench -m "$model" -q --json --runs 1 --tests vision:15
"$qvl" bench -m "$model" -q --runs 1 --tests peaks >"$work/table" 2>"$work/err"
[ ! -s "$work/err" ] && ok "-q says nothing" || bad "-q says nothing" "$(cat "$work/err")"

# ---- Ctrl-C: what was measured is written
for form in --json --csv; do
    "$qvl" bench -m "$model" -q --runs 1000 --tests prefill:8k "$form" >"$work/out" 2>"$work/err" </dev/null &
    pid=$!
    until_true 60 listens $pid INT
    sleep 1.5
    kill -INT $pid
    wait $pid
    rc=$?
    [ $rc -eq 130 ] && [ ! -s "$work/err" ] && ok "Ctrl-C with $form" || bad "Ctrl-C with $form" "exit code $rc: $(cat "$work/err")"
    if [ $form = --json ]; then
        has "it says that it was cancelled" '"cancelled": true' "$work/out"
        [ "$(tail -n 1 "$work/out")" = " ]}" ] && ok "and is a whole object" || bad "and is a whole object"
        has "with the first peak" '"test": "f32"' "$work/out"
    else
        [ "$(fields "$work/out")" = "13 " ] && ok "and its lines are whole" || bad "and its lines are whole"
    fi
done
finish
