// Plays /NAME.flv in a browser: fetch -> FLV tags -> fragmented MP4 -> Media Source Extensions.
// A browser that cannot do that, or is asked not to, plays HLS by itself (native.js).
//
// Top down: the page, Player (state, live edge, reconnects), Track (one source buffer), FlvReader
// (tags), decoder configurations, the boxes of fragmented MP4.
"use strict";

const LIVE_EDGE_MAX_S = 3; // further behind than this, jump
const START_BUFFER_S = 0.6; // play when this much is there; grows after an underrun
const START_BUFFER_MAX_S = 2;
const PAUSED_MAX_S = 30;
const SECOND_TRACK_WAIT_MS = 1000; // a stream may have one track: the other is not waited for longer
const TRACK_SILENCE_S = 4; // a track this far behind the other one is given up
const JUMP_MAX_MS = 3000; // a larger step of timestamps is a new time base
const KEEP_BEHIND_S = 10; // played media kept in the buffer
const TAG_BYTES_MAX = 16 << 20;
const HELD_FRAMES_MAX = 2000;
const SILENCE_MS = 25000; // no byte for so long: connect again
const BACK_OFF_MS = [250, 500, 1000, 2000, 4000, 8000];

// ---------------------------------------------------------------- page

// Where RTMP is spoken, which the server tells; its rows stay hidden where it is not.
async function showRtmp(element, { name, path, query }) {
  const answer = await fetch("/streams.json", { cache: "no-store" }).then((response) => response.json()).catch(() => undefined);
  // A server that has just begun tells it with its first list.
  if (answer === undefined || answer.rtmp === undefined) {
    setTimeout(showRtmp, 3000, element, { name, path, query });
    return;
  }
  const { rtmp } = answer;
  if (!rtmp) return;
  const usual = { rtmp: 1935, rtmps: 443 }[rtmp.scheme];
  const base = `${rtmp.scheme}://${location.hostname}${rtmp.port === usual ? "" : `:${rtmp.port}`}`;
  const keyed = rtmp.url === "channel_key";
  const others = new URLSearchParams(query);
  if (keyed) others.delete("key");
  const shown = `${others}` ? `?${others}` : "";
  const addresses = keyed
    ? { "url-rtmp": `${base}/${path}/${query.get("key") || "KEY"}${shown}`, "url-obs": `${base}/${path}`, "url-key": "KEY" }
    : { "url-rtmp": `${base}/live/${path}${shown}`, "url-obs": `${base}/live`, "url-key": name };
  for (const id in addresses) element(id).textContent = addresses[id];
  for (const part of document.querySelectorAll("[data-rtmp]")) part.hidden = false;
}

function startPage() {
  const element = (id) => document.getElementById(id);
  const video = element("video");
  const name = decodeURI(location.pathname).replace(/^\/+(live\/)?/, "").replace(/\/+$/, "");
  const path = name.split("/").map(encodeURIComponent).join("/");
  const query = new URLSearchParams(location.search);
  const asked = query.get("player");
  query.delete("player");
  const options = `${query}` ? `?${query}` : "";
  const address = (suffix, scheme = location.protocol) => `${scheme}//${location.host}/${path}${suffix}${options}`;
  const flv = address(".flv");
  const hls = address("/index.m3u8");
  const socket = location.protocol === "https:" ? "wss:" : "ws:";
  document.title = `${name} · Grandstand`;
  element("name").textContent = name;
  const addresses = {
    "url-flv": flv, "url-ffplay": `ffplay -fflags nobuffer ${flv}`,
    "url-hls": hls, "url-ts": address(".ts"), "url-ws": address(".flv", socket),
  };
  for (const id in addresses) element(id).textContent = addresses[id];
  showRtmp(element, { name, path, query });
  for (const button of document.querySelectorAll("button[data-copy]")) {
    button.addEventListener("click", () => copyText(button, element(button.dataset.copy)));
  }
  const badge = element("state");
  const onState = (state, text) => {
    badge.textContent = state;
    badge.dataset.state = state;
    element("message").textContent = text;
    element("overlay").hidden = text === "";
  };
  const unmute = element("unmute");
  unmute.addEventListener("click", () => {
    video.muted = false;
    if (video.volume === 0) video.volume = 1;
    video.play().catch(() => undefined);
  });
  const ways = { flv: mediaSource() !== undefined, hls: NativeHls.plays(video) };
  const way = ways[asked] ? asked : ["flv", "hls"].find((name) => ways[name]);
  element("ways").hidden = !(ways.flv && ways.hls);
  for (const link of element("ways").querySelectorAll("a")) {
    const chosen = new URLSearchParams(query);
    chosen.set("player", link.dataset.way);
    link.href = `?${chosen}`;
    if (link.dataset.way === way) link.setAttribute("aria-current", "true");
  }
  if (!way) {
    onState("unsupported", "This browser has neither Media Source Extensions nor HLS of its own");
    return;
  }
  // A codec that the extensions lack may be one that the browser's own player has.
  const instead = () => location.replace(`?${new URLSearchParams([...query, ["player", "hls"]])}`);
  const player = way === "hls"
    ? new NativeHls(video, hls, onState)
    : new Player(video, flv, onState, ways.hls && asked !== "flv" ? instead : null);
  window.__player = { video, way, stats: player.stats };
  setInterval(() => {
    unmute.hidden = !video.muted || !(player.tracks && player.tracks.audio);
    showStats(element, player.stats);
  }, 500);
}

