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

# shard_seconds: user and system time of the watched shards' threads so far.
shard_seconds() {
    for task in "/proc/$WATCHED/task"/*; do
        case $(cat "$task/comm") in
        shard-*) cat "$task/stat" ;;
        esac
    done | awk -v ticks="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); s += $12 + $13 } END { print s / ticks }'
}

# hammer SECONDS PORT RATE: asks that API from many connections, RATE times a second at most (0: as
# fast as it answers); the number of answers goes to the output.
hammer() {
    taskset -c "$LOAD_CPU" python3 - "$2" "$WORK/data/api-token" "$CALLERS" "$1" "$3" <<'PYTHON'
import http.client, sys, threading, time

port, token, callers, seconds, rate = sys.argv[1], open(sys.argv[2]).read().strip(), *map(int, sys.argv[3:])
paths = ["/api/v1/shards", "/api/v1/sessions", "/api/v1/streams", "/metrics"]
end = time.monotonic() + seconds
answers = [0] * callers

def call(number):
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=20)
    due = time.monotonic()
    while time.monotonic() < end:
        if rate:
            time.sleep(max(0, due - time.monotonic()))
            due += callers / rate
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

# ports FIRST: the ports of the server that is started or played next.
ports() {
    RTMP=$1 HTTP=$(($1 + 2)) CONTROL=$(($1 + 4))
}

# beside: starts a server whose control thread is on its core; the first thread is that one.
beside() {
    start_server <<TOML
[egress]
batch_ms_min = 130
batch_ms_max = 130
TOML
    taskset -cp "${CONTROL_CPU:-$SERVER_CPU}" "$SERVER" >/dev/null
}

for round in $(seq "$ROUNDS"); do
    ports "$((PORT + 10))"
    beside
    BYSTANDER=$SERVER BYSTANDER_API=$CONTROL
    mv "$WORK/data" "$WORK/bystander"
    mkdir "$WORK/data"
    cp "$WORK/bystander/api-token" "$WORK/data/"
    ports "$PORT"
    beside
    WATCHED=$SERVER
    publish --url "rtmp://127.0.0.1:$RTMP/live/bench" --bitrate 2M
    PUBLISHER=$STARTED
    sleep 2
    started "$LOAD_CPU" "$BIN/grandstand-load" fanout --cpu "$LOAD_CPU" --no-publish \
        --url "rtmp://127.0.0.1:$RTMP/live/bench" --players "$PLAYERS" --ramp 1000 \
        --window "$((3 * TURNS * WINDOW + 4))s" --json "$WORK/watched.json"
    WATCHERS=$STARTED
    sleep "$((PLAYERS / 1000 + 3))"
    quiet=0 aside=0 hammered=0 answers=0 rate=100
    for _ in $(seq "$TURNS"); do
        first=$(shard_seconds)
        sleep "$WINDOW"
        second=$(shard_seconds)
        hammer "$WINDOW" "$BYSTANDER_API" "$rate" >/dev/null
        third=$(shard_seconds)
        asked=$(hammer "$WINDOW" "$CONTROL" 0)
        fourth=$(shard_seconds)
        quiet=$(echo "$quiet $second $first" | awk '{ print $1 + $2 - $3 }')
        aside=$(echo "$aside $third $second" | awk '{ print $1 + $2 - $3 }')
        hammered=$(echo "$hammered $fourth $third" | awk '{ print $1 + $2 - $3 }')
        answers=$((answers + asked))
        rate=$((asked / WINDOW))
    done
    ended "$WATCHERS"
    if fair "$WORK/watched.json"; then
        echo "$aside $quiet" | awk '{ printf "%.3f\n", $1 / $2 }' >>"$WORK/asides"
        echo "$hammered $quiet" | awk '{ printf "%.3f\n", $1 / $2 }' >>"$WORK/ratios"
        printf 'round %s: %s s quiet, %s s with a bystander asked, %s s with %s answers a second, ratios %s %s\n' \
            "$round" "$quiet" "$aside" "$hammered" "$((answers / TURNS / WINDOW))" \
            "$(tail -n 1 "$WORK/asides")" "$(tail -n 1 "$WORK/ratios")"
    else
        echo "round $round does not count: players or frames were lost, or players stalled"
    fi
    stop "$PUBLISHER"
    stop "$WATCHED"
    stop "$BYSTANDER"
    rm -rf "$WORK/bystander"
done
[ -s "$WORK/ratios" ] || fail "no round counts"
printf 'bystander: median %s of %s\n' "$(median <"$WORK/asides")" "$(tr '\n' ' ' <"$WORK/asides")"
printf 'hammered: median %s of %s\n' "$(median <"$WORK/ratios")" "$(tr '\n' ' ' <"$WORK/ratios")"
