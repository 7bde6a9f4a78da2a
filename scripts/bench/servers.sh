# shellcheck shell=bash disable=SC2034,SC2154 # the names are shared with bench.sh and the file beside this one
# Starts and ends what is measured, each on free ports and in the directory $work. What is started last is in `server`:
# the words that tell the load tester about it.

pids=()
server=()
port=21000

# One process of its own; its output is kept for when it fails.
start() {
    "$@" >"$work/log" 2>&1 </dev/null &
    pids+=("$!")
}

# Ends what was started, Redis apart, and waits for it.
end_servers() {
    local pid
    for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do
        for _ in {1..100}; do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.05
        done
        kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    pids=()
}

# A port that nobody listens at, in `port`; each is used once.
next_port() {
    while port=$((port + 1)); (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
}

# Until somebody listens at `port`.
listening() {
    local deadline=$((SECONDS + 20))
    until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
        if [ "$SECONDS" -ge "$deadline" ] || ! kill -0 "${pids[-1]}" 2>/dev/null; then
            cat "$work/log" >&2
            exit 1
        fi
        sleep 0.05
    done
}

# start_tidegate [SETTING=VALUE…]: an outbox that holds a whole flood, as Nchan's message buffer below does, and polls that
# wait for as long as anybody looks.
start_tidegate() {
    next_port
    local listen=127.0.0.1:$port
    next_port
    start env TIDEGATE_LOG=error TIDEGATE_DRAIN__DELAY=0s TIDEGATE_DRAIN__WINDOW=0s \
        TIDEGATE_STREAM__OUTBOX_EVENTS=20000 TIDEGATE_STREAM__OUTBOX_BYTES=16MiB \
        TIDEGATE_LIMITS__POLL_TIMEOUT=10m "$@" \
        "$tidegate" serve --listen "$listen" --admin-listen "127.0.0.1:$port"
    listening
    server=(--profile tidegate --url "http://$listen" --pid "${pids[-1]}")
}

# start_nchan [REDIS-URL]: two workers, as Tidegate has two threads on two cores, and nothing that limits, logs or times out.
start_nchan() {
    next_port
    local dir=$work/nchan-$port upstream='' location='' buffer=20000
    mkdir -p "$dir/tmp"
    if [ -n "${1:-}" ]; then
        upstream="upstream redis { nchan_redis_server $1; nchan_redis_storage_mode distributed; }"
        location="nchan_redis_pass redis;"
        buffer=1000
    fi
    cat >"$dir/nginx.conf" <<EOF
load_module $nchan;
daemon off;
pid $dir/pid;
error_log stderr error;
worker_processes $(nproc);
worker_rlimit_nofile $(ulimit -n);
events { worker_connections 15000; }
http {
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    client_body_temp_path tmp/1; proxy_temp_path tmp/2; fastcgi_temp_path tmp/3; uwsgi_temp_path tmp/4; scgi_temp_path tmp/5;
    nchan_shared_memory_size 512m;
    $upstream
    server {
        listen 127.0.0.1:$port backlog=4096;
        location ~ ^/sub/(.+)$ {
            nchan_subscriber eventsource;
            nchan_channel_id \$1;
            nchan_subscriber_timeout 0;
            nchan_subscriber_first_message newest;
            $location
        }
        location ~ ^/pub/(.+)$ {
            nchan_publisher;
            nchan_channel_id \$1;
            nchan_message_buffer_length $buffer;
            nchan_message_timeout 1h;
            $location
        }
    }
}
EOF
    start nginx -p "$dir/" -c "$dir/nginx.conf"
    listening
    server=(--profile nchan --url "http://127.0.0.1:$port" --pid "${pids[-1]}")
}

start_loop() {
    next_port
    start "$loadtest" baseline --listen "127.0.0.1:$port"
    listening
    server=(--profile loop --url "http://127.0.0.1:$port" --pid "${pids[-1]}")
}

# Empty, with the settings that Tidegate recommends; its port in `redis_port`.
start_redis() {
    next_port
    redis_port=$port
    rm -rf "$work/redis"
    mkdir "$work/redis"
    start redis-server "$root/deploy/redis.conf" --port "$redis_port" --bind 127.0.0.1 --dir "$work/redis" --daemonize no
    listening
}

# Two nodes on one empty Redis: events are published at the first, streams are opened at the second.
start_pair() {
    start_redis
    local first
    case $1 in
    tidegate)
        start_tidegate TIDEGATE_REDIS__URL="redis://127.0.0.1:$redis_port"
        first=("${server[@]}")
        start_tidegate TIDEGATE_REDIS__URL="redis://127.0.0.1:$redis_port"
        ;;
    nchan)
        start_nchan "redis://127.0.0.1:$redis_port"
        first=("${server[@]}")
        start_nchan "redis://127.0.0.1:$redis_port"
        ;;
    esac
    # server: --profile P --url URL --pid PID
    server+=(--publish-url "${first[3]}" --pid "${first[5]}")
    sleep 1 # both have their connections to Redis
}
