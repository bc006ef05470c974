#!/usr/bin/env bash
# Who may see whom (ARCHITECTURE.md, "Floors"): a file includes its own room and lower floors; never sideways,
# never up. chat/ on floor 5 sees qvl.h and base/ only; server/ on
# floor 6 sees chat/, too, hub/ beside it base/ only, and the command line on floor 7 all of those. Every .c includes its own header first.
set -u
cd "$(dirname "$0")/.."
declare -A floor=([base]=0 [kernel]=1 [load]=2 [text]=2 [media]=2 [model]=3 [engine]=4 [chat]=5 [hub]=6 [server]=6 [cli]=7)
n_bad=0

bad() {
    echo "not ok $1"
    n_bad=$((n_bad + 1))
}

while IFS=: read -r file line include; do
    room=${file#src/} room=${room%%/*}
    seen=${include%%/*}
    [ "$include" = qvl.h ] && continue
    if [ -z "${floor[$seen]:-}" ]; then
        bad "$file:$line includes \"$include\", which is no room's header"
    elif [ "$seen" != "$room" ]; then
        if [ "${floor[$room]}" -ge 5 ] && [ "$seen" != base ] && [ "$seen" != chat ] && [ "$seen" != server ] && [ "$seen" != hub ]; then
            bad "$file:$line: programs see qvl.h, base/, chat/ and (the command line) hub/ and server/, not $include"
        elif [ "${floor[$seen]}" -ge "${floor[$room]}" ]; then
            bad "$file:$line: floor ${floor[$room]} ($room) includes floor ${floor[$seen]} ($include)"
        fi
    fi
done < <(grep -rnE --include='*.[ch]' '^#include "' src | sed -E 's/^([^:]+:[0-9]+):#include "([^"]+)".*/\1:\2/')

for c in $(find src -name '*.c'); do
    header=${c%.c}.h
    [ -e "$header" ] || continue
    first=$(grep -m1 -E '^#include' "$c")
    [ "$first" = "#include \"${header#src/}\"" ] || bad "$c does not include its own header first"
done

[ $n_bad -eq 0 ] && echo "ok every include goes to its own room or down"
exit $((n_bad > 0))
