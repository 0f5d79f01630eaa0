"""Recordings on one track of which it is known who speaks when."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.audio.decode import decode
from app.audio.pcm import SAMPLE_RATE, PcmFile
from app.speech.windows.cutting import FRAME_SAMPLES, WindowFinder
from app.speech.windows.voice_activity import SILENT_FRAMES, VoiceActivity
from app.transcripts.transcript import Span
from proofs.speakers.scoring import Spoken
from proofs.speakers.talking import TELEPHONE_RATE, Samples, Speak
from testing.media import write_audio
from testing.recordings import SAMPLE_CALL

PIECE = SILENT_FRAMES * FRAME_SAMPLES
WINDOW_SECONDS = 28

TURNS = (
    "Thank you for calling the Green Garden Store. How can I help you today?",
    "Hello. I ordered a wooden table two weeks ago, and it has still not arrived at my house.",
    "I am sorry to hear that. Could you please give me the number of your order?",
    "Yes, of course. One moment, please. I have to look for the letter. It is four seven two nine one.",
    "Thank you very much. I can see your order here on my screen.",
    "Good.",
    "It was sent to the wrong city, and it is on its way back to us now. We are really sorry about that.",
    "That is not very nice. I have invited some friends for the weekend, and we need something to eat on.",
    "I understand. I can send you a new one this afternoon, and it will arrive on Friday morning.",
    "Friday morning is fine. Do I have to pay for it again?",
    "No, you do not. We will also send you twenty five dollars back, because you had to wait for so long.",
    "Oh, thank you. That is kind.",
    "You are welcome. Is there anything else that I can do for you?",
    "Yes, one more question. Do you also sell chairs that go with this table? I would need six of them.",
    "We do. There are three kinds of them, and you will find all of them in our catalogue on page twelve.",
    "Then I will have a look at them tonight, and call you again tomorrow. Goodbye.",
    "Goodbye, and have a nice day.",
)


@dataclass(frozen=True)
class Recording:
    """A recording on one track. `exact` is how many speakers the client says there are; None if it does not."""

    name: str
    pcm: PcmFile
    truth: Sequence[Spoken]
    exact: int | None = None

    @property
    def speakers(self) -> int:
        return len({spoken.speaker for spoken in self.truth})


def runs_of(pcm: PcmFile) -> list[Span]:
    """The speech of a track, as the service finds it."""
    activity, finder = VoiceActivity(), WindowFinder(WINDOW_SECONDS * SAMPLE_RATE)
    for start in range(0, pcm.samples, PIECE):
        finder.feed(activity.probabilities(pcm.read(start, PIECE)))
    finder.finish(pcm.samples)
    return [Span(run.start / SAMPLE_RATE, run.end / SAMPLE_RATE) for run in finder.runs]


def sample_call(folder: Path) -> Recording:
    """The project's own call, with its two channels on one track."""
    call = json.loads(SAMPLE_CALL.with_suffix(".json").read_text())
    truth = [Spoken(turn["start"], turn["end"], turn["channel"]) for turn in call["turns"]]
    return Recording("sample call", mixed(SAMPLE_CALL, folder), truth)


def stereo_call(path: Path, folder: Path) -> Recording:
    """A call whose channels are mixed. Voice activity on each channel tells who speaks."""
    channels = asyncio.run(decode(path, made(folder / "split"), split=True, max_seconds=4 * 3600)).channels
    truth = [Spoken(run.start, run.end, speaker) for speaker, pcm in enumerate(channels) for run in runs_of(pcm)]
    return Recording(path.stem, mixed(path, folder), truth)


def single(path: Path, folder: Path) -> Iterator[Recording]:
    """Each channel of a call, on which one person speaks."""
    channels = asyncio.run(decode(path, made(folder), split=True, max_seconds=4 * 3600)).channels
    for number, pcm in enumerate(channels):
        truth = [Spoken(run.start, run.end, 0) for run in runs_of(pcm)]
        yield Recording(f"{path.stem}, channel {number} alone", pcm, truth)


def rttm(path: Path, folder: Path) -> Recording:
    """A recording with a file beside it in which a person has written who speaks when."""
    rows = [line.split() for line in path.with_suffix(".rttm").read_text().splitlines()]
    names = sorted({row[7] for row in rows})
    truth = [Spoken(float(row[3]), float(row[3]) + float(row[4]), names.index(row[7])) for row in rows]
    return Recording(path.stem, mixed(path, folder), truth)


def composed(
    name: str,
    folder: Path,
    speak: Speak,
    voices: Sequence[str],
    *,
    gap: float = 0.35,
    noise: float = 0.002,
    exact: int | None = None,
    loudness: Sequence[float] = (1.0, 1.0, 1.0),
) -> Recording:
    """People say the turns one after the other, `gap` seconds apart; if it is negative, each interrupts the last."""
    now, parts = 0.8, []
    for number, text in enumerate(TURNS):
        speaker = number % len(voices)
        sound = speak(text, voices[speaker])
        sound = sound * np.float32(0.08 * loudness[speaker] / np.sqrt(np.mean(sound**2)))
        start = max(now + gap, 0) if len(sound) > 2 * TELEPHONE_RATE * abs(gap) else now + abs(gap)
        now = start + len(sound) / TELEPHONE_RATE
        parts.append((round(start * TELEPHONE_RATE), sound, speaker))
    tracks = np.zeros((len(voices), round((now + 1) * TELEPHONE_RATE)), np.float32)
    for at, sound, speaker in parts:
        tracks[speaker, at : at + len(sound)] += sound
    truth = [
        Spoken(run.start, run.end, speaker)
        for speaker, track in enumerate(tracks)
        for run in runs_of(_decoded(track, folder / name / str(speaker)))
    ]
    hiss = np.random.default_rng(1).normal(0, noise, tracks.shape[1])
    return Recording(name, _decoded(tracks.sum(axis=0) + hiss, folder / name), truth, exact)


def _decoded(track: Samples, folder: Path) -> PcmFile:
    path = made(folder) / "call.wav"
    write_audio(path, _telephone(track)[None], TELEPHONE_RATE, container="wav", codec="pcm_mulaw")
    return mixed(path, folder)


def _telephone(track: Samples) -> Samples:
    spectrum = np.fft.rfft(track)
    hertz = np.fft.rfftfreq(len(track), 1 / TELEPHONE_RATE)
    spectrum *= np.interp(hertz, [150, 300, 3400, 3800], [0, 1, 1, 0])
    return np.clip(np.fft.irfft(spectrum, len(track)), -1, 1).astype(np.float32)


def mixed(path: Path, folder: Path) -> PcmFile:
    [channel] = asyncio.run(decode(path, made(folder / "mixed"), split=False, max_seconds=4 * 3600)).channels
    return channel


def made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
