"""Sends a transcription in events while its job runs (`text/event-stream`), as OpenAI does with `stream=true`.

The text comes from the parts that the worker stores, so that the worker may be another process. After a restart of the
worker the text goes on where it stopped.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

import structlog

from app.access.audit import Action
from app.access.callers import Caller
from app.api.event_streams import TROUBLE_PAUSE_SECONDS, Pulse, data_of
from app.api.openai.answers import ResponseFormat, Wanted, delta_event, done_event, segment_event
from app.api.openai.errors import failure_of
from app.api.openai.job_end import failure_at_end, require_open, waiting_for
from app.api.problems import INTERNAL_ERROR_DETAIL
from app.database.connections import DATABASE_TROUBLE
from app.errors import AppError, InternalError
from app.process.tasks import within
from app.service import Service
from app.transcripts.transcript import Segment, Transcript, joined_text

KEEP_ALIVE = ": the transcription goes on\n\n"  # a comment, so that no proxy takes the connection for a dead one

log = structlog.stdlib.get_logger("callscribe.http")


class _Text:
    """The text that was sent. Each segment makes an event with the text that it adds, and another one in a dialogue.

    `is_complete` says that the job has ended and nothing is left to send.
    """

    is_complete = False

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self._last: Segment | None = None
        self._segments = 0
        self.until = 0.0

    def events(self, segments: Sequence[Segment]) -> Iterator[Mapping[str, Any]]:
        for segment in segments:
            before = [self._last] if self._last else []
            added = joined_text([*before, segment])[len(joined_text(before)) :]
            self._last, self._segments = segment, self._segments + 1
            if self.wanted.format is not ResponseFormat.DIARIZED_JSON:
                yield delta_event(added)
                continue
            whole = segment_event(segment, self._segments, named=self.wanted.named)
            yield {**delta_event(added), "segment_id": whole["id"]}
            yield whole


async def events(service: Service, job_id: UUID, caller: Caller, wanted: Wanted) -> AsyncIterator[str]:
    """Yields the events until the job has ended. An error midway is an event too, because the status is sent."""
    try:
        async for event in _events(service, job_id, caller, wanted):
            yield event
    except AppError as error:
        yield data_of(failure_of(error).body)
    except Exception:
        log.exception("unhandled error", job=str(job_id))
        yield data_of(failure_of(InternalError(INTERNAL_ERROR_DETAIL)).body)


async def _events(service: Service, job_id: UUID, caller: Caller, wanted: Wanted) -> AsyncIterator[str]:
    text, pulse = _Text(wanted), Pulse()
    with waiting_for(service, job_id, caller) as changed:
        while True:
            try:
                async for event in _news(service, job_id, caller, text):
                    pulse.sent()
                    yield data_of(event)
                if text.is_complete:
                    return
            except DATABASE_TROUBLE:  # the job goes on, and so does the stream when the database is back
                changed.set()
                await asyncio.sleep(TROUBLE_PAUSE_SECONDS)
            require_open(service)
            while not changed.is_set():
                with suppress(TimeoutError):
                    await within(pulse.due_in, changed.wait())
                if pulse.due_in == 0:
                    pulse.sent()
                    yield KEEP_ALIVE
            changed.clear()
            if pulse.due_in == 0:  # changes that brought no text do not count
                pulse.sent()
                yield KEEP_ALIVE


async def _news(service: Service, job_id: UUID, caller: Caller, text: _Text) -> AsyncIterator[Mapping[str, Any]]:
    """Yields the events of what is new since the last call."""
    read = await service.reader.read(job_id, caller)
    if not read.final:
        so_far = await service.reader.text_so_far(job_id, caller, text.until)
        if so_far.segments and not text.until:
            await service.reader.note_read(Action.TRANSCRIPT_STREAMED, job_id, caller)
        text.until = so_far.until
        for event in text.events(so_far.segments):
            yield event
        return
    failure = failure_at_end(read.job)
    transcript = None if failure else await service.reader.shared_transcript(job_id, caller, _itself, _itself)
    text.is_complete = True
    if failure is not None:
        yield failure.body
    if transcript is not None:
        for event in text.events([segment for segment in transcript.segments if segment.start >= text.until]):
            yield event
        yield done_event(transcript, text.wanted)


def _itself(transcript: Transcript) -> Transcript:
    return transcript
