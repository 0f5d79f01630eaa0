// Shows one of two views. At the address of the page the reader adds recordings and sees all calls. At `#<id>` they follow one
// call and read its dialogue.

import { forgetKey, storedKey, useKey, whenKeyIsNeeded } from "./api.js";
import { setUpAdding } from "./add.js";
import { showCalls } from "./calls.js";
import { byId } from "./elements.js";
import { showJob } from "./job.js";
import { hideProblem, showProblem } from "./messages.js";
import { showLanguages } from "./options.js";
import { unload } from "./player.js";
import { setUpCode, showCode } from "./use_from.js";

let leaving = new AbortController();

async function showView({ focus = true } = {}) {
  leaving.abort();
  leaving = new AbortController();
  unload();
  hideProblem();
  const id = location.hash.slice(1);
  byId("home").hidden = id !== "";
  byId("job").hidden = id === "";
  byId("to-calls").ariaCurrent = id ? null : "page";
  try {
    await (id ? showJob(id, leaving.signal, focus) : showHome(leaving.signal, focus));
  } catch (error) {
    showProblem(error);
  }
}

async function showHome(signal, focus) {
  document.title = "Calls – Callscribe";
  if (focus) byId("home-title").focus();
  await showCalls(signal).finally(showCode); // because the answer shows whether the service needs a key
  await showLanguages(signal);
}

function askForKey(refused) {
  const dialog = byId("key-dialog");
  const field = byId("key");
  byId("forget").hidden = true;
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
  location.assign(location.pathname);
});
byId("forget").hidden = storedKey() === null;
whenKeyIsNeeded(askForKey);
window.addEventListener("hashchange", () => showView());
setUpAdding();
setUpCode();
showView({ focus: false });
