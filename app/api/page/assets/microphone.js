// The microphone: sends what it hears to the service as a live call, and hears what the service says about it. There is at most
// one such call in a tab. It goes on while the reader looks at other calls.

import { call, pause } from "./api.js";

const RATE = 16_000;
const RESUME_SECONDS = 60; // as long as the service keeps a call for a client that comes back
const RETRY_SECONDS = 2;
const ANSWER_SECONDS = 20;
const QUIET_AFTER_SECONDS = 4;
const QUIET = 30; // of 32767: less than any microphone that works
const FAREWELL_SECONDS = 30; // for the last words of the call
const PROBLEMS = {
  NotAllowedError: ["The page may not use your microphone", "Allow it in the address bar of your browser, then try again."],
  NotFoundError: ["There is no microphone", "Connect one, then try again."],
  NotReadableError: ["Your microphone cannot be used", "Another program may use it. Close that program, then try again."],
};
const INSECURE = ["The page may not use your microphone", "Browsers allow that only over https. Ask the operator of the service for an address that begins with https://."];
const FULL = ["The service cannot take another live call now", "Try again later."];
const LOST = ["The connection was lost", "The service transcribes what it has heard until then."];
const NOT_CONNECTED = ["The service does not answer", "Check your connection, then try again. A proxy before the service may not let live calls through."];

let own = null; // the call of this tab's microphone: {id, events, isOver, …}
const watchers = [];

export const whenSpeaking = (watcher) => watchers.push(watcher);
export const isSpeaking = () => own !== null && !own.isOver;
export const ownCall = () => own;

const problem = ([message, detail]) => Object.assign(new Error(message), { detail });

function changed() {
  for (const watcher of watchers) watcher(own);
  own?.wake();
}

// Begins a call, and returns its id. `options` are those of the call's start.
export async function speak(options) {
  if (isSpeaking()) return own.id;
  const sound = await openMicrophone();
  const speaking = { id: null, options, sound, events: [], resume: null, waiting: [], socket: null, isOver: false, isStopping: false, quietSeconds: 0, hasHeard: false, wake: () => undefined };
  sound.node.port.onmessage = ({ data }) => hear(speaking, data);
  try {
    await connect(speaking);
  } catch (error) {
    closeMicrophone(sound);
    throw error;
  }
  own = speaking;
  changed();
  return speaking.id;
}

// Ends the call. The service first says the last words of it.
export function stopSpeaking() {
  if (!isSpeaking() || own.isStopping) return;
  const speaking = own;
  speaking.isStopping = true;
  speaking.sound.node.port.postMessage("end");
  setTimeout(() => speaking.socket?.close(), FAREWELL_SECONDS * 1000);
  changed();
}

// Yields the events of the tab's own call, from its start, until it is over.
export async function* eventsOfOwn(signal) {
  const speaking = own;
  for (let next = 0; ; ) {
    signal.throwIfAborted();
    while (next < speaking.events.length) {
      const event = speaking.events[next];
      next += 1;
      if (!event.isReplaced) yield event;
    }
    if (speaking.isOver) return;
    await new Promise((resolve) => {
      speaking.wake = resolve;
      signal.addEventListener("abort", resolve, { once: true });
    });
  }
}

async function openMicrophone() {
  if (!navigator.mediaDevices) throw problem(INSECURE);
  const stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } }).catch((error) => {
    throw problem(PROBLEMS[error.name] ?? PROBLEMS.NotReadableError);
  });
  const { context, source } = sourceOf(stream);
  await context.audioWorklet.addModule(new URL("microphone_worklet.js", import.meta.url)).catch(() => {
    closeMicrophone({ stream, context });
    throw problem(NOT_CONNECTED);
  });
  const node = new AudioWorkletNode(context, "pieces", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
  source.connect(node);
  await context.resume();
  return { stream, context, node };
}

// Some browsers cannot change the rate of a microphone. Then its own rate is sent.
function sourceOf(stream) {
  const context = new AudioContext({ sampleRate: RATE });
  try {
    return { context, source: context.createMediaStreamSource(stream) };
  } catch {
    context.close();
    const usual = new AudioContext();
    return { context: usual, source: usual.createMediaStreamSource(stream) };
  }
}

function closeMicrophone({ stream, context }) {
  for (const track of stream.getTracks()) track.stop();
  context.close();
}

