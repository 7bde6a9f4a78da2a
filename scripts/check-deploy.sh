#!/usr/bin/env bash
# Holds what operators are given (deploy, nginx, docker-compose.yml) against the programs that will read it. No network, nothing is
# installed, and nothing outlives it. What could not be checked for want of a program is said at the end, by name.
#
#   CHECK_BINARY=   the gateway to ask; else target/debug or target/release, else it is built
#   CHECK_STRICT=1  what could not be checked is a failure
#
# Debian: apt-get install nginx redis-server prometheus python3-yaml python3-jsonschema systemd openssl docker-compose
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit 1
PATH=$PATH:/usr/sbin:/usr/local/sbin
dir=$(mktemp -d "${TMPDIR:-/tmp}/tidegate-check.XXXXXX")
trap 'rm -rf "$dir"' EXIT
failed=()
skipped=()

main() {
    tidegate=$(binary) || exit 1
    settings
    grace_periods
    kubernetes
    nginx_files
    compose
    redis
    systemd
    prometheus
    sysctls
    report
}

# check NAME COMMAND…: silent when it works, everything it said when not.
check() {
    local name=$1 said
    shift
    if said=$("$@" 2>&1); then
        echo "ok       $name"
    else
        echo "FAILED   $name"
        printf '%s\n' "$said" | sed 's/^/         /'
        failed+=("$name")
    fi
}

# without NAME WHY
without() {
    echo "not run  $1: $2"
    skipped+=("$1: $2")
}

has() { command -v "$1" >/dev/null 2>&1; }

binary() {
    local target=${CARGO_TARGET_DIR:-$root/target} found
    # shellcheck disable=SC2012 # the newest of two, by names that are known
    found=${CHECK_BINARY:-$(ls -t "$target"/{debug,release}/tidegate 2>/dev/null | head -n 1)}
    if [ -z "$found" ]; then
        cargo build --locked --package tidegate >&2 || return 1
        found=$target/debug/tidegate
    fi
    echo "$found"
}

settings() {
    check "deploy/tidegate.toml" env -i "$tidegate" config check --config deploy/tidegate.toml
    check "deploy/tidegate.env" with_env config check
}

with_env() {
    # shellcheck disable=SC2046 # one word for each line: values have no blanks
    env -i $(grep -v '^#' deploy/tidegate.env) "$tidegate" "$@"
}

# Whoever stops a gateway waits longer than its drain takes.
grace_periods() {
    check "docker-compose.yml: stop_grace_period" longer "$(sed -n 's/.*stop_grace_period: \([0-9a-z]*\) .*drain.*/\1/p' docker-compose.yml)" with_env
    check "deploy/tidegate.service: TimeoutStopSec" longer "$(sed -n 's/^TimeoutStopSec=//p' deploy/tidegate.service)s" env -i "$tidegate"
}

longer() {
    local grace=$1 deadline
    shift
    deadline=$("$@" config print | sed -n 's/^deadline = "\([^"]*\)".*/\1/p')
    [[ $grace =~ ^[0-9]+s$ && $deadline =~ ^[0-9]+s$ ]] || { echo "can't compare '$grace' with drain.deadline '$deadline'"; return 1; }
    [ "${grace%s}" -gt "${deadline%s}" ] || { echo "$grace is not above drain.deadline, $deadline"; return 1; }
}

# A python3 that has what is asked for: the system's, where another one comes first.
python_with() {
    local python
    for python in python3 /usr/bin/python3; do
        "$python" -c "import $1" 2>/dev/null && echo "$python" && return
    done
    return 1
}

kubernetes() {
    local python
    if python=$(python_with "jsonschema, tomllib, yaml; jsonschema.Draft202012Validator"); then
        check "deploy/kubernetes" "$python" scripts/check-kubernetes.py "$tidegate"
    else
        without "deploy/kubernetes" "no python3 (3.11 or later) with yaml and jsonschema"
    fi
    if has kubectl; then
        check "deploy/kubernetes: kustomization" kubectl kustomize deploy/kubernetes
    else
        without "deploy/kubernetes: kustomization" "no kubectl"
    fi
}

# The same files, with addresses of this machine and ports that need no privilege.
nginx_files() {
    local conf=$dir/nginx sample
    has nginx || { without "nginx" "no nginx"; return; }
    has openssl || { without "nginx" "no openssl, for a certificate"; return; }
    cp -R nginx "$conf"
    scripts/local-nginx.sh "$conf" 127.0.0.1:8080 127.0.0.{1,2,3}:8080
    mkdir -p "$conf/tls"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost \
        -keyout "$conf/tls/privkey.pem" -out "$conf/tls/fullchain.pem" 2>/dev/null
    openssl rand 32 >"$conf/tls/quic_host.key"
    check "nginx/nginx.conf" nginx_test "$conf"
    for sample in tls http3; do
        sed 's/listen 443/listen 8443/' "nginx/$sample.conf.sample" >"$conf/tls.d/tidegate.conf"
        if [ "$sample" = http3 ] && ! nginx -V 2>&1 | grep -q http_v3_module; then
            # What is left without the lines that only a newer one knows.
            rewrite "$conf/tls.d/tidegate.conf" '/quic\|http3\|http2 on/d'
            without "nginx/http3.conf.sample: HTTP/3's own lines" "$(nginx -v 2>&1 | sed 's/.*: //') has no http_v3_module"
        fi
        check "nginx/$sample.conf.sample" nginx_test "$conf"
    done
}

