// The second view: a job's progress, then its recording, dialogue, facts and downloads.

import { call, follow, read } from "./api.js";
import { showDialogue } from "./dialogue.js";
import { byId, clock, element, languageName } from "./elements.js";
import { announce, hideProgress, onCancel, showProblem, showProgress } from "./messages.js";
import { load, showWaveforms } from "./player.js";
import { factsOfTalk, showTalk } from "./talk.js";
import { examinedOnce, ownRecordings } from "./upload.js";

const FORMATS = { json: "json", text: "txt", srt: "srt", vtt: "vtt", tsv: "tsv", whisper: "whisper.json" };
const NOT_FETCHED = "The service has not fetched this recording yet.";
const GONE = "The service does not have this recording.";
const STEPS = { pending: "Waiting in the queue", in_progress: "Transcribing" };

export async function showJob(id, signal, focus) {
  for (const part of ["player", "no-audio", "summary", "transcript"]) byId(part).hidden = true;
  byId("facts").replaceChildren();
  byId("job-title").textContent = "Recording";
  byId("job").hidden = false;
  const path = encodeURIComponent(id);
  onCancel(() => call(`/v1/transcriptions/${path}/cancel`, { method: "POST" }).catch(showProblem));
  let first = true;
  let hasRecording = false;
  for await (const job of follow(path, signal)) {
    if (job === null) {
      showProgress("The service cannot be reached or is busy. The page keeps trying.", null);
      continue;
    }
    if (first) introduce(job, signal, focus);
    first = false;
    if (!hasRecording) {
      hasRecording = ownRecordings.has(job.id) || job.links.audio !== null;
      if (hasRecording) fetchRecording(job, signal).catch(showProblem);
      else showNoAudio(job.status in STEPS ? NOT_FETCHED : GONE);
    }
    showStatus(job);
    if (job.status === "completed") await showResult(job, signal);
  }
}

function introduce(job, signal, focus) {
  const title = job.audio.filename ?? "Unnamed recording";
  document.title = `${title} – Callscribe`;
  byId("job-title").textContent = title;
  if (focus) byId("job-title").focus();
  byId("own-copy").onchange = (event) => event.target.files.length && showRecording(event.target.files[0], job, signal);
}

function showStatus(job) {
  if (job.status in STEPS) {
    showProgress(STEPS[job.status], job.status === "pending" ? null : job.progress);
    return;
  }
  hideProgress();
  announce(`The transcription is ${job.status}`);
  showFacts([["Status", job.status]]);
  if (job.error) showProblem({ message: job.error.message, detail: `The transcription failed: ${job.error.code}` });
}

async function fetchRecording(job, signal) {
  const own = ownRecordings.get(job.id);
  if (own) return showRecording(own, job, signal);
  try {
    return await showRecording(await (await call(job.links.audio, { signal })).blob(), job, signal);
  } catch (error) {
    if (error.status !== 404) throw error;
    return showNoAudio(GONE);
  }
}

function showNoAudio(reason) {
  byId("player").hidden = true;
  byId("no-audio-reason").textContent = reason;
  byId("no-audio").hidden = false;
}

async function showRecording(recording, job, signal) {
  if (signal.aborted) return;
  load(recording);
  byId("player").hidden = false;
  byId("no-audio").hidden = true;
  const found = await examinedOnce(recording);
  if (!signal.aborted && found) showWaveforms(found.peaks, job.options.channel_labels);
}

byId("audio").addEventListener("error", () => {
  if (byId("audio").src) showNoAudio("Your browser cannot play this recording.");
});

async function showResult(job, signal) {
  const transcript = await read(job.links.transcript, signal);
  showFacts(factsOf(transcript));
  const warnings = transcript.warnings.map(({ message, start }) =>
    element("li", {}, start == null ? message : `${clock(start)} ${message}`));
  byId("warnings").replaceChildren(...warnings);
  byId("warnings").hidden = warnings.length === 0;
  showTalk(transcript);
  showDownloads(job, signal);
  showDialogue(transcript);
  byId("summary").hidden = byId("transcript").hidden = false;
}

function factsOf(transcript) {
  return [
    ["Duration", clock(transcript.duration)],
    ["Language", transcript.language ? languageName(transcript.language) : "no speech"],
    ...factsOfTalk(transcript),
  ];
}

function showFacts(facts) {
  const items = facts.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value)));
  byId("facts").replaceChildren(...items);
}

function showDownloads(job, signal) {
  const buttons = Object.entries(FORMATS).map(([format, extension]) => {
    const button = element("button", { type: "button" }, format);
    button.addEventListener("click", () => download(job, format, extension, signal).catch(showProblem));
    return button;
  });
  byId("downloads-title").parentElement.replaceChildren(byId("downloads-title"), ...buttons);
}

// A plain link would send the request without the key.
async function download(job, format, extension, signal) {
  const response = await call(`${job.links.transcript}?format=${format}`, { signal });
  const address = URL.createObjectURL(await response.blob());
  const stem = (job.audio.filename ?? job.id).replace(/\.[^.]*$/, "");
  element("a", { href: address, download: `${stem}.${extension}` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
