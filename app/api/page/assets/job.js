// The view of one call: its progress, then its recording, analysis, dialogue, facts and downloads.

import { addressOfCall } from "./address.js";
import { call, follow, pathOf, pause, read } from "./api.js";
import { setUpActions, showCancel } from "./actions.js";
import { hideAnalysis, readAnalysis, showAnalysis } from "./analysis.js";
import { showDialogue } from "./dialogue.js";
import { save, showDownloads } from "./downloads.js";
import { byId, named, write } from "./elements.js";
import { showAbout, showFacts, showWarnings } from "./facts.js";
import { hideLive, showLive } from "./live.js";
import { isKnownLive } from "./live_calls.js";
import { announce, showProblem } from "./messages.js";
import { examinedOnce, load, playFrom, seek, showWaveforms, unload } from "./player.js";
import { isRedacted, mayBePlayed } from "./redaction.js";
import { retryButton } from "./retrying.js";
import { showTalk } from "./talk.js";
import { ownRecordings } from "./uploads.js";
import { adviceOn, canBeRetried, forReaders, isUnfinished, nameOf, ownCopyInWords, percent, statusOf, wasFetched, withNextTry } from "./words.js";

const RECORDING_SECONDS = 10; // until the page asks again for a recording that could not be loaded
const NOT_FETCHED = "The service has not fetched this recording yet.";
const NEVER_FETCHED = "The service did not fetch this recording.";
const NOT_PLAYABLE = "Your browser cannot play this recording. Download it to play it with another program, or play your own file in another format.";
const GONE = "The service does not keep this recording.";
const NO_CALL = { message: "There is no such call", detail: "It was erased, the link is wrong, or your key may not read it." };
const SILENT = { message: "This live call has no sound", detail: "It ended before any sound came, so there is nothing to transcribe." };
const PRIVATE = "This recording can be played when a tone covers what is private in it.";

// Shows the call of a place: {id, at, q, plays}. At `at` seconds there is the turn to show, which is played too if `plays`. The
// dialogue is searched for `q`.
export async function showJob(place, signal, focus) {
  scrollTo(0, 0);
  for (const part of ["player", "no-audio", "keep-recording", "summary", "transcript", "progress", "actions", "about", "job-line"]) byId(part).hidden = true;
  hideAnalysis();
  hideLive();
  byId("facts").replaceChildren();
  byId("retry-place").replaceChildren();
  byId("job-title").textContent = "Call";
  let live = isKnownLive(place.id) ? await showLive(place.id, signal, focus) : null;
  while (live === null || live.isRecorded) {
    if (await wasFollowed(place, signal, focus)) return undefined;
    if (live?.hadEnded) break;
    live = await showLive(place.id, signal, focus); // the page may not know yet that this is a live call
    if (live === null) break;
  }
  hideLive();
  return showProblem(live && !live.isRecorded ? SILENT : NO_CALL);
}

// Follows the job until it has ended. Returns false if there is none.
async function wasFollowed(place, signal, focus) {
  let shown = null;
  try {
    for await (const job of follow(place.id, signal)) {
      if (job === null) showProgress("The service cannot be reached or is busy. The page keeps trying.", null);
      else shown = await showChange(job, shown, place, signal, focus);
    }
  } catch (error) {
    if (error.status !== 404 && error.status !== 422) throw error;
    byId("progress").hidden = true;
    return false;
  }
  return true;
}

// Shows what the service says of a job now. `before` is what it said last, or null. Returns what is shown.
async function showChange(job, before, place, signal, focus) {
  if (before === null) introduce(job, signal, focus);
  const hasRecording = ownRecording(job) !== undefined || (job.links.audio !== null && mayBePlayed(job));
  if (hasRecording && !before?.hasRecording) fetchRecording(job, place, signal).catch(showProblem);
  if (!hasRecording && !byId("audio").src) showNoAudio(reasonOfNoAudio(job));
  byId("own-copy").onchange = () => playOwnCopy(byId("own-copy"), job, signal);
  showAbout(job);
  showCancel(job);
  if (isUnfinished(job)) showStep(job);
  else await showEnd(job, place, signal);
  return { hasRecording };
}

function introduce(job, signal, focus) {
  document.title = `${nameOf(job)} – Callscribe`;
  byId("job-title").replaceChildren(named(nameOf(job)));
  if (focus) byId("job-title").focus();
  setUpActions(job, signal);
}

// The file that was chosen in this browser has what the service takes out.
const ownRecording = (job) => (isRedacted(job) ? undefined : ownRecordings.get(job.id));

