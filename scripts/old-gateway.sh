#!/usr/bin/env bash
# Builds the gateway of the version before, for the tests of a rolling upgrade, and prints where
# it is. It is built once, from a fixed commit, in target/old: some minutes on two cores.
# `make test-upgrade` runs this and those tests.
#
#   OLD_GATEWAY=FILE    a binary to use instead of building one
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The last commit whose gateways know only `tg:{p}:epoch` and `tg:{p}:offset`, and nothing of
# `tg:{p}:place`.
commit=a7149f85ed9c77e66a2572f3b9a2cea0edfe0bc2
dir=$PWD/target/old
binary=$dir/tidegate-${commit:0:12}

if [ -n "${OLD_GATEWAY:-}" ]; then
    binary=$OLD_GATEWAY
    [ -f "$binary" ] && [ -x "$binary" ] || { echo "OLD_GATEWAY: $binary is no program" >&2; exit 1; }
elif [ ! -x "$binary" ]; then
    if ! git cat-file -e "$commit^{commit}" 2>/dev/null; then
        echo "This clone does not have commit $commit, of which the gateway before is built. Most likely it is a shallow one:" >&2
        echo "  git fetch --unshallow        or        git fetch origin $commit" >&2
        echo "Where neither works: OLD_GATEWAY=FILE, a gateway that was built of it elsewhere." >&2
        exit 1
    fi
    echo "building the gateway of the version before" >&2
    rm -rf "$dir/source"
    mkdir -p "$dir/source"
    git archive "$commit" | tar -x -C "$dir/source"
    # Its own Cargo.lock and target: it must not take the place of this version's gateway.
    (cd "$dir/source" && CARGO_TARGET_DIR=$dir/build cargo build --quiet --locked --package tidegate >&2)
    # A name that is there only once it is complete; what it was built with is of no use any more.
    mv "$dir/build/debug/tidegate" "$binary"
    rm -rf "$dir/build" "$dir/source"
fi
echo "$binary"
