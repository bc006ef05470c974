#!/usr/bin/env bash
# The built-in demo model: where it is found, what is said of it, and that its answers are true. Finding needs any
# model in its place; the answers need demo/model.
. "$(dirname "$0")/common.sh"
golden=$(golden a)
other=$(golden b)
picture=$PWD/tests/data/pictures/shapes.png

program() { # folder: the programs of this build in it
    mkdir -p "$1"
    cp "$qvl" "$build/qvl-media" "$build/qvl-media-av.so" "$1/"
}
bare() { env -i "${no_hub[@]}" "$@" </dev/null 2>"$work/err"; } # with an empty environment
says_it_once() { # name: stderr says once that it is the demo model, and how to get another
    local n
    n=$(grep -c '^qvl: no model was given, so this is the built-in demo model' "$work/err")
    if [ "$n" -eq 1 ] && [ "$(grep -c 'qvl pull' "$work/err")" -eq 1 ]; then ok "$1"; else bad "$1" "$(cat "$work/err")"; fi
}
says_nothing_of_it() {
    if grep -q 'demo model' "$work/err"; then bad "$1" "$(cat "$work/err")"; else ok "$1"; fi
}

# ---- found from the program
bare "$qvl" run -m "$golden" "$picture" "What?" -n 6 --temp 0 >"$work/answer"
says_nothing_of_it "a model that was given is not called the demo model"
program "$work/installed/bin"
mkdir -p "$work/installed/share/qvl"
cp -r "$golden" "$work/installed/share/qvl/demo-model"
mkdir -p "$work/tree/demo"
cp -r "$golden" "$work/tree/demo/model"
program "$work/tree/build"
program "$work/tree/build/x"
for place in installed/bin tree/build tree/build/x; do
    bare "$work/$place/qvl" run "$picture" "What?" -n 6 --temp 0 >"$work/b"
    same "$place/qvl finds it" "$work/answer" "$work/b"
    says_it_once "$place/qvl says so"
done
qvl=$work/installed/bin/qvl
(cd "$work/installed" && bare bin/qvl run "$picture" "What?" -n 6 --temp 0 >"$work/b")
same "started with a relative path" "$work/answer" "$work/b"
ln -s "$qvl" "$work/link"
bare "$work/link" run "$picture" "What?" -n 6 --temp 0 >"$work/b"
same "started through a link" "$work/answer" "$work/b"
bare HOME=/nonexistent "$qvl" "$picture" "What?" -n 6 --temp 0 >"$work/b"
same "without the verb" "$work/answer" "$work/b"
refuse "a missing picture is the only thing said" 4 'gone.png' bare "$qvl" run gone.png "What?"

# ---- what is said of it
bare LANG=zh_CN.UTF-8 "$qvl" run "$picture" "What?" -n 6 --temp 0 >"$work/b"
same "in Chinese" "$work/answer" "$work/b"
has "it is said in Chinese" '没有指定模型，因此使用内置的演示模型' "$work/err"
has "and how to get another" 'ModelScope' "$work/err"
for quiet in -q --progress=none; do
    bare "$qvl" run "$picture" "What?" -n 6 --temp 0 $quiet >"$work/b"
    same "$quiet" "$work/answer" "$work/b"
    [ ! -s "$work/err" ] && ok "$quiet says nothing" || bad "$quiet says nothing" "$(cat "$work/err")"
done
bare "$qvl" run "$picture" "What?" -n 6 --temp 0 --json >"$work/b"
has "--json names its folder" "\"model\": \"$work/installed/share/qvl/demo-model\"" "$work/b"
says_it_once "--json says it on stderr"
bare "$qvl" run "$picture" "What?" --dry-run >"$work/b"
says_it_once "--dry-run says it"
bare "$qvl" inspect >"$work/b"
has "inspect" "^model +$work/installed/share/qvl/demo-model\$" "$work/b"
says_it_once "inspect says it"
bare "$qvl" inspect "$other" >"$work/b"
says_nothing_of_it "inspect of another model does not"
bare "$qvl" tokenize "a b" >"$work/b"
bare "$qvl" tokenize -m "$golden" "a b" >"$work/c"
same "tokenize" "$work/b" "$work/c"
says_nothing_of_it "tokenize with -m says nothing of it"
bare "$qvl" tokenize "a b" >"$work/b"
says_it_once "tokenize says it"

