// Plays a WAV file to Callscribe as if it were a call that goes on, and prints the text as it comes.
//
//     node live.mjs call.wav [language]
//
// It needs Node 22 and nothing else, or Node 20 with --experimental-websocket. If the service wants a key, set
// CALLSCRIBE_KEY. Node's WebSocket sets no headers, as in browsers, so the program gets a short-lived token with the key.
// API_URL is the address of the service. The file is 16-bit PCM or G.711, with one or two channels.

import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const { API_URL = "http://127.0.0.1:8000", CALLSCRIBE_KEY } = process.env;
const FRAME_SECONDS = 0.1;
const ENCODINGS = { 1: "pcm_s16le", 6: "alaw", 7: "mulaw" };

/** The message says why there is no text. */
class CallFailed extends Error {}

/** Returns what the sound of a WAV file is, in the words of the service, and the sound. */
async function readWav(path) {
  const content = await readFile(path);
  let sound;
  for (let at = 12; at + 8 <= content.length;) {
    const name = content.toString("latin1", at, at + 4);
    const size = content.readUInt32LE(at + 4);
    if (name === "fmt ") {
      sound = {
        encoding: ENCODINGS[content.readUInt16LE(at + 8)],
        channels: content.readUInt16LE(at + 10),
        sample_rate: content.readUInt32LE(at + 12),
      };
    }
    if (name === "data") return { sound, audio: content.subarray(at + 8, at + 8 + size) };
    at += 8 + size + (size % 2);
  }
  throw new CallFailed(`${path} has no sound`);
}

/** Returns the parameter of the URL that lets the call in, or nothing if the service has no keys. */
async function token() {
  if (!CALLSCRIBE_KEY) return "";
  const answer = await fetch(`${API_URL}/v1/live/tokens`, {
    method: "POST",
    headers: { Authorization: `Bearer ${CALLSCRIBE_KEY}`, "Content-Type": "application/json" },
    body: JSON.stringify({ expires_in: 60 }),
  });
  if (!answer.ok) throw new CallFailed(`The service answered ${answer.status}: ${await answer.text()}`);
  return `?token=${encodeURIComponent((await answer.json()).token)}`;
}

async function send(socket, { encoding, channels, sample_rate }, audio) {
  const frame = Math.round(FRAME_SECONDS * sample_rate) * channels * (encoding === "pcm_s16le" ? 2 : 1);
  const began = performance.now();
  for (let at = 0; at < audio.length && socket.readyState === WebSocket.OPEN; at += frame) {
    socket.send(audio.subarray(at, at + frame));
    await sleep(Math.max(0, began + ((at + frame) / frame) * FRAME_SECONDS * 1000 - performance.now()));
  }
  if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ type: "stop" }));
}

function show(event) {
  const line = (text) => process.stdout.write(`\r\u001b[K${text}`);
  if (event.type === "partial") line(`${event.speaker}: ${event.text} …`);
  if (event.type === "transcript" && event.text) line(`${event.start.toFixed(1).padStart(7)}  ${event.speaker}: ${event.text}\n`);
  if (event.type === "warning") console.error(`warning: ${event.message}`);
  if (event.type === "stopped") line(`The call is over. Its transcription: ${event.links.transcription}\n`);
}

/** Resolves with true when the call has become a transcription. */
async function play(path, language) {
  const { sound, audio } = await readWav(path);
  const socket = new WebSocket(`${API_URL.replace(/^http/, "ws")}/v1/live${await token()}`);
  socket.addEventListener("open", () => {
    socket.send(JSON.stringify({ type: "start", ...sound, external_id: basename(path), ...(language && { language }) }));
    send(socket, sound, audio);
  });
  return new Promise((resolve, reject) => {
    let reason = "";
    socket.addEventListener("message", ({ data }) => {
      const event = JSON.parse(data);
      show(event);
      if (event.type === "error") reason = `${event.code}: ${event.message}`;
      if (event.type === "stopped") resolve(event.id !== null);
    });
    socket.addEventListener("close", ({ code }) => reject(new CallFailed(reason || `The connection was closed (${code}).`)));
  });
}

const [path, language] = process.argv.slice(2);
if (!path) {
  console.error("usage: node live.mjs RECORDING [LANGUAGE]");
  process.exitCode = 2;
} else {
  try {
    process.exitCode = (await play(path, language)) ? 0 : 1;
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
