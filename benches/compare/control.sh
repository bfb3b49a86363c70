#!/bin/sh
# control.sh [PLAYERS] [ROUNDS] [WINDOW]: what a hammered API costs the shards.
#
# Each round starts a server and lets PLAYERS watch one stream. The CPU time of the shard's thread
# (/proc/PID/task) is taken over WINDOW seconds in which nobody asks the API, then over as many in
# which CALLERS connections ask for shards, sessions, streams and metrics as fast as they are
# answered, and again, four times in turn. The last lines have the ratio of hammered to quiet windows
# of each round, their median, and how many answers a second there were; 1 is an API that no shard
# notices. A round that lost a frame or stalled a player does not count.
#
# CONTROL_CPU is the core of the control thread: SERVER_CPU if it is not set, where it takes caches
# from the shard; another one shows what the shard does for the API itself.

# shellcheck source=benches/compare/server.sh
. "$(dirname "$0")/server.sh"
need python3 python3

PLAYERS=${1:-1000}
ROUNDS=${2:-3}
WINDOW=${3:-3}
CALLERS=${CALLERS:-8}
TURNS=4

# shard_seconds: user and system time of the shards' threads so far.
shard_seconds() {
    for task in "/proc/$SERVER/task"/*; do
        case $(cat "$task/comm") in
        shard-*) cat "$task/stat" ;;
        esac
    done | awk -v ticks="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); s += $12 + $13 } END { print s / ticks }'
}

# hammer SECONDS: asks the API from many connections; the number of answers goes to the output.
hammer() {
    taskset -c "$LOAD_CPU" python3 - "$CONTROL" "$WORK/data/api-token" "$CALLERS" "$1" <<'PYTHON'
import http.client, sys, threading, time

port, token, callers, seconds = sys.argv[1], open(sys.argv[2]).read().strip(), *map(int, sys.argv[3:])
paths = ["/api/v1/shards", "/api/v1/sessions", "/api/v1/streams", "/metrics"]
end = time.monotonic() + seconds
answers = [0] * callers

def call(number):
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=20)
    while time.monotonic() < end:
        connection.request("GET", paths[answers[number] % 4], headers={"Authorization": "Bearer " + token})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, answer.status
        answers[number] += 1

threads = [threading.Thread(target=call, args=(number,)) for number in range(callers)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(sum(answers))
PYTHON
}

for round in $(seq "$ROUNDS"); do
    start_server <<TOML
[egress]
batch_ms_min = 130
batch_ms_max = 130
TOML
    # The first thread of a process is the control thread.
    taskset -cp "${CONTROL_CPU:-$SERVER_CPU}" "$SERVER" >/dev/null
    publish --url "rtmp://127.0.0.1:$RTMP/live/bench" --bitrate 2M
    PUBLISHER=$STARTED
    sleep 2
    started "$LOAD_CPU" "$BIN/grandstand-load" fanout --cpu "$LOAD_CPU" --no-publish \
        --url "rtmp://127.0.0.1:$RTMP/live/bench" --players "$PLAYERS" --ramp 1000 \
        --window "$((2 * TURNS * WINDOW + 4))s" --json "$WORK/watched.json"
    WATCHERS=$STARTED
    sleep "$((PLAYERS / 1000 + 3))"
    quiet=0 hammered=0 answers=0
    for _ in $(seq "$TURNS"); do
        before=$(shard_seconds)
        sleep "$WINDOW"
        between=$(shard_seconds)
        asked=$(hammer "$WINDOW")
        after=$(shard_seconds)
        quiet=$(echo "$quiet $between $before" | awk '{ print $1 + $2 - $3 }')
        hammered=$(echo "$hammered $after $between" | awk '{ print $1 + $2 - $3 }')
        answers=$((answers + asked))
    done
    ended "$WATCHERS"
    rate=$((answers / TURNS / WINDOW))
    if fair "$WORK/watched.json"; then
        echo "$hammered $quiet" | awk '{ printf "%.3f\n", $1 / $2 }' >>"$WORK/ratios"
        printf 'round %s: %s s quiet, %s s at %s answers a second, ratio %s\n' \
            "$round" "$quiet" "$hammered" "$rate" "$(tail -n 1 "$WORK/ratios")"
    else
        echo "round $round does not count: players or frames were lost, or players stalled"
    fi
    stop "$PUBLISHER"
    stop "$SERVER"
done
[ -s "$WORK/ratios" ] || fail "no round counts"
printf 'ratio: median %s of %s\n' "$(median <"$WORK/ratios")" "$(tr '\n' ' ' <"$WORK/ratios")"
