"""How late live text is: of one call, and of many calls beside waiting jobs."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from proofs.bench.measure import repeatedly
from proofs.bench.ours import transcript_of
from proofs.chaos.figures import Figure, percentile
from proofs.live.calls import Played, Recording, play
from proofs.live.timing import Delays, Spoken, delays, spoken_words
from testing.recordings import SAMPLE_CALL
from testing.service import Service, serving

FIRST_PARTIAL_SECONDS, WORD_SECONDS, LATE_WORD_SECONDS, FINAL_SECONDS = 1.2, 1.6, 3.0, 1.5
LOADED_FINAL_SECONDS, HEALTH_MS = 4.0, 100.0
HEALTH_PAUSE_SECONDS = 0.25
BETWEEN_STARTS_SECONDS = 0.7
MODEL = "base"


async def one_call(folder: Path, path: Path = SAMPLE_CALL, *, seconds: float, language: str | None) -> list[Figure]:
    """Plays one call while the service has nothing else to do."""
    recording = Recording.read(path).first(seconds)
    with serving(folder, MODEL=MODEL) as service:
        reference = await asyncio.to_thread(words_of, service, path, recording.seconds, language)
        found = delays(await play(service, recording, **_in(language)), reference)
    return [
        Figure.at_most(
            "first partial of an utterance after its start, p50 s",
            percentile(found.first_partials, 0.5),
            FIRST_PARTIAL_SECONDS,
        ),
        Figure.at_most("a word after it was said, p50 s", percentile(found.words, 0.5), WORD_SECONDS),
        Figure.at_most("a word after it was said, p95 s", percentile(found.words, 0.95), LATE_WORD_SECONDS),
        *_finals(found, FINAL_SECONDS),
        Figure.found("utterances that no partial text showed", found.without_partials),
        Figure.found("words of the transcript that the live text has", len(found.words)),
        Figure.found("words of the transcript that it lacks", found.missing),
    ]


async def many_calls(folder: Path, *, calls: int, jobs: int, seconds: float) -> list[Figure]:
    """Plays calls at the same time while jobs wait. The jobs run before that without calls, to compare."""
    recording = Recording.read(SAMPLE_CALL).first(seconds)
    with serving(folder, MODEL=MODEL, KEEP_AUDIO_DAYS="1", MAX_LIVE=str(2 * calls)) as service:
        reference = await asyncio.to_thread(words_of, service, SAMPLE_CALL, recording.seconds, "en")
        alone = await asyncio.to_thread(_audio_per_second, service, jobs)
        waiting = [await asyncio.to_thread(_post, service) for _ in range(2 * jobs)]
        with _asking_for_health(service) as health:
            began = time.monotonic()
            played = await asyncio.gather(
                *(
                    play(service, recording, begin_after=number * BETWEEN_STARTS_SECONDS, language="en")
                    for number in range(calls)
                )
            )
            wall = time.monotonic() - began
            beside = await asyncio.to_thread(_done, service, waiting) * _channel_seconds() / wall
        for job in waiting:
            await asyncio.to_thread(service.client.post, f"{job['links']['self']}/cancel")
        lost = [await asyncio.to_thread(seconds_lost, service, each, recording) for each in played]
    found = Delays()
    for each in played:
        found.add(delays(each, reference))
    return [
        *_finals(found, LOADED_FINAL_SECONDS),
        Figure.found("utterances that no partial text showed", found.without_partials),
        Figure.found(f"a word after it was said, {calls} calls, p50 s", percentile(found.words, 0.5)),
        Figure.found(f"a word after it was said, {calls} calls, p95 s", percentile(found.words, 0.95)),
        Figure.none("seconds of sound that are not in the recordings", sum(lost)),
        Figure.none("calls without a clear end", sum(not each.has_ended for each in played)),
        Figure.at_most("/healthz, p95 ms", percentile(health, 0.95), HEALTH_MS),
        Figure.found("channel-seconds of jobs per second without live calls", alone),
        Figure("channel-seconds of jobs per second beside live calls", beside, "> 0", beside > 0),
    ]


def words_of(service: Service, path: Path, seconds: float, language: str | None) -> Sequence[Spoken]:
    """The words of the transcript of a recording, with their times, as far as the recording is played."""
    job = service.create(path.read_bytes(), channels="split", word_timestamps="true", **_in(language))
    return [word for word in spoken_words(transcript_of(service, job)) if word.end <= seconds]


def seconds_lost(service: Service, played: Played, recording: Recording) -> float:
    """How much of the sound that was sent is not in the recording of its transcription."""
    sent = recording.raw[: played.sent]
    return bytes_lost(service, played.id, sent) / recording.bytes_per_second


def bytes_lost(service: Service, call_id: str, sent: bytes) -> int:
    """Bytes at the end that are missing, or all of them if the recording has others."""
    answer = service.client.get(f"/v1/transcriptions/{call_id}/audio")
    if answer.status_code != httpx.codes.OK:
        return len(sent)
    kept = answer.content[answer.content.index(b"data") + 8 :]
    return len(sent) - len(kept) if kept and sent.startswith(kept) else len(sent)


def _finals(found: Delays, most: float) -> list[Figure]:
    return [
        Figure.found("final text after the end of its utterance, p50 s", percentile(found.finals, 0.5)),
        Figure.at_most(
            f"final text after the end of its utterance, p95 s, of {len(found.finals)}",
            percentile(found.finals, 0.95),
            most,
        ),
    ]


def _in(language: str | None) -> dict[str, Any]:
    return {} if language is None else {"language": language}


def _post(service: Service) -> dict[str, Any]:
    return service.create(SAMPLE_CALL.read_bytes(), channels="split", language="en")


def _channel_seconds() -> float:
    sample = Recording.read(SAMPLE_CALL)
    return sample.seconds * sample.channels


def _audio_per_second(service: Service, jobs: int) -> float:
    began = time.monotonic()
    for job in [_post(service) for _ in range(jobs)]:
        transcript_of(service, job)
    return jobs * _channel_seconds() / (time.monotonic() - began)


def _done(service: Service, jobs: Sequence[dict[str, Any]]) -> float:
    """How many of the jobs are done, with parts of those that run."""
    return sum(float(service.read(job["links"]["self"])["progress"]) for job in jobs)


@contextmanager
def _asking_for_health(service: Service) -> Iterator[list[float]]:
    found = list[float]()
    with httpx.Client(base_url=service.url, timeout=60, trust_env=False) as client:

        def ask() -> None:
            began = time.perf_counter()
            client.get("/healthz").raise_for_status()
            found.append(1000 * (time.perf_counter() - began))

        with repeatedly(ask, HEALTH_PAUSE_SECONDS):
            yield found
