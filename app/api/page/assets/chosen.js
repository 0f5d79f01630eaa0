// The calls that the reader has chosen in the list, and the bar that says what can be done with them.

import { byId, write } from "./elements.js";
import { callsIn } from "./words.js";

const chosen = new Map(); // job id → row
const listeners = [];
let last = null; // the row that was chosen last, from which Shift chooses a range

export const chosenRows = () => [...chosen.values()];
export const whenChosenChange = (listener) => listeners.push(listener);

export function choose(rows, isChosen) {
  for (const row of rows) {
    if (isChosen) chosen.set(row.job.id, row);
    else chosen.delete(row.job.id);
    row.box.checked = isChosen;
    row.item.classList.toggle("chosen", isChosen);
  }
  show();
}

// Chooses a row or no longer chooses it. With `isRange`, all rows since the last one change in the same way.
export function chooseUpTo(row, rows, isRange, isChosen = !chosen.has(row.job.id)) {
  const [from, to] = [rows.indexOf(last), rows.indexOf(row)].sort((one, other) => one - other);
  choose(isRange && from >= 0 ? rows.slice(from, to + 1) : [row], isChosen);
  last = row;
}

export function chooseNone() {
  choose(chosenRows(), false);
  last = null;
}

// Called when rows of the list have gone. Only calls that are still on the list stay chosen.
export function chosenStay(byJob) {
  for (const id of chosen.keys()) if (!byJob.has(id)) chosen.delete(id);
  for (const [id] of chosen) chosen.set(id, byJob.get(id));
  for (const row of chosen.values()) {
    row.box.checked = true;
    row.item.classList.add("chosen");
  }
  show();
}

function show() {
  const hadFocus = byId("chosen-bar").contains(document.activeElement) || document.activeElement === document.body;
  const isEmptied = !byId("chosen-bar").hidden && chosen.size === 0;
  byId("chosen-bar").hidden = chosen.size === 0;
  if (isEmptied && hadFocus) byId("home-title").focus();
  write(byId("chosen-count"), chosen.size ? `${callsIn(chosen.size)} chosen` : "");
  for (const listener of listeners) listener(chosen.size);
}
