// Adding recordings: choose or drop files, or name URLs, and send all of them.

import { here } from "./address.js";
import { byId, write } from "./elements.js";
import { announce } from "./messages.js";
import { bodyMaker, setUpOptions } from "./options.js";
import { may } from "./rights.js";
import { showUpload } from "./upload_list.js";
import { atWork, choose, chosen, send, uploads, whenUploadsChange } from "./uploads.js";
import { inWords, recordingsIn } from "./words.js";

const file = byId("file");
const address = byId("address");
const SCHEME = /^[a-z][a-z0-9+.-]*:\/\/./i;

function chooseFiles(files) {
  for (const each of files) choose(each);
  announceChosen();
}

function announceChosen() {
  if (chosen().length) announce(`${recordingsIn(chosen().length)} chosen`);
}

// Takes one URL, or several with white space between them. A URL itself may hold spaces, because keys of S3 may.
function chooseAddresses() {
  const urls = address.value.split(/\s+(?=[a-z][a-z0-9+.-]*:\/\/)/i).map((url) => url.trim()).filter(Boolean);
  const wrong = urls.find((url) => !SCHEME.test(url));
  const isWrong = wrong !== undefined || urls.length === 0;
  write(byId("address-problem"), isWrong ? "Enter a whole URL, which begins with https:// or s3://" : "");
  address.setAttribute("aria-invalid", String(isWrong));
  if (isWrong) return address.focus();
  for (const url of urls) choose(url);
  address.value = "";
  announceChosen();
}

function sendAll() {
  const all = chosen();
  const isAlone = uploads.length === 1;
  for (const upload of all) Object.assign(upload, { isAlone });
  for (const upload of all) send(upload, bodyMaker(upload.source));
  if (byId("start").hidden) byId("uploads").querySelector("button:not([hidden])")?.focus();
}

// If the reader has sent one recording and still sees the form, they follow it to its call.
function follow(upload) {
  const { state, name, job } = upload;
  if (state === "added") announce(`${name}: added`);
  if (state === "refused") announce(`${name}: ${inWords(upload.problem)}`);
  if (state === "added" && upload.isAlone && uploads.length === 1 && here().view === "add") location.hash = job.id;
}

function warn(event) {
  if (atWork().length) event.preventDefault();
}

export function setUpAdding() {
  setUpOptions();
  whenUploadsChange(showUpload);
  whenUploadsChange(follow);
  file.addEventListener("change", () => {
    chooseFiles([...file.files]);
    file.value = "";
  });
  byId("add-address").addEventListener("click", chooseAddresses);
  address.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    chooseAddresses();
  });
  byId("upload").addEventListener("submit", (event) => {
    event.preventDefault();
    sendAll();
  });
  window.addEventListener("beforeunload", warn);
  setUpDropping();
}

// Files can be dropped anywhere on the page. The browser also reports what is dragged inside the page, such as a link.
function setUpDropping() {
  const holdsFiles = ({ dataTransfer }) => may("transcribe") && dataTransfer?.types.includes("Files");
  const show = (isOver) => document.body.classList.toggle("dropping", isOver);
  document.addEventListener("dragover", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    show(true);
  });
  document.addEventListener("dragleave", ({ relatedTarget }) => relatedTarget === null && show(false));
  document.addEventListener("drop", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    show(false);
    if (here().view !== "add") location.hash = "add";
    chooseFiles([...event.dataTransfer.files]);
  });
}
