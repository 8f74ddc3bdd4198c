// The table of statuses as the page sees it: what is sent, what must have gone wrong before, what the script can read.
import { createHmac } from "node:crypto";
import { SECRET } from "./box.mjs";

const json = { "Content-Type": "application/json" };

/** What Encord's backend would put on a request. */
function signature(body, secret = SECRET) {
  const timestamp = String(Math.floor(Date.now() / 1000));
  const hmac = createHmac("sha256", secret).update(`${timestamp}.${body}`).digest("hex");
  return { "X-Encord-Signature": hmac, "X-Encord-Timestamp": timestamp };
}

/**
 * Every case: a name, the status, what is sent (`path`, `body`, `headers`, `method`), and, where something else must go
 * wrong for it, `before` (commands to the emulators) and `meanwhile` (a click that occupies the box).
 * `says`: `nothing`, `null`, or words of the message.
 */
export function statuses({ project, image, video }) {
  const click = (frame = 0, data = image) => JSON.stringify({ projectHash: project, dataHash: data, frame, objectHashes: [] });
  const case_ = (name, status, says, sent, around = {}) => ({ name, status, says, sent: { path: "/", body: click(), headers: json, ...sent }, ...around });
  const event = JSON.stringify({ uid: "u", version: 2, event_type: "agent_stage_work_available_event", payload: {} });
  return [
    case_("saved", 200, "nothing", {}),
    case_("saved, with a summary", 200, "saved", { path: "/summary", body: click(3, video) }),
    case_("kept: the frame has an answer", 200, "nothing", { path: "/keep" }),
    case_("test request, X-Encord-Editor-Agent", 200, "null", { headers: { ...json, "X-Encord-Editor-Agent": "test" } }),
    case_("test request, X-Encord-Agent", 200, "null", { headers: { ...json, "X-Encord-Agent": "test" } }),
    case_("signed, with a trace", 200, "nothing", { headers: { ...json, ...signature(click()), "X-Cloud-Trace-Context": "1234/5;o=1" } }),
    case_("Encord cannot save: kept for later", 202, "saved", { body: click(5, video) }, { before: [{ fail: "SaveRow", status: 503 }] }),
    case_("body is not JSON", 400, "JSON", { body: "{" }),
    case_("a wrong field", 400, "frame", { body: click(-1) }),
    case_("wrong signature", 401, "not authorised", { headers: { ...json, ...signature(click(), "guessed") } }),
    case_("Encord refuses the key", 403, "Encord", { body: click(6, video) }, { before: [{ fail: "GetRow", status: 403, body: '{"status":403,"response":["AUTHORISATION_ERROR"]}' }] }),
    case_("no such path", 404, "nothing at this address", { path: "/nowhere" }),
    case_("item of no project", 404, "", { body: click(0, "00000000-0000-4000-8000-000000000000") }),
    case_("method", 405, "POST", { method: "GET", body: undefined, headers: {} }),
    case_("large body", 413, "65536", { body: "x".repeat(70_000) }),
    case_("very large body", 413, "65536", { body: "x".repeat(3_000_000) }),
    case_("long path", 414, "path", { path: "/" + "x".repeat(3000) }),
    case_("media type", 415, "application/json", { headers: { "Content-Type": "text/plain" } }),
    case_("frame beyond the end", 422, "frame", { body: click(999, video) }),
    case_("no such classification", 422, "classification", { path: "/nothing" }),
    case_("existing = \"fail\"", 422, "", { path: "/fail" }),
    case_("large header", 431, "headers", { headers: { ...json, "X-Cloud-Trace-Context": "x".repeat(20_000) } }),
    case_("newer notification", 501, "update", { body: event, headers: { ...json, ...signature(event) } }),
    case_("model answers wrongly", 502, "model", { body: click(7, video) }, { before: [{ fail: "Model", status: 500, body: "boom" }] }),
    case_("media store answers wrongly", 502, "", { body: click(0, "image 2") }, { before: [{ fail: "Media", status: 404 }], fresh: true }),
    case_("too many triggers wait", 503, "too many triggers", { body: click(8, video) }, { before: [{ thinking_ms: 3000 }], meanwhile: [click(9, video), click(10, video)] }),
    case_("the budget runs out", 504, "", { body: click(11, video) }, { before: [{ thinking_ms: 12_000 }] }),
  ];
}
