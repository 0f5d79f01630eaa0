"""The facts of a call by name, as categories and scorecards use them. Pure.

The names are those of `talk` in the transcript where it has them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

from app.analysis.rules.call import Call
from app.transcripts.transcript import ChannelTalk


class Fact(StrEnum):
    """Those of ROLES are about one speaker. `interruptions` may be of one speaker or of all."""

    DURATION = "duration"
    SPEECH_SECONDS = "speech_seconds"
    SILENCE_SECONDS = "silence_seconds"
    OVERLAPS = "overlaps"
    OVERLAP_SECONDS = "overlap_seconds"
    INTERRUPTIONS = "interruptions"
    HOLDS = "holds"
    HOLD_SECONDS = "hold_seconds"
    LONGEST_HOLD = "longest_hold"
    TALK_SHARE = "talk_share"
    WORDS_PER_MINUTE = "words_per_minute"
    LONGEST_MONOLOGUE = "longest_monologue"
    MEDIAN_RESPONSE_SECONDS = "median_response_seconds"
    LOUDNESS = "loudness"


_OF_CALLS: Mapping[Fact, Callable[[Call], float | None]] = {
    Fact.DURATION: lambda call: call.duration,
    Fact.SPEECH_SECONDS: lambda call: call.talk.speech_seconds,
    Fact.SILENCE_SECONDS: lambda call: call.talk.silence_seconds,
    Fact.OVERLAPS: lambda call: call.talk.overlaps,
    Fact.OVERLAP_SECONDS: lambda call: call.talk.overlap_seconds,
    Fact.INTERRUPTIONS: lambda call: call.talk.interruptions,
    Fact.HOLDS: lambda call: len(call.talk.holds),
    Fact.HOLD_SECONDS: lambda call: sum(hold.end - hold.start for hold in call.talk.holds),
    Fact.LONGEST_HOLD: lambda call: max((hold.end - hold.start for hold in call.talk.holds), default=0.0),
}
_OF_ROLES: Mapping[Fact, Callable[[ChannelTalk], float | None]] = {
    Fact.INTERRUPTIONS: lambda talk: talk.interruptions,
    Fact.TALK_SHARE: lambda talk: talk.share,
    Fact.WORDS_PER_MINUTE: lambda talk: talk.words_per_minute,
    Fact.MEDIAN_RESPONSE_SECONDS: lambda talk: talk.median_response_seconds,
    Fact.LONGEST_MONOLOGUE: lambda talk: talk.longest_monologue.seconds if talk.longest_monologue else 0.0,
}
NEED_A_ROLE = frozenset({*_OF_ROLES, Fact.LOUDNESS}) - frozenset(_OF_CALLS)
TAKE_A_ROLE = frozenset({*_OF_ROLES, Fact.LOUDNESS})
# With one track nobody knows who speaks.
_NEED_SEVERAL = frozenset({Fact.INTERRUPTIONS, Fact.TALK_SHARE, Fact.LONGEST_MONOLOGUE, Fact.MEDIAN_RESPONSE_SECONDS})


def value(call: Call, fact: Fact, role: str | None) -> float | None:
    """The fact of the call, or of one speaker. None if it is not known, such as who interrupts with only one track."""
    if role is None:
        return _OF_CALLS[fact](call)
    talk = call.talk_of(role)
    if talk is None or (fact in _NEED_SEVERAL and len(call.roles) < 2):
        return None
    if fact is Fact.LOUDNESS:
        turns = [turn for turn in call.turns if turn.channel == talk.channel]
        levels = [turn.loudness_dbfs for turn in turns if turn.loudness_dbfs is not None]
        return median(levels) if levels else None
    return _OF_ROLES[fact](talk)


@dataclass(frozen=True, slots=True)
class Place:
    """Where to listen to a fact: the number of the turn, and the seconds of what happens."""

    turn: int | None
    start: float
    end: float


def places(call: Call, fact: Fact, role: str | None) -> Sequence[Place]:
    """Where a fact can be heard, in the order of the call. Nothing of facts that no place shows, such as a duration.

    Transcripts of older versions do not have the places of overlaps.
    """
    talk = None if role is None else call.talk_of(role)
    match fact:
        case Fact.INTERRUPTIONS | Fact.OVERLAPS | Fact.OVERLAP_SECONDS:
            return [
                _place(call, overlap.start, overlap.end, overlap.channel)
                for overlap in call.talk.overlap_instances or ()
                if (fact is not Fact.INTERRUPTIONS or overlap.is_interruption)
                and (talk is None or overlap.channel == talk.channel)
            ]
        case Fact.HOLDS | Fact.HOLD_SECONDS:
            return [_place(call, hold.start, hold.end) for hold in call.talk.holds]
        case Fact.LONGEST_HOLD:
            longest = max(call.talk.holds, key=lambda hold: hold.end - hold.start, default=None)
            return [] if longest is None else [_place(call, longest.start, longest.end)]
        case Fact.LONGEST_MONOLOGUE if talk and talk.longest_monologue:
            return [_place(call, talk.longest_monologue.start, talk.longest_monologue.end, talk.channel)]
        case Fact.MEDIAN_RESPONSE_SECONDS if talk and talk.longest_response:
            return [_place(call, talk.longest_response.start, talk.longest_response.end)]
    return ()


def _place(call: Call, start: float, end: float, channel: int | None = None) -> Place:
    """With a channel, the turn is its last one that begins before the end. Otherwise it is the one before the start."""
    turn = call.turn_at(start if channel is None else end, channel)
    return Place(turn.number if turn else None, start, end)
