// The only file that calls the service's HTTP API. It keeps the API key, if there is one, in this tab's sessionStorage.

const KEY = "callscribe.key";
const RETRY_SECONDS = 2;
const WAIT_SECONDS = 3;

let askForKey = async () => false;
let asking = null;

export class Problem extends Error {
  constructor({ title, detail, status, request_id: requestId, errors = [] }) {
    super(title);
    Object.assign(this, { title, detail, status, requestId, errors });
  }

  static of(status, text, requestId) {
    try {
      return new Problem(JSON.parse(text));
    } catch {
      return new Problem({ title: "The service sent an answer that this page does not understand", detail: `The HTTP status was ${status}.`, status, request_id: requestId });
    }
  }

  static unreachable() {
    return new Problem({ title: "The service cannot be reached", detail: "Check your connection, then try again.", status: 0 });
  }
}

export const storedKey = () => sessionStorage.getItem(KEY);
export const useKey = (key) => sessionStorage.setItem(KEY, key);
export const forgetKey = () => sessionStorage.removeItem(KEY);

// Sets the function that asks the reader for a key. `ask` gets true if the service has refused a key. Its promise resolves to
// true if the reader has entered a new one.
export function whenKeyIsNeeded(ask) {
  askForKey = ask;
}

async function hasNewKey(refused) {
  if (storedKey() !== refused) return storedKey() !== null;
  asking ??= askForKey(refused !== null).finally(() => (asking = null));
  return asking;
}

async function withKey(request) {
  for (;;) {
    const key = storedKey();
    try {
      return await request(key === null ? {} : { Authorization: `Bearer ${key}` });
    } catch (error) {
      if (error.status !== 401 || !(await hasNewKey(key))) throw error;
    }
  }
}

export function call(path, { method = "GET", signal } = {}) {
  return withKey(async (headers) => {
    const response = await fetch(path, { method, signal, headers }).catch((error) => {
      throw error.name === "AbortError" ? error : Problem.unreachable();
    });
    if (response.ok) return response;
    throw Problem.of(response.status, await response.text(), response.headers.get("X-Request-ID"));
  });
}

export const read = async (path, signal) => (await call(path, { signal })).json();

export function upload(form, onProgress, signal) {
  return withKey((headers) => new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // because `fetch` does not report the progress of an upload
    request.open("POST", "/v1/transcriptions");
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => onProgress(event.loaded / event.total);
    request.onload = () => request.status < 300
      ? resolve(JSON.parse(request.responseText))
      : reject(Problem.of(request.status, request.responseText, request.getResponseHeader("X-Request-ID")));
    request.onerror = () => reject(Problem.unreachable());
    request.onabort = () => reject(new DOMException("", "AbortError"));
    signal.addEventListener("abort", () => request.abort());
    request.send(form);
  }));
}

// Reads a job again and again, and yields it each time, until its status is final. If the service cannot be reached or is
// busy, it yields null and tries again.
export async function* follow(id, signal) {
  for (let wait = 0; ; wait = WAIT_SECONDS) {
    const asked = performance.now();
    try {
      const job = await read(`/v1/transcriptions/${id}?wait=${wait}`, signal);
      yield job;
      if (!["pending", "in_progress"].includes(job.status)) return;
      if (wait && performance.now() - asked < 1000) await pause(signal); // because a service that is stopping answers immediately
    } catch (error) {
      if (![0, 429, 503].includes(error.status)) throw error;
      yield null;
      await pause(signal);
    }
  }
}

async function pause(signal) {
  await new Promise((resolve) => setTimeout(resolve, RETRY_SECONDS * 1000));
  signal.throwIfAborted();
}
