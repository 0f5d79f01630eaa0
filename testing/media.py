"""Makes recordings with PyAV: tones in many containers and codecs, movies, and unusual headers."""

import base64
import io
import struct
import wave
import zlib
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType, SimpleNamespace

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

ENCODED = [
    ("wav", "pcm_s16le", 8_000, 2),
    ("wav", "pcm_mulaw", 8_000, 2),
    ("wav", "pcm_alaw", 8_000, 1),
    ("wav", "pcm_u8", 11_025, 1),
    ("wav", "pcm_s24le", 48_000, 2),
    ("wav", "pcm_f32le", 44_100, 2),
    ("wav", "pcm_s16le", 16_000, 8),
    ("wav", "adpcm_ms", 22_050, 2),
    ("wav", "adpcm_ima_wav", 8_000, 2),
    ("wav", "g726", 8_000, 1),
    ("wav", "g723_1", 8_000, 1),
    ("w64", "pcm_s16le", 8_000, 1),
    ("mp3", "mp3", 8_000, 1),
    ("mp3", "mp3", 44_100, 2),
    ("ipod", "aac", 44_100, 2),
    ("ipod", "alac", 48_000, 2),
    ("mp4", "aac", 48_000, 6),
    ("adts", "aac", 16_000, 1),
    ("ogg", "vorbis", 8_000, 2),
    ("ogg", "libopus", 48_000, 2),
    ("webm", "libopus", 16_000, 1),
    ("matroska", "aac", 32_000, 2),
    ("flac", "flac", 8_000, 2),
    ("flac", "flac", 48_000, 6),
    ("amr", "libopencore_amrnb", 8_000, 1),
    ("3gp", "libopencore_amrnb", 8_000, 1),
    ("asf", "wmav2", 44_100, 2),
    ("asf", "wmav1", 22_050, 1),
    ("aiff", "pcm_s16be", 16_000, 2),
    ("au", "pcm_mulaw", 8_000, 1),
    ("caf", "pcm_s16le", 16_000, 1),
    ("avi", "mp3", 24_000, 2),
    ("mpegts", "mp2", 48_000, 2),
    ("ac3", "ac3", 48_000, 2),
    ("flv", "mp3", 44_100, 2),
]
"""Combinations that PyAV can write: container, codec, sample rate, channels."""
BIT_RATES = {"g723_1": 6_300, "libopencore_amrnb": 12_200, "wmav1": 48_000, "wmav2": 64_000}
GSM_TONE = zlib.decompress(
    base64.b64decode(
        "eNoBigN1/FJJRkaCAwAAV0FWRWZtdCAUAAAAMQABAEAfAABZBgAAQQAAAAIAQAFmYWN0BAAAAKAPAABkYXRhTgMAAAiuoRqFwvYWQnvSioLt"
        "HMtpJHdlaER6L2GrhuYDWDfbhtg97lF4GEAqs4fw6xqqzGYwnzYVItpLVlM3C0Y3EW1FiN3hGoVUge4iupN4GwCUWE9rvZWAi/ouop20IKG9"
        "hC6B3B2qUVsDwpeA6i5uB9hpK6XNbgHCjSNFrW4NJrFdtHaI3eMeVduAEt9FdWW7QH4X0Zxm06CvorqCmLTATFRXUI3gHapR7goWqO6ytcsA"
        "KI3uJLrvBiS2lOombgEGtsxaRYjd4x61vmDltHZQXzuBCW0qq2uzIODPYHZz02A2g9lMhNgdrlFbC+oKoSuENw28ZDaT2bcH1tqTag62ATqp"
        "7qLdyN2hGnWzYHUnreTGNaCcNHIS53aAG0duGO3WYBvLSayJ2D3uUcgHpNWT7AK2C9QzEstJtgHUVkt6CskDpqitppYI3qEadXNAWEOTAA8P"
        "YBJbKmMJb0BzubFc9NZg4zaSi4jYPa5R6w1YTmyF1bULCPCnoN42DZDeA+hTNwtUd1BvRYjd4RqF1IDvEt5KeFuAyuhNs2Nb4ATAe5mdHCB8"
        "OY10hNwdqlE3CbSa0khuSQVEd9Laam4DyI3ktrXuBVKby0gziN3jHmV7gGMbqSdiu2A0FbHcZHugbiT1VZQ8gBJZTmqH4B2qUTgLEtXb2G3e"
        "AqaRnUR38AI0mhRpLm4JFLLTyGmI3eMaxf6AnNgu6VtbYUjdSWtp0wDpv4Q2c5NAtInQXoLYHa5RSAtoM5g/YO0F2g6zp4w3C5jMXkKfSA0S"
        "+gxmU8jdoRrV1kB0N7HkxFWgnERSYutWoBvJcmLptoDTWk6ridQ97lHaDyS2ivwmthnEewlbSjYX7iGrl6y3D5TRnEZXCN6hGnVrIVDdaSPL"
        "LEBsua3UCC+A3NZ2I/fOQGyntVSG2B2uUewLyE00Ffm1E4jQpjS6NhOS2VRWVzcN5DeZXUGI3eEatbWgriLaQ5jUwEtmL5ndtoDCairyuz2g"
        "prWtJIncHapRNwtGd9JKblwBym0iuY1uBchtKxeRbgs4raW0mkjd4x6FXGEjO4muYhsh/IfMXmQzwa8S2kNoe6GdxJbbDoJ0IU3Bw3KO5DaS"
        "Qh42ktyMcUwYMJIkSZJ2HDCSJEmSACOwmhM="
    )
)
"""Half a second of 440 Hz in a WAV file with GSM 6.10, which PyAV cannot encode. Made with SoX."""
PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==")
LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}


