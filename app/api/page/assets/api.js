// The only file that calls the service's HTTP API. It keeps the API key, if there is one, in this tab's sessionStorage.
// All addresses are relative to the page, so that the service may stand behind a path prefix.

const KEY = "callscribe.key";
const RETRY_SECONDS = 2;
const WAIT_SECONDS = 3;
const LATER_WAIT_SECONDS = 10; // because each request is a log line
const SHORT_WAITS = 10;
const HIDDEN_WAIT_SECONDS = 30;
const TRANSIENT = [0, 429, 503];

let askForKey = async () => false;
let asking = null;
let wasRefused = false; // whether the service has refused a request for want of a valid key

export class Problem extends Error {
  constructor({ title, detail, status, code, request_id: requestId, errors = [] }, retryAfter = null) {
    super(title);
    Object.assign(this, { title, detail, status, code, requestId, errors, retryAfter });
  }

  // `header` returns the value of one of the answer's headers, or null.
  static of(status, text, header) {
    const retryAfter = Number.parseInt(header("Retry-After"), 10) || null;
    try {
      return new Problem(JSON.parse(text), retryAfter);
    } catch {
      const detail = `The HTTP status was ${status}.`;
      const requestId = header("X-Request-ID");
      return new Problem({ title: "The service sent an answer that this page does not understand", detail, status, request_id: requestId }, retryAfter);
    }
  }

  static unreachable() {
    return new Problem({ title: "The service cannot be reached", detail: "Check your connection, then try again.", status: 0 });
  }

  // Whether the same request may succeed later, although nothing about it has changed.
  get isTransient() {
    return TRANSIENT.includes(this.status);
  }
}

export const storedKey = () => sessionStorage.getItem(KEY);
export const useKey = (key) => sessionStorage.setItem(KEY, key);
export const needsKey = () => wasRefused || storedKey() !== null;
export const forgetKey = () => sessionStorage.removeItem(KEY);

// Sets the function that asks the reader for a key. `ask` gets true if the service has refused a key. Its promise resolves to
// true if the reader has entered a new one.
export function whenKeyIsNeeded(ask) {
  askForKey = ask;
}

async function hasNewKey(refused) {
  if (storedKey() !== null && storedKey() !== refused) return true;
  forgetKey();
  asking ??= askForKey(refused !== null).finally(() => (asking = null));
  return asking;
}

async function withKey(request) {
  for (;;) {
    const key = storedKey();
    try {
      return await request(key === null ? {} : { Authorization: `Bearer ${key}` });
    } catch (error) {
      if (error.status !== 401) throw error;
      wasRefused = true;
      if (!(await hasNewKey(key))) throw error;
    }
  }
}

export const pathOf = (id) => `v1/transcriptions/${encodeURIComponent(id)}`;

// `body` is JSON text, or undefined.
export function call(path, { method = "GET", body, signal, headers = {} } = {}) {
  const type = body === undefined ? {} : { "Content-Type": "application/json" };
  return withKey(async (key) => {
    const response = await fetch(path, { method, body, signal, headers: { ...headers, ...key, ...type } }).catch((error) => {
      throw error.name === "AbortError" ? error : Problem.unreachable();
    });
    if (response.ok) return response;
    throw Problem.of(response.status, await response.text(), (name) => response.headers.get(name));
  });
}

export const read = async (path, signal) => (await call(path, { signal })).json();

// Posts a recording and returns its job. `body` is a FormData with the file, or JSON text with its URL.
export function create(body, idempotencyKey, onProgress, signal) {
  const type = typeof body === "string" ? { "Content-Type": "application/json" } : {};
  return withKey((key) => new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const request = new XMLHttpRequest(); // because `fetch` does not report the progress of an upload
    request.open("POST", "v1/transcriptions");
    const headers = { ...key, ...type, "Idempotency-Key": idempotencyKey };
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => onProgress(event.loaded / event.total);
    request.onload = () => request.status >= 200 && request.status < 300
      ? resolve(JSON.parse(request.responseText))
      : reject(Problem.of(request.status, request.responseText, (name) => request.getResponseHeader(name)));
    request.onerror = () => reject(Problem.unreachable());
    request.onabort = () => reject(new DOMException("", "AbortError"));
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.send(body);
  }));
}

// Reads a job again and again, and yields it each time, until its status is final. If the service cannot be reached or is
// busy, it yields null and tries again.
export async function* follow(id, signal) {
  for (let requests = 0; ; requests += 1) {
    const wait = waitAfter(requests);
    const asked = performance.now();
    try {
      const job = await read(`${pathOf(id)}?wait=${wait}`, signal);
      yield job;
      if (!["pending", "in_progress"].includes(job.status)) return;
      if (wait && performance.now() - asked < 1000) await pause(RETRY_SECONDS, signal); // because a service that is stopping answers immediately
    } catch (error) {
      if (!error.isTransient) throw error;
      yield null;
      await pause(error.retryAfter ?? RETRY_SECONDS, signal);
    }
  }
}

// Reads the analysis of a call again and again, as `follow` reads a job.
export async function* followAnalysis(id, signal) {
  for (let requests = 1; ; requests += 1) {
    await pause(waitAfter(requests), signal);
    try {
      const analysis = await read(`${pathOf(id)}/analysis`, signal);
      yield analysis;
      if (!["pending", "in_progress"].includes(analysis.status)) return;
    } catch (error) {
      if (!error.isTransient) throw error;
      await pause(error.retryAfter ?? RETRY_SECONDS, signal);
    }
  }
}

// Yields the events of a live call, from its start until it has stopped. If the connection breaks, it yields null and goes on
// after the last event that has come.
export async function* followLive(id, signal) {
  for (let last = null; ; ) {
    try {
      const headers = last === null ? {} : { "Last-Event-ID": last };
      const { body } = await call(`v1/live/${encodeURIComponent(id)}/events`, { signal, headers });
      for await (const { number, event } of eventsIn(body)) {
        last = number ?? last;
        if (event.type === "error") throw Problem.unreachable();
        yield event;
        if (event.type === "stopped") return;
      }
    } catch (error) {
      if (error.name === "AbortError" || !error.isTransient) throw error;
      yield null;
      await pause(error.retryAfter ?? RETRY_SECONDS, signal);
    }
  }
}

// `EventSource` cannot send a key, so the page reads the stream itself.
async function* eventsIn(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ; ) {
    const { value, done } = await reader.read().catch((error) => {
      throw error.name === "AbortError" ? error : Problem.unreachable();
    });
    if (done) throw Problem.unreachable(); // because the service is stopping
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = new Map(block.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]));
      if (fields.has("data")) yield { number: fields.get("id"), event: JSON.parse(fields.get("data")) };
    }
  }
}

function waitAfter(requests) {
  if (requests === 0) return 0;
  if (document.hidden) return HIDDEN_WAIT_SECONDS;
  return requests <= SHORT_WAITS ? WAIT_SECONDS : LATER_WAIT_SECONDS;
}

export async function pause(seconds, signal) {
  signal.throwIfAborted();
  await new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}

// Returns {rest, wake}. `rest` ends after some seconds, but not while the tab is hidden. It ends earlier if `wake` is called.
export function rests() {
  let wake = () => undefined;
  async function rest(seconds, signal) {
    let wait = seconds;
    do {
      const woken = new AbortController();
      wake = () => woken.abort();
      await pause(wait, AbortSignal.any([signal, woken.signal])).catch(() => signal.throwIfAborted());
      wait = 1e6;
    } while (document.hidden);
  }
  return { rest, wake: () => wake() };
}
