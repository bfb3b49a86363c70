#!/bin/sh
# room.sh [PLAYERS] [ROUNDS] [WINDOW]: how many players the server says it has room for, beside how
# many hold.
#
# Each round starts a server that refuses nobody below 19,000 players (limits.admission = "off"), lets
# PLAYERS watch, which should load its core by a third or a half, and asks the API for its room after
# WINDOW seconds: 8 or more, as costs are fitted and viewers averaged meanwhile. Then find-knee looks
# for the most players that hold. MIX is the share of each format, as find-knee takes it
# (rtmp=100, or rtmp=50,hls=50), BATCH_MIN and BATCH_MAX the flush interval in milliseconds, if it is
# not the default. The last line has the ratios of all rounds and their median; 1 is a
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
P99_MAX=${P99_MAX:-200ms}
# Players that the server allows and find-knee tries at most; each is an open file of both.
PLAYERS_MAX=19000

# load COMMAND FILE ARGUMENTS...: plays the mix in the background and writes the results to the file;
# its process id is in STARTED.
load() {
    command=$1
    file=$2
    shift 2
    started "$LOAD_CPU" "$BIN/grandstand-load" "$command" --cpu "$LOAD_CPU" --no-publish \
        --url "rtmp://127.0.0.1:$RTMP/live/bench" --http "http://127.0.0.1:$HTTP/" \
        --mix "$MIX" --sampled 20 --ramp 1000 --json "$file" "$@"
}

# shards: what the server says of its shards, in $WORK/shards.json.
shards() {
    curl -fs -H "Authorization: Bearer $(cat "$WORK/data/api-token")" \
        "http://127.0.0.1:$CONTROL/api/v1/shards" >"$WORK/shards.json" ||
        fail "the server does not tell of its shards"
}

# shards_say PATH: a number of that.
shards_say() {
    jq -e "$1" "$WORK/shards.json" || fail "$1 is not in $(cat "$WORK/shards.json")"
}

# all_play: waits until the server serves PLAYERS, for as long as they may take to join.
all_play() {
    for _ in $(seq $((PLAYERS / 1000 + 15))); do
        sleep 1
        shards
        playing=$(shards_say '[.shards[].headroom.players] | add')
        if [ "$playing" -ge "$PLAYERS" ]; then return; fi
    done
    fail "only $playing of $PLAYERS play"
}

for round in $(seq "$ROUNDS"); do
    start_server <<TOML
$(limits_of "$PLAYERS_MAX")
[egress]
${BATCH_MIN:+batch_ms_min = $BATCH_MIN}
${BATCH_MAX:+batch_ms_max = $BATCH_MAX}
TOML
    publish --url "rtmp://127.0.0.1:$RTMP/live/bench" --bitrate "$BITRATE"
    PUBLISHER=$STARTED
    sleep 3
    # They stay a little longer than they are watched here.
    load mixed "$WORK/watched.json" --players "$PLAYERS" --window $((WINDOW + 4))s
    WATCHERS=$STARTED
    all_play
    # The shard watches them for as long as it remembers viewers.
    sleep "$WINDOW"
    shards
    said=$(shards_say '.room.players + ([.shards[].headroom.players] | add)')
    [ "$said" -gt 0 ] || fail "the server says that nobody fits"
    printf 'round %s, %s: %s fit, it says (%s, %s)\n' "$round" "$MIX" "$said" \
        "$(jq -c '.room' "$WORK/shards.json")" "$(jq -c '.shards[0].headroom' "$WORK/shards.json")"
    ended "$WATCHERS"
    load find-knee "$WORK/knee.json" --players-min $((said * 2 / 3 + 1)) \
        --players-max "$PLAYERS_MAX" --grow 25% --precision "$PRECISION" --p99-max "$P99_MAX" \
        --window "${WINDOW}s"
    ended "$STARTED"
    knee=$(jq '.knee.players' "$WORK/knee.json")
    broke=$(jq -r '.knee.broke_by[0] // "nothing broke"' "$WORK/knee.json")
    [ "$knee" -gt 0 ] || fail "no number of players holds: $broke"
    echo "$said $knee" | awk '{ printf "%.3f\n", $1 / $2 }' >>"$WORK/ratios"
    printf 'round %s, %s: %s hold (%s), ratio %s\n' "$round" "$MIX" "$knee" "$broke" \
        "$(tail -n 1 "$WORK/ratios")"
    stop "$PUBLISHER"
    stop "$SERVER"
done
printf 'ratio: median %s of %s\n' "$(median <"$WORK/ratios")" "$(tr '\n' ' ' <"$WORK/ratios")"