const mediaSource = () => window.ManagedMediaSource || window.MediaSource;

function showStats(element, stats) {
  const kilobits = Math.round(stats.bitsPerSecond / 1000);
  element("stat-size").textContent = stats.width ? `${stats.width} × ${stats.height}` : "–";
  element("stat-codecs").textContent = stats.codecs || "–";
  element("stat-rate").textContent = `${kilobits} kb/s`;
  element("stat-buffer").textContent = `${stats.bufferedSeconds.toFixed(1)} s`;
  element("stat-dropped").textContent = `${stats.droppedFrames} of ${stats.shownFrames + stats.droppedFrames}`;
  element("stat-reconnects").textContent = String(stats.reconnects);
}

async function copyText(button, source) {
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(source.textContent);
  } catch {
    // Pages without TLS may not write to the clipboard: select, and let the old command copy.
    getSelection().selectAllChildren(source);
    document.execCommand("copy");
  }
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = label), 1500);
}

// ---------------------------------------------------------------- player

class Player {
  // `instead` is called when the browser cannot decode the stream this way.
  constructor(video, url, onState, instead) {
    this.video = video;
    this.url = url;
    this.onState = onState;
    this.instead = instead;
    this.attempt = 0;
    this.startBuffer = START_BUFFER_S;
    this.stats = {
      state: "connecting", codecs: "", width: 0, height: 0, bufferedSeconds: 0, bitsPerSecond: 0,
      videoFrames: 0, audioFrames: 0, shownFrames: 0, droppedFrames: 0, bytes: 0,
      waiting: 0, jumps: 0, reconnects: 0, initSegments: 0, error: "",
    };
    this.rate = [];
    video.addEventListener("waiting", () => this.onWaiting());
    video.addEventListener("error", () => this.onVideoError());
    document.addEventListener("visibilitychange", () => document.hidden || this.toLiveEdge(0));
    this.resetSource();
    setInterval(() => this.tick(), 200);
    this.run();
  }

  setState(state, text) {
    this.stats.state = state;
    this.onState(state, text);
  }

  // A fresh MediaSource: at the start, and when the set of tracks changes.
  resetSource() {
    const Source = mediaSource();
    this.tracks = null; // {video?, audio?} once the set of tracks is known
    this.configs = {};
    this.held = [];
    this.heldSince = 0;
    this.lastTimestamp = null; // newest FLV timestamp of this connection
    this.last = null; // the same in milliseconds of the media element
    this.playing = false;
    this.source = new Source();
    this.video.disableRemotePlayback = true;
    if (this.objectUrl) URL.revokeObjectURL(this.objectUrl);
    this.objectUrl = URL.createObjectURL(this.source);
    this.video.src = this.objectUrl;
  }

  // Connects, reads until the stream ends, waits, connects again: for ever.
  async run() {
    for (;;) {
      let text = "The stream has ended. Waiting for it to come back";
      try {
        text = (await this.receive()) || text;
      } catch (error) {
        if (error.fatal) {
          if (this.instead) return this.instead();
          this.stats.error = error.message;
          this.setState("unsupported", error.message);
          return;
        }
        text = "The connection was lost. Connecting again";
      }
      const delay = BACK_OFF_MS[Math.min(this.attempt, BACK_OFF_MS.length - 1)];
      this.attempt += 1;
      this.stats.reconnects += 1;
      this.setState("waiting", text);
      await new Promise((resolve) => setTimeout(resolve, delay));
    }
  }

