"""How each turn sounded: its loudness, and its pitch compared with the speaker's usual pitch; pure.

Both are taken from measurements that a transcript holds once for each channel. A transcript of an older version holds
none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from statistics import median, median_low

from app.transcripts.dialogue import grouped, turn_of
from app.transcripts.series import PITCHES_PER_SECOND, dbfs_of, hertz_of, semitones, unpacked, voiced
from app.transcripts.transcript import ChannelTalk, Pitch, Segment, Transcript, Turn

LEAST_PITCHES = PITCHES_PER_SECOND  # a second of clear voice; the pitch of less is left to chance


def heard_turns(transcript: Transcript) -> tuple[Turn, ...]:
    """The turns of the dialogue, with what is known about their sound."""
    sounds = {channel.channel: _Sound.of(channel) for channel in transcript.talk.channels}
    return tuple(
        replace(turn_of(group), loudness_dbfs=_loudness(group, sounds), pitch=_pitch(group, sounds))
        for group in grouped(transcript.segments)
    )


@dataclass(frozen=True, slots=True)
class _Sound:
    """The measurements of a channel, unpacked, and the median of its pitches."""

    levels: bytes
    steps: bytes
    usual: float | None

    @classmethod
    def of(cls, channel: ChannelTalk) -> "_Sound":
        levels, steps = (unpacked(text) if text else b"" for text in (channel.packed_loudness, channel.packed_pitch))
        return cls(levels, steps, channel.usual_pitch)


def _loudness(group: Sequence[Segment], sounds: Mapping[int, _Sound]) -> int | None:
    heard = [(segment, sounds[segment.channel].levels) for segment in group if segment.channel in sounds]
    levels = b"".join(_during(segment, levels, 1) or _at(segment, levels) for segment, levels in heard)
    return dbfs_of(median_low(levels)) if levels else None


def _pitch(group: Sequence[Segment], sounds: Mapping[int, _Sound]) -> Pitch | None:
    sound = sounds.get(group[0].channel)
    if sound is None or any(segment.channel != group[0].channel for segment in group):
        return None
    heard = b"".join(_during(segment, sound.steps, PITCHES_PER_SECOND) for segment in group)
    steps = sorted(voiced(heard))
    if len(steps) < LEAST_PITCHES:
        return None
    tenth = len(steps) // 10
    middle = median(steps)
    return Pitch(
        hertz=round(hertz_of(middle)),
        spread_semitones=semitones(steps[-1 - tenth] - steps[tenth]),
        offset_semitones=None if sound.usual is None else semitones(middle - sound.usual),
    )


def _during(segment: Segment, measured: bytes, per_second: int) -> bytes:
    """The measurements whose middle is in a segment."""
    return measured[ceil(segment.start * per_second - 0.5) : ceil(segment.end * per_second - 0.5)]


def _at(segment: Segment, measured: bytes) -> bytes:
    """The measurement of the second that holds the middle of a short segment."""
    middle = int((segment.start + segment.end) / 2)
    return measured[middle : middle + 1]
