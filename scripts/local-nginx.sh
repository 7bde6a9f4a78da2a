#!/bin/sh
# Makes a copy of nginx/ run on this machine, under any user: its addresses, limits and temporary
# paths are rewritten in place, and nothing else. The only place that does: the local cluster, the
# tests and the load tester's chaos have the rest as in production.
#
#   scripts/local-nginx.sh DIR ADDRESS GATEWAY…
#
# DIR: the copy. ADDRESS: where to listen (127.0.0.1:8080). GATEWAY: HOST:PORT. Then it runs:
# nginx -p DIR -c nginx.conf
set -eu
cd "$1"
address=$2
shift 2

# sed -i differs between GNU and BSD.
edit() {
    file=$1
    shift
    "$@" <"$file" >"$file.new"
    mv "$file.new" "$file"
}

files=$(ulimit -Hn)
[ "$files" != unlimited ] && [ "$files" -lt 65536 ] || files=65536
edit nginx.conf sed -e "s/^worker_rlimit_nofile .*/worker_rlimit_nofile $files;/" \
    -e "s/^    worker_connections .*/    worker_connections $((files / 2));/"
edit cleartext.conf sed "s/listen 8080/listen $address/"

# Each kind of line once, with every gateway in the place of the first.
edit upstream.conf awk -v gateways="$*" '
    / server gateway-1:/ {
        count = split(gateways, all, " ")
        for (i = 1; i <= count; i++) { line = $0; sub(/gateway-1:[0-9]+/, all[i], line); print line }
    }
    !/ server gateway-/'

mkdir -p local.d tls.d tmp
rm -f tls.d/*.conf
for kind in client_body proxy fastcgi uwsgi scgi; do
    echo "${kind}_temp_path tmp/$kind;"
done >local.d/temporary.conf
# The workers of a root nginx run as another user. Without a way to tmp/ every body that does not
# fit into memory is a 500. The folder that DIR is in has to let them through as well.
chmod 711 . tmp
