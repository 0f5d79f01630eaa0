"""Puts a transcript together from what was heard on each channel. Removes bleed, and adds facts and warnings."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import log10

from app.audio.pcm import PcmFile
from app.speech.call.bleed import Bleed, without_bleed
from app.speech.call.channel_words import ChannelWords
from app.speech.call.pitch import pitches
from app.speech.call.segments import Heard, segments_of
from app.speech.call.speakers import by_voices
from app.speech.call.speed import with_words
from app.speech.call.talk import HOLD_SECONDS, talk, without
from app.speech.call.warnings import Findings, warnings_of
from app.speech.speakers.voices import VoiceTurn
from app.speech.windows.levels import Levels, likeness, loudness
from app.transcripts.series import level_of, packed
from app.transcripts.transcript import Channel, Options, Span, Talk, Transcript, TranscriptWarning

UNKNOWN_SPEAKER = "speaker"
# Words end a little before their sound does. Without a margin the remainder of a run would count as speech.
BLEED_MARGIN_SECONDS = 0.3
# Hold music is about as loud as the channels of a call. The noise of a telephone line is far below.
SOUND_DB = -10.0


def label_of(options: Options, channel: int, channels: int) -> str:
    """The name of one of the `channels`.

    It is the client's label, or else `speaker` for a channel alone, and `channel_` with its number for one of several.
    """
    labels = options.channel_labels
    if channels == 1:
        return labels[0] if len(labels) == 1 else UNKNOWN_SPEAKER
    return labels[channel] if channel < len(labels) else f"channel_{channel}"


@dataclass(frozen=True)
class Call:
    """A recording's samples by channel, the client's options, the channels' levels, and the duration in seconds.

    If the job is cancelled, the files of the channels may be deleted at any time.
    """

    channels: tuple[PcmFile, ...]
    options: Options
    levels: Levels
    duration: float

    def label(self, channel: int) -> str:
        """The name of a channel: the client's label, `speaker` for a channel alone, or `channel_` with its number."""
        return label_of(self.options, channel, len(self.channels))

    @property
    def is_one_track(self) -> bool:
        """Whether there is one channel, or all channels are the same."""
        return len(self.levels.distinct) == 1

    def speaker(self, channel: int) -> str:
        """Who speaks on a channel. If all channels are the same, that is not known."""
        alone = self.is_one_track and len(self.channels) > 1
        return UNKNOWN_SPEAKER if alone else self.label(channel)


@dataclass(frozen=True, slots=True)
class ReadChannel:
    """A channel that was read to its end, and the runs of its speech."""

    channel: Channel
    runs: Sequence[Span]


@dataclass(frozen=True, slots=True)
class Listened:
    """All that was heard on the distinct channels, once all their windows are done."""

    read: Mapping[int, ReadChannel]
    heard: Sequence[Heard]
    warnings: Sequence[TranscriptWarning]


@dataclass(frozen=True, slots=True)
class Voices:
    """The voices of a call: their turns on each channel, or the warning that tells why they are not known."""

    turns: Mapping[int, Sequence[VoiceTurn]] = field(default_factory=dict)
    warning: TranscriptWarning | None = None


def assemble(call: Call, listened: Listened, voices: Voices | None = None) -> Transcript:
    """Returns the transcript. Blocks, because it reads some samples again. Raises OSError if they are gone.

    Without `voices`, the speakers are those of the channels.
    """
    read, heard = listened.read, listened.heard
    warnings = [*listened.warnings, *([voices.warning] if voices and voices.warning else [])]

    all_words = _channel_words(call, heard)
    own, bleed = without_bleed(heard, all_words)
    runs = _own_runs(read, own, bleed, all_words)
    labels = {channel: call.speaker(channel) for channel in read}
    spoken = own if voices is None else by_voices(own, voices.turns, labels, one_track=call.is_one_track)
    segments = segments_of(spoken, labels, with_words=call.options.word_timestamps)
    several = {each.channel for each in segments if each.speaker != labels[each.channel]}
    facts = talk(runs, call.duration, lambda span: _has_sound(call, span))
    if call.options.task == "transcribe":  # a translation has other words
        facts = with_words(facts, segments)
    facts = _with_sound(call, facts, runs, several)
    channels = _channels(call, read, facts, own)
    main = max((each for each in channels if each.language), key=lambda each: each.speech_seconds, default=None)
    found = Findings(call.options, call.duration, call.levels, channels, facts, bleed)
    return Transcript(
        language=main.language if main else None,
        language_probability=main.language_probability if main else None,
        duration=call.duration,
        channels=channels,
        segments=segments,
        warnings=tuple(sorted((*warnings_of(found), *warnings), key=lambda each: (each.start or 0, each.channel or 0))),
        talk=facts,
    )


