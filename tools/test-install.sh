#!/usr/bin/env bash
# Installs into an empty folder and builds docs/example.c against what lies there, by pkg-config.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
make --no-print-directory install PREFIX="$root/usr"
export PKG_CONFIG_PATH=$root/usr/lib/pkgconfig
gcc -std=c11 -Wall -Wextra -Werror docs/example.c $(pkg-config --cflags --libs qvl) -o "$root/example"
model=build/demo-model
[ -e $model/config.json ] || { make --no-print-directory -s build/make_golden && build/make_golden $model a; }
LD_LIBRARY_PATH=$root/usr/lib "$root/example" $model demo/shapes.png "What is this?" >"$root/answer"
[ -s "$root/answer" ] || { echo "not ok the example said nothing"; exit 1; }
echo "ok the example ran against the installed library"
[ -s "$root/usr/share/man/man1/qvl.1" ] || { echo "not ok there is no manual page"; exit 1; }
"$root/usr/bin/qvl" run -m $model demo/shapes.png "What is this?" -n 4 -q >"$root/answer2"
[ -s "$root/answer2" ] || { echo "not ok the installed qvl said nothing"; exit 1; }
echo "ok the installed qvl found its helper"
