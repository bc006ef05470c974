#!/usr/bin/env bash
# Bad input of every kind: the documented exit code, one sentence that names the file, nothing on stdout.
. "$(dirname "$0")/common.sh"
model=$(golden a)
shards=$(golden c)
picture=tests/data/pictures/shapes.png
run() { "$qvl" run -m "$model" --dry-run "$@"; }

# ---- usage (2)
refuse "no prompt" 2 'no prompt' run "$picture"
refuse "unknown option" 2 '--frobnicate' run --frobnicate "x"
refuse "option without value" 2 'needs a value' run "x" --seed
refuse "number that is none" 2 '--max-tokens' run "x" -n 12x
refuse "negative number" 2 '--top-k' run "x" --top-k -3
refuse "number out of range" 2 '--top-p' run "x" --top-p 1.5
refuse "not a number" 2 '--temp' run "x" --temp nan
refuse "unknown choice" 2 'torchvision' run "x" --resize bilinear
refuse "value for a flag" 2 'takes no value' run "x" --json=1
refuse "environment out of range" 2 'QVL_TOP_P' env QVL_TOP_P=7 "$qvl" run -m "$model" --dry-run "x"
refuse "unknown kernel level" 2 'avx2' run "x" --isa pentium
refuse "prompt that is not UTF-8" 2 'UTF-8' run $'\xff\xfe'
refuse "lone word" 2 'no such command' "$qvl" describe
refuse "min above max" 2 'min_pixels' run "$picture" "x" --min-pixels 5000 --max-pixels 4000
refuse "empty stop string" 2 'stop string' run "x" --stop ""
refuse "--ids without --json" 2 '--json' run "x" --ids
refuse "empty stdin" 2 'stdin is empty' run -

# ---- pictures (4)
head -c 2000 "$picture" >"$work/cut.png"
echo "this is text" | tee "$work/text.jpg" >"$work/text.doc"
: >"$work/empty.png"
mkdir "$work/folder.png"
bmp() { # width height bytes-of-pixels: an uncompressed 24-bit BMP
    le() { printf "\\x$(printf %02x $(($1 & 255)))\\x$(printf %02x $(($1 >> 8 & 255)))\\x$(printf %02x $(($1 >> 16 & 255)))\\x$(printf %02x $(($1 >> 24 & 255)))"; }
    printf 'BM'; le $((54 + $3)); le 0; le 54; le 40; le "$1"; le "$2"; printf '\x01\x00\x18\x00'; le 0; le "$3"
    le 2835; le 2835; le 0; le 0
    head -c "$3" /dev/zero
}
bmp 1 1 4 >"$work/1x1.bmp"
bmp 1 5000 20000 >"$work/1x5000.bmp"
bmp 30000 30000 1000 >"$work/huge.bmp"
refuse "missing picture" 4 'nowhere.jpg: no such file .use --prompt' run nowhere.jpg "x"
refuse "sentence that ends like a picture" 4 'describe a.jpg: no such file .use --prompt' run "describe a.jpg"
refuse "missing picture by --image" 4 'nowhere' run --image nowhere "x"
refuse "missing path of an unknown type" 4 'a/b.pic: no such file' run a/b.pic "x"
refuse "path of another file" 4 'text.doc: not a picture or clip' run "$work/text.doc" "x"
refuse "existing file without a folder in its name" 4 'Makefile: not a picture or clip .use --prompt' run Makefile "x"
refuse "existing folder without a slash" 4 'src: a folder \(--video' run src "x"
check "which --prompt sends" run --prompt Makefile
refuse "device as a word" 4 '/dev/null: not a picture or clip' run /dev/null "x"
refuse "picture that is text" 4 'text.jpg' run "$work/text.jpg" "x"
refuse "empty picture" 4 'empty.png' run "$work/empty.png" "x"
refuse "picture cut in the middle" 4 'cut.png' run "$work/cut.png" "x"
refuse "folder with the name of a picture" 4 'folder.png' run "$work/folder.png" "x"
refuse "1 x 5000 picture" 4 '1x5000.bmp.*(long|200)' run "$work/1x5000.bmp" "x"
refuse "30,000 x 30,000 picture" 4 'huge.bmp.*30000' run "$work/huge.bmp" "x"
refuse "missing clip" 4 'nowhere.mp4' run nowhere.mp4 "x"
check "1 x 1 picture works" run "$work/1x1.bmp" "x"
ln -s loop.png "$work/loop.png"
refuse "unreadable path" 4 'loop.png: cannot open: Too many levels' run "$work/loop.png" "x"
refuse "path through a file" 4 'text.jpg/a.png: cannot open: Not a directory' run "$work/text.jpg/a.png" "x"
if [ "$(id -u)" -eq 0 ]; then
    echo "SKIP: root may read every file: a picture without read permission is not tested"
else
    cp "$picture" "$work/locked.png" && chmod 0 "$work/locked.png"
    refuse "unreadable picture" 4 'locked.png' run "$work/locked.png" "x"
fi

