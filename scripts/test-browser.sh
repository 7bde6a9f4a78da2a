#!/usr/bin/env bash
# The page in a real browser, over real gateways, nginx and Redis. Needs Node 20 or later, redis-server, nginx and chromium.
#
#   scripts/test-browser.sh               all stories
#   scripts/test-browser.sh seats         those of tests/browser/stories/seats.test.mjs
#   GATEWAY_BINARY=…                      the gateway; else target/debug/tidegate is built
#   CHROMIUM=…                            the browser (default: chromium in PATH)
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

export CHROMIUM=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)}
if [ -z "${GATEWAY_BINARY:-}" ]; then
    # With the features that the tests have it is built already; alone it would have others, and all
    # it depends on would be compiled a second time.
    cargo test --quiet --locked --workspace --test operate --no-run
    GATEWAY_BINARY=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)/debug/tidegate
    export GATEWAY_BINARY
fi

for project in clients/page tests/browser; do
    # What is installed stays as long as the lock file does.
    [ "$project/node_modules/.package-lock.json" -nt "$project/package-lock.json" ] || npm --prefix "$project" ci --no-audit --no-fund --silent
done
npm --prefix clients/page run --silent check

export PATH=$PATH:/usr/sbin # where Debian has nginx
cd tests/browser
exec node --test --test-concurrency=1 stories/${1:-*}.test.mjs # not quoted: Node 20 expands no pattern itself
