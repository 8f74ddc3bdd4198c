// What is outside the box: the web sites whose pages call it, and the annotators' stations with their browsers.
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import http from "node:http";
import https from "node:https";
import path from "node:path";
import { chromium } from "playwright-core";
import { HOST, LAN, PORT } from "./box.mjs";

export const EDITOR = "https://app.encord.com";
const PUBLIC = "203.0.113.7";
const POLICIES = "/etc/chromium/policies/managed/test.json";

/** Serves an empty page for every name, with certificates of an authority that stands for those of the web. */
export class Web {
  static async start(folder, names) {
    const web = new Web();
    web.authority = path.join(folder, "web-ca.pem");
    const file = (name) => path.join(folder, name);
    const openssl = (...words) => execFileSync("openssl", words, { stdio: ["ignore", "ignore", "pipe"] });
    const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    openssl("req", "-x509", ...key, "-keyout", file("web-ca.key"), "-out", web.authority, "-days", "7", "-subj", "/CN=the web",
      "-addext", "basicConstraints=critical,CA:TRUE");
    web.issue = (name, hosts, authority, authorityKey) => {
      const extensions = file(`${name}.ext`);
      fs.writeFileSync(extensions, `subjectAltName=${hosts.map((host) => `DNS:${host}`).join(",")}\nextendedKeyUsage=serverAuth\n`);
      openssl("req", ...key, "-keyout", file(`${name}.key`), "-out", file(`${name}.csr`), "-subj", "/CN=site");
      openssl("x509", "-req", "-in", file(`${name}.csr`), "-CA", authority, "-CAkey", authorityKey, "-CAcreateserial",
        "-CAserial", file(`${name}.srl`), "-out", file(`${name}.pem`), "-days", "7", "-extfile", extensions);
      return { key: fs.readFileSync(file(`${name}.key`)), cert: fs.readFileSync(file(`${name}.pem`)) };
    };
    const page = (_, answer) => answer.setHeader("content-type", "text/html").end("<!doctype html><title>a page</title>");
    web.servers = [];
    web.serve = (server, port) => {
      web.servers.push(server);
      return new Promise((ready, failed) => server.once("error", failed).listen(port, PUBLIC, ready));
    };
    web.site = (identity, port) => web.serve(https.createServer(identity, page), port);
    const identity = web.issue("sites", names, web.authority, file("web-ca.key"));
    await web.site(identity, 443);
    await web.site(identity, 8444);
    await web.serve(http.createServer(page), 80);
    return web;
  }
}

/** One station: a browser with a profile and a trust store of its own. */
export class Station {
  /** Those whose browsers still run. */
  static all = [];

  /**
   * `trusts`: files of authorities in the station's store. `policy`: what its administrator has set. `http2: false` for a
   * browser that speaks only HTTP/1.1. `at`: the address that the box's name leads to. `seen`: a window on a screen.
   */
  static async open(folder, { trusts = [], policy = {}, http2 = true, at = LAN, seen = false }) {
    const station = new Station();
    station.home = fs.mkdtempSync(path.join(folder, "station-"));
    const store = path.join(station.home, ".pki/nssdb");
    fs.mkdirSync(store, { recursive: true });
    execFileSync("certutil", ["-d", `sql:${store}`, "-N", "--empty-password"]);
    trusts.forEach((file, place) => execFileSync("certutil", ["-d", `sql:${store}`, "-A", "-t", "C,,", "-n", `a${place}`, "-i", file]));
    fs.writeFileSync(POLICIES, JSON.stringify(policy));
    const quiet = ["--no-first-run", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
    station.context = await chromium.launchPersistentContext(path.join(station.home, "profile"), {
      executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
      headless: !seen,
      env: { ...process.env, HOME: station.home },
      args: ["--no-sandbox", "--disable-gpu", ...quiet, ...(http2 ? [] : ["--disable-http2"]),
        `--host-resolver-rules=MAP ${HOST} ${at}, MAP * ${PUBLIC}, EXCLUDE 127.0.0.1`],
    });
    Station.all.push(station);
    return station;
  }

  /** A page of this origin; with `permit`, the annotator has allowed it to reach the local network. */
  async page(origin, { permit = true } = {}) {
    if (permit) await this.context.grantPermissions(["local-network-access"], { origin });
    const page = await this.context.newPage();
    await page.goto(origin + "/");
    const exchanges = [];
    const devtools = await this.context.newCDPSession(page);
    await devtools.send("Network.enable");
    devtools.on("Network.requestWillBeSent", ({ request, type }) => exchanges.push({ url: request.url, method: request.method, preflight: type === "Preflight" }));
    const last = (url) => exchanges.findLast((exchange) => exchange.url === url && !exchange.preflight);
    devtools.on("Network.responseReceived", ({ response, type }) => {
      if (type !== "Preflight") Object.assign(last(response.url) ?? {}, { protocol: response.protocol });
    });
    devtools.on("Network.loadingFailed", ({ errorText, corsErrorStatus, type }) => {
      if (type === "Fetch") exchanges.push({ failure: corsErrorStatus?.corsError ?? errorText });
    });
    return new Page(page, devtools, exchanges);
  }

  async close() {
    Station.all = Station.all.filter((station) => station !== this);
    await this.context.close();
    fs.rmSync(this.home, { recursive: true, force: true, maxRetries: 10 });
  }
}

/** A page, and what the browser's own tools say of its requests. */
export class Page {
  constructor(page, devtools, exchanges) {
    Object.assign(this, { page, devtools, exchanges });
  }

  /** What the page's script gets of a `fetch`: status, body and type, or the error and the browser's reason. */
  async fetch(path, options = {}, host = HOST) {
    this.exchanges.length = 0;
    const seen = await this.page.evaluate(
      async ([url, options]) => {
        const begun = performance.now();
        const took = () => Math.round(performance.now() - begun);
        try {
          const answer = await fetch(url, options);
          return { status: answer.status, body: await answer.text(), type: answer.headers.get("content-type"), kind: answer.type, took: took() };
        } catch (error) {
          return { error: String(error), took: took() };
        }
      },
      [`https://${host}:${PORT}${path}`, { method: "POST", ...options }],
    );
    // The tools report a moment later than the script.
    for (let tries = 0; tries < 400; tries++) {
      seen.reason = this.exchanges.find((exchange) => exchange.failure)?.failure;
      seen.protocol = this.exchanges.find((exchange) => exchange.protocol)?.protocol;
      if (seen.error ? seen.reason : seen.protocol) break;
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    seen.preflights = this.exchanges.filter((exchange) => exchange.preflight).length;
    return seen;
  }

  /** Forgets preflights and answers. */
  async forget() {
    await this.devtools.send("Network.clearBrowserCache");
  }

  permission(name) {
    return this.page.evaluate(async (name) => (await navigator.permissions.query({ name })).state, name);
  }
}

/** Presses the keys of a person who reaches for a button of the browser's own prompt. */
export async function press(...keys) {
  for (const key of keys) {
    execFileSync("xdotool", ["key", key]);
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
}
