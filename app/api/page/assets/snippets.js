// Code that calls the service, for the reader's shell, Python and Node. Pure: a request → text. `LANGUAGES` is the table.
//
// A request is {address, file, options, needsKey}: the service's address without a slash at its end, the name of a recording,
// fields of the form, and whether the service needs an API key. The code never holds the key itself, because others may see the
// screen. It reads it from the environment variable `KEY`.

export const KEY = "CALLSCRIBE_KEY";
const MODEL = "whisper-1"; // OpenAI's name of the service's default model
const SECONDS = 1800; // because OpenAI's clients give up after ten minutes, and a long queue may take longer
const DIALOGUE = ["response_format", "diarized_json"];
const OWN = ["diarize", "speakers", "redact"]; // `openai` for Python takes other fields than its own only in `extra_body`
const WIDTH = 78;
const SAVED = ["Save it as", "transcribe.mjs"]; // because in other files Node may not know `import`

export const LANGUAGES = {
  curl: {
    name: "curl",
    hints: { job: [], openai: [] },
    answer: "It prints JSON, whose “text” is the dialogue.",
    job: jobInShell,
    openai: openaiInShell,
  },
  python: {
    name: "Python",
    hints: { job: [["Needs", "pip install requests"]], openai: [["Needs", "pip install openai"]] },
    job: jobInPython,
    openai: openaiInPython,
  },
  node: {
    name: "Node",
    hints: { job: [SAVED], openai: [["Needs", "npm install openai"], SAVED] },
    job: jobInNode,
    openai: openaiInNode,
  },
};

function jobInShell({ address, file, options, needsKey }) {
  const key = needsKey ? ['-H "$key"'] : [];
  return lines(
    `calls=${quoted(address + "/v1/transcriptions")}`,
    needsKey && `key="Authorization: Bearer $${KEY}"`,
    `job=$(${wrapped(['curl -sS "$calls"', ...key, ...form(file, chosen(options))])})`,
    'echo "$job"',
    `id=$(echo "$job" | grep -oE '"id":"[^"]+"' | cut -d '"' -f 4)`,
    `while ${wrapped(['curl -sS "$calls/$id?wait=60"', ...key])} |`,
    `  grep -qE '"status":"(pending|in_progress)"'; do :; done`,
    wrapped(['curl -sS "$calls/$id/transcript?format=text"', ...key]),
  );
}

function openaiInShell({ address, file, options, needsKey }) {
  const key = needsKey ? [`-H "Authorization: Bearer $${KEY}"`] : [];
  const text = hasSpeakers(options) ? [] : ["-F response_format=text"];
  const fields = [`-F ${quoted("model=" + openaiModel(options))}`, ...text, ...form(file, openaiFields(options))];
  return wrapped([`curl -sS ${quoted(address + "/v1/audio/transcriptions")}`, ...key, ...fields]);
}

function jobInPython({ address, file, options, needsKey }) {
  const fields = chosen(options).map(inForm);
  return lines(
    needsKey && "import os",
    "import requests",
    "",
    `calls = ${json(address + "/v1/transcriptions")}`,
    "session = requests.Session()",
    needsKey && `session.headers["Authorization"] = "Bearer " + os.environ["${KEY}"]`,
    ...(fields.length ? [dictionary("options = ", fields)] : []),
    `with open(${json(file)}, "rb") as file:`,
    `    answer = session.post(calls, files={"file": file}${fields.length ? ", data=options" : ""})`,
    "if not answer.ok:",
    "    raise SystemExit(answer.text)",
    "job = answer.json()",
    'while job["status"] in ("pending", "in_progress"):',
    `    job = session.get(f"{calls}/{job['id']}?wait=60").json()`,
    `print(session.get(f"{calls}/{job['id']}/transcript?format=text").text)`,
  );
}

function openaiInPython({ address, file, options, needsKey }) {
  const key = needsKey ? `os.environ["${KEY}"]` : '"none"';
  const fields = openaiFields(options);
  const own = fields.filter(([name]) => OWN.includes(name));
  return lines(
    needsKey && "import os",
    "from openai import OpenAI",
    "",
    "client = OpenAI(",
    `    base_url=${json(address + "/v1")},`,
    `    api_key=${key},`,
    `    timeout=${SECONDS},`,
    ")",
    `with open(${json(file)}, "rb") as file:`,
    "    answer = client.audio.transcriptions.create(",
    `        model=${json(openaiModel(options))},`,
    "        file=file,",
    ...fields.filter((field) => !own.includes(field)).map(([name, value]) => `        ${name}=${list(value)},`),
    own.length > 0 && `        extra_body={${own.map(([name, value]) => `${json(name)}: ${list(value)}`).join(", ")}},`,
    "    )",
    hasSpeakers(options) && "for segment in answer.segments:",
    hasSpeakers(options) ? '    print(f"{segment.speaker}: {segment.text}")' : "print(answer.text)",
  );
}

