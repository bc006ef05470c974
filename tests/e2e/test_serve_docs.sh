#!/usr/bin/env bash
# docs/server.md names every route, field, error code and metric that the server's sources have.
. "$(dirname "$0")/common.sh"
doc=docs/server.md

named() { # what; names on stdin, one a line
    local missing=() name n=0
    while read -r name; do
        n=$((n + 1))
        grep -qF -e "$name" "$doc" || missing+=("$name")
    done
    if [ $n -lt 5 ]; then bad "$1" "only $n were found in the sources"
    elif [ ${#missing[@]} -gt 0 ]; then bad "$1" "$doc lacks ${missing[*]}"
    else ok "$1: $n"; fi
}

sed -nE 's|^ *\{"(GET\|POST)", "(/v1)?(/[a-z_/]*)\*?".*|\3|p' src/server/*.c | sort -u | named "routes"
for file in openai_chat openai_responses ollama; do
    grep -oE '\{(\.name = )?"[a-z_0-9]+", *(QVL_FIELD_|\.refusal)' src/server/${file}_read.c | cut -d '"' -f 2 | sort -u |
        named "fields of $file"
done
grep -oE '"(qvl|vllm|process)[_:][a-z_]+"' src/server/metrics.c | tr -d '"' | sed 's/^vllm:gpu_prefix_cache_.*/vllm:gpu_prefix_cache_/' |
    sort -u | named "metrics"
{
    grep -hoE 'refuse\(v, [0-9]+, "[a-z_]+"|set_refusal\(x, [^"]*"[a-z_]+"|qvl_reply_(error|busy)\([a-z>-]+, [0-9]+, "[a-z_]+"|code = "[a-z_]+"' src/server/*.c
    sed -n '/} replies\[\]/,/};/p' src/server/reply.c
} | grep -oE '"[a-z_]+"' | tr -d '"' | sort -u | named "error codes"
finish
