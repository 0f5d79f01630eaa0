// The recordings that this tab sends to the service: a few at the same time, each by a request of its own. It does not know
// the page's elements. It goes on while the reader looks at a call.

import { Problem, create, pause } from "./api.js";

const AT_THE_SAME_TIME = 2;
const DELAY_SECONDS = 5; // if the service is busy and does not say for how long
const AT_WORK = ["waiting", "sending", "delayed"];
const AGAIN = [0, 401, 408, 429];
const UNCHANGEABLE = ["url", "file"]; // fields that no option of the page changes

// Each is {source, name, state, done, problem, job}. The source is a File, or a URL as text. The state is "chosen", then
// "waiting", "sending" or "delayed", and at the end "added" or "refused".
export const uploads = [];
export const ownRecordings = new Map(); // job id → the file that this tab posted
const listeners = [];
let running = 0;

export const whenUploadsChange = (listener) => listeners.push(listener);
export const atWork = () => uploads.filter((upload) => AT_WORK.includes(upload.state));
export const chosen = () => uploads.filter((upload) => upload.state === "chosen");

function change(upload, values) {
  Object.assign(upload, values);
  for (const listener of listeners) listener(upload);
}

// Puts a recording on the list, unless it is there already and not sent yet.
export function choose(source) {
  if (chosen().some((other) => sameAs(other.source, source))) return;
  const upload = { source, name: nameOfSource(source), key: newKey(), stopped: new AbortController() };
  uploads.push(upload);
  change(upload, { state: "chosen", done: 0, problem: null, job: null });
}

const sameAs = (one, other) => one === other
  || (one instanceof File && other instanceof File
    && one.name === other.name && one.size === other.size && one.lastModified === other.lastModified);

function nameOfSource(source) {
  return source instanceof File ? source.name : source;
}

// `crypto.randomUUID` is missing where the page has no TLS.
const newKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

// Sends a recording as soon as fewer than `AT_THE_SAME_TIME` others are sent. `makeBody` returns a promise of the request's
// body. If the answer is lost, the next try repeats body and key, so that the service makes no second job.
export function send(upload, makeBody) {
  const isRefused = upload.problem !== null && upload.problem.status === 422;
  if (isRefused) Object.assign(upload, { key: newKey(), body: null });
  upload.makeBody = makeBody;
  change(upload, { state: "waiting", done: 0, problem: null });
  startNext();
}

// Whether the same recording may be accepted later, or with other options.
export function canTryAgain({ problem }) {
  if (problem === null) return false;
  if (problem.code === "invalid_request") return !problem.errors.some(({ field }) => UNCHANGEABLE.includes(field));
  return problem.code === "idempotency_key_reused" || AGAIN.includes(problem.status) || problem.status >= 500;
}

// Takes a recording off the list. If it is being sent, this ends the upload.
export function remove(upload) {
  upload.stopped.abort();
  uploads.splice(uploads.indexOf(upload), 1);
  change(upload, { state: "removed" });
  startNext();
}

function startNext() {
  while (running < AT_THE_SAME_TIME) {
    const next = uploads.find((upload) => upload.state === "waiting");
    if (!next) return;
    running += 1;
    change(next, { state: "sending" });
    run(next).finally(() => {
      running -= 1;
      startNext();
    });
  }
}

async function run(upload) {
  const { signal } = upload.stopped;
  try {
    upload.body ??= await upload.makeBody();
    const job = await withPatience(upload, signal);
    if (upload.source instanceof File) ownRecordings.set(job.id, upload.source);
    change(upload, { state: "added", job, body: null });
  } catch (error) {
    if (!signal.aborted) change(upload, { state: "refused", problem: await explained(error, upload.source) });
  }
}

// Posts the recording. While the queue is full or the service is busy, it waits as long as the service asks, and tries again.
async function withPatience(upload, signal) {
  for (;;) {
    try {
      const onProgress = (done) => signal.aborted || change(upload, { state: "sending", done });
      return await create(upload.body, upload.key, onProgress, signal);
    } catch (error) {
      if (error.status !== 429 && error.status !== 503) throw error;
      const delay = error.retryAfter ?? DELAY_SECONDS;
      change(upload, { state: "delayed", problem: error, delay });
      await pause(delay, signal);
      change(upload, { state: "sending", done: 0, problem: null });
    }
  }
}

// A browser reports a file that it cannot read in the same way as a service that it cannot reach.
async function explained(error, source) {
  if (error.status !== 0 || !(source instanceof File)) return error;
  try {
    await source.slice(0, 1).arrayBuffer();
    return error;
  } catch {
    const detail = "It may be a folder, or it was moved or changed after you chose it. Choose it again.";
    return new Problem({ title: "Your browser cannot read this file", detail, status: 0, code: "unreadable" });
  }
}
