# shellcheck shell=bash disable=SC2034,SC2154 # the names are shared with bench.sh and the file beside this one
# What is measured. Each result is a file $results/MEASUREMENT.SERVER.ROUND.json; what of it counts, and what is to be
# reached, is in loadtest/src/rows.rs.

if [ -n "${BENCH_QUICK:-}" ]; then
    rounds=1 seconds=3 flood=1000 users=20000 bursts=40 steps=100,1000,5000 soak=60 away=5000
else
    rounds=3 seconds=8 flood=3000 users=50000 bursts=200 steps=100,1000,5000,10000 soak=300 away=10000
fi

# The questions that come before a choice: docs/loadtest.md. Once, for they take as long as rounds of the others.
questions() {
    measure burst tidegate burst --rounds "$bursts"
    measure ramp tidegate ramp --steps "$steps" --seconds "$seconds"
    measure soak tidegate soak --rate 0.1 --seconds "${BENCH_SOAK:-$soak}"
    measure reconnect tidegate reconnect --connections "$away" --missed 200
}

one_node() {
    for name in tidegate nchan loop; do measure idle "$name" idle --connections 10000 --seconds 2; done
    # The other ways to receive, beside the first.
    measure idle-tls tidegate idle --connections 10000 --seconds 2
    measure idle-poll tidegate idle --via poll --connections 10000 --seconds 2
    for tls in '' -tls; do
        measure "idle$tls-ws" tidegate idle --via ws --connections 10000 --seconds 2
        measure "idle$tls-h2" tidegate idle --via h2 --connections 5000 --seconds 2
        measure "idle$tls-h2-100" tidegate idle --via h2 --connections 500 --streams-per-connection 100 --seconds 2
    done
    for name in tidegate nchan; do measure connect "$name" connect; done
    for name in tidegate nchan loop; do measure fanout-1k "$name" fanout --rate 50 --seconds "$seconds"; done
    measure fanout-1k-tls tidegate fanout --rate 50 --seconds "$seconds"
    for name in tidegate nchan loop; do
        measure fanout-10k "$name" fanout --connections 10000 --rate 5 --seconds "$seconds"
    done
    for publishers in 1 4 32; do
        measure "flood-$publishers" tidegate flood --publishers "$publishers" --events "$flood"
        # Half a minute each: they are as long as three rounds of the other.
        [ "$round" -gt 1 ] || for name in nchan loop; do
            measure "flood-$publishers" "$name" flood --publishers "$publishers" --events "$flood"
        done
    done
    for count in 1 10; do
        for name in tidegate nchan; do
            measure "users-${count}k" "$name" users --connections "${count}000" --events "$users"
        done
    done
}

two_nodes() {
    for name in tidegate nchan; do measure redis-fanout "$name" fanout --rate 50 --seconds "$seconds"; done
    for name in tidegate nchan; do measure redis-publish "$name" publish --seconds "$seconds"; done
    measure redis-ndjson tidegate publish --batch 100 --seconds "$seconds"
    measure redis-ndjson redis-benchmark
}

# measure MEASUREMENT SERVER [SCENARIO OPTION…]
measure() {
    local measurement=$1 name=$2 result=$results/$1.$2.$round.json
    wanted "$measurement" || return 0
    shift 2
    echo
    echo "== $measurement, $name, round $round"
    case $measurement.$name in
    *.redis-benchmark) redis_benchmark "$result" ;;
    redis-*)
        start_pair "$name"
        load "$result" "$@"
        ;;
    reconnect.*)
        start_redis
        start "$name" --redis "$redis"
        load "$result" "$@" --redis "$redis"
        ;;
    *-tls*)
        start "$name" --setting TLS__DEV=true
        server[3]=${server[3]/http:/https:}
        load "$result" "$@"
        ;;
    *)
        start "$name"
        load "$result" "$@"
        ;;
    esac
    end_servers
}

wanted() {
    local pattern patterns
    read -ra patterns <<<"${BENCH_ONLY:-*}"
    for pattern in "${patterns[@]}"; do
        # shellcheck disable=SC2053 # it is a pattern
        [[ $1 != $pattern ]] || return 0
    done
    return 1
}

# A lost event is a result too: the table says so.
load() {
    local result=$1
    shift
    "$loadtest" "$@" "${server[@]}" --json "$result" --html "$reports/$(basename "$result" .json).html" ||
        echo "FAILED: ${server[1]}" >&2
}

# The script that publishes an event, without a gateway in front: what Redis itself can do on this machine, in this run.
redis_benchmark() {
    local sha event rate redis_port
    start_redis
    redis_port=${redis##*:}
    sha=$(redis-cli -p "$redis_port" -x script load <crates/broker-redis/src/scripts/publish.lua)
    event=$(printf 'j 1760000000000 \n"%0128d"' 0)
    rate=$(redis-benchmark -p "$redis_port" -q -n 300000 -c 32 -P 100 -r 32 EVALSHA "$sha" 4 \
        'tg:{0}:epoch' 'tg:{0}:offset' 'tg:{0}:t:bench:__rand_int__' 'tg:{0}:s:bench:__rand_int__' \
        abcde "$event" 1000 3600000 2592000000 600000 'tg:{0}:c:bench' |
        tr '\r' '\n' | grep -o '[0-9.]* requests per second' | tail -1 | cut -d' ' -f1)
    echo "  published_per_second         $rate"
    echo "{\"figures\": {\"published_per_second\": $rate}}" >"$1"
}
