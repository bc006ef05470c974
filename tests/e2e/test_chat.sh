#!/usr/bin/env bash
# The chat: through a pipe, as scripts use it, and in a terminal.
. "$(dirname "$0")/common.sh"
model=$(golden a)
picture=tests/data/pictures/shapes.png
export XDG_STATE_HOME=$work/state
chat() { "$qvl" run -i -m "$model" --temp 0 "$@" >"$work/out" 2>"$work/err"; } # stdin: what is typed
no_report() { # name: the sanitizers, if any, found nothing
    if grep -aq 'Sanitizer\|runtime error' "$work/err" "$work/screen" 2>/dev/null; then
        bad "$1" "$(grep -a -A 5 'Sanitizer\|runtime error' "$work/err" "$work/screen" | head -n 8)"
    else
        ok "$1"
    fi
}
without_last_answer() { # of a saved conversation: a message stands on each line
    local n
    n=$(grep -n '"role": "assistant"' "$1" | tail -n 1 | cut -d: -f1)
    head -n $((n - 1)) "$1" | sed '$ s/,$//'
    printf ']}\n'
}

# ---- through a pipe: only answers on stdout
printf 'hello\n/stats\n' | chat -n 6
"$qvl" run -m "$model" hello --temp 0 -n 6 -q >"$work/alone" 2>/dev/null
same "the first answer is that of qvl run" "$work/alone" "$work/out"
has "stats of a first turn" 'prompt 1[0-9] tokens, 0 of them known from the turns before; answer 6 tokens' "$work/err"
has "and its memory" 'memory [0-9]' "$work/err"
printf 'hello\n/stats\n/set lookup off\n/show\n/retry\n/stats\n' | chat -n 60 --presence-penalty -50 --ignore-eos
[ "$(grep -cE '^[0-9]+ tokens were guessed and computed along, [0-9]+ of them came$' "$work/err")" -eq 1 ] &&
    ok "stats tell guessed tokens, where there were any" || bad "stats tell guessed tokens" "$(cat "$work/err")"
has "/set lookup off" 'loop-guard on, lookup off' "$work/err"
sed -n 1p "$work/out" >"$work/with"
sed -n '$p' "$work/out" >"$work/without"
same "the same answer with them and without" "$work/with" "$work/without"
has "greeting" '^qvl [0-9.]+ with a, a context of [0-9]+ tokens' "$work/err"
if grep -q $'\033\|>>>' "$work/err"; then bad "no prompt and no cursor codes off a terminal"; else ok "no prompt and no cursor codes off a terminal"; fi
"$qvl" run -i -m "$model" --temp 0 -n 6 hello </dev/null >"$work/out" 2>/dev/null
same "a question on the command line" "$work/alone" "$work/out"
"$qvl" run -i -m "$model" --temp 0 -n 6 "$picture" "What is this?" </dev/null >"$work/out" 2>/dev/null
"$qvl" run -m "$model" "$picture" "What is this?" --temp 0 -n 6 -q >"$work/alone" 2>/dev/null
same "with a picture" "$work/alone" "$work/out"
printf 'What is this?\n' | chat -n 6 "$picture"
same "a picture on the command line waits for the question" "$work/alone" "$work/out"
printf '/image %s\nWhat is this?\n' "$picture" | chat -n 6
same "/image" "$work/alone" "$work/out"
has "and it says what it is" 'shapes.png: 640 x 480 pixels, 300 tokens' "$work/err"
printf '/image %s\nWhat is this?\n' "$picture" | "$qvl" chat -m "$model" --temp 0 -n 6 >"$work/out" 2>/dev/null
same "qvl chat is another name" "$work/alone" "$work/out"
printf '%s What is this?\n' "$picture" | chat -n 6
same "a picture at the beginning of the question" "$work/alone" "$work/out"
cp "$picture" "$work/my 图片 (1).png"
printf "'%s'\nWhat is this?\n" "$work/my 图片 (1).png" | chat -n 6
same "a dropped file in quotes" "$work/alone" "$work/out"
printf 'file://%s/my%%20%%E5%%9B%%BE片%%20(1).png What is this?\n' "$work" | chat -n 6
same "a dropped file as URI" "$work/alone" "$work/out"
printf '%s/my\\ 图片\\ \\(1\\).png What is this?\n' "$work" | chat -n 6
same "a dropped file with backslashes" "$work/alone" "$work/out"

