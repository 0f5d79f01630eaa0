"""Sends a transcription in events while its job runs (`text/event-stream`), as OpenAI does with `stream=true`.

The text comes from the parts that the worker stores, so that the worker may be another process. After a restart of the
worker the text goes on where it stopped.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any
from uuid import UUID

from app.api.openai.answers import ResponseFormat, Wanted, delta_event, done_event, segment_event
from app.api.openai.errors import failure_of
from app.api.openai.waiting import failure_at_end, require_open, waiting_for
from app.callers import Caller
from app.errors import AppError
from app.service import Service
from app.transcripts.transcript import Segment, Transcript, joined_text

MEDIA_TYPE = "text/event-stream"
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # the second is for nginx, which would buffer events
QUIET_SECONDS = 15.0
KEEP_ALIVE = ": the transcription goes on\n\n"  # a comment, so that no proxy takes the connection for a dead one


class _Text:
    """The text that was sent. Each segment makes an event with the text that it adds, and another one in a dialogue."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._last: Segment | None = None
        self._segments = 0
        self.until = 0.0

    def events(self, segments: Sequence[Segment]) -> Iterator[dict[str, Any]]:
        for segment in segments:
            before = [self._last] if self._last else []
            added = joined_text([*before, segment])[len(joined_text(before)) :]
            self._last, self._segments = segment, self._segments + 1
            if self._wanted.format is not ResponseFormat.DIARIZED_JSON:
                yield delta_event(added)
                continue
            whole = segment_event(segment, self._segments, named=self._wanted.named)
            yield {**delta_event(added), "segment_id": whole["id"]}
            yield whole


async def events(service: Service, job_id: UUID, caller: Caller, wanted: Wanted) -> AsyncIterator[str]:
    """Yields the events until the job has ended. An error midway is an event too, because the status is sent."""
    try:
        async for event in _events(service, job_id, caller, wanted):
            yield event
    except AppError as error:
        yield _event(failure_of(error).body)


async def _events(service: Service, job_id: UUID, caller: Caller, wanted: Wanted) -> AsyncIterator[str]:
    text = _Text(wanted)
    with waiting_for(service, job_id, caller) as changed:
        read = await service.reader.read(job_id, caller)
        while not read.final:
            require_open(service)
            so_far = await service.reader.text_so_far(job_id, caller, text.until)
            text.until = so_far.until
            for event in text.events(so_far.segments):
                yield _event(event)
            try:
                await asyncio.wait_for(changed.wait(), QUIET_SECONDS)
            except TimeoutError:
                yield KEEP_ALIVE
            changed.clear()
            read = await service.reader.read(job_id, caller)
    failure = await failure_at_end(service, read)
    if failure is not None:
        yield _event(failure.body)
        return
    transcript = await service.reader.transcript(job_id, caller, _itself)
    for event in text.events([segment for segment in transcript.segments if segment.start >= text.until]):
        yield _event(event)
    yield _event(done_event(transcript, wanted))


def _itself(transcript: Transcript) -> Transcript:
    return transcript


def _event(event: dict[str, Any]) -> str:
    return f"data: {json.dumps(event, ensure_ascii=False)}\n\n"
