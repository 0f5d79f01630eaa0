// Runs beside the page, in the thread of the sound: gathers what the microphone hears into pieces of 16-bit samples. Each
// message is a piece, and null after the last one.

const PIECE_SECONDS = 0.1;
const LOUDEST = 32767;

class Pieces extends AudioWorkletProcessor {
  constructor() {
    super();
    this.piece = this.empty();
    this.filled = 0;
    this.isOver = false;
    this.port.onmessage = () => this.end();
  }

  empty() {
    return new Int16Array(Math.round(sampleRate * PIECE_SECONDS));
  }

  process([[samples]]) {
    if (this.isOver) return false;
    for (const sample of samples ?? []) {
      this.piece[this.filled] = Math.max(-1, Math.min(1, sample)) * LOUDEST;
      this.filled += 1;
      if (this.filled === this.piece.length) this.send();
    }
    return true;
  }

  send() {
    const { buffer } = this.piece.slice(0, this.filled);
    this.filled = 0;
    this.port.postMessage(buffer, [buffer]);
  }

  end() {
    if (this.filled) this.send();
    this.port.postMessage(null);
    this.isOver = true;
  }
}

registerProcessor("pieces", Pieces);
