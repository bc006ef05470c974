#!/usr/bin/env bash
# Installs into an empty folder, builds docs/example.c against what lies there, by pkg-config, and takes all away again.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
make --no-print-directory install PREFIX="$root/usr"
export PKG_CONFIG_PATH=$root/usr/lib/pkgconfig
gcc -std=c11 -Wall -Wextra -Werror docs/example.c $(pkg-config --cflags --libs qvl) -o "$root/example"
make --no-print-directory -s build/make_golden
model=$root/golden
build/make_golden "$model" a
LD_LIBRARY_PATH=$root/usr/lib "$root/example" "$model" demo/shapes.png "What is this?" >"$root/answer"
[ -s "$root/answer" ] || { echo "not ok the example said nothing"; exit 1; }
echo "ok the example ran against the installed library"
[ -s "$root/usr/share/man/man1/qvl.1" ] || { echo "not ok there is no manual page"; exit 1; }
"$root/usr/bin/qvl" run -m "$model" demo/shapes.png "What is this?" -n 4 -q >"$root/answer2"
[ -s "$root/answer2" ] || { echo "not ok the installed qvl said nothing"; exit 1; }
echo "ok the installed qvl found its helper"
env -i "$root/usr/bin/qvl" run demo/shapes.png "What do you see?" -n 4 -q --json >"$root/answer3"
grep -q "\"model\": \"$root/usr/share/qvl/demo-model\"" "$root/answer3" ||
    { echo "not ok the installed qvl did not use the installed demo model"; exit 1; }
echo "ok without -m and with an empty environment it uses the demo model"
make --no-print-directory uninstall PREFIX="$root/usr"
left=$(find "$root/usr" ! -type d)
[ -z "$left" ] || { echo "not ok left behind: $left"; exit 1; }
echo "ok nothing is left behind"
