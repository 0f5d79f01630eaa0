"""What clients get of reports, as pydantic models. It must not know HTTP."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Self
from urllib.parse import urlencode
from uuid import UUID

from pydantic import BaseModel, Field

from app.analysis.reports.filters import Filters
from app.analysis.reports.periods import Period, name_of
from app.analysis.reports.reading import NONE, By, Counted, Question

Row = Mapping[str, Any]
MOST_CATEGORIES = 100
SHARE_DIGITS, SECONDS_DIGITS = 4, 3


class TalkFigures(BaseModel):
    """Facts of the calls whose recordings were measured."""

    calls: int = Field(description="How many calls the figures are from.", examples=[401])
    speech_share: float | None = Field(description="The part of their time in which somebody speaks.", examples=[0.71])
    silence_share: float | None = Field(description="The part of their time in which nobody speaks.", examples=[0.29])
    holds: int = Field(examples=[55])
    calls_with_holds: int = Field(examples=[41])
    hold_seconds: float = Field(examples=[2210.5])
    interruptions: int = Field(examples=[388])
    interruption_calls: int = Field(
        description="How many calls can have interruptions at all, because each speaker has a channel.", examples=[377]
    )


class AgentFigures(BaseModel):
    """How the agents speak: the channels with the label `agent`. Means over calls, and a median."""

    calls: int = Field(description="How many calls have such a channel and others.", examples=[377])
    talk_share: float | None = Field(description="The mean of the agent's part of the speech.", examples=[0.48])
    words_per_minute: float | None = Field(examples=[151.2])
    median_response_seconds: float | None = Field(
        description="The median over calls of how long the agent takes to answer.", examples=[0.9]
    )


class SentimentFigures(BaseModel):
    """How many calls have a positive, neutral or negative customer, as the language model judged the turns.

    A call is positive if the share of positive turns exceeds that of negative ones by 0.2 or more.
    """

    calls: int = Field(description="How many calls were judged.", examples=[250])
    positive: int = Field(examples=[80])
    neutral: int = Field(examples=[120])
    negative: int = Field(examples=[50])
    score: float | None = Field(description="The mean over calls, from -1 to 1.", examples=[0.12])


class ResolvedFigures(BaseModel):
    """How many calls settled the customer's concern, as the language model judged."""

    calls: int = Field(description="How many calls were judged and show it.", examples=[240])
    yes: int = Field(examples=[200])
    no: int = Field(examples=[40])
    share: float | None = Field(examples=[0.8333])


class ScoreFigures(BaseModel):
    """The results of one scorecard."""

    calls: int = Field(description="How many calls have a score.", examples=[250])
    points: float = Field(examples=[1900.0])
    possible: float = Field(examples=[2500.0])
    percent: float = Field(description="The points, in percent of the possible ones.", examples=[76.0])


class Figures(BaseModel):
    """The figures of some calls. Each part says how many calls it is from."""

    calls: int = Field(examples=[412])
    completed: int = Field(examples=[401])
    failed: int = Field(examples=[8])
    cancelled: int = Field(examples=[1])
    waiting: int = Field(description="Calls that are `pending` or `in_progress`.", examples=[2])
    seconds: float = Field(description="The length of the completed recordings.", examples=[123456.7])
    mean_seconds: float | None = Field(description="Null if no call is completed.", examples=[307.9])
    talk: TalkFigures
    agent: AgentFigures
    sentiment: SentimentFigures
    resolved: ResolvedFigures
    intents: dict[str, int] = Field(
        description="How many calls have each of the most frequent intents.", examples=[{"complaint": 51, "order": 30}]
    )
    categories: dict[str, int] = Field(
        description="How many calls are in each category, the most frequent ones first.", examples=[{"refund": 31}]
    )
    scores: dict[str, ScoreFigures] = Field(description="By the names of the scorecards.")

    @classmethod
    def fields_of(cls, row: Row, named: Mapping[str, Iterable[Row]]) -> dict[str, Any]:
        """The fields of a row of figures, and of the rows with names that belong to it."""

        def some(*names: str, digits: int = SHARE_DIGITS) -> dict[str, Any]:
            return {name: _rounded(row[name], digits) for name in names}

        judged = row["resolved_calls"]
        share = _rounded(row["resolved_yes"] / judged, SHARE_DIGITS) if judged else None
        scores = {
            each["name"]: ScoreFigures(
                calls=each["calls"],
                points=_rounded(each["points"], 2) or 0.0,
                possible=_rounded(each["possible"], 2) or 0.0,
                percent=_rounded(100 * each["points"] / each["possible"], 1) or 0.0,
            )
            for each in sorted(named["scores"], key=lambda each: each["name"])
        }
        return {
            **some("calls", "completed", "failed", "cancelled", "waiting"),
            **some("seconds", "mean_seconds", digits=SECONDS_DIGITS),
            "talk": {
                "calls": row["talk_calls"],
                **some("speech_share", "silence_share", "holds", "calls_with_holds"),
                **some("hold_seconds", digits=SECONDS_DIGITS),
                **some("interruptions", "interruption_calls"),
            },
            "agent": {
                "calls": row["agent_calls"],
                **some("talk_share"),
                **some("words_per_minute", digits=1),
                **some("median_response_seconds", digits=SECONDS_DIGITS),
            },
            "sentiment": {
                "calls": row["sentiment_calls"],
                **some("positive", "neutral", "negative"),
                "score": _rounded(row["sentiment_score"], SHARE_DIGITS),
            },
            "resolved": {
                "calls": judged,
                "yes": row["resolved_yes"],
                "no": judged - row["resolved_yes"],
                "share": share,
            },
            "intents": _counts(named["intents"]),
            "categories": _counts(named["categories"]),
            "scores": scores,
        }


