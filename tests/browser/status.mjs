// The status page on the admin address, as an administrator sees it at a desk and on a phone.
import { X509Certificate } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { ADMIN } from "./box.mjs";

const SIZES = { desk: { width: 1280, height: 900 }, phone: { width: 360, height: 740 } };
/** The page asks every three seconds; a busy machine may take its time. */
const REFRESH = 30_000;
const GROUP = "status";

/** The page in one tab of `station`, and everything it asked for since. */
async function open(station, size) {
  const page = await station.context.newPage();
  const asked = [];
  const wrong = [];
  page.on("request", (request) => asked.push(request.url()));
  page.on("console", (message) => message.type() === "error" && wrong.push(message.text()));
  page.on("pageerror", (error) => wrong.push(String(error)));
  await page.setViewportSize(SIZES[size]);
  await page.goto(ADMIN + "/");
  await page.locator("#state", { hasText: "serving" }).waitFor({ timeout: REFRESH });
  return { page, asked, wrong };
}

/** Keeps what the page looks like, where somebody wants to see it. */
async function shot(page, name) {
  if (process.env.EDGELABEL_SHOTS) await page.screenshot({ path: path.join(process.env.EDGELABEL_SHOTS, `${name}.png`), fullPage: true });
}

const plain = (fingerprint) => fingerprint.replace(/[^0-9a-f]/gi, "").toLowerCase();

