# Shared by the tests of `qvl pull`: sourced after common.sh. Nothing here leaves this machine.
trap 'kill -9 $(jobs -p) 2>/dev/null; rm -rf "$work"' EXIT
unset "${!HF_@}" "${!HUGGINGFACE_@}" "${!HUGGING_@}" "${!TRANSFORMERS_@}" "${!MODELSCOPE_@}" "${!VLLM_@}" XDG_CACHE_HOME
unset http_proxy https_proxy all_proxy no_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY
demo=$PWD/demo/model
demo_name=Qwen/Qwen3-VL-Demo
unneeded='curve.png|metrics.csv' # of the demo model: what nobody needs to run it
root=$work/root                            # what fake hubs show
mkdir -p "$root/Qwen"
ln -s "$demo" "$root/$demo_name"

# hub OPTION…: a fake hub of $root (tests/e2e/tool/fake_hub); sets hub and cdn, their addresses, and hub_pid.
hub() {
    local said
    said=$(mktemp -p "$work")
    "$build/fake_hub" "$@" "$root" </dev/null >"$said" &
    hub_pid=$!
    for _ in $(seq 1200); do # a minute
        [ "$(grep -c . "$said")" -eq 2 ] && break
        kill -0 $hub_pid 2>/dev/null || break
        sleep 0.05
    done
    hub=$(sed -n 's/^hub //p' "$said")
    cdn=$(sed -n 's/^cdn //p' "$said")
}
# fault what=… n=…: from now on the hub does that; values as they are.
fault() {
    local fields=()
    for field in "$@"; do fields+=(--data-urlencode "$field"); done
    curl -sS --fail -G "${fields[@]}" "$hub/_fault" || bad "the hub knows this fault" "$*"
}
reset() { curl -sS "$hub/_reset"; }
requests() { curl -sS "$hub/_log"; }       # a line for each since the reset, as fake_hub.c says
sent() { # pattern of the line: bytes of bodies of files
    requests | grep -aE "^(cdn GET|hub GET [^ ]*(/resolve|FilePath=))" | grep -aE -e "${1:-.}" |
        sed -E 's/.* (200|206) sent=([0-9]+) .*/\2/' | awk '/^[0-9]+$/ { n += $1 } END { print n + 0 }'
}

# fresh: an empty home for what is fetched.
fresh() {
    [ -z "${home:-}" ] || rm -rf "$home"
    home=$(mktemp -d -p "$work")
}
fresh
# with_home command…: in it, with the fake hub for all hubs. begin does that beside the test: pid, $home/out, $home/said.
in_home() {
    as_home=(env HOME="$home" HF_HOME="$home/hf" MODELSCOPE_CACHE="$home/ms" HF_ENDPOINT="$hub" MODELSCOPE_ENDPOINT="$hub")
}
with_home() {
    in_home
    "${as_home[@]}" "$@"
}
begin() {
    in_home
    "${as_home[@]}" "$@" </dev/null >"$home/out" 2>"$home/said" & # one process: $! is the program's
    pid=$!
}
# say command…: its exit code; what it says in $home/out and $home/said.
say() { "$@" </dev/null >"$home/out" 2>"$home/said"; }
pull() { say with_home "$qvl" pull "$@"; }
said() { cat "$home/out" "$home/said"; }
storage() { echo "$home/hf/hub/models--${1/\//--}"; }
snapshot() { # OWNER/NAME: its folder, of the one commit that it has
    echo "$(storage "$1")"/snapshots/*
}

# whole NAME FOLDER [SOURCE]: each needed file of the source (the demo model) is there with its bytes, and no other.
whole() {
    local name=$1 folder=$2 source=${3:-$demo} file
    for file in $(cd "$source" && find -L . -type f | sed 's|^\./||' | grep -vxE "$unneeded"); do
        cmp -s "$source/$file" "$folder/$file" || { bad "$name" "$folder/$file: $(said | tail -n 3)"; return; }
    done
    if [ "$(cd "$folder" && find -L . -type f ! -path './.cache/*' | wc -l)" -ne \
        "$(cd "$source" && find -L . -type f | sed 's|^\./||' | grep -cvxE "$unneeded")" ]; then
        bad "$name" "other files in $folder: $(ls -A "$folder" | tr "\n" " ")"
    else ok "$name"; fi
}
# sound NAME: whatever happened, a blob has the sum that it is called by, a snapshot has all its files, and nothing lies
# outside the caches.
sound() {
    local name=$1 blob sum link
    for blob in "$home"/hf/hub/models--*/blobs/*; do
        [ -f "$blob" ] || continue
        case ${blob##*/} in
        *.*) continue ;; # not whole, and nobody takes it for that
        ????????????????????????????????????????) sum=$({ printf 'blob %d\0' "$(stat -c %s "$blob")"; cat "$blob"; } | sha1sum) ;;
        *) sum=$(sha256sum <"$blob") ;;
        esac
        [ "${sum%% *}" = "${blob##*/}" ] || { bad "$name" "$blob has another sum"; return; }
    done
    for link in "$home"/hf/hub/models--*/snapshots/*; do
        [ -d "$link" ] || continue
        for blob in config.json model.safetensors; do
            [ -e "$link/$blob" ] || [ -e "$link/model.safetensors.index.json" ] || { bad "$name" "$link has no $blob"; return; }
        done
        [ -z "$(find "$link" -xtype l)" ] || { bad "$name" "$link has links to nothing"; return; }
    done
    # shellcheck disable=SC2012
    link=$(ls -A "$home" | grep -vxE 'hf|ms|out|said|plain|\.cache|\.config|\.local' | head -n 3)
    if [ -n "$link" ]; then bad "$name" "$link lies outside the caches"
    elif [ -e "$work/x" ] || [ -e "$home/../x" ]; then bad "$name" "a file x lies outside"
    else ok "$name"; fi
}
# fails NAME CODE PATTERN command…: as refuse of common.sh, but notes may stand before the sentence, which is the last line.
fails() {
    local name=$1 code=$2 pattern=$3 rc
    shift 3
    "$@"
    rc=$?
    if [[ ! $rc =~ ^$code$ ]]; then bad "$name" "exit code $rc, not $code: $(said | tail -n 4)"
    elif ! tail -n 1 "$home/said" | grep -qE -e "^qvl: .*($pattern)"; then bad "$name" "says: $(tail -n 3 "$home/said")"
    elif said | grep -q 'Sanitizer\|runtime error'; then bad "$name" "$(said | tail -n 8)"
    else ok "$name"; fi
}
# works NAME command…: exit code 0, no report of a sanitizer.
works() {
    local name=$1 rc
    shift
    "$@"
    rc=$?
    if [ $rc -ne 0 ] || said | grep -q 'Sanitizer\|runtime error'; then bad "$name" "exit code $rc: $(said | tail -n 4)"
    else ok "$name"; fi
}
