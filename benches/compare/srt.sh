#!/bin/sh
# srt.sh [WHAT] [ROUNDS] [WINDOW]: SRT beside srt-live-transmit of libsrt for the same bytes.
#
# WHAT is one of, or `all`:
#   receive  CPU of PUBLISHERS of BITRATE, in the clear and by AES; srt-live-transmit has a process
#            for each and writes to /dev/null
#   send     CPU of PLAYERS players of 4 Mb/s on one shard, in the clear and by AES; and of THEIRS
#            srt-live-transmit with one player each, which read the same bit rate from a pipe
#   shards   how the publishers of one port are shared by two shards
# KEYS says which are measured: `plain`, 16, 32 (bytes of AES). Where it is installed and PROFILE is
# set, perf tells where the server's time goes.

# shellcheck source=benches/compare/server.sh
. "$(dirname "$0")/server.sh"

WHAT=${1:-all}
ROUNDS=${2:-3}
WINDOW=${3:-8}
PUBLISHERS=${PUBLISHERS:-5}
BITRATE=${BITRATE:-20M}
PLAYERS=${PLAYERS:-500}
THEIRS=${THEIRS:-10}
KEYS=${KEYS:-plain 16}
SECRET=a-secret-of-both

need srt-live-transmit srt-tools
need ffmpeg ffmpeg
ulimit -n "$(ulimit -Hn)"

# secret KEY: what stands in an address behind the rest.
secret() {
    [ "$1" = plain ] || printf '&passphrase=%s&pbkeylen=%s' "$SECRET" "$1"
}

# serve KEY SHARDS: our server.
serve() {
    start_server "$2" <<TOML
[limits]
admission = "off"
connects_per_ip_per_second_max = 100000
[listeners.srt]
enabled = true
addr = "127.0.0.1:$SRT"
[srt]
latency_ms = 400
$([ "$1" = plain ] || echo "passphrase = \"$SECRET\"")
TOML
}

# metric NAME: the sum of a metric of ours.
metric() {
    curl -fs "http://127.0.0.1:$CONTROL/metrics" |
        awk -v name="$1" '$1 ~ "^" name "({|$)" { sum += $2 } END { printf "%.0f", sum }'
}

# sum_of FIELD PROCESS...: a number of /proc/PROCESS/io, of all of them.
sum_of() {
    field=$1
    shift
    for pid in "$@"; do cat "/proc/$pid/io"; done | awk -v f="$field:" '$1 == f { s += $2 } END { printf "%.0f", s }'
}

# cpu_of PROCESS...: user and system time of all of them.
cpu_of() {
    for pid in "$@"; do cpu_seconds "$pid"; done | awk '{ s += $1 } END { printf "%.2f", s }'
}

# note WHO KEY WHAT CPU BYTES: says what one window cost, and keeps it.
note() {
    echo "$4 $5" | awk '{ printf "%.4f\n", $2 ? $1 / $2 * 1e9 : 0 }' >>"$WORK/$1.$3.$2"
    echo "$4 $5 $WINDOW" | awk -v who="$1" -v key="$2" -v what="$3" '{
        printf "%s, %s, %s: %.1f Mb/s, %.1f %% of a core, %.3f CPU s/GB, %.0f Mb per CPU second\n",
            what, key, who, $2 * 8 / 1e6 / $3, $1 / $3 * 100, $1 / $2 * 1e9, $2 * 8 / 1e6 / $1 }'
}

# verdict KEY WHAT: the medians of a comparison.
verdict() {
    for who in ours theirs; do
        [ -s "$WORK/$who.$2.$1" ] || { echo "$2, $1, $who: no round counts"; return; }
        printf '%s, %s, %s: median %s CPU s/GB of %s\n' "$2" "$1" "$who" \
            "$(median <"$WORK/$who.$2.$1")" "$(tr '\n' ' ' <"$WORK/$who.$2.$1")"
    done
    awk -v a="$(median <"$WORK/ours.$2.$1")" -v b="$(median <"$WORK/theirs.$2.$1")" \
        -v key="$1" -v what="$2" 'BEGIN { printf "%s, %s, ratio: %.2f\n", what, key, a / b }'
}

