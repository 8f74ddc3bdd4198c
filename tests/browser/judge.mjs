// Runs all cases and prints the table.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { Box, HOST, Outside, PORT } from "./box.mjs";
import { statuses } from "./cases.mjs";
import { EDITOR, Station, Web, press } from "./stations.mjs";
import { statusPage } from "./status.mjs";

const LATE = 40_000;
const STRANGERS = [
  "https://app.encord.com.evil.example",
  "https://xapp.encord.com",
  "https://appxencord.com",
  "https://app.encord.com:8444",
  "https://app.eu.encord.com",
  "https://cord-ai-development--a-bxwebxapp.example",
  "https://evil.example",
];
const FRIENDS = [
  "https://app.us.encord.com",
  "https://staging.encord.com",
  "https://dev.us.encord.com",
  "https://cord-ai-development--pr12-x1.web.app",
];
const TEST = { headers: { "Content-Type": "application/json", "X-Encord-Agent": "test" }, body: "{}" };

/** What Chromium says of a request that the person, or a policy, does not let into the local network. */
const DENIED = "LocalNetworkAccessPermissionDenied";

const rows = [];
/** One row of the table: what was seen, and whether it was right. */
function row(group, name, seen, right) {
  rows.push(right);
  console.log(`${right ? "ok  " : "FAIL"}  ${group.padEnd(9)} ${name.padEnd(52)} ${seen}`);
}
/** A row that fails with the error if the case breaks off. */
async function attempt(group, name, judge) {
  try {
    await judge();
  } catch (error) {
    row(group, name, String(error).split("\n")[0], false);
  }
}
const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
/** Waits until it is so; a busy machine may take its time, and what does not come about is for the row to tell. */
async function until(what, is) {
  for (let tries = 0; tries < 200; tries++) {
    if (await is()) return;
    await sleep(100);
  }
  console.log(`      not ${what} after 20 s`);
}
const short = (seen) => (seen.error ? `${seen.error.replace("TypeError: ", "")} (${seen.reason})` : `${seen.status} ${seen.body.slice(0, 70) || "(empty)"}`);
const isNull = (seen) => seen.status === 200 && seen.body === "null";

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "edgelabel-browser-"));
const outside = await Outside.start(folder);
const names = [EDITOR, ...FRIENDS, ...STRANGERS].map((origin) => new URL(origin).hostname);
const web = await Web.start(folder, [...new Set(names)]);
const box = await Box.start(folder, outside);
const trusting = { trusts: [web.authority, box.authority] };

try {
  await refusedAtThePrompt();
  const late = lateAtThePrompt();
  await conversation("HTTP/2", true);
  await conversation("HTTP/1.1", false);
  await origins();
  await untrusted();
  await onTheBoxItself();
  await denied();
  await newCertificate();
  await late;
  await byPolicy();
  await status();
  await tooMany();
} finally {
  box.stop();
  outside.stop();
  await Promise.all(Station.all.map((station) => station.close()));
  fs.rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
}
const failed = rows.filter((right) => !right).length;
console.log(`browser: ${rows.length - failed} passed, ${failed} failed`);
process.exit(failed === 0 && rows.length > 0 ? 0 : 1);

/** Preflights, then every status of the table. */
async function conversation(group, http2) {
  const station = await Station.open(folder, { ...trusting, http2 });
  const page = await station.page(EDITOR);
  const protocol = http2 ? "h2" : "http/1.1";

  await attempt(group, "preflight, then the request", async () => {
    const before = await box.answered(204);
    const seen = await page.fetch("/", TEST);
    const asked = (await box.answered(204)) - before;
    row(group, "preflight, then the request", `${asked} preflight, ${short(seen)}, ${seen.protocol}`, asked === 1 && isNull(seen) && seen.protocol === protocol);
  });
  await attempt(group, "the preflight is remembered", async () => {
    const before = await box.answered(204);
    const seen = await page.fetch("/", TEST);
    const asked = (await box.answered(204)) - before;
    row(group, "the preflight is remembered", `${asked} preflights, ${short(seen)}`, asked === 0 && isNull(seen));
  });
  await outside.tell({ reset: true });
  for (const case_ of statuses(outside.about)) {
    await attempt(group, case_.name, () => oneStatus(group, page, protocol, case_));
    await outside.tell({ heal: true });
    await outside.tell({ thinking_ms: 0 });
  }
  await attempt(group, "the box knows that a browser has called", async () => {
    const call = (await box.status()).last_browser_call;
    row(group, "the box knows that a browser has called", JSON.stringify(call), call?.origin === EDITOR);
  });
  await station.close();
}

