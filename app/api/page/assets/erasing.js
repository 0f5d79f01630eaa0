// Erases the chosen calls, after the reader has confirmed how many they are.

import { call, pathOf } from "./api.js";
import { removeCalls } from "./calls.js";
import { chosenRows } from "./chosen.js";
import { byId, element, named, write } from "./elements.js";
import { announce, showProblem } from "./messages.js";
import { callsIn, nameOf } from "./words.js";

const AT_THE_SAME_TIME = 4;
const NAMED = 5;
const dialog = byId("erase-dialog");

function ask() {
  const rows = chosenRows();
  const names = rows.slice(0, NAMED).map(({ job }) => element("li", {}, named(nameOf(job))));
  const more = rows.length - names.length;
  write(byId("erase-title"), `Erase ${callsIn(rows.length)}?`);
  write(byId("erase-now"), `Erase ${callsIn(rows.length)}`);
  byId("erase-names").replaceChildren(...names, ...(more > 0 ? [element("li", { className: "quiet" }, `and ${more} more`)] : []));
  dialog.returnValue = "";
  dialog.showModal();
}

async function eraseChosen() {
  const jobs = chosenRows().map(({ job }) => job);
  const left = [...jobs];
  const gone = [];
  byId("erase").disabled = true;
  const eraseNext = async () => {
    for (let job = left.shift(); job; job = left.shift()) {
      await erase(job);
      gone.push(job.id);
      write(byId("chosen-count"), `Erased ${gone.length} of ${jobs.length}`);
    }
  };
  try {
    await Promise.all(Array.from({ length: AT_THE_SAME_TIME }, eraseNext));
    announce(`${callsIn(gone.length)} erased`);
  } catch (error) {
    left.length = 0;
    showProblem(error);
  } finally {
    byId("erase").disabled = false;
    removeCalls(gone);
  }
}

// A call that somebody else has erased is gone, as the reader wants.
const erase = (job) => call(pathOf(job.id), { method: "DELETE" }).catch((error) => {
  if (error.status !== 404) throw error;
});

export function setUpErasing() {
  byId("erase").addEventListener("click", ask);
  byId("erase-cancel").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => dialog.returnValue === "erase" && eraseChosen());
}
