# Sourced by the scripts beside it: a server on one core, a generator on another, and their end.
#
# SERVER_CPU and LOAD_CPU are the cores, BIN the folder of the binaries; without BIN they are built
# in release. PORT is the first of a hundred ports. Files are made in memory and removed; only
# processes that were started here are ended.

set -eu

ROOT=$(cd "$(dirname "$0")/../.." && pwd)
SERVER_CPU=${SERVER_CPU:-0}
LOAD_CPU=${LOAD_CPU:-1}
PORT=${PORT:-27100}
RTMP=$PORT RTMPS=$((PORT + 1)) HTTP=$((PORT + 2)) HTTPS=$((PORT + 3))
CONTROL=$((PORT + 4)) NGINX=$((PORT + 5)) SRT=$((PORT + 6))

if [ -z "${BIN:-}" ]; then
    (cd "$ROOT" && cargo build -q --release --locked --bin grandstand --bin grandstand-load)
    BIN=$ROOT/target/release
fi

WORK=$(mktemp -d /dev/shm/grandstand-compare.XXXXXX)
PIDS=

# shellcheck disable=SC2317
finish() {
    trap - EXIT INT TERM
    for pid in $PIDS; do
        kill "$pid" 2>/dev/null || true
    done
    for pid in $PIDS; do
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$WORK"
}
trap finish EXIT
trap 'exit 130' INT TERM

# need COMMAND PACKAGE: installs what is missing.
need() {
    command -v "$1" >/dev/null || apt-get install -y --no-install-recommends "$2" >/dev/null
}

# started CPU COMMAND...: runs it in the background, in a session of its own, where nice counts
# against the rest of the machine; its process id is in STARTED.
started() {
    cpu=$1
    shift
    setsid sh -c 'echo -20 >/proc/self/autogroup 2>/dev/null || true; exec "$@"' alone \
        taskset -c "$cpu" "$@" >>"$WORK/log" 2>&1 &
    STARTED=$!
    PIDS="$PIDS $STARTED"
}

# limits_of PLAYERS: configuration of a server that refuses none of so many, of whatever format.
limits_of() {
    cat <<TOML
[limits]
admission = "off"
connections_max = $1
players_max = $1
hls_viewers_max = $1
reply_bytes_max = 65536
parked_bytes_max = 65536
TOML
}

# start_server [SHARDS]: reads more configuration from the standard input; its process id is in SERVER.
start_server() {
    more=$(cat)
    cat >"$WORK/grandstand.toml" <<TOML
[auth]
mode = "open"
[shards]
count = ${1:-1}
[log]
level = "warn"
[demo]
enabled = false
[data]
dir = "$WORK/data"
[listeners.rtmp]
addr = "127.0.0.1:$RTMP"
[listeners.http]
addr = "127.0.0.1:$HTTP"
[listeners.control]
addr = "127.0.0.1:$CONTROL"
$more
TOML
    started "$SERVER_CPU" "$BIN/grandstand" --config "$WORK/grandstand.toml"
    SERVER=$STARTED
    for _ in $(seq 100); do
        # A port that another process has ends ours at once.
        kill -0 "$SERVER" 2>/dev/null || break
        if curl -fs "http://127.0.0.1:$CONTROL/readyz" >/dev/null; then return; fi
        sleep 0.1
    done
    fail "the server does not start"
}

# start_nginx: the configuration is $WORK/nginx.conf; its worker is in THEIRS_PID.
start_nginx() {
    started "$SERVER_CPU" nginx -c "$WORK/nginx.conf"
    sleep 1
    THEIRS_PID=$(tr -d ' ' <"/proc/$STARTED/task/$STARTED/children")
}

# fail WORDS...: ends the script with what was logged and why.
fail() {
    cat "$WORK/log" >&2
    echo "$0: $*" >&2
    exit 1
}

# stop PROCESS: ends one and waits for it.
stop() {
    kill "$1"
    wait "$1" 2>/dev/null || true
    forget "$1"
}

# ended PROCESS: waits until one has ended by itself, as it should.
ended() {
    wait "$1" || fail "process $1 failed"
    forget "$1"
}

# forget PROCESS: it is gone, and not to be ended any more.
forget() {
    rest=
    for pid in $PIDS; do
        [ "$pid" = "$1" ] || rest="$rest $pid"
    done
    PIDS=$rest
}

# publish ARGUMENTS...: in the background; its process id is in STARTED.
publish() {
    started "$LOAD_CPU" "$BIN/grandstand-load" publish "$@"
}

# fans FILE ARGUMENTS...: plays in the background and writes the results there; its process id is in
# STARTED. SOFTIRQ_CPU is the core of the server that is played, if it is not ours.
fans() {
    file=$1
    shift
    started "$LOAD_CPU" "$BIN/grandstand-load" fanout --cpu "$LOAD_CPU" \
        --softirq-cpu "${SOFTIRQ_CPU:-$SERVER_CPU}" --no-publish --json "$file" "$@"
}

# fanout FILE ARGUMENTS...: the same, until it has ended.
fanout() {
    fans "$@"
    ended "$STARTED"
}

# fair FILE: true if every player of the last measurement was held and lost nothing; what did not
# serve everybody has no part in a median.
fair() {
    jq -e '.measurements[-1] | .held == .players and .lost == 0 and .stalls == 0' "$1" >/dev/null
}

# keep FILE NAME PATH...: appends those numbers of the last measurement to their lists, if it is fair.
keep() {
    kept=$1
    name=$2
    shift 2
    if ! fair "$kept"; then
        echo "  this round does not count: players or frames were lost, or players stalled"
        return
    fi
    for path in "$@"; do
        number=$(value "$kept" "$path")
        [ "$number" = none ] || echo "$number" >>"$WORK/$name$path"
    done
}

# medians NAME PATH...: the median of each list, and all that is in it.
medians() {
    name=$1
    shift
    for path in "$@"; do
        [ -s "$WORK/$name$path" ] || { echo "$name$path: no round counts"; continue; }
        printf '%s%s: median %s of %s\n' "$name" "$path" "$(median <"$WORK/$name$path")" \
            "$(tr '\n' ' ' <"$WORK/$name$path")"
    done
}

# ratio PATH: of the medians of ours and theirs.
ratio() {
    if [ -s "$WORK/ours$1" ] && [ -s "$WORK/theirs$1" ]; then
        awk -v ours="$(median <"$WORK/ours$1")" -v theirs="$(median <"$WORK/theirs$1")" \
            'BEGIN { printf "ratio: %.2f\n", ours / theirs }'
    else
        echo "ratio: none, for one of them no round counts"
    fi
}

# value FILE PATH: a number of the last measurement in it.
value() {
    jq -r "(.measurements[-1] | $2) // \"none\"" "$1"
}

# median: of the numbers in the standard input.
median() {
    sort -n | awk '{ a[NR] = $1 } END { print NR % 2 ? a[(NR + 1) / 2] : (a[NR / 2] + a[NR / 2 + 1]) / 2 }'
}

# cpu_seconds PROCESS: user and system time so far.
cpu_seconds() {
    awk -v ticks="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); print ($12 + $13) / ticks }' "/proc/$1/stat"
}

need jq jq
need curl curl
