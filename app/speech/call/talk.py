"""Facts of a call from voice activity: speech, silence, overlaps, interruptions, answers, monologues, holds; pure."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import median

from app.transcripts.dialogue import LONG_PAUSE_SECONDS
from app.transcripts.transcript import ChannelTalk, Hold, Overlap, Span, Talk

HOLD_SECONDS = 10.0
# Shorter overlaps are normal between turns. (A run of speech ends with a pause of half a second.)
MIN_OVERLAP_SECONDS = 0.3
# "Mm-hm" and "I see" do not end the monologue of the other speaker.
LONGEST_BACKCHANNEL_SECONDS = 1.0
SHORTEST_RUN_SECONDS = 0.25

Runs = Mapping[int, Sequence[Span]]


def talk(runs: Runs, duration: float, has_sound: Callable[[Span], bool]) -> Talk:
    """The facts of a call that lasts `duration` seconds.

    `runs` holds the speech of each channel. Runs of one channel that touch count as one run. `has_sound` says whether a
    stretch without speech has another sound, such as music.
    """
    runs = {channel: _union(own) for channel, own in runs.items()}
    spoken = _union(run for channel in runs.values() for run in channel)
    total = sum(map(_seconds, runs.values()))
    overlaps = sorted((each for channel in runs for each in _overlaps(channel, runs)), key=_by_start)
    interruptions = [each.channel for each in overlaps if each.is_interruption]
    several = len(runs) > 1
    holds = tuple(
        Hold(before.end, after.start, "sound" if has_sound(Span(before.end, after.start)) else "silence")
        for before, after in pairwise(spoken)
        if after.start - before.end >= HOLD_SECONDS
    )
    responses = _responses(runs, {hold.end for hold in holds if hold.kind == "sound"})
    return Talk(
        speech_seconds=_seconds(spoken),
        silence_seconds=max(0.0, duration - _seconds(spoken)),
        overlap_seconds=max(0.0, _doubled(runs)) if several else None,
        overlaps=len(overlaps) if several else None,
        interruptions=len(interruptions) if several else None,
        channels=tuple(
            ChannelTalk(
                channel=channel,
                speech_seconds=_seconds(own),
                share=_seconds(own) / total if total else None,
                interruptions=interruptions.count(channel),
                longest_monologue=_longest(_monologues(channel, runs)),
                median_response_seconds=_median(responses[channel]),
                longest_response=_longest(responses[channel]),
            )
            for channel, own in sorted(runs.items())
        ),
        holds=holds,
        overlap_instances=tuple(overlaps) if several else None,
    )


def without(runs: Iterable[Span], removed: Iterable[Span]) -> list[Span]:
    """The runs without some stretches, ordered by start. Remainders that are shorter than a word are dropped."""
    gone = _union(removed)
    starts = [span.start for span in gone]
    kept = []
    for run in runs:
        first, last = bisect_right(starts, run.start), bisect_right(starts, run.end)
        touching = gone[max(0, first - 1) : last]
        edges = [run.start, *(at for span in touching for at in (span.start, span.end)), run.end]
        parts = (Span(max(run.start, edges[at]), min(run.end, edges[at + 1])) for at in range(0, len(edges), 2))
        kept += [part for part in parts if part == run or part.seconds >= SHORTEST_RUN_SECONDS]
    return kept


def _seconds(spans: Iterable[Span]) -> float:
    return sum(span.seconds for span in spans)


def _union(runs: Iterable[Span]) -> list[Span]:
    joined: list[Span] = []
    for run in sorted(runs, key=lambda run: run.start):
        if joined and run.start <= joined[-1].end:
            joined[-1] = Span(joined[-1].start, max(joined[-1].end, run.end))
        else:
            joined.append(run)
    return joined


def _doubled(runs: Runs) -> float:
    """Seconds in which two or more channels speak."""
    edges = sorted((at, step) for own in runs.values() for run in own for at, step in ((run.start, 1), (run.end, -1)))
    speaking, seconds, since = 0, 0.0, 0.0
    for at, step in edges:
        seconds += at - since if speaking > 1 else 0.0
        speaking, since = speaking + step, at
    return seconds


def _overlaps(channel: int, runs: Runs) -> list[Overlap]:
    """The times when a channel began to speak while another spoke for MIN_OVERLAP_SECONDS more.

    The channel interrupted if it still spoke when the first of the others ended.
    """
    starts = {other: [run.start for run in theirs] for other, theirs in runs.items() if other != channel}
    found = []
    for run in runs[channel]:
        ends = {}
        for other, at in starts.items():
            before = bisect_right(at, run.start) - 1
            began_first = before >= 0 and (at[before], other) < (run.start, channel)
            if began_first and min(runs[other][before].end, run.end) - run.start >= MIN_OVERLAP_SECONDS:
                ends[other] = runs[other][before].end
        if ends:
            end = min(run.end, max(ends.values()))
            found.append(Overlap(run.start, end, channel, tuple(sorted(ends)), run.end > min(ends.values())))
    return found


def _by_start(overlap: Overlap) -> tuple[float, int]:
    return overlap.start, overlap.channel


def _responses(runs: Runs, ends_of_music: Collection[float]) -> Mapping[int, list[Span]]:
    """The answers of each channel: from the end of the other's turn to the beginning of its own.

    They are empty spans if the channel began before the other ended. What is said within another's turn is no answer,
    and neither is what follows music: the caller was on hold.
    """
    responses: dict[int, list[Span]] = defaultdict(list)
    speaker, end = None, 0.0
    for run, channel in sorted(((run, channel) for channel, own in runs.items() for run in own), key=_by_time):
        if channel != speaker:
            if run.end <= end:
                continue
            if speaker is not None and run.start not in ends_of_music:
                responses[channel].append(Span(min(end, run.start), run.start))
        speaker, end = channel, run.end
    return responses


def _by_time(run_of_channel: tuple[Span, int]) -> tuple[float, int]:
    run, channel = run_of_channel
    return run.start, channel


def _longest(spans: Iterable[Span]) -> Span | None:
    return max(spans, key=lambda span: span.seconds, default=None)


def _median(spans: Sequence[Span]) -> float | None:
    return median(span.seconds for span in spans) if spans else None


def _monologues(channel: int, runs: Runs) -> list[Span]:
    """A channel's runs, joined across short pauses in which the others say at most a backchannel such as "mm-hm"."""
    others = _union(run for other, theirs in runs.items() if other != channel for run in theirs)
    starts = [run.start for run in others]
    joined: list[Span] = []
    for run in runs[channel]:
        if joined and run.start - joined[-1].end <= LONG_PAUSE_SECONDS:
            first = max(0, bisect_right(starts, joined[-1].end) - 1)
            last = bisect_right(starts, run.start)
            between = (min(other.end, run.start) - max(other.start, joined[-1].end) for other in others[first:last])
            if max(between, default=0.0) <= LONGEST_BACKCHANNEL_SECONDS:
                joined[-1] = Span(joined[-1].start, run.end)
                continue
        joined.append(run)
    return joined
