"""Recordings without a header, which the name of the file or the client describes. Through `decode`."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from app.audio.decode import DecodedAudio, decode, probe
from app.audio.raw import rate_trouble, raw_sound
from app.errors import UnsupportedMedia
from app.transcripts.transcript import Encoding, Options
from testing.media import GSM_TONE, dominant_frequency, tones, write_audio

RATE = 8_000
SINE = (tones([440], RATE, 2)[0] * 32_767).astype("<i2")
OKI_STEPS = [16, 17, 19, 21, 23, 25, 28, 31, 34, 37, 41, 45, 50, 55, 60, 66, 73, 80, 88, 97, 107, 118, 130, 143]
OKI_STEPS += [157, 173, 190, 209, 230, 253, 279, 307, 337, 371, 408, 449, 494, 544, 598, 658, 724, 796, 876, 963]
OKI_STEPS += [1060, 1166, 1282, 1411, 1552]


def oki(samples: NDArray[np.int16]) -> bytes:
    """Encodes 16-bit samples as Dialogic's ADPCM, with the first sample in the upper half of a byte."""
    index, predicted, codes = 0, 0, []
    for sample in samples:
        step, difference = OKI_STEPS[index], (int(sample) >> 4) - predicted
        sign, left, change = 8 * (difference < 0), abs(difference), step >> 3
        code = 0
        for bit in (4, 2, 1):
            if left >= step:
                code, left, change = code | bit, left - step, change + step
            step >>= 1
        predicted = max(-2048, min(2047, predicted - change if sign else predicted + change))
        index = max(0, min(48, index + (-1, -1, -1, -1, 2, 4, 6, 8)[code]))
        codes.append(sign | code)
    return bytes(high << 4 | low for high, low in zip(codes[::2], codes[1::2], strict=True))


def raw_bytes(codec: str, folder: Path) -> bytes:
    if codec == "vox":
        return oki(SINE)
    rate = 16_000 if codec == "g722" else RATE
    container = codec.removeprefix("pcm_")
    path = write_audio(folder / "made", tones([440], rate, 2), rate, container=container, codec=codec)
    return path.read_bytes()


async def decoded(
    content: bytes, folder: Path, name: str, encoding: Encoding | None = None, sample_rate: int | None = None
) -> DecodedAudio:
    path = folder / "stored"
    path.write_bytes(content)
    raw = raw_sound(Options(model="base", encoding=encoding, sample_rate=sample_rate), name)
    info = await probe(path, raw)
    audio = await decode(path, folder, raw, split=True, max_seconds=60)
    assert audio.info == info
    assert (audio.announced_seconds, audio.losses) == (None, ())
    return audio


def tone_of(audio: DecodedAudio) -> float:
    samples = audio.channels[0].read(0, audio.channels[0].samples)
    return dominant_frequency(samples[2_000:])


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("call.ulaw", "pcm_mulaw"),
        ("call.UL", "pcm_mulaw"),
        ("call.pcmu", "pcm_mulaw"),
        ("call.mulaw", "pcm_mulaw"),
        ("call.alaw", "pcm_alaw"),
        ("call.al", "pcm_alaw"),
        ("call.pcma", "pcm_alaw"),
        ("call.sln", "pcm_s16le"),
        ("call.g722", "g722"),
        ("call.g723", "g723_1"),
        ("call.g726", "g726le"),
        ("call.vox", "vox"),
    ],
)
async def test_the_name_says_what_a_recording_without_a_header_holds(name: str, codec: str, tmp_path: Path) -> None:
    audio = await decoded(raw_bytes(codec, tmp_path), tmp_path, name)
    assert tone_of(audio) == pytest.approx(440, abs=4)
    assert audio.duration_seconds == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize(
    ("suffix", "rate"), [("sln16", 16_000), ("sln44", 44_100), ("sln48", 48_000), ("slin32", 32_000)]
)
async def test_the_name_of_signed_linear_sound_says_its_rate(suffix: str, rate: int, tmp_path: Path) -> None:
    content = (tones([440], rate, 1)[0] * 32_767).astype("<i2").tobytes()
    audio = await decoded(content, tmp_path, f"call.{suffix}")
    assert audio.info.sample_rate == rate
    assert tone_of(audio) == pytest.approx(440, abs=4)


