// The options of the recordings that are to be sent: the form's fields, and the requests that are made of them.

import { read } from "./api.js";
import { byId, element, write } from "./elements.js";
import { examinedOnce } from "./player.js";
import { languageName } from "./words.js";

const form = byId("upload");

// Offers the languages of the model that the service uses by default, and to tell voices apart if the service can.
export async function showLanguages(signal) {
  if (byId("language").length > 1) return;
  const { items } = await read("v1/models", signal);
  const usual = items.find((model) => model.default);
  byId("by-voice").hidden = !usual.abilities.includes("speakers");
  const languages = usual.languages.map((code) => [languageName(code), code]);
  byId("language").append(...languages.sort().map(([name, value]) => element("option", { value }, name)));
}

// Returns a function that makes the body of a request, with the options as they are now.
export function bodyMaker(source) {
  const options = chosenOptions();
  return async () => {
    if (!(source instanceof File)) return JSON.stringify({ url: source, ...options, ...(options.diarize ? { diarize: true } : {}) });
    const found = await examinedOnce(source);
    return asForm(source, found?.peaks.length === 1 ? withOneChannel(options) : options);
  };
}

export function chosenOptions() {
  const { channels, language, prompt, redact } = Object.fromEntries(new FormData(form));
  return {
    channels: channels === "split" ? "split" : "mix",
    ...(channels === "voices" ? { diarize: "true" } : {}),
    language,
    ...(channels === "split" ? { channel_labels: positional(new FormData(form).getAll("channel_labels")) } : {}),
    ...(prompt.trim() ? { prompt: prompt.trim() } : {}),
    ...(redact ? { redact: [redact] } : {}),
  };
}

const withOneChannel = ({ channel_labels: _, ...options }) => ({ ...options, channels: "mix" });

function asForm(file, options) {
  const fields = new FormData();
  // With brackets, a comma in a label does not separate labels.
  for (const [name, value] of Object.entries(options)) for (const each of [value].flat()) fields.append(Array.isArray(value) ? `${name}[]` : name, each);
  fields.append("file", file);
  return fields;
}

// The service assigns labels to channels by position. So a blank label before another one is not left out: it becomes the name
// that the service gives to a channel without a label.
function positional(labels) {
  const names = labels.map((label) => label.trim());
  return names.slice(0, names.findLastIndex(Boolean) + 1).map((name, index) => name || `channel_${index}`);
}

function summarize() {
  const { channels, diarize, channel_labels: labels = [], redact } = chosenOptions();
  const speakers = channels === "split" ? ["one speaker per channel", labels.join(", ")].filter(Boolean).join(": ") : `all speakers on one channel${diarize ? ", told apart by their voices" : ""}`;
  const language = byId("language").selectedOptions[0];
  write(byId("chosen-options"), `${speakers}; ${language.value === "auto" ? "language detected automatically" : language.text}${redact ? "; redacted" : ""}`);
  byId("labels").disabled = channels === "mix";
}

export function setUpOptions() {
  for (const event of ["input", "change"]) form.addEventListener(event, summarize);
  summarize();
}