// Opens a connection, and returns when the service has begun the call, or goes on with it.
async function connect(speaking) {
  const answer = await call("v1/live/tokens", { method: "POST", body: "{}" });
  const { token } = await answer.json();
  const address = new URL("v1/live", document.baseURI);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  address.search = new URLSearchParams({ token });
  const socket = new WebSocket(address);
  socket.binaryType = "arraybuffer";
  const start = { type: "start", encoding: "pcm_s16le", sample_rate: speaking.sound.context.sampleRate, channels: 1, ...speaking.options };
  socket.onopen = () => socket.send(JSON.stringify(speaking.resume ? { ...start, resume: speaking.resume } : start));
  const giveUp = setTimeout(() => socket.close(), ANSWER_SECONDS * 1000);
  await new Promise((resolve, reject) => {
    let refusal = null;
    socket.onmessage = ({ data }) => {
      const event = JSON.parse(data);
      if (event.type === "error") refusal = event;
      else if (event.type === "started") resolve(begin(speaking, socket, event));
    };
    socket.onclose = ({ code }) => reject(refusalInWords(refusal, code));
  }).finally(() => clearTimeout(giveUp));
}

function refusalInWords(refusal, code) {
  if (code === 1013 || refusal?.code === "try_again_later") return problem(FULL);
  if (refusal) return problem(["The service refuses this live call", refusal.message]);
  return problem(NOT_CONNECTED);
}

function begin(speaking, socket, event) {
  speaking.id = event.id;
  speaking.resume = null;
  speaking.socket = socket;
  socket.onmessage = ({ data }) => note(speaking, JSON.parse(data));
  socket.onclose = () => leave(speaking);
  for (const piece of speaking.waiting.splice(0)) send(speaking, piece);
  speaking.events.push(event);
  changed();
}

function note(speaking, event) {
  if (event.type === "error") return;
  if (event.type === "reconnect") {
    speaking.resume = event.resume;
    speaking.socket.close();
    speaking.socket = null; // so that what the microphone hears from now on waits for the next connection
  }
  if (event.type === "partial" || event.type === "transcript") {
    const before = speaking.events.findLast(({ type, channel }) => type === "partial" && channel === event.channel);
    if (before) before.isReplaced = true;
  }
  speaking.events.push(event);
  if (event.type === "stopped") end(speaking);
  else speaking.wake();
}

// The connection is closed. The service says before if this is no trouble.
async function leave(speaking) {
  if (speaking.isOver) return;
  const until = performance.now() + RESUME_SECONDS * 1000;
  speaking.socket = null;
  while (speaking.resume && performance.now() < until) {
    await pause(RETRY_SECONDS, new AbortController().signal);
    try {
      return await connect(speaking);
    } catch {
      // The service may not be back yet.
    }
  }
  speaking.events.push({ type: "warning", message: `${LOST[0]}. ${LOST[1]}` });
  end(speaking);
}

function end(speaking) {
  speaking.isOver = true;
  closeMicrophone(speaking.sound);
  speaking.socket?.close();
  speaking.sound = speaking.socket = null;
  changed();
}

// Sends a piece of sound, or the end of it. It waits while there is no connection.
function hear(speaking, piece) {
  if (speaking.isOver) return;
  if (piece && !speaking.hasHeard) listen(speaking, piece);
  if (speaking.socket) send(speaking, piece);
  else speaking.waiting.push(piece);
}

const send = ({ socket }, piece) => socket.send(piece ?? JSON.stringify({ type: "stop" }));

// Says if the microphone seems to be off, until it hears something.
function listen(speaking, piece) {
  const samples = new Int16Array(piece);
  const isQuiet = samples.every((sample) => Math.abs(sample) <= QUIET);
  const before = speaking.quietSeconds;
  speaking.quietSeconds = isQuiet ? before + samples.length / speaking.sound.context.sampleRate : 0;
  if (!isQuiet) speaking.hasHeard = true;
  const wasOff = before >= QUIET_AFTER_SECONDS;
  if (wasOff === speaking.quietSeconds >= QUIET_AFTER_SECONDS) return;
  speaking.events.push({ type: "warning", message: wasOff ? "" : "Your microphone hears nothing. Check that it is on and not muted." });
  speaking.wake();
}
