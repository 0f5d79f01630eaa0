// The first view: choose a recording and options, post it, or open one of the recent jobs.

import { read, upload } from "./api.js";
import { byId, element, languageName, size } from "./elements.js";
import { announce, hideProblem, hideProgress, onCancel, showProblem, showProgress } from "./messages.js";
import { examine } from "./player.js";

const form = byId("upload");
const file = byId("file");
export const ownRecordings = new Map(); // job id → the file that this tab posted
const examined = new WeakMap(); // file → the promise that `examine` returned

export function examinedOnce(blob) {
  if (!examined.has(blob)) examined.set(blob, examine(blob));
  return examined.get(blob);
}

export async function showNew(signal, focus) {
  document.title = "Callscribe";
  byId("new").hidden = false;
  if (focus) byId("new-title").focus();
  const { items } = await read("/v1/transcriptions?limit=20", signal);
  byId("no-recent").hidden = items.length > 0;
  byId("recent").replaceChildren(...items.map(recentJob));
  if (byId("language").length === 1) await showLanguages(signal);
}

async function showLanguages(signal) {
  const { items } = await read("/v1/models", signal);
  const languages = items.find((model) => model.default).languages.map((code) => [languageName(code), code]);
  byId("language").append(...languages.sort().map(([name, value]) => element("option", { value }, name)));
}

function recentJob(job) {
  const created = new Date(job.created_at);
  return element("li", {},
    element("a", { href: `#${job.id}` }, job.audio.filename ?? "Unnamed recording"),
    element("span", { className: `status ${job.status}` }, job.status.replace("_", " ")),
    element("time", { dateTime: job.created_at }, created.toLocaleString([], { dateStyle: "medium", timeStyle: "short" })),
    element("code", {}, job.id));
}

async function showChosen() {
  const [chosen] = file.files;
  if (!chosen) return;
  hideProblem();
  byId("chosen").textContent = `${chosen.name}, ${size(chosen.size)}`;
  const found = await examinedOnce(chosen);
  if (!found || file.files[0] !== chosen) return;
  const channels = found.peaks.length;
  byId("chosen").textContent += channels === 1 ? ", one channel" : `, ${channels} channels`;
  form.elements.channels.value = channels === 1 ? "mix" : "split";
  showLabels();
}

const showLabels = () => (byId("labels").disabled = form.elements.channels.value === "mix");

function asForm(recording) {
  const fields = new FormData();
  const options = new FormData(form);
  for (const name of ["channels", "language", "prompt"]) {
    for (const value of options.getAll(name)) if (value.trim()) fields.append(name, value.trim());
  }
  for (const label of positional(options.getAll("channel_labels"))) fields.append("channel_labels", label);
  fields.append("file", recording);
  return fields;
}

// The service assigns labels to channels by position. So a blank label before another one is not left out: it becomes the name
// that the service gives to a channel without a label.
function positional(labels) {
  const names = labels.map((label) => label.trim());
  return names.slice(0, names.findLastIndex(Boolean) + 1).map((name, index) => name || `channel_${index}`);
}

async function post(signal) {
  const [recording] = file.files;
  const cancelled = new AbortController();
  onCancel(() => cancelled.abort());
  hideProblem();
  byId("start").disabled = true;
  try {
    const onProgress = (done) => showProgress(done < 1 ? "Uploading" : "Checking the recording", done < 1 ? done : null);
    onProgress(0);
    const job = await upload(asForm(recording), onProgress, AbortSignal.any([signal, cancelled.signal]));
    ownRecordings.set(job.id, recording);
    file.value = "";
    byId("chosen").textContent = "Any audio or video file";
    location.hash = job.id;
  } catch (error) {
    hideProgress();
    if (cancelled.signal.aborted) announce("Upload cancelled");
    showProblem(error);
  } finally {
    byId("start").disabled = false;
  }
}

function chooseDropped(event) {
  event.preventDefault();
  byId("drop").classList.remove("over");
  if (byId("new").hidden || !event.dataTransfer.files.length) return;
  file.files = event.dataTransfer.files;
  showChosen();
}

// `signal` returns the AbortSignal that fires when the reader leaves the view.
export function setUpUpload(signal) {
  file.addEventListener("change", showChosen);
  form.addEventListener("change", showLabels);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    post(signal());
  });
  document.addEventListener("drop", chooseDropped);
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    byId("drop").classList.add("over");
  });
  document.addEventListener("dragleave", () => byId("drop").classList.remove("over"));
}
