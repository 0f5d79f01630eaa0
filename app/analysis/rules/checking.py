"""Checks the conditions of categories in one call. Pure."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from app.analysis.rules import facts, meaning
from app.analysis.rules.call import Call, CallTurn, Part
from app.analysis.rules.definitions import Category, Condition
from app.analysis.rules.facts import Fact
from app.analysis.rules.meaning import Meaning, MeaningUnavailable, Vectors
from app.analysis.rules.phrases import Found, SpokenWords, TooMuchToCompare
from app.analysis.rules.results import Match, Verdict
from app.search.chinese import simplified

CHINESE = frozenset({"zh", "yue"})
MOST_MATCHES = 50  # of a category, because somebody may look for "yes"


@dataclass(frozen=True, slots=True)
class Checked:
    verdict: Verdict
    matches: tuple[Match, ...] = ()


@dataclass(frozen=True, slots=True)
class _Said:
    """A place where something of a condition's phrases was said, and whether that is certain."""

    turn: CallTurn
    start: float
    end: float
    score: float
    sure: bool


class Checker:
    """One call. What was said is read once for all categories."""

    def __init__(self, call: Call, meaning: Meaning | None) -> None:
        self._call = call
        self._meaning = meaning
        self._words = SpokenWords(call)
        self._vectors: dict[Part, Vectors] = {}
        self.trouble: str | None = None  # why meanings could not be compared

    def category(self, category: Category) -> Checked:
        found = [part for prefix, condition in category.conditions for part in self._condition(condition, prefix)]
        matches = [match for part in found for match in part.matches]
        return Checked(min(part.verdict for part in found), _best(matches))

    def _condition(self, condition: Condition, prefix: str) -> Iterator[Checked]:
        yield from self._phrases(condition, prefix)
        yield from self._stretches(condition, prefix)
        if condition.loudness is not None:
            yield self._loud_turns(condition, prefix)
        for fact, limits in condition.facts:
            value = facts.value(self._call, fact, condition.role if fact in facts.TAKE_A_ROLE else None)
            yield (
                Checked(Verdict.NO)
                if value is not None and not limits.holds(value)
                else self._of_fact(value, fact, condition.role, prefix)
            )
        if condition.language is not None:
            yield self._language(condition.language)
        if condition.metadata is not None:
            wanted = condition.metadata.items()
            yield _yes_if(all(_has_one(self._call.metadata.get(name), values) for name, values in wanted))

    def _language(self, languages: str | list[str]) -> Checked:
        return Checked(Verdict.NOT_KNOWN) if self._call.language is None else _yes_if(self._call.language in languages)

    def _phrases(self, condition: Condition, prefix: str) -> Iterator[Checked]:
        if not condition.phrases:
            return
        channels = None if condition.role is None else self._call.channels_of(condition.role)
        if channels == frozenset() or (condition.by == "meaning" and self._meaning is None):
            yield Checked(Verdict.NOT_KNOWN)
            return
        try:
            said = self._said(condition, channels)
        except MeaningUnavailable as error:
            self._meaning, self.trouble = None, str(error)
            yield Checked(Verdict.NOT_KNOWN)
            return
        except TooMuchToCompare:
            self.trouble = "the phrases of the tenant need more steps than one call may take"
            yield Checked(Verdict.NOT_KNOWN)
            return
        if condition.any_of is not None:
            each = [_heard(f"{prefix}any_of", phrase, said[phrase]) for phrase in condition.any_of]
            yield Checked(max(one.verdict for one in each), _all_matches(each))
        if condition.all_of is not None:
            yield from (_heard(f"{prefix}all_of", phrase, said[phrase]) for phrase in condition.all_of)
        if condition.none_of is not None:
            yield from (_not_heard(f"{prefix}none_of", phrase, said[phrase]) for phrase in condition.none_of)

    def _said(self, condition: Condition, channels: frozenset[int] | None) -> dict[str, list[_Said]]:
        since, until = condition.window(self._call.duration)
        if condition.by == "meaning":
            return self._close(condition, channels, since, until)
        return {
            phrase: [
                _Said(found.turn, found.start, found.end, 1.0, sure=True)
                for found in islice(self._places(phrase, channels, since, until), MOST_MATCHES)
            ]
            for phrase in condition.phrases
        }

    def _places(self, phrase: str, channels: frozenset[int] | None, since: float, until: float) -> Iterator[Found]:
        for found in self._words.find(phrase):
            if since <= found.start < until and (channels is None or found.turn.channel in channels):
                yield found

    def _close(
        self, condition: Condition, channels: frozenset[int] | None, since: float, until: float
    ) -> dict[str, list[_Said]]:
        assert self._meaning is not None
        places = [
            (turn, part)
            for turn in self._call.turns
            if channels is None or turn.channel in channels
            for part in turn.parts
            if since <= part.start < until
        ]
        vectors = self._vectors_of(self._meaning, [part for _, part in places])
        examples = [self._to_compare(phrase) for phrase in condition.phrases]
        rows = meaning.scores(self._meaning, vectors, examples, self._call.language)
        limits = meaning.limits(self._call.language, condition.min_score)
        found: dict[str, list[_Said]] = {phrase: [] for phrase in condition.phrases}
        for (turn, part), scores in zip(places, rows, strict=True):
            for phrase, score in zip(condition.phrases, scores, strict=True):
                if score >= limits.maybe:
                    found[phrase].append(_said(turn, part, score, sure=score >= limits.sure))
        return found

    def _vectors_of(self, model: Meaning, parts: Sequence[Part]) -> list[Vectors]:
        """The vectors of these parts. Several categories may ask for the same ones."""
        new = [part for part in dict.fromkeys(parts) if part not in self._vectors]
        if new:
            self._vectors |= zip(new, model.of_speech([self._to_compare(part.text) for part in new]), strict=True)
        return [self._vectors[part] for part in parts]

    def _to_compare(self, text: str) -> str:
        return simplified(text) if self._call.language in CHINESE else text

    def _stretches(self, condition: Condition, prefix: str) -> Iterator[Checked]:
        since, until = condition.window(self._call.duration)
        for name, wanted, kinds in (
            ("silence", condition.silence, {"silence"}),
            ("hold", condition.hold, {"silence", "sound"}),
        ):
            if wanted is None:
                continue
            holds = [
                self._stretch(f"{prefix}{name}", hold.start, hold.end)
                for hold in self._call.talk.holds
                if hold.kind in kinds and since <= hold.start < until and hold.end - hold.start > wanted.longer_than
            ]
            yield Checked(Verdict.YES if holds else Verdict.NO, tuple(holds))

    def _loud_turns(self, condition: Condition, prefix: str) -> Checked:
        assert condition.loudness is not None
        since, until = condition.window(self._call.duration)
        channels = None if condition.role is None else self._call.channels_of(condition.role)
        turns = [turn for turn in self._call.turns if channels is None or turn.channel in channels]
        levels = [(turn, turn.loudness_dbfs) for turn in turns if turn.loudness_dbfs is not None]
        if not levels:
            return Checked(Verdict.NOT_KNOWN)
        found = [
            Match(f"{prefix}loudness", turn.number, turn.start, turn.end, value=level)
            for turn, level in levels
            if since <= turn.start < until and condition.loudness.holds(level)
        ]
        return Checked(Verdict.YES if found else Verdict.NO, tuple(found))

    def _of_fact(self, value: float | None, fact: Fact, role: str | None, prefix: str) -> Checked:
        """The places of the fact, each with how long it lasts, or the fact of the whole call."""
        if value is None:
            return Checked(Verdict.NOT_KNOWN)
        name = f"{prefix}{fact}"
        places = facts.places(self._call, fact, role)
        found = [Match(name, each.turn, each.start, each.end, value=round(each.end - each.start, 3)) for each in places]
        return Checked(Verdict.YES, tuple(found) or (Match(name, value=round(value, 3)),))

    def _stretch(self, condition: str, start: float, end: float) -> Match:
        turn = self._call.turn_at(start)
        return Match(condition, turn.number if turn else None, start, end, value=end - start)


