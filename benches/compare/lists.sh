#!/bin/sh
# lists.sh [STREAMS] [WINDOW]: what the API takes to list so many declared streams.
#
# A server with STREAMS declared streams, one of them published and watched, is asked for WINDOW
# seconds each: for the first page, for all pages one after the other, for one stream by name, and
# for nothing. Of each the answers a second, the median and the 99th percentile of their times, and
# the CPU that the shard's thread and the control thread took. The control thread runs on the core of
# the asker, so that the shard's figure is the shard's alone.

# shellcheck source=benches/compare/server.sh
. "$(dirname "$0")/server.sh"
need python3 python3

STREAMS=${1:-10000}
WINDOW=${2:-4}

start_server </dev/null
# The first thread of a process is the control thread.
taskset -cp "$LOAD_CPU" "$SERVER" >/dev/null
publish --url "rtmp://127.0.0.1:$RTMP/live/list-00007" --bitrate 2M
sleep 2
taskset -c "$LOAD_CPU" python3 - "$CONTROL" "$WORK/data/api-token" "$STREAMS" "$WINDOW" "$SERVER" <<'PYTHON'
import glob, http.client, json, os, sys, time

port, token, streams, window, server = sys.argv[1], open(sys.argv[2]).read().strip(), *map(int, sys.argv[3:])
connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=30)
tick = os.sysconf("SC_CLK_TCK")

def ask(method, path, body=None):
    connection.request(method, path, body, {"Authorization": "Bearer " + token})
    answer = connection.getresponse()
    text = answer.read()
    assert answer.status == 200, (path, answer.status, text[:200])
    return text

def cpu():
    shards = control = 0
    for task in glob.glob(f"/proc/{server}/task/*"):
        fields = open(task + "/stat").read().rpartition(")")[2].split()
        seconds = (int(fields[11]) + int(fields[12])) / tick
        if open(task + "/comm").read().startswith("shard-"):
            shards += seconds
        elif task.endswith(f"/{server}"):
            control += seconds
    return shards, control

def walk():
    cursor, met = "", []
    while cursor is not None:
        page = json.loads(ask("GET", "/api/v1/streams" + (cursor and "?cursor=" + cursor)))
        met += [stream["name"] for stream in page["streams"]]
        cursor = page["next"]
    assert len(set(met)) == len(met) >= streams, len(met)

def measure(what, act):
    before, end, times = cpu(), time.monotonic() + window, []
    while time.monotonic() < end:
        began = time.monotonic()
        act()
        times.append((time.monotonic() - began) * 1000)
    shards, control = (after - at for after, at in zip(cpu(), before))
    times.sort()
    print(f"{what}: {len(times) / window:.0f} a second, median {times[len(times) // 2]:.2f} ms, "
          f"p99 {times[len(times) * 99 // 100]:.2f} ms; shard {shards / window * 1000:.1f} ms/s, "
          f"control thread {control / window * 1000:.1f} ms/s")

table = '[[streams.stream]]\ncode = "list-%05d"\ndescription = "One of many"\ninputs = [{ url = "publish://" }]\n'
ask("POST", "/api/v1/streams/import", "".join(table % number for number in range(streams)))
measure("nothing", lambda: time.sleep(0.1))
measure("first page", lambda: ask("GET", "/api/v1/streams"))
measure("whole walk", walk)
measure("one stream on the air", lambda: ask("GET", "/api/v1/streams/list-00007"))
measure("one idle stream", lambda: ask("GET", "/api/v1/streams/list-00008"))
measure("export", lambda: ask("GET", "/api/v1/streams/export"))
PYTHON
