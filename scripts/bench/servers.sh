# shellcheck shell=bash disable=SC2034,SC2154 # names are shared with bench.sh and its other file
# Starts and ends what is measured. The load tester does it, as for its own comparisons
# (loadtest/src/local).

pids=()
server=()

# start SYSTEM [OPTION…]: one more, and in `server` the flags that tell a scenario about it.
start() {
    local flags
    exec {flags}< <(exec "$loadtest" start "$@" --binary "$tidegate")
    pids+=("$!")
    read -ra server <&"$flags" || exit 1 # it has said why
    exec {flags}<&-
}

# Ends what was started, Redis last, and waits for it.
end_servers() {
    local i
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
        kill -TERM "${pids[i]}" 2>/dev/null || true
        wait "${pids[i]}" 2>/dev/null || true
    done
    pids=()
}

# Empty, with the settings that Tidegate recommends; its URL in `redis`.
start_redis() {
    start redis
    redis=${server[1]}
}

# Two nodes on one empty Redis: events are published at the first, streams are opened at the second.
start_pair() {
    local first
    start_redis
    start "$1" --redis "$redis"
    first=("${server[@]}")
    start "$1" --redis "$redis"
    # server: --profile P --url URL --pid PID
    server+=(--publish-url "${first[3]}" --pid "${first[5]}")
    sleep 1 # both have their connections to Redis
}
