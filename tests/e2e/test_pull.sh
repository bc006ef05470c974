#!/usr/bin/env bash
# `qvl pull`, `list` and `rm` against a hub on this machine that does everything wrong that hubs, mirrors and networks do. After
# each fault: the exit code, the sentence, a sound cache, and that the next pull finishes.
. "$(dirname "$0")/common.sh"
. tests/e2e/hub.sh
if [ ! -e demo/model/model.safetensors ]; then
    echo "SKIP: demo/model/model.safetensors is not there: nothing to fetch"
    finish
fi
n_weights=$(stat -Lc %s demo/model/model.safetensors)

ends() { # name, code, pattern, [ref], fault; afterwards all is sound, and the next pull finishes
    local name=$1 code=$2 pattern=$3 ref=hf:$demo_name
    shift 3
    case $1 in ms:*) ref=$1 && shift ;; esac
    fresh
    reset
    fault "$@"
    fails "$name" "$code" "$pattern" pull $ref
    sound "$name: sound"
    reset
    works "$name: the next pull" pull $ref
}

# ---- what takes long, because a hub is given time: beside the rest, each with a hub of its own ------------------
asides=()
aside() { # function: its lines come at the end
    (
        trap 'kill -9 $(jobs -p) 2>/dev/null' EXIT
        home=
        fresh
        hub
        "$1"
    ) >"$work/aside.${#asides[@]}" 2>&1 &
    asides+=($!)
}
always_503() {
    fault what=status where=cdn n=503
    fails "503 for ever ends" 6 '503' pull hf:$demo_name
    sound "503: nothing is half there"
    reset
    works "503: once it is over, the next pull finishes" pull hf:$demo_name
    whole "503: and is whole" "$(snapshot $demo_name)"
}
always_cut() {
    fault what=cut where=cdn n=0
    fails "a connection that is always cut ends" 6 '127\.0\.0\.1' pull hf:$demo_name
    sound "cut: nothing is half there"
}
short_body() {
    fault what=size where=cdn n=-100
    fails "a body that is always too short ends" 6 '.' pull hf:$demo_name
    sound "short: nothing is half there"
}
silence() {
    fault what=stall where=cdn n=1000000 times=1
    works "a connection that falls silent is opened anew" pull hf:$demo_name
    whole "silence: and all is whole" "$(snapshot $demo_name)"
    [ "$(sent '^cdn')" -lt $((n_weights + 4000000)) ] && ok "silence: it goes on where it was" ||
        bad "silence: it goes on where it was" "$(requests)"
}
no_network() {
    hub=http://127.0.0.1:9
    fails "no network: the manual way is told" 6 'HF_ENDPOINT|hf-mirror' pull $demo_name
}
slow_hub() { # Retry-After is kept
    fault what=status where=info n=429 after=2 times=1
    local begin=$SECONDS
    works "429 is asked again" pull hf:$demo_name
    [ $((SECONDS - begin)) -ge 1 ] && ok "when the hub wants it" || bad "when the hub wants it"
    has "and that is said" '429|again|wait' "$home/said"
}
other_file() {
    ends "another file in its place" 6 'config\.json' what=redirect where=resolve path=config.json \
        "to=$cdn/lfs/$(sha256sum <demo/model/tokenizer_config.json | cut -c1-64)"
}
wrong_sizes() {
    ends "a listing with wrong sizes" 6 '\.json|safetensors' what=size where=tree n=7
}
long_body() {
    ends "a body that is too long" 6 'model\.safetensors|127' what=size where=cdn n=100
}
encoded() {
    ends "a body in gzip that nobody has asked for" 6 'encoding' what=gzip where=resolve
}
big=Qwen/Big
mkdir -p "$root/$big"
cp demo/model/*.json "$root/$big/"
head -c 80000000 /dev/urandom >"$root/$big/model.safetensors"
stopped() { # signal, code
    fresh
    reset
    fault what=slow where=cdn n=1500000 # more than ten seconds are left when a quarter is there
    local rc
    begin "$qvl" pull hf:$big
    until [ "$(du -sk "$home/hf" 2>/dev/null | cut -f1)" -gt 20000 ] 2>/dev/null || gone $pid; do sleep 0.05; done
    kill -"$1" $pid
    wait $pid
    rc=$?
    [ $rc -eq "$2" ] && ok "SIG$1 ends it" || bad "SIG$1 ends it" "exit code $rc: $(said | tail -n 3)"
    sound "SIG$1: nothing is half there"
    say with_home "$qvl" list
    grep -a $big "$home/out" | grep -avqE 'not whole|partial|incomplete|interrupted' && bad "nor listed as whole" "$(said)" || ok "nor listed as whole"
    reset
    works "SIG$1: the next one goes on" pull hf:$big
    whole "SIG$1: whole" "$(snapshot $big)" "$root/$big"
    [ "$(sent '^cdn')" -lt 70000000 ] && ok "SIG$1: with what was there" || bad "SIG$1: with what was there" "$(requests)"
}
large() { # parts, breaks, Ctrl-C, two at a time
    kill $hub_pid
    hub --xet --page 2
    fresh
    works "a large file" pull hf:$big
    whole "whole" "$(snapshot $big)" "$root/$big"
    [ "$(requests | grep -ac '^cdn GET .* 206 ')" -ge 3 ] && ok "in parts" || bad "in parts" "$(requests)"
    [ "$(sent '^cdn')" -eq 80000000 ] && ok "each byte once" || bad "each byte once" "$(requests)"
    fresh
    reset
    fault what=cut where=cdn n=7000000 times=5
    works "cut in each part" pull hf:$big
    whole "whole again" "$(snapshot $big)" "$root/$big"
    [ "$(sent '^cdn')" -lt 84000000 ] && ok "hardly a byte twice" || bad "hardly a byte twice" "$(requests)"
    stopped INT 130
    stopped TERM 143
    stopped KILL 137
    fresh
    reset
    fault what=slow where=cdn n=40000000
    begin "$qvl" pull hf:$big
    sleep 0.3
    works "two at a time: the second" pull hf:$big
    wait $pid && ok "the first" || bad "the first"
    whole "one model" "$(snapshot $big)" "$root/$big"
    [ "$(sent '^cdn')" -lt 90000000 ] && ok "fetched once" || bad "fetched once" "$(requests)"
}
for what in always_503 always_cut short_body silence no_network slow_hub other_file wrong_sizes long_body encoded large; do aside $what; done

# ---- all is well ----------------------------------------------------------------------------------
hub
works "a model is fetched" pull hf:$demo_name
whole "with all that is needed, and no more" "$(snapshot $demo_name)"
sound "under its sums"
[ "$(sent)" -eq "$(find -L demo/model -type f | grep -vE "/($unneeded)$" | xargs stat -Lc %s | awk '{ n += $1 } END { print n }')" ] &&
    ok "each byte once" || bad "each byte once" "$(requests)"
has "the folder is said" "$(snapshot $demo_name)" "$home/out"
grep -aqP '\r|\033' "$home/said" && bad "plain lines where stderr is no terminal" || ok "plain lines where stderr is no terminal"
has "with the address that was asked" "127\.0\.0\.1" "$home/said"
requests | grep -aE '^(hub|cdn) ' | grep -avqE 'agent=qvl/' && bad "each request says who asks" "$(requests)" || ok "each request says who asks"
reset
works "again" pull hf:$demo_name
[ "$(sent)" -eq 0 ] && ok "fetches nothing" || bad "fetches nothing" "$(requests)"
works "by the page's address" pull https://huggingface.co/$demo_name
works "by main" pull "hf:$demo_name@main"
[ "$(sent)" -eq 0 ] && ok "nothing either" || bad "nothing either" "$(requests)"
say with_home "$qvl" list
has "it is listed" "$demo_name" "$home/out"
works "it is run by its name" say with_home "$qvl" run -m $demo_name -n 4 'Hello!'
reset
HF_HUB_OFFLINE=1 works "offline, what is there is enough" pull hf:$demo_name
[ -z "$(requests)" ] && ok "nobody is asked" || bad "nobody is asked" "$(requests)"
commit=$(basename "$(snapshot $demo_name)")
for revision in mai v1 "${commit:0:6}" "${commit:0:39}z"; do
    fails "rm @$revision means nothing that is here" 1 "$revision" say with_home "$qvl" rm "$demo_name@$revision" --yes
done
mv "$(storage $demo_name)"/refs/{main,'a"b'} # somebody else's branch
say with_home "$qvl" list --json
has "a branch's name is quoted in JSON" '"revision":"a\\"b"' "$home/out"
mv "$(storage $demo_name)"/refs/{'a"b',main}
works "the main one is removed by its name" say with_home "$qvl" rm $demo_name@main --yes
[ -e "$(storage $demo_name)" ] && bad "and gone" || ok "and gone"
pull hf:$demo_name
works "and by its commit's beginning" say with_home "$qvl" rm "$demo_name@${commit:0:7}" --yes
[ -e "$(storage $demo_name)" ] && bad "and gone" || ok "and gone"
pull hf:$demo_name
works "it is removed" say with_home "$qvl" rm $demo_name --yes
[ -e "$(storage $demo_name)" ] && bad "and gone" || ok "and gone"
say with_home "$qvl" list
grep -q $demo_name "$home/out" && bad "and not listed" || ok "and not listed"
fails "what is not there is not removed" 1 "$demo_name" say with_home "$qvl" rm $demo_name --yes
export HF_HUB_OFFLINE=1
fails "offline, what is not there is not fetched" 1 'HF_HUB_OFFLINE' pull hf:$demo_name
unset HF_HUB_OFFLINE
reset
fresh
works "a dry run" pull hf:$demo_name --dry-run
has "tells each file" 'model\.safetensors' "$home/out"
[ "$(sent)" -eq 0 ] && ! ls "$(storage $demo_name)"/blobs/* >/dev/null 2>&1 && ok "and fetches none" || bad "and fetches none"
fails "a name that is none" 2 'hf:Qwen' pull hf:Qwen
fails "one that leaves its folder" 2 '\.\.' pull hf:../x
works "into a plain folder" pull hf:$demo_name --local-dir "$home/plain"
whole "which has it all" "$home/plain"

# ---- ModelScope -----------------------------------------------------------------------------------
fresh
works "from ModelScope" pull ms:$demo_name
whole "the same" "$home/ms/models/${demo_name/\//--}/snapshots/master"
say with_home "$qvl" list
has "listed" "$demo_name" "$home/out"
works "and run" say with_home "$qvl" run -m $demo_name -n 4 'Hello!'
reset
works "again" pull ms:$demo_name
[ "$(sent)" -eq 0 ] && ok "nothing is fetched" || bad "nothing is fetched" "$(requests)"

# ---- faults that a fetch survives -----------------------------------------------------------------
survives() { # name, fault…; ends with the ref where it is not the usual one
    local name=$1 ref=hf:$demo_name folder
    shift
    fresh
    reset
    while [ $# -gt 0 ]; do
        case $1 in
        ms:*) ref=$1 ;;
        *) # shellcheck disable=SC2086
            fault $1 ;;
        esac
        shift
    done
    works "$name" pull $ref
    case $ref in
    hf:*) folder=$(snapshot $demo_name) ;;
    *) folder=$home/ms/models/${demo_name/\//--}/snapshots/master ;;
    esac
    whole "$name: whole" "$folder"
    sound "$name: sound"
}
survives "500 once, when asked who it is" "what=status where=info n=500 times=1"
survives "503 once, when it lists" "what=status where=tree n=503 times=1"
survives "502 once, for a small file" "what=status where=resolve path=config.json n=502 times=1"
survives "504 once, for the weights" "what=status where=cdn n=504 times=1"
survives "a signature that has run out" "what=status where=cdn n=403 times=1"
survives "a connection cut three times" "what=cut where=cdn n=4000000 times=3"
[ "$(sent '^cdn')" -lt $((n_weights + 2000000)) ] && ok "goes on where it was" || bad "goes on where it was" "$(requests)"
survives "a small file cut" "what=cut where=resolve path=tokenizer.json n=1000 times=1"
survives "a listing cut" "what=cut where=tree n=100 times=1"
survives "a range answered with all" "what=cut where=cdn n=4000000 times=1" "what=full where=cdn"
survives "a range refused once" "what=cut where=cdn n=4000000 times=1" "what=unsatisfiable where=cdn times=1"
survives "another range than was asked for, once" "what=cut where=cdn n=4000000 times=1" "what=content_range where=cdn n=1 times=1"
survives "no header that only hubs send" "what=bare"
survives "no Content-Length" "what=lengthless"
survives "weak ETags" "what=weak"
survives "a file on another host" "what=redirect where=resolve path=config.json to=$cdn/lfs/$(sha256sum <demo/model/config.json | cut -c1-64)"
survives "a slow answer" "what=delay n=300"
survives "ModelScope: 503 once, when it lists" "what=status where=files n=503 times=1" ms:$demo_name
survives "ModelScope: a connection cut" "what=cut where=cdn n=4000000 times=2" ms:$demo_name
survives "ModelScope: a small file cut" "what=cut where=file path=tokenizer.json n=1000 times=1" ms:$demo_name
survives "ModelScope: a listing without sums" "what=sumless where=files" ms:$demo_name

# ---- faults that end it ---------------------------------------------------------------------------
ends "401" 1 'HF_TOKEN' what=status where=info n=401
ends "401 for one file" 1 'HF_TOKEN' what=status where=resolve path=model.safetensors n=401
ends "403: a model that asks for consent" 1 "$demo_name" what=status where=resolve n=403 to=GatedRepo
ends "404 for the model" 1 "$demo_name" what=status where=info n=404 to=RepoNotFound
ends "404 for a file of the listing" 1 'model\.safetensors' what=status where=resolve path=model.safetensors n=404 to=EntryNotFound
ends "a sum that differs" 1 'model\.safetensors' what=corrupt where=cdn n=12345
ends "a sum of a small file that differs" 1 'config\.json' what=corrupt where=resolve path=config.json n=12
ends "a listing with wrong sums" 1 '\.json|safetensors' what=sum where=tree
ends "redirects for ever" 1 'redirect' what=loop where=resolve
ends "a listing that redirects for ever" 1 'redirect' what=loop where=tree
for to in file:///etc/passwd ftp://127.0.0.1/x gopher://127.0.0.1:9/x dict://127.0.0.1/x smb://127.0.0.1/x/y 'http://' 'javascript:1'; do
    ends "a redirect to $to" 1 '.' what=redirect where=resolve path=model.safetensors "to=$to"
done
for name in ../../x ../x /etc/x '..\\x' 'a\\b.json' '\u0001.json' 'a\u0000b.json' 'a//b.json' './x.json' '..' 'a/../../x.json' 'x.json/' \
    '\u002e\u002e/x.json' '\u009b31m.json' "$(printf 'n%.0s' $(seq 3000)).json" '\ud800.json' .git/config; do
    fresh
    reset
    fault what=name "to=$name" where=tree
    pull hf:$demo_name
    rc=$?
    sound "a file called ${name:0:30} (exit code $rc)"
    if [ $rc -eq 0 ]; then whole "and the others are there" "$(snapshot $demo_name)"
    else fails "and that is said" $rc '.' pull hf:$demo_name; fi
    fresh
    reset
    fault what=name "to=$name" where=files
    pull ms:$demo_name
    sound "ModelScope: a file called ${name:0:30} (exit code $?)"
done
ends "100,000 files" 5 '20,?000|files|limit|more' what=many where=tree n=100000
ends "a listing of 50 MB" 5 '.' what=padding where=tree n=50000000
ends "a listing that is broken off" 1 '.' what=body where=tree 'to=[{"type":"file","path":"config.json","si'
ends "a listing that is a login page" 1 '.' what=body where=tree 'to=<html>Please log in</html>'
ends "who it is, as a login page" 1 '.' what=body where=info 'to=<html>Please log in</html>'
ends "an empty listing" 3 '.' what=body where=tree 'to=[]'
ends "a listing of something else" 1 '.' what=body where=tree 'to={"files":[1,2,3]}'
ends "a listing of brackets" 1 '.' what=body where=tree "to=$(printf '[%.0s' $(seq 5000))"
ends "a commit that is a path" 1 '.' what=body where=info 'to={"sha":"../../x"}'
ends "ModelScope: a broken listing" 1 '.' ms:$demo_name what=body where=files 'to={"Code":200,"Data":{"Files":[{'
ends "ModelScope: a listing that is cut at 3000" 5 'missing' ms:$demo_name what=many where=files n=5000
ends "ModelScope: 401" 1 'MODELSCOPE_API_TOKEN' ms:$demo_name what=status where=files n=401
ends "ModelScope: a sum that differs" 1 'model\.safetensors' ms:$demo_name what=corrupt where=cdn n=12345
fails "a revision that is none" 1 'nowhere' pull "hf:$demo_name@nowhere"
fails "a model that is none" 1 'Qwen/none' pull hf:Qwen/none
: >"$work/file"
fails "a cache that cannot be made" 1 "$work/file" say with_home env HF_HOME="$work/file/x" "$qvl" pull hf:$demo_name

# ---- tokens ---------------------------------------------------------------------------------------
kill $hub_pid
hub --token hf_secretsecretsecret
fresh
fails "without a token" 1 'HF_TOKEN' pull hf:$demo_name
export HF_TOKEN=hf_wrongwrongwrong
fails "with a wrong one" 1 'HF_TOKEN|token' pull hf:$demo_name
said | grep -q wrongwrong && bad "which is not said" || ok "which is not said"
reset
export HF_TOKEN=hf_secretsecretsecret
works "with the right one" pull hf:$demo_name
whole "all is there" "$(snapshot $demo_name)"
requests | grep -a '^cdn ' | grep -avq 'auth=- cookie=- ' && bad "another host does not see it" "$(requests)" || ok "another host does not see it"
requests | grep -aq '^hub .* auth=Bearer hf_secretsecretsecret' && ok "the hub does" || bad "the hub does" "$(requests)"
said | grep -q secretsecret && bad "nobody else" || ok "nobody else"
grep -raq secretsecret "$home" && bad "it stands nowhere on the disk" || ok "it stands nowhere on the disk"
unset HF_TOKEN
fresh
mkdir -p "$home/hf"
echo hf_secretsecretsecret >"$home/hf/token"
works "from its file" pull hf:$demo_name
fresh
MODELSCOPE_API_TOKEN=hf_secretsecretsecret works "ModelScope's" pull ms:$demo_name
requests | grep -a '^cdn ' | grep -avq 'auth=- cookie=- ' && bad "is not seen elsewhere" "$(requests)" || ok "is not seen elsewhere"
kill $hub_pid

# ---- proxies, certificates ------------------------------------------------------------------------
hub
fresh
http_proxy=$hub works "through a proxy" say with_home env HF_ENDPOINT=http://hub.invalid "$qvl" pull hf:$demo_name
whole "all is there" "$(snapshot $demo_name)"
kill $hub_pid
if command -v openssl >/dev/null; then
    openssl req -x509 -newkey rsa:2048 -nodes -keyout "$work/key.pem" -out "$work/cert.pem" -days 2 -subj /CN=localhost \
        -addext subjectAltName=IP:127.0.0.1 2>/dev/null
    hub --cert "$work/cert.pem" --key "$work/key.pem"
    fresh
    fails "a certificate that nobody vouches for" 1 'certificate' pull hf:$demo_name
    kill $hub_pid
else
    echo "SKIP: openssl is not there: certificates are not tested"
fi

# ---- what is asked for of a repository that has more ---------------------------------------------------
many=Qwen/Many
mkdir -p "$root/$many/onnx"
cp demo/model/*.json "$root/$many/"
printf '{"metadata":{},"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}}' \
    >"$root/$many/model.safetensors.index.json"
for file in model-0000{1,2}-of-00002.safetensors; do head -c 300000 /dev/urandom >"$root/$many/$file"; done
for file in added_tokens special_tokens_map; do echo '{}' >"$root/$many/$file.json"; done # the same bytes under two names
head -c 300000 /dev/urandom | tee "$root/$many/README.md" >"$root/$many/LICENSE"
for file in onnx/model.onnx pytorch_model.bin .gitattributes picture.jpg; do head -c 200000 /dev/urandom >"$root/$many/$file"; done
kill $hub_pid
hub
fresh
reset
works "a model in shards, beside other forms of it" pull hf:$many
has_many() { # FOLDER
    for file in model-0000{1,2}-of-00002.safetensors model.safetensors.index.json config.json tokenizer.json added_tokens.json \
        special_tokens_map.json README.md LICENSE; do
        cmp -s "$root/$many/$file" "$1/$file" && ok "has $file" || bad "has $file" "$(said)"
    done
}
has_many "$(snapshot $many)"
[ "$(sent)" -eq $(($(cat "$(snapshot $many)"/* | wc -c) - 300000 - 3)) ] && ok "the same bytes once" || bad "the same bytes once" "$(requests)"
blob=$(readlink -f "$(snapshot $many)/LICENSE")
printf damage | dd of="$blob" conv=notrunc 2>/dev/null
works "both damaged" pull hf:$many --check
has_many "$(snapshot $many)"
for file in onnx pytorch_model.bin picture.jpg; do
    [ -e "$(snapshot $many)/$file" ] && bad "but not $file" || ok "but not $file"
done

works "from ModelScope" pull ms:$many
has_many "$home/ms/models/${many/\//--}/snapshots/master"
works "into a plain folder" pull hf:$many --local-dir "$home/plain"
has_many "$home/plain"

# ---- a terminal -----------------------------------------------------------------------------------
fresh
reset
fault what=slow where=cdn n=5000000 # long enough for a rate
printf 'expect %%\n' >"$work/script"
with_home "$build/pty" "$work/script" "$qvl" pull hf:$demo_name >"$work/screen" 2>&1 && ok "in a terminal" || bad "in a terminal" "$(tail -c 300 "$work/screen")"
has "progress has a rate" '[MG]B/s' "$work/screen"
whole "and all is there" "$(snapshot $demo_name)"

wait "${asides[@]}"
cat "$work"/aside.*
n_bad=$((n_bad + $(cat "$work"/aside.* | grep -c '^not ok ')))
finish
