// Watches a stream in headless Chromium and prints what was seen as lines of JSON.
//
// node watch.mjs '{"base": "http://127.0.0.1:8080", "stream": "demo", "player": "page",
//   "seconds": 5, "until": {"width": 320}, "shots": "DIR", "chromium": "PATH"}'
//
// `player`: "page" (the server's own page), "hls.js", "mpegts.flv", "mpegts.ws", "mpegts.ts"
// (mpegts.js on HTTP-FLV, WebSocket-FLV, HTTP-TS), "hls.tabs" (hls.js in two tabs, of which somebody
// outside ends `lost`, while one that is left plays `seconds` more), "plain" (the page in a browser that has HLS of
// its own and no Media Source Extensions) or "index" (the list of streams).
//
// The first line is {"event": "playing"}, once the start-up is over. Then `seconds` of the stream
// are watched; with `until`, what is watched begins once the picture has that width, and what came
// before may have been interrupted. The last line is the report. The exit code is 0 whenever a
// report was printed.
import { chromium } from "playwright-core";
import { createRequire } from "node:module";
import { writeFile } from "node:fs/promises";

const job = JSON.parse(process.argv[2]);
const { resolve } = createRequire(import.meta.url);
const bundles = { mpegts: resolve("mpegts.js/dist/mpegts.js"), hls: resolve("hls.js/dist/hls.js") };
const START_MS = 40000;

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

async function openPage(page) {
  await page.goto(`${job.base}/${job.stream}${job.query ?? ""}`);
}

// As Safari on a telephone once was: HLS by itself, and nothing for a script to feed.
async function openPlain(page) {
  await page.addInitScript(() => {
    delete window.MediaSource;
    delete window.ManagedMediaSource;
  });
  await openPage(page);
}

// A page of the server's own origin, whose body is replaced by one video element.
async function openBlank(page, bundle) {
  await page.goto(`${job.base}/`);
  await page.addScriptTag({ path: bundle });
  await page.evaluate(() => {
    document.body.innerHTML = '<video id="video" width="640" height="360" muted></video>';
    document.getElementById("video").muted = true;
    window.__errors = [];
  });
}

async function openMpegts(page, kind) {
  await openBlank(page, bundles.mpegts);
  const base = kind === "ws" ? job.base.replace(/^http/, "ws") : job.base;
  const type = kind === "ts" ? "mpegts" : "flv";
  const url = `${base}/${job.stream}.${kind === "ts" ? "ts" : "flv"}${job.query ?? ""}`;
  await page.evaluate(([type, url]) => {
    const { mpegts } = window;
    mpegts.LoggingControl.enableAll = false;
    const video = document.getElementById("video");
    let shown = null;
    const open = () => {
      const player = mpegts.createPlayer({ type, isLive: true, url }, { enableStashBuffer: false });
      const again = () => {
        player.destroy();
        shown = null;
        open();
      };
      player.on(mpegts.Events.ERROR, (...what) => window.__errors.push(what.join(" ")));
      // mpegts.js gives another configuration to the old source buffer, which Chromium does not
      // take: its users load the player anew.
      player.on(mpegts.Events.MEDIA_INFO, (info) => {
        const media = `${info.mimeType} ${info.width}x${info.height} ${info.audioSampleRate}`;
        if (shown !== null && shown !== media) setTimeout(again, 0);
        shown = media;
      });
      player.attachMediaElement(video);
      // A live player holds a moment of media before it begins, as its users configure it.
      const begin = () => {
        if (video.buffered.length === 0 || video.buffered.end(0) - video.currentTime < 1) return;
        video.removeEventListener("progress", begin);
        video.play();
      };
      video.addEventListener("progress", begin);
      player.load();
    };
    open();
  }, [type, url]);
}

