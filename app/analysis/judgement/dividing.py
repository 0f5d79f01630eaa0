"""Cuts a call into parts that fit into the model's context; pure.

The tokenizer of the model is unknown. A token is taken for three bytes of UTF-8: that is too many tokens for languages
in Latin letters, where a token has about four, and about right for Chinese, where it is one character.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from app.transcripts.subtitles import name_of

BYTES_OF_TOKEN = 3
SHARE_OF_ANSWER = 4
"""The answer gets this part of the context: a quarter."""
TOKENS_OF_SENTIMENT = 20
"""What the model writes for the sentiment of one turn."""
LEAST_TOKENS = 64
MOST_SPEAKER = 80

Item = TypeVar("Item")


@dataclass(frozen=True)
class Turn:
    """A turn of the call as the model reads it. `number` counts from 1. Times are seconds."""

    number: int
    speaker: str | None
    start: float
    end: float
    text: str

    @property
    def line(self) -> str:
        """The turn on one line, so that nothing that was said looks like another turn."""
        return f"[{self.number}] {name_of(self.speaker)[:MOST_SPEAKER]}: {one_line(self.text)}"

    def pieces(self, most_tokens: int) -> list["Turn"]:
        """The turn, or several with its number and a piece of its text each, if it has too many tokens."""
        around = tokens_of(replace(self, text="").line)
        texts = pieces(one_line(self.text), max(1, most_tokens - around) * BYTES_OF_TOKEN)
        return [replace(self, text=text) for text in texts]


def one_line(text: str) -> str:
    return " ".join(text.split())


def tokens_of(text: str) -> int:
    return len(text.encode(errors="replace")) // BYTES_OF_TOKEN + 1


@dataclass(frozen=True)
class Room:
    """How much one request may hold. `answer_tokens` is the most that the model may write.

    The prompt leaves room for two answers, because the model may be asked once more, and then reads its first one.
    """

    prompt_tokens: int
    answer_tokens: int

    @classmethod
    def of(cls, context_tokens: int) -> "Room":
        answer = context_tokens // SHARE_OF_ANSWER
        return cls(context_tokens - 2 * answer, answer)

    @property
    def most_turns(self) -> int:
        """How many turns one answer has room for, because it names the sentiment of each."""
        return max(1, self.answer_tokens // 2 // TOKENS_OF_SENTIMENT)


@dataclass(frozen=True)
class Part:
    """Turns for one request. A long turn may be in several parts, with a piece of its text in each."""

    turns: Sequence[Turn]

    @property
    def numbers(self) -> frozenset[int]:
        return frozenset(turn.number for turn in self.turns)

    @property
    def text(self) -> str:
        return "\n".join(turn.line for turn in self.turns)

    def halves(self) -> list["Part"]:
        """Two parts that are half as long, or none if it is too short for that."""
        tokens = tokens_of(self.text)
        if tokens < LEAST_TOKENS:
            return []
        turns = self.turns if len(self.turns) > 1 else self.turns[0].pieces(tokens // 2 + 1)
        middle = (len(turns) + 1) // 2
        return [Part(turns[:middle]), Part(turns[middle:])] if len(turns) > 1 else []


def parts(turns: Sequence[Turn], room: Room, around_tokens: int) -> list[Part]:
    """The turns in their order, in parts that fit beside a prompt of `around_tokens`."""
    most_tokens = max(LEAST_TOKENS, room.prompt_tokens - around_tokens)
    fitting = [piece for turn in turns for piece in turn.pieces(most_tokens)]
    return [Part(group) for group in groups(fitting, lambda turn: tokens_of(turn.line), most_tokens, room.most_turns)]


def groups(
    items: Sequence[Item], cost: Callable[[Item], int], most_cost: int, most: int | None = None
) -> list[list[Item]]:
    """Consecutive items, which together cost at most `most_cost`, and at most `most` of them. One is always taken."""
    found: list[list[Item]] = []
    left = 0
    for item in items:
        if not found or cost(item) > left or len(found[-1]) == most:
            found.append([])
            left = most_cost
        found[-1].append(item)
        left -= cost(item)
    return found


def pieces(text: str, most_bytes: int) -> list[str]:
    """The text in pieces of at most this many bytes, cut between two words where there is a space."""
    found = []
    while len(text.encode(errors="replace")) > most_bytes:
        head = text.encode(errors="replace")[: max(4, most_bytes)].decode(errors="ignore")
        cut = head.rfind(" ") if head.rfind(" ") > len(head) // 2 else len(head)
        found.append(text[:cut])
        text = text[cut:].lstrip()
    return [*found, text] if text or not found else found
