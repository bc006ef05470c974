#!/usr/bin/env bash
# Words that may not stand in the sources (CONTRIBUTING.md, "Rules a script keeps"), and files that may not stand
# in the tree.
set -u
cd "$(dirname "$0")/.."
n_bad=0

refuse() { # what, why, pattern, paths…
    local what=$1 pattern=$2
    shift 2
    local hits
    hits=$(grep -rnE --include='*.[ch]' --include='*.def' "$pattern" "$@" 2>/dev/null)
    if [ -n "$hits" ]; then
        echo "not ok $what"
        echo "$hits" | head -n 20 | sed 's/^/    /'
        n_bad=$((n_bad + 1))
    else
        echo "ok no $what"
    fi
}

mapfile -t below6 < <(find include src -name '*.[ch]' ! -path 'src/media/helper/*' ! -path 'src/cli/*') # programs may
refuse "unsafe call" '\b(strcpy|strcat|sprintf|vsprintf|gets|atoi|atol|atof|strtok|alloca|system|popen|tmpnam|mktemp)\(' src
refuse "exit, abort or print below floor 6" '\b(exit|_exit|abort|printf|puts|putchar|perror)\(' "${below6[@]}"
refuse "assert" '\bassert\(' src
refuse "unfinished work" '\b(TODO|FIXME|XXX|HACK)\b' src include tests bench docs
refuse "this machine" '(/work/|/root/)' src include tests bench docs

big=$(git ls-files -z 2>/dev/null | xargs -0 -r stat -c '%s %n' 2>/dev/null |
    awk '$1 > ($0 ~ / demo\/model\/model\.safetensors$/ ? 25165824 : 2097152)')
if [ -n "$big" ]; then
    echo "not ok a file above 2 MB: $big"
    n_bad=$((n_bad + 1))
else
    echo "ok no file above 2 MB (the demo model's weights: 24 MB)"
fi
exit $((n_bad > 0))