def _said(turn: CallTurn, part: Part, score: float, *, sure: bool) -> _Said:
    return _Said(turn, part.start, part.end, score, sure)


def _heard(condition: str, phrase: str, places: Sequence[_Said]) -> Checked:
    if not places:
        return Checked(Verdict.NO)
    sure = [place for place in places if place.sure]
    verdict = Verdict.YES if sure else Verdict.NOT_SURE
    return Checked(verdict, tuple(_match(condition, phrase, place) for place in sure or places))


def _not_heard(condition: str, phrase: str, places: Sequence[_Said]) -> Checked:
    if any(place.sure for place in places):
        return Checked(Verdict.NO)
    verdict = Verdict.NOT_SURE if places else Verdict.YES
    return Checked(verdict, tuple(_match(condition, phrase, place) for place in places))


def _match(condition: str, phrase: str, place: _Said) -> Match:
    return Match(condition, place.turn.number, place.start, place.end, phrase, round(place.score, 3))


def _all_matches(checked: Iterable[Checked]) -> tuple[Match, ...]:
    """Those that are certain, or all of them if none is."""
    checked = list(checked)
    best = max(one.verdict for one in checked)
    return tuple(match for one in checked if one.verdict == best for match in one.matches)


def _yes_if(holds: bool) -> Checked:
    return Checked(Verdict.YES if holds else Verdict.NO)


def _has_one(value: Any, wanted: str | list[str]) -> bool:
    """Whether a value of `metadata`, or one of its list, is wanted. Numbers and booleans are compared as JSON text."""
    values = value if isinstance(value, list) else [value]
    texts = {each if isinstance(each, str) else json.dumps(each) for each in values}
    return value is not None and not texts.isdisjoint([wanted] if isinstance(wanted, str) else wanted)


def _best(matches: Sequence[Match]) -> tuple[Match, ...]:
    """The matches with the highest scores, in the order of the call."""
    kept = sorted(matches, key=lambda match: -match.score)[:MOST_MATCHES]
    return tuple(sorted(kept, key=lambda match: (match.start is None, match.start or 0.0)))
