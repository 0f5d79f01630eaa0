"""The figures of a call that reports add up, and its keywords. Pure.

They are stored when a call is completed, because a report cannot read the transcripts of thousands of calls.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from app.search.keywords import keywords
from app.search.words import same_form
from app.transcripts.dialogue import turns
from app.transcripts.transcript import ChannelTalk, Transcript, Turn

AGENT = "agent"


@dataclass(frozen=True)
class Place:
    """A time of the call, and the number of its turn, counted from 1. It is the last turn that begins by this time."""

    start: float
    turn: int | None


@dataclass(frozen=True)
class Figures:
    """What is None is not known, such as interruptions with only one track. Times are seconds.

    Those of the agent are of the only channel with this label, if there are others.
    """

    speech_seconds: float | None = None
    silence_seconds: float | None = None
    holds: int | None = None
    hold_seconds: float | None = None
    longest_hold: float | None = None
    longest_hold_at: Place | None = None
    interruptions: int | None = None
    first_interruption_at: Place | None = None
    agent_share: float | None = None
    agent_words_per_minute: float | None = None
    agent_response_seconds: float | None = None
    keywords: Sequence[str] = ()

    @classmethod
    def of(cls, transcript: Transcript) -> Self:
        words = keywords((segment.text, segment.language) for segment in transcript.segments)
        talk = transcript.talk
        if not talk.channels:  # of a version that did not measure it
            return cls(keywords=words)
        dialogue = turns(transcript.segments)
        longest = max(talk.holds, key=lambda hold: hold.end - hold.start, default=None)
        first = next((each for each in talk.overlap_instances or () if each.is_interruption), None)
        agent = _agent(transcript)
        return cls(
            speech_seconds=talk.speech_seconds,
            silence_seconds=talk.silence_seconds,
            holds=len(talk.holds),
            hold_seconds=sum(hold.end - hold.start for hold in talk.holds),
            longest_hold=None if longest is None else longest.end - longest.start,
            longest_hold_at=None if longest is None else _place(dialogue, longest.start),
            interruptions=talk.interruptions,
            first_interruption_at=None if first is None else _place(dialogue, first.start),
            agent_share=None if agent is None else agent.share,
            agent_words_per_minute=None if agent is None else agent.words_per_minute,
            agent_response_seconds=None if agent is None else agent.median_response_seconds,
            keywords=words,
        )


def _agent(transcript: Transcript) -> ChannelTalk | None:
    labelled = {channel.index for channel in transcript.channels if same_form(channel.label) == AGENT}
    found = [talk for talk in transcript.talk.channels if talk.channel in labelled]
    return found[0] if len(found) == 1 and len(transcript.channels) > 1 else None


def _place(dialogue: Sequence[Turn], start: float) -> Place:
    begun = [number for number, turn in enumerate(dialogue, start=1) if turn.start <= start]
    return Place(start, begun[-1] if begun else None)
