#!/usr/bin/env bash
# Runs the code of the documents: every block of docs/examples.md and of the pages about moving here, against a real gateway.
# A page is read from top to bottom, and a comment above a block says what is to be done with it:
#
#   <!-- run: env -->                        its exports are there for every page (only in examples.md)
#   <!-- run: gateway -->                    started for every page, until the page's end (only in examples.md)
#   <!-- run: serve URL -->                  started in the background; goes on when URL answers anything
#   <!-- run: file NAME -->                  kept as a file, for the blocks after it
#   <!-- run: once [expect TEXT] -->         runs, ends well, and prints TEXT
#   <!-- run: receive TOPIC expect TEXT -->  stays; a chat event is published to TOPIC until it has printed TEXT
#   <!-- run: browser TOPIC expect TEXT -->  the same for a script in a page; the page's origin gives the browser alice's token
#   <!-- run: … after serve … -->            only if what the page serves could be started
#   <!-- run: once needs PATH … -->          only if the gateway has this path
#   <!-- not run: WHY -->                    is listed as not run
#
# Blocks in json, toml and nginx need no comment: they are parsed, checked by `tidegate config check` and by `nginx -t`. Any other
# block without one is a failure. The addresses in the documents (127.0.0.1:8080 …) become free ports.
#
# Languages that are not installed are listed as not run; the exit code is 1 for failures only.
#
#   EXAMPLES_BINARY=    the gateway to run; else target/debug/tidegate, which has to be built before
#   PYTHON=python3
set -euo pipefail
shopt -s nullglob

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
python=${PYTHON:-python3}
within=60 # seconds that one block may take; none needs three, but a busy machine does
passed=0 failed=0
not_run=()
processes=()

main() {
    local page
    cd "$root"
    dir=$(mktemp -d "${TMPDIR:-/tmp}/tidegate-examples.XXXXXX")
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    put_gateway_on_path
    export GOTOOLCHAIN=local GO111MODULE=off
    # Without a warm cache Go compiles its HTTP library first, which may go on beside everything else.
    ! command -v go >/dev/null || background "$dir/go.log" go build net/http

    for page in docs/examples.md docs/from-*.md; do
        cut_into_blocks "$page"
        run_page "$page"
    done
    report
}

put_gateway_on_path() {
    local binary=${EXAMPLES_BINARY:-${CARGO_TARGET_DIR:-$root/target}/debug/tidegate}
    if [ ! -x "$binary" ]; then
        echo "There is no gateway at $binary: cargo build -p tidegate, or name one in EXAMPLES_BINARY." >&2
        exit 1
    fi
    mkdir "$dir/bin"
    ln -s "$(realpath "$binary")" "$dir/bin/tidegate"
    export PATH=$dir/bin:$PATH:/usr/sbin
}

cut_into_blocks() { # PAGE
    blocks=$dir/$(basename "$1" .md)
    mkdir "$blocks"
    : >"$blocks/list"
    awk -v dir="$blocks" -f "$here/blocks.awk" "$1"
}

run_page() { # PAGE
    local number line language todo first=${#processes[@]}
    choose_ports
    served=
    if [ "$1" != docs/examples.md ]; then
        . "$dir/env"
        start_gateway
    fi
    while IFS=$'\t' read -r number line language todo <&3; do
        at=$1:$line
        code=$blocks/$number.$language
        output=$code.out
        : >"$output"
        put_ports_into "$code"
        run_block "$language" "$todo"
    done 3<"$blocks/list"
    stop_down_to "$first"
}

run_block() { # LANGUAGE TODO
    local language=$1 expect=
    read -r -a todo <<<"${2/ after serve/}"
    if [ "${todo[2]:-}" = needs ] && ! is_there "${todo[3]}"; then
        skip "$language (this gateway has no ${todo[3]})"
        return
    fi
    if [[ $2 == *" after serve"* ]] && [ -z "$served" ]; then
        skip "$language (what it talks to was not run)"
        return
    fi
    case $2 in *" expect "*) expect=${2#* expect } ;; esac
    case "${todo[*]:0:2}" in
    "run: env") keep_env ;;
    "run: gateway") mv "$code" "$dir/gateway" && start_gateway && pass ;;
    "run: file") mv "$code" "$blocks/${todo[2]}" && pass ;;
    "run: serve") can_run "$language" && serve "$language" "${todo[2]}" ;;
    "run: once") can_run "$language" && run_once "$language" "$expect" ;;
    "run: receive") can_run "$language" && receive "$language" "${todo[2]}" "$expect" ;;
    "run: browser") can_run html && can_run js && put_into_page && receive html "${todo[2]}" "$expect" ;;
    "not run:") skip "$language (${2#not run: })" ;;
    "") check "$language" ;;
    *) fail "the comment above this block is none that tests/examples/run.sh knows: $2" ;;
    esac || true
}

