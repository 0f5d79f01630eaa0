// Lines of code that call the service, for the reader's shell, Python and Node. Pure: a request → text. `LANGUAGES` is the table.
//
// A request is {address, file, options, needsKey}: the service's address without a slash at its end, the name of a recording,
// fields of the form, and whether the service needs an API key. The lines never hold the key itself, because others may see the
// screen. They read it from the environment variable `KEY`.

export const KEY = "CALLSCRIBE_KEY";
const MODEL = "whisper-1"; // OpenAI's name of the service's default model
const WIDTH = 78;
const SAVED = ["Save it as", "transcribe.mjs"]; // because in other files Node may not know `import`

export const LANGUAGES = {
  curl: { name: "curl", hints: { job: [], openai: [] }, job: jobInShell, openai: openaiInShell },
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
    `calls=${quoted(`${address}/v1/transcriptions`)}`,
    needsKey && `key="Authorization: Bearer $${KEY}"`,
    `job=$(${wrapped(['curl -sS "$calls"', ...key, ...form(file, options)])})`,
    'echo "$job"',
    `id=$(echo "$job" | grep -oE '"id":"[^"]+' | cut -d'"' -f4)`,
    `while ${wrapped(['curl -sS "$calls/$id?wait=60"', ...key])} |`,
    `  grep -qE '"status":"(pending|in_progress)"'; do :; done`,
    wrapped(['curl -sS "$calls/$id/transcript?format=text"', ...key]),
  );
}

function openaiInShell({ address, file, options, needsKey }) {
  const key = needsKey ? [`-H "Authorization: Bearer $${KEY}"`] : [];
  return lines(wrapped([`curl -sS ${quoted(`${address}/v1/audio/transcriptions`)}`, ...key, `-F model=${MODEL}`, ...form(file, options)]));
}

function jobInPython({ address, file, options, needsKey }) {
  const fields = fieldsOf(options);
  return lines(
    needsKey && "import os",
    "import requests",
    "",
    `calls = ${json(`${address}/v1/transcriptions`)}`,
    "session = requests.Session()",
    needsKey && `session.headers["Authorization"] = "Bearer " + os.environ["${KEY}"]`,
    ...(fields.length ? [dictionary("options = ", fields, "")] : []),
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
  const { own, others } = known(options);
  return lines(
    needsKey && "import os",
    "from openai import OpenAI",
    "",
    "client = OpenAI(",
    `    base_url=${json(`${address}/v1`)},`,
    `    api_key=${needsKey ? `os.environ["${KEY}"]` : '"none"'},`,
    ")",
    `with open(${json(file)}, "rb") as file:`,
    "    answer = client.audio.transcriptions.create(",
    `        model="${MODEL}",`,
    "        file=file,",
    ...own.map(([name, value]) => `        ${name}=${json(value)},`),
    ...(others.length ? [dictionary("        extra_body=", others, ",")] : []),
    "    )",
    "print(answer.text)",
  );
}

function jobInNode({ address, file, options, needsKey }) {
  const headers = needsKey ? ["headers"] : [];
  const get = (path) => `await fetch(\`\${calls}/\${job.id}${path}\`${needsKey ? ", { headers }" : ""})`;
  return lines(
    'import { readFile } from "node:fs/promises";',
    "",
    `const calls = ${json(`${address}/v1/transcriptions`)};`,
    needsKey && `const headers = { Authorization: "Bearer " + process.env.${KEY} };`,
    "const body = new FormData();",
    `body.append("file", new Blob([await readFile(${json(file)})]), ${json(file)});`,
    ...fieldsOf(options).flatMap(([name, value]) => [value].flat().map((each) => `body.append(${json(name)}, ${json(each)});`)),
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
  const { own, others } = known(options);
  return lines(
    'import { createReadStream } from "node:fs";',
    'import OpenAI from "openai";',
    "",
    "const client = new OpenAI({",
    `  baseURL: ${json(`${address}/v1`)},`,
    `  apiKey: ${needsKey ? `process.env.${KEY}` : '"none"'},`,
    "});",
    "const answer = await client.audio.transcriptions.create({",
    `  model: "${MODEL}",`,
    `  file: createReadStream(${json(file)}),`,
    ...[...own, ...others].map(([name, value]) => `  ${name}: ${list(value)},`),
    "});",
    "console.log(answer.text);",
  );
}

// Leaves out what the service does anyway.
const chosen = ({ channels, language, ...others }) =>
  Object.entries({ ...(channels === "split" ? { channels } : {}), ...others, ...(language === "auto" ? {} : { language }) })
    .filter(([, value]) => value.length > 0);

// With brackets, a comma in a label does not separate labels.
const fieldsOf = (options) => chosen(options).map(([name, value]) => [Array.isArray(value) ? `${name}[]` : name, value]);

// The fields that OpenAI's clients know, and those that they have to send as additional ones.
function known(options) {
  const isOwn = ([name]) => name === "language" || name === "prompt";
  return { own: chosen(options).filter(isOwn), others: chosen(options).filter((field) => !isOwn(field)) };
}

const form = (file, options) => [
  `-F ${quoted(`file=@${filePath(file)}`)}`,
  ...fieldsOf(options).flatMap(([name, value]) => [value].flat().map((each) => `${flag(each)} ${quoted(`${name}=${each}`)}`)),
];

// With `-F`, curl reads a value that begins with `@` or `<` from a file, and takes what follows a semicolon apart.
const flag = (value) => (/^[@<"]|;/.test(value) ? "--form-string" : "-F");

// In the name of a file, curl takes commas and semicolons apart unless the name is in double quotes. `-` would be standard input.
function filePath(name) {
  const path = name === "-" ? "./-" : name;
  return /[,;"\\]|^\s|\s$/.test(path) ? `"${path.replace(/["\\]/g, "\\$&")}"` : path;
}

// A word for a POSIX shell. Single quotes keep everything except single quotes.
const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

// Text as JSON is a literal of Python and of JavaScript too.
const json = (text) => JSON.stringify(text);
const list = (value) => (Array.isArray(value) ? `[${value.map(json).join(", ")}]` : json(value));

// A dictionary of Python, on one row if it fits.
function dictionary(start, fields, end) {
  const items = fields.map(([name, value]) => `${json(name)}: ${list(value)}`);
  const row = `${start}{${items.join(", ")}}${end}`;
  if (row.length <= WIDTH) return row;
  const indent = start.match(/^ */)[0];
  return [`${start}{`, ...items.map((item) => `${indent}    ${item},`), `${indent}}${end}`].join("\n");
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
