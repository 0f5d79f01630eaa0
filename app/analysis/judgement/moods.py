"""The sentiment of turns → shares of each side, and their course over the quarters of the call; pure."""

from collections.abc import Sequence
from typing import Any

from app.analysis.judgement.answers import TurnSentiment
from app.analysis.judgement.dividing import Turn

QUARTERS = 4
VALUES = {"positive": 1, "neutral": 0, "negative": -1}


def sides(sentiment: Sequence[TurnSentiment], turns: Sequence[Turn], duration: float) -> list[dict[str, Any]]:
    """For each speaker, in the order in which they first speak: shares of its judged turns, and a score per quarter.

    A quarter is one of the call's time, and a turn belongs to that of its middle. The score is the mean of its turns,
    from -1 (negative) to 1 (positive), or None if none of them was judged. Turns of unknown speakers are on no side.
    """
    values = {each.turn: each.value for each in sentiment}
    return [
        _side(speaker, [turn for turn in turns if turn.speaker == speaker and turn.number in values], values, duration)
        for speaker in dict.fromkeys(turn.speaker for turn in turns)
        if speaker is not None
    ]


def _side(speaker: str, judged: Sequence[Turn], values: dict[int, Any], duration: float) -> dict[str, Any]:
    of_side = [values[turn.number] for turn in judged]
    quarters: list[list[int]] = [[] for _ in range(QUARTERS)]
    for turn in judged:
        quarters[_quarter(turn, duration)].append(VALUES[values[turn.number]])
    return {
        "speaker": speaker,
        "turns": len(judged),
        "shares": {value: round(of_side.count(value) / len(judged), 4) if judged else None for value in VALUES},
        "quarters": [round(sum(scores) / len(scores), 4) if scores else None for scores in quarters],
    }


def _quarter(turn: Turn, duration: float) -> int:
    middle = (turn.start + turn.end) / 2
    return min(QUARTERS - 1, max(0, int(QUARTERS * middle / duration))) if duration > 0 else 0
