#!/bin/sh
# turns.sh [PLAYERS] [ROUNDS] [WINDOW]: how long the turns of a shard are, and how late its loop is.
#
# A turn is what delays ingest and timers of the same shard. In each round the players join, watch,
# and are all ended at once, because their publisher goes: RTMP and HTTP-FLV by half. Counted is
# from before the first of them joins until after the last is gone. RAMP is how many join in a second.

# shellcheck source=benches/compare/server.sh
. "$(dirname "$0")/server.sh"

PLAYERS=${1:-4000}
ROUNDS=${2:-3}
WINDOW=${3:-8}
RAMP=${RAMP:-1000}

start_server <<TOML
[limits]
admission = "off"
TOML

# counts: what the server says of turns and lag, as "FAMILY BOUND NUMBER".
counts() {
    curl -fs "http://127.0.0.1:$CONTROL/metrics" |
        sed -En 's/^grandstand_(turn|loop_lag)_seconds_bucket\{.*le="([^"]*)".* ([0-9]+)$/\1 \2 \3/p'
}

# spread FAMILY: how many there were between two looks, up to which bound, and beyond 5 ms.
spread() {
    awk -v family="$1" '
        $1 != family { next }
        NR == FNR { before[$2] = $3; next }
        { bound[++rows] = $2; number[rows] = $3 - before[$2] }
        END {
            all = number[rows]
            for (row = 1; row <= rows; row++) {
                if (!half && number[row] * 2 >= all) half = bound[row]
                if (!most && number[row] * 100 >= all * 99) most = bound[row]
                if (!worst && number[row] == all) worst = bound[row]
                if (bound[row] == "0.005") within = number[row]
            }
            printf "  %s: %d, p50 below %s s, p99 below %s s, all below %s s, %d above 5 ms\n",
                family, all, half, most, worst, all - within
        }' "$WORK/before" "$WORK/after"
}

for round in $(seq "$ROUNDS"); do
    publish --url "rtmp://127.0.0.1:$RTMP/live/bench" --bitrate "${BITRATE:-2M}"
    PUBLISHER=$STARTED
    sleep 3
    counts >"$WORK/before"
    for kind in rtmp flv; do
        url=rtmp://127.0.0.1:$RTMP/live/bench
        [ "$kind" = rtmp ] || url=http://127.0.0.1:$HTTP/bench.flv
        fans "$WORK/$kind.json" --url "$url" --sampled 10 --players $((PLAYERS / 2)) \
            --ramp $((RAMP / 2)) --window "${WINDOW}s" --server-pid "$SERVER"
        eval "$kind=\$STARTED"
    done
    sleep $((PLAYERS / RAMP + WINDOW / 2))
    counts >"$WORK/after"
    curl -fs "http://127.0.0.1:$CONTROL/metrics" | awk -v round="$round" '
        /^grandstand_players\{/ { players += $2 }
        END { printf "round %d, %d players:\n", round, players }'
    spread turn
    spread loop_lag
    stop "$PUBLISHER"
    # shellcheck disable=SC2154
    for pid in $rtmp $flv; do
        wait "$pid" 2>/dev/null || true
        forget "$pid"
    done
    counts >"$WORK/after"
    echo "  with the end of the stream:"
    spread turn
    spread loop_lag
done
