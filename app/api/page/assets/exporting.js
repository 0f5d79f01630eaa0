// Exports the chosen calls: a table for spreadsheets, or an archive with a transcript of each.

import { call } from "./api.js";
import { chosenRows } from "./chosen.js";
import { save } from "./downloads.js";
import { byId, write } from "./elements.js";
import { announce, showProblem } from "./messages.js";
import { callsIn } from "./words.js";

const MOST = 1000; // of one request
const dialog = byId("export-dialog");
const form = byId("export-form");

function ask() {
  const count = chosenRows().length;
  write(byId("export-count"), count > MOST ? `Only the first ${MOST.toLocaleString()} of the ${callsIn(count)} that you have chosen fit into one export.` : "");
  byId("export-count").hidden = count <= MOST;
  write(byId("export-title"), `Export ${callsIn(Math.min(count, MOST))}`);
  dialog.returnValue = "";
  dialog.showModal();
}

async function exportChosen() {
  const { format, transcript_format: transcripts } = Object.fromEntries(new FormData(form));
  const ids = chosenRows().slice(0, MOST).map(({ job }) => job.id);
  byId("export").disabled = true;
  try {
    const body = JSON.stringify({ ids, format, ...(format === "zip" ? { transcript_format: transcripts } : {}) });
    const response = await call("v1/transcriptions/export", { method: "POST", body });
    const day = new Date().toLocaleDateString("sv"); // which writes a date as 2026-11-28
    save(await response.blob(), `calls-${day}.${format}`);
    announce(`${callsIn(ids.length)} exported`);
  } catch (error) {
    showProblem(error);
  } finally {
    byId("export").disabled = false;
  }
}

export function setUpExport() {
  byId("export").addEventListener("click", ask);
  byId("export-cancel").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => dialog.returnValue === "export" && exportChosen());
}
