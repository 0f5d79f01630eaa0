"""Makes sample_call.wav and its reference sample_call.json. Needs Debian's `flite`. Run by hand."""

import json
import subprocess
import tempfile
import wave
from dataclasses import asdict, dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

FOLDER = Path(__file__).parent
CHANNELS = ("agent", "customer")
VOICES = {"agent": "slt", "customer": "rms"}
SPEECH_RMS = {"agent": 0.08, "customer": 0.055}
SAMPLE_RATE = 8000
NOISE_RMS = 0.0012
LEAD_SECONDS = 0.8

Samples = NDArray[np.float64]


@dataclass(frozen=True)
class Turn:
    speaker: str
    channel: int
    start: float
    end: float
    text: str


# Speaker, pause in seconds after the previous turn (if negative, the speaker interrupts it), text.
SCRIPT = (
    ("agent", 0.0, "Thank you for calling the Green Garden Store. My name is Anna. How can I help you today?"),
    ("customer", 0.7, "Good morning. My name is David Miller. I ordered a garden table, and it has not arrived."),
    ("agent", 0.5, "I am sorry to hear that, David. Could you give me your order number, please?"),
    ("customer", 0.9, "Yes, of course. The order number is four seven two nine one."),
    (
        "agent",
        1.2,
        "Thank you. I have found your order. "
        "It was made on March third, and you paid one hundred and forty nine dollars.",
    ),
    ("customer", -0.4, "Yes, that is correct."),
    ("agent", 0.6, "It seems that the table was sent to the wrong city. I am very sorry about that."),
    ("customer", 0.5, "I understand. When will it arrive?"),
    ("agent", 0.8, "It will arrive on Friday morning. We will also send you twenty five dollars back."),
    ("customer", -0.5, "Oh, that is very kind. Thank you."),
    ("agent", 0.5, "You are welcome. Is there anything else I can help you with?"),
    ("customer", 0.6, "No, that is all. Thank you for your help."),
    ("agent", 0.4, "Thank you for calling, David. Have a nice day. Goodbye."),
    ("customer", 0.3, "Goodbye."),
)


def speak(text: str, voice: str) -> Samples:
    """The spoken text at telephone quality, 8 kHz mono, without silence at the ends."""
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        subprocess.run(["flite", "-voice", voice, "-t", text, "-o", file.name], check=True)
        with wave.open(file.name) as recording:
            samples = np.frombuffer(recording.readframes(recording.getnframes()), dtype="<i2") / 32768
            return trim(band_limit(samples, recording.getframerate()))


def band_limit(samples: Samples, sample_rate: int) -> Samples:
    """Keep the telephone band, 300–3400 Hz with soft edges, and resample to 8 kHz by cutting the spectrum."""
    length = len(samples) * SAMPLE_RATE // sample_rate
    spectrum = np.fft.rfft(samples)
    frequencies = np.fft.rfftfreq(len(samples), 1 / sample_rate)
    gain = np.interp(frequencies, [150, 300, 3400, 3800], [0, 1, 1, 0])
    return np.fft.irfft((spectrum * gain)[: length // 2 + 1], length) * length / len(samples)


def trim(samples: Samples) -> Samples:
    """Remove quiet 10 ms frames at both ends: those more than 40 dB below the loudest frame."""
    frame = SAMPLE_RATE // 100
    frames = samples[: len(samples) // frame * frame].reshape(-1, frame)
    loudness = np.sqrt((frames**2).mean(axis=1))
    speech = np.flatnonzero(loudness > loudness.max() / 100)
    return frames[speech[0] : speech[-1] + 1].ravel()


def compose() -> tuple[Samples, list[Turn]]:
    """Returns the call as (channels, samples), and its turns with their times."""
    clock = LEAD_SECONDS
    turns: list[Turn] = []
    placed: list[tuple[int, int, Samples]] = []
    for speaker, pause_seconds, text in SCRIPT:
        speech = speak(text, VOICES[speaker])
        start = round((clock + pause_seconds) * SAMPLE_RATE)
        clock = (start + len(speech)) / SAMPLE_RATE
        channel = CHANNELS.index(speaker)
        placed.append((channel, start, speech * SPEECH_RMS[speaker] / np.sqrt((speech**2).mean())))
        turns.append(Turn(speaker, channel, round(start / SAMPLE_RATE, 3), round(clock, 3), text))
    length = round((clock + LEAD_SECONDS) * SAMPLE_RATE)
    call = np.random.default_rng(seed=1).normal(scale=NOISE_RMS, size=(len(CHANNELS), length))
    for channel, start, speech in placed:
        call[channel, start : start + len(speech)] += speech
    return call, turns


def write_mulaw(call: Samples, path: Path) -> None:
    interleaved = (call.T.clip(-1, 1) * 32767).astype(np.int16).reshape(1, -1)
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("pcm_mulaw", rate=SAMPLE_RATE, layout="stereo")
        frame = av.AudioFrame.from_ndarray(interleaved, format="s16", layout="stereo")
        frame.sample_rate = SAMPLE_RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def main() -> None:
    call, turns = compose()
    write_mulaw(call, FOLDER / "sample_call.wav")
    reference = {
        "recording": "sample_call.wav",
        "language": "en",
        "duration": call.shape[1] / SAMPLE_RATE,
        "turns": [asdict(turn) for turn in turns],
    }
    (FOLDER / "sample_call.json").write_text(json.dumps(reference, indent=2) + "\n")


if __name__ == "__main__":
    main()