# ---- model (3)
broken() { # name of the copy: a copy of the golden model to break
    rm -rf "$work/model"
    cp -r "${1:-$model}" "$work/model"
}
bad_model() { refuse "$1" 3 "$2" "$qvl" run -m "$work/model" --dry-run "x"; }
refuse "device as a picture" 4 '/dev/null' run --image /dev/null "x"
"$(without_model)" run "x" >"$work/out" 2>"$work/err"
[ $? -eq 3 ] && [ ! -s "$work/out" ] && grep -q 'no model was given\.$' "$work/err" && grep -q 'qvl pull' "$work/err" &&
    ok "no model" || bad "no model" "$(cat "$work/err")"
refuse "missing model folder" 3 "$work/none" "$qvl" run -m "$work/none" --dry-run "x"
broken && rm "$work/model/config.json" && bad_model "no config.json" 'config.json'
broken && echo '{"a": [1, 2' >"$work/model/config.json" && bad_model "config.json that is no JSON" 'config.json'
broken && sed -i 's/"model_type": *"qwen3_vl"/"model_type": "qwen3_vl_moe"/' "$work/model/config.json" &&
    bad_model "mixture of experts" '[Mm]ixture'
broken && sed -i 's/"hidden_size": *256/"hidden_size": 260/' "$work/model/config.json" &&
    bad_model "config that disagrees with the weights" 'config.json|model.safetensors'
broken && sed -i 's/"image_token_id": *568/"image_token_id": 570/' "$work/model/config.json" &&
    bad_model "config of another tokenizer" 'image_token_id is 570, but 568 in the tokenizer'
broken && sed -i 's/"rope_type": *"default"/"rope_type": "longrope"/' "$work/model/config.json" &&
    bad_model "unknown rope_type" 'rope_type is "longrope"'
broken && echo '{}' >"$work/model/tokenizer.json" && bad_model "tokenizer.json that is none" 'tokenizer.json'
broken && head -c 100 "$model/tokenizer.json" >"$work/model/tokenizer.json" && bad_model "tokenizer.json cut" 'tokenizer.json'
broken && rm "$work/model/model.safetensors" && bad_model "no weights" 'model.safetensors'
broken && : >"$work/model/model.safetensors" && bad_model "empty weights" 'model.safetensors'
broken && head -c 100000 "$model/model.safetensors" >"$work/model/model.safetensors" &&
    bad_model "weights cut" 'model.safetensors'
broken && printf '\xff\xff\xff\xff\xff\xff\xff\x7f' |
    dd of="$work/model/model.safetensors" conv=notrunc status=none && bad_model "header length that lies" 'model.safetensors'
broken && sed -i '1s/embed_tokens\.weight/embed_tokenz.weight/' "$work/model/model.safetensors" &&
    bad_model "tensor missing" 'missing: model.language_model.embed_tokens.weight'
broken && sed -i '1s/"BF16"/"I16" /' "$work/model/model.safetensors" && bad_model "wrong dtype" 'model.safetensors'
broken && sed -i '1s/"data_offsets":\[0,/"data_offsets":[2,/' "$work/model/model.safetensors" &&
    bad_model "offsets with a hole" 'model.safetensors'
broken "$shards" && sed -i 's#"model-00001#"../model-00001#' "$work/model/model.safetensors.index.json" &&
    bad_model "index that points outside" 'index.json'
broken "$shards" && rm "$work/model/"model-00002* && bad_model "shard missing" 'model-00002'

refuse "unreadable model folder" 3 'loop.png' "$qvl" run -m "$work/loop.png" --dry-run "x"
broken && printf '\xc0\x7f' | dd of="$work/model/model.safetensors" bs=1 conv=notrunc status=none \
    seek=$(($(wc -c <"$work/model/model.safetensors") - 2)) &&
    refuse "inspect --check: one weight is NaN" 3 'bias: value [0-9]+ of [0-9]+ is infinite or not a number' "$qvl" inspect "$work/model" --check
refuse "inspect --check --json: one weight is NaN" 3 'infinite or not a number' "$qvl" inspect "$work/model" --check --json

# ---- qvl-media (1): not the picture's fault
refuse "no such qvl-media" 1 '/nonexistent/qvl-media.*cannot be started: No such file' run --media-helper /nonexistent/qvl-media "$picture" "x"
refuse "a program that is not qvl-media" 1 'false.*cannot be started: it ended' run --media-helper /bin/false "$picture" "x"
mkdir "$work/alone" && cp "$qvl" "$work/alone/"
refuse "qvl without qvl-media" 1 'qvl-media.*is missing' "$work/alone/qvl" run -m "$model" --dry-run "$picture" "x"
check "qvl without qvl-media: text needs none" "$work/alone/qvl" run -m "$model" --dry-run "x"

# ---- does not fit (5)
refuse "context overflow by the prompt" 5 'context' run "$picture" "x" -c 100
refuse "context overflow by -n" 5 'context.*600|600' run "x" -c 600 -n 600
refuse "context larger than the model's" 5 'context' run "x" -c 4000000
check "the default answer takes what is left" "$qvl" run -m "$model" "x" -c 40 -q