async function oneStatus(group, page, protocol, { name, status, says, sent, before = [], meanwhile = [], fresh }) {
  for (const command of before) await outside.tell(command);
  const { path, ...options } = sent;
  if (fresh) options.body = options.body.replace("image 2", await freshImage());
  // The box is busy with these; the page waits for none of them.
  const busy = meanwhile.map((body) => page.page.evaluate(
    ([url, body]) => fetch(url, { method: "POST", headers: { "Content-Type": "application/json" }, body }).then((answer) => answer.status),
    [`https://${HOST}:${PORT}/`, body],
  ));
  await until("busy", async () => {
    const { running, waiting } = await box.status();
    return running + waiting >= busy.length;
  });
  const seen = await page.fetch(path, options);
  await Promise.all(busy);
  const spoken = { nothing: () => seen.body === "", null: () => seen.body === "null" }[says] ?? (() => isMessage(seen, says));
  row(group, name, short(seen), seen.status === status && spoken() && seen.protocol === protocol && seen.kind === "cors");
}

function isMessage(seen, words) {
  const { message } = JSON.parse(seen.body);
  return seen.type === "application/json" && message.length <= 256 && message.toLowerCase().includes(words.toLowerCase()) && / request [0-9a-f]{12}$/.test(message);
}

/** An item that the box has not looked at yet. */
async function freshImage() {
  const file = path.join(folder, "dot.png");
  fs.writeFileSync(file, Buffer.from("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==", "base64"));
  return (await outside.tell({ add_image: file })).data;
}

async function origins() {
  const station = await Station.open(folder, trusting);
  for (const origin of FRIENDS) {
    await attempt("origin", origin, async () => {
      const seen = await (await station.page(origin)).fetch("/", TEST);
      row("origin", origin, short(seen), isNull(seen));
    });
  }
  for (const origin of STRANGERS) {
    await attempt("origin", `refused: ${origin}`, async () => {
      const page = await station.page(origin);
      const before = { refused: await box.answered(403), calls: await outside.calls() };
      const seen = await page.fetch("/", TEST);
      // A request that needs no preflight reaches the box; it must start nothing there.
      const sly = await page.fetch("/", { mode: "no-cors", headers: { "Content-Type": "text/plain" }, body: JSON.stringify({ projectHash: outside.about.project, dataHash: outside.about.image }) });
      const refused = (await box.answered(403)) - before.refused;
      const quiet = (await outside.calls()) === before.calls;
      row("origin", `refused: ${origin}`, `${short(seen)}; ${refused} refusals`, Boolean(seen.error) && !sly.body && refused === 2 && quiet);
    });
  }
  await attempt("origin", "refused: http://app.encord.com", async () => {
    const seen = await (await station.page("http://app.encord.com", { permit: false })).fetch("/", TEST);
    row("origin", "refused: http://app.encord.com", short(seen), seen.reason === "InsecureLocalNetwork");
  });
  row("origin", "the log names the key that would allow an origin", "", box.says("server.allowed_origins"));
  await station.close();
}

/** A station that has not been told to trust the box. */
async function untrusted() {
  const station = await Station.open(folder, { trusts: [web.authority] });
  const page = await station.page(EDITOR);
  await attempt("trust", "without the box's authority", async () => {
    const seen = await page.fetch("/", TEST);
    row("trust", "without the box's authority", short(seen), seen.reason === "net::ERR_CERT_AUTHORITY_INVALID");
    await until("told so in the log", () => box.says("does not trust this box's certificate"));
    row("trust", "the log says that a caller does not trust the box", "", box.says("does not trust this box's certificate"));
  });
  await station.close();
  // Whoever steals the box's authority cannot play the rest of the web with it.
  await attempt("trust", "the box's authority cannot vouch for the web", async () => {
    const stolen = web.issue("stolen", ["app.encord.com"], box.authority, path.join(folder, "certs/ca.key"));
    await web.site({ key: stolen.key, cert: stolen.cert }, 9443);
    const victim = await Station.open(folder, trusting);
    const page = await victim.context.newPage();
    const reason = await page.goto("https://app.encord.com:9443/").then(() => "the page was shown", (error) => error.message.match(/net::\w+/)?.[0]);
    row("trust", "the box's authority cannot vouch for the web", reason, /^net::ERR_CERT_/.test(reason));
    await victim.close();
  });
}

/** The editor runs on the box: its address is loopback, a class of its own. */
async function onTheBoxItself() {
  const station = await Station.open(folder, { ...trusting, at: "127.0.0.1" });
  await attempt("network", "allowed, address 127.0.0.1", async () => {
    const seen = await (await station.page(EDITOR)).fetch("/", TEST);
    row("network", "allowed, address 127.0.0.1", short(seen), isNull(seen));
  });
  await station.close();
}

/** An annotator who has refused once is not asked again. */
async function denied() {
  const station = await Station.open(folder, trusting);
  await attempt("network", "denied before", async () => {
    const page = await station.page(EDITOR, { permit: false });
    for (const name of ["local-network-access", "local-network"]) {
      await page.devtools.send("Browser.setPermission", { permission: { name }, setting: "denied", origin: EDITOR });
    }
    const before = await box.answered(204);
    const seen = await page.fetch("/", TEST);
    row("network", "denied before", short(seen), seen.reason === DENIED && (await box.answered(204)) === before);
  });
  await station.close();
}