nginx_test() { nginx -t -q -p "$1/" -c "$1/nginx.conf" -g "pid $dir/nginx.pid;"; }

# sed -i differs between GNU and BSD.
rewrite() {
    sed "$2" "$1" >"$1.new" && mv "$1.new" "$1"
}

compose() {
    if docker compose version >/dev/null 2>&1; then
        check "docker-compose.yml" docker compose --profile monitoring config -q
    elif has docker-compose; then
        check "docker-compose.yml" docker-compose --profile monitoring config -q
    else
        without "docker-compose.yml" "no docker compose"
    fi
}

redis() {
    has redis-server || { without "deploy/redis.conf" "no redis-server"; return; }
    check "deploy/redis.conf" redis_starts
}

redis_starts() {
    local pid deadline=$((SECONDS + 20)) status=0
    redis-server deploy/redis.conf --port 0 --unixsocket "$dir/redis.sock" --dir "$dir" --daemonize no >"$dir/redis.log" 2>&1 &
    pid=$!
    until [ -S "$dir/redis.sock" ]; do
        if ! kill -0 "$pid" 2>/dev/null || [ "$SECONDS" -ge "$deadline" ]; then
            cat "$dir/redis.log"
            status=1
            break
        fi
        sleep 0.05
    done
    kill "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    return "$status"
}

systemd() {
    local unit=$dir/tidegate.service
    has systemd-analyze || { without "deploy/tidegate.service" "no systemd-analyze"; return; }
    # It looks for the program, which is not installed here.
    sed "s|/usr/local/bin/tidegate|$(realpath "$tidegate")|" deploy/tidegate.service >"$unit"
    check "deploy/tidegate.service" verified "$unit"
    # In tenths: 2.0 of 10 is little to be attacked by.
    if systemd-analyze --help | grep -q -- --offline; then
        check "deploy/tidegate.service: exposure" systemd-analyze security --no-pager --offline=true --threshold=20 "$unit"
    else
        without "deploy/tidegate.service: exposure" "systemd is older than 250"
    fi
}

# A key that it does not know is only a warning to it.
verified() {
    local said
    said=$(systemd-analyze verify --man=no "$1" 2>&1) && [ -z "$said" ] && return
    echo "$said"
    return 1
}

prometheus() {
    has promtool || { without "deploy/alerts.yml, alerts.test.yml, prometheus.yml, grafana" "no promtool"; return; }
    check "deploy/alerts.yml" promtool check rules deploy/alerts.yml
    check "deploy/alerts.test.yml" promtool test rules deploy/alerts.test.yml
    check "deploy/prometheus.yml" promtool check config deploy/prometheus.yml
    # Debian's is built without the ways to find targets in clusters: the rest is checked.
    sed '/kubernetes_sd_configs:/,+1d' deploy/kubernetes/prometheus.yml >"$dir/prometheus.yml"
    check "deploy/kubernetes/prometheus.yml" promtool check config "$dir/prometheus.yml"
    if has python3; then
        python3 - deploy/grafana/tidegate.json >"$dir/dashboard.json" <<'PYTHON'
import json, sys
board = json.load(open(sys.argv[1]))
texts = [target["expr"].replace("$__rate_interval", "1m") for panel in board["panels"] for target in panel.get("targets", [])]
print(json.dumps({"groups": [{"name": "dashboard", "rules": [{"record": f"panel:{n}", "expr": text} for n, text in enumerate(texts)]}]}))
PYTHON
        check "deploy/grafana/tidegate.json" promtool check rules "$dir/dashboard.json"
    else
        without "deploy/grafana/tidegate.json" "no python3"
    fi
}

# Each setting that deploy/sysctl.md names is one of the kernel's.
sysctls() {
    local key absent=()
    [ -d /proc/sys ] || { without "deploy/sysctl.md" "no Linux"; return; }
    while read -r key; do
        [ -e "/proc/sys/${key//.//}" ] || absent+=("$key")
    done < <(sed -n 's/^\([a-z0-9_]*\.[a-z0-9_.]*\) *=.*/\1/p' deploy/sysctl.md)
    if [ ${#absent[@]} -eq 0 ]; then
        echo "ok       deploy/sysctl.md"
    else
        without "deploy/sysctl.md" "this kernel, with the modules it has now, does not know ${absent[*]}"
    fi
}

report() {
    echo
    if [ ${#skipped[@]} -gt 0 ]; then
        echo "NOT CHECKED HERE:"
        printf '  %s\n' "${skipped[@]}"
    fi
    if [ ${#failed[@]} -gt 0 ]; then
        echo "WRONG: ${failed[*]}" >&2
        exit 1
    fi
    [ ${#skipped[@]} -eq 0 ] || [ "${CHECK_STRICT:-0}" != 1 ] || exit 1
}

main
