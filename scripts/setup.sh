#!/usr/bin/env bash
# Sees to it that the programs the tests start are there: redis-server, nginx and chromium, real ones, Node and Python for the
# clients that they test, and a C compiler and curl for the build and the scripts. As root on Debian or Ubuntu it installs what is missing; elsewhere it says what to install.
set -euo pipefail

missing=()

# needs PROGRAM PACKAGE: Debian puts nginx in /usr/sbin, which is not in everybody's PATH.
needs() {
    command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ] || missing+=("$2")
}

needs cc gcc
needs curl curl
needs patch patch
needs redis-server redis-server
needs nginx nginx
needs chromium chromium
needs node nodejs
needs npm npm
python3 -c 'import yaml, jsonschema' 2>/dev/null || missing+=(python3-yaml python3-jsonschema)
python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3 python3-venv)

# Debian 12 has Node 18, and the clients need 20.
new_enough() { [ "$(node -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0)" -ge 20 ]; }

if [ ${#missing[@]} -eq 0 ] && new_enough; then
    exit 0
fi

if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    echo "installing: ${missing[*]:-a newer Node}"
    # Only the programs are wanted; a policy of 101 keeps Debian from starting them as services, on ports tests may use.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
        trap 'rm -f "$policy"' EXIT
    fi
    if [ ${#missing[@]} -gt 0 ]; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends libc6-dev "${missing[@]}" >/dev/null
    fi
    new_enough || npm install --global --silent node@22
    exit 0
fi

new_enough || missing+=("nodejs (20 or later)")
echo "The tests start real programs, and these are missing: ${missing[*]}" >&2
echo "  Debian, Ubuntu:  sudo apt-get install ${missing[*]}" >&2
echo "  Fedora:          sudo dnf install gcc curl patch redis nginx chromium nodejs npm python3" >&2
echo "  macOS:           brew install redis nginx node python && brew install --cask chromium" >&2
exit 1
