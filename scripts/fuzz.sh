#!/usr/bin/env bash
# Gives every parser of outside bytes (fuzz/) inputs that nobody thought of, FUZZ_SECONDS (30) each; a name as argument: that target only.
#
#   scripts/fuzz.sh [TARGET…]    what is found stands in fuzz/artifacts; put it into fuzz/seeds/TARGET, where a test repeats it
#   scripts/fuzz.sh check        whether the targets compile; needs nothing installed, like the next
#   scripts/fuzz.sh seeds        every seed once
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The versions that the gateway is built with; cargo adds what only the targets need.
[ fuzz/Cargo.lock -nt Cargo.lock ] || cp Cargo.lock fuzz/Cargo.lock

# In the gateway's own target directory: most of it has been built there.
case "${1:-}" in
  check) exec cargo check --manifest-path fuzz/Cargo.toml --target-dir "${CARGO_TARGET_DIR:-target}" --all-targets ;;
  seeds) exec cargo test --manifest-path fuzz/Cargo.toml --target-dir "${CARGO_TARGET_DIR:-target}" ;;
esac
if ! command -v cargo-fuzz >/dev/null; then
  echo "cargo-fuzz is missing: cargo install --locked cargo-fuzz" >&2
  exit 1
fi
# Without a sanitizer: there is no unsafe code here to be watched, and panics, overflows and assertions are found as well, on a stable
# compiler, and twice as fast.
targets=("$@")
[ $# -gt 0 ] || mapfile -t targets < <(cargo fuzz list)
cargo fuzz build --sanitizer none
for target in "${targets[@]}"; do
  echo "== $target"
  mkdir -p "fuzz/corpus/$target"
  cargo fuzz run --sanitizer none "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
    -max_total_time="${FUZZ_SECONDS:-30}" -timeout=10 -rss_limit_mb=4096 -max_len=8192 -print_final_stats=1 -verbosity=0
done
