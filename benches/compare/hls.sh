#!/bin/sh
# hls.sh [PLAYERS] [ROUNDS] [WINDOW]: live HLS beside Debian's nginx, which serves the same bytes.
#
# A mirror follows our playlist and writes the files into memory, whole ones by renaming; nginx sends
# them with sendfile. Both run at once on one core; rounds take turns; the process time of each server
# counts while its own players watch. Ours has the publisher, the multiplexer and the mirror to serve
# besides, which is not taken off.
#
# SESSION=token (or cookie) lets ours tell players apart. A mirror would have the addresses of one
# player alone, so a second server of ours, which tells nobody apart, takes nginx's place.
#
# Any other server that runs already takes it as well:
#
#   THEIRS=http://HOST/NAME.m3u8 THEIRS_PID=PID  where its players begin, and its process
#   THEIRS_PUBLISH=rtmp://HOST/APP/NAME          where we publish to it, unless it has the stream

# shellcheck source=benches/compare/server.sh
. "$(dirname "$0")/server.sh"

PLAYERS=${1:-500}
ROUNDS=${2:-5}
WINDOW=${3:-8}

# telling WAY: starts our server, which tells players apart that way or not at all, and publishes.
telling() {
    start_server <<TOML
[hls]
session = "$1"
TOML
    publish --url "rtmp://127.0.0.1:$RTMP/live/bench"
}

SESSION=${SESSION:-off}
if [ "$SESSION" != off ] && [ -z "${THEIRS:-}" ]; then
    RTMP=$((PORT + 10)) HTTP=$((PORT + 12)) CONTROL=$((PORT + 14))
    telling off
    THEIRS=http://127.0.0.1:$HTTP/bench/index.m3u8 THEIRS_PID=$SERVER
    RTMP=$PORT HTTP=$((PORT + 2)) CONTROL=$((PORT + 4))
    mv "$WORK/data" "$WORK/theirs"
fi
telling "$SESSION"

# nginx_beside: the mirror and the nginx that serves it.
nginx_beside() {
    need nginx nginx-light
    started "$LOAD_CPU" "$BIN/grandstand-load" mirror \
        --url "http://127.0.0.1:$HTTP/bench/index.m3u8" --into "$WORK/www/bench"
    cat >"$WORK/nginx.conf" <<CONF
daemon off;
user root;
pid $WORK/nginx.pid;
error_log $WORK/nginx.err warn;
worker_processes 1;
worker_rlimit_nofile 20000;
events { worker_connections 8192; }
http {
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 75s;
    keepalive_requests 1000000;
    client_body_temp_path $WORK/body;
    proxy_temp_path $WORK/proxy;
    fastcgi_temp_path $WORK/fastcgi;
    uwsgi_temp_path $WORK/uwsgi;
    scgi_temp_path $WORK/scgi;
    types { application/vnd.apple.mpegurl m3u8; video/mp2t ts; }
    server {
        listen 127.0.0.1:$NGINX backlog=4096;
        root $WORK/www;
        add_header Access-Control-Allow-Origin *;
        location ~ m3u8\$ {
            add_header Access-Control-Allow-Origin *;
            add_header Cache-Control no-cache;
        }
    }
}
CONF
    start_nginx
    THEIRS=http://127.0.0.1:$NGINX/bench/index.m3u8
}

if [ -z "${THEIRS:-}" ]; then
    nginx_beside
elif [ -n "${THEIRS_PUBLISH:-}" ]; then
    publish --url "$THEIRS_PUBLISH"
fi
# Players begin three segments before the end of a list that is as long as it will be.
sleep 16

round() {
    SOFTIRQ_CPU=$SERVER_CPU
    [ "$1" = ours ] || SOFTIRQ_CPU=${THEIRS_CPU:-$SERVER_CPU}
    fanout "$WORK/$1.json" --url "$2" --players "$PLAYERS" \
        --ramp $((PLAYERS / 4 + 1)) --window "${WINDOW}s" --server-pid "$3"
    value "$WORK/$1.json" '"'"$1"': \(.held) of \(.players) held, \(.server.cpu_s_per_gb) CPU s/GB, \(.received_bytes / .window_s / 1e6) MB/s, playlist p50 \(.playlist.p50_ms) p99 \(.playlist.p99_ms) ms, segment p50 \(.segment.p50_ms) p99 \(.segment.p99_ms) ms, \(.stalls) stalls, \(.lost) lost, \(.missed_segments) missed, \(.transport_faults) faults"'
    keep "$WORK/$1.json" "$1" .server.cpu_s_per_gb .playlist.p99_ms .segment.p99_ms
}

for _ in $(seq "$ROUNDS"); do
    round ours "http://127.0.0.1:$HTTP/bench/index.m3u8" "$SERVER"
    round theirs "$THEIRS" "$THEIRS_PID"
done
for of in ours theirs; do
    medians "$of" .server.cpu_s_per_gb .playlist.p99_ms .segment.p99_ms
done
ratio .server.cpu_s_per_gb
