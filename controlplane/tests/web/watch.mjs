// Watches a stream in headless Chromium and prints what was seen as one line of JSON.
//
// node watch.mjs '{"base": "http://127.0.0.1:8080", "stream": "demo", "player": "page",
//   "seconds": 5, "shots": "DIR", "chromium": "PATH"}'
//
// `player` is "page" (the server's own page), "mpegts" (mpegts.js on the HTTP-FLV address) or
// "index" (the list of streams). The exit code is 0 whenever a report was printed.
import { chromium } from "playwright-core";
import { createRequire } from "node:module";
import { writeFile } from "node:fs/promises";

const job = JSON.parse(process.argv[2]);
const bundle = createRequire(import.meta.url).resolve("mpegts.js/dist/mpegts.js");

async function openPage(page) {
  await page.goto(`${job.base}/${job.stream}${job.query ?? ""}`);
}

// mpegts.js on a page of the server's own origin, whose body is replaced by one video element.
async function openMpegts(page) {
  await page.goto(`${job.base}/`);
  await page.addScriptTag({ path: bundle });
  await page.evaluate((url) => {
    document.body.innerHTML = '<video id="video" width="640" height="360"></video>';
    const video = document.getElementById("video");
    video.muted = true;
    const player = window.mpegts.createPlayer({ type: "flv", isLive: true, url });
    window.__errors = [];
    player.on(window.mpegts.Events.ERROR, (...what) => window.__errors.push(what.join(" ")));
    player.attachMediaElement(video);
    // A live player holds a moment of media before it begins, as its users configure it.
    const begin = () => {
      if (video.buffered.length === 0 || video.buffered.end(0) - video.currentTime < 1) return;
      video.removeEventListener("progress", begin);
      video.play();
    };
    video.addEventListener("progress", begin);
    player.load();
  }, `${job.base}/${job.stream}.flv${job.query ?? ""}`);
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
      error: video.error ? video.error.message : null,
      seen: { ...window.__seen },
      stats: window.__player ? { ...window.__player.stats } : null,
    };
  });
}

const picture = (page) => page.locator("#video").screenshot();

async function watchVideo(page) {
  await (job.player === "page" ? openPage(page) : openMpegts(page));
  await page.waitForFunction(
    () => document.getElementById("video").currentTime > 0 && document.getElementById("video").videoWidth > 0
      && !document.getElementById("video").paused,
    null,
    { timeout: 20000 },
  );
  // The first second is the start-up: decoders warm up, the live edge is found.
  await page.waitForFunction(
    (from) => document.getElementById("video").currentTime > from + 1,
    await page.evaluate(() => document.getElementById("video").currentTime),
    { timeout: 20000 },
  );
  await observe(page);
  const before = await sample(page);
  const first = await picture(page);
  await page.waitForFunction(
    ([from, seconds]) => document.getElementById("video").currentTime >= from + seconds,
    [before.time, job.seconds],
    { timeout: (job.seconds + 20) * 1000 },
  );
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

async function watchIndex(page) {
  await page.goto(`${job.base}/`);
  await page.locator("#streams a", { hasText: job.stream }).waitFor({ timeout: 20000 });
  if (job.shots) await page.screenshot({ path: `${job.shots}/index.png`, fullPage: true });
  const links = await page.locator("#streams a").evaluateAll((all) => all.map((a) => a.getAttribute("href")));
  return { links };
}

const browser = await chromium.launch({
  executablePath: job.chromium,
  args: ["--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required"],
});
try {
  const page = await browser.newPage({ viewport: { width: 640, height: 720 } });
  const console_ = [];
  page.on("console", (message) => message.type() === "error" && console_.push(message.text()));
  page.on("pageerror", (error) => console_.push(String(error)));
  let report;
  try {
    report = await (job.player === "index" ? watchIndex(page) : watchVideo(page));
  } catch (error) {
    const last = await sample(page).catch(() => null);
    report = { failed: String(error), last };
  }
  process.stdout.write(`${JSON.stringify({ ...report, console: console_ })}\n`);
} finally {
  await browser.close();
}