function jobInNode({ address, file, options, needsKey }) {
  const headers = needsKey ? ["headers"] : [];
  const end = needsKey ? "`, { headers })" : "`)";
  const get = (path) => "await fetch(`${calls}/${job.id}" + path + end;
  return lines(
    'import { readFile } from "node:fs/promises";',
    "",
    `const calls = ${json(address + "/v1/transcriptions")};`,
    needsKey && `const headers = { Authorization: "Bearer " + process.env.${KEY} };`,
    "const body = new FormData();",
    `body.append("file", new Blob([await readFile(${json(file)})]), ${json(file)});`,
    ...parts(chosen(options)).map(([name, value]) => `body.append(${json(name)}, ${json(value)});`),
    `const answer = await fetch(calls, { ${['method: "POST"', ...headers, "body"].join(", ")} });`,
    "if (!answer.ok) throw new Error(await answer.text());",
    "let job = await answer.json();",
    'while (["pending", "in_progress"].includes(job.status)) {',
    `  job = await (${get("?wait=60")}).json();`,
    "}",
    `console.log(await (${get("/transcript?format=text")}).text());`,
  );
}

function openaiInNode({ address, file, options, needsKey }) {
  const key = needsKey ? `process.env.${KEY}` : '"none"';
  return lines(
    'import { readFile } from "node:fs/promises";',
    'import OpenAI, { toFile } from "openai";',
    "",
    "const client = new OpenAI({",
    `  baseURL: ${json(address + "/v1")},`,
    `  apiKey: ${key},`,
    `  timeout: ${SECONDS}_000, maxRetries: 5, // Node ends each try after five minutes`,
    "});",
    "const answer = await client.audio.transcriptions.create({",
    `  model: ${json(openaiModel(options))},`,
    `  file: await toFile(await readFile(${json(file)}), ${json(file)}),`,
    ...openaiFields(options).map(([name, value]) => `  ${name}: ${list(value)},`),
    "});",
    hasSpeakers(options) && "for (const { speaker, text } of answer.segments)",
    hasSpeakers(options) ? "  console.log(`${speaker}: ${text}`);" : "console.log(answer.text);",
  );
}

// Whether the answer to OpenAI's clients has speakers.
export const hasSpeakers = ({ channels, diarize }) => channels === "split" || diarize === "true";

// The fields of the form, without what the service does anyway. A field is a name and a value, which may be a list.
const chosen = ({ channels, language, ...others }) =>
  Object.entries({ ...(channels === "split" ? { channels } : {}), ...others, ...(language === "auto" ? {} : { language }) })
    .filter(([, value]) => value.length > 0);

export const openaiModel = ({ model }) => model ?? MODEL;

// The same choice in OpenAI's words, without the model. The number of speakers is only taken beside `diarize`.
const openaiFields = ({ model: _, ...options }) =>
  chosen(options).flatMap(([name, value]) => {
    if (name === "channels") return [DIALOGUE];
    if (name === "diarize") return options.speakers ? [DIALOGUE, [name, value]] : [DIALOGUE];
    return [[name === "channel_labels" ? "known_speaker_names" : name, value]];
  });

// With brackets, a comma in a label does not separate labels.
const inForm = ([name, value]) => [Array.isArray(value) ? `${name}[]` : name, value];
const parts = (fields) => fields.map(inForm).flatMap(([name, value]) => [value].flat().map((each) => [name, each]));

const form = (file, fields) => [
  `-F ${quoted("file=@" + filePath(file))}`,
  ...parts(fields).map(([name, value]) => `${flag(value)} ${quoted(name + "=" + value)}`),
];

// With `-F`, curl reads a value that begins with `@` or `<` from a file, and takes what follows a semicolon apart.
const flag = (value) => (["@", "<", '"'].includes(value[0]) || value.includes(";") ? "--form-string" : "-F");

// In the name of a file, curl takes commas and semicolons apart unless the name is in double quotes. `-` would be standard input.
function filePath(name) {
  const path = name === "-" ? "./-" : name;
  const isPlain = path === path.trim() && [",", ";", '"', "\\"].every((special) => !path.includes(special));
  return isPlain ? path : ['"', path.replaceAll("\\", "\\\\").replaceAll('"', '\\"'), '"'].join("");
}

// A word for a POSIX shell. Single quotes keep everything except single quotes.
const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : ["'", word.replaceAll("'", "'\\''"), "'"].join(""));

// Text as JSON is a literal of Python and of JavaScript too.
const json = (text) => JSON.stringify(text);
const list = (value) => (Array.isArray(value) ? `[${value.map(json).join(", ")}]` : json(value));

// A dictionary of Python, on one row if it fits.
function dictionary(start, fields) {
  const items = fields.map(([name, value]) => `${json(name)}: ${list(value)}`);
  const row = `${start}{${items.join(", ")}}`;
  return row.length <= WIDTH ? row : lines(`${start}{`, ...items.map((item) => `    ${item},`), "}");
}

const lines = (...texts) => texts.filter((text) => typeof text === "string").join("\n");

// One command, continued on the next row where a row would become too wide.
function wrapped(words) {
  const rows = [words[0]];
  for (const word of words.slice(1)) {
    if (rows.at(-1).length + word.length < WIDTH) rows.push(`${rows.pop()} ${word}`);
    else rows.push(word);
  }
  return rows.join(" \\\n  ");
}