# ---- given models win
bare "$qvl" run -m "$other" "x" -n 2 --json >"$work/b"
has "-m wins" "\"model\": \"$other\"" "$work/b"
says_nothing_of_it "-m: nothing is said of it"
bare QVL_MODEL="$other" "$qvl" run "x" -n 2 --json >"$work/b"
has "QVL_MODEL wins" "\"model\": \"$other\"" "$work/b"
says_nothing_of_it "QVL_MODEL: nothing is said of it"
refuse "a given model that is missing is not replaced" 3 '/nonexistent/config.json' "$qvl" run -m /nonexistent "x"
sed -i 's/"qvl_golden"/"qvl_demo"/' "$work/installed/share/qvl/demo-model/config.json"
bare "$qvl" run -m "$work/installed/share/qvl/demo-model" "x" -n 2 >"$work/b"
has "a demo model that was given is named" 'demo-model is the demo model: it knows' "$work/err"
bare "$qvl" run "x" -n 2 >"$work/b"
says_it_once "one that was found, once"
if grep -q 'is the demo model:' "$work/err"; then bad "and not again"; else ok "and not again"; fi

# ---- chat
export XDG_STATE_HOME=$work/state
printf '%s What?\nAnd now?\n' "$picture" | env -i "${no_hub[@]}" "$qvl" chat -n 6 --temp 0 >"$work/b" 2>"$work/err"
head -n "$(wc -l <"$work/answer")" "$work/b" >"$work/c"
same "chat through a pipe" "$work/answer" "$work/c"
says_it_once "chat says it once"
has "and greets with it" '^qvl [0-9.]+ with the demo model, a context of' "$work/err"
cat >"$work/script" <<'END'
expect built-in demo model
expect >>> 
send hello\r
expect length
expect >>> 
send /bye\r
END
check "qvl alone in a terminal chats with it" \
    env TERM=xterm LC_ALL=C.UTF-8 QVL_TEMP=0 QVL_MAX_TOKENS=6 "$build/pty" "$work/script" "$qvl"

# ---- not found
rm "$work/installed/share/qvl/demo-model/config.json"
bare "$qvl" run "x" >"$work/b"
[ $? -eq 3 ] && grep -q 'no model was given\.$' "$work/err" && ok "a folder without config.json is none" ||
    bad "a folder without config.json is none" "$(cat "$work/err")"

# ---- the answers
qvl=$build/qvl
if [ ! -e demo/model/model.safetensors ]; then
    echo "SKIP: demo/model/model.safetensors is not there: the demo model's answers are not tested"
    finish
fi
bare "$qvl" run "hello" -n 1 --json >"$work/b"
has "this build finds demo/model" "\"model\": \"$PWD/demo/model\"" "$work/b"
mapfile -t lines <demo/questions.txt
mapfile -t golden <tests/golden/demo_answers.txt # transformers' own with this model (reference/demo_answers.py)
n_right=0
for i in "${!lines[@]}"; do
    IFS=$'\t' read -r names question truth <<<"${lines[i]}"
    IFS=$'\t' read -r golden_names golden_question answer <<<"${golden[i]:-}"
    read -ra name <<<"$names"
    said=$(bare "$qvl" run "${name[@]/#/demo/}" -p "$question" --temp 0 -q)
    if [ "$names $question" = "$golden_names $golden_question" ] &&
        said=$said truth=$answer awk -f tools/right_answer.awk; then ok "$names: $question"
    else bad "$names: $question" "$said, but transformers says: $answer"; fi
    said=$said truth=$truth awk -f tools/right_answer.awk && n_right=$((n_right + 1))
done
# Raise this with the model.
least_right=13
if [ "$n_right" -ge "$least_right" ]; then ok "$n_right of ${#lines[@]} answers are true"
else bad "$n_right of ${#lines[@]} answers are true" "at least $least_right were"; fi
IFS=$'\t' read -r names question truth <<<"${lines[0]}"
read -ra name <<<"$names"
{
    printf 'demo/%s ' "${name[@]}"
    printf '%s\n' "$question"
} >"$work/typed"
env -i "$qvl" chat --temp 0 -q <"$work/typed" >"$work/b" 2>"$work/err"
bare "$qvl" run "${name[@]/#/demo/}" -p "$question" --temp 0 -q >"$work/c"
same "the chat answers as qvl run does" "$work/c" "$work/b"
check "make demo" tools/demo.sh "$build"
finish
