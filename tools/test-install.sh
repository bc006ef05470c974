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
completion=$root/usr/share/bash-completion/completions/qvl
completed() { # words: what bash is offered
    bash -c '. "$0"; COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)); compopt() { :; }; _qvl; echo " ${COMPREPLY[*]} "' "$completion" "$@"
}
completed qvl ser | grep -q " serve " && completed qvl serve --po | grep -q " --port " &&
    completed qvl quantize --type "" | grep -q " q4 q8 balanced " ||
    { echo "not ok bash is offered something else"; exit 1; }
echo "ok bash completes commands, options and their words"
for shell in zsh fish; do
    file=$(find "$root/usr/share/$shell" -type f)
    if ! command -v $shell >/dev/null; then echo "SKIP: $shell is not installed: its completion was not read"
    elif $shell -n "$file"; then echo "ok $shell reads its completion"
    else echo "not ok $shell does not read its completion"; exit 1; fi
done
complete_c=$(command -v fish >/dev/null && XDG_DATA_HOME="$root/fish" fish -c "source '$root/usr/share/fish/vendor_completions.d/qvl.fish'; complete -C 'qvl serve --po'" || echo --port)
[[ $complete_c == --port* ]] || { echo "not ok fish is offered $complete_c"; exit 1; }
[ -s "$root/usr/share/man/man1/qvl.1" ] || { echo "not ok there is no manual page"; exit 1; }
grep -q "^ExecStart=$root/usr/bin/qvl serve" "$root/usr/lib/systemd/system/qvl.service" ||
    { echo "not ok the service does not start what was installed"; exit 1; }
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