  async receive() {
    const abort = new AbortController();
    let watchdog = setTimeout(() => abort.abort(), SILENCE_MS);
    try {
      const response = await fetch(this.url, { signal: abort.signal, cache: "no-store" });
      if (response.status === 404) return "Nobody publishes this stream yet";
      if (response.status === 401 || response.status === 403) return "Access was refused";
      if (!response.ok) return `The server answered ${response.status}`;
      const reader = response.body.getReader();
      const flv = new FlvReader();
      // A new connection has its own time base: it goes on where the old one ended.
      this.lastTimestamp = null;
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return "";
        clearTimeout(watchdog);
        watchdog = setTimeout(() => abort.abort(), SILENCE_MS);
        this.count(value.length);
        for (const event of flv.push(value)) this.onFlv(event);
        this.startTracks();
        this.flush();
      }
    } finally {
      clearTimeout(watchdog);
      abort.abort();
    }
  }

  count(bytes) {
    const now = performance.now();
    this.stats.bytes += bytes;
    this.rate.push([now, bytes]);
    while (this.rate[0][0] < now - 4000) this.rate.shift();
  }

  onFlv(event) {
    if (event.type === "metadata") {
      this.metadata = event.values;
      return;
    }
    this.attempt = 0;
    if (this.playing && this.stats.state === "waiting") this.setState("live", "");
    if (!this.tracks) {
      if (this.held.length === 0) this.heldSince = performance.now();
      this.held.push(event);
      if (this.held.length > HELD_FRAMES_MAX) throw new Error("too many frames before the start");
      return;
    }
    this.deliver(event);
  }

  // Chooses the tracks when both have delivered a frame, or one has and the wait is over.
  startTracks() {
    if (this.tracks || this.source.readyState !== "open") return;
    const seen = {};
    for (const event of this.held) {
      if (event.type === "config") this.configs[event.kind] = event.config;
      if (event.type === "frame" && this.configs[event.kind]) seen[event.kind] = true;
    }
    const kinds = ["video", "audio"].filter((kind) => seen[kind]);
    const waited = performance.now() - this.heldSince > SECOND_TRACK_WAIT_MS;
    if (kinds.length === 0 || (kinds.length === 1 && !waited)) return;
    this.tracks = {};
    for (const kind of kinds) {
      this.tracks[kind] = new Track(this.source, kind, this.configs[kind], this.metadata);
    }
    const held = this.held;
    this.held = [];
    for (const event of held) this.deliver(event);
    this.setState("buffering", "Buffering");
  }

  deliver(event) {
    const track = this.tracks[event.kind];
    if (event.type === "config") {
      this.configs[event.kind] = event.config;
      if (track) track.configure(event.config, this.metadata);
      return;
    }
    if (!track) {
      // A track that was not there at the start: begin anew with both.
      if (!this.configs[event.kind]) return;
      const configs = this.configs;
      this.resetSource();
      this.heldSince = performance.now();
      for (const kind in configs) this.held.push({ type: "config", kind, config: configs[kind] });
      this.held.push(event);
      return;
    }
    const ms = this.mediaTime(event.dts, event.kind);
    this.stats[event.kind === "video" ? "videoFrames" : "audioFrames"] += 1;
    track.frame(ms, event);
  }

  // Maps a 32-bit FLV timestamp to the timeline of the media element; a step is a new time base.
  mediaTime(timestamp, kind) {
    // The start leaves room for a track that begins a little before the other one.
    let step = this.last === null ? 1000 : 40;
    if (this.lastTimestamp !== null) {
      const delta = (timestamp - this.lastTimestamp) | 0; // signed, modulo 2^32
      if (Math.abs(delta) <= JUMP_MAX_MS) step = delta;
    }
    const ms = (this.last || 0) + step;
    if (step > 0) {
      this.lastTimestamp = timestamp;
      this.last = ms;
    }
    this.tracks[kind].newest = ms;
    return Math.max(0, ms);
  }

  flush() {
    if (!this.tracks) return;
    for (const track of Object.values(this.tracks)) track.flush(this.video.currentTime);
    this.maybePlay();
  }

  bufferedEnd() {
    const ranges = this.video.buffered;
    return ranges.length ? ranges.end(ranges.length - 1) : 0;
  }

  maybePlay() {
    const ranges = this.video.buffered;
    if (this.playing || ranges.length === 0) return;
    const last = ranges.length - 1;
    if (ranges.end(last) - Math.max(ranges.start(last), this.video.currentTime) < this.startBuffer) {
      return;
    }
    this.playing = true;
    if (this.video.currentTime < ranges.start(last)) this.video.currentTime = ranges.start(last);
    this.toLiveEdge(LIVE_EDGE_MAX_S);
    this.setState("live", "");
    const started = this.video.play();
    if (started) started.catch(() => this.setState("paused", "Press play"));
  }

  toLiveEdge(behindMax) {
    const ranges = this.video.buffered;
    if (!this.playing || ranges.length === 0) return;
    const last = ranges.length - 1;
    const target = Math.max(ranges.start(last), ranges.end(last) - this.startBuffer);
    if (target - this.video.currentTime > behindMax) {
      this.video.currentTime = target;
      this.stats.jumps += 1;
    }
  }

  onWaiting() {
    // With media ahead it is a seek or a decoder that starts, which ends by itself.
    if (!this.playing || this.bufferedEnd() - this.video.currentTime > 0.3) return;
    this.stats.waiting += 1;
    // Too little was held: gather a little more before going on, and keep it.
    this.startBuffer = Math.min(START_BUFFER_MAX_S, this.startBuffer + 0.3);
    this.playing = false;
    this.video.pause();
    if (this.stats.state === "live") this.setState("buffering", "Buffering");
  }

  onVideoError() {
    const error = this.video.error;
    this.stats.error = error ? error.message : "";
    this.resetSource();
  }

  tick() {
    const { stats, video } = this;
    this.flush();
    if (this.playing) {
      const behind = this.bufferedEnd() - video.currentTime;
      // A paused viewer keeps his picture until the buffer would grow too large.
      if (behind > (video.paused ? PAUSED_MAX_S : LIVE_EDGE_MAX_S)) this.toLiveEdge(0);
      video.playbackRate = behind > this.startBuffer + 1 ? 1.05 : 1;
    }
    const now = performance.now();
    while (this.rate.length && this.rate[0][0] < now - 4000) this.rate.shift();
    const span = this.rate.length ? Math.max(1000, now - this.rate[0][0]) : 1;
    stats.bitsPerSecond = (this.rate.reduce((sum, [, bytes]) => sum + bytes, 0) * 8000) / span;
    stats.bufferedSeconds = Math.max(0, this.bufferedEnd() - video.currentTime);
    stats.width = video.videoWidth;
    stats.height = video.videoHeight;
    const quality = video.getVideoPlaybackQuality ? video.getVideoPlaybackQuality() : null;
    stats.shownFrames = quality ? quality.totalVideoFrames - quality.droppedVideoFrames : 0;
    stats.droppedFrames = quality ? quality.droppedVideoFrames : 0;
    if (!this.tracks) return;
    const tracks = Object.values(this.tracks);
    stats.codecs = tracks.map((track) => track.config.codec).join(", ");
    stats.initSegments = tracks.reduce((sum, track) => sum + track.initSegments, 0);
    const newest = tracks.map((track) => track.newest);
    if (tracks.length === 2 && Math.abs(newest[0] - newest[1]) > TRACK_SILENCE_S * 1000) {
      const configs = this.configs;
      this.resetSource();
      this.heldSince = now;
      for (const kind in configs) this.held.push({ type: "config", kind, config: configs[kind] });
    }
  }
}

