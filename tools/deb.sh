#!/usr/bin/env bash
# Debian packages of what is committed, in build/deb: qvl, libqvl0, libqvl-dev. Installs debhelper where it is missing.
# usage: tools/deb.sh VERSION
set -euo pipefail
cd "$(dirname "$0")/.."
version=$1
tools/install-deps.sh debhelper dpkg-dev fakeroot
out=$PWD/build/deb
rm -rf "$out"
mkdir -p "$out"
source=$out/qvl-$version
git archive --prefix="qvl-$version/" HEAD -- . ':!tests' ':!reference' ':!bench' ':!web' | tar -x -C "$out"
if [ -f build/page/index.html ]; then # the page that `make page` has built
    mkdir -p "$source/build"
    cp -r build/page "$source/build/page"
else
    echo "deb: the web page is not built: / will say how to get it (make page)" >&2
fi
commit=$(git rev-parse --short HEAD)
cat >"$source/debian/changelog" <<END
qvl ($version) unstable; urgency=medium

  * Built from $commit.

 -- The maintainers of qvl <maintainers@qvl.example>  $(git log -1 --format=%cD)
END
(cd "$source" && MAKEFLAGS="-j$(nproc)" dpkg-buildpackage -us -uc -b >"$out/log" 2>&1) || { tail -n 30 "$out/log" >&2; exit 1; }
rm -rf "$source"
ls -l "$out"/*.deb
