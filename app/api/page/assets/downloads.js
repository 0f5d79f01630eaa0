// Buttons that download the transcript in each format.

import { call, pathOf } from "./api.js";
import { byId, element } from "./elements.js";
import { showProblem } from "./messages.js";

const FORMATS = {
  text: ["Text", "txt"],
  srt: ["SRT", "srt"],
  vtt: ["WebVTT", "vtt"],
  tsv: ["TSV", "tsv"],
  json: ["JSON", "json"],
  whisper: ["Whisper JSON", "whisper.json"],
};

export function showDownloads(job, signal) {
  const buttons = Object.entries(FORMATS).map(([format, [label, extension]]) => {
    const button = element("button", { type: "button" }, label);
    button.addEventListener("click", () => download(job, format, extension, signal).catch(showProblem));
    return button;
  });
  byId("downloads").replaceChildren(...buttons);
}

// A plain link would send the request without the key.
async function download(job, format, extension, signal) {
  const response = await call(`${pathOf(job.id)}/transcript?format=${format}`, { signal });
  const stem = (job.audio.filename ?? job.id).replace(/\.[^.]*$/, "");
  save(await response.blob(), `${stem}.${extension}`);
}

export function save(blob, name) {
  const address = URL.createObjectURL(blob);
  element("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