# profiled: where the time of our server goes, in this moment.
profiled() {
    [ -n "${PROFILE:-}" ] && command -v perf >/dev/null || return 0
    perf record -q -e cpu-clock -F 999 -g -p "$SERVER" -o "$WORK/perf.data" sleep 5 2>/dev/null
    for by in dso symbol; do
        perf report -i "$WORK/perf.data" --no-children -g none --sort "$by" --percent-limit 0.5 \
            --stdio 2>/dev/null | grep -v '^#' | grep . | head -n "${PROFILE_LINES:-40}"
    done
}

receive_ours() {
    serve "$1" 1
    publish --url "srt://127.0.0.1:$SRT?streamid=publish:in&latency=400$(secret "$1")" \
        --streams "$PUBLISHERS" --bitrate "$BITRATE"
    sleep 4
    bytes=$(metric grandstand_bytes_received_total) cpu=$(cpu_of "$SERVER")
    lost=$(metric grandstand_srt_packets_given_up_total)
    sleep "$WINDOW"
    bytes=$(($(metric grandstand_bytes_received_total) - bytes))
    cpu=$(echo "$(cpu_of "$SERVER") $cpu" | awk '{ print $1 - $2 }')
    lost=$(($(metric grandstand_srt_packets_given_up_total) - lost))
    [ "$lost" = 0 ] || echo "  $lost packets were given up"
    note ours "$1" receive "$cpu" "$bytes"
    profiled
    stop "$STARTED"
    stop "$SERVER"
}

receive_theirs() {
    all='' senders=''
    for number in $(seq "$PUBLISHERS"); do
        port=$((SRT + 10 + number))
        url="srt://127.0.0.1:$port?mode=listener&latency=400$(secret "$1")"
        started "$SERVER_CPU" sh -c 'exec srt-live-transmit -q -chunk:1316 "$1" file://con >/dev/null' \
            theirs "$url"
        all="$all $STARTED"
    done
    sleep 1
    for number in $(seq "$PUBLISHERS"); do
        publish --bitrate "$BITRATE" \
            --url "srt://127.0.0.1:$((SRT + 10 + number))?streamid=publish:in&latency=400$(secret "$1")"
        senders="$senders $STARTED"
    done
    sleep 4
    # shellcheck disable=SC2086
    bytes=$(sum_of wchar $all) cpu=$(cpu_of $all)
    sleep "$WINDOW"
    # shellcheck disable=SC2086
    bytes=$(($(sum_of wchar $all) - bytes)) cpu=$(echo "$(cpu_of $all) $cpu" | awk '{ print $1 - $2 }')
    note theirs "$1" receive "$cpu" "$bytes"
    for pid in $senders $all; do stop "$pid" 2>/dev/null || forget "$pid"; done
}

send_ours() {
    serve "$1" 1
    publish --url "rtmp://127.0.0.1:$RTMP/live/out" --bitrate 4M
    PUBLISHER=$STARTED
    sleep 3
    fans "$WORK/ours.json" --url "srt://127.0.0.1:$SRT?streamid=out&latency=400$(secret "$1")" \
        --players "$PLAYERS" --sampled 10 --ramp "${RAMP:-250}" --window "${WINDOW}s" \
        --server-pid "$SERVER"
    FANS=$STARTED
    [ -z "${PROFILE:-}" ] || { sleep 6; profiled; }
    ended "$FANS"
    value "$WORK/ours.json" '"send, '"$1"', ours: \(.held) of \(.players) held, \(.lost) lost, \(.stalls) stalls, \(.received_bytes * 8 / 1e6 / .window_s) Mb/s, \(.server.cpu_s_per_gb) CPU s/GB, \(.server.rss_bytes / 1e6) MB"'
    echo "  sent again: $(metric grandstand_srt_packets_sent_again_total) of $(metric grandstand_srt_packets_sent_total);" \
        "$(metric grandstand_bytes_sent_total) bytes in $(metric grandstand_sends_total) sends"
    if fair "$WORK/ours.json"; then
        value "$WORK/ours.json" .server.cpu_s_per_gb >>"$WORK/ours.send.$1"
    else
        echo "  this round does not count: players or frames were lost, or players stalled"
    fi
    stop "$PUBLISHER"
    stop "$SERVER"
}

