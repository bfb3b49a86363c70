// Plays /NAME/index.m3u8 with the browser's own HLS player.
//
// For browsers without Media Source Extensions, for codecs that those lack, and for whoever asks
// with ?player=hls. It speaks to the page as the FLV player does: states and the same statistics.
"use strict";

const HLS_TYPE = "application/vnd.apple.mpegurl";
const HLS_BACK_OFF_MS = [500, 1000, 2000, 4000, 8000];
const HLS_FROZEN_MS = 20000; // no progress for so long while it should play: load again

class NativeHls {
  static plays(video) {
    return video.canPlayType(HLS_TYPE) !== "";
  }

  constructor(video, url, onState) {
    this.video = video;
    this.url = url;
    this.onState = onState;
    this.attempt = 0;
    this.moved = 0; // when the picture last moved
    this.time = 0;
    this.stats = {
      state: "connecting", codecs: "", width: 0, height: 0, bufferedSeconds: 0, bitsPerSecond: 0,
      shownFrames: 0, droppedFrames: 0, waiting: 0, reconnects: 0, error: "",
    };
    this.tracks = { video: true, audio: true };
    video.addEventListener("playing", () => {
      this.attempt = 0;
      this.setState("live", "");
    });
    video.addEventListener("waiting", () => {
      this.stats.waiting += 1;
      if (this.stats.state === "live") this.setState("buffering", "Buffering");
    });
    video.addEventListener("ended", () => this.again("The stream has ended. Waiting for it to come back"));
    video.addEventListener("error", () => {
      if (!video.getAttribute("src")) return;
      this.stats.error = video.error ? video.error.message : "";
      this.again("The connection was lost. Connecting again");
    });
    setInterval(() => this.tick(), 500);
    this.load();
  }

  setState(state, text) {
    this.stats.state = state;
    this.onState(state, text);
  }

  // The list is asked for first: it says why there is no picture, and what the stream is.
  async load() {
    let text = "The connection was lost. Connecting again";
    try {
      const response = await fetch(this.url, { cache: "no-store" });
      if (response.ok) {
        this.describe(await response.text());
        this.setState("buffering", "Buffering");
        this.moved = performance.now();
        this.video.src = this.url;
        const started = this.video.play();
        if (started) started.catch((error) => error.name === "NotAllowedError" && this.setState("paused", "Press play"));
        return;
      }
      text = `The server answered ${response.status}`;
      if (response.status === 404) text = "Nobody publishes this stream yet";
      if (response.status === 401 || response.status === 403) text = "Access was refused";
    } catch {
      // The text above says it.
    }
    this.again(text);
  }

  again(text) {
    if (this.stats.state === "waiting") return;
    this.video.removeAttribute("src");
    this.video.load();
    this.stats.reconnects += 1;
    this.setState("waiting", text);
    const delay = HLS_BACK_OFF_MS[Math.min(this.attempt, HLS_BACK_OFF_MS.length - 1)];
    this.attempt += 1;
    setTimeout(() => {
      this.stats.state = "connecting";
      this.load();
    }, delay);
  }

  // Codecs and bit rate, as the multivariant playlist gives them.
  describe(list) {
    const codecs = /[:,]CODECS="([^"]*)"/.exec(list);
    const rate = /[:,]AVERAGE-BANDWIDTH=(\d+)/.exec(list) || /[:,]BANDWIDTH=(\d+)/.exec(list);
    this.stats.codecs = codecs ? codecs[1].split(",").join(", ") : "";
    this.stats.bitsPerSecond = rate ? Number(rate[1]) : 0;
    this.tracks.audio = !codecs || /mp4a|ac-3|ec-3|opus|mp3/i.test(codecs[1]);
  }

  tick() {
    const { stats, video } = this;
    const ranges = video.buffered;
    stats.bufferedSeconds = ranges.length ? Math.max(0, ranges.end(ranges.length - 1) - video.currentTime) : 0;
    stats.width = video.videoWidth;
    stats.height = video.videoHeight;
    const quality = video.getVideoPlaybackQuality ? video.getVideoPlaybackQuality() : null;
    stats.shownFrames = quality ? quality.totalVideoFrames - quality.droppedVideoFrames : 0;
    stats.droppedFrames = quality ? quality.droppedVideoFrames : 0;
    const now = performance.now();
    if (video.currentTime !== this.time || video.paused) {
      this.time = video.currentTime;
      this.moved = now;
    }
    const due = stats.state === "live" || stats.state === "buffering";
    if (due && now - this.moved > HLS_FROZEN_MS) this.again("The stream has stopped. Connecting again");
  }
}
