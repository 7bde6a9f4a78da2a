#!/usr/bin/env bash
# What an idle stream costs, how long an event takes, how many can be published: measured on a cluster of three gateways
# and a real Redis on this machine, started and stopped here. nginx is left out: the load tester speaks to the gateways.
#
#   BENCH_IDLE=10000      idle streams, on the first gateway; twice as many open files are needed
#   BENCH_STREAMS=1000    streams that receive, spread over the gateways
#   LOADTEST_BINARY=, CLUSTER_BINARY=   programs to use instead of building them; the cluster's ports: scripts/cluster.sh
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
if [ -z "${LOADTEST_BINARY:-}" ]; then
    cargo build --release --locked --package loadtest
    LOADTEST_BINARY=${CARGO_TARGET_DIR:-$root/target}/release/loadtest
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/tidegate-bench.XXXXXX")
ulimit -n "$(ulimit -Hn)"
CLUSTER_READY_FILE=$work/ready scripts/cluster.sh >"$work/cluster.log" 2>&1 &
cluster=$!
# shellcheck disable=SC2317,SC2329 # called by the trap
stop() {
    kill -TERM "$cluster" 2>/dev/null || true
    wait "$cluster" 2>/dev/null || true
    rm -rf "$work"
}
trap stop EXIT

until [ -e "$work/ready" ]; do
    kill -0 "$cluster" 2>/dev/null || { cat "$work/cluster.log" >&2; exit 1; }
    sleep 0.2
done
# shellcheck source=/dev/null
. "$work/ready"

one=(--url "$GATEWAY_1" --pid "$PID_1")
all=("${one[@]}" --url "$GATEWAY_2" --pid "$PID_2" --url "$GATEWAY_3" --pid "$PID_3")

step() {
    echo
    echo "== $1"
    shift
    "$LOADTEST_BINARY" "$@"
}

step "idle streams on one node" idle "${one[@]}" --connections "${BENCH_IDLE:-10000}"
step "one topic, three nodes, through Redis" fanout "${all[@]}" --connections "${BENCH_STREAMS:-1000}"
step "publishing one event a request" publish "${all[@]}"
step "publishing NDJSON" publish "${all[@]}" --batch 100

# The same script without a gateway in front: what Redis itself can do on this machine, in this run.
redis_port=${REDIS_URL##*:}
redis_port=${redis_port%%/*}
sha=$(redis-cli -p "$redis_port" -x script load <crates/broker-redis/src/scripts/publish.lua)
event=$(printf 'j 1760000000000 \n"%0128d"' 0)
for pipeline in 1 100; do
    echo
    echo "== redis-benchmark: the publish script, 32 connections, pipelines of $pipeline"
    redis-benchmark -p "$redis_port" -q -n 200000 -c 32 -P "$pipeline" -r 32 EVALSHA "$sha" 4 \
        'tg:{0}:epoch' 'tg:{0}:offset' 'tg:{0}:t:bench:__rand_int__' 'tg:{0}:s:bench:__rand_int__' \
        abcde "$event" 1000 3600000 2592000000 600000 'tg:{0}:c:bench' | tr '\r' '\n' | grep -o '[0-9.]* requests per second' | tail -1
done
