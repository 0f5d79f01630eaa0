"""Takes out of a transcript, and out of the recording if it is kept, what its job asks for.

It comes before anything is written, so that neither the database nor the files and events made from it have ever held
what was taken out.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from app.audio.pcm import PcmFile
from app.audio.tone import Stretch, wav_bytes, with_tone
from app.jobs.lifecycle import RedactedAudio
from app.privacy.redaction import Redacted, Removed, redact
from app.storage.disk import FreeSpace, full_disk_as_insufficient_storage
from app.storage.store import AudioStore
from app.transcripts.transcript import Options, Transcript

MARGIN_SECONDS = 0.25  # the times of words are not exact


def heard_with(options: Options) -> Options:
    """The options for the engine: the redaction needs the times of all words."""
    return replace(options, word_timestamps=True) if options.redacts else options


async def redacted(transcript: Transcript, options: Options) -> Redacted:
    """The transcript as its job asks for it, and where the recording has to be silenced."""
    found = await asyncio.to_thread(redact, transcript, frozenset(options.redact), options.redact_terms)
    return replace(found, transcript=as_asked(found.transcript, options))


def as_asked(transcript: Transcript, options: Options) -> Transcript:
    """The transcript without its words if only the redaction needed them."""
    if options.word_timestamps:
        return transcript
    return replace(transcript, segments=tuple(replace(segment, words=None) for segment in transcript.segments))


async def save_silenced(
    channels: Sequence[PcmFile], removed: Sequence[Removed], key: str, store: AudioStore, free_space: FreeSpace
) -> RedactedAudio:
    """Store the recording with a tone over what was taken out. Raises StoreUnavailable and InsufficientStorage."""
    size = await asyncio.to_thread(wav_bytes, channels)
    with full_disk_as_insufficient_storage():
        await free_space.require(size)
        stream = free_space.guard(_blocks(channels, _stretches(removed, len(channels))))
        audio = await store.save(key, stream, size)
    return RedactedAudio(audio.key, audio.bytes)


async def _blocks(channels: Sequence[PcmFile], stretches: dict[int, list[Stretch]]) -> AsyncIterator[bytes]:
    blocks = with_tone(channels, stretches)
    while block := await asyncio.to_thread(next, blocks, b""):
        yield block


def _stretches(removed: Sequence[Removed], channels: int) -> dict[int, list[Stretch]]:
    """What to silence on each channel: the same on all, because lines and rooms carry a voice to the others."""
    stretches: dict[int, list[Stretch]] = defaultdict(list)
    for each in removed:
        stretch = each.span.start - MARGIN_SECONDS, each.span.end + MARGIN_SECONDS
        for channel in range(channels):
            stretches[channel].append(stretch)
    return stretches
