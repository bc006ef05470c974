#!/usr/bin/env bash
# Installs what the build and the tests need, on Debian and Ubuntu. Says what it will install, uses sudo when
# not root, does nothing when all is there.
# usage: tools/install-deps.sh [more packages]
set -euo pipefail

packages=(
    libc6-dev
    libjansson-dev nettle-dev                                        # JSON; hashes and base64
    libedit-dev                                                      # line editing of the chat
    libjpeg-dev libpng-dev libwebp-dev libseccomp-dev                # qvl-media
    libavformat-dev libavcodec-dev libswscale-dev libavutil-dev      # its module for clips, GIF, BMP, TIFF
    libheif-dev                                                      # the same, for HEIC and AVIF
    libmicrohttpd-dev libcurl4-gnutls-dev                            # qvl serve: HTTP; URLs of pictures, where allowed
    libcmocka-dev curl                                               # tests
    "$@"
)

if ! command -v dpkg-query >/dev/null; then
    echo "install-deps: this is not Debian or Ubuntu; please install the equivalents of: ${packages[*]}" >&2
    exit 0
fi

need=()
for tool in gcc make pkg-config; do
    command -v "$tool" >/dev/null || need+=("$tool")
done
for p in "${packages[@]}"; do
    state=$(dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null || true)
    [ "$state" = installed ] || need+=("$p")
done
[ ${#need[@]} -eq 0 ] && exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "install-deps: as root, please run: apt-get install --no-install-recommends ${need[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi
echo "install-deps: installing ${need[*]}" >&2
"${as_root[@]}" apt-get update -qq
DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${need[@]}" >/dev/null
