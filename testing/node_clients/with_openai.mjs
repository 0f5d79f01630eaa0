// Uses OpenAI's client for Node. Prints what it read as JSON: `with_openai.mjs URL RELAY RECORDING CALL`.

import fs from "node:fs";
import OpenAI from "openai";

const [url, relay, recording, call] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "unused", maxRetries: 0 });
const transcriptions = client.audio.transcriptions;
const file = () => fs.createReadStream(recording);
const read = {};

read.json = await transcriptions.create({ model: "whisper-1", file: file() });
read.verbose = await transcriptions.create({
  model: "whisper-1",
  file: file(),
  response_format: "verbose_json",
  timestamp_granularities: ["word", "segment"],
});
read.text = await transcriptions.create({ model: "whisper-1", file: file(), response_format: "text" });
read.srt = await transcriptions.create({ model: "whisper-1", file: file(), response_format: "srt" });
read.diarized = await transcriptions.create({
  model: "gpt-4o-transcribe-diarize",
  file: fs.createReadStream(call),
  response_format: "diarized_json",
  chunking_strategy: "auto",
  known_speaker_names: ["agent", "customer"],
});

read.events = [];
for await (const event of await transcriptions.create({ model: "whisper-1", file: file(), stream: true })) {
  read.events.push(event);
}

read.translation = await client.audio.translations.create({ model: "whisper-1", file: file() });
read.models = (await client.models.list()).data.map((model) => model.id);
read.model = await client.models.retrieve("whisper-1");

const { response } = await transcriptions.create({ model: "whisper-1", file: file() }).withResponse();
read.id = response.headers.get("x-callscribe-id");

let requests = 0;
const counting = (address, options) => {
  requests += String(address).startsWith(relay) ? 1 : 0; // the client also fetches a `data:` address to learn what fetch can do
  return fetch(address, options);
};
const repeating = new OpenAI({ baseURL: `${relay}/v1`, apiKey: "unused", fetch: counting });
// From memory, because the client does not repeat a request whose file is a stream.
const inMemory = await OpenAI.toFile(fs.readFileSync(recording), "call.wav");
const repeated = await repeating.audio.transcriptions.create({ model: "whisper-1", file: inMemory });
read.repeated = { text: repeated.text, requests };

const refusals = {
  format: () => transcriptions.create({ model: "whisper-1", file: file(), response_format: "docx" }),
  model: () => transcriptions.create({ model: "whisper-9", file: file() }),
  retrieved: () => client.models.retrieve("whisper-9"),
  file: async () => {
    const notes = await OpenAI.toFile(Buffer.from("this is no recording"), "notes.txt");
    return transcriptions.create({ model: "whisper-1", file: notes });
  },
};
read.refused = {};
for (const [name, ask] of Object.entries(refusals)) {
  try {
    await ask();
  } catch (error) {
    const { status, code, param, type } = error;
    read.refused[name] = { kind: error.constructor.name, status, code, param, type };
  }
}

console.log(JSON.stringify(read));