# ---- outputs (1)
sentence() { grep -q '^qvl: .*cannot' "$work/err"; }
"$qvl" run -m "$model" "x" -n 4 -q >/dev/full 2>"$work/err"
[ $? -eq 1 ] && sentence && ok "stdout on a full disk" || bad "stdout on a full disk"
"$qvl" run -m "$model" "x" -n 4 -q --json >/dev/full 2>"$work/err"
[ $? -eq 1 ] && sentence && ok "JSON on a full disk" || bad "JSON on a full disk"
"$qvl" inspect "$model" >/dev/full 2>"$work/err"
[ $? -eq 1 ] && sentence && ok "inspect on a full disk" || bad "inspect on a full disk"
"$qvl" tokenize -m "$model" "x" >/dev/full 2>"$work/err"
[ $? -eq 1 ] && sentence && ok "tokenize on a full disk" || bad "tokenize on a full disk"
"$qvl" --help all >/dev/full 2>"$work/err"
[ $? -eq 1 ] && sentence && ok "help on a full disk" || bad "help on a full disk"
"$qvl" --version >/dev/full 2>"$work/err"
[ $? -eq 1 ] && sentence && ok "version on a full disk" || bad "version on a full disk"
mkdir "$work/full" && ln -s /dev/full "$work/full/decoder.embed.npy"
refuse "dump on a full disk" 1 'decoder.embed.npy: cannot write: No space left' "$qvl" run -m "$model" "x" --dump "$work/full" -n 2 -q
refuse "dump folder that cannot be made" 1 'cannot make' "$qvl" run -m "$model" "x" --dump "$work/no/such/folder" -n 2
mkdir "$work/dump" && mkdir "$work/dump/prompt.pixels.0.npy"
refuse "dump file that cannot be written" 1 'prompt.pixels.0.npy.*cannot write' "$qvl" run -m "$model" "$picture" "x" --dump "$work/dump" -n 2 -q
for stream in '<&-' '<&- >&-' '<&- >&- 2>&-'; do # a file that is opened must not take its place
    rm -f "$work/err"
    bash -c "\"\$@\" 2>$work/err $stream" _ "$qvl" run -m "$model" "$picture" -p "x" -n 2 -q >"$work/out"
    rc=$?
    case $stream in
    '<&-') [ $rc -eq 0 ] && [ -s "$work/out" ] ;;
    '<&- >&-') [ $rc -eq 1 ] && sentence ;;
    *) [ $rc -eq 1 ] && [ ! -s "$work/err" ] ;;
    esac && ok "closed by the caller: $stream" || bad "closed by the caller: $stream" "exit code $rc: $(cat "$work/err")"
done
refuse "without a prompt, and stdin is closed" 4 'stdin: cannot read: Bad file' bash -c '"$@" <&-' _ "$qvl" run -m "$model" "$picture" --dry-run
{ "$qvl" run -m "$model" "x" -n 2000 -q 2>"$work/err"; echo $? >"$work/rc"; } | head -c 1 >/dev/null
[ "$(cat "$work/rc")" -eq 1 ] && sentence && ok "stdout closed by its reader" || bad "stdout closed by its reader"

# ---- in Chinese: names, numbers and exit codes are the same
export QVL_LANG=zh
refuse "Chinese: no such model" 3 '^qvl: /nonexistent/config.json：无法打开：没有那个文件或目录$' run -m /nonexistent "x" -q
refuse "Chinese: no such picture" 4 '^qvl: /nonexistent/图.png：没有这个文件' run /nonexistent/图.png "x" -q
head -c 100 "$picture" >"$work/cut.png"
refuse "Chinese: a picture that is cut off" 4 '^qvl: .*cut.png：这张 PNG 图片.*截断' run "$work/cut.png" "x" -q
refuse "Chinese: a value that is none" 2 '^qvl: --temp hot：必须是 0 到 100 之间的数$' run "x" --temp hot
refuse "Chinese: options that contradict each other" 2 '^qvl: --fps 与 --num-frames 互相矛盾' run "x" --fps 1 --num-frames 2
refuse "Chinese: context overflow" 5 '^qvl: 仅前 1 个图片和视频就需要 [0-9]+ 个 token，而上下文只有 100 个' run "$picture" "x" -c 100 -q
unset QVL_LANG

# ---- out of memory (5)
if ! "$qvl" --version 2>&1 | grep -q Sanitizer && ! grep -q __asan_init "$qvl"; then
    (
        ulimit -v 600000
        "$qvl" run -m "$model" "$picture" "x" --min-pixels 30000000 --max-pixels 40000000 -q >"$work/out" 2>"$work/err"
    )
    [ $? -eq 5 ] && [ ! -s "$work/out" ] && grep -q 'memory' "$work/err" && ok "memory that runs out" ||
        bad "memory that runs out" "$(cat "$work/err")"
fi
finish