printf '/help\n' | chat
for command in $(grep -oE '^/[a-z]+' "$work/err"); do
    grep -q "^\.It Ic $command" docs/qvl.1.in && ok "$command is in the manual page" || bad "$command is in the manual page"
done

# ---- several turns: the same bits as afresh, and the file says the same
printf 'hello\n/image %s\nWhat is this?\n/save %s\n' "$picture" "$work/two.json" | chat -n 1 --dump "$work/dump"
[ -s "$work/dump/logits.1.npy" ] && ok "two turns were computed" || bad "two turns were computed" "$(cat "$work/err")"
without_last_answer "$work/two.json" >"$work/question.json"
"$qvl" run -m "$model" --messages "$work/question.json" --temp 0 -n 1 -q --dump "$work/afresh" >"$work/b" 2>"$work/err"
same "logits of the second turn, with the first one's keys and values, are those computed afresh" \
    "$work/dump/logits.1.npy" "$work/afresh/logits.npy"
printf 'hello\n/image %s\nWhat is this?\n/stats\n/undo\n/image %s\nWhat is this?\n/retry\n/save %s\nAnd now?\n/stats\n' \
    "$picture" "$picture" "$work/three.json" | chat -n 6
[ "$(wc -l <"$work/out")" -ge 5 ] && ok "five answers" || bad "five answers" "$(cat "$work/out")"
has "the second turn knows the first" 'prompt 3[0-9]+ tokens, [1-9][0-9]* of them known' "$work/err"
[ "$(sed -n 2p "$work/out")" = "$(sed -n 3p "$work/out")" ] && [ "$(sed -n 2p "$work/out")" = "$(sed -n 4p "$work/out")" ] &&
    ok "the same after /undo and after /retry" || bad "the same after /undo and after /retry" "$(cat "$work/out")"
has "/undo says what is left" 'the conversation has 1 turn$' "$work/err"
without_last_answer "$work/three.json" >"$work/question.json"
"$qvl" run -m "$model" --messages "$work/question.json" --temp 0 -n 6 -q >"$work/b" 2>"$work/err"
sed -n 4p "$work/out" >"$work/a"
same "the saved conversation gives the chat's answer" "$work/a" "$work/b"
printf '/load %s\n/retry\n/show\nAnd now?\n' "$work/three.json" | chat -n 6
printf 'hello\n/image %s\nWhat is this?\n/save %s\nAnd now?\n' "$picture" "$work/again.json" >"$work/typed"
sed -n 2p "$work/out" >"$work/a"
chat -n 6 <"$work/typed"
sed -n 3p "$work/out" >"$work/b"
same "/load, /retry and the next question go on as the chat did" "$work/a" "$work/b"
same "/save writes the same file again" "$work/three.json" "$work/again.json"
printf '/clear\nhello\n' | "$qvl" run -i -m "$model" --temp 0 -n 6 --messages "$work/three.json" >"$work/b" 2>"$work/err"
"$qvl" run -m "$model" hello --temp 0 -n 6 -q >"$work/a" 2>/dev/null
same "--messages begins a chat, /clear forgets it" "$work/a" "$work/b"

# ---- settings, system message, several lines
printf '/set max-tokens 3\nhello\n/set temp 1\n/set seed 7\n/set max_tokens 12\nhello\n/show\n' | chat -n 6
"$qvl" run -m "$model" hello --temp 0 -n 3 -q >"$work/a" 2>/dev/null
sed -n 1p "$work/out" >"$work/b"
same "/set" "$work/a" "$work/b"
has "/show" '^temp 1, ' "$work/err"
has "/show: seed" '^seed 7$' "$work/err"
printf '/system Be brief.\nhello\n' | chat -n 6
"$qvl" run -m "$model" --system "Be brief." hello --temp 0 -n 6 -q >"$work/a" 2>/dev/null
same "/system" "$work/a" "$work/out"
"$qvl" run -m "$model" $'one\n two "x"\nthree' --temp 0 -n 6 -q >"$work/a" 2>/dev/null
printf 'one\\\n two "x"\\\nthree\n' | chat -n 6
same "lines that end in a backslash" "$work/a" "$work/out"
printf '"""one\n two "x"\nthree"""\n' | chat -n 6
same "lines between quotes" "$work/a" "$work/out"
printf '"""\none\n two "x"\nthree\n"""' | chat -n 6
same "quotes on lines of their own, and no line break at the end" "$work/a" "$work/out"
for typed in '"""' '"""""' '"""\n' '"""\n"""' '\\' 'x\\' '"""a'; do
    # shellcheck disable=SC2059
    printf "$typed" | chat -n 6
    [ $? -eq 0 ] && [ "$(grep -c . "$work/out")" -le 1 ] && ok "an entry that ends early: $typed" ||
        bad "an entry that ends early: $typed" "$(cat "$work/err")"
