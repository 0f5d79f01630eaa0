// What the reader can do with a call: cancel it while it is unfinished, and erase it.

import { call, pathOf } from "./api.js";
import { removeCalls } from "./calls.js";
import { byId, named } from "./elements.js";
import { announce, showProblem } from "./messages.js";
import { ownRecordings, remove, uploads } from "./uploads.js";
import { isUnfinished, nameOf, urlOf } from "./words.js";

const dialog = byId("delete-dialog");

export function setUpActions(job, signal) {
  byId("actions").hidden = false;
  byId("cancel").disabled = false;
  byId("cancel").onclick = () => cancel(job);
  byId("delete").onclick = () => askAndDelete(job, signal);
}

export function showCancel(job) {
  const had = document.activeElement === byId("cancel");
  byId("cancel").hidden = !isUnfinished(job);
  if (had && byId("cancel").hidden) byId("job-title").focus();
}

async function cancel(job) {
  byId("cancel").disabled = true;
  try {
    await call(`${pathOf(job.id)}/cancel`, { method: "POST" });
  } catch (error) {
    byId("cancel").disabled = false;
    if (error.code !== "already_final") showProblem(error);
  }
}

function askAndDelete(job, signal) {
  byId("delete-name").replaceChildren(named(nameOf(job)));
  byId("delete-cancels").hidden = byId("cancel").hidden;
  byId("delete-remains").hidden = urlOf(job) === null;
  dialog.returnValue = "";
  dialog.onclose = () => dialog.returnValue === "delete" && erase(job, signal);
  dialog.showModal();
}

async function erase(job, signal) {
  byId("delete").disabled = true;
  try {
    await call(pathOf(job.id), { method: "DELETE" });
  } catch (error) {
    if (error.status !== 404) return showProblem(error);
  } finally {
    byId("delete").disabled = false;
  }
  ownRecordings.delete(job.id);
  const upload = uploads.find((each) => each.job?.id === job.id);
  if (upload) remove(upload);
  removeCalls([job.id]);
  if (!signal.aborted) location.replace(byId("to-calls").href);
  announce(`${nameOf(job)} is erased`);
}

byId("keep").addEventListener("click", () => dialog.close());
