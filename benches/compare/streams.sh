#!/bin/sh
# streams.sh [STREAMS]: memory and CPU of idle published streams of 100 kb/s, with HLS on demand and
# always.

# shellcheck source=benches/compare/server.sh
. "$(dirname "$0")/server.sh"

STREAMS=${1:-1000}
SECONDS_WATCHED=5

for mode in on_demand always; do
    start_server <<TOML
[hls]
mode = "$mode"
TOML
    empty=$(awk '/VmRSS/ { print $2 }' "/proc/$SERVER/status")
    publish --url "rtmp://127.0.0.1:$RTMP/live/idle" --streams "$STREAMS" --bitrate 100k --fps 10
    PUBLISHER=$STARTED
    # Until every window is full.
    sleep 45
    before=$(cpu_seconds "$SERVER")
    sleep "$SECONDS_WATCHED"
    after=$(cpu_seconds "$SERVER")
    full=$(awk '/VmRSS/ { print $2 }' "/proc/$SERVER/status")
    awk -v mode="$mode" -v empty="$empty" -v full="$full" -v streams="$STREAMS" \
        -v cpu="$(echo "$after $before" | awk -v s="$SECONDS_WATCHED" '{ print ($1 - $2) / s * 1000 }')" \
        'BEGIN { printf "%s: %d streams, %.0f MB resident (%.0f MB empty), %.1f KiB a stream, %.0f ms CPU a second\n",
            mode, streams, full / 1000 * 1.024, empty / 1000 * 1.024, (full - empty) / streams, cpu }'
    curl -fs "http://127.0.0.1:$CONTROL/metrics" | grep '^grandstand_pool_pages_used' || true
    stop "$PUBLISHER"
    stop "$SERVER"
done
