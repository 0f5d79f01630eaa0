// Keys for the list and the call. They do nothing while the reader writes or a dialog is open.

import { here } from "./address.js";
import { hasOlder, rowAt, showUpTo, shownRows } from "./calls.js";
import { choose, chooseNone, chooseUpTo, chosenRows, whenChosenChange } from "./chosen.js";
import { byId, write } from "./elements.js";
import { toggle as togglePlaying } from "./player.js";

const MOST_CHOSEN = 1000; // as many as an export may have

const table = byId("calls");
const rowOf = (target) => target?.closest?.("#calls .row");
const current = () => rowOf(document.activeElement);

let last = null; // the row in which the focus was last

function focusRow(row) {
  if (!row) return;
  row.querySelector(".what a").focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
}

function move(steps) {
  const from = current() ?? (last?.isConnected ? last : null);
  if (!from) return focusRow(table.firstElementChild);
  if (!current()) return focusRow(from);
  focusRow(steps > 0 ? from.nextElementSibling : from.previousElementSibling);
}

function toggle(isRange) {
  const row = current();
  if (row) chooseUpTo(rowAt(row), shownRows(), isRange);
}

function escape() {
  if (here().view !== "calls") return location.assign(byId("to-calls").href);
  if (chosenRows().length) return chooseNone();
  return undefined;
}

const inList = {
  j: () => move(1),
  ArrowDown: () => move(1),
  k: () => move(-1),
  ArrowUp: () => move(-1),
  Home: () => current() && focusRow(table.firstElementChild),
  End: () => current() && focusRow(table.lastElementChild),
  x: () => toggle(false),
  X: () => toggle(true),
  "/": () => search(byId("q")),
};
const inCall = { "/": () => search(byId("search")), p: togglePlaying };
const anywhere = { Escape: escape, "?": () => byId("keys-dialog").showModal(), n: () => byId("to-add").hidden || location.assign(byId("to-add").href) };

function search(field) {
  field.focus();
  field.select();
}

const isWriting = ({ target }) => target.matches("input:not([type=checkbox], [type=radio], [type=file]), textarea, select, audio, [contenteditable]");

function act(event) {
  if (event.defaultPrevented || event.isComposing || event.altKey || event.ctrlKey || event.metaKey) return;
  if (document.querySelector("dialog[open]")) return;
  if (isWriting(event)) {
    if (event.key === "Escape" && !event.target.value) event.target.blur();
    else if (event.key === "ArrowDown" && event.target.id === "q") (event.preventDefault(), focusRow(table.firstElementChild));
    return;
  }
  const { view } = here();
  const keys = { ...anywhere, ...(view === "calls" ? inList : view === "call" ? inCall : {}) };
  const isMove = event.key.startsWith("Arrow") || event.key === "Home" || event.key === "End";
  if (!Object.hasOwn(keys, event.key) || (isMove && event.shiftKey)) return;
  event.preventDefault();
  keys[event.key]();
}

// Shift and a click choose all calls since the one that was chosen last, wherever in the row the reader clicks.
function click(event) {
  const item = rowOf(event.target);
  if (!item) return;
  const isBox = event.target.matches("[type=checkbox]");
  if (!isBox && (!event.shiftKey || event.target.closest("button, .hits, label"))) return;
  if (!isBox) event.preventDefault();
  chooseUpTo(rowAt(item), shownRows(), event.shiftKey, isBox ? event.target.checked : undefined);
}

// The box at the head of the list is full only if there is no call that it leaves out.
function showBox(count) {
  const isAll = count > 0 && count === shownRows().length && !hasOlder();
  byId("choose-all").checked = isAll;
  byId("choose-all").indeterminate = count > 0 && !isAll;
  byId("choose-every").hidden = isAll;
  write(byId("choose-every"), hasOlder() && shownRows().length >= MOST_CHOSEN ? "Choose all on the list" : "Choose all");
}

async function chooseAll() {
  await showUpTo(MOST_CHOSEN);
  choose(shownRows(), true);
}

export function setUpKeyboard() {
  document.addEventListener("keydown", act);
  table.addEventListener("click", click);
  table.addEventListener("mousedown", (event) => event.shiftKey && event.preventDefault()); // because Shift would select text
  table.addEventListener("focusin", ({ target }) => (last = rowOf(target)));
  byId("choose-all").addEventListener("change", () => (byId("choose-all").checked ? chooseAll() : chooseNone()));
  byId("choose-every").addEventListener("click", chooseAll);
  whenChosenChange(showBox);
  byId("choose-none").addEventListener("click", chooseNone);
  byId("keys").addEventListener("click", () => byId("keys-dialog").showModal());
  byId("keys-close").addEventListener("click", () => byId("keys-dialog").close());
}
