// The box: the real daemon with a certificate of its own authority, against the emulated Encord and the stand-in model.
import { execFileSync, spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import readline from "node:readline";

export const HOST = "label-box.local";
export const LAN = "192.168.77.10";
export const PORT = 8443;
export const SECRET = "whsec_of_the_browser_test";
export const ADMIN = "http://127.0.0.1:9464";

/** The emulators: one line of JSON in, one out. */
export class Outside {
  static async start(folder) {
    const outside = new Outside();
    outside.child = spawn(process.env.EDGELABEL_EMULATOR, ["--folder", folder], { stdio: ["pipe", "pipe", "inherit"] });
    outside.lines = readline.createInterface({ input: outside.child.stdout })[Symbol.asyncIterator]();
    outside.about = await outside.#line();
    return outside;
  }

  async #line() {
    const { value, done } = await this.lines.next();
    if (done) throw new Error("the emulator has ended");
    return JSON.parse(value);
  }

  async tell(command) {
    this.child.stdin.write(JSON.stringify(command) + "\n");
    const answer = await this.#line();
    if (answer.error) throw new Error(`the emulator refuses ${JSON.stringify(command)}: ${answer.error}`);
    return answer;
  }

  async calls() {
    return (await this.tell({ calls: true })).calls.length;
  }

  stop() {
    this.child.kill("SIGKILL");
  }
}

/** The daemon. */
export class Box {
  static async start(folder, outside) {
    const box = new Box();
    box.folder = folder;
    box.log = path.join(folder, "daemon.log");
    fs.writeFileSync(path.join(folder, "webhook"), SECRET + "\n", { mode: 0o600 });
    fs.writeFileSync(path.join(folder, "model_key"), "sk-none\n", { mode: 0o600 });
    box.outside = outside;
    box.configure("");
    box.command("cert", "init", "--name", HOST, "--ip", LAN);
    const log = fs.openSync(box.log, "a");
    box.child = spawn(process.env.EDGELABEL_BIN, ["run", "--config", box.config], { stdio: ["ignore", log, log] });
    await box.#until("ready", async () => (await fetch(`${ADMIN}/ready`)).status === 200);
    return box;
  }

  /** Writes the configuration; `limits` are lines of [server.limits]. */
  configure(limits, { thumbnails = false } = {}) {
    const { encord_domain, model_base_url, ssh_key_file } = this.outside.about;
    this.config = path.join(this.folder, "config.toml");
    const agent = (path, title, more = "") => `[[agent]]\npath = "${path}"\nclassification = ["${title}"]\n${more}\n`;
    fs.writeFileSync(
      this.config,
      `[server]
listen = ["${LAN}:${PORT}", "127.0.0.1:${PORT}"]
request_budget = "8s"
max_concurrent_triggers = 1
max_waiting_triggers = 1
webhook_secret_file = "webhook"
[server.limits]
${limits}
[encord]
domain = "${encord_domain}"
ssh_key_file = "${ssh_key_file}"
[model]
base_url = "${model_base_url}"
name = "stand-in"
api_key_file = "model_key"
[media]
cache_dir = "cache"
[journal]
path = "journal.db"
retry_max = "2s"
[admin]
thumbnails = ${thumbnails}
` +
        agent("/", "Scene description") +
        agent("/summary", "Scene description", 'reply = "summary"') +
        agent("/keep", "Scene description", 'existing = "keep"') +
        agent("/fail", "Scene description", 'existing = "fail"') +
        agent("/nothing", "No such classification"),
    );
  }

  /** Takes the configuration as it is now, and waits until it is in force. */
  async reload() {
    const before = this.#count("the new configuration is in force");
    this.child.kill("SIGHUP");
    await this.#until("reloaded", async () => this.#count("the new configuration is in force") > before);
  }

  command(...words) {
    return execFileSync(process.env.EDGELABEL_BIN, [...words, "--config", this.config], { encoding: "utf8" });
  }

  get authority() {
    return path.join(this.folder, "certs/ca.pem");
  }

  says(words) {
    return this.#count(words) > 0;
  }

  #count(words) {
    return fs.readFileSync(this.log, "utf8").split(words).length - 1;
  }

  /** One value of /metrics. */
  async metric(name) {
    const page = await (await fetch(`${ADMIN}/metrics`)).text();
    const line = page.split("\n").find((line) => line.startsWith(name + " "));
    if (!line) throw new Error(`no metric ${name}`);
    return Number(line.slice(name.length + 1));
  }

  answered(status) {
    return this.metric(`edgelabel_http_answers_total{status="${status}"}`);
  }

  async status() {
    return (await fetch(`${ADMIN}/status.json`)).json();
  }

  async #until(what, done) {
    for (let tries = 0; tries < 300; tries++) {
      if (this.child.exitCode !== null) throw new Error(`the daemon has ended:\n${fs.readFileSync(this.log, "utf8")}`);
      if (await done().catch(() => false)) return;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    throw new Error(`the daemon is not ${what} after 30 s:\n${fs.readFileSync(this.log, "utf8")}`);
  }

  stop() {
    this.child.kill("SIGKILL");
  }
}