// ---------------------------------------------------------------- one track, one source buffer

class Track {
  constructor(source, kind, config, metadata) {
    this.kind = kind;
    this.queue = []; // {mime?, bytes} in the order of the stream
    this.samples = [];
    this.pending = null; // the video frame whose duration the next one tells
    this.sequence = 0;
    this.newest = 0;
    this.nextTicks = null;
    this.initSegments = 0;
    this.mime = mimeOf(kind, config);
    const Source = source.constructor;
    if (!Source.isTypeSupported(this.mime)) throw fatal(`this browser cannot play ${config.codec}`);
    this.buffer = source.addSourceBuffer(this.mime);
    this.buffer.addEventListener("updateend", () => this.drain());
    this.buffer.addEventListener("error", () => (this.queue = []));
    this.configure(config, metadata);
  }

  configure(config, metadata) {
    if (this.config && sameBytes(this.config.record, config.record)) return;
    this.finish();
    this.config = config;
    if (this.kind === "video" && !config.width) {
      config.width = (metadata && metadata.width) || 1280;
      config.height = (metadata && metadata.height) || 720;
    }
    this.timescale = this.kind === "video" ? 90000 : config.sampleRate;
    this.nextTicks = null;
    this.needKeyframe = this.kind === "video";
    const mime = mimeOf(this.kind, config);
    const change = mime === this.mime ? undefined : mime;
    this.mime = mime;
    this.initSegments += 1;
    this.queue.push({ mime: change, bytes: initSegment(this.kind, this.timescale, config) });
  }

  frame(ms, event) {
    if (this.needKeyframe && !event.keyframe) return;
    this.needKeyframe = false;
    if (this.kind === "audio") {
      this.audioFrame(ms, event);
      return;
    }
    const frame = { ticks: ms * 90, cts: event.cts * 90, key: event.keyframe, bytes: event.bytes };
    if (this.pending) this.emit(this.pending, frame.ticks - this.pending.ticks);
    this.pending = frame;
  }

