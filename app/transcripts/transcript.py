"""A transcript, and the options of its request, as frozen values without any library's types; pure.

They are stored as they are, so a new field must have a default. All times are seconds from the start of the recording.
All probabilities are 0–1.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from statistics import median
from typing import Literal

from app.transcripts.entities import Entity
from app.transcripts.series import PITCHES_PER_SECOND, dbfs_of, hertz_of, unpacked, voiced

Task = Literal["transcribe", "translate"]
Channels = Literal["mix", "split"]
Encoding = Literal[
    "mulaw", "alaw", "pcm_s16le", "pcm_s16be", "pcm_u8", "pcm_f32le", "vox", "gsm", "g722", "g723_1", "g726", "g729"
]
HoldKind = Literal["silence", "sound"]
WordUnit = Literal["word", "character"]

LEAST_USUAL_PITCHES = 5 * PITCHES_PER_SECOND

# Whisper's own list: whisper/tokenizer.py, split_to_word_tokens
LANGUAGES_WITHOUT_SPACES = frozenset({"zh", "ja", "th", "lo", "my", "yue"})
WITHOUT_SPACES = r"\u0e00-\u0eff\u1000-\u109f\u2e80-\U0003ffff"
_SCRIPTS_WITHOUT_SPACES = re.compile(f"[{WITHOUT_SPACES}]")
_CHARACTERS_AND_FOREIGN_WORDS = re.compile(rf"[{WITHOUT_SPACES}]|[^\W{WITHOUT_SPACES}]+")


@dataclass(frozen=True, slots=True)
class Options:
    """The client's options.

    `language` is an ISO 639-1 code, or None to detect it. `languages` are the only languages that may be detected; if
    empty, all that the model knows. `model` is one of the served names. `encoding` and `sample_rate` say what a
    recording without a header holds; None if its name says it. If `reports_text`, the worker writes the text that is
    final while the job runs. The way in sets it for a client that reads along.

    If `is_one_window`, another service has cut the recording out of a call as one window of speech, and no voice
    activity is looked for.

    With `diarize`, the speakers of one track are told apart by their voices. `speakers` is how many there are, if the
    client knows it.

    `redact` says what is taken out of the transcript and the recording, besides the `redact_terms`. With `redact_keep`,
    both are kept as they were, for keys that may read them.
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
    is_one_window: bool = False
    redact: tuple[Entity, ...] = ()
    redact_terms: tuple[str, ...] = ()
    redact_keep: bool = False
    diarize: bool = False
    speakers: int | None = None

    @property
    def redacts(self) -> bool:
        return bool(self.redact or self.redact_terms)


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

    With `Options.diarize`, `speaker` is None if it is not sure who speaks. Otherwise `speaker_confidence` says how sure
    the name is, if it was given by the voice.
    """

    id: int
    channel: int
    speaker: str | None
    start: float
    end: float
    text: str
    language: str
    temperature: float | None = None
    avg_logprob: float | None = None
    compression_ratio: float | None = None
    no_speech_prob: float | None = None
    words: tuple[Word, ...] | None = None
    speaker_confidence: float | None = None

    @property
    def is_by_voice(self) -> bool:
        """Whether the speaker was looked for by the voice, and perhaps not found."""
        return self.speaker is None or self.speaker_confidence is not None

    @property
    def has_spaces(self) -> bool:
        """Whether there are spaces between its words.

        Both language and script decide, because the text of Chinese speech that was translated is English.
        """
        return self.language not in LANGUAGES_WITHOUT_SPACES or not _SCRIPTS_WITHOUT_SPACES.search(self.text)

    @property
    def word_count(self) -> int:
        """How many words it has, or characters if there are no spaces. Punctuation and vowel marks do not count."""
        parts = self.text.split() if self.has_spaces else _CHARACTERS_AND_FOREIGN_WORDS.findall(self.text)
        return sum(any(map(str.isalnum, part)) for part in parts)


def joined_text(segments: Sequence[Segment]) -> str:
    """The texts as one, with a space between two of them, unless both are written without spaces."""
    spaces = (" " if left.has_spaces or right.has_spaces else "" for left, right in pairwise(segments))
    return "".join(space + segment.text for space, segment in zip(["", *spaces], segments, strict=False))


@dataclass(frozen=True, slots=True)
class Pitch:
    """How high a voice is: the median, and the semitones that hold the middle 80 % of its measurements.

    `offset_semitones` is how far the median is above (or below, if negative) that of the speaker in the whole call.
    """

    hertz: int
    spread_semitones: float
    offset_semitones: float | None


@dataclass(frozen=True, slots=True)
class Turn:
    """Consecutive segments of one speaker, and how they sounded if known. A turn may have no speaker, as a segment."""

    speaker: str | None
    start: float
    end: float
    text: str
    loudness_dbfs: int | None = None
    pitch: Pitch | None = None
    speaker_confidence: float | None = None


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
class Overlap:
    """A stretch in which `channel` began to speak while the channels `over` spoke.

    It is an interruption if the channel still spoke when the first of the others ended.
    """

    start: float
    end: float
    channel: int
    over: tuple[int, ...]
    is_interruption: bool


@dataclass(frozen=True, slots=True)
class ChannelTalk:
    """How one channel took part in the call. `share` is its part of the speech of all channels; None if nobody speaks.

    `longest_response` is from the end of the other's turn to the beginning of this channel's answer. Measurements are
    packed by `series`: the loudness of each second, and the pitch PITCHES_PER_SECOND times a second. There is no pitch
    if there is only one track, because it may have several voices.
    """

    channel: int
    speech_seconds: float
    share: float | None
    interruptions: int
    longest_monologue: Span | None
    words: int | None = None
    word_unit: WordUnit | None = None
    words_per_minute: float | None = None
    median_response_seconds: float | None = None
    longest_response: Span | None = None
    packed_loudness: str | None = None
    packed_pitch: str | None = None

    @property
    def loudness_dbfs(self) -> list[int] | None:
        """One value for each second."""
        return None if self.packed_loudness is None else [dbfs_of(level) for level in unpacked(self.packed_loudness)]

    @property
    def usual_pitch(self) -> float | None:
        """The median of the channel's pitches, as `series.step_of` gives them. None if little of the voice is clear."""
        steps = voiced(unpacked(self.packed_pitch)) if self.packed_pitch else b""
        return median(steps) if len(steps) >= LEAST_USUAL_PITCHES else None

    @property
    def pitch_hertz(self) -> int | None:
        usual = self.usual_pitch
        return None if usual is None else round(hertz_of(usual))


@dataclass(frozen=True, slots=True)
class Talk:
    """Facts of a call. With one track, overlaps cannot be known and are None."""

    speech_seconds: float = 0.0
    silence_seconds: float = 0.0
    overlap_seconds: float | None = None
    overlaps: int | None = None
    interruptions: int | None = None
    channels: tuple[ChannelTalk, ...] = ()
    holds: tuple[Hold, ...] = ()
    overlap_instances: tuple[Overlap, ...] | None = None


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
    SPEAKERS_UNKNOWN = "speakers_unknown"


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

    @property
    def is_dialogue(self) -> bool:
        """Whether several speakers may be told apart, by their channels or by their voices."""
        return len(self.channels) > 1 or any(segment.is_by_voice for segment in self.segments)