/** `click(frame)` presses the agent's button on that frame of the video and waits for the answer's status. */
export async function statusPage({ box, outside, station, click, row, attempt }) {
  await outside.tell({ thinking_ms: 700 });
  await click(20);
  await outside.tell({ thinking_ms: 0 });
  const { page, asked, wrong } = await open(station, "desk");
  const text = (id) => page.locator(`#${id}`).innerText();
  /** Whether something comes to be on the page without anybody loading it again. */
  const appears = (locator) => locator.first().waitFor({ timeout: REFRESH }).then(() => true, () => false);
  const goes = (locator) => locator.first().waitFor({ timeout: REFRESH, state: "detached" }).then(() => true, () => false);
  const judge = (name, about) => attempt(GROUP, name, async () => row(GROUP, name, ...(await about())));

  await judge("dependencies, agents, last call, decoders", async () => {
    const decoders = page.locator("#editor dd", { hasText: "h264" });
    const found = await appears(decoders);
    const [dependencies, editor] = [await text("dependencies"), await text("editor")];
    const right = found && /encord/.test(dependencies) && /journal/.test(dependencies) && /\/summary/.test(editor) && /https:\/\/app\.encord\.com/.test(editor);
    return [dependencies.replace(/\s+/g, " ").slice(0, 90), right];
  });
  await judge("a trigger has its steps as a bar, and their times", async () => {
    const first = page.locator("#triggers article").first();
    const widths = await first.locator(".bar span").evaluateAll((all) => all.map((one) => one.getBoundingClientRect().width));
    const whole = await first.locator(".bar").evaluate((bar) => bar.getBoundingClientRect().width);
    const names = await first.locator(".legend i").allInnerTexts();
    const sum = widths.reduce((all, one) => all + one, 0);
    const longest = names[widths.indexOf(Math.max(...widths))];
    const right = names.length === widths.length && Math.abs(sum - whole) < 2 && longest.startsWith("model");
    return [names.join(", "), right && /frame 20/.test(await first.innerText())];
  });
  await judge("a trigger tells who asked and what was answered", async () => {
    const card = await page.locator("#triggers article").first().innerText();
    const [{ caller, answer }] = (await box.status()).triggers;
    return [`${caller}: ${answer.slice(0, 60)}`, /^[0-9a-f.:]+$/.test(caller) && answer.length > 0 && card.includes(`from ${caller}`) && card.includes(answer)];
  });
  await judge("certificate and authority: the download has that fingerprint", async () => {
    const coming = page.waitForEvent("download");
    await page.locator("#certificate a").click();
    const download = await coming;
    const authority = new X509Certificate(fs.readFileSync(await download.path()));
    const served = new X509Certificate(fs.readFileSync(path.join(box.folder, "certs/server.pem")));
    const shown = (await page.locator("#certificate code").allInnerTexts()).map(plain);
    const own = new X509Certificate(fs.readFileSync(box.authority));
    const right = shown[0] === plain(served.fingerprint256) && shown[1] === plain(authority.fingerprint256) && own.fingerprint256 === authority.fingerprint256;
    return [`${download.suggestedFilename()} ${shown[1]?.slice(0, 16)}…`, right && download.suggestedFilename() === "edgelabel-ca.crt"];
  });
  await judge("a new trigger appears by itself", async () => {
    await click(21);
    return ["", await appears(page.locator("#triggers article", { hasText: "frame 21" }))];
  });
  await judge("an answer that waits appears, and goes once it is saved", async () => {
    await outside.tell({ refuse_saves: 100_000 });
    const status = await click(22);
    const entry = page.locator("#pending article", { hasText: "frame 22" });
    const [came, degraded] = [await appears(entry), await appears(page.locator("#dependencies .bad"))];
    await shot(page, "waiting");
    await outside.tell({ refuse_saves: 0 });
    const left = await goes(entry);
    return [`${status}; came ${came}, degraded ${degraded}, went ${left}`, status === 202 && came && degraded && left];
  });
  await judge("no picture unless it is switched on", async () => {
    const before = await page.locator("img").count();
    box.configure("", { thumbnails: true });
    await box.reload();
    await click(23);
    const picture = page.locator("#triggers article", { hasText: "frame 23" }).locator("img");
    const came = await appears(picture);
    const width = came ? await picture.evaluate(async (img) => (await img.decode(), img.naturalWidth)) : 0;
    await shot(page, "desk");
    return [`${before} before, then one of ${width} pixels`, before === 0 && width > 0];
  });
  await judge("readable on a phone: nothing is cut off or runs out of the page", async () => {
    const phone = await open(station, "phone");
    await phone.page.locator("#triggers article").first().waitFor();
    await shot(phone.page, "phone");
    const [wide, cut, small] = await phone.page.evaluate(() => {
      const leaves = [...document.querySelectorAll("body *")].filter((one) => one.childElementCount === 0 && one.innerText?.trim());
      const outside = leaves.filter((one) => one.getBoundingClientRect().right > innerWidth + 1);
      return [document.documentElement.scrollWidth, outside.length, Math.min(...leaves.map((one) => parseFloat(getComputedStyle(one).fontSize)))];
    });
    await phone.page.close();
    return [`${wide} pixels wide, ${cut} cut, smallest letters ${small} pixels`, wide <= SIZES.phone.width && cut === 0 && small >= 12];
  });
  await judge("the dark scheme is legible too", async () => {
    await page.emulateMedia({ colorScheme: "dark" });
    await shot(page, "dark");
    const contrast = await page.evaluate(() => {
      const light = (colour) => {
        const [r, g, b] = colour.match(/[\d.]+/g).map((part) => (part /= 255) <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const ratio = (one, two) => (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
      const paper = light(getComputedStyle(document.querySelector("section")).backgroundColor);
      return Math.min(...[...document.querySelectorAll("section .dim, section .ok, section dd")].map((one) => ratio(light(getComputedStyle(one).color), paper)));
    });
    return [`contrast at least ${contrast.toFixed(1)}`, contrast >= 4.5];
  });
  await judge("nothing is loaded from elsewhere, nothing is blocked", async () => {
    const foreign = asked.filter((url) => !url.startsWith(ADMIN + "/"));
    return [`${asked.length} requests, ${foreign.length} elsewhere; ${wrong[0] ?? "no error"}`, asked.length > 5 && foreign.length === 0 && wrong.length === 0];
  });
  await judge("it says when edgelabel does not answer", async () => {
    await page.route("**/status.json", (route) => route.abort());
    const told = await appears(page.locator("#state.bad", { hasText: "does not answer" }));
    return [await text("state"), told];
  });
  box.configure("");
  await box.reload();
  await page.close();
}
