// Values of the service → words for people. Pure.

const STATUSES = { pending: "Waiting", in_progress: "Transcribing", completed: "Transcribed", failed: "Failed", cancelled: "Cancelled" };
const NOTIFICATIONS = { notifying: "Being sent", notified: "Sent", notification_failed: "Could not be delivered" };
const FIELDS = { "query.q": "Search", url: "URL", language: "Language", channel_labels: "Names of the speakers", prompt: "Names and special words", model: "Model", diarize: "Voices", speakers: "Number of speakers" };
const MISSING_SOUND = ["truncated", "damaged", "left_out"]; // codes of warnings
const OPERATOR = "The recording is not the cause. Ask the operator of the service, and name the ID of this call.";
const ADVICE = {
  fetch_failed: "Check that the URL is right and that the service may read it, then add the recording again.",
  unsupported_media: "If you have the recording in another format, add that.",
  bad_media: "Check that the file plays on your computer. If it does, convert it to WAV and add it again.",
  no_audio: "The file holds no sound. Check that you have added the right file.",
  too_long: "Cut the recording into shorter parts, and add each of them.",
  worker_crashed: OPERATOR,
  gpu_out_of_memory: OPERATOR,
  abandoned: "Add the recording again here, or send it again from a program that waits longer.",
};

export const isUnfinished = (job) => job.status === "pending" || job.status === "in_progress";
export const nameOf = (job) => job.audio.filename ?? (job.audio.source === "live" ? job.external_id ?? "Live call" : "Unnamed recording");
export const urlOf = ({ audio }) => (["upload", "live"].includes(audio.source) ? null : audio.source); // from which the service fetches the recording
export const nameOfLive = (call) => call.external_id ?? `Live call since ${TIME.format(new Date(call.started_at))}`;
export const adviceOn = (code) => ADVICE[code] ?? "Add the recording again. If it fails again, ask the operator of the service.";
export const canBeRetried = (job) => ["failed", "cancelled"].includes(job.status) && (urlOf(job) !== null || job.links.audio !== null);
export const notificationOf = (job) => NOTIFICATIONS[job.notify_status] ?? null;

export const wasFetched = (job) => urlOf(job) === null || job.audio.bytes !== null;
export const isPartial = (job) => job.status === "completed" && job.warnings.some(({ code }) => MISSING_SOUND.includes(code));

// Whether something that is not the fault of the call keeps it from being tried now.
const waitsForService = ({ retry }) => retry?.code === "unavailable" && new Date(retry.at) <= new Date();

export function statusOf(job) {
  if (job.status === "in_progress") return `${STATUSES.in_progress}, ${percent(job.progress)}`;
  if (waitsForService(job)) return "Waiting until the service can do it";
  if (job.retry || (job.status === "pending" && job.attempts > 0)) return "Waiting to be tried again";
  if (isPartial(job)) return "Transcribed in part";
  if (job.status === "failed" && job.retried_as) return "Failed, tried again";
  return STATUSES[job.status] ?? job.status;
}

// Returns the status with what else a reader of the list should see without opening the call.
export function statusInList(job) {
  const { length } = isPartial(job) ? [] : job.warnings;
  const warnings = length ? [length === 1 ? "1\u00a0warning" : `${length}\u00a0warnings`] : [];
  const notified = job.notify_status === "notification_failed" ? ["not notified"] : [];
  return [withNextTry(job), ...warnings, ...notified].join(", ");
}

export const withNextTry = (job) => (job.retry && !waitsForService(job) ? `${statusOf(job)} ${nextTry(job.retry)}` : statusOf(job));

// Returns when the service tries again. Workers may be busy then, so it may be later.
export function nextTry({ at, code }, now = new Date()) {
  const time = new Date(at);
  if (time <= now) return code === "unavailable" ? "as soon as the service can do it" : "as soon as a worker is free";
  const isToday = time.toDateString() === now.toDateString();
  return isToday ? `at ${time.toLocaleTimeString()}` : `on ${dateOf(at)}`;
}

