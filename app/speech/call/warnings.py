"""Warnings about a call as a whole; pure. A model warns itself if a single window was hard to recognize."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from app.audio.decode import Loss
from app.speech.call.bleed import Bleed
from app.speech.windows.levels import Levels
from app.transcripts.transcript import Channel, Options, Talk, Transcript, TranscriptWarning, WarningCode

CLIPPED_SHARE = 0.001
QUIET_SHARE = 0.8
SHORTEST_QUIET_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Findings:
    """What is known of a call once all of it has been heard."""

    options: Options
    duration: float
    levels: Levels
    channels: Sequence[Channel]
    talk: Talk
    bleed: Sequence[Bleed]


def warnings_of(found: Findings) -> tuple[TranscriptWarning, ...]:
    """The warnings of the call as a whole."""
    return (
        *_of_the_split(found),
        *_of_dead_channels(found),
        *_of_bleed(found.bleed),
        *_of_clipping(found.levels),
        *_of_silence(found),
    )


def _of_the_split(found: Findings) -> Iterator[TranscriptWarning]:
    options = found.options
    names_voices = options.diarize and len(options.channel_labels) == 1
    if options.channels == "mix" and options.channel_labels and not names_voices:
        message = "The labels were not used, because channels=mix joins all channels. channels=split keeps them apart"
        yield TranscriptWarning(WarningCode.LABELS_UNUSED, message)
    if found.options.channels == "split" and len(found.channels) == 1 and not found.options.diarize:
        message = "The recording has only one channel, so its speakers could not be separated"
        yield TranscriptWarning(WarningCode.MONO_NOT_SPLIT, message, 0)
    for channel, original in enumerate(found.levels.copy_of):
        if original is not None:
            message = f"Channel {channel} repeats channel {original}: it was transcribed once, as channel {original}"
            yield TranscriptWarning(WarningCode.CHANNELS_IDENTICAL, message, channel)


def _of_dead_channels(found: Findings) -> Iterator[TranscriptWarning]:
    for channel in found.channels:
        if channel.speech_seconds:
            continue
        if found.levels.is_silent(channel.index):
            yield TranscriptWarning(WarningCode.CHANNEL_SILENT, "The channel holds no signal at all", channel.index)
        else:
            yield TranscriptWarning(WarningCode.NO_SPEECH, "Nobody speaks on the channel", channel.index)


def _of_bleed(bleed: Iterable[Bleed]) -> Iterator[TranscriptWarning]:
    for gone in bleed:
        message = f"{gone.words} words of another channel were heard here too, fainter, and were taken out"
        start, end = round(gone.spans[0].start, 2), round(gone.spans[-1].end, 2)
        yield TranscriptWarning(WarningCode.BLEED_REMOVED, message, gone.channel, start, end)


def _of_clipping(levels: Levels) -> Iterator[TranscriptWarning]:
    for channel, share in enumerate(levels.clipped):
        if share >= CLIPPED_SHARE:
            message = (
                f"{share:.1%} of the samples are at full scale: the recording was too loud, and words may be wrong"
            )
            yield TranscriptWarning(WarningCode.CLIPPING, message, channel)


def _of_silence(found: Findings) -> Iterator[TranscriptWarning]:
    talk, duration = found.talk, found.duration
    if talk.speech_seconds and duration >= SHORTEST_QUIET_SECONDS and talk.silence_seconds >= QUIET_SHARE * duration:
        message = f"Nobody speaks in {talk.silence_seconds / duration:.0%} of the recording"
        yield TranscriptWarning(WarningCode.MOSTLY_SILENCE, message)


def with_losses(transcript: Transcript, announced_seconds: float | None, losses: Sequence[Loss] = ()) -> Transcript:
    """The transcript. If sound is missing in it, it begins with warnings about that."""
    warnings = [_of_loss(loss) for loss in losses]
    if announced_seconds is not None:
        message = (
            f"The recording is cut off or damaged: it announces {announced_seconds:.1f} s, "
            f"and {transcript.duration:.1f} s came out"
        )
        warnings.insert(0, TranscriptWarning(WarningCode.TRUNCATED, message))
    return replace(transcript, warnings=(*warnings, *transcript.warnings)) if warnings else transcript


def _of_loss(loss: Loss) -> TranscriptWarning:
    if loss.kind == "damaged":
        message = f"{loss.seconds:.1f} s of the recording are damaged and were not transcribed"
        return TranscriptWarning(WarningCode.DAMAGED, message)
    much = "an unknown number of seconds" if loss.seconds is None else f"{loss.seconds:.1f} s"
    message = {
        "track": f"An audio track of {much} was not transcribed. It is in another language, is another version of the "
        "sound, cannot be read, or has more channels than the 8 that a recording may have",
        "channel": f"A ninth channel was not transcribed, which appears for {much}",
        "bytes": f"{loss.bytes} bytes of the file were not transcribed, because they cannot be read as sound",
    }[loss.kind]
    return TranscriptWarning(WarningCode.LEFT_OUT, message)