send_theirs() {
    all='' receivers='' pipes=''
    for number in $(seq "$THEIRS"); do
        mkfifo "$WORK/pipe$number" 2>/dev/null || true
        pipes="${pipes:+$pipes|}[f=mpegts]$WORK/pipe$number"
        url="srt://127.0.0.1:$((SRT + 10 + number))?mode=listener&latency=400$(secret "$1")"
        started "$SERVER_CPU" sh -c 'exec srt-live-transmit -q -chunk:1316 file://con "$1" <"$2"' \
            theirs "$url" "$WORK/pipe$number"
        all="$all $STARTED"
    done
    started "$LOAD_CPU" ffmpeg -nostdin -loglevel error -y -re -stream_loop -1 -i "$WORK/clip.ts" \
        -map 0 -c copy -f tee "$pipes"
    FEED=$STARTED
    sleep 2
    for number in $(seq "$THEIRS"); do
        url="srt://127.0.0.1:$((SRT + 10 + number))?streamid=out&latency=400$(secret "$1")"
        started "$LOAD_CPU" sh -c 'exec srt-live-transmit -q -chunk:1316 "$1" file://con >/dev/null' \
            theirs "$url"
        receivers="$receivers $STARTED"
    done
    sleep 4
    # shellcheck disable=SC2086
    bytes=$(sum_of rchar $all) cpu=$(cpu_of $all)
    sleep "$WINDOW"
    # shellcheck disable=SC2086
    bytes=$(($(sum_of rchar $all) - bytes)) cpu=$(echo "$(cpu_of $all) $cpu" | awk '{ print $1 - $2 }')
    note theirs "$1" send "$cpu" "$bytes"
    for pid in $FEED $receivers $all; do stop "$pid" 2>/dev/null || forget "$pid"; done
}

# shared: how many publishers of one port each of two shards has.
shared() {
    serve plain 2
    publish --url "srt://127.0.0.1:$SRT?streamid=publish:many" --streams "${STREAMS:-400}" \
        --bitrate 100k --fps 10
    sleep 8
    curl -fs "http://127.0.0.1:$CONTROL/metrics" | awk '
        /^grandstand_streams\{shard=/ { shard[++n] = $2; sum += $2 }
        END { printf "shards: %d publishers of one port:", sum
            for (i = 1; i <= n; i++) printf " %d (%.1f %%)", shard[i], sum ? shard[i] * 100 / sum : 0
            print "" }'
    stop "$STARTED"
    stop "$SERVER"
}

if [ "$WHAT" = receive ] || [ "$WHAT" = all ]; then
    for key in $KEYS; do
        for _ in $(seq "$ROUNDS"); do
            receive_ours "$key"
            receive_theirs "$key"
        done
        verdict "$key" receive
    done
fi
if [ "$WHAT" = send ] || [ "$WHAT" = all ]; then
    ffmpeg -nostdin -loglevel error -y -f lavfi -i testsrc2=s=1280x720:r=30 -t 10 -c:v libx264 \
        -preset ultrafast -g 30 -b:v 4M -minrate 4M -maxrate 4M -bufsize 2M -x264-params nal-hrd=cbr \
        -f mpegts "$WORK/clip.ts"
    for key in $KEYS; do
        for _ in $(seq "$ROUNDS"); do
            send_ours "$key"
            [ -n "${OURS_ALONE:-}" ] || send_theirs "$key"
        done
        verdict "$key" send
    done
fi
if [ "$WHAT" = shards ] || [ "$WHAT" = all ]; then
    shared
fi