def tones(frequencies: Sequence[float], rate: int, seconds: float) -> NDArray[np.float32]:
    """Returns one sine per channel, at half of full scale. The shape is (channels, samples)."""
    time = np.arange(round(rate * seconds)) / rate
    return np.stack([0.5 * np.sin(2 * np.pi * frequency * time) for frequency in frequencies]).astype(np.float32)


def dominant_frequency(samples: NDArray[np.float32], rate: int = 16_000) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * rate / len(samples))


def write_audio(path: Path, samples: NDArray[np.float32], rate: int, *, container: str, codec: str) -> Path:
    """Encodes samples of the shape (channels, samples) in −1…1, and returns the path."""
    with av.open(str(path), "w", format=container) as output:
        mux_audio(output, add_audio(output, codec, rate, len(samples)), samples)
    return path


def write_live(
    samples: NDArray[np.float32],
    rate: int,
    container: str = "webm",
    codec: str = "libopus",
    options: Mapping[str, str] = MappingProxyType({"live": "1", "cluster_time_limit": "250"}),
) -> bytes:
    """Returns a recording as a browser makes it: its header does not say how long it is, and it has no index."""
    written = io.BytesIO()
    pipe = SimpleNamespace(write=written.write)  # in which FFmpeg cannot go back
    with av.open(pipe, "w", format=container, options=dict(options)) as output:
        mux_audio(output, add_audio(output, codec, rate, len(samples)), samples)
    return written.getvalue()


def as_pcm(recording: bytes) -> bytes:
    """Returns a WAV file with G.711 as one with PCM of 16 bits, which programs without FFmpeg can read."""
    file = io.BytesIO()
    with av.open(io.BytesIO(recording), "r") as source, wave.open(file, "wb") as written:
        stream = source.streams.audio[0]
        written.setparams((stream.channels, 2, stream.rate, 0, "NONE", ""))
        for frame in source.decode(stream):
            assert frame.format.name == "s16"
            written.writeframes(frame.to_ndarray().tobytes())
    return file.getvalue()