def own_words(call: Call, heard: Sequence[Heard]) -> Sequence[Heard]:
    """What was heard without the bleed. Blocks, because it reads samples. Raises OSError if they are gone."""
    own, _ = without_bleed(heard, _channel_words(call, heard))
    return own


def _channel_words(call: Call, heard: Sequence[Heard]) -> ChannelWords:
    def loudness_of(channel: int, start: float, end: float) -> float:
        return loudness(call.channels[channel], start, end)

    def likeness_of(channel: int, other: int, start: float, end: float) -> float:
        return likeness(call.channels[channel], call.channels[other], start, end)

    return ChannelWords(heard, loudness_of, likeness_of)


def _own_runs(
    read: Mapping[int, ReadChannel], heard: Sequence[Heard], bleed: Sequence[Bleed], all_words: ChannelWords
) -> dict[int, list[Span]]:
    """The runs of each channel's own speech.

    The bleed is left out, and so is a run without words while another channel is louder.
    """
    runs = {}
    for channel, each in read.items():
        words = sorted(
            (Span(word.start, word.end) for window in heard if window.channel == channel for word in window.words),
            key=lambda word: word.start,
        )
        gone = [_widened(span) for removed in bleed if removed.channel == channel for span in removed.spans]
        runs[channel] = [
            run for run in without(each.runs, gone) if _touches(run, words) or not all_words.is_fainter(channel, run)
        ]
    return runs


def _with_sound(call: Call, facts: Talk, runs: Mapping[int, Sequence[Span]], several: Collection[int]) -> Talk:
    """The facts, with the loudness and the pitch of each channel.

    A single track may have several voices, and the channels `several` have them: no pitch.
    """
    channels = []
    for each in facts.channels:
        levels = packed(level_of(20 * log10(max(rms, 1e-9))) for rms in call.levels.by_second[each.channel])
        others = [run for other, theirs in runs.items() if other != each.channel for run in theirs]
        has_pitch = len(runs) > 1 and each.channel not in several
        steps = pitches(call.channels[each.channel], without(runs[each.channel], others)) if has_pitch else None
        channels.append(replace(each, packed_loudness=levels, packed_pitch=None if steps is None else packed(steps)))
    return replace(facts, channels=tuple(channels))


def _touches(run: Span, words: Sequence[Span]) -> bool:
    """Whether a run holds one of the words, which are ordered by time."""
    last = bisect_right(words, run.end, key=lambda word: word.start) - 1
    return last >= 0 and words[last].end > run.start


def _widened(span: Span) -> Span:
    return Span(span.start - BLEED_MARGIN_SECONDS, span.end + BLEED_MARGIN_SECONDS)


def _channels(call: Call, read: Mapping[int, ReadChannel], facts: Talk, own: Sequence[Heard]) -> tuple[Channel, ...]:
    """All channels. A channel that copies another has the facts of the other, under its own label.

    A channel's language is that of most of its words, by their length. It may not be the one that was decided first.
    """
    speech_seconds = {each.channel: each.speech_seconds for each in facts.channels}
    written: dict[int, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for each in own:
        written[each.channel][each.language] += sum(word.end - word.start for word in each.words)
    channels = []
    for index, original in enumerate(call.levels.copy_of):
        source = index if original is None else original
        seconds = round(speech_seconds[source], 2)
        known = replace(read[source].channel, index=index, label=call.label(index), speech_seconds=seconds)
        most = max(written[source], key=written[source].__getitem__, default=known.language)
        if seconds and most != known.language:
            known = replace(known, language=most, language_probability=None)
        channels.append(known if seconds else replace(known, language=None, language_probability=None))
    return tuple(channels)


def _has_sound(call: Call, span: Span) -> bool:
    threshold = max(call.levels.rms) * 10 ** (SOUND_DB / 20)
    pieces = max(1, round(span.seconds / HOLD_SECONDS))
    edges = [span.start + span.seconds * at / pieces for at in range(pieces + 1)]
    return any(loudness(pcm, start, end) > threshold for start, end in pairwise(edges) for pcm in call.channels)
