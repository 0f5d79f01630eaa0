"""Takes out of a transcript, and out of the recording if it is kept, what its job asks for.

It comes before anything is written, so that neither the database nor the files and events made from it have ever held
what was taken out.
"""

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace

from app.audio.pcm import PcmFile
from app.audio.tone import Stretch, wav_bytes, with_tone
from app.jobs.lifecycle import RedactedAudio
from app.privacy.redaction import Redacted, redact
from app.storage.disk import FreeSpace, full_disk_as_insufficient_storage
from app.storage.store import AudioStore
from app.transcripts.transcript import Options, Transcript

MARGIN_SECONDS = 0.25
"""How much more is silenced on both sides, because the times of words are not exact."""
REACH_SECONDS = 3.0
"""How much more is silenced on the own channel where no other word is. Models leave out groups of a long number."""


def heard_with(options: Options) -> Options:
    """The options for the engine: the redaction needs the times of all words."""
    return replace(options, word_timestamps=True) if options.redacts else options


async def redacted(transcript: Transcript, options: Options) -> Redacted:
    """The transcript without what its job wants taken out, with all words, and where these things were said."""
    return await asyncio.to_thread(redact, transcript, frozenset(options.redact), options.redact_terms)


def as_asked(transcript: Transcript, options: Options) -> Transcript:
    """The transcript without its words if only the redaction needed them."""
    if options.word_timestamps:
        return transcript
    return replace(transcript, segments=tuple(replace(segment, words=None) for segment in transcript.segments))


async def save_silenced(
    channels: Sequence[PcmFile], result: Redacted, key: str, store: AudioStore, free_space: FreeSpace
) -> RedactedAudio:
    """Store the recording with a tone over what was taken out. Raises StoreUnavailable and InsufficientStorage."""
    size = await asyncio.to_thread(wav_bytes, channels)
    stretches = await asyncio.to_thread(silenced, result, len(channels))
    with full_disk_as_insufficient_storage():
        await free_space.require(size)
        stream = free_space.guard(_blocks(channels, stretches))
        audio = await store.save(key, stream, size)
    return RedactedAudio(audio.key, audio.bytes)


async def _blocks(channels: Sequence[PcmFile], stretches: Mapping[int, list[Stretch]]) -> AsyncIterator[bytes]:
    blocks = with_tone(channels, stretches)
    while block := await asyncio.to_thread(next, blocks, b""):
        yield block


def silenced(result: Redacted, channels: int) -> dict[int, list[Stretch]]:
    """What to silence on each channel.

    On its own channel a tone covers what was taken out and what no word is near, because models leave out some digits.
    The other channels are silent only while it is said, because lines and rooms carry a voice to them.
    """
    stretches: dict[int, list[Stretch]] = {channel: [] for channel in range(channels)}
    for channel, own in stretches.items():
        removed = sorted((each.span.start, each.span.end) for each in result.removed if each.channel == channel)
        starts, ends = _of_kept_words(result.transcript, channel, removed)
        for start, end in removed:
            before = bisect_right(ends, start)
            after = bisect_left(starts, end)
            free = start - (ends[before - 1] if before else 0.0)
            free_after = starts[after] - end if after < len(starts) else REACH_SECONDS
            first = start - max(MARGIN_SECONDS, min(free, REACH_SECONDS))
            last = end + max(MARGIN_SECONDS, min(free_after, REACH_SECONDS))
            own.append((first, last))
            for other in stretches.keys() - {channel}:
                stretches[other].append((start - MARGIN_SECONDS, end + MARGIN_SECONDS))
    return stretches


def _of_kept_words(transcript: Transcript, channel: int, removed: Sequence[Stretch]) -> tuple[list[float], list[float]]:
    """When the words of a channel start and end that stay, each list sorted."""
    words = [
        (word.start, word.end)
        for segment in transcript.segments
        if segment.channel == channel
        for word in segment.words or ()
        if not any(word.start < end and start < word.end for start, end in removed)
    ]
    return sorted(start for start, _ in words), sorted(end for _, end in words)