def write_movie(path: Path, samples: NDArray[np.float32] | None, *, start_seconds: float = 0.0) -> Path:
    """Writes a black video of 2 s.

    It has AAC sound at 48 kHz unless `samples` is None. The suffix of `path` chooses the container.
    """
    with av.open(str(path), "w") as output:
        video = output.add_stream("mpeg4", rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = None if samples is None else add_audio(output, "aac", 48_000, len(samples))
        mux_video(output, video)
        if sound is not None and samples is not None:
            mux_audio(output, sound, samples, start_seconds=start_seconds)
    return path


def write_with_gap(path: Path, samples: NDArray[np.float32], rate: int, *, gap: tuple[float, float]) -> Path:
    """Writes a Matroska file without the blocks from gap[0] to gap[1] seconds."""
    begin, end = (round(seconds * rate) for seconds in gap)
    with av.open(str(path), "w", format="matroska") as output:
        stream = add_audio(output, "pcm_s16le", rate, len(samples))
        mux_audio(output, stream, samples[:, :begin], last=False)
        mux_audio(output, stream, samples[:, end:], start_seconds=gap[1])
    return path


def flac_silence(hours: float, *, announced_seconds: float) -> bytes:
    """Returns mono FLAC at 8 kHz, in blocks of 8 s that take 16 bytes each (RFC 9639, section 9)."""
    block = 65_535
    info = struct.pack(">HH6x", block, block) + (8000 << 44 | 15 << 36 | round(announced_seconds * 8000)).to_bytes(8)
    frames = bytearray(b"fLaC\x80\x00\x00\x22" + info + bytes(16))
    for number in range(round(hours * 3600 * 8000 / block)):
        header = b"\xff\xf8\x74\x08" + chr(number).encode() + struct.pack(">H", block - 1)
        frame = header + checksum(header, 8, 0x07) + bytes(3)
        frames += frame + checksum(frame, 16, 0x8005)
    return bytes(frames)


def checksum(message: bytes, bits: int, polynomial: int) -> bytes:
    remainder = 0
    for byte in message:
        remainder ^= byte << (bits - 8)
        for _ in range(8):
            remainder = remainder << 1 ^ (polynomial | 1 << bits if remainder >> (bits - 1) else 0)
    return remainder.to_bytes(bits // 8)


def wav_header(rate: int = 8000, channels: int = 1, samples: int = 0xFFFF_0000 // 2) -> bytes:
    """Returns the 44 bytes that come before 16-bit PCM. They announce `samples` per channel."""
    size = min(samples * channels * 2, 0xFFFF_0000)
    form = struct.pack("<HHIIHH", 1, channels, rate, min(rate * channels * 2, 0xFFFF_FFFF), channels * 2, 16)
    return (
        b"RIFF"
        + struct.pack("<I", size + 36)
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + form
        + struct.pack("<4sI", b"data", size)
    )


def add_audio(output: OutputContainer, codec: str, rate: int, channels: int) -> AudioStream:
    stream = output.add_stream(codec, rate=rate, layout=LAYOUTS[channels], options={"strict": "experimental"})
    assert isinstance(stream, AudioStream)
    if codec in BIT_RATES:
        stream.bit_rate = BIT_RATES[codec]
    return stream


def mux_audio(
    output: OutputContainer,
    stream: AudioStream,
    samples: NDArray[np.float32],
    *,
    start_seconds: float = 0.0,
    last: bool = True,
) -> None:
    rate = stream.rate
    for start in range(0, samples.shape[1], 1024):
        block = samples[:, start : start + 1024].T.reshape(1, -1)
        frame = AudioFrame.from_ndarray(block, format="flt", layout=LAYOUTS[len(samples)])
        frame.sample_rate, frame.pts, frame.time_base = rate, start + round(start_seconds * rate), Fraction(1, rate)
        output.mux(stream.encode(frame))
    if last:
        output.mux(stream.encode(None))


def mux_video(output: OutputContainer, stream: VideoStream) -> None:
    for number in range(20):
        frame = VideoFrame.from_ndarray(np.zeros((48, 64, 3), dtype=np.uint8))
        frame.pts, frame.time_base = number, Fraction(1, 10)
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))


def write_subtitled(path: Path, samples: NDArray[np.float32], rate: int) -> Path:
    """Writes a Matroska movie with one audio track and one track of subtitles."""
    audio = write_audio(path.with_suffix(".audio"), samples, rate, container="matroska", codec="aac")
    text = path.with_suffix(".srt")
    text.write_text("1\n00:00:00,000 --> 00:00:01,000\nGood morning\n\n")
    with av.open(str(audio)) as sound, av.open(str(text)) as subtitles, av.open(str(path), "w", "matroska") as movie:
        tracks = [movie.add_stream_from_template(source.streams[0]) for source in (sound, subtitles)]
        for source, track in zip((sound, subtitles), tracks, strict=True):
            for packet in source.demux():
                if packet.dts is not None:
                    packet.stream = track
                    movie.mux(packet)
    return path
