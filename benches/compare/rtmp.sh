#!/bin/sh
# rtmp.sh [PLAYERS] [ROUNDS] [WINDOW]: live RTMP and HTTP-FLV beside another server on the same core.
#
# The other server is Debian's nginx with its RTMP module, or whatever runs already:
#
#   THEIRS=rtmp://HOST/APP/NAME THEIRS_PID=PID  its address, where we publish and play, and process
#   THEIRS_PLAY=http://HOST/NAME.flv            where it is played, if that is another address
#
# FORMAT=flv plays ours over HTTP-FLV. RAMP is how many players join in a second. THEIRS_CPU is the
# core of their server, if it is another. BATCH_MIN and BATCH_MAX are our flush interval in
# milliseconds: both 0 for frame by frame; without them the defaults hold. ADMISSION=off serves more
# players than a core has room for by default. Both servers are published to all the time, by
# processes of their own; rounds take turns, and the process time of each server counts while its
# own players watch.

# shellcheck source=benches/compare/server.sh
. "$(dirname "$0")/server.sh"

PLAYERS=${1:-1000}
ROUNDS=${2:-3}
WINDOW=${3:-8}
BITRATE=${BITRATE:-2M}
RAMP=${RAMP:-1000}

start_server <<TOML
[egress]
${BATCH_MIN:+batch_ms_min = $BATCH_MIN}
${BATCH_MAX:+batch_ms_max = $BATCH_MAX}
$([ "${ADMISSION:-}" != off ] || limits_of $((PLAYERS + 100)))
TOML
OURS=rtmp://127.0.0.1:$RTMP/live/bench
OURS_PLAY=$OURS
[ "${FORMAT:-rtmp}" = rtmp ] || OURS_PLAY=http://127.0.0.1:$HTTP/bench.flv

if [ -z "${THEIRS:-}" ]; then
    need nginx nginx-light
    MODULE=/usr/lib/nginx/modules/ngx_rtmp_module.so
    [ -e "$MODULE" ] || apt-get install -y --no-install-recommends libnginx-mod-rtmp >/dev/null
    cat >"$WORK/nginx.conf" <<CONF
daemon off;
user root;
load_module $MODULE;
pid $WORK/nginx.pid;
error_log $WORK/nginx.err warn;
worker_processes 1;
worker_rlimit_nofile 40000;
events { worker_connections 20000; }
rtmp {
    access_log off;
    server {
        listen 127.0.0.1:$NGINX;
        application live { live on; }
    }
}
CONF
    start_nginx
    THEIRS=rtmp://127.0.0.1:$NGINX/live/bench
fi
THEIRS_PLAY=${THEIRS_PLAY:-$THEIRS}

publish --url "$OURS" --bitrate "$BITRATE"
publish --url "$THEIRS" --bitrate "$BITRATE"
sleep 3

round() {
    SOFTIRQ_CPU=$SERVER_CPU
    [ "$1" = ours ] || SOFTIRQ_CPU=${THEIRS_CPU:-$SERVER_CPU}
    fanout "$WORK/$1.json" --url "$2" --players "$PLAYERS" --sampled 20 \
        --ramp "$RAMP" --window "${WINDOW}s" --server-pid "$3"
    value "$WORK/$1.json" '"'"$1"': \(.held) of \(.players) held, \(.server.cpu_s_per_gb) CPU s/GB, \(.received_bytes / .window_s / 1e6) MB/s, latency p50 \(.latency.p50_ms) p99 \(.latency.p99_ms) max \(.latency.max_ms) ms, first frame p99 \(.join.p99_ms) ms (its start \(.first_video.p99_ms) ms), \(.server.rss_bytes / 1e6) MB, \(.stalls) stalls, \(.lost) lost"'
    keep "$WORK/$1.json" "$1" .server.cpu_s_per_gb .latency.p99_ms
}

for _ in $(seq "$ROUNDS"); do
    round ours "$OURS_PLAY" "$SERVER"
    round theirs "$THEIRS_PLAY" "$THEIRS_PID"
done
for of in ours theirs; do
    medians "$of" .server.cpu_s_per_gb .latency.p99_ms
done
ratio .server.cpu_s_per_gb
