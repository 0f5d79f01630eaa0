"""Opens a recording, chooses its audio tracks and decodes their frames.

It allows only formats of recordings, because each parser of FFmpeg is code that a stranger's bytes can reach.
"""

import codecs
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import av
import av.subtitles.codeccontext
import av.subtitles.stream  # PyAV imports these two when it meets subtitles, which is too late in a contained process
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Disposition

from app.audio.decoder.answers import Refused
from app.audio.decoder.losses import Losses
from app.audio.decoder.memory import require_memory
from app.audio.decoder.recording import Recording, Section
from app.audio.decoder.sections import Raw

CONTAINERS = (
    "3gp,aac,ac3,aiff,amr,ape,asf,au,avi,caf,dss,eac3,flac,flv,gsm,ilbc,ircam,m4a,matroska,mov,mp3,mp4,mpeg,mpegts,"
    "nistsphere,ogg,tta,voc,w64,wav,webm,wv"
)
DECODERS = (
    "aac,aac_latm,ac3,alac,amrnb,amrwb,ape,dca,dss_sp,eac3,flac,g722,g723_1,g726,g726le,g729,gsm,gsm_ms,ilbc,libopus,"
    "mp1,mp1float,mp2,mp2float,mp3,mp3float,nellymoser,opus,speex,truespeech,tta,vorbis,wavpack,wmalossless,wmapro,"
    "wmav1,wmav2,wmavoice,"
) + ",".join(sorted(name for name in av.codecs_available if name.startswith(("pcm_", "adpcm_"))))
RATES = range(4_000, 384_001)
TEXT_BYTES = 4096
MAX_CHANNELS = 8


ALTERNATIVES = (
    Disposition.dub
    | Disposition.comment
    | Disposition.lyrics
    | Disposition.karaoke
    | Disposition.hearing_impaired
    | Disposition.visual_impaired
    | Disposition.clean_effects
    | Disposition.descriptions
)
"""What marks a track that is another version of a film's sound, or comments on it."""

TEXT_OPTIONS: dict[str, Any] = {} if int(av.__version__.partition(".")[0]) >= 19 else {"metadata_errors": "replace"}
"""Makes PyAV accept texts that are not UTF-8. From version 19 on, which Python 3.12 gets, it does this by itself."""


def open_recording(recording: Recording | Section, raw: Raw | None, options: Mapping[str, str]) -> InputContainer:
    """Open the container and read its header. Raises Refused if it is not of a kind that we allow."""
    demuxer = raw.demuxer if raw else None
    limits = {"format_whitelist": demuxer or CONTAINERS, "protocol_whitelist": "none", "codec_whitelist": DECODERS}
    try:
        merged = {**options, **(raw.options if raw else {}), **limits}
        return cast("InputContainer", av.open(recording, "r", format=demuxer, options=merged, **TEXT_OPTIONS))
    except FFmpegError as error:
        require_memory(error)
        recording.seek(0, os.SEEK_SET)
        if _is_text(recording.read(TEXT_BYTES)):
            raise Refused("unsupported_media", "The file is text, not a recording") from None
        raise Refused(
            "unsupported_media",
            "The file is not a recording of a kind that can be read. If it is raw sound without a header, the field "
            "encoding has to say what it holds",
        ) from None


def _is_text(head: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character in "\ufeff\t\r\n\f" for character in text)


def choose_tracks(container: InputContainer, losses: Losses) -> list[AudioStream]:
    """Returns the tracks whose channels belong to the recording, in their order, and notes the others as left out.

    Each track of a call recorder is a side of the call. In a film, tracks of several languages say the same, so only
    the default one is taken. Raises Refused if none can be used.
    """
    streams = container.streams.audio
    if not streams:
        raise Refused("no_audio", "The file has no audio track")
    default = next((each for each in streams if each.disposition & Disposition.default), streams[0])
    wanted = [each for each in streams if each is default or not each.disposition & ALTERNATIVES]
    if len({_language(each) for each in wanted} - {""}) > 1:
        wanted = [default]
    chosen: list[AudioStream] = []
    channels = 0
    for each in wanted:
        if why_unusable(each) is None and channels + each.codec_context.channels <= MAX_CHANNELS:
            chosen.append(each)
            channels += each.codec_context.channels
    if not chosen:
        raise why_unusable(default) or Refused("unsupported_media", "The audio cannot be read")
    for each in streams:
        if each not in chosen:
            losses.track_left_out(seconds_of(container, each))
    for each in chosen:
        each.codec_context.thread_count = 1
    return chosen


