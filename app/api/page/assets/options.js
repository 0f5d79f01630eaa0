// The options of the recordings that are to be sent: the form's fields, and the requests that are made of them.

import { read } from "./api.js";
import { byId, element, write } from "./elements.js";
import { examinedOnce } from "./player.js";
import { languageName } from "./words.js";

const form = byId("upload");

let models = [];

// Offers the models if there are several, and what the usual one can do.
export async function showModels(signal) {
  if (models.length) return;
  ({ items: models } = await read("v1/models", signal));
  byId("model").append(...models.map(({ name, default: isUsual }) => element("option", { value: isUsual ? "" : name }, name)));
  byId("model-choice").hidden = models.length < 2;
  offerAbilities();
}

// Offers only what the chosen model can do. A language stays chosen if the model knows it.
function offerAbilities() {
  const { family, abilities, languages } = models[byId("model").selectedIndex];
  byId("model-hint").hidden = family !== "remote";
  byId("by-voice").hidden = !abilities.includes("speakers");
  byId("special-words").hidden = byId("prompt").disabled = !abilities.includes("prompt");
  const language = byId("language");
  const before = language.value;
  const named = languages.map((code) => [languageName(code), code]).sort();
  language.replaceChildren(language.options[0], ...named.map(([name, value]) => element("option", { value }, name)));
  language.value = languages.includes(before) ? before : "auto";
}

// Returns a function that makes the body of a request, with the options as they are now.
export function bodyMaker(source) {
  const options = chosenOptions();
  return async () => {
    if (!(source instanceof File)) return JSON.stringify({ url: source, ...options, ...numbered(options) });
    const found = await examinedOnce(source);
    return asForm(source, found?.peaks.length === 1 ? withOneChannel(options) : options);
  };
}

// The values of JSON that are texts in a form.
const numbered = ({ diarize, speakers }) => ({ ...(diarize ? { diarize: true } : {}), ...(speakers ? { speakers: Number(speakers) } : {}) });

export function chosenOptions() {
  const { channels, speakers, model, language, prompt = "", redact } = Object.fromEntries(new FormData(form));
  return {
    ...(model ? { model } : {}),
    channels: channels === "split" ? "split" : "mix",
    ...(channels === "voices" ? { diarize: "true" } : {}),
    ...(speakers ? { speakers } : {}),
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
  const { channels, diarize, speakers: count, channel_labels: labels = [], model, redact } = chosenOptions();
  const speakers = channels === "split" ? ["one speaker per channel", labels.join(", ")].filter(Boolean).join(": ") : `all ${count ? `${count} ` : ""}speakers on one channel${diarize ? ", told apart by their voices" : ""}`;
  const language = byId("language").selectedOptions[0];
  write(byId("chosen-options"), `${speakers}; ${language.value === "auto" ? "language detected automatically" : language.text}${model ? `; model ${model}` : ""}${redact ? "; redacted" : ""}`);
  byId("labels").disabled = channels === "mix";
  byId("labels").hidden = Boolean(diarize);
  byId("voices").hidden = byId("voices").disabled = !diarize;
}

export function setUpOptions() {
  byId("model").addEventListener("change", offerAbilities);
  for (const event of ["input", "change"]) form.addEventListener(event, summarize);
  summarize();
}
