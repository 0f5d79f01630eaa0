// The button that begins a live call with the microphone, and the link that leads back to that call from everywhere.

import { addressOfCall } from "./address.js";
import { byId, write } from "./elements.js";
import { announce } from "./messages.js";
import { isSpeaking, ownCall, speak, whenSpeaking } from "./microphone.js";
import { chosenOptions } from "./options.js";
import { inWords } from "./words.js";

async function begin() {
  const button = byId("speak");
  button.disabled = true;
  write(byId("speak-problem"), "");
  write(button.lastElementChild, "Connecting …");
  try {
    location.hash = addressOfCall(await speak(optionsOfSpeech()));
    announce("The service hears you");
  } catch (error) {
    write(byId("speak-problem"), inWords(error));
  } finally {
    button.disabled = false;
    write(button.lastElementChild, "Speak");
  }
}

// A microphone has one channel, and voices of a live call are not told apart.
function optionsOfSpeech() {
  const { channels: _, diarize: _unused, speakers: _count, channel_labels: labels = [], language, ...others } = chosenOptions();
  return { ...others, ...(labels.length ? { channel_labels: labels.slice(0, 1) } : {}), ...(language === "auto" ? {} : { language }) };
}

function showLink(own) {
  byId("speaking").hidden = !isSpeaking();
  if (own) byId("speaking").href = addressOfCall(own.id);
}

export function setUpSpeaking() {
  byId("speak").addEventListener("click", begin);
  whenSpeaking(showLink);
  addEventListener("beforeunload", (event) => isSpeaking() && event.preventDefault());
}