def why_unusable(stream: AudioStream) -> Refused | None:
    if stream.codec_context is None or stream.codec_context.codec.name not in DECODERS.split(","):
        return Refused("unsupported_media", "The audio is coded in a way that cannot be read")
    if stream.codec_context.sample_rate not in RATES:
        return Refused("unsupported_media", f"The sample rate is not within {RATES[0]} and {RATES[-1]} Hz")
    if not 1 <= stream.codec_context.channels <= MAX_CHANNELS:
        return Refused("unsupported_media", f"The recording must have 1 to {MAX_CHANNELS} channels")
    return None


def _language(stream: AudioStream) -> str:
    """Returns the language that the header names, or an empty text."""
    language = stream.metadata.get("language", "")
    return "" if language == "und" else language


def seconds_of(container: InputContainer, stream: AudioStream) -> float | None:
    """Returns how long the track is by its header, or None if it does not say so."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration is not None else None


def read_header(container: InputContainer, streams: Sequence[AudioStream]) -> dict[str, Any]:
    """Returns the fields of MediaInfo in `app/audio/decode.py`. The first track decides the codec and the rate."""
    context = streams[0].codec_context
    seconds = [each for each in (seconds_of(container, stream) for stream in streams) if each is not None]
    return {
        "container": container.format.name.partition(",")[0],
        "codec": context.codec.canonical_name,
        "sample_rate": context.sample_rate,
        "channels": sum(stream.codec_context.channels for stream in streams),
        "duration_seconds": max(seconds, default=None),
    }


def usable_frames(
    container: InputContainer, streams: Sequence[AudioStream], losses: Losses
) -> Iterator[tuple[int, AudioFrame]]:
    """Yields the frames that have samples, at a rate and in a number of channels that we allow, each with its track.

    The track is its place in `streams`. A broken packet is skipped and noted, and a broken container ends the frames.
    """
    places = {stream.index: place for place, stream in enumerate(streams)}
    for packet in _packets(container, streams, losses):
        place = places[packet.stream.index]
        try:
            yield from ((place, frame) for frame in packet.decode() if _is_usable(frame))
            losses.packet_decoded(packet.size)
        except av.EOFError:
            pass
        except FFmpegError as error:
            require_memory(error)
            losses.packet_broken(_seconds_of_packet(packet))
    for place, stream in enumerate(streams):
        with _errors_ignored():
            yield from ((place, frame) for frame in stream.codec_context.decode(None) if _is_usable(frame))


def _packets(
    container: InputContainer, streams: Sequence[AudioStream], losses: Losses
) -> "Iterator[Packet[AudioStream]]":
    try:
        for packet in container.demux(*streams):
            yield cast("Packet[AudioStream]", packet)
    except FFmpegError as error:
        require_memory(error)
        losses.broken_containers += 1


def _seconds_of_packet(packet: "Packet[AudioStream]") -> float:
    return float(packet.duration * packet.time_base) if packet.duration and packet.time_base else 0.0


def _is_usable(frame: AudioFrame) -> bool:
    return frame.samples > 0 and frame.sample_rate in RATES and 1 <= frame.layout.nb_channels <= MAX_CHANNELS


@contextmanager
def _errors_ignored() -> Iterator[None]:
    """Ignore FFmpeg's errors in the block. Raises OSError if the machine has no memory."""
    try:
        yield
    except FFmpegError as error:
        require_memory(error)
