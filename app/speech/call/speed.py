"""Counts the words of each channel, and how many it says in a minute of its speech; pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace

from app.transcripts.transcript import Segment, Talk, WordUnit

# In less speech, a word more or less changes the speed by a tenth.
LEAST_SPEECH_SECONDS = 5.0


def with_words(talk: Talk, segments: Iterable[Segment]) -> Talk:
    """The facts of a call, with the words of each channel.

    What is written without spaces is counted by characters. The unit of a channel is that of most of its words.
    """
    counted: dict[int, Counter[WordUnit]] = defaultdict(Counter)
    for segment in segments:
        counted[segment.channel]["word" if segment.has_spaces else "character"] += segment.word_count
    channels = []
    for channel in talk.channels:
        units = counted[channel.channel]
        words = units.total()
        enough = words and channel.speech_seconds >= LEAST_SPEECH_SECONDS
        channels.append(
            replace(
                channel,
                words=words,
                word_unit=units.most_common(1)[0][0] if words else None,
                words_per_minute=words * 60 / channel.speech_seconds if enough else None,
            )
        )
    return replace(talk, channels=tuple(channels))