is_there() { # PATH
    [ "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$gateway_port$1")" != 404 ]
}

# --- What a comment asks for -------------------------------------------------------------------------------------------------

keep_env() {
    mv "$code" "$dir/env"
    . "$dir/env"
    pass
}

start_gateway() {
    export TIDEGATE_LISTEN=127.0.0.1:$gateway_port TIDEGATE_ADMIN_LISTEN=127.0.0.1:$admin_port
    export TIDEGATE_CORS__ORIGINS=http://127.0.0.1:$app_port TIDEGATE_APPS__CHAT=true TIDEGATE_APPS__SEATS=true
    background "$blocks/gateway.log" bash "$dir/gateway"
    if ! answers "http://127.0.0.1:$gateway_port/readyz" --fail; then
        output=$blocks/gateway.log
        at=${at:-docs/examples.md}
        fail "the gateway does not get ready"
        exit 1
    fi
}

serve() { # LANGUAGE URL
    local url
    url=$(put_ports_into_text "$2")
    background "$output" run_code "$1"
    if answers "$url"; then
        served=yes
        pass
    else
        fail "nothing answers at $url"
    fi
}

run_once() { # LANGUAGE EXPECT
    local code_of_exit=0
    (cd "$blocks" && timeout "$within" bash -c "$(declare -f run_code); run_code $1" >"$output" 2>&1) || code_of_exit=$?
    if [ "$code_of_exit" -ne 0 ]; then
        fail "exit code $code_of_exit"
    elif [ -n "$2" ] && ! grep -qF -- "$2" "$output"; then
        fail "printed no \"$2\""
    else
        pass
    fi
}

receive() { # LANGUAGE TOPIC EXPECT
    local until=$((SECONDS + within)) event
    event="{\"topic\":\"$2\",\"event\":\"chat\",\"data\":{\"text\":\"hello\"}}"
    background "$output" run_code "$1"
    until grep -qF -- "$3" "$output"; do
        if [ $SECONDS -gt $until ] || ! kill -0 "${processes[-1]}" 2>/dev/null; then
            fail "received no \"$3\""
            return
        fi
        curl -sf -o "$blocks/published" -H "Authorization: Bearer $API_KEY" -d "$event" \
            "http://127.0.0.1:$gateway_port/v1/publish" || true
        pause 0.1 # between two publishes; what is waited for is the output
    done
    stop_last
    pass
}

# The page that the browser is sent to: the block as its script, and the token as a cookie.
put_into_page() {
    TOKEN=$(tidegate token --user alice --subscribe '**') PAGE_SCRIPT=$code background "$blocks/page.log" node "$here/page.mjs"
    answers "$APP" && return
    fail "the page is not served"
    return 1
}

check() { # LANGUAGE
    case $1 in
    json)
        if command -v node >/dev/null; then run_once json ""; else skip "json (node is not installed)"; fi
        ;;
    toml) run_once toml "" ;;
    nginx)
        if command -v nginx >/dev/null; then run_once nginx ""; else skip "nginx (not installed)"; fi
        ;;
    *) fail "no comment above this block says whether it is to be run" ;;
    esac
}

# --- Languages ---------------------------------------------------------------------------------------------------------------

can_run() { # LANGUAGE; else says that the block is not run
    local program=$1 module
    case $1 in
    sh) program=curl ;;
    python) program=$python ;;
    js) program=node ;;
    html) program=chromium ;;
    esac
    if ! command -v "$program" >/dev/null; then
        skip "$1 ($program is not installed)"
        return 1
    fi
    if [ "$1" = js ] && ! node -e 'process.exit(typeof fetch === "function" ? 0 : 1)'; then
        skip "js (this node has no fetch; from 18 on it has)"
        return 1
    fi
    # Outside of the bound on a block: compiling the standard library takes as long as the machine needs.
    [ "$1" != go ] || go build net/http
    [ "$1" = python ] || return 0
    for module in $(sed -nE 's/^(import|from) ([a-z_]+).*/\2/p' "$code"); do
        if ! "$python" -c "import $module" 2>/dev/null; then
            skip "python ($module is not installed)"
            return 1
        fi
    done
}

