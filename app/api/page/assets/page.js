// Shows one of two views. At the address `/` the reader posts a recording, at `/#<id>` they follow a job and read its dialogue.

import { forgetKey, storedKey, useKey, whenKeyIsNeeded } from "./api.js";
import { byId } from "./elements.js";
import { showJob } from "./job.js";
import { unload } from "./player.js";
import { setUpUpload, showNew } from "./upload.js";
import { hideProblem, showProblem } from "./messages.js";

const views = ["new", "job", "progress"];
let leaving = new AbortController();

async function showView({ focus = true } = {}) {
  leaving.abort();
  leaving = new AbortController();
  unload();
  hideProblem();
  for (const view of views) byId(view).hidden = true;
  const id = location.hash.slice(1);
  try {
    await (id ? showJob(id, leaving.signal, focus) : showNew(leaving.signal, focus));
  } catch (error) {
    showProblem(error);
  }
}

function askForKey(refused) {
  const dialog = byId("key-dialog");
  const field = byId("key");
  byId("key-reason").textContent = refused
    ? "The service does not know this key. Enter another one."
    : "This service needs an API key. The page keeps your key until you close this tab.";
  field.value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const given = dialog.returnValue === "given";
      if (given) useKey(field.value.trim());
      field.value = "";
      byId("forget").hidden = storedKey() === null;
      resolve(given);
    }, { once: true });
  });
}

byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  byId("key-dialog").close("given");
});
byId("key-cancel").addEventListener("click", () => byId("key-dialog").close());
byId("forget").addEventListener("click", () => {
  forgetKey();
  location.assign("/");
});
byId("forget").hidden = storedKey() === null;
whenKeyIsNeeded(askForKey);
window.addEventListener("hashchange", () => showView());
setUpUpload(() => leaving.signal);
showView({ focus: false });
