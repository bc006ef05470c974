#!/usr/bin/env bash
# What `make deb`, `make tarball` and the Dockerfile give, in a bare Debian 12 that debootstrap makes: each is installed
# there, asks the demo model about a picture and a clip, and goes away again without a trace. As root, on Debian, with
# debootstrap and lintian. With QVL_TEST_CONTAINER=1 the container, too, is built by buildah from that same bare Debian, so
# that no registry is asked.
# usage: tools/test-packages.sh [bare root to use, made by debootstrap]
set -euo pipefail
cd "$(dirname "$0")/.."
version=$(sed -n 's/^VERSION := //p' Makefile)
work=$(mktemp -d)
n_bad=0
leave() {
    mountpoint -q "$work/root/proc" && umount "$work/root/proc"
    rm -rf "$work"
}
trap leave EXIT
ok() { echo "ok $1"; }
bad() {
    echo "not ok $1: $2"
    n_bad=$((n_bad + 1))
}
check() { # name, command…
    local name=$1
    shift
    if "$@" >"$work/said" 2>&1; then ok "$name"; else bad "$name" "$(tail -n 3 "$work/said")"; fi
}

# ---- a bare root --------------------------------------------------------------------------------------
base=${1:-$work/base}
mirror=$(sed -nE 's/^(URIs:|deb) +(\[[^]]*\] +)?(https?:[^ ]+).*/\3/p' /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null | head -n 1 || true)
[ -d "$base/etc" ] || debootstrap --variant=minbase bookworm "$base" "$mirror" >"$work/debootstrap.log" 2>&1 ||
    { tail -n 5 "$work/debootstrap.log"; exit 1; }
fresh() { # a copy of it in $work/root
    mountpoint -q "$work/root/proc" && umount "$work/root/proc"
    rm -rf "$work/root"
    cp -a "$base" "$work/root"
    cp /etc/resolv.conf "$work/root/etc/resolv.conf"
    cp -r /etc/apt/sources.list.d /etc/apt/apt.conf.d "$work/root/etc/apt/"
    cp /etc/apt/sources.list "$work/root/etc/apt/" 2>/dev/null || : >"$work/root/etc/apt/sources.list"
    mkdir -p "$work/root/given"
    cp demo/shapes.png demo/clip-1.mp4 "$work/root/given/"
    mount -t proc proc "$work/root/proc"
}
inside() { chroot "$work/root" /usr/bin/env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"; }
asks() { # how it is called there: a picture, a clip, in two languages
    local name=$1
    shift
    check "$name: a picture" inside "$@" run /given/shapes.png "How many shapes are there?" -q
    check "$name: a clip, in Chinese" inside "$@" run /given/clip-1.mp4 "视频里发生了什么？" -q
    check "$name: doctor finds no problem" inside "$@" doctor
}

# ---- packages -------------------------------------------------------------------------------------------
make --no-print-directory deb >"$work/deb.log" 2>&1 || { tail -n 20 "$work/deb.log"; exit 1; }
check "lintian has nothing to say of the packages" lintian --allow-root --fail-on error,warning build/deb/*.deb
fresh
cp build/deb/*.deb "$work/root/given/"
inside apt-get update -qq
check "apt installs the program" inside apt-get install -y -qq --no-install-recommends "/given/qvl_${version}_$(dpkg --print-architecture).deb"
asks "package" qvl
check "package: the manual page" test -s "$work/root/usr/share/man/man1/qvl.1.gz"
check "package: completion of bash" inside bash -c '. /usr/share/bash-completion/completions/qvl
    COMP_WORDS=(qvl ser) COMP_CWORD=1; _qvl 2>/dev/null; [[ " ${COMPREPLY[*]} " == *" serve "* ]]'
check "apt installs the library" inside apt-get install -y -qq --no-install-recommends \
    "/given/libqvl0_${version}_$(dpkg --print-architecture).deb" "/given/libqvl-dev_${version}_$(dpkg --print-architecture).deb" gcc libc6-dev pkg-config
cp docs/example.c "$work/root/given/"
check "a program builds against the library" inside sh -c 'gcc /given/example.c $(pkg-config --cflags --libs qvl) -o /given/example'
check "and finds qvl-media" inside /given/example /usr/share/qvl/demo-model /given/shapes.png "How many shapes are there?"
check "apt takes it away" inside apt-get purge -y -qq qvl libqvl0 libqvl-dev
left=$(find "$work/root" \( -path '*/proc' -o -path '*/given' -o -path '*/var/log' -o -path '*/var/cache' \) -prune -o \( -name 'qvl*' -o -name 'libqvl*' -o -name _qvl \) -print)
[ -z "$left" ] && ok "nothing is left" || bad "nothing is left" "$left"

# ---- the tarball ----------------------------------------------------------------------------------------
make --no-print-directory tarball >"$work/tarball.log" 2>&1 || { tail -n 20 "$work/tarball.log"; exit 1; }
fresh
mkdir -p "$work/root/opt/some where"
tar -xzf "build/qvl-$version-linux-$(uname -m).tar.gz" -C "$work/root/opt/some where" --strip-components=1
asks "tarball, with no library installed" "/opt/some where/bin/qvl"

# ---- the container --------------------------------------------------------------------------------------
if [ -n "${QVL_TEST_CONTAINER:-}" ]; then
    fresh
    umount "$work/root/proc"
    store=(--storage-driver vfs --root "$work/store" --runroot "$work/run")
    base_name=$(buildah "${store[@]}" from scratch)
    buildah "${store[@]}" copy -q "$base_name" "$work/root" / >/dev/null
    buildah "${store[@]}" commit -q "$base_name" localhost/bare >/dev/null
    check "the Dockerfile builds" buildah "${store[@]}" bud --isolation chroot --network host --build-arg BASE=localhost/bare -t qvl .
    container=$(buildah "${store[@]}" from localhost/qvl)
    buildah "${store[@]}" copy -q "$container" demo/shapes.png /given/shapes.png >/dev/null
    check "the container answers" buildah "${store[@]}" run --isolation chroot "$container" -- qvl run /given/shapes.png "How many shapes are there?" -q
else
    echo "SKIP: QVL_TEST_CONTAINER=1 is not set: THE DOCKERFILE WAS NOT BUILT (minutes, with buildah)"
fi
[ $n_bad -eq 0 ] || exit 1