  // Sound is placed by counting samples: FLV rounds to milliseconds, which would tear it.
  audioFrame(ms, event) {
    const { sampleRate, frameSamples } = this.config;
    const ticks = Math.round((ms * sampleRate) / 1000);
    const drift = this.nextTicks === null ? Infinity : Math.abs(ticks - this.nextTicks);
    const start = drift > sampleRate / 20 ? ticks : this.nextTicks;
    this.nextTicks = start + frameSamples;
    this.emit({ ticks: start, cts: 0, key: true, bytes: event.bytes }, frameSamples);
  }

  emit(frame, duration) {
    // Equal or falling times would be refused: a frame lasts at least one tick.
    this.samples.push({ ...frame, duration: duration > 0 && duration < 900000 ? duration : 1 });
  }

  // Everything received so far becomes fragments of their own.
  finish() {
    if (this.pending) this.emit(this.pending, 3000);
    this.pending = null;
    this.fragment();
  }

  fragment() {
    if (this.samples.length === 0) return;
    this.sequence += 1;
    this.queue.push({ bytes: mediaFragment(this.sequence, this.samples) });
    this.samples = [];
  }

  flush(currentTime) {
    this.fragment();
    this.currentTime = currentTime;
    this.drain();
  }

  drain() {
    const { buffer, queue } = this;
    if (buffer.updating || queue.length === 0) return;
    try {
      const ranges = buffer.buffered;
      const old = this.currentTime - KEEP_BEHIND_S;
      if (ranges.length && ranges.start(0) < old - KEEP_BEHIND_S) {
        buffer.remove(0, old);
        return;
      }
      if (queue[0].mime) buffer.changeType(queue[0].mime);
      queue[0].mime = undefined;
      buffer.appendBuffer(queue[0].bytes);
      queue.shift();
    } catch (error) {
      const played = buffer.buffered.length ? this.currentTime - buffer.buffered.start(0) : 0;
      if (error.name === "QuotaExceededError" && played > 2) {
        buffer.remove(0, this.currentTime - 1);
      } else {
        queue.length = 0;
        this.needKeyframe = this.kind === "video";
      }
    }
  }
}

const mimeOf = (kind, config) => `${kind}/mp4; codecs="${config.codec}"`;

function fatal(message) {
  return Object.assign(new Error(message), { fatal: true });
}

