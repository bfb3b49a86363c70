#!/bin/sh
# ingest.sh [PUBLISHERS] [BITRATE] [MODE] [SETTLE]: what publishers cost one shard, nobody watching.
#
# MODE is `hls.mode`: `always` packages every stream as transport packets, `on_demand` none of them.
# After SETTLE seconds the windows are full; then user and system time of the server over 8 s, its
# memory, and, with perf, where the time of the shard's thread goes: in our own code by the module,
# in copies by who copies, in the kernel by what it does for us. `streams.sh` weighs streams that
# are hardly there.

# shellcheck source=benches/compare/server.sh
. "$(dirname "$0")/server.sh"

PUBLISHERS=${1:-500}
BITRATE=${2:-2M}
MODE=${3:-always}
SETTLE=${4:-32}
WATCHED=8
PROFILED=5

ulimit -n "$(ulimit -Hn)"
start_server <<TOML
[hls]
mode = "$MODE"
TOML
memory() { awk '/VmRSS/ { print $2 }' "/proc/$SERVER/status"; }
# ticks: user and system time so far.
ticks() { awk '{ sub(/.*\) /, ""); print $12, $13 }' "/proc/$SERVER/stat"; }
metric() { curl -fs "http://127.0.0.1:$CONTROL/metrics" | awk -v name="$1" \
    '$1 ~ "^" name "({|$)" { sum += $2 } END { printf "%.0f", sum }'; }
for task in "/proc/$SERVER"/task/*; do
    [ "$(cat "$task/comm")" != shard-0 ] || SHARD=${task##*/}
done

empty=$(memory)
publish --url "rtmp://127.0.0.1:$RTMP/live/ingest" --streams "$PUBLISHERS" --bitrate "$BITRATE"
sleep "$SETTLE"
received=$(metric grandstand_bytes_received_total)
before=$(ticks)
sleep "$WATCHED"
after=$(ticks)
received=$(($(metric grandstand_bytes_received_total) - received))
full=$(memory)
echo "$before $after" | awk -v hz="$(getconf CLK_TCK)" -v s="$WATCHED" -v n="$PUBLISHERS" \
    -v rate="$BITRATE" -v mode="$MODE" -v kib="$((full - empty))" -v bytes="$received" \
    -v all="$full" -v there="$(metric grandstand_streams)" '{
    own = ($3 - $1) / hz / s; kernel = ($4 - $2) / hz / s
    printf "%s: %d of %d publishers of %s, %.1f MB/s in\n", mode, there, n, rate, bytes / s / 1e6
    printf "CPU: %.1f %% of a core: user %.1f %%, system %.1f %%\n",
        (own + kernel) * 100, own * 100, kernel * 100
    printf "a publisher: %.3f %% of a core (user %.3f, system %.3f), %.2f CPU s/GB\n",
        (own + kernel) / n * 100, own / n * 100, kernel / n * 100,
        bytes ? (own + kernel) / (bytes / s / 1e9) : 0
    printf "memory: %.0f MB resident, %.2f MB a publisher\n",
        all * 1.024 / 1e3, kib * 1.024 / 1e3 / n }'

if ! command -v perf >/dev/null; then
    echo "perf is not installed: where the time goes is not told"
    exit
fi
perf record -q -e cpu-clock -F 499 --call-graph dwarf,4096 -t "$SHARD" -o "$WORK/perf.data" \
    -- sleep "$PROFILED" >>"$WORK/log" 2>&1
perf script -i "$WORK/perf.data" --no-inline -F ip,sym,dso 2>/dev/null >"$WORK/perf.txt"
# A sample is a stack, the innermost function first, and an empty line.
awk '
function named(symbol) {
    if (symbol ~ /codecs::rtmp::chunk_reader/) return "chunks"
    if (symbol ~ /codecs::(flv|rtmp|amf)|dataplane::session/) return "session"
    if (symbol ~ /codecs::mpegts|codecs::nal|dataplane::package/) return "mux"
    if (symbol ~ /dataplane::segment|hub::segments|codecs::m3u8/) return "segments"
    if (symbol ~ /dataplane::log/) return "log"
    if (symbol ~ /dataplane::hub/) return "hub"
    if (symbol ~ /dataplane::slab/) return "slab"
    if (symbol ~ /dataplane::(shard|reactor|node)|io_uring/) return "shard and reactor"
    return ""
}
function kernel(symbol) {
    if (symbol ~ /copy_to|copy_from|copyout|rep_movs|_copy_|memcpy/) return "copy to the receive buffer"
    if (symbol ~ /schedule|task_switch|wake|hrtimer|idle/) return "sleeping and waking"
    if (symbol ~ /page_fault|clear_page|alloc_pages|folio|zap_|mmu/) return "page faults"
    if (symbol ~ /^(tcp|__tcp|sk_|__sk|skb|__skb|sock|inet|ip_|__ip|kfree_skb|napi|net_|dev_|lo)/)
        return "TCP"
    if (symbol ~ /^(io_|__io_)/) return "io_uring"
    return "the rest"
}
function judge(   i, group) {
    if (depth == 0) return
    total++
    if (dso[1] ~ /kernel|\[k|vmlinux/ || symbol[1] ~ /\[k\]/) {
        group = kernel(symbol[1])
        if (group == "the rest")
            for (i = 2; i <= depth && dso[i] ~ /kernel|\[k|vmlinux/; i++)
                if (kernel(symbol[i]) != "the rest") { group = kernel(symbol[i]); break }
        group = "kernel: " group
    } else if (symbol[1] ~ /mem(cpy|move|set)/) {
        group = "somebody"
        for (i = 2; i <= depth; i++)
            if (named(symbol[i]) != "") { group = named(symbol[i]); break }
        group = "copy: " group
    } else {
        group = "other"
        for (i = 1; i <= depth; i++)
            if (named(symbol[i]) != "") { group = named(symbol[i]); break }
        group = "ours: " group
    }
    count[group]++
}
NF == 0 { judge(); depth = 0; next }
{ line = $0; sub(/^[ \t]*[0-9a-f]+ /, "", line)
  depth++; dso[depth] = line; sub(/.*\(/, "(", dso[depth])
  symbol[depth] = line; sub(/ \([^(]*\)$/, "", symbol[depth]) }
END { judge()
    for (group in count) printf "%5.1f %%  %s\n", count[group] * 100 / total, group
    printf "   of %d samples\n", total > "/dev/stderr" }' "$WORK/perf.txt" | sort -rn