class KeywordOut(BaseModel):
    """A word that was said in the calls."""

    word: str = Field(examples=["refund"])
    calls: int = Field(description="In how many calls of the group it was said.", examples=[31])
    score: float | None = Field(
        description="How much more frequent it is than in the rest, as a log-likelihood ratio. Null for all calls "
        "together, whose keywords are the most frequent words.",
        examples=[48.2],
    )


class GroupLinks(BaseModel):
    calls: str | None = Field(
        description="The list of these calls. Add a filter to get those of one figure, such as `&status=failed`, "
        "`&category=refund` or `&q=invoice`. Null if the list has no such filter.",
        examples=["/v1/transcriptions?created_after=2026-11-01T00%3A00%3A00Z&metadata.agent=Mary"],
    )


class Totals(Figures):
    """The figures of all calls of the report, each of which counts once."""

    previous: Figures = Field(description="The same for as many days just before.")
    keywords: list[KeywordOut] = Field(description="The words that were said in the most calls.")
    links: GroupLinks


class Group(Figures):
    """The figures of the calls that have something in common."""

    value: str | None = Field(
        description="What they have in common. Null for calls that have none, such as those without an agent.",
        examples=["Mary"],
    )
    first: date | None = Field(
        serialization_alias="from", description="The first day, if the groups are days, weeks or months."
    )
    last: date | None = Field(serialization_alias="to", description="The last day, if they are days, weeks or months.")
    previous: Figures | None = Field(
        description="The same for as many days just before. Null if the groups are days, weeks or months."
    )
    keywords: list[KeywordOut] = Field(
        description="Words that are more frequent in these calls than in the others, the most striking one first."
    )
    links: GroupLinks


class CallLinks(BaseModel):
    self: str = Field(examples=["/v1/transcriptions/01989d2e-7c1b-7f9e-8a54-2f0f6f1f9c3e"])


class TopCall(BaseModel):
    """A call that stands out, and where."""

    id: UUID
    value: float = Field(description="Seconds of a hold, a number of interruptions, or percent of a score.")
    scorecard: str | None = Field(default=None, description="Only of scores.")
    start: float | None = Field(default=None, description="Where it begins, in seconds of the call.")
    turn: int | None = Field(default=None, description="The number of the turn at that time, from 1.")
    agent: str | None
    created_at: datetime
    links: CallLinks


class Days(BaseModel):
    first: date = Field(serialization_alias="from", examples=["2026-10-04"])
    last: date = Field(serialization_alias="to", examples=["2026-10-31"])


class Report(BaseModel):
    """What happened in the calls of some days."""

    first: date = Field(serialization_alias="from", description="The first day.", examples=["2026-11-01"])
    last: date = Field(serialization_alias="to", description="The last day.", examples=["2026-11-28"])
    timezone: str = Field(examples=["Europe/Berlin"])
    by: By
    previous: Days = Field(description="The days with which the report compares.")
    totals: Totals
    groups: list[Group] = Field(description="Days, weeks and months by time, others by the number of calls.")
    groups_left_out: int = Field(description="How many smaller groups are not shown, because of `limit`.")
    longest_holds: list[TopCall]
    most_interrupted: list[TopCall]
    lowest_scores: list[TopCall]
    keywords_from_calls: int = Field(
        description="From how many calls the keywords are. If the report has more completed calls, these are a "
        "sample of them.",
        examples=[401],
    )

    @classmethod
    def of(cls, question: Question, asked: "Asked", counted: Counted, root_path: str = "") -> Self:
        return cls.model_validate(_Shown(question, asked, counted, root_path).report())


