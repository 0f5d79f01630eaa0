// Posts a recording, receives the webhook, checks its signature, and prints the dialogue.
//
//     WEBHOOK_SECRET=whsec_... node callscribe.mjs call.wav crm-48151
//
// It needs Node 18 and nothing else. ../README.md describes the environment variables.

import { createHmac, timingSafeEqual } from "node:crypto";
import { EventEmitter, once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { basename } from "node:path";
import { buffer } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";

const { API_URL = "http://127.0.0.1:8000", API_KEY, PORT = "9000", WEBHOOK_SECRET } = process.env;
const { WEBHOOK_URL = `http://127.0.0.1:${PORT}/` } = process.env;
const TOLERANCE_SECONDS = 300;
const PATIENCE_SECONDS = 600;
const TRIES = 6;
const BUSY = [429, 503, 507];

/** The message says why there is no dialogue. */
class CallFailed extends Error {}

/** Whether a webhook is genuine and fresh. `body` is a Buffer with the bytes as they were received. */
function verify(secret, headers, body, now) {
  const { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signatures = "" } = headers;
  if (!/^\d+$/.test(timestamp) || Math.abs(now - Number(timestamp)) > TOLERANCE_SECONDS) return false;
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  const digest = createHmac("sha256", key).update(`${id}.${timestamp}.`).update(body).digest("base64");
  const expected = Buffer.from(`v1,${digest}`);
  return signatures.split(" ").map((given) => Buffer.from(given))
    .some((given) => given.length === expected.length && timingSafeEqual(given, expected));
}

/** Answers webhooks. It only passes the event on, because the service expects an answer within 15 seconds. */
function receive(events) {
  return createServer(async (request, response) => {
    const body = await buffer(request);
    const genuine = verify(WEBHOOK_SECRET, request.headers, body, Date.now() / 1000);
    response.writeHead(genuine ? 204 : 401).end();
    if (genuine) events.emit("event", JSON.parse(body));
  });
}

/** Sends a request until the service has time for it. Returns the JSON of the answer. */
async function send(url, options = {}) {
  const headers = { ...(API_KEY && { Authorization: `Bearer ${API_KEY}` }), ...options.headers };
  for (let tries = 0; tries < TRIES; tries++) {
    let answer;
    try {
      answer = await fetch(url, { ...options, headers });
    } catch (error) { // the key makes it safe to repeat the request
      console.error(`${API_URL}: ${error.cause?.message ?? error.message}`);
      await sleep(2000);
      continue;
    }
    if (answer.ok) return answer.json();
    if (!BUSY.includes(answer.status)) throw new CallFailed(await problem(answer));
    console.error(`The service is busy (${answer.status}).`);
    await sleep(Number(answer.headers.get("Retry-After") ?? 5) * 1000);
  }
  throw new CallFailed(`The service did not accept the request in ${TRIES} tries.`);
}

/** Returns an RFC 9457 problem in words. A proxy may answer with something else. */
async function problem(answer) {
  if (!answer.headers.get("Content-Type")?.startsWith("application/problem+json")) return `The service answered ${answer.status}.`;
  const { code, detail, errors = [] } = await answer.json();
  return [`${code}: ${detail}`, ...errors.map((error) => `  ${error.field}: ${error.detail}`)].join("\n");
}

/** Posts a recording. The call's id is the idempotency key, so that one call never becomes two jobs. */
async function post(recording, callId) {
  const form = new FormData();
  form.append("channels", "split");
  form.append("channel_labels", "agent");
  form.append("channel_labels", "customer");
  form.append("external_id", callId);
  form.append("webhook_url", WEBHOOK_URL);
  form.append("file", new Blob([await readFile(recording)]), basename(recording));
  const headers = { "Idempotency-Key": encodeURIComponent(callId) }; // a header is in ASCII
  return send(`${API_URL}/v1/transcriptions`, { method: "POST", body: form, headers });
}

/** Resolves with the job when its webhook has arrived, or immediately if an earlier run of this program posted it. */
async function transcribed(recording, callId, events) {
  const arrived = new Map();
  events.on("event", ({ data }) => arrived.set(data.id, data));
  const job = await post(recording, callId);
  if (!["pending", "in_progress"].includes(job.status)) return job;
  const signal = AbortSignal.timeout(PATIENCE_SECONDS * 1000);
  while (!arrived.has(job.id)) {
    await once(events, "event", { signal }).catch(() => {
      throw new CallFailed(`No webhook arrived within ${PATIENCE_SECONDS} seconds.`);
    });
  }
  return arrived.get(job.id);
}

async function main([recording, callId]) {
  if (!callId || !WEBHOOK_SECRET) {
    console.error("usage: WEBHOOK_SECRET=whsec_... node callscribe.mjs RECORDING CALL_ID");
    return 2;
  }
  const events = new EventEmitter();
  const server = receive(events).listen(Number(PORT));
  try {
    await once(server, "listening");
    const job = await transcribed(recording, callId, events);
    if (job.status !== "completed") throw new CallFailed(`The transcription is ${job.status}: ${job.error?.message}`);
    const { turns } = await send(new URL(job.links.transcript, API_URL));
    for (const { start, speaker, text } of turns) {
      const time = new Date(start * 1000).toISOString().slice(14, 19);
      console.log(`[${time}] ${speaker ?? "Unknown"}: ${text}`);
    }
    return 0;
  } catch (error) {
    console.error(error.message);
    return 1;
  } finally {
    server.close();
  }
}

process.exitCode = await main(process.argv.slice(2));
