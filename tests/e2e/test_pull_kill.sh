#!/usr/bin/env bash
# `qvl pull`, killed (SIGKILL) at every moment: afterwards the cache is sound, and the next pull finishes with the right sums.
# With strace: as it enters each call that changes a file or a folder; of calls that come more than 20 times (pwrite64, mkdir)
# QVL_KILLS (12) spread evenly, or "all". Then without it, after so many milliseconds, QVL_KILLS times.
n_kill=${QVL_KILLS:-12} # before common.sh, which unsets it
. "$(dirname "$0")/common.sh"
. tests/e2e/hub.sh
export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0 # LeakSanitizer cannot work under strace
small=Qwen/Small # as many files as a model has, and quick
mkdir -p "$root/$small"
for file in config.json tokenizer.json tokenizer_config.json preprocessor_config.json chat_template.json; do
    echo "{\"file\": \"$file\"}" >"$root/$small/$file"
done
head -c 3000000 /dev/urandom >"$root/$small/model.safetensors"
hub

# after NAME REF: what a kill has left is sound; the next pull finishes; nothing of the first is left over.
after() {
    local n=$n_bad
    sound "$1: sound"
    works "$1: the next pull" pull "$2"
    case $2 in
    hf:*) whole "$1: whole" "$(snapshot $small)" "$root/$small" ;;
    *) whole "$1: whole" "$home/ms/models/Qwen--Small/snapshots/master" "$root/$small" ;;
    esac
    [ -z "$(find "$home" -name '*qvl-part*')" ] && ok "$1: no leftovers" || bad "$1: no leftovers" "$(find "$home" -name '*qvl-part*')"
    [ $n_bad -eq $n ]
}
changes=write,pwrite64,pwritev,ftruncate,fallocate,fsync,fdatasync,mkdir,mkdirat,symlink,symlinkat,link,linkat,rename,renameat,renameat2,unlink,unlinkat,rmdir,flock,utimensat
killed_at_calls() { # REF
    local n call i rc n_killed=0 n_first=0 n_first_killed=0
    fresh
    with_home strace -f -qq -o "$work/trace" -e trace=$changes "$qvl" pull "$1" >/dev/null 2>&1 </dev/null ||
        { echo "SKIP: strace cannot trace here: killed by the clock only"; return; }
    # Each call of the first thread, which does the work, as NAME and the how manyth of that name it is: strace counts so.
    sed -nE "s/^$(head -n 1 "$work/trace" | cut -d' ' -f1) +([a-z0-9]+)\(.*/\1/p" "$work/trace" |
        awk '{ print $1, ++n[$1] }' >"$work/calls"
    awk -v most="$n_kill" '{ line[NR] = $0; name[NR] = $1; n[$1] = $2 }
        END { for (i = 1; i <= NR; i++) {
            step = most == "all" || n[name[i]] <= 20 ? 1 : int((n[name[i]] + most - 1) / most)
            if (seen[name[i]]++ % step == 0) print line[i] } }' "$work/calls" >"$work/chosen"
    n=$(grep -c . "$work/chosen")
    echo "$1: $(grep -c . "$work/calls") calls change something; killed at $n of them"
    while read -r call i; do
        fresh
        say with_home strace -f -qq -o "$work/trace" -e trace="$call" -e inject="$call:signal=KILL:when=$i" "$qvl" pull "$1"
        rc=$?
        [ $rc -eq 137 ] && n_killed=$((n_killed + 1))
        [ "$i" -eq 1 ] && n_first=$((n_first + 1)) && [ $rc -eq 137 ] && n_first_killed=$((n_first_killed + 1))
        after "$1, killed at $call $i" "$1" || tail -n 3 "$work/trace"
    done <"$work/chosen"
    # How many writes there are follows how the network cuts the bytes, so a later one may not come again. The first of each
    # call comes in every run.
    [ $n_first -gt 5 ] && [ $n_first_killed -eq $n_first ] && ok "$1: killed $n_killed times of $n" ||
        bad "$1: killed at each call's first time" "$n_first_killed of $n_first, $n_killed of $n in all"
}
killed_by_clock() { # REF
    local i n=$n_kill
    [ "$n" = all ] && n=200
    for i in $(seq "$n"); do
        fresh
        reset
        fault what=slow where=cdn n=15000000
        begin "$qvl" pull "$1"
        sleep "0.$(printf %03d $((i * 300 / n)))"
        kill -9 $pid 2>/dev/null
        wait $pid 2>/dev/null
        reset
        after "$1, killed after $((i * 300 / n)) ms" "$1"
    done
}
killed() { # REF
    if command -v strace >/dev/null; then killed_at_calls "$@"
    else echo "SKIP: strace is not there: killed by the clock only"; fi
    killed_by_clock "$@"
}
killed hf:$small
killed ms:$small
finish