function sameBytes(a, b) {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

// ---------------------------------------------------------------- FLV

class FlvReader {
  constructor() {
    this.rest = new Uint8Array(0);
    this.skip = -1; // bytes of the file header still to come, -1 before it
  }

  // Takes bytes in any cut, gives {type: "config" | "frame" | "metadata", kind, ...} in order.
  push(chunk) {
    let data = chunk;
    if (this.rest.length) {
      data = new Uint8Array(this.rest.length + chunk.length);
      data.set(this.rest);
      data.set(chunk, this.rest.length);
    }
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    const events = [];
    let at = 0;
    if (this.skip < 0) {
      if (data.length < 9) {
        this.rest = data;
        return events;
      }
      if (data[0] !== 0x46 || data[1] !== 0x4c || data[2] !== 0x56) throw new Error("not FLV");
      at = view.getUint32(5) + 4;
      this.skip = 0;
    }
    while (data.length - at >= 11) {
      const size = view.getUint32(at) & 0xffffff;
      if (size > TAG_BYTES_MAX) throw new Error("FLV tag too large");
      if (data.length - at < 11 + size + 4) break;
      const timestamp = (view.getUint32(at + 4) >>> 8) | (data[at + 7] << 24);
      const event = readTag(data[at] & 0x1f, data.subarray(at + 11, at + 11 + size));
      if (event) events.push({ ...event, dts: timestamp >>> 0 });
      at += 11 + size + 4;
    }
    this.rest = data.slice(at);
    return events;
  }
}

function readTag(type, body) {
  if (type === 9 && body.length > 1) return readVideo(body);
  if (type === 8 && body.length > 1) return readAudio(body);
  if (type === 18) return { type: "metadata", kind: "data", values: readMetadata(body) };
  return null;
}

function readVideo(body) {
  const keyframe = ((body[0] >> 4) & 7) === 1;
  if (body[0] & 0x80) return readFourCcVideo(body, keyframe);
  const id = body[0] & 15;
  if (body.length < 5) return null;
  if (id !== 7 && id !== 12) throw fatal(`video codec ${id} cannot be played here`);
  const payload = body.subarray(5);
  if (body[1] === 0) return config("video", id === 7 ? avcConfig(payload) : hevcConfig(payload));
  return body[1] === 1 ? videoFrame(keyframe, int24(body, 2), payload) : null;
}

function readFourCcVideo(body, keyframe) {
  const fourCc = String.fromCharCode(...body.subarray(1, 5));
  const parsers = { avc1: avcConfig, hvc1: hevcConfig, av01: av1Config };
  if (!parsers[fourCc]) throw fatal(`video codec ${fourCc} cannot be played here`);
  const timed = fourCc !== "av01";
  switch (body[0] & 15) {
    case 0: return config("video", parsers[fourCc](body.subarray(5)));
    case 1: return timed
      ? videoFrame(keyframe, int24(body, 5), body.subarray(8))
      : videoFrame(keyframe, 0, body.subarray(5));
    case 3: return videoFrame(keyframe, 0, body.subarray(5));
    default: return null;
  }
}

function readAudio(body) {
  if (body[0] >> 4 === 10) {
    return body[1] === 0 ? config("audio", aacConfig(body.subarray(2)))
      : body.length > 2 ? { type: "frame", kind: "audio", bytes: body.slice(2) } : null;
  }
  if (body[0] >> 4 === 9 && String.fromCharCode(...body.subarray(1, 5)) === "mp4a") {
    const packet = body[0] & 15;
    if (packet === 0) return config("audio", aacConfig(body.subarray(5)));
    return packet === 1 ? { type: "frame", kind: "audio", bytes: body.slice(5) } : null;
  }
  return null; // pictures play without a sound that browsers do not know
}

const config = (kind, value) => value && { type: "config", kind, config: value };

function videoFrame(keyframe, cts, bytes) {
  if (bytes.length === 0) return null;
  return { type: "frame", kind: "video", keyframe, cts, bytes: bytes.slice() };
}

const int24 = (body, at) => ((body[at] << 24) | (body[at + 1] << 16) | (body[at + 2] << 8)) >> 8;

// Only the numbers of the first object are of interest: key, 0x00, double.
function readMetadata(body) {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const values = {};
  for (const key of ["width", "height"]) {
    const name = [0, key.length, ...new TextEncoder().encode(key), 0];
    const at = body.findIndex((_, start) => name.every((byte, i) => body[start + i] === byte));
    if (at >= 0 && at + name.length + 8 <= body.length) {
      values[key] = view.getFloat64(at + name.length);
    }
  }
  return values;
}

// ---------------------------------------------------------------- decoder configurations

const hex = (byte) => byte.toString(16).padStart(2, "0");

function avcConfig(bytes) {
  if (bytes.length < 9 || (bytes[5] & 31) === 0) return null;
  const record = bytes.slice();
  const spsLength = (record[6] << 8) | record[7];
  const codec = `avc1.${hex(record[1])}${hex(record[2])}${hex(record[3])}`;
  return { codec, record, entry: "avc1", box: "avcC", ...avcFormat(record.subarray(8, 8 + spsLength)) };
}

function hevcConfig(bytes) {
  if (bytes.length < 23) return null;
  const record = bytes.slice();
  const view = new DataView(record.buffer);
  const space = ["", "A", "B", "C"][record[1] >> 6];
  let flags = 0;
  for (let bit = 0; bit < 32; bit++) flags |= ((view.getUint32(2) >>> bit) & 1) << (31 - bit);
  let constraints = [...record.subarray(6, 12)];
  while (constraints.length && constraints[constraints.length - 1] === 0) constraints.pop();
  const parts = [`hvc1.${space}${record[1] & 31}`, (flags >>> 0).toString(16),
    `${record[1] & 32 ? "H" : "L"}${record[12]}`, ...constraints.map((c) => c.toString(16))];
  let at = 23;
  let format = {};
  for (let arrays = record[22]; arrays > 0 && at + 5 <= record.length; arrays--) {
    const type = record[at] & 63;
    let units = (record[at + 1] << 8) | record[at + 2];
    for (at += 3; units > 0 && at + 2 <= record.length; units--) {
      const length = (record[at] << 8) | record[at + 1];
      if (type === 33) format = hevcFormat(record.subarray(at + 2, at + 2 + length));
      at += 2 + length;
    }
  }
  return { codec: parts.join("."), record, entry: "hvc1", box: "hvcC", ...format };
}

function av1Config(bytes) {
  if (bytes.length < 4) return null;
  const record = bytes.slice();
  const two = (value) => String(value).padStart(2, "0");
  const depth = record[2] & 0x40 ? (record[2] & 0x20 ? 12 : 10) : 8;
  const tier = record[2] & 0x80 ? "H" : "M";
  const codec = `av01.${record[1] >> 5}.${two(record[1] & 31)}${tier}.${two(depth)}`;
  return { codec, record, entry: "av01", box: "av1C" };
}

function aacConfig(bytes) {
  if (bytes.length < 2) return null;
  const record = bytes.slice();
  const bits = new Bits(record);
  const objectType = () => {
    const type = bits.read(5);
    return type === 31 ? 32 + bits.read(6) : type;
  };
  const rates = [96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350];
  const type = objectType();
  const index = bits.read(4);
  const sampleRate = index === 15 ? bits.read(24) : rates[index];
  const channels = bits.read(4);
  if (type === 5 || type === 29) {
    if (bits.read(4) === 15) bits.read(24);
    objectType();
  }
  const frameSamples = bits.read(1) ? 960 : 1024;
  if (!sampleRate) return null;
  return { codec: `mp4a.40.${type}`, record, sampleRate, channels: channels || 2, frameSamples };
}

// Sequence parameter set (ISO/IEC 14496-10, 7.3.2.1.1): the size and shape of the picture.
function avcFormat(sps) {
  const bits = new Bits(unescape3(sps.subarray(1)));
  const profile = bits.read(8);
  bits.read(16);
  bits.ue();
  let chroma = 1;
  if ([100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135].includes(profile)) {
    chroma = bits.ue();
    if (chroma === 3) bits.read(1);
    bits.ue();
    bits.ue();
    bits.read(1);
    if (bits.read(1)) skipScalingLists(bits, chroma === 3 ? 12 : 8);
  }
  bits.ue();
  const order = bits.ue();
  if (order === 0) bits.ue();
  if (order === 1) {
    bits.read(1);
    bits.ue();
    bits.ue();
    for (let count = Math.min(bits.ue(), 255); count > 0; count--) bits.ue();
  }
  bits.ue();
  bits.read(1);
  const width = (bits.ue() + 1) * 16;
  const units = bits.ue() + 1;
  const frames = bits.read(1);
  if (!frames) bits.read(1);
  bits.read(1);
  const crop = bits.read(1) ? [bits.ue(), bits.ue(), bits.ue(), bits.ue()] : [0, 0, 0, 0];
  const cropX = chroma === 1 || chroma === 2 ? 2 : 1;
  const cropY = (chroma === 1 ? 2 : 1) * (2 - frames);
  return {
    width: width - (crop[0] + crop[1]) * cropX,
    height: units * 16 * (2 - frames) - (crop[2] + crop[3]) * cropY,
    aspect: bits.read(1) ? sampleAspect(bits) : null,
  };
}

function sampleAspect(bits) {
  const known = [[1, 1], [1, 1], [12, 11], [10, 11], [16, 11], [40, 33], [24, 11], [20, 11], [32, 11],
    [80, 33], [18, 11], [15, 11], [64, 33], [160, 99], [4, 3], [3, 2], [2, 1]];
  if (!bits.read(1)) return null;
  const index = bits.read(8);
  const aspect = index === 255 ? [bits.read(16), bits.read(16)] : known[index];
  return aspect && aspect[0] && aspect[1] && aspect[0] !== aspect[1] ? aspect : null;
}

function skipScalingLists(bits, lists) {
  for (let list = 0; list < lists; list++) {
    if (!bits.read(1)) continue;
    let last = 8;
    let next = 8;
    for (let i = 0; i < (list < 6 ? 16 : 64); i++) {
      if (next) next = (last + bits.se() + 256) & 255;
      if (next) last = next;
    }
  }
}

// Sequence parameter set (ISO/IEC 23008-2, 7.3.2.2.1).
function hevcFormat(sps) {
  const bits = new Bits(unescape3(sps.subarray(2)));
  bits.read(4);
  const layers = bits.read(3);
  bits.read(1);
  bits.skip(96);
  const present = [];
  for (let i = 0; i < layers; i++) present.push([bits.read(1), bits.read(1)]);
  if (layers) bits.skip(2 * (8 - layers));
  for (const [profile, level] of present) bits.skip(88 * profile + 8 * level);
  bits.ue();
  const chroma = bits.ue();
  if (chroma === 3) bits.read(1);
  const width = bits.ue();
  const height = bits.ue();
  const crop = bits.read(1) ? [bits.ue(), bits.ue(), bits.ue(), bits.ue()] : [0, 0, 0, 0];
  const cropX = chroma === 1 || chroma === 2 ? 2 : 1;
  const cropY = chroma === 1 ? 2 : 1;
  return {
    width: width - (crop[0] + crop[1]) * cropX,
    height: height - (crop[2] + crop[3]) * cropY,
  };
}

// Removes emulation prevention: 00 00 03 -> 00 00.
function unescape3(bytes) {
  return bytes.filter((byte, i) => !(byte === 3 && i > 1 && bytes[i - 1] === 0 && bytes[i - 2] === 0));
}

class Bits {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }

  // Beyond the end there are zeros.
  read(count) {
    let value = 0;
    for (let i = 0; i < count; i++, this.at++) {
      value = value * 2 + (((this.bytes[this.at >> 3] || 0) >> (7 - (this.at & 7))) & 1);
    }
    return value;
  }

  skip(count) {
    this.at += count;
  }

  ue() {
    let zeros = 0;
    while (zeros < 32 && !this.read(1)) zeros++;
    return zeros < 32 ? 2 ** zeros - 1 + this.read(zeros) : 0;
  }

  se() {
    const value = this.ue();
    return value & 1 ? (value + 1) / 2 : -value / 2;
  }
}

