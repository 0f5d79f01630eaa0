// The list of recordings that are chosen, sent, added or refused, one row each.

import { byId, element, named, write } from "./elements.js";
import { bodyMaker } from "./options.js";
import { examinedOnce } from "./player.js";
import { atWork, canTryAgain, chosen, remove, send, uploads } from "./uploads.js";
import { channelsIn, inWords, percent, recordingsIn, size } from "./words.js";

const rows = new Map(); // upload → its row
let examining = Promise.resolve();

export function showUpload(upload) {
  if (upload.state === "removed") removeRow(upload);
  else update(rows.get(upload) ?? addRow(upload), upload);
  showCounts();
}

function removeRow(upload) {
  const { item } = rows.get(upload);
  const had = item.contains(document.activeElement);
  const next = item.nextElementSibling ?? item.previousElementSibling;
  item.remove();
  rows.delete(upload);
  if (had) (next?.querySelector("button:not([hidden])") ?? byId("file")).focus();
}

function addRow(upload) {
  const row = {
    name: element("span", { className: "name", title: upload.name }, named(upload.name)),
    facts: element("span", { className: "quiet" }),
    state: element("span", { className: "state" }),
    request: element("span", { className: "hint" }),
    bar: element("progress", { max: 1, ariaLabel: `Upload of ${upload.name}` }),
    open: element("a", { className: "button" }, "Open"),
    again: element("button", { type: "button", onclick: () => send(upload, bodyMaker(upload.source)) }, "Try again"),
    away: element("button", { type: "button", className: "plain", onclick: () => remove(upload) }),
  };
  row.item = element("li", {}, element("div", { className: "what" }, row.name, " ", row.facts, " ", row.state, row.request, row.bar),
    element("div", { className: "buttons" }, row.open, row.again, row.away));
  for (const control of [row.open, row.again]) control.setAttribute("aria-label", `${control.textContent}: ${upload.name}`);
  rows.set(upload, row);
  byId("uploads").append(row.item);
  showFacts(row, upload.source);
  return row;
}

// Files are examined one after the other, because each takes memory while it is decoded.
function showFacts(row, source) {
  if (!(source instanceof File)) {
    row.facts.textContent = "the service fetches it";
    return;
  }
  row.facts.textContent = size(source.size);
  examining = examining.then(async () => {
    const found = row.item.isConnected ? await examinedOnce(source) : null;
    if (found) row.facts.textContent += `, ${channelsIn(found.peaks.length)}`;
  });
}

function update(row, upload) {
  const { state, done } = upload;
  row.item.className = state;
  write(row.state, stateOf(upload));
  if (state === "refused" && !(upload.source instanceof File)) write(row.facts, "");
  write(row.request, upload.problem?.requestId ? `Request ID: ${upload.problem.requestId}` : "");
  row.bar.hidden = state !== "sending";
  if (state === "sending" && done < 1) row.bar.value = done;
  else row.bar.removeAttribute("value");
  row.open.hidden = state !== "added";
  if (upload.job) row.open.href = `#${upload.job.id}`;
  row.again.hidden = state !== "refused" || !canTryAgain(upload);
  const label = { waiting: "Cancel", sending: "Cancel", delayed: "Cancel", added: "Hide" }[state] ?? "Remove";
  write(row.away, label);
  row.away.title = state === "added" ? "Hide this row. The call stays among the calls." : "";
  row.away.setAttribute("aria-label", `${label}: ${upload.name}`);
}

function stateOf({ state, done, problem, delay, source }) {
  switch (state) {
    case "waiting": return "Waits for the uploads before it";
    case "sending": return source instanceof File && done < 1 ? `Uploading, ${percent(done)}` : "The service checks it";
    case "delayed": return `${problem.code === "queue_full" ? "The queue of the service is full" : "The service is busy"}. The page tries again in ${delay} s.`;
    case "added": return "Added to the calls";
    case "refused": return inWords(problem);
    default: return "";
  }
}

function showCounts() {
  const count = chosen().length;
  byId("start").hidden = count === 0;
  write(byId("start"), `Transcribe ${recordingsIn(count)}`);
  byId("uploads").hidden = uploads.length === 0;
  byId("clear").hidden = !uploads.some(isEnded) || uploads.length < 2;
  const refused = uploads.filter(({ state }) => state === "refused").length;
  write(byId("refusals"), uploads.length > 1 && refused ? `${recordingsIn(refused)} refused` : "");
  const left = atWork().length;
  byId("uploading").hidden = left === 0;
  write(byId("uploading"), `Uploading ${recordingsIn(left)}`);
}

const isEnded = ({ state }) => state === "added" || state === "refused";

byId("clear").addEventListener("click", () => {
  for (const upload of uploads.filter(isEnded)) remove(upload);
  byId("file").focus();
});
