#!/usr/bin/env bash
# The Redis broker and the hub over a model of Redis, in virtual time, from a seed (docs/simulation.md).
#
#   scripts/simulate.sh            SIMULATE_SECONDS (60) of fixed seeds, 1,170 at most, the plans that are kept, and the model against a real Redis
#   scripts/simulate.sh check      formatting and clippy
#   scripts/simulate.sh mutants [NAME…]  every patch of simulation/mutants takes a fix out: each must be found
#   scripts/simulate.sh run …      the program itself; `seed`, `plan` and `kept` likewise
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../simulation"

# Patches a copy of the gateway, and lets its families of plans find that.
mutants() {
  local tree=target/mutants missed=() patches=(mutants/*.patch) patch families log
  [ $# -eq 0 ] || patches=("${@/#/mutants/}") && patches=("${patches[@]/%.patch/}") && patches=("${patches[@]/%/.patch}")
  rm -rf "$tree" && mkdir -p "$tree/simulation"
  cp -a ../Cargo.toml ../Cargo.lock ../crates ../loadtest "$tree"
  cp -a Cargo.toml Cargo.lock .cargo src "$tree/simulation"
  for patch in "${patches[@]}"; do
    families=$(sed -n 's/^# families: //p' "$patch")
    patch --quiet --strip 1 --directory "$tree" <"$patch"
    log=$tree/$(basename "$patch" .patch).log
    if ! (cd "$tree/simulation" && CARGO_TARGET_DIR=../.. cargo build --quiet 2>"$OLDPWD/$tree/build.log"); then
      echo "$patch does not compile" >&2
      exit 1
    fi
    cp target/debug/simulate "$tree/simulate"
    if "$tree/simulate" run --family "$families" --seconds "${MUTANT_SECONDS:-120}" --stop 1 --twice 1000000 --no-shrink >"$log"; then
      echo "NOT FOUND: $patch"
      missed+=("$patch")
    else
      echo "found: $(basename "$patch" .patch), $(head -1 "$log"), $(sed -n 2p "$log")"
    fi
    patch --quiet --strip 1 --reverse --directory "$tree" <"$patch"
  done
  # The program of the tree itself again.
  cargo build --quiet
  [ ${#missed[@]} -eq 0 ]
}

case "${1:-}" in
  '')
    if [ -n "${MUTANTS:-}" ]; then
      mutants
    else
      cargo test --quiet
      cargo run --quiet -- kept
      # The same seeds on every machine: a faster one does not go on to others.
      cargo run --quiet -- run --seconds "${SIMULATE_SECONDS:-60}" --count 1170
    fi
    ;;
  check)
    cargo fmt --check
    cargo clippy --all-targets -- -D warnings
    ;;
  mutants) shift && mutants "$@" ;;
  *) cargo run --quiet -- "$@" ;;
esac
