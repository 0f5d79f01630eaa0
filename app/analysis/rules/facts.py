"""The facts of a call by name, as categories and scorecards use them. Pure.

The names are those of `talk` in the transcript where it has them.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum

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
    # `talk` of older transcripts does not have these two.
    Fact.WORDS_PER_MINUTE: lambda talk: getattr(talk, "words_per_minute", None),
    Fact.MEDIAN_RESPONSE_SECONDS: lambda talk: getattr(talk, "median_response_seconds", None),
    Fact.LONGEST_MONOLOGUE: lambda talk: talk.longest_monologue.seconds if talk.longest_monologue else 0.0,
}
NEED_A_ROLE = frozenset(_OF_ROLES) - frozenset(_OF_CALLS)
TAKE_A_ROLE = frozenset(_OF_ROLES)
# With one track nobody knows who speaks.
_NEED_SEVERAL = frozenset({Fact.INTERRUPTIONS, Fact.TALK_SHARE, Fact.LONGEST_MONOLOGUE, Fact.MEDIAN_RESPONSE_SECONDS})


def value(call: Call, fact: Fact, role: str | None) -> float | None:
    """The fact of the call, or of one speaker. None if it is not known, such as who interrupts with only one track."""
    if role is None:
        return _OF_CALLS[fact](call)
    talk = call.talk_of(role)
    if talk is None or (fact in _NEED_SEVERAL and len(call.roles) < 2):
        return None
    return _OF_ROLES[fact](talk)
