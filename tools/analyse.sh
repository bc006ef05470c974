#!/usr/bin/env bash
# cppcheck and clang-tidy over the sources; any finding fails. Suppressions stand in the sources, with their reason.
set -euo pipefail
cd "$(dirname "$0")/.."
cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
    --suppress=missingIncludeSystem -D__x86_64__ -D__GNUC__=12 -Iinclude -Isrc \
    src/base src/load src/text src/media src/model src/engine src/chat src/hub src/server src/cli
echo "ok cppcheck"
checks='-*,bugprone-*,misc-no-recursion'
checks+=',-bugprone-easily-swappable-parameters,-bugprone-implicit-widening-of-multiplication-result'
checks+=',-bugprone-reserved-identifier'
export checks
find src -name '*.c' ! -name '*_avx*.c' ! -name '*_neon*.c' ! -name '*_amx.c' -print0 |
    xargs -0 -P "$(nproc)" -n 4 sh -c 'clang-tidy-14 --quiet --checks="$checks" --warnings-as-errors="*" "$@" -- \
        -std=c11 -D_GNU_SOURCE -Iinclude -Isrc 2>/dev/null' sh
echo "ok clang-tidy"