function reasonOfNoAudio(job) {
  if (job.links.audio !== null) return PRIVATE;
  if (wasFetched(job)) return GONE;
  return isUnfinished(job) ? NOT_FETCHED : NEVER_FETCHED;
}

function showStep(job) {
  const isFresh = job.status === "pending" && job.attempts === 0 && !job.retry;
  showProgress(isFresh ? "Waiting in the queue" : withNextTry(job), job.status === "pending" ? null : job.progress);
  byId("bar").hidden = job.retry !== null;
  const attempt = job.retry?.code === "unavailable" ? "" : "The last attempt did not succeed. ";
  write(byId("retry"), job.retry ? attempt + forReaders(job.retry.message) : "");
}

// `done` is between 0 and 1, or null if the progress is not known. A screen reader announces each step when it begins, and
// then each quarter of it.
function showProgress(step, done) {
  write(byId("step"), step);
  if (done === null) byId("bar").removeAttribute("value");
  else byId("bar").value = done;
  byId("progress").hidden = byId("bar").hidden = false;
  announce(done === null ? step : `Transcribing, ${percent(Math.floor(done * 4) / 4)}`);
}

async function showEnd(job, place, signal) {
  byId("progress").hidden = true;
  announce(`This call is ${statusOf(job).toLowerCase()}`);
  if (job.status === "completed") return showResult(job, place, signal);
  showFacts([["Status", statusOf(job)]]);
  if (canBeRetried(job) || job.retried_as) byId("retry-place").replaceChildren(retryButton(job));
  if (job.error) {
    const { code, message } = job.error;
    const title = job.status === "cancelled" ? "This call was cancelled" : "This call could not be transcribed";
    showProblem({ message: title, detail: forReaders(message), advice: `${adviceOn(code)} (${code})` });
  }
}

async function fetchRecording(job, place, signal) {
  byId("audio").onloadedmetadata = null;
  const own = ownRecording(job);
  try {
    const recording = own ?? (await (await call(`${pathOf(job.id)}/audio`, { signal })).blob());
    if (signal.aborted) return undefined;
    offerToSave(recording, job);
    showRecording(recording, job, signal).catch(showProblem);
    return startAt(place);
  } catch (error) {
    if (error.status === 404) return showNoAudio(GONE);
    if (error.status === 403) return showNoAudio(PRIVATE);
    if (!error.isTransient) throw error;
    showNoAudio("The recording cannot be loaded now. The page keeps trying.");
    await pause(RECORDING_SECONDS, signal);
    return fetchRecording(job, place, signal);
  }
}

// Offers the recording as the service sent it, also if the browser cannot play it.
function offerToSave(recording, job) {
  const name = job.audio.filename ?? job.id;
  byId("save-recording").onclick = () => save(recording, isRedacted(job) ? `${name.replace(/\.[^.]*$/, "")}.wav` : name);
  byId("keep-recording").hidden = false;
}

// Whoever comes back to the address later does not hear it again.
function startAt({ id, at, q, plays }) {
  if (at === null) return;
  if (!plays) return seek(at);
  history.replaceState(null, "", addressOfCall(id, { at, q }));
  playFrom(at);
}

function showNoAudio(reason) {
  byId("player").hidden = true;
  showChoice(reason, "Play your own file");
}

function showChoice(reason, label) {
  write(byId("no-audio-reason"), reason);
  write(byId("own-copy-label"), label);
  byId("no-audio").hidden = false;
}

// The reader may choose a wrong file, so the choice stays in sight, and the file's length is compared with the call's.
function playOwnCopy(input, job, signal) {
  const [file] = input.files;
  input.value = "";
  if (!file) return;
  byId("audio").onloadedmetadata = () =>
    signal.aborted || showChoice(ownCopyInWords(file.name, byId("audio").duration, job.audio.duration), "Choose another file");
  showRecording(file, job, signal).catch(showProblem);
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
  if (!byId("audio").src) return;
  unload();
  const canBeSaved = !byId("keep-recording").hidden;
  showNoAudio(canBeSaved ? NOT_PLAYABLE : "Your browser cannot play this file.");
});

async function showResult(job, place, signal) {
  const [transcript, analysis] = await Promise.all([read(`${pathOf(job.id)}/transcript`, signal), readAnalysis(job, signal)]);
  hideLive();
  showFacts(transcript);
  showWarnings(transcript);
  showTalk(transcript);
  showDownloads(job, signal);
  byId("summary").hidden = byId("transcript").hidden = false;
  showDialogue(transcript, place);
  showAnalysis(analysis, job, transcript, signal);
}
