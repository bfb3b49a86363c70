#!/bin/sh
# idle.sh [LOW] [HIGH]: user-space bytes of a keep-alive HTTP connection that asked for a playlist
# once, as the slope of the resident set between two numbers of connections.

# shellcheck source=benches/compare/server.sh
. "$(dirname "$0")/server.sh"

LOW=${1:-1000}
HIGH=${2:-6000}

start_server <<TOML
[session]
keep_alive_ms = 600000
TOML
publish --url "rtmp://127.0.0.1:$RTMP/live/bench"
sleep 14
fanout "$WORK/idle.json" --url "http://127.0.0.1:$HTTP/bench/index.m3u8" --hold \
    --players "$LOW,$((LOW + 1)),$((LOW + 2)),$HIGH" --ramp 1000 --window 3s --server-pid "$SERVER"
value "$WORK/idle.json" '"\(.held) of \(.players) held, \(.server.rss_bytes_per_player) B/connection, \(.server.rss_bytes / 1e6) MB"'
