"""Measures how soon a client has the answer after its job's end, and how soon it has the first words of a long call."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from proofs.chaos.figures import Figure, percentile
from proofs.door.site import Site, clips, long_call, visiting
from testing.door import Stream, ask, listen
from testing.service import serving

FORMATS = ("json", "text", "srt", "vtt", "verbose_json", "diarized_json")
STREAMED = ("json", "diarized_json")
CLIP_SECONDS = 2.0
ANSWER_MS = 150.0
SHARE_OF_TIME = 0.5


async def ends(folder: Path, *, rounds: int) -> list[Figure]:
    """Asks an idle service for one clip after the other, in each format and as a stream.

    The time runs from `completed_at`, which is the begin of the transaction that ends the job, to the last byte.
    """
    ways = [*FORMATS, *(f"{name}, streamed" for name in STREAMED)]
    waits: dict[str, list[float]] = {way: [] for way in ways}
    recordings = iter(clips(rounds * len(ways), CLIP_SECONDS))
    with serving(folder) as service:
        async with visiting(service) as site:
            for _ in range(rounds):
                for way in ways:
                    waits[way].append(await _after_the_end(site, next(recordings), way))
    whole = [wait for way in FORMATS for wait in waits[way]]
    streamed = [wait for way in ways if way not in FORMATS for wait in waits[way]]
    return [
        *(
            Figure.found(f"from the job's end to the last byte, {way}, p50 ms", percentile(waits[way], 0.5))
            for way in ways
        ),
        *_judged(f"{len(whole)} answers of all formats", whole),
        *_judged(f"{len(streamed)} streams, up to the event `done`", streamed),
    ]


async def first_words(folder: Path, *, seconds: float) -> list[Figure]:
    """Streams a long call, as one mixed channel and with both channels apart."""
    folder.mkdir(exist_ok=True)
    recording = long_call(folder, seconds)
    with serving(folder / "data") as service:
        async with visiting(service) as site:
            mixed = await _first(site, recording, "json")
            split = await _first(site, recording, "diarized_json")
    return [*mixed, *split]


async def _after_the_end(site: Site, recording: bytes, way: str) -> float:
    name, _, streamed = way.partition(", ")
    if streamed:
        stream = await listen(site.client, recording, response_format=name)
        [done] = stream.of_type("done")
        job, at = stream.id, done.at
    else:
        answer = await ask(site.client, recording, response_format=name)
        job, at = answer.id, answer.at
    return 1000 * (at - await site.ended_at(job)).total_seconds()


def _judged(what: str, waits: list[float]) -> list[Figure]:
    return [
        Figure.found(f"{what}, p50 ms", percentile(waits, 0.5)),
        Figure.at_most(f"{what}, p95 ms", percentile(waits, 0.95), ANSWER_MS),
        Figure.found(f"{what}, longest ms", max(waits)),
    ]


async def _first(site: Site, recording: bytes, name: Literal["json", "diarized_json"]) -> list[Figure]:
    """Compares the first words with the time of the whole transcription.

    The time of the first words runs from the request, so that it contains the upload and the wait for a worker. The
    time of the whole transcription begins only when a worker claims the job.
    """
    asked = datetime.now(UTC)
    stream = await listen(site.client, recording, response_format=name)
    job = await site.job(stream.id)
    whole = (job["completed_at"] - job["started_at"]).total_seconds()
    deltas = stream.of_type("delta")
    first = (deltas[0].at - asked).total_seconds() if deltas else float("inf")
    transcript = site.service.read(f"/v1/transcriptions/{stream.id}/transcript")
    what = f"{job['duration']:.0f} s, {name}"
    return [
        Figure.found(f"{what}: seconds of the whole transcription", whole),
        Figure.found(f"{what}: seconds to the first delta", first),
        Figure.at_most(f"{what}: first delta, as a share of the whole", first / whole, SHARE_OF_TIME),
        Figure.at_least(f"{what}: deltas", len(deltas), 2),
        Figure.none(f"{what}: streams whose deltas are not the final text", not _adds_up(stream, transcript["text"])),
    ]


def _adds_up(stream: Stream, text: str) -> bool:
    """Returns whether the deltas together are the text."""
    return "".join(event.data["delta"] for event in stream.of_type("delta")).split() == text.split()
