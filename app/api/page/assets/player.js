// The recording: an audio element, and a waveform of each channel if the browser can decode it in reasonable memory.

import { byId, element } from "./elements.js";

const MAX_BYTES = 300e6;
const MAX_SECONDS = 3600;
const DECODED_HERTZ = 8000; // an hour of two channels takes 230 MB until the peaks are computed
const COLUMNS = 1000;
const BAR_PIXELS = 3;
const PATIENCE_MILLISECONDS = 10_000; // because a hidden tab may not load media

const audio = byId("audio");
const waveforms = byId("waveforms");
let drawn = [];
const examined = new WeakMap(); // recording → the promise that `examine` returned

// Returns {seconds, peaks}, where `peaks` holds the highest amplitudes of each channel. Returns null if the recording is too
// large to decode here, or if the browser cannot decode it.
export function examinedOnce(blob) {
  if (!examined.has(blob)) examined.set(blob, examine(blob));
  return examined.get(blob);
}

async function examine(blob) {
  if (blob.size > MAX_BYTES) return null;
  try {
    const seconds = await secondsOf(blob);
    if (seconds > MAX_SECONDS) return null;
    const decoded = await new OfflineAudioContext(1, 1, DECODED_HERTZ).decodeAudioData(await blob.arrayBuffer());
    const channels = Array.from({ length: decoded.numberOfChannels }, (_, index) => decoded.getChannelData(index));
    return { seconds, peaks: channels.map(peaksOf) };
  } catch {
    return null;
  }
}

function secondsOf(blob) {
  const probe = new Audio();
  const address = URL.createObjectURL(blob);
  const known = new Promise((resolve, reject) => {
    probe.onloadedmetadata = () => resolve(probe.duration);
    probe.onerror = () => reject(probe.error);
    setTimeout(reject, PATIENCE_MILLISECONDS);
    probe.src = address;
  });
  return known.finally(() => URL.revokeObjectURL(address));
}

function peaksOf(samples) {
  const highest = new Float32Array(COLUMNS);
  for (let index = 0; index < samples.length; index++) {
    const column = Math.floor((index * COLUMNS) / samples.length);
    highest[column] = Math.max(highest[column], Math.abs(samples[index]));
  }
  return highest;
}

export function load(blob) {
  unload();
  document.body.classList.add("playable");
  audio.src = URL.createObjectURL(blob);
}

export function unload() {
  audio.pause();
  if (audio.src) URL.revokeObjectURL(audio.src);
  audio.removeAttribute("src");
  document.body.classList.remove("playable");
  waveforms.replaceChildren();
  drawn = [];
}

// Plays the recording from `seconds` on, if there is one.
export function playFrom(seconds) {
  if (!audio.src) return;
  seek(seconds);
  play();
}

const play = () => audio.play().catch(() => undefined); // because the audio element itself shows that it cannot play

// Plays or pauses the recording, if there is one.
export function toggle() {
  if (!audio.src) return;
  if (audio.paused) play();
  else audio.pause();
}

export const seek = (seconds) => (audio.currentTime = seconds);

export function showWaveforms(peaks, labels) {
  const loudest = Math.max(0.01, ...peaks.map((channel) => Math.max(...channel)));
  drawn = peaks.map((channel, index) => {
    const label = labels[index] ?? `channel_${index}`;
    const canvas = element("canvas", { role: "img", ariaLabel: `Waveform: ${label}` });
    waveforms.append(element("figure", { className: `voice-${index % 4}` }, element("figcaption", {}, label), canvas));
    return { canvas, peaks: channel.map((peak) => peak / loudest) };
  });
  draw();
}

function draw() {
  const played = audio.duration ? audio.currentTime / audio.duration : 0;
  for (const { canvas, peaks } of drawn) drawChannel(canvas, peaks, played);
}

function drawChannel(canvas, peaks, played) {
  const scale = window.devicePixelRatio;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  canvas.width = width * scale;
  canvas.height = height * scale;
  const style = getComputedStyle(canvas);
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  const bars = Math.floor(width / BAR_PIXELS);
  for (let bar = 0; bar < bars; bar++) {
    const from = Math.floor((bar * peaks.length) / bars);
    const to = Math.max(from + 1, Math.floor(((bar + 1) * peaks.length) / bars));
    const barHeight = Math.max(1, Math.max(...peaks.subarray(from, to)) * height);
    context.fillStyle = style.getPropertyValue(bar < played * bars ? "--voice" : "--ahead");
    context.fillRect(bar * BAR_PIXELS, (height - barHeight) / 2, BAR_PIXELS - 1, barHeight);
  }
  context.fillStyle = style.getPropertyValue("--text");
  context.fillRect(Math.min(played * width, width - 1), 0, 1, height);
}

function drawWhilePlaying() {
  draw();
  if (!audio.paused) requestAnimationFrame(drawWhilePlaying);
}

audio.addEventListener("play", drawWhilePlaying);
for (const event of ["seeked", "pause", "loadedmetadata"]) audio.addEventListener(event, draw);
new ResizeObserver(draw).observe(waveforms);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
waveforms.addEventListener("click", (event) => {
  if (event.target.localName !== "canvas" || !audio.duration) return;
  audio.currentTime = (event.offsetX / event.target.clientWidth) * audio.duration;
});