# Also runs in a shell of its own, and sees of this one only what is exported.
run_code() { # LANGUAGE
    case $1 in
    sh) exec bash -euo pipefail "$code" ;;
    python) PYTHONUNBUFFERED=1 exec "$python" "$code" ;;
    js) mv "$code" "$code.mjs" && exec node "$code.mjs" ;;
    php) exec php "$code" ;;
    java) exec java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC "$code" ;;
    go) go build -o "$code.bin" "$code" && exec "$code.bin" ;;
    html) exec chromium --headless --no-sandbox --disable-gpu --user-data-dir="$code.profile" --enable-logging=stderr "$APP" ;;
    json) exec node -e 'JSON.parse(require("fs").readFileSync(process.env.code, "utf8"))' ;;
    toml) exec tidegate config check --config "$code" ;;
    nginx)
        printf 'events {}\nhttp {\nserver {\nlisten 127.0.0.1:%s;\n%s\n}\n}\n' "$APP_PORT" "$(cat "$code")" >"$code.conf"
        exec nginx -t -q -e stderr -p "$blocks" -g "pid $code.pid;" -c "$code.conf"
        ;;
    esac
}

# --- Ports and processes -----------------------------------------------------------------------------------------------------

choose_ports() {
    gateway_port=$(free_port) admin_port=$(free_port) app_port=$(free_port) bridge_port=$(free_port)
    export code output blocks python PORT=$app_port BRIDGE_PORT=$bridge_port APP_PORT=$app_port APP=http://127.0.0.1:$app_port/
}

free_port() { # below those that systems give away for outgoing connections
    local port
    while port=$((20000 + RANDOM % 12000)); do
        (: >"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    echo "$port"
}

put_ports_into() { # FILE
    local text
    text=$(cat "$1")
    put_ports_into_text "$text" >"$1"
}

put_ports_into_text() { # TEXT
    local text=$1
    text=${text//127.0.0.1:8080/127.0.0.1:$gateway_port}
    text=${text//127.0.0.1:8081/127.0.0.1:$admin_port}
    text=${text//127.0.0.1:3000/127.0.0.1:$app_port}
    text=${text//127.0.0.1:3001/127.0.0.1:$bridge_port}
    printf '%s\n' "$text"
}

background() { # LOG COMMAND…, in a process group of its own, to be ended with all that it starts
    local log=$1
    shift
    set -m
    (cd "${blocks:-$dir}" && "$@") >"$log" 2>&1 </dev/null &
    set +m
    processes+=($!)
}

stop_last() {
    local pid=${processes[-1]}
    unset 'processes[-1]'
    kill -- "-$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
}

stop_down_to() { # COUNT
    while [ ${#processes[@]} -gt "$1" ]; do stop_last; done
}

clean_up() {
    stop_down_to 0
    rm -rf "$dir"
}

answers() { # URL [OPTION OF CURL]
    local until=$((SECONDS + within))
    until curl -s "${@:2}" -o /dev/null "$1"; do
        [ $SECONDS -le $until ] && kill -0 "${processes[-1]}" 2>/dev/null || return 1
        pause 0.05
    done
}

pause() { sleep "$1"; }

# --- What is said ------------------------------------------------------------------------------------------------------------

pass() {
    passed=$((passed + 1))
    echo "ok       $at"
}

fail() { # WHY
    failed=$((failed + 1))
    echo "FAILED   $at: $1"
    tail -40 "$output" | awk '{ print "    " $0 }'
}

skip() { # WHAT
    not_run+=("$at $1")
    echo "not run  $at $1"
}

report() {
    if [ ${#not_run[@]} -gt 0 ]; then
        echo
        echo "NOT RUN, and so not proven:"
        printf '    %s\n' "${not_run[@]}"
    fi
    echo
    echo "examples: $passed passed, $failed failed, ${#not_run[@]} skipped"
    [ "$failed" -eq 0 ]
}

main "$@"