class Asked:
    """The filters of a report as parameters of the list."""

    def __init__(self, question: Question, filters: Filters, root_path: str) -> None:
        wanted = question.wanted
        self._root_path = root_path
        self._common = [
            *(("status", status.value) for status in wanted.statuses),
            *(("language", language) for language in wanted.languages),
            *([] if wanted.external_id is None else [("external_id", wanted.external_id)]),
            *((f"metadata.{name}", value) for name, value in wanted.metadata),
            *filters.parameters(),
        ]

    def link(self, period: Period, *more: tuple[str, str]) -> str:
        """A value that a group adds replaces those that the filter had, because it is one of them."""
        times = [("created_after", _written(period.start)), ("created_before", _written(period.end))]
        names = {name for name, _ in more if name != "category"}
        common = [each for each in self._common if each[0] not in names]
        return f"{self._root_path}/v1/transcriptions?{urlencode([*times, *common, *more])}"


class _Shown:
    """The rows of a report, as its fields."""

    def __init__(self, question: Question, asked: Asked, counted: Counted, root_path: str) -> None:
        self._question, self._asked, self._counted, self._root_path = question, asked, counted, root_path
        self._rows = {_of(row): row for row in (*counted.totals, *counted.grouped)}
        self._named = {name: _by_group(rows) for name, rows in counted.named.items()}
        self._words = defaultdict(list)
        for row in counted.keywords:
            self._words[row["key"]].append(row)

    def report(self) -> dict[str, Any]:
        period, by = self._question.period, self._question.by
        groups = self._by_value() if by.step is None else self._by_time()
        return {
            "first": period.first,
            "last": period.last,
            "timezone": period.zone.key,
            "by": by,
            "previous": {"first": period.previous.first, "last": period.previous.last},
            "totals": {
                **self._figures(is_now=True),
                "previous": self._figures(is_now=False),
                "keywords": self._keywords(None),
                "links": {"calls": self._asked.link(period)},
            },
            "groups": groups,
            "groups_left_out": max(0, self._counted.groups - len(groups)) if by.step is None else 0,
            **{name: [self._top(row) for row in rows] for name, rows in self._counted.tops.items()},
            "keywords_from_calls": self._counted.calls_with_keywords,
        }

    def _by_time(self) -> list[dict[str, Any]]:
        step = self._question.by.step
        assert step is not None
        groups = []
        for number, part in enumerate(self._question.period.parts(step), start=1):
            shown = self._group(str(number), name_of(part, step), self._asked.link(part))
            groups.append(shown | {"first": part.first, "last": part.last})
        return groups

    def _by_value(self) -> list[dict[str, Any]]:
        rows = sorted(
            (row for row in self._counted.grouped if row["is_now"]), key=lambda row: (-row["calls"], row["key"])
        )
        names = {By.AGENT: "metadata.agent", By.MODEL: "model"}
        name = names.get(self._question.by, self._question.by.value)
        groups = []
        for row in rows:
            key = row["key"]
            link = None if key == NONE else self._asked.link(self._question.period, (name, key))
            groups.append(self._group(key, None if key == NONE else key, link))
        return [
            shown | {"previous": self._figures(is_now=False, key=row["key"])}
            for shown, row in zip(groups, rows, strict=True)
        ]

    def _group(self, key: str, value: str | None, link: str | None) -> dict[str, Any]:
        return {
            **self._figures(is_now=True, key=key),
            "value": value,
            "first": None,
            "last": None,
            "previous": None,
            "keywords": self._keywords(key),
            "links": {"calls": link},
        }

    def _figures(self, *, is_now: bool, key: str | None = None) -> dict[str, Any]:
        named = {name: rows[is_now, key] for name, rows in self._named.items()}
        return Figures.fields_of(self._rows.get((is_now, key), _NOTHING), named)

    def _keywords(self, key: str | None) -> list[dict[str, Any]]:
        return [
            {"word": row["word"], "calls": row["calls"], "score": _rounded(row["score"], 1)} for row in self._words[key]
        ]

    def _top(self, row: Row) -> dict[str, Any]:
        shown = dict(row) | {"value": _rounded(row["value"], 1)}
        return shown | {"links": {"self": f"{self._root_path}/v1/transcriptions/{row['id']}"}}


class _Nothing(dict[str, Any]):
    """The row of a group without calls."""

    _MEANS = ("mean_seconds", "speech_share", "silence_share", "talk_share", "words_per_minute")

    def __missing__(self, name: str) -> float | None:
        return None if name in (*self._MEANS, "median_response_seconds", "sentiment_score") else 0


_NOTHING = _Nothing()


def _of(row: Row) -> tuple[bool, str | None]:
    """The period and the group that a row is about."""
    return row["is_now"], row.get("key")


def _by_group(rows: Iterable[Row]) -> defaultdict[tuple[bool, str | None], list[Row]]:
    found = defaultdict(list)
    for row in rows:
        found[_of(row)].append(row)
    return found


def _rounded(value: float | None, digits: int) -> float | None:
    return value if value is None or isinstance(value, int) else round(value, digits)


def _counts(rows: Iterable[Row]) -> dict[str, int]:
    ordered: Sequence[Row] = sorted(rows, key=lambda row: (-row["calls"], row["name"]))
    return {row["name"]: row["calls"] for row in ordered[:MOST_CATEGORIES]}


def _written(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
