#!/usr/bin/env bash
# `qvl pull` onto a disk that is full, or becomes so: one sentence that says so, a sound cache, and the next pull goes on. The
# disk is a small tmpfs of a mount namespace; where there can be none, what is left is a limit on the size of files.
if [ "${2:-}" != inside ] && unshare -rm mount -t tmpfs none /mnt 2>/dev/null; then
    exec unshare -rm bash "$0" "${1:-build}" inside
fi
. "$(dirname "$0")/common.sh"
. tests/e2e/hub.sh
if [ ! -e demo/model/model.safetensors ]; then
    echo "SKIP: demo/model/model.safetensors is not there: nothing to fetch"
    finish
fi
n_weights=$(stat -Lc %s demo/model/model.safetensors)
folder_of() { # REF: what is there when it is whole
    case $1 in
    hf:*) snapshot $demo_name ;;
    *) echo "$home/ms/models/${demo_name/\//--}/snapshots/master" ;;
    esac
}
said_once() { # NAME PATTERN: one line has it
    [ "$(grep -cE -e "$2" "$home/said")" -eq 1 ] && ok "$1" || bad "$1" "$(said)"
}

# ---- a disk ---------------------------------------------------------------------------------------
fill() { cat /dev/zero >"$disk/filler" 2>/dev/null; }
full_from_the_start() { # REF
    head -c 10M /dev/zero >"$disk/filler" # what is left is too little for the weights and some room beside them
    reset
    fails "$1, too little room" 1 'make room' pull "$1"
    [ "$(sent)" -eq 0 ] && ok "$1, too little room: nothing is fetched" || bad "$1, too little room: nothing is fetched" "$(requests)"
    sound "$1, too little room: sound"
    rm "$disk/filler"
}
full_in_the_middle() { # REF
    reset
    fault what=slow where=cdn n=500000 # some fifteen seconds, of which a few pass until the disk is filled
    begin "$qvl" pull "$1"
    until [ "$(du -sk "$disk" | cut -f1)" -gt 3000 ] || gone $pid; do sleep 0.05; done
    fill
    wait $pid
    local rc=$?
    [ $rc -eq 1 ] && ok "$1, full in the middle: exit code" || bad "$1, full in the middle: exit code" "$rc: $(said)"
    said_once "$1, full in the middle: the sentence" '^qvl: .*the disk is full; make room and pull again'
    sound "$1, full in the middle: sound"
    rm "$disk/filler"
    reset
    works "$1, full in the middle: the next pull" pull "$1"
    whole "$1, full in the middle: whole" "$(folder_of "$1")"
    requests | grep -aqE '^cdn GET .* range=bytes=[1-9][0-9]{6,}-' && ok "$1, full in the middle: goes on with what was there" ||
        bad "$1, full in the middle: goes on with what was there" "$(requests)"
}
full_disk() { # REF
    fresh
    disk=$work/disk
    mkdir -p "$disk"
    mount -t tmpfs -o size=$((n_weights + 20000000)) none "$disk" || { bad "a tmpfs can be mounted"; return; }
    mkdir "$disk/hf" "$disk/ms"
    ln -s "$disk/hf" "$disk/ms" "$home/"
    full_from_the_start "$1"
    full_in_the_middle "$1"
    umount "$disk"
}
hub
if [ "${2:-}" = inside ]; then
    full_disk hf:$demo_name
    full_disk ms:$demo_name
else
    echo "SKIP: no tmpfs can be mounted in a namespace of one's own: a full disk is not tested"
fi

# ---- a file that may not grow ---------------------------------------------------------------------
for ref in hf:$demo_name ms:$demo_name; do
    fresh
    reset
    limited() (ulimit -f 4000 && pull $ref)
    fails "$ref, a limit on the size of files" 1 'model\.safetensors|qvl-part.*File too large' limited
    said_once "$ref, a limit: one sentence" 'File too large'
    sound "$ref, a limit: sound"
    works "$ref, a limit: the next pull" pull $ref
    whole "$ref, a limit: whole" "$(folder_of $ref)"
done
finish
