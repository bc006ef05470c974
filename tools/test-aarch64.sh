#!/usr/bin/env bash
# The library and the command line for aarch64 on another machine, without warnings, and the kernel tests under
# qemu-user: on a processor with everything that qemu knows and on one with the bare architecture, so that each way
# through the level neon is taken. The arm64 libraries come from Debian's archive into the build folder; nothing is
# installed.
# usage: tools/test-aarch64.sh [BUILD]
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build/aarch64}
root=$PWD/$build/root
packages=(libjansson4 libjansson-dev libnettle8 nettle-dev libedit-dev libcmocka0 libcmocka-dev)

# apt with lists, cache and records of its own: the machine's stay as they are.
fetch_libraries() {
    local apt=$PWD/$build/apt codename
    codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
    rm -rf "$apt" "$root"
    mkdir -p "$apt"/{lists,archives}/partial "$root"
    touch "$apt/status"
    echo "deb http://deb.debian.org/debian $codename main" >"$apt/sources.list"
    cat >"$apt/apt.conf" <<CONF
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Sandbox::User "root";
Dir::State "$apt";
Dir::State::lists "$apt/lists";
Dir::State::status "$apt/status";
Dir::Cache "$apt";
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "-";
CONF
    export APT_CONFIG=$apt/apt.conf
    apt-get update -qq
    (cd "$apt/archives" && apt-get download -qq "${packages[@]}")
    for package in "$apt"/archives/*.deb; do
        dpkg-deb -x "$package" "$root"
    done
    unset APT_CONFIG
    touch "$root/complete"
}

[ -e "$root/complete" ] || fetch_libraries

kernel_test=$build/tests/kernel/test_kernels
mapfile -t cli < <(find src/cli -name '*.c' | sed "s|\(.*\)\.c|$build/\1.o|")
make -j"$(nproc)" CC=aarch64-linux-gnu-gcc BUILD="$build" HARDEN=-fPIC CFLAGS="-Werror -isystem $root/usr/include" \
    LDFLAGS="-L$root/usr/lib/aarch64-linux-gnu" "$build/libqvl.a" "${cli[@]}" "$kernel_test"
echo "ok $(find "$build" -name '*.o' | wc -l) objects for aarch64"

run_kernel_tests() { # processor
    local log=$build/test_kernels_$1.log
    if ! qemu-aarch64 -L /usr/aarch64-linux-gnu -cpu "$1" -E LD_LIBRARY_PATH="$root/usr/lib/aarch64-linux-gnu" \
        "$kernel_test" neon >"$log" 2>&1; then
        echo "not ok kernel tests on $1, end of $log:"
        tail -n 30 "$log"
        return 1
    fi
    echo "ok kernel tests of level neon on $1: $(grep -c '^\[       OK' "$log") passed"
}

run_kernel_tests max &
max=$!
run_kernel_tests cortex-a72
wait $max