done
printf '\n  \nhello\n\n' | chat -n 6
[ "$(grep -c . "$work/out")" -eq 1 ] && ok "empty lines are no questions" || bad "empty lines are no questions" "$(cat "$work/out")"

# ---- a clip of pictures
mkdir "$work/frames"
for i in 1 2 3 4; do cp "$picture" "$work/frames/f$i.png"; done
printf '/video %s fps=1 max_pixels=65536\nWhat moves?\n/save %s\n' "$work/frames" "$work/clip.json" | chat -n 4
has "/video of a folder" 'frames: 640 x 480 pixels; the model sees 4 frames, [0-9]+ tokens' "$work/err"
has "its pictures and times are in the file" '"times": \[0, 1, 2, 3\], "max_pixels": 65536' "$work/clip.json"
without_last_answer "$work/clip.json" >"$work/question.json"
"$qvl" run -m "$model" --messages "$work/question.json" --temp 0 -n 4 -q >"$work/b" 2>"$work/err"
same "and it gives the chat's answer" "$work/out" "$work/b"

printf '%s/ What moves?\n/save %s\n' "$work/frames" "$work/dropped.json" | chat -n 4 --max-pixels 65536 --sample-fps 1
same "a folder that is dropped is a clip" "$work/clip.json" "$work/dropped.json"

# ---- files
cp "$picture" "$work/"$'\e[31mred.png'
printf '/show\n/image %s\n/show\nhello\n/show\n/system \e[1mx\n/show\n' "$work/"$'\e[31mred.png' | chat -n 2
if grep -q $'\e' "$work/err"; then bad "a name cannot steer the terminal" "$(grep $'\e' "$work/err")"; else ok "a name cannot steer the terminal"; fi
has "and is shown" '^  .*x1b\[31mred\.png$' "$work/err"
[ "$(grep -c '^seed random$' "$work/err")" -eq 2 ] && has "the seed of the last question, once there is one" '^seed random, [0-9]+ for' "$work/err" ||
    bad "no seed before the first question" "$(grep seed "$work/err")"
has "a hint for the chat" 'cut at 2 tokens \(/set max-tokens allows more\)' "$work/err"
(umask 077 && printf 'hello\n/save %s\n' "$work/mine.json" | chat -n 2)
ln -s mine.json "$work/link.json"
printf 'hello\n/save %s\n' "$work/link.json" | chat -n 4
[ -L "$work/link.json" ] && [ "$(stat -c %a "$work/mine.json")" = 600 ] && ok "/save keeps links and permissions" ||
    bad "/save keeps links and permissions" "$(ls -l "$work/"*.json)"
