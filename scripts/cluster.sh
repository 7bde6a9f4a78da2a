#!/usr/bin/env bash
# A whole cluster out of local processes: a real redis-server, three gateways, a real nginx in front. Everything it
# writes is in one temporary directory, every process it ends is one that it started. Ctrl-C stops all of it.
#
#   CLUSTER_HTTP_PORT=8080      nginx
#   CLUSTER_GATEWAY_PORT=8091   the first gateway; the others follow
#   CLUSTER_ADMIN_PORT=8191     the first gateway's admin listener; the others follow
#   CLUSTER_REDIS_PORT=6390
#   CLUSTER_NODES=3
#   CLUSTER_READY_FILE=         written once all are ready, as lines NAME=value: URL, REDIS_URL, DIR, and GATEWAY_1, ADMIN_1, PID_1…
#   CLUSTER_BINARY=             a gateway to use instead of building one
#
# Any TIDEGATE_… setting in the environment reaches the gateways.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
http_port=${CLUSTER_HTTP_PORT:-8080}
gateway_port=${CLUSTER_GATEWAY_PORT:-8091}
admin_port=${CLUSTER_ADMIN_PORT:-8191}
redis_port=${CLUSTER_REDIS_PORT:-6390}
nodes=${CLUSTER_NODES:-3}
ready_file=${CLUSTER_READY_FILE:-}
ready_within=30 # seconds; a cold machine needs two

main() {
    local i
    need curl curl
    need redis-server redis-server
    need nginx nginx
    free_ports
    binary=${CLUSTER_BINARY:-$(build)}

    umask 077 # logs and data are for who started this, whatever becomes of the folder's mode below
    dir=$(mktemp -d "${TMPDIR:-/tmp}/tidegate-cluster.XXXXXX")
    trap stop EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    trap 'exit 141' PIPE # who read our output is gone

    start_redis
    for ((i = 1; i <= nodes; i++)); do start_gateway "$i"; done
    start_nginx
    for ((i = 1; i <= nodes; i++)); do
        await "gateway-$i" "http://127.0.0.1:$((admin_port + i - 1))/readyz"
    done
    await nginx "http://127.0.0.1:$http_port/readyz"

    announce
    [ -z "$ready_file" ] || write_ready_file
    stand_by
}

# need PROGRAM PACKAGE. Debian puts servers in /usr/sbin, which is not in everybody's PATH.
need() {
    PATH=$PATH:/usr/sbin:/usr/local/sbin
    command -v "$1" >/dev/null && return
    echo "make cluster needs $1. Debian, Ubuntu: sudo apt-get install $2; macOS: brew install ${2%-server}" >&2
    exit 1
}

free_ports() {
    local port
    for port in "$http_port" "$redis_port" \
        $(seq "$gateway_port" $((gateway_port + nodes - 1))) $(seq "$admin_port" $((admin_port + nodes - 1))); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "Port $port is taken. Stop what listens there, or choose others: CLUSTER_HTTP_PORT, CLUSTER_GATEWAY_PORT," \
                "CLUSTER_ADMIN_PORT, CLUSTER_REDIS_PORT." >&2
            exit 1
        fi
    done
}

build() {
    cd "$root"
    cargo build --release --locked --package tidegate >&2
    echo "${CARGO_TARGET_DIR:-$root/target}/release/tidegate"
}

names=()
pids=()

# start NAME COMMAND…: in a process group of its own, so that a Ctrl-C meant for this script does not reach it first.
start() {
    local name=$1
    shift
    set -m
    "$@" >"$dir/$name.log" 2>&1 </dev/null &
    names+=("$name")
    pids+=("$!")
    set +m
}

start_redis() {
    mkdir "$dir/redis"
    start redis redis-server "$root/deploy/redis.conf" --port "$redis_port" --bind 127.0.0.1 --dir "$dir/redis" --daemonize no
    local deadline=$((SECONDS + ready_within))
    until [ "$(resp_ping)" = "+PONG" ]; do wait_a_little redis "$deadline"; done
}

# Asks without redis-cli, which is a package of its own on some systems.
resp_ping() {
    (
        exec 3<>"/dev/tcp/127.0.0.1/$redis_port"
        printf 'PING\r\n' >&3
        IFS=$'\r' read -r -t 1 answer _ <&3
        echo "$answer"
    ) 2>/dev/null || true
}

start_gateway() {
    # With nobody in front of it any more there is nothing to wait for at the end: the delay is for load balancers.
    TIDEGATE_NODE="gateway-$1" \
        TIDEGATE_AUTH__MODE="${TIDEGATE_AUTH__MODE:-open}" \
        TIDEGATE_DRAIN__DELAY="${TIDEGATE_DRAIN__DELAY:-0s}" \
        start "gateway-$1" "$binary" serve \
        --listen "127.0.0.1:$((gateway_port + $1 - 1))" \
        --admin-listen "127.0.0.1:$((admin_port + $1 - 1))" \
        --redis "redis://127.0.0.1:$redis_port"
}

