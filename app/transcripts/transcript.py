"""A transcript, and the options of its request, as frozen values without any library's types; pure.

They are stored as they are, so a new field must have a default. All times are seconds from the start of the recording.
All probabilities are 0–1.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Literal

Task = Literal["transcribe", "translate"]
Channels = Literal["mix", "split"]
Encoding = Literal[
    "mulaw", "alaw", "pcm_s16le", "pcm_s16be", "pcm_u8", "pcm_f32le", "vox", "gsm", "g722", "g723_1", "g726", "g729"
]
HoldKind = Literal["silence", "sound"]

# Whisper's own list: whisper/tokenizer.py, split_to_word_tokens
_LANGUAGES_WITHOUT_SPACES = frozenset({"zh", "ja", "th", "lo", "my", "yue"})
_SCRIPTS_WITHOUT_SPACES = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u2e80-\U0003ffff]")


@dataclass(frozen=True, slots=True)
class Options:
    """The client's options.

    `language` is an ISO 639-1 code, or None to detect it. `languages` are the only languages that may be detected; if
    empty, all that the model knows. `model` is one of the served names. `encoding` and `sample_rate` say what a
    recording without a header holds; None if its name says it. If `reports_text`, the worker writes the text that is
    final while the job runs. The way in sets it for a client that reads along.
    """

    model: str
    language: str | None = None
    languages: tuple[str, ...] = ()
    task: Task = "transcribe"
    channels: Channels = "mix"
    channel_labels: tuple[str, ...] = ()
    word_timestamps: bool = False
    prompt: str | None = None
    hotwords: tuple[str, ...] = ()
    encoding: Encoding | None = None
    sample_rate: int | None = None
    reports_text: bool = False


@dataclass(frozen=True, slots=True)
class Word:
    """A word as the model wrote it, with its leading space and its punctuation.

    `probability` is None if the model does not measure it for each word.
    """

    start: float
    end: float
    word: str
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of one channel's speech: a sentence, or the words between two pauses.

    `temperature`, `avg_logprob`, `compression_ratio` and `no_speech_prob` are those of the window that the segment
    came from, as Whisper defines them; None from a model that does not measure them.
    """

    id: int
    channel: int
    speaker: str
    start: float
    end: float
    text: str
    language: str
    temperature: float | None = None
    avg_logprob: float | None = None
    compression_ratio: float | None = None
    no_speech_prob: float | None = None
    words: tuple[Word, ...] | None = None

    @property
    def has_spaces(self) -> bool:
        """Whether there are spaces between its words.

        Both language and script decide, because the text of Chinese speech that was translated is English.
        """
        return self.language not in _LANGUAGES_WITHOUT_SPACES or not _SCRIPTS_WITHOUT_SPACES.search(self.text)


def joined_text(segments: Sequence[Segment]) -> str:
    """The texts as one, with a space between two of them, unless both are written without spaces."""
    spaces = (" " if left.has_spaces or right.has_spaces else "" for left, right in pairwise(segments))
    return "".join(space + segment.text for space, segment in zip(["", *spaces], segments, strict=False))


@dataclass(frozen=True, slots=True)
class Turn:
    """Consecutive segments of one speaker."""

    speaker: str
    start: float
    end: float
    text: str


@dataclass(frozen=True, slots=True)
class Channel:
    """One audio track: its label, its language, and how long somebody spoke."""

    index: int
    label: str
    language: str | None
    language_probability: float | None
    speech_seconds: float


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the recording."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Hold:
    """A long stretch without speech between speech. `sound` is as loud as the call, such as music."""

    start: float
    end: float
    kind: HoldKind


@dataclass(frozen=True, slots=True)
class ChannelTalk:
    """How much one channel spoke. `share` is its part of the speech of all channels; None if nobody speaks."""

    channel: int
    speech_seconds: float
    share: float | None
    interruptions: int
    longest_monologue: Span | None


@dataclass(frozen=True, slots=True)
class Talk:
    """Facts of a call from voice activity. With one track, overlaps cannot be known and are None."""

    speech_seconds: float = 0.0
    silence_seconds: float = 0.0
    overlap_seconds: float | None = None
    overlaps: int | None = None
    interruptions: int | None = None
    channels: tuple[ChannelTalk, ...] = ()
    holds: tuple[Hold, ...] = ()


class WarningCode(StrEnum):
    """The codes of warnings. They never change, because clients rely on them."""

    WINDOW_REDECODED = "window_redecoded"
    WINDOW_DROPPED = "window_dropped"
    MONO_NOT_SPLIT = "mono_not_split"
    LABELS_UNUSED = "labels_unused"
    CHANNELS_IDENTICAL = "channels_identical"
    CHANNEL_SILENT = "channel_silent"
    NO_SPEECH = "no_speech"
    BLEED_REMOVED = "bleed_removed"
    CLIPPING = "clipping"
    MOSTLY_SILENCE = "mostly_silence"
    TRUNCATED = "truncated"
    DAMAGED = "damaged"
    LEFT_OUT = "left_out"


@dataclass(frozen=True, slots=True)
class TranscriptWarning:
    """Something the reader of a transcript should know. `code` is a WarningCode."""

    code: str
    message: str
    channel: int | None = None
    start: float | None = None
    end: float | None = None


@dataclass(frozen=True, slots=True)
class Transcript:
    """The text of one recording. `segments` are ordered by start; `language` is None without speech."""

    language: str | None
    language_probability: float | None
    duration: float
    channels: tuple[Channel, ...]
    segments: tuple[Segment, ...]
    warnings: tuple[TranscriptWarning, ...] = ()
    talk: Talk = Talk()

    @property
    def text(self) -> str:
        return joined_text(self.segments)
