#!/usr/bin/env bash
# Tidegate beside nginx with Nchan and a bare epoll loop: each is started, measured from outside by the load tester and
# ended, one after the other, never two at once; then Tidegate and Nchan with two nodes each on one Redis. Before them the
# questions of docs/loadtest.md, to Tidegate alone. The rounds
# alternate (A, B, A, B…) and the table shows their medians, so that what else the machine does meets all of them.
#
#   BENCH_QUICK=1         one short round of each, about seven minutes, instead of three long ones, about half an hour
#   BENCH_ONLY=           only measurements with these names or patterns ('users-* connect'); names: scripts/bench/measurements.sh
#   BENCH_ROUNDS=         how many rounds
#   BENCH_SOAK=           seconds of the soak (60 or 300; the question is about 1800)
#   BENCH_REPORTS=        where each run's report goes, a page with plots (default: bench in the build directory)
#   BENCH_JSON=           where the table is written as JSON (default: bench.json in the build directory)
#   LOADTEST_BINARY=, BENCH_BINARY=   programs to use instead of building them
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
PATH=$PATH:/usr/sbin:/usr/local/sbin
target=${CARGO_TARGET_DIR:-$root/target}
# shellcheck source=scripts/bench/servers.sh
. scripts/bench/servers.sh
# shellcheck source=scripts/bench/measurements.sh
. scripts/bench/measurements.sh

main() {
    need redis-server redis-server
    need redis-cli redis-tools
    need redis-benchmark redis-tools
    need nginx nginx
    if [ -z "${BENCH_BINARY:-}" ] || [ -z "${LOADTEST_BINARY:-}" ]; then
        cargo build --release --locked --package tidegate --package loadtest
    fi
    tidegate=${BENCH_BINARY:-$target/release/tidegate}
    loadtest=${LOADTEST_BINARY:-$target/release/loadtest}

    work=$(mktemp -d "${TMPDIR:-/tmp}/tidegate-bench.XXXXXX")
    results=$work/results
    reports=${BENCH_REPORTS:-$target/bench}
    mkdir -p "$results" "$reports"
    trap 'end_servers; rm -rf "$work"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    # Better missed before the questions than half an hour later.
    start nchan
    end_servers

    round=1
    questions
    for ((round = 1; round <= ${BENCH_ROUNDS:-$rounds}; round++)); do
        one_node
        two_nodes
    done
    echo
    mkdir -p "$target"
    "$loadtest" table "$results" --json "${BENCH_JSON:-$target/bench.json}"
    echo "Each run as a page: $reports"
}

# need PROGRAM PACKAGE
need() {
    command -v "$1" >/dev/null && return
    echo "make bench needs $1. Debian, Ubuntu: sudo apt-get install $2; macOS: brew install ${2%-*}" >&2
    exit 1
}

main "$@"