async def test_frames_of_gsm_and_g729_are_decoded(tmp_path: Path) -> None:
    silence = b"\xd8\x20\xa2\xe1\x5a\x50\x00\x49\x24\x92\x49\x24\x50\x00\x49\x24\x92\x49\x24"
    silence += b"\x50\x00\x49\x24\x92\x49\x24\x50\x00\x49\x24\x92\x49\x24"
    assert (await decoded(silence * 50, tmp_path, "call.gsm")).duration_seconds == pytest.approx(1)
    assert (await decoded(bytes(range(10)) * 100, tmp_path, "call.g729")).duration_seconds == pytest.approx(1)


@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        ("pcm_s16le", SINE.tobytes()),
        ("pcm_s16be", SINE.astype(">i2").tobytes()),
        ("pcm_u8", ((SINE >> 8) + 128).astype("u1").tobytes()),
        ("pcm_f32le", (SINE / 32_768).astype("<f4").tobytes()),
        ("vox", oki(SINE)),
    ],
)
async def test_the_client_may_say_encoding_and_rate(encoding: Encoding, content: bytes, tmp_path: Path) -> None:
    assert tone_of(await decoded(content, tmp_path, "call.bin", encoding)) == pytest.approx(440, abs=4)
    faster = await decoded(content, tmp_path, "call.ulaw", encoding, 16_000)
    assert tone_of(faster) == pytest.approx(880, abs=8)
    assert faster.duration_seconds == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("container", ["wav", "flac", "ogg", "mp4", "matroska", "aiff", "au", "amr", "caf", "w64"])
async def test_a_header_inside_the_file_is_believed_instead(container: str, tmp_path: Path) -> None:
    codecs = {
        "flac": "flac",
        "ogg": "libopus",
        "mp4": "aac",
        "amr": "libopencore_amrnb",
        "aiff": "pcm_s16be",
        "au": "pcm_mulaw",
    }
    codec = codecs.get(container, "pcm_s16le")
    rate = 48_000 if codec == "libopus" else RATE
    path = write_audio(tmp_path / "made", tones([440], rate, 1), rate, container=container, codec=codec)
    audio = await decoded(path.read_bytes(), tmp_path, "call.ulaw", "alaw", 11_025)
    assert tone_of(audio) == pytest.approx(440, abs=4)


async def test_gsm_in_a_wav_file_is_no_raw_gsm(tmp_path: Path) -> None:
    assert tone_of(await decoded(GSM_TONE, tmp_path, "call.gsm")) == pytest.approx(440, abs=4)


@pytest.mark.parametrize("name", ["call.raw", "call.pcm", "call", None])
async def test_without_a_name_that_says_it_the_error_says_what_to_do(name: str | None, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedMedia, match="the field encoding has to say what it holds"):
        await decoded(SINE.tobytes(), tmp_path, name or "")


@pytest.mark.parametrize(
    ("encoding", "sample_rate", "trouble"),
    [
        (None, None, None),
        ("mulaw", None, None),
        ("mulaw", 16_000, None),
        ("g722", 16_000, None),
        ("g722", 8_000, "must be 16000 for g722, or left out"),
        ("g729", 16_000, "must be 8000 for g729, or left out"),
    ],
)
def test_some_encodings_have_only_one_rate(
    encoding: Encoding | None, sample_rate: int | None, trouble: str | None
) -> None:
    assert rate_trouble(encoding, sample_rate) == trouble


def test_a_rate_alone_says_nothing() -> None:
    assert (rate_trouble(None, 8_000) or "").startswith("needs the field encoding")
