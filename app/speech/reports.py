"""Reports the text of a recording that is final, while the engine still works on the recording.

Only a caller who wants this text has a FinalReports. Without one, a session does nothing for it.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from app.speech.call.assemble import Call, own_words
from app.speech.call.final_text import FinalText, FinalTextFinder, Frontier, rest_of
from app.speech.call.segments import Heard
from app.speech.session import Session
from app.transcripts.transcript import Transcript

PAUSE_SECONDS = 1.0

OnFinal = Callable[[FinalText], None]
logger = logging.getLogger(__name__)


class FinalReports:
    """Calls `on_final` on the event loop: soon after the first text is final, then at most once in PAUSE_SECONDS."""

    def __init__(self, call: Call, on_final: OnFinal) -> None:
        self._on_final = on_final
        self._loop = asyncio.get_running_loop()
        self._moved = asyncio.Event()
        self._until = 0.0
        self._heard = 0
        distinct = call.levels.distinct
        speakers = {channel: call.speaker(channel) for channel in distinct}

        def without_bleed(heard: Sequence[Heard]) -> Sequence[Heard]:
            return own_words(call, heard)

        self._finder = FinalTextFinder(speakers, without_bleed if len(distinct) > 1 else None)
        self.frontier = Frontier(distinct, self._wake)

    def _wake(self) -> None:
        """Called on the threads of the engine."""
        with suppress(RuntimeError):  # the loop may have ended
            self._loop.call_soon_threadsafe(self._moved.set)

    @contextmanager
    def of(self, job: Session) -> Iterator[None]:
        """Report on this session until the block ends."""
        reporting = asyncio.create_task(self._run(job))
        try:
            yield
        finally:
            reporting.cancel()

    async def _run(self, job: Session) -> None:
        """A fault in here ends only the reports, because the transcript does not depend on them."""
        try:
            while True:
                await self._moved.wait()
                self._moved.clear()
                if await self._report(job):
                    await asyncio.sleep(PAUSE_SECONDS)
        except Exception:
            if not job.ended:  # the audio of a cancelled job is deleted
                logger.exception("speech.report_failed")

    async def _report(self, job: Session) -> bool:
        """Report what is final now. Returns whether there was anything."""
        heard, frontier = job.heard_since(self._heard)
        self._heard += len(heard)
        # In a thread, because samples are read to find bleed. A new report begins only after this one has ended.
        final = await asyncio.to_thread(self._finder.take, heard, frontier)
        if final is not None:
            self._until = final.until
            self._on_final(final)
        return final is not None

    def end(self, transcript: Transcript) -> None:
        """Report what is left of the finished transcript."""
        self._on_final(rest_of(transcript.segments, self._until))
