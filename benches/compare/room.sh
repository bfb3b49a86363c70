#!/bin/sh
# room.sh [PLAYERS] [ROUNDS] [WINDOW]: how many players the server says it has room for, beside how
# many hold.
#
# Each round starts a server that refuses nobody below 19,000 players (limits.admission = "off"), lets
# PLAYERS watch, which should load its core by a third or a half, and asks the API for its room; then
# find-knee looks for the most players that hold. MIX is the share of each format, as find-knee takes it
# (rtmp=100, or rtmp=50,hls=50). The last line has the ratios of all rounds and their median; 1 is a
# room that is right.

# shellcheck source=benches/compare/server.sh
. "$(dirname "$0")/server.sh"

PLAYERS=${1:-4000}
ROUNDS=${2:-3}
WINDOW=${3:-8}
MIX=${MIX:-rtmp=100}
BITRATE=${BITRATE:-2M}
# find-knee is exact to this share of the knee, and calls a latency above this a break.
PRECISION=${PRECISION:-5%}
P99_MAX=${P99_MAX:-250ms}

# room: players of the mix that the server has, and those that would fit beside them.
room() {
    curl -fs -H "Authorization: Bearer $(cat "$WORK/data/api-token")" \
        "http://127.0.0.1:$CONTROL/api/v1/shards"
}

load() {
    command=$1
    file=$2
    shift 2
    alone "$BIN/grandstand-load" "$command" --cpu "$LOAD_CPU" --no-publish \
        --url "rtmp://127.0.0.1:$RTMP/live/bench" --http "http://127.0.0.1:$HTTP/" \
        --mix "$MIX" --sampled 20 --ramp 1000 --window "${WINDOW}s" --json "$file" "$@" \
        >>"$WORK/log" 2>&1
}

for round in $(seq "$ROUNDS"); do
    start_server <<TOML
[limits]
admission = "off"
connections_max = 19000
players_max = 19000
reply_bytes_max = 65536
parked_bytes_max = 65536
TOML
    publish --url "rtmp://127.0.0.1:$RTMP/live/bench" --bitrate "$BITRATE"
    PUBLISHER=$STARTED
    sleep 3
    load mixed "$WORK/watched.json" --players "$PLAYERS" &
    WATCHERS=$!
    # Once all have joined, and the shard has watched them for as long as it remembers viewers.
    sleep $((PLAYERS / 1000 + WINDOW))
    room >"$WORK/room.json"
    wait "$WATCHERS" || true
    said=$(jq '(.room.players + ([.shards[].headroom.players] | add))' "$WORK/room.json")
    printf 'round %s, %s: %s fit, it says (%s)\n' "$round" "$MIX" "$said" \
        "$(jq -c '.shards[0].headroom' "$WORK/room.json")"
    load find-knee "$WORK/knee.json" --players-min $((said * 2 / 3)) --grow 25% \
        --precision "$PRECISION" --p99-max "$P99_MAX" || true
    knee=$(jq '.knee.players' "$WORK/knee.json")
    echo "$said $knee" | awk '{ printf "%.3f\n", $1 / $2 }' >>"$WORK/ratios"
    printf 'round %s, %s: %s hold (%s), ratio %s\n' "$round" "$MIX" "$knee" \
        "$(jq -r '.knee.broke_by[0] // "nothing broke"' "$WORK/knee.json")" \
        "$(tail -n 1 "$WORK/ratios")"
    stop "$PUBLISHER"
    stop "$SERVER"
done
printf 'ratio: median %s of %s\n' "$(median <"$WORK/ratios")" "$(tr '\n' ' ' <"$WORK/ratios")"
