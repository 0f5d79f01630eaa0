"""Sends the same recordings through this door and through `POST /v1/transcriptions`. The texts must be equal."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np

from proofs.bench.ours import transcript_of
from proofs.chaos.figures import Figure
from proofs.door.site import Site, visiting
from testing.door import ask
from testing.media import write_audio
from testing.recordings import SAMPLE_CALL, call
from testing.service import serving
from testing.speech_samples import sample

SUBTITLES = ("srt", "vtt")


@dataclass(frozen=True)
class Case:
    """A recording, and the same options in the words of both doors."""

    name: str
    recording: bytes
    here: Mapping[str, Any] = field(default_factory=dict)
    there: Mapping[str, Any] = field(default_factory=dict)


def cases(folder: Path) -> list[Case]:
    """Returns eight recordings: one and two channels, 8 and 16 kHz, three codecs, six languages."""
    return [
        Case("call.wav", SAMPLE_CALL.read_bytes()),
        Case("split.wav", call(0, 30), {"channels": "split"}, {"channels": "split", "channel_labels": ["A", "B"]}),
        Case("english.wav", call(10, 25), {"language": "en"}, {"language": "en"}),
        Case("spanish.mp3", _as_mp3(sample("es", "pangrama").path, folder / "spanish.mp3")),
        Case("chinese.wav", _read("zh", "pangrama")),
        Case("french.wav", _read("fr", "pangrama"), {"prompt": "Whisky"}, {"prompt": "Whisky"}),
        Case("italian.wav", _read("it", "pangrama"), {"keywords[]": ["Vituperabile"]}, {"hotwords": ["Vituperabile"]}),
        Case("polish.wav", _read("pl", "pangrama")),
    ]


async def same_text(folder: Path, *, count: int = 8) -> list[Figure]:
    folder.mkdir(exist_ok=True)
    with serving(folder / "data") as service:
        async with visiting(service) as site:
            return [figure for case in cases(folder)[:count] for figure in await _compared(site, case)]


async def _compared(site: Site, case: Case) -> list[Figure]:
    job = site.service.create(case.recording, **case.there)
    there = transcript_of(site.service, job)
    answers = {
        name: await ask(site.client, case.recording, case.name, response_format=name, **case.here)
        for name in ("json", "verbose_json", "text", *SUBTITLES)
    }
    bodies = {
        "json": (answers["json"].text, there["text"]),
        "verbose_json": (answers["verbose_json"].text, there["text"]),
        "text": (answers["text"].content.decode(), f"{there['text']}\n"),
    }
    for name in SUBTITLES:
        expected = await site.client.get(job["links"]["transcript"], params={"format": name})
        bodies[name] = answers[name].content.decode(), expected.text
    differing = [f"{name}: {here!r}, not {wanted!r}" for name, (here, wanted) in bodies.items() if here != wanted]
    words = len(there["text"].split())
    return [
        Figure.none(f"{case.name}, {there['language']}, {words} words: different bodies", len(differing), differing),
        Figure.none(f"{case.name}: recordings without a text", not there["text"].strip()),
    ]


def _read(language: str, name: str) -> bytes:
    return sample(language, name).path.read_bytes()


def _as_mp3(source: Path, path: Path) -> bytes:
    """Returns the first channel of a recording as MP3 at 16 kHz."""
    resampler = av.AudioResampler(format="fltp", rate=16_000, layout="mono")
    with av.open(str(source)) as container:
        frames = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    frames += resampler.resample(None)
    samples = np.concatenate([frame.to_ndarray() for frame in frames], axis=1).astype(np.float32)
    return write_audio(path, samples, 16_000, container="mp3", codec="mp3").read_bytes()