/** Nothing outside the browser tells when its prompt is on the screen: on a busy machine the keys may come too early. */
async function pressUntil(answer, ...keys) {
  for (let tries = 0; tries < 3; tries++) {
    await sleep(4000);
    await press(...keys);
    if (await Promise.race([answer.then(() => true), sleep(8000)])) return;
  }
}

/** The prompt is on the screen, and the person presses Block. */
async function refusedAtThePrompt() {
  const station = await Station.open(folder, { ...trusting, seen: true });
  await attempt("network", "prompt: Block", async () => {
    const page = await station.page(EDITOR, { permit: false });
    const answer = page.fetch("/", TEST);
    await pressUntil(answer, "Tab", "Tab", "Return");
    const seen = await answer;
    const state = await page.permission("local-network");
    row("network", "prompt: Block", `${short(seen)}, permission ${state}`, seen.reason === DENIED && state === "denied");
  });
  await station.close();
}

/** The person reads the prompt for 40 s and presses Allow: the connection that was opened before must still be there. */
async function lateAtThePrompt() {
  const station = await Station.open(folder, { ...trusting, seen: true });
  const name = `prompt: Allow after ${LATE / 1000} s`;
  await attempt("network", name, async () => {
    const page = await station.page(EDITOR, { permit: false });
    const answer = page.fetch("/", TEST);
    await sleep(LATE);
    await press("Tab", "Tab", "Tab", "Return");
    const seen = await Promise.race([answer, sleep(10_000).then(() => ({ error: "no answer 10 s after Allow", reason: "" }))]);
    row("network", name, `${short(seen)} after ${seen.took} ms`, isNull(seen) && seen.took > LATE);
  });
  await station.close();
}

/** A renewed certificate needs nothing at the station, and no restart of the box. */
async function newCertificate() {
  const station = await Station.open(folder, trusting);
  const name = "a renewed certificate is served without a restart";
  await attempt("trust", name, async () => {
    const page = await station.page(EDITOR);
    const first = await page.fetch("/", TEST);
    const before = (await box.status()).certificate.sha256;
    box.command("cert", "renew");
    await until("at its new certificate", async () => (await box.status()).certificate.sha256 !== before);
    const fresh = await Station.open(folder, trusting);
    const second = await (await fresh.page(EDITOR)).fetch("/", TEST);
    const after = (await box.status()).certificate.sha256;
    const old = await page.fetch("/", TEST);
    await fresh.close();
    row("trust", name, `${short(second)}; the old connection: ${short(old)}`, before !== after && [first, second, old].every(isNull));
  });
  await station.close();
}

/** An administrator's policy gives both trust and permission: what `doctor` prints is what the browser takes. */
async function byPolicy() {
  const name = "policies as printed by doctor";
  await attempt("network", name, async () => {
    const report = JSON.parse(doctor());
    const text = report.checks.find((check) => check.name === "browsers: Chrome and Edge").detail;
    const policy = JSON.parse(text.split("\n").find((line) => line.startsWith("{")));
    const station = await Station.open(folder, { trusts: [web.authority], policy });
    const page = await station.page(EDITOR, { permit: false });
    const seen = await page.fetch("/", TEST);
    row("network", name, `${Object.keys(policy).join(", ")}: ${short(seen)}`, isNull(seen));
    await station.close();
  });
}

function doctor() {
  try {
    return box.command("doctor", "--json");
  } catch (error) {
    // Something else on this machine may be unwell; the report is there all the same.
    return error.stdout;
  }
}

/** The page of the admin address, after a call from the editor's page. */
async function status() {
  const station = await Station.open(folder, trusting);
  const editor = await station.page(EDITOR);
  const body = (frame) => JSON.stringify({ projectHash: outside.about.project, dataHash: outside.about.video, frame });
  const click = async (frame) => (await editor.fetch("/", { headers: { "Content-Type": "application/json" }, body: body(frame) })).status;
  await outside.tell({ reset: true });
  await statusPage({ box, outside, station, click, row, attempt });
  await station.close();
}

/** A limit on triggers is explained to the page too. */
async function tooMany() {
  const station = await Station.open(folder, trusting);
  await attempt("HTTP/2", "too many triggers from one address", async () => {
    const page = await station.page(EDITOR);
    box.configure("triggers_per_address = 1");
    await box.reload();
    const click = { headers: { "Content-Type": "application/json" }, body: JSON.stringify({ projectHash: outside.about.project, dataHash: outside.about.image, frame: 0 }) };
    await page.fetch("/", click);
    const seen = await page.fetch("/", click);
    row("HTTP/2", "too many triggers from one address", short(seen), seen.status === 429 && isMessage(seen, "too many"));
  });
  await station.close();
}
