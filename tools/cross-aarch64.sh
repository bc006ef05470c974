#!/usr/bin/env bash
# Compiles every source of the library and the command line for aarch64. jansson.h is the same on both
# machines and is taken from this one.
set -euo pipefail
cd "$(dirname "$0")/.."
out=build/aarch64
mkdir -p "$out/include"
for h in jansson.h jansson_config.h; do
    cp "$(find /usr/include -name $h | head -n 1)" "$out/include/"
done
make -j"$(nproc)" CC=aarch64-linux-gnu-gcc BUILD="$out" CFLAGS="-Werror -I$out/include" HARDEN=-fPIC \
    "$out/libqvl.a" $(ls src/cli/*.c | sed "s|\(.*\)\.c|$out/\1.o|")
echo "ok $(find "$out" -name '*.o' | wc -l) objects for aarch64"
