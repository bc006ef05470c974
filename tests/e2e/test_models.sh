#!/usr/bin/env bash
# Models in the caches: found by their names, listed, removed, packed; what is meant where none is named. No network.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/hub.sh"
commit=0123456789abcdef0123456789abcdef01234567
name=Qwen/Qwen3-VL-2B-Instruct
picture=demo/receipt.png
unset XDG_DATA_HOME
at_home() { env -u XDG_STATE_HOME HOME="$home" HF_HUB_OFFLINE=1 "$@"; }
hf() { echo "$home/.cache/huggingface/hub/models--${1/\//--}"; }
ask() { at_home "$qvl" run "$picture" "Read the form as JSON." -n 8 --temp 0 "$@" </dev/null 2>"$work/err"; }

# in_hf NAME [COMMIT]: the demo model in Hugging Face's cache, as huggingface_hub lays it out.
in_hf() {
    local root file snapshot
    root=$(hf "$1") snapshot=$root/snapshots/${2:-$commit}
    mkdir -p "$root/blobs" "$root/refs" "$snapshot"
    for file in "$demo"/*.json "$demo"/*.safetensors; do
        local blob
        blob=$(sha256sum <"$file" | cut -c1-40)
        cp "$file" "$root/blobs/$blob"
        ln -sf "../../blobs/$blob" "$snapshot/${file##*/}"
    done
    printf '%s' "${2:-$commit}" >"$root/refs/main"
}
in_modelscope() { # FOLDER of its cache
    mkdir -p "$home/.cache/modelscope/$1"
    cp "$demo"/*.json "$demo"/*.safetensors "$home/.cache/modelscope/$1/"
}

# ---- by its name
"$qvl" run -m "$demo" "$picture" "Read the form as JSON." -n 8 --temp 0 -q >"$work/expected" </dev/null
at_home "$qvl" list >"$work/out" 2>"$work/err"
[ ! -s "$work/out" ] && has "nothing is here" 'qvl pull' "$work/err" || bad "nothing is here" "$(cat "$work/out")"
in_hf $name
ask -m $name >"$work/out"
same "a name finds it in Hugging Face's cache" "$work/expected" "$work/out"
ask -m hf:$name@main >"$work/out"
same "with its revision" "$work/expected" "$work/out"
at_home env QVL_MODEL=$name "$qvl" inspect >"$work/out" 2>"$work/err"
has "QVL_MODEL takes a name" 'Qwen3VL|qwen3_vl' "$work/out"
at_home "$qvl" inspect $name >"$work/out" 2>"$work/err"
has "so does inspect" 'Qwen3VL|qwen3_vl' "$work/out"
refuse "another revision" 3 "$name@v9.*qvl pull" at_home "$qvl" run -m $name@v9 "x"
refuse "a model that is not here" 3 'Qwen/Qwen3-VL-4B-Instruct.*qvl pull' at_home "$qvl" run -m Qwen/Qwen3-VL-4B-Instruct "x"
refuse "ModelScope has none" 3 'qvl pull' at_home "$qvl" run -m ms:$name "x"
rm "$(hf $name)/snapshots/$commit/model.safetensors"
refuse "one that is not whole" 3 'qvl pull' at_home "$qvl" run -m $name "x"
at_home "$qvl" list >"$work/out" 2>"$work/err"
has "is listed as that" "$name .*not whole" "$work/out"
fresh
for folder in models/Qwen--Qwen3-VL-2B-Instruct/snapshots/master hub/models/Qwen/Qwen3-VL-2B-Instruct models/Qwen/Qwen3-VL-2B-Instruct \
    hub/Qwen/Qwen3-VL-2B-Instruct; do
    in_modelscope $folder
    ask -m $name >"$work/out"
    same "ModelScope: $folder" "$work/expected" "$work/out"
    works "and removed" say at_home "$qvl" rm --yes ms:$name
    [ ! -e "$home/.cache/modelscope/$folder" ] && ok "so that it is gone" || bad "so that it is gone"
done
mkdir -p "$work/here/Qwen" && cp -r "$demo" "$work/here/$name"
fresh && in_hf $name && : >"$(hf $name)/snapshots/$commit/config.json"
check "a folder of that name comes first" at_home bash -c 'cd "$1" && "$2" inspect "$3"' x "$work/here" "$PWD/$qvl" $name

# ---- the default
fresh
in_hf $name
ask >"$work/out"
same "what was pulled answers where no model is named" "$work/expected" "$work/out"
if grep -q 'demo model, a small\|no model was given' "$work/err"; then bad "and is not taken for the built-in one" "$(cat "$work/err")"; else ok "and is not taken for the built-in one"; fi
packed=$home/.local/share/qvl/models/Qwen--Qwen3-VL-2B-Instruct-q4
mkdir -p "${packed%/*}"
"$qvl" quantize "$demo" "$packed" --type q4 -q
at_home "$qvl" run "x" -n 1 --json -q >"$work/out" 2>/dev/null </dev/null
has "a packed one before it" '"model": *"[^"]*Instruct-q4"' "$work/out"
at_home "$qvl" run -m $name "x" -n 1 --json -q >"$work/out" 2>/dev/null </dev/null
has "the name alone is the other" "\"model\": *\"[^\"]*$commit\"" "$work/out"
at_home "$qvl" run -m $name-q4 "x" -n 1 --json -q >"$work/out" 2>/dev/null </dev/null
has "with the type it is the packed one" '"model": *"[^"]*Instruct-q4"' "$work/out"
at_home "$qvl" run -m $name --quantize q4 "x" -n 1 --json -q >"$work/out" 2>/dev/null </dev/null
has "--quantize finds it packed" '"model": *"[^"]*Instruct-q4"' "$work/out"
at_home "$qvl" run -m $name --quantize q8 "x" -n 1 --json -q >"$work/out" 2>/dev/null </dev/null
has "and packs where it is not" "\"model\": *\"[^\"]*$commit\"" "$work/out"

# ---- list and rm
in_modelscope models/Qwen--Qwen3-VL-2B-Instruct/snapshots/master
at_home "$qvl" list >"$work/out"
[ "$(grep -c "$name" "$work/out")" -eq 3 ] && ok "all are listed" || bad "all are listed" "$(cat "$work/out")"
has "the default one has its mark" "^\* $name-q4 .* qvl " "$work/out"
has "the size is told" "$name +18\.[0-9] MB +ModelScope " "$work/out"
at_home "$qvl" ls --json >"$work/out"
has "as JSON" '"model":"Qwen/Qwen3-VL-2B-Instruct-q4","source":"qvl".*"whole":true,"default":true,"revision":""' "$work/out"
refuse "rm without a name" 2 'OWNER/NAME' at_home "$qvl" rm
refuse "rm asks nobody" 2 'yes' at_home "$qvl" rm $name
refuse "rm of what is not here" 1 'Qwen/nothing is not here' at_home "$qvl" rm --yes Qwen/nothing
refuse "rm of no name" 2 'OWNER/NAME' at_home "$qvl" rm --yes ../../etc
in_hf $name fedcba9876543210fedcba9876543210fedcba98
printf '{"model_type": "qwen3_vl"}' >"$(hf $name)/blobs/only-old"
ln -sf ../../blobs/only-old "$(hf $name)/snapshots/$commit/config.json"
works "one revision is removed" say at_home "$qvl" rm --yes hf:$name@$commit
[ ! -e "$(hf $name)/blobs/only-old" ] && [ ! -e "$(hf $name)/snapshots/$commit" ] && ok "with what only it used" || bad "with what only it used"
ask -m hf:$name >"$work/out"
same "the other one works" "$work/expected" "$work/out"
cat >"$work/script" <<'END'
expect [y/N]
send n\r
END
at_home env TERM=xterm "$build/pty" "$work/script" "$qvl" rm hf:$name >"$work/screen" 2>&1
[ -e "$(hf $name)" ] && ok "no leaves it" || bad "no leaves it" "$(cat "$work/screen")"
sed -i 's/send n/send y/' "$work/script"
at_home env TERM=xterm "$build/pty" "$work/script" "$qvl" rm hf:$name >"$work/screen" 2>&1
[ ! -e "$(hf $name)" ] && ok "yes removes it" || bad "yes removes it" "$(cat "$work/screen")"
works "all of a name" say at_home "$qvl" rm --yes $name $name-q4
at_home "$qvl" list >"$work/out" 2>/dev/null
[ ! -s "$work/out" ] && [ ! -e "$packed" ] && ok "are gone" || bad "are gone" "$(cat "$work/out")"

# ---- the offer
fresh
hub
cat >"$work/script" <<'END'
expect no model is here yet
expect [y/N]
send n\r
expect built-in demo model
END
offered() { with_home env -u XDG_STATE_HOME -u HF_HUB_OFFLINE -u HF_HUB_CACHE TERM=xterm "$build/pty" "$work/script" "$qvl" "$@" >"$work/screen" 2>&1; }
offered run "$picture" "What?" -n 2 && ok "who has no model is offered one" || bad "who has no model is offered one" "$(cat "$work/screen")"
echo "expect built-in demo model" >"$work/script"
offered run "$picture" "What?" -n 2
if grep -q 'y/N' "$work/screen"; then bad "and asked only once"; else ok "and asked only once"; fi
cat >"$work/script" <<'END'
expect Qwen3-VL-Demo is not here
expect [y/N]
send y\r
END
offered run -m hf:$demo_name "$picture" "Read the form as JSON." -n 8 --temp 0
has "a named one is fetched" 'from Hugging Face' "$work/screen"
[ -e "$(snapshot $demo_name)/config.json" ] && ok "and here then" || bad "and here then" "$(cat "$work/screen")"

# ---- packed while it is pulled
fresh
works "pull --quantize" say with_home "$qvl" pull hf:$demo_name --quantize q4
packed=$home/.local/share/qvl/models/Qwen--Qwen3-VL-Demo-q4
[ "$(tail -n 1 "$home/out")" = "$packed" ] && ok "the packed folder is said" || bad "the packed folder is said" "$(said)"
check "and is a model" "$qvl" inspect "$packed" --check
[ -e "$(snapshot $demo_name)/config.json" ] && ok "the source stays" || bad "the source stays"
reset
works "again" say with_home "$qvl" pull hf:$demo_name --quantize q4 --json
has "says what is here" '"packed":"q4","path":".*Demo-q4"' "$home/out"
[ -z "$(requests)" ] && ok "asks nobody" || bad "asks nobody" "$(requests)"
fresh
works "pull --quantize --delete-source" say with_home "$qvl" pull ms:$demo_name --quantize q8 --delete-source
[ -e "$home/.local/share/qvl/models/Qwen--Qwen3-VL-Demo-q8/config.json" ] && [ ! -e "$home/ms/models/Qwen--Qwen3-VL-Demo" ] &&
    ok "keeps the packed one only" || bad "keeps the packed one only" "$(said; ls -R "$home" | head -n 20)"
refuse "--delete-source alone" 2 'quantize' with_home "$qvl" pull hf:$demo_name --delete-source
refuse "two sources" 2 'two different sources' with_home "$qvl" pull hf:$demo_name --source modelscope
refuse "two models" 2 'one model' with_home "$qvl" pull a/b c/d
finish
