// The second view: a job's progress, then its recording, dialogue, facts and downloads.

import { call, follow, read } from "./api.js";
import { showDialogue } from "./dialogue.js";
import { byId, clock, element, languageName } from "./elements.js";
import { announce, hideProgress, onCancel, showProblem, showProgress } from "./notices.js";
import { load, showWaveforms } from "./player.js";
import { factsOfTalk, showTalk } from "./talk.js";
import { examinedOnce, ownRecordings } from "./upload.js";

const FORMATS = { json: "json", text: "txt", srt: "srt", vtt: "vtt", tsv: "tsv", whisper: "whisper.json" };
const STEPS = { pending: "Waiting in the queue", in_progress: "Transcribing" };

export async function showJob(id, signal, focus) {
  for (const part of ["player", "silent", "summary", "said"]) byId(part).hidden = true;
  byId("facts").replaceChildren();
  byId("job-title").textContent = "Recording";
  byId("job").hidden = false;
  const path = encodeURIComponent(id);
  onCancel(() => call(`/v1/transcriptions/${path}/cancel`, { method: "POST" }).catch(showProblem));
  let first = true;
  for await (const job of follow(path, signal)) {
    if (job === null) {
      showProgress("The service cannot be reached; trying again", null);
      continue;
    }
    if (first) introduce(job, signal, focus);
    first = false;
    showStatus(job);
    if (job.status === "completed") await showResult(job, signal);
  }
}

function introduce(job, signal, focus) {
  const title = job.audio.filename ?? "A recording without a name";
  document.title = `${title} – Callscribe`;
  byId("job-title").textContent = title;
  if (focus) byId("job-title").focus();
  byId("own-copy").onchange = (event) => event.target.files.length && hear(event.target.files[0], job, signal);
  findRecording(job, signal).catch(showProblem);
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

async function findRecording(job, signal) {
  const own = ownRecordings.get(job.id);
  if (own) return hear(own, job, signal);
  if (job.links.audio === null) return stayWithout("The service does not keep this recording.");
  try {
    return await hear(await (await call(job.links.audio, { signal })).blob(), job, signal);
  } catch (error) {
    if (error.status !== 404) throw error;
    return stayWithout("The service does not keep this recording.");
  }
}

function stayWithout(reason) {
  byId("player").hidden = true;
  byId("silent-reason").textContent = reason;
  byId("silent").hidden = false;
}

async function hear(recording, job, signal) {
  if (signal.aborted) return;
  load(recording);
  byId("player").hidden = false;
  byId("silent").hidden = true;
  const found = await examinedOnce(recording);
  if (!signal.aborted && found) showWaveforms(found.peaks, job.options.channel_labels);
}

byId("audio").addEventListener("error", () => {
  if (byId("audio").src) stayWithout("This browser cannot play such a recording.");
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
  byId("summary").hidden = byId("said").hidden = false;
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

// A link would go without the key.
async function download(job, format, extension, signal) {
  const response = await call(`${job.links.transcript}?format=${format}`, { signal });
  const address = URL.createObjectURL(await response.blob());
  const stem = (job.audio.filename ?? job.id).replace(/\.[^.]*$/, "");
  element("a", { href: address, download: `${stem}.${extension}` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