export function ownCopyInWords(name, seconds, secondsOfCall) {
  const differs = secondsOfCall !== null && Math.abs(seconds - secondsOfCall) > 2;
  return differs
    ? `Your file ${name} is ${clock(seconds)} long, but this call is ${clock(secondsOfCall)} long. It may be another recording.`
    : `This is your file ${name}.`;
}

// The service's advice about raw sound names a field of the API, which this page does not have.
export const forReaders = (text) =>
  text.replace(/If it is raw sound[^.]*\.?/, "Check that it plays on your computer. If it is raw sound without a header, its name must end with its encoding, such as .ulaw, .alaw or .sln16.");

// Says why a request was refused. The texts about fields begin in several ways, such as "must be" or "its port", so a colon
// stands before them. What the service says in `detail` needs no title before it, unlike the page's own problems.
export function inWords({ message, detail, code, requestId, errors = [] }) {
  const fields = errors.map((error) => `${FIELDS[error.field] ?? "`" + error.field + "`"}: ${error.detail}`);
  const isWhole = requestId && (fields.length === 0 || code === "url_not_allowed");
  const about = isWhole ? [detail] : [message, ...(fields.length ? fields : [detail])];
  return about.filter(Boolean).map((text) => forReaders(text).replace(/\.?$/, ".")).join(" ");
}

export const percent = (part) => `${Math.round(part * 100)}\u00a0%`; // a number and its unit stay on one line

const TIME = new Intl.DateTimeFormat([], { timeStyle: "short" });
const DATE = new Intl.DateTimeFormat([], { dateStyle: "medium", timeStyle: "short" }); // made once, because that takes long
export const dateOf = (time) => DATE.format(new Date(time));

export function clock(seconds) {
  const whole = Math.floor(seconds);
  const minutes = Math.floor(whole / 60) % 60;
  const hours = Math.floor(whole / 3600);
  const digits = (number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${digits(minutes)}:${digits(whole % 60)}` : `${minutes}:${digits(whole % 60)}`;
}

export function period(seconds) {
  if (seconds < 0.05) return "less than 0.1 s";
  if (seconds < 9.95) return `${seconds.toFixed(1)}\u00a0s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole}\u00a0s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}\u00a0min\u00a0${whole % 60}\u00a0s`;
  return `${Math.floor(whole / 3600)}\u00a0h\u00a0${Math.floor((whole % 3600) / 60)}\u00a0min`;
}

export function timingsOf({ queued, decoding, transcribing }) {
  const parts = [["waited", queued], ["decoded in", decoding], ["transcribed in", transcribing]];
  const known = parts.filter(([, seconds]) => seconds !== null).map(([verb, seconds]) => `${verb} ${period(seconds)}`);
  const text = known.join(", ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

// Returns the name and the value of each line of metadata. An object in it becomes several lines, such as `agent.name`.
export function linesOf(metadata, prefix = "") {
  return Object.entries(metadata).flatMap(([key, value]) => {
    const name = prefix + key;
    if (Array.isArray(value) && value.every((each) => Object(each) !== each)) return [[name, value.join(", ")]];
    return Object(value) === value ? linesOf(value, `${name}.`) : [[name, String(value)]];
  });
}

const names = new Intl.DisplayNames(["en"], { type: "language", fallback: "code" });

export function languageName(code) {
  try {
    return names.of(code);
  } catch {
    return code;
  }
}

export function size(bytes) {
  return bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

export const channelsIn = (count) => (count === 1 ? "one channel" : `${count} channels`);
export const recordingsIn = (count) => (count === 1 ? "1 recording" : `${count} recordings`);
export const callsIn = (count, which = "") => `${count.toLocaleString()} ${which}${count === 1 ? "call" : "calls"}`;

// Returns the name of the agent in the metadata, which a client may send as text or as an object with a name.
export function agentOf({ metadata: { agent } }) {
  const name = Object(agent) === agent ? agent.name ?? agent.id : agent;
  return name === null || name === undefined || Object(name) === name ? null : String(name);
}
