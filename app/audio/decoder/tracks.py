"""Opens a recording, chooses its audio track and decodes the track's frames.

It allows only formats of recordings, because each parser of FFmpeg is code that a stranger's bytes can reach.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import av
import av.subtitles.codeccontext
import av.subtitles.stream  # PyAV imports these two when it meets subtitles, which is too late in a contained process
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition

from app.audio.decoder.answers import Refused
from app.audio.decoder.memory import require_memory
from app.audio.decoder.recording import Recording

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
MAX_CHANNELS = 8


def open_recording(recording: Recording) -> InputContainer:
    """Open the container and read its header. Raises Refused if it is not of a kind that we allow."""
    options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "none", "codec_whitelist": DECODERS}
    try:
        return av.open(recording, "r", options=options, metadata_errors="replace")
    except FFmpegError as error:
        require_memory(error)
        raise Refused("unsupported_media", "The file is not a recording of a kind that can be read") from None


def choose_stream(container: InputContainer) -> AudioStream:
    """Returns the audio track that is marked as default, or the first one. Raises Refused if it cannot be used."""
    streams = container.streams.audio
    if not streams:
        raise Refused("no_audio", "The file has no audio track")
    stream = next((each for each in streams if each.disposition & Disposition.default), streams[0])
    if stream.codec_context is None or stream.codec_context.codec.name not in DECODERS.split(","):
        raise Refused("unsupported_media", "The audio is coded in a way that cannot be read")
    if stream.codec_context.sample_rate not in RATES:
        raise Refused("unsupported_media", f"The sample rate is not within {RATES[0]} and {RATES[-1]} Hz")
    if not 1 <= stream.codec_context.channels <= MAX_CHANNELS:
        raise Refused("unsupported_media", f"The recording must have 1 to {MAX_CHANNELS} channels")
    stream.codec_context.thread_count = 1
    return stream


def read_header(container: InputContainer, stream: AudioStream) -> dict[str, Any]:
    """Returns the fields of MediaInfo in `app/audio/decode.py`."""
    duration = None
    if stream.duration is not None and stream.time_base is not None:
        duration = float(stream.duration * stream.time_base)
    elif container.duration is not None:
        duration = container.duration / av.time_base
    return {
        "container": container.format.name.partition(",")[0],
        "codec": stream.codec_context.codec.canonical_name,
        "sample_rate": stream.codec_context.sample_rate,
        "channels": stream.codec_context.channels,
        "duration_seconds": duration,
    }


def usable_frames(container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    """Yields the track's frames that have samples, at a rate and in a number of channels that we allow.

    Raises Refused at the end if more than half of the packets are broken.
    """
    return filter(_is_usable, _decode_frames(container, stream))


def _is_usable(frame: AudioFrame) -> bool:
    return frame.samples > 0 and frame.sample_rate in RATES and 1 <= frame.layout.nb_channels <= MAX_CHANNELS


def _decode_frames(container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    """Yields every frame that can be decoded. A broken packet is skipped, and a broken container ends the frames."""
    read = broken = 0
    with _errors_ignored():
        for packet in container.demux(stream):
            read += 1
            try:
                yield from packet.decode()
            except av.EOFError:
                pass
            except FFmpegError as error:
                require_memory(error)
                broken += 1
    with _errors_ignored():
        yield from stream.codec_context.decode(None)
    if broken > read // 2:
        raise Refused("bad_media", "Most of the recording is broken")


@contextmanager
def _errors_ignored() -> Iterator[None]:
    """Ignore FFmpeg's errors in the block. Raises OSError if the machine has no memory."""
    try:
        yield
    except FFmpegError as error:
        require_memory(error)
