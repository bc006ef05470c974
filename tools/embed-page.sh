#!/usr/bin/env bash
# Writes a C file that holds the built page (web/, `make page`) for the program to serve: each file as it is, text also
# compressed. Without a built page the list is empty. usage: tools/embed-page.sh FOLDER OUT.c
set -euo pipefail
folder=$1 out=$2
pack=${out%.c}.gz
mkdir -p "$(dirname "$out")"
rm -rf "$pack"
mkdir -p "$pack"

media_type() {
    case $1 in
        *.html) echo "text/html; charset=utf-8" ;;
        *.js) echo "text/javascript; charset=utf-8" ;;
        *.css) echo "text/css; charset=utf-8" ;;
        *.svg) echo image/svg+xml ;;
        *.png) echo image/png ;;
        *.mp4) echo video/mp4 ;;
        *.woff2) echo font/woff2 ;;
        *.txt) echo "text/plain; charset=utf-8" ;;
    esac
}

files=()
if [ -e "$folder/index.html" ]; then
    mapfile -t files < <(cd "$folder" && find . -type f ! -name '*.ttf' ! -name '*.woff' | sed 's|^\./||' | LC_ALL=C sort)
fi
{
    echo "/* Made by tools/embed-page.sh. */"
    echo '#include "server/page.h"'
    rows=
    for i in "${!files[@]}"; do
        name=${files[$i]} type=$(media_type "${files[$i]}")
        [ -n "$type" ] || { echo "embed-page: $name: of no known type" >&2; exit 1; }
        path=$folder/$name
        echo "__asm__(\".section .rodata\\n.balign 16\\npage_${i}_raw:\\n.incbin \\\"$path\\\"\\npage_${i}_raw_end:\\n.byte 0\\n\""
        gz="NULL, 0"
        case $type in
            text/* | image/svg*)
                gzip -9nc "$path" >"$pack/$i"
                echo "        \".balign 16\\npage_${i}_gz:\\n.incbin \\\"$pack/$i\\\"\\npage_${i}_gz_end:\\n.byte 0\\n\""
                ;;
        esac
        echo '        ".previous\n");'
        echo "extern const uint8_t page_${i}_raw[], page_${i}_raw_end[] __attribute__((visibility(\"hidden\")));"
        if [ -e "$pack/$i" ]; then
            echo "extern const uint8_t page_${i}_gz[], page_${i}_gz_end[] __attribute__((visibility(\"hidden\")));"
            gz="page_${i}_gz, page_${i}_gz_end"
        else
            gz="NULL, NULL"
        fi
        tag=$(sha256sum "$path" | cut -c1-32)
        rows+="    {\"/$name\", \"$type\", \"\\\"$tag\\\"\", page_${i}_raw, page_${i}_raw_end, $gz},"$'\n'
    done
    echo "const struct qvl_page_file qvl_page_files[] = {"
    printf '%s' "$rows"
    echo "    {NULL, NULL, NULL, NULL, NULL, NULL, NULL}};"
    echo "const size_t qvl_n_page_file = sizeof qvl_page_files / sizeof *qvl_page_files - 1;"
} >"$out"
