"""Joins segments into the turns of a dialogue; pure."""

from collections.abc import Sequence

from app.transcripts.transcript import Segment, Turn, joined_text

# openai-whisper starts a new subtitle after a pause of this length (whisper/utils.py, long_pause).
LONG_PAUSE_SECONDS = 3.0


def turns(segments: Sequence[Segment]) -> tuple[Turn, ...]:
    """The turns of a dialogue, whose `segments` may come in any order."""
    return tuple(turn_of(group) for group in grouped(segments))


def grouped(segments: Sequence[Segment]) -> list[list[Segment]]:
    """The segments of each turn.

    A turn ends when another speaker starts, or when its speaker pauses for more than LONG_PAUSE_SECONDS. The pause
    gives readable paragraphs to a monologue, and to a mono call in which everybody counts as one speaker.
    """
    groups: list[list[Segment]] = []
    for segment in sorted(segments, key=_by_start):
        if groups and _goes_on(groups[-1], segment):
            groups[-1].append(segment)
        else:
            groups.append([segment])
    return groups


def _by_start(segment: Segment) -> tuple[float, int]:
    return segment.start, segment.channel


def _goes_on(group: Sequence[Segment], segment: Segment) -> bool:
    last = group[-1]
    same_speaker = last.speaker == segment.speaker and (segment.speaker is not None or last.channel == segment.channel)
    return same_speaker and segment.start - group[-1].end <= LONG_PAUSE_SECONDS


def turn_of(group: Sequence[Segment]) -> Turn:
    """The turn of the segments in one of the groups of `grouped`."""
    sure = [(segment.speaker_confidence, segment.end - segment.start) for segment in group]
    known = [(confidence, max(seconds, 0.01)) for confidence, seconds in sure if confidence is not None]
    seconds = sum(each for _, each in known)
    return Turn(
        speaker=group[0].speaker,
        speaker_confidence=sum(confidence * each for confidence, each in known) / seconds if known else None,
        start=group[0].start,
        end=max(segment.end for segment in group),
        text=joined_text(group),
    )