// ---------------------------------------------------------------- fragmented MP4

function box(type, ...parts) {
  const size = parts.reduce((sum, part) => sum + part.length, 8);
  const bytes = new Uint8Array(size);
  new DataView(bytes.buffer).setUint32(0, size);
  for (let i = 0; i < 4; i++) bytes[4 + i] = type.charCodeAt(i);
  let at = 8;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

function u32(...values) {
  const bytes = new Uint8Array(values.length * 4);
  const view = new DataView(bytes.buffer);
  values.forEach((value, i) => view.setUint32(i * 4, value));
  return bytes;
}

const u16 = (...values) => Uint8Array.from(values.flatMap((v) => [(v >> 8) & 255, v & 255]));
const zeros = (count) => new Uint8Array(count);
const MATRIX = u32(0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000);

function initSegment(kind, timescale, config) {
  const video = kind === "video";
  const size = video ? u32(config.width * 0x10000, config.height * 0x10000) : u32(0, 0);
  const name = new TextEncoder().encode(video ? "vide" : "soun");
  const header = video ? box("vmhd", u32(1), zeros(8)) : box("smhd", zeros(8));
  const entry = video ? videoEntry(config) : audioEntry(config);
  const table = box("stbl", box("stsd", u32(0, 1), entry), box("stts", zeros(8)),
    box("stsc", zeros(8)), box("stsz", zeros(12)), box("stco", zeros(8)));
  const media = box("mdia", box("mdhd", u32(0, 0, 0, timescale, 0), u16(0x55c4, 0)),
    box("hdlr", zeros(8), name, zeros(13)),
    box("minf", header, box("dinf", box("dref", u32(0, 1), box("url ", u32(1)))), table));
  const track = box("trak", box("tkhd", u32(7, 0, 0, 1, 0, 0, 0, 0), u16(0, 0, video ? 0 : 0x100, 0),
    MATRIX, size), media);
  const movie = box("mvhd", u32(0, 0, 0, 1000, 0, 0x10000), u16(0x100, 0), zeros(8), MATRIX, zeros(24),
    u32(2));
  const brands = new TextEncoder().encode("iso5\0\0\0\0iso5iso6mp41");
  const extends_ = box("mvex", box("trex", u32(0, 1, 1, 0, 0, 0)));
  const parts = [box("ftyp", brands), box("moov", movie, track, extends_)];
  return concat(parts);
}

function videoEntry(config) {
  const aspect = config.aspect ? [box("pasp", u32(...config.aspect))] : [];
  return box(config.entry, zeros(6), u16(1), zeros(16), u16(config.width, config.height),
    u32(0x480000, 0x480000, 0), u16(1), zeros(32), u16(24, 0xffff),
    box(config.box, config.record), ...aspect);
}

function audioEntry(config) {
  const info = config.record;
  const descriptor = (tag, ...parts) => concat([Uint8Array.of(tag, parts.reduce((n, p) => n + p.length, 0)),
    ...parts]);
  const decoder = descriptor(4, Uint8Array.of(0x40, 0x15), zeros(11), descriptor(5, info));
  const esds = descriptor(3, u16(1), zeros(1), decoder, descriptor(6, Uint8Array.of(2)));
  return box("mp4a", zeros(6), u16(1), zeros(8), u16(config.channels, 16), zeros(4),
    u16(config.sampleRate > 65535 ? 0 : config.sampleRate, 0), box("esds", zeros(4), esds));
}

function mediaFragment(sequence, samples) {
  const start = samples[0].ticks;
  const rows = samples.flatMap((s) => [s.duration, s.bytes.length, s.key ? 0x02000000 : 0x01010000, s.cts]);
  const build = (offset) => box("moof", box("mfhd", u32(0, sequence)),
    box("traf", box("tfhd", u32(0x020000, 1)),
      box("tfdt", u32(0x01000000, Math.floor(start / 2 ** 32), start % 2 ** 32)),
      box("trun", u32(0x01000f01, samples.length, offset, ...rows))));
  const moof = build(build(0).length + 8);
  return concat([moof, box("mdat", ...samples.map((s) => s.bytes))]);
}

function concat(parts) {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

startPage();