printf '/load %s\n/retry\n' "$work/mine.json" | chat -n 4
has "and the file behind the link is the new one" '1 turn$' "$work/err"
ls "$work"/*.part >/dev/null 2>&1 && bad "nothing is left beside it" || ok "nothing is left beside it"

# ---- what goes wrong is one sentence, and the chat goes on
wrong() { # name, what is typed, pattern
    printf '%s\nhello\n' "$2" | chat -n 6
    local rc=$?
    if [ $rc -eq 0 ] || [ $rc -ge 126 ]; then bad "$1" "exit code $rc"
    elif ! grep -qE -e "^qvl: .*$3" "$work/err"; then bad "$1" "$(cat "$work/err")"
    elif [ "$(grep -c '^qvl: ' "$work/err")" -ne 3 ]; then bad "$1" "more than one sentence: $(cat "$work/err")" # demo model, cut at 6
    else same "$1" "$work/a" "$work/out"; fi
}
"$qvl" run -m "$model" hello --temp 0 -n 6 -q >"$work/a" 2>/dev/null
wrong "unknown command" '/foo bar' '/foo: no such command'
wrong "/image without a file" '/image' '/image takes one or more files'
wrong "/image of nothing" '/image /no/such.png' 'no/such\.png'
wrong "/image of a text" "/image $work/a" "$work/a"
wrong "/image with an open quote" "/image 'x" 'a quote is not closed'
wrong "a dropped file that is not there" '/no/such.png what' 'such\.png: no such file'
mkdir "$work/empty"
wrong "a dropped file that is no picture" "$work/a what" 'a: not a picture or clip'
wrong "a picture's path that leads nowhere" 'demo/shapez.png what' 'shapez\.png: no such file'
wrong "/video of an empty folder" "/video $work/empty" 'no picture'
wrong "/video with contradictory settings" "/video $work/frames start=5 end=2" 'does not lie before'
wrong "/set of nothing" '/set' '/set takes a name and a value'
wrong "/set of an unknown name" '/set colour blue' 'colour: no such setting'
wrong "/set out of range" '/set temp 1000' 'temp 1000'
wrong "/undo of nothing" '/undo' 'no turn to take back'
wrong "/retry of nothing" '/retry' 'no question to ask again'
wrong "/stats of nothing" '/stats' 'nothing was answered'
wrong "/save without a name" '/save' '/save takes one file name'
wrong "/save over a picture" "/save $work/frames/f1.png" 'no saved conversation'
wrong "/load of nothing" '/load /no/such.json' 'no/such\.json'
wrong "/load of a picture" "/load $picture" "$picture"
printf 'a\0b\nhello\n' | chat -n 6
has "a NUL is said" '^qvl: the line has a NUL byte' "$work/err"
wrong "not UTF-8" $'a\xff' 'not UTF-8'
printf 'a long question with more tokens than fit into the context\n/set max-tokens 2\nhi\n' | chat -c 24 -n 6
has "a full context is said" '^qvl: .*context' "$work/err"
[ "$(grep -c . "$work/out")" -eq 1 ] && ok "and the question is taken back" || bad "and the question is taken back" "$(cat "$work/out" "$work/err")"
printf 'hi\nhello there my friend\n' | chat -c 28 -n 6
has "and how to go on" '/undo takes the last turn back' "$work/err"
printf 'hello\n' | "$qvl" run -i -m "$work/nothing" >"$work/out" 2>"$work/err"
[ $? -eq 3 ] && ok "no such model: exit code 3" || bad "no such model: exit code 3" "$(cat "$work/err")"
"$qvl" </dev/null >"$work/out" 2>"$work/err"
[ $? -eq 2 ] && grep -q '^usage: ' "$work/err" && ok "qvl alone, not in a terminal: how to use it" || bad "qvl alone, not in a terminal: how to use it"
refuse "a chat has no --json" 2 'do not go with --interactive' "$qvl" chat -m "$model" --json
no_report "no sanitizer report"

# ---- in a terminal
type_in() { # name, exit code, script on stdin, then the program's arguments
    local name=$1 code=$2 rc
    shift 2
    cat >"$work/script"
    "$build/pty" "$work/script" "$qvl" "$@" >"$work/screen" 2>"$work/err"
    rc=$?
    if [ $rc -eq "$code" ]; then ok "$name"; else bad "$name" "exit code $rc: $(cat "$work/err") $(tail -c 300 "$work/screen")"; fi
}
export QVL_MODEL=$model QVL_TEMP=0 QVL_MAX_TOKENS=6 TERM=xterm LC_ALL=C.UTF-8
type_in "qvl alone; line editing; Ctrl-D leaves" 0 <<'SCRIPT'
expect >>> 
send helo\e[Dl
send \r
expect length
expect >>> 
send /save SAVED\r
expect saved
expect >>> 
send \x04
SCRIPT
[ -s SAVED ] && mv SAVED "$work/saved"
has "the line was edited" '"content": "hello"' "$work/saved"
has "and is in the history" '^hello$' "$work/state/qvl/history"
[ "$(stat -c %a "$work/state/qvl/history")" = 600 ] && ok "which is the user's own" || bad "which is the user's own"
# What is inserted before wide characters pushes them on: the rest of the line is written again.
cat >"$work/typed" <<SCRIPT
expect >>> 
send 你好
expect 你好
send \x01第
expect 第你好
send \x15
expect >>> 
send 你好，世界
expect 界
send \x7f界！\r
expect length
expect >>> 
send \e[200~one\r\n\ttwo\n图\n\e[201~
expect 图
send \r
expect length
expect >>> 
send \e[A
expect 图
send \r
expect length
expect >>> 
send /im\t
expect age
send tests/data/pictures/sh\t
expect apes.png
send \r
expect 300 tokens
expect [1 picture] >>> 
send /save $work/saved\r
expect saved
expect >>> 
send /quit\r
SCRIPT
rm "$work/saved"
type_in "Chinese, pasted lines, history, completion" 0 <"$work/typed"
has "a wide character is deleted whole" '"content": "你好，世界！"' "$work/saved"
[ "$(grep -c '"content": "one\\n    two\\n图"' "$work/saved")" -eq 2 ] && ok "pasted lines are one question, and one entry of the history" ||
    bad "pasted lines are one question, and one entry of the history" "$(cat "$work/saved")"
# The cursor's column counts wide characters twice: the next letter goes behind four of them.
has "the width of Chinese is known" $'世界\r\033\\[13G|世界\b\b' "$work/screen"
cat >"$work/typed" <<SCRIPT
expect >>> 
send go on\r
expect \n
expect \n
send \x03
expect stopped
expect >>> 
send /set max-tokens 3\r
expect >>> 
send and then?\r
expect length
expect >>> 
send /save $work/saved\r
expect saved
expect >>> 
send typed and cleared\x03
expect ^C
expect >>> 
send \x03
expect ^C
SCRIPT
type_in "Ctrl-C stops the answer, clears the line, and twice leaves" 0 -n 200000 --ignore-eos --loop-guard off <"$work/typed"
[ "$(grep -c '"role": "assistant"' "$work/saved")" -eq 2 ] && ok "what was said before Ctrl-C stays in the conversation" ||
    bad "what was said before Ctrl-C stays in the conversation" "$(cat "$work/saved")"
without_last_answer "$work/saved" >"$work/question.json"
"$qvl" run --messages "$work/question.json" -n 3 -q >"$work/a" 2>/dev/null
no_report "no sanitizer report in a terminal"
type_in "SIGTERM at the prompt" 143 <<'SCRIPT'
expect >>> 
send half a li
expect li
signal 15
SCRIPT
type_in "SIGTERM while an answer is made" 143 -n 200000 --ignore-eos --loop-guard off <<'SCRIPT'
expect >>> 
send go on\r
expect \n
expect \n
signal 15
SCRIPT
type_in "the terminal becomes narrow" 0 <<'SCRIPT'
expect >>> 
send 0123456789012345678901234567890123456789
expect 89
size 20 10
send \x15/bye\r
SCRIPT
type_in "in Chinese" 0 --lang zh <<'SCRIPT'
expect 请提问
expect >>> 
send /foo\r
expect /foo：没有这个命令
expect >>> 
send \x04
SCRIPT
{ seq 1 1500; printf 'not \xff UTF-8\n'; } >"$work/state/qvl/history"
type_in "a long and broken history" 0 <<'SCRIPT'
expect >>> 
send \e[A
expect 1500
send \x15/bye\r
SCRIPT
[ "$(wc -l <"$work/state/qvl/history")" -eq 1001 ] && grep -q '^1500$' "$work/state/qvl/history" &&
    ok "of which the last entries are kept" || bad "of which the last entries are kept" "$(wc -l "$work/state/qvl/history")"
rm -r "$work/state" && : >"$work/state"
type_in "no history where there can be none" 0 <<'SCRIPT'
expect cannot make the folder
expect >>> 
send /bye\r
SCRIPT
unset QVL_MODEL
TERM=dumb type_in "a terminal without cursor codes" 0 -m "$model" <<'SCRIPT'
expect >>> 
send /bye\r
SCRIPT
if grep -q $'\e' "$work/screen"; then bad "gets none"; else ok "gets none"; fi
qvl=$(without_model)
rm "$work/state" && mkdir -p "$work/state/qvl" && : >"$work/state/qvl/no-pull" # it was asked before whether to fetch one
type_in "no model" 3 </dev/null
has "which says where to get one" 'qvl pull' "$work/screen"
no_report "no sanitizer report at the end"
finish
