#!/usr/bin/env bash
# The web page: its own tests, then Chromium against the real server with the demo model. Needs npm and Chromium (Debian's).
# usage: tools/test-page.sh BUILD   (after `make page all`)
set -euo pipefail
cd "$(dirname "$0")/.."
build=$(realpath "$1")
cd web
npm run --silent test
QVL_BUILD=$build npm run --silent test:page
