// The box "Use it from …": a tab for each language, with code that the reader copies. `snippets.js` writes the code.

import { needsKey } from "./api.js";
import { byId, element, write } from "./elements.js";
import { announce } from "./messages.js";
import { chosenOptions } from "./options.js";
import { KEY, LANGUAGES, hasSpeakers, openaiModel } from "./snippets.js";
import { uploads, whenUploadsChange } from "./uploads.js";

const SHOWN_MILLISECONDS = 3000;
const ANY_FILE = "call.wav";
const NEEDS_CHANNELS = "If the recording has only one channel, choose “All speakers on one channel” above.";
const KINDS = {
  job: { title: "Callscribe's API", about: () => "Posts a recording, waits, and reads the dialogue. Once the service has answered, the job survives restarts." },
  openai: { title: "OpenAI-compatible", about: aboutOpenai },
};

const written = []; // [element, function] of each text that depends on the request. The function makes the text of the request
const tabs = Object.keys(LANGUAGES).map(makeTab);

// The path of the page is the path of the service, because the page's address ends with a slash.
const address = () => location.origin + location.pathname.replace(/\/[^/]*$/, "");

function request() {
  const file = uploads.find(({ source }) => source instanceof File);
  return { address: address(), file: file?.name ?? ANY_FILE, options: chosenOptions(), needsKey: needsKey() };
}

// Writes the code again, for the options, the recording and the key that there are now.
export function showCode() {
  const now = request();
  byId("use-key").hidden = !now.needsKey;
  write(byId("use-file"), now.file);
  write(byId("use-base"), `${now.address}/v1`);
  write(byId("use-model"), openaiModel(now.options));
  for (const [target, text] of written) write(target, text(now));
}

function aboutOpenai({ options }, { answer = "" }) {
  if (!hasSpeakers(options)) return "One request, as OpenAI's clients send it. It waits until the text is complete.";
  return ["One request, as OpenAI's clients send it. It waits until the dialogue is complete.", answer, options.diarize ? "" : NEEDS_CHANNELS].filter(Boolean).join(" ");
}

function makeTab(id) {
  const { name, hints } = LANGUAGES[id];
  const tab = element("button", { type: "button", role: "tab", id: `use-${id}`, onclick: () => select(id), onkeydown: move }, name);
  tab.setAttribute("aria-controls", `use-${id}-code`);
  const panel = element("div", { role: "tabpanel", id: `use-${id}-code` }, ...Object.keys(KINDS).map((kind) => makeSnippet(id, kind, hints[kind])));
  panel.setAttribute("aria-labelledby", tab.id);
  return { id, tab, panel };
}

function makeSnippet(id, kind, hints) {
  const { title, about } = KINDS[kind];
  const name = `${LANGUAGES[id].name}, ${title}`;
  const code = element("code", { dir: "ltr" });
  const purpose = element("span");
  written.push([code, LANGUAGES[id][kind]], [purpose, (now) => about(now, LANGUAGES[id])]);
  const area = element("pre", { role: "group", ariaLabel: name, tabIndex: 0 }, code);
  const needed = hints.flatMap(([words, what]) => [`${words} `, element("code", {}, what), ". "]);
  return element("section", { className: kind },
    element("div", { className: "snippet-head" }, element("h2", {}, title), makeCopyButton(code, name)), element("p", { className: "hint" }, ...needed, purpose), area);
}

function select(id) {
  for (const { id: other, tab, panel } of tabs) {
    tab.ariaSelected = String(other === id);
    tab.tabIndex = other === id ? 0 : -1;
    panel.hidden = other !== id;
  }
}

// Only the chosen tab is in the tab order. The arrow keys choose the others.
function move(event) {
  if (event.altKey || event.ctrlKey || event.metaKey) return; // because these are commands of the browser
  const at = tabs.findIndex(({ tab }) => tab === event.target);
  const last = tabs.length - 1;
  const to = { ArrowRight: at === last ? 0 : at + 1, ArrowLeft: at === 0 ? last : at - 1, Home: 0, End: last }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  select(tabs[to].id);
  tabs[to].tab.focus();
}

function makeCopyButton(code, name) {
  const button = element("button", { type: "button", className: "copy" });
  let timer;
  const say = (text) => {
    write(button, text);
    button.ariaLabel = `${text}: ${name}`;
  };
  button.addEventListener("click", async () => {
    announce(""); // so that the same words are announced again if the reader copies again
    const done = (await isCopied(code)) ? "Copied" : "Selected, now copy it";
    say(done);
    announce(`${done}: ${name}`);
    clearTimeout(timer);
    timer = setTimeout(say, SHOWN_MILLISECONDS, "Copy");
  });
  say("Copy");
  return button;
}

// Browsers have no clipboard API where the page has no TLS. There, the text is selected, and the old command copies the selection.
async function isCopied(code) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(code);
    return document.execCommand("copy");
  }
}

export function setUpCode() {
  write(byId("use-variable"), `export ${KEY}=…`);
  byId("use-tabs").append(...tabs.map(({ tab }) => tab));
  byId("use-tabs").after(...tabs.map(({ panel }) => panel));
  select(tabs[0].id);
  whenUploadsChange(showCode);
  for (const event of ["input", "change"]) byId("upload").addEventListener(event, showCode);
  showCode();
}
