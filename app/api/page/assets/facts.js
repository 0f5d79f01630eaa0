// The facts of a call: what it is and whence it came, how its transcription went, and its warnings.

import { addressOfCall } from "./address.js";
import { byId, element, named, terms } from "./elements.js";
import { takenOutOf } from "./redaction.js";
import { factsOfTalk, placeButton } from "./talk.js";
import { channelsIn, clock, dateOf, isUnfinished, languageName, linesOf, nameOf, notificationOf, size, statusOf, timingsOf, urlOf, wasFetched } from "./words.js";

// Takes a transcript, or a list of names and values.
export function showFacts(facts) {
  byId("facts").replaceChildren(...terms(Array.isArray(facts) ? facts : factsOf(facts)));
}

const factsOf = (transcript) => [
  ["Duration", clock(transcript.duration)],
  ["Language", transcript.language ? languageName(transcript.language) : "no speech"],
  ...factsOfTalk(transcript),
];

export function showAbout(job) {
  const line = [dateOf(job.created_at), job.external_id].filter((text) => text && text !== nameOf(job)).map((text) => element("span", {}, named(text)));
  byId("job-line").replaceChildren(...line);
  byId("about-list").replaceChildren(...terms(aboutOf(job).filter(([, value]) => value !== null && value !== "")));
  byId("about").hidden = byId("job-line").hidden = false;
}

function aboutOf(job) {
  const { audio, options } = job;
  return [
    ["Status", statusOf(job)],
    ["Added", dateOf(job.created_at)],
    ["Ended", job.completed_at && dateOf(job.completed_at)],
    [wasFetched(job) ? "Fetched from" : "URL", urlOf(job) && named(urlOf(job))],
    ["External ID", job.external_id && named(job.external_id)],
    ["Metadata", metadataOf(job.metadata)],
    ["Recording", recordingOf(audio)],
    ["Speakers", speakersOf(job)],
    ["Language", languageOf(job)],
    ["Expected words", [options.prompt, ...options.hotwords].filter(Boolean).join(", ")],
    ["Taken out", takenOutOf(job)],
    ["Model", options.model],
    ["Timings", timingsOf(job.timings)],
    ["Retry of", job.retry_of && element("a", { href: addressOfCall(job.retry_of) }, "another call")],
    ["Attempts", job.attempts > 1 ? `${job.attempts} (the service tried again)` : String(job.attempts)],
    ["Notification", notificationOf(job)],
    ["ID", element("code", {}, job.id)],
  ];
}

function speakersOf({ audio, options }) {
  if (options.diarize) return "Told apart by their voices";
  if (audio.channels === 1) return "All on one channel";
  return options.channels === "split" ? "One per channel" : "Not separated, because the channels are mixed";
}

function metadataOf(metadata) {
  const lines = linesOf(metadata);
  return lines.length ? [element("ul", {}, ...lines.map(([name, value]) => element("li", {}, named(`${name}: ${value}`))))] : null;
}

function recordingOf({ codec, sample_rate: rate, channels, bytes }) {
  const parts = [codec, rate && `${rate / 1000} kHz`, channels && channelsIn(channels), bytes && size(bytes)];
  return parts.filter(Boolean).join(", ");
}

function languageOf({ options, language, ...job }) {
  if (options.task === "translate") return `Translated into English${language ? ` from ${languageName(language)}` : ""}`;
  if (options.language !== "auto") return languageName(options.language);
  if (isUnfinished(job)) return "To be detected";
  return language ? `${languageName(language)}, detected` : null;
}

export function showWarnings({ warnings, channels }) {
  const labels = new Map(channels.length > 1 ? channels.map(({ index, label }) => [index, label]) : []);
  byId("warnings").replaceChildren(...warnings.map(({ message, channel, start, end }) =>
    element("li", {}, ...timeOf(start, end), ...(labels.has(channel) ? [named(labels.get(channel)), ": "] : []), message)));
  byId("warnings-part").hidden = warnings.length === 0;
}

// The seconds that a warning is about.
function timeOf(start, end) {
  if (start === null || start === undefined) return [];
  const text = end === null || end === undefined ? clock(start) : `${clock(start)}–${clock(end)}`;
  return [placeButton(start, text), " "];
}
