// Works through the console in headless Chromium and prints what was seen as one line of JSON.
//
// node console.mjs '{"base": "http://127.0.0.1:8090", "token": "SECRET", "chromium": "PATH",
//   "stream": "demo", "shots": "DIR"}'
//
// A wrong token is tried first; then each view is opened, in the dark and in the light. `shots`
// keeps a picture of each. The exit code is 0 whenever a report was printed.
import { chromium } from "playwright-core";

const job = JSON.parse(process.argv[2]);
const WAIT = { timeout: 20000 };

const browser = await chromium.launch({ executablePath: job.chromium, args: ["--no-sandbox"] });
const report = { event: "report", problems: [], views: {} };
try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 }, colorScheme: "dark" });
  page.setDefaultTimeout(WAIT.timeout);
  // The wrong token is answered by a 401, which a browser reports by itself, as it does what is
  // left of the events when their view is left.
  let expecting = true;
  page.on("console", (message) => {
    const aside = expecting || message.location().url.endsWith("/api/v1/events");
    if (["error", "warning"].includes(message.type()) && !aside) report.problems.push(message.text());
  });
  page.on("pageerror", (error) => report.problems.push(String(error)));
  page.on("requestfailed", (request) => {
    if (!request.url().endsWith("/api/v1/events")) report.problems.push(`failed: ${request.url()}`);
  });

  const shot = async (name) => {
    if (!job.shots) return;
    for (const colorScheme of ["dark", "light"]) {
      await page.emulateMedia({ colorScheme });
      await page.screenshot({ path: `${job.shots}/${name}-${colorScheme}.png` });
    }
  };

  const answer = await page.goto(`${job.base}/`);
  report.policy = answer.headers()["content-security-policy"];
  await page.fill("#token", "this-is-not-the-token");
  await page.click("text=Sign in");
  await page.waitForSelector(".wrong:visible");
  report.refused = await page.textContent(".wrong");
  await shot("sign-in");
  await page.fill("#token", job.token);
  await page.click("text=Sign in");

  await page.waitForSelector(`[data-key="${job.stream}"]`);
  expecting = false;
  report.views.streams = await page.textContent(`[data-key="${job.stream}"]`);
  report.play = await page.getAttribute(`[data-key="${job.stream}"] a.button`, "href");
  await shot("streams");
  const views = {
    sessions: ".bar .count",
    shards: ".cards .card",
    events: ".log",
    config: '[data-key="auth.mode"]',
  };
  for (const [name, ready] of Object.entries(views)) {
    await page.click(`nav a[href="#/${name}"]`);
    await page.waitForSelector(ready);
    await page.waitForFunction(() => document.getElementById("health").textContent !== "");
    report.views[name] = await page.textContent("main");
    await shot(name);
  }
  report.health = await page.textContent("#health");
  report.wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  await page.setViewportSize({ width: 390, height: 800 });
  report.wideOnTelephone = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  await shot("telephone");
  await page.click("text=Sign out");
  await page.waitForSelector("#token");
  report.left = await page.evaluate(() => sessionStorage.length);
} catch (error) {
  report.failed = String(error);
}
await browser.close();
process.stdout.write(`${JSON.stringify(report)}\n`);
