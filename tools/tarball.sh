#!/usr/bin/env bash
# build/qvl-VERSION-linux-ARCH.tar.gz: qvl for any Linux whose glibc is as new as this one's, wherever it is unpacked. It
# brings the libraries that it needs along (lib/qvl), all but those of the C library, and the texts of their licences.
# usage: tools/tarball.sh VERSION
set -euo pipefail
cd "$(dirname "$0")/.."
name=qvl-$1-linux-$(uname -m)
root=build/tarball/$name
rm -rf "build/tarball/$name"
mkdir -p "$root/lib/qvl"
# DT_RPATH, not RUNPATH: it holds for the libraries of libraries, too. From bin/, from libexec/qvl/.
rpath="-Wl,--disable-new-dtags,-rpath,\\\$\$ORIGIN/../lib/qvl:\\\$\$ORIGIN/../../lib/qvl"
make --no-print-directory -j"$(nproc)" BUILD=build/tarball/objects LDFLAGS="$rpath" PREFIX=/ DESTDIR="$PWD/$root" install
rm -rf "$root/lib/systemd" "$root/lib/pkgconfig" "$root/lib"/libqvl.* "$root/include" # of a program, not of a library
is_of_libc() {
    case $1 in
    linux-vdso.so* | ld-linux* | libc.so* | libm.so* | libpthread.so* | libdl.so* | librt.so* | libresolv.so* | libgcc_s.so*) return 0 ;;
    esac
    return 1
}
mkdir -p "$root/share/doc/qvl/licences"
ldd "$root"/bin/qvl "$root"/libexec/qvl/* | awk '/=> \// { print $1, $3 }' | sort -u | while read -r so path; do
    case $path in *"/$name/"*) continue ;; esac
    is_of_libc "$so" && continue
    install -m 644 "$(realpath "$path")" "$root/lib/qvl/$so"
    strip --strip-unneeded "$root/lib/qvl/$so"
    file=$(realpath "$path") # which the package may know without the /usr that links lead to
    package=$({ dpkg-query -S "$file" || dpkg-query -S "${file#/usr}"; } 2>/dev/null | head -n 1 | cut -d: -f1)
    install -m 644 "/usr/share/doc/$package/copyright" "$root/share/doc/qvl/licences/$package"
done
strip "$root"/bin/qvl "$root"/libexec/qvl/*
install -m 644 README.md README.zh-CN.md "$root/share/doc/qvl/"
tar -C build/tarball --owner=0 --group=0 --sort=name -czf "build/$name.tar.gz" "$name"
ls -l "build/$name.tar.gz"
