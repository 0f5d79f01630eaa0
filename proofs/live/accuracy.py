"""Compares live text and the transcripts that live calls become with the transcripts of the same files."""

import asyncio
import json
from pathlib import Path
from typing import Any

from proofs.bench.calls import Call, Piece
from proofs.bench.compose import Plan, compose
from proofs.bench.ours import transcript_of
from proofs.bench.scoring import error_rate
from proofs.bench.sources import sentences
from proofs.chaos.figures import Figure
from proofs.live.calls import Played, Recording, play
from proofs.live.speed import MODEL
from testing.recordings import SAMPLE_CALL
from testing.service import serving

MOST_POINTS = 5.0
AT_THE_SAME_TIME = 2


async def accuracy(folder: Path, *, calls: int, shortest: float, longest: float) -> list[Figure]:
    """Plays composed calls and the sample call, whose texts are known, and posts the same files."""
    folder.mkdir(exist_ok=True)
    composed = compose(folder, Plan(("en",) * calls, shortest, longest, 0), sentences()[0])
    sample = _sample_call()
    everything = [*composed, sample]
    live: dict[str, list[Piece]] = {}
    posted: dict[str, list[Piece]] = {}
    differ = 0
    with serving(folder / "data", MODEL=MODEL) as service:
        places = asyncio.Semaphore(AT_THE_SAME_TIME)

        async def played(path: Path) -> Played:
            async with places:
                return await play(service, Recording.read(path), language="en")

        heard = await asyncio.gather(*(played(call.path) for call in everything))
        for call, told in zip(everything, heard, strict=True):
            live[call.path.name] = [_piece(each.event) for each in told.of_type("transcript")]
            job = await asyncio.to_thread(service.create, call.path.read_bytes(), channels="split", language="en")
            of_file = await asyncio.to_thread(transcript_of, service, job)
            of_call = await asyncio.to_thread(
                transcript_of, service, await asyncio.to_thread(service.read, f"/v1/transcriptions/{told.id}")
            )
            posted[call.path.name] = [_piece(segment) for segment in of_file["segments"]]
            differ += _text(of_file) != _text(of_call)
    in_sample = [100 * (error_rate([sample], each) or 0.0) for each in (live, posted)]
    rates = [100 * (error_rate(composed, each) or 0.0) for each in (live, posted)]
    return [
        Figure.found("errors of final live texts, % of the words", rates[0]),
        Figure.found("errors of the transcripts of the files, % of the words", rates[1]),
        Figure.within("final live texts are worse by, points", rates[0] - rates[1], MOST_POINTS),
        Figure.found("sample call: errors of final live texts, % of the words", in_sample[0]),
        Figure.found("sample call: errors of the transcript of the file, % of the words", in_sample[1]),
        Figure.none(f"of {len(everything)} transcripts, those that differ from the file's", differ),
    ]


def _sample_call() -> Call:
    known = json.loads(SAMPLE_CALL.with_suffix(".json").read_text())
    texts = [" ".join(turn["text"] for turn in known["turns"] if turn["channel"] == channel) for channel in (0, 1)]
    return Call(SAMPLE_CALL, len(texts), known["duration"], "sample", known["language"], tuple(texts))


def _piece(said: dict[str, Any]) -> Piece:
    return Piece(said["channel"], said["start"], said["text"])


def _text(transcript: dict[str, Any]) -> list[tuple[int, str]]:
    return [(segment["channel"], segment["text"]) for segment in transcript["segments"]]
