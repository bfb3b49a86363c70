#!/bin/sh
# tls.sh [ROUNDS] [WINDOW] [RTMP_PLAYERS] [HTTP_PLAYERS]: what TLS costs, beside the same without it
# in the same run.

# shellcheck source=benches/compare/server.sh
. "$(dirname "$0")/server.sh"

ROUNDS=${1:-3}
WINDOW=${2:-6}
RTMP_PLAYERS=${3:-1000}
HTTP_PLAYERS=${4:-500}
need openssl openssl

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
    -keyout "$WORK/key.pem" -out "$WORK/certificate.pem" 2>>"$WORK/log"
serve() {
    start_server <<TOML
[tls]
certificate = "$WORK/certificate.pem"
key = "$WORK/key.pem"
[listeners.rtmps]
addr = "127.0.0.1:$RTMPS"
[listeners.https]
addr = "127.0.0.1:$HTTPS"
TOML
    publish --url "rtmp://127.0.0.1:$RTMP/live/bench"
    sleep 4
}
serve

round() {
    fanout "$WORK/$1.json" --url "$2" --players "$3" --ramp 500 --window "${WINDOW}s" \
        --server-pid "$SERVER" --tls-insecure
    value "$WORK/$1.json" .server.cpu_s_per_gb >>"$WORK/$1.cpu"
    value "$WORK/$1.json" '"'"$1"': \(.held) of \(.players) held, \(.server.cpu_s_per_gb) CPU s/GB, \(.received_bytes / .window_s / 1e6) MB/s, latency p50 \(.latency.p50_ms) p99 \(.latency.p99_ms) ms, join p99 \(.join.p99_ms) ms, \(.stalls) stalls, \(.lost) lost"'
}

for _ in $(seq "$ROUNDS"); do
    round rtmp "rtmp://127.0.0.1:$RTMP/live/bench" "$RTMP_PLAYERS"
    round rtmps "rtmps://127.0.0.1:$RTMPS/live/bench" "$RTMP_PLAYERS"
    round http "http://127.0.0.1:$HTTP/bench.flv" "$HTTP_PLAYERS"
    round https "https://127.0.0.1:$HTTPS/bench.flv" "$HTTP_PLAYERS"
done
for of in rtmp rtmps http https; do
    printf '%s: median %s of %s\n' "$of" "$(median <"$WORK/$of.cpu")" "$(tr '\n' ' ' <"$WORK/$of.cpu")"
done

curl -fs "http://127.0.0.1:$CONTROL/metrics" | grep '^grandstand_tls' || true

# Memory: the slope between two numbers of players, so that what happens once counts nothing, on a
# server that has held nobody before, whose memory they could take over.
for of in "rtmp rtmp://127.0.0.1:$RTMP/live/bench" "rtmps rtmps://127.0.0.1:$RTMPS/live/bench" \
    "https https://127.0.0.1:$HTTPS/bench.flv"; do
    stop "$STARTED"
    stop "$SERVER"
    serve
    sleep 10
    fanout "$WORK/slope.json" --url "${of#* }" --players 500,501,502,2000 --ramp 500 --window 3s \
        --server-pid "$SERVER" --tls-insecure
    printf '%s: %s B/player from 502 to 2000\n' "${of%% *}" \
        "$(value "$WORK/slope.json" .server.rss_bytes_per_player)"
done
