#!/usr/bin/env bash
# The JavaScript client against real gateways, in Node and in Chromium, and other people's clients (npm, PyPI) after it. Installs what these need
# beside themselves; the system's programs are scripts/setup.sh's affair.
#
#   GATEWAY_BINARY=   the gateway to test with (default: the debug build, which is made if it is not there)
#   CHROMIUM=          the browser (default: chromium in PATH)
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export GATEWAY_BINARY=${GATEWAY_BINARY:-${CARGO_TARGET_DIR:-$root/target}/debug/tidegate}
export CHROMIUM=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)}

main() {
    need node "Node 20 or later"
    need npm npm
    need python3 "Python 3 with venv"
    need redis-server redis-server
    [ -n "$CHROMIUM" ] || lacks "Chromium or Chrome (CHROMIUM=…)"
    [ "$(node -p 'process.versions.node.split(".")[0]')" -ge 20 ] || lacks "Node 20 or later, not $(node --version)"
    [ -x "$GATEWAY_BINARY" ] || (cd "$root" && cargo build --locked --package tidegate)

    modules clients/js
    modules tests/clients
    packages tests/clients
    (cd "$root/clients/js" && npm run --silent build && npm run --silent size && node --test --test-concurrency=3 test/*.test.js test/browser/*.test.js)
    (cd "$root/tests/clients" && node --test ./*.test.js)
}

# need PROGRAM WHAT
need() {
    PATH=$PATH:/usr/sbin
    command -v "$1" >/dev/null || lacks "$2"
}

lacks() {
    echo "The clients' tests need $1." >&2
    exit 1
}

# modules DIRECTORY: what its lock file names, if that is not there yet.
modules() {
    cd "$root/$1"
    [ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --silent --no-fund --no-audit
}

# packages DIRECTORY: likewise, for Python.
packages() {
    cd "$root/$1"
    [ .venv/installed -nt requirements.txt ] && return
    python3 -m venv .venv
    .venv/bin/pip install --quiet --disable-pip-version-check --requirement requirements.txt
    touch .venv/installed
}

main "$@"