# The same files as in production; only addresses, limits and temporary paths are this machine's.
start_nginx() {
    local conf=$dir/nginx gateways=() i
    for ((i = 0; i < nodes; i++)); do gateways+=("127.0.0.1:$((gateway_port + i))"); done
    cp -R "$root/nginx" "$conf"
    "$root/scripts/local-nginx.sh" "$conf" "127.0.0.1:$http_port" "${gateways[@]}"
    chmod 711 "$dir" # nginx' workers may run as another user
    start nginx nginx -p "$conf/" -c nginx.conf -g "daemon off; pid nginx.pid;"
}

await() {
    local name=$1 url=$2 deadline=$((SECONDS + ready_within))
    until curl -fsS -m 2 -o /dev/null "$url" 2>/dev/null; do wait_a_little "$name" "$deadline"; done
}

wait_a_little() {
    local name=$1 deadline=$2 i
    for i in "${!names[@]}"; do
        kill -0 "${pids[i]}" 2>/dev/null || fail "${names[i]}" "ended before it was ready"
    done
    [ "$SECONDS" -lt "$deadline" ] || fail "$name" "was not ready within $ready_within s"
    sleep 0.1
}

fail() {
    echo "$1 $2. The end of its log:" >&2
    tail -n 20 "$dir/$1.log" >&2
    exit 1
}

announce() {
    echo
    echo "Tidegate cluster: http://127.0.0.1:$http_port   (nginx, in front of $nodes gateways)"
    local i n
    for i in "${!names[@]}"; do
        case ${names[i]} in
        gateway-*)
            n=$((${names[i]#gateway-} - 1))
            printf '  %-10s pid %-7s http://127.0.0.1:%s   admin http://127.0.0.1:%s/metrics\n' \
                "${names[i]}" "${pids[i]}" $((gateway_port + n)) $((admin_port + n))
            ;;
        redis) printf '  %-10s pid %-7s redis://127.0.0.1:%s\n' redis "${pids[i]}" "$redis_port" ;;
        *) printf '  %-10s pid %-7s http://127.0.0.1:%s\n' "${names[i]}" "${pids[i]}" "$http_port" ;;
        esac
    done
    echo "  logs       $dir/*.log"
    echo "Try it:"
    echo "  curl -N 'http://127.0.0.1:$http_port/v1/events?topic=room:1'"
    echo "  curl -d '{\"topic\":\"room:1\",\"data\":\"hello\"}' -H 'Content-Type: application/json' http://127.0.0.1:$http_port/v1/publish"
    echo "Ctrl-C stops all of it."
}

# Complete as soon as it exists: written beside it, then moved.
write_ready_file() {
    local i n
    {
        echo "URL=http://127.0.0.1:$http_port"
        echo "REDIS_URL=redis://127.0.0.1:$redis_port"
        echo "DIR=$dir"
        for i in "${!names[@]}"; do
            case ${names[i]} in
            gateway-*)
                n=${names[i]#gateway-}
                echo "GATEWAY_$n=http://127.0.0.1:$((gateway_port + n - 1))"
                echo "ADMIN_$n=http://127.0.0.1:$((admin_port + n - 1))"
                echo "PID_$n=${pids[i]}"
                ;;
            redis) echo "REDIS_PID=${pids[i]}" ;;
            nginx) echo "NGINX_PID=${pids[i]}" ;;
            esac
        done
    } >"$ready_file.new"
    mv "$ready_file.new" "$ready_file"
}

# A process that ends is reported and the rest goes on: killing one is what a cluster is there to be tried with.
stand_by() {
    local i running=${#pids[@]}
    while [ "$running" -gt 0 ]; do
        wait -n "${pids[@]}" 2>/dev/null || true
        for i in "${!pids[@]}"; do
            kill -0 "${pids[i]}" 2>/dev/null && continue
            echo "${names[i]} (pid ${pids[i]}) has ended" >&2
            unset "pids[i]" "names[i]"
            running=$((running - 1))
        done
    done
}

# nginx first, so that no client finds its way to a node that is leaving; Redis last, so that the nodes can say goodbye.
stop() {
    local status=$? i
    trap '' INT TERM HUP PIPE
    trap - EXIT
    [ "$status" -eq 1 ] || echo "stopping…" >&2 || true
    end nginx
    for i in "${!names[@]}"; do
        case ${names[i]} in gateway-*) kill -TERM "${pids[i]}" 2>/dev/null || true ;; esac
    done
    end gateway-
    end redis
    [ -z "$ready_file" ] || rm -f "$ready_file"
    rm -rf "$dir"
    exit "$status"
}

# end PREFIX: asks, waits, and after the gateways' longest drain (30 s) and a bit insists.
end() {
    local i deadline=$((SECONDS + 35))
    for i in "${!names[@]}"; do
        case ${names[i]} in "$1"*) ;; *) continue ;; esac
        kill -TERM "${pids[i]}" 2>/dev/null || true
        while kill -0 "${pids[i]}" 2>/dev/null; do
            [ "$SECONDS" -lt "$deadline" ] || kill -KILL "${pids[i]}" 2>/dev/null || true
            sleep 0.05
        done
        wait "${pids[i]}" 2>/dev/null || true
    done
}

main "$@"