async function openHls(page) {
  await openBlank(page, bundles.hls);
  const url = `${job.base}/${job.stream}/index.m3u8${job.query ?? ""}`;
  // The player begins three target durations behind the end: it is given a list that has them, as
  // every list has but that of a stream's first seconds.
  await page.evaluate(async ([url, timeout]) => {
    const text = async (url) => {
      const answer = await fetch(url, { cache: "no-store" });
      return answer.ok ? answer.text() : "";
    };
    const late = performance.now() + timeout;
    for (;;) {
      const child = (await text(url)).split("\n").find((line) => line && !line.startsWith("#"));
      const list = child ? await text(new URL(child, url)) : "";
      const target = Number(/#EXT-X-TARGETDURATION:(\d+)/.exec(list)?.[1]);
      const durations = [...list.matchAll(/#EXTINF:([\d.]+)/g)].map((found) => Number(found[1]));
      if (durations.reduce((sum, duration) => sum + duration, 0) >= 3 * target) return;
      if (performance.now() > late) throw new Error(`no list of three targets: ${list}`);
      await new Promise((done) => setTimeout(done, 500));
    }
  }, [url, START_MS]);
  await page.evaluate((url) => {
    const video = document.getElementById("video");
    const player = new window.Hls({ liveSyncDurationCount: 3 });
    // What the player recovers from by itself is told apart from what ends it.
    player.on(window.Hls.Events.ERROR, (_, what) => {
      if (what.fatal) window.__errors.push(`${what.type} ${what.details}`);
    });
    player.on(window.Hls.Events.MANIFEST_PARSED, () => video.play());
    player.loadSource(url);
    player.attachMedia(video);
    window.__hls = player;
  }, url);
}

// Counts from the first shown frame on: frames of the start-up are not an underrun.
function observe(page) {
  return page.evaluate(() => {
    const video = document.getElementById("video");
    const seen = { waiting: 0, stalled: 0, frames: 0 };
    for (const name of ["waiting", "stalled"]) video.addEventListener(name, () => seen[name]++);
    const count = () => {
      seen.frames++;
      video.requestVideoFrameCallback(count);
    };
    video.requestVideoFrameCallback(count);
    window.__seen = seen;
  });
}

function sample(page) {
  return page.evaluate(() => {
    const video = document.getElementById("video");
    const quality = video.getVideoPlaybackQuality();
    return {
      clock: performance.now() / 1000,
      time: video.currentTime,
      total: quality.totalVideoFrames,
      dropped: quality.droppedVideoFrames,
      width: video.videoWidth,
      height: video.videoHeight,
      audioBytes: video.webkitAudioDecodedByteCount ?? 0,
      paused: video.paused,
      source: video.currentSrc,
      error: video.error ? video.error.message : null,
      seen: { ...window.__seen },
      stats: window.__player ? { ...window.__player.stats, way: window.__player.way } : null,
    };
  });
}

const picture = (page) => page.locator("#video").screenshot();

function open(page) {
  const [kind, what] = job.player.split(".");
  if (kind === "mpegts") return openMpegts(page, what);
  if (kind === "hls") return openHls(page);
  return kind === "plain" ? openPlain(page) : openPage(page);
}

// Until the picture moves, and one second further: decoders warm up, the live edge is found.
async function started(page, timeout) {
  await page.waitForFunction(
    () => {
      const video = document.getElementById("video");
      return video.currentTime > 0 && video.videoWidth > 0 && !video.paused;
    },
    null,
    { timeout },
  );
  await advance(page, 1, timeout);
}

// Until so much more of the stream was played, whatever happens to the element's own clock.
function advance(page, seconds, timeout) {
  return page.evaluate(
    ([seconds, timeout]) =>
      new Promise((done, fail) => {
        const video = document.getElementById("video");
        let [played, last] = [0, video.currentTime];
        const end = setTimeout(() => fail(new Error(`${played} of ${seconds} s in ${timeout} ms`)), timeout);
        const timer = setInterval(() => {
          const step = video.currentTime - last;
          if (step > 0 && step < 2) played += step;
          last = video.currentTime;
          if (played < seconds) return;
          clearInterval(timer);
          clearTimeout(end);
          done();
        }, 50);
      }),
    [seconds, timeout],
  );
}

async function watchVideo(page) {
  await open(page);
  await started(page, START_MS);
  say({ event: "playing" });
  if (job.until?.width) {
    await page.waitForFunction(
      (width) => document.getElementById("video").videoWidth === width,
      job.until.width,
      { timeout: START_MS },
    );
    await started(page, START_MS);
  }
  // A break that is to be survived: what follows it is judged.
  if (job.until?.seconds) await advance(page, job.until.seconds, job.until.seconds * 1000 + START_MS);
  await observe(page);
  const before = await sample(page);
  const first = await picture(page);
  await advance(page, job.seconds, job.seconds * 1000 + START_MS);
  const after = await sample(page);
  const second = await picture(page);
  if (job.shots) {
    await writeFile(`${job.shots}/${job.player}-1.png`, first);
    await writeFile(`${job.shots}/${job.player}-2.png`, second);
    await page.screenshot({ path: `${job.shots}/${job.player}-page.png`, fullPage: true });
  }
  return {
    before,
    after,
    picturesDiffer: Buffer.compare(first, second) !== 0,
    errors: await page.evaluate(() => window.__errors ?? []),
  };
}

// Two tabs of one browser, on one stream.
async function watchTabs(page) {
  const tabs = [page, await page.context().newPage()];
  for (const tab of tabs) {
    await openHls(tab);
    await started(tab, START_MS);
  }
  say({ event: "playing" });
  const errors = (tab) => tab.evaluate(() => window.__errors);
  const late = performance.now() + START_MS;
  for (;;) {
    const seen = await Promise.all(tabs.map(errors));
    const left = tabs.filter((_, at) => seen[at].length === 0);
    if (tabs.length - left.length >= job.lost) {
      if (left.length > 0) await advance(left[0], job.seconds, job.seconds * 1000 + START_MS);
      return { tabs: await Promise.all(tabs.map(errors)) };
    }
    if (performance.now() > late) throw new Error(`${JSON.stringify(seen)}, not ${job.lost} lost`);
    await new Promise((done) => setTimeout(done, 100));
  }
}

function work(page) {
  if (job.player === "index") return watchIndex(page);
  return job.player === "hls.tabs" ? watchTabs(page) : watchVideo(page);
}

async function watchIndex(page) {
  await page.goto(`${job.base}/`);
  await page.locator("#streams a", { hasText: job.stream }).waitFor({ timeout: 20000 });
  if (job.shots) await page.screenshot({ path: `${job.shots}/index.png`, fullPage: true });
  const links = await page.locator("#streams a").evaluateAll((all) => all.map((a) => a.getAttribute("href")));
  const addresses = await page.locator("#addresses code").allTextContents();
  return { links, addresses };
}

const browser = await chromium.launch({
  executablePath: job.chromium,
  args: [
    "--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required", "--disable-quic",
    "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
  ],
});
try {
  const context = await browser.newContext({ viewport: { width: 640, height: 720 }, ignoreHTTPSErrors: true });
  const page = await context.newPage();
  const console_ = [];
  page.on("console", (message) => message.type() === "error" && console_.push(message.text()));
  page.on("pageerror", (error) => console_.push(String(error)));
  let report;
  try {
    report = await work(page);
  } catch (error) {
    const last = await sample(page).catch(() => null);
    const errors = await page.evaluate(() => window.__errors ?? []).catch(() => []);
    report = { failed: String(error), last, errors };
  }
  say({ event: "report", ...report, console: console_ });
} finally {
  await browser.close();
}
