"""Divides a file into recordings that FFmpeg can read one after the other.

It exists because people and recorders join files, and FFmpeg reads only the first of several in most containers. A
file is divided only where a header shows that another recording begins. All others are read as they are.
"""

import re
import struct
from dataclasses import dataclass, field
from itertools import pairwise

from app.audio.decoder import wav
from app.audio.decoder.recording import Recording, Section, Stream

HEAD_BYTES = 64
MAX_BOXES = 1_000_000
MAX_SECTIONS = 1_000
MOVIE_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
SIGNATURES = (  # of containers of which FFmpeg reads only the first, and that no other data looks like by chance
    re.compile(rb"FORM....AIF[FC]", re.DOTALL),
    re.compile(rb"#!AMR(?:-WB)?\n"),
    re.compile(rb"caff\x00\x01\x00\x00desc"),
    re.compile(rb"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"),
    re.compile(rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c"),
    re.compile(rb"FLV\x01[\x01\x04\x05]\x00\x00\x00\x09\x00\x00\x00\x00"),
)
SIGNATURE_BYTES = 16
STREAMS = (  # what browsers send, and the demuxer that reads it
    (re.compile(rb"\x1aE\xdf\xa3"), "matroska"),
    (re.compile(rb"OggS"), "ogg"),
    (re.compile(rb"....ftyp", re.DOTALL), "mp4"),
)
STREAM_HEAD_BYTES = 8
STREAM_OPTIONS = {"formatprobesize": "65536", "probesize": "65536", "analyzeduration": "500000"}
"""A stream waits while FFmpeg looks at so many bytes, or so many microseconds of it."""
OTHER_HEADERS = re.compile(
    rb"RIFX|OggS|fLaC|\x1aE\xdf\xa3|ID3|\.snd|#!AMR|#!iLBC|Creative Voice File|NIST_1A|MAC |wvpk|TTA1|\x02dss|\x03dss"
)


@dataclass(frozen=True)
class Raw:
    """How to read a recording without a header: by a demuxer of FFmpeg, or as the sound of a WAV file of this form."""

    demuxer: str | None = None
    options: dict[str, str] = field(default_factory=dict)
    wav_form: bytes = b""


@dataclass(frozen=True)
class Sections:
    """The recordings in a file. `raw` says how to read them if they have no header.

    `options` are for FFmpeg. `unknown_bytes` are at the end of the file, and are in none of them. `wav` has the seconds
    that the headers of a WAV file announce, and the share of them that is there. It is None if they announce nothing.
    """

    files: list[Recording | Section]
    raw: Raw | None = None
    unknown_bytes: int = 0
    wav: tuple[float, float] | None = None
    options: dict[str, str] = field(default_factory=dict)


def stream_of(recording: Stream) -> Sections:
    """Returns a stream whose bytes are still to come, as one recording.

    Its first bytes say which demuxer reads it. Otherwise FFmpeg would find that out, and wait for 2 KiB to do so.
    """
    head = recording.head(STREAM_HEAD_BYTES)
    demuxer = next((name for pattern, name in STREAMS if pattern.match(head)), None)
    return Sections([recording], Raw(demuxer) if demuxer else None, options=STREAM_OPTIONS)


def sections_of(recording: Recording, raw: Raw | None) -> Sections:
    """Returns the recordings in the file. It reads little more than headers, unless they are wrong."""
    size = recording.size()
    head = recording.read_at(0, HEAD_BYTES) if size >= 0 else b""
    recording.seek(0, 0)
    if size < 0:
        return Sections([recording], raw)
    if wav.is_wav(head):
        found = _of_wav(recording, size)
    elif head[4:8] in MOVIE_BOXES:
        found = _of_movies(recording, size)
    elif signature := next((each for each in SIGNATURES if each.match(head)), None):
        found = _cut(recording, list(recording.find(signature, SIGNATURE_BYTES, 1)), size)
    elif raw is not None and not OTHER_HEADERS.match(head):
        found = Sections([_raw_section(recording, raw, size)], raw)
    else:
        found = Sections([recording])
    recording.seek(0, 0)
    return found


def raw_of(encoding: str, sample_rate: int) -> Raw:
    """Returns how to read an encoding of `app/audio/raw.py`."""
    if encoding == "vox":  # FFmpeg decodes Dialogic's ADPCM, but only out of WAV files
        return Raw(wav_form=struct.pack("<HHIIHH", 0x17, 1, sample_rate, sample_rate // 2, 1, 4))
    if encoding == "g726":
        return Raw("g726le", {"code_size": "4", "sample_rate": str(sample_rate)})
    if encoding in ("gsm", "g722", "g723_1", "g729"):  # the encoding decides the rate
        return Raw(encoding)
    return Raw(encoding.removeprefix("pcm_"), {"sample_rate": str(sample_rate), "ch_layout": "mono"})


def _raw_section(recording: Recording, raw: Raw, size: int) -> Recording | Section:
    if not raw.wav_form:
        return recording
    return Section(recording, 0, size, wav.header(raw.wav_form, min(size, 0xFFFF_FFFF)))


def _of_wav(recording: Recording, size: int) -> Sections:
    sounds, unknown_bytes = wav.stretches(recording, size)
    announced = [sound for sound in sounds if sound.announced]
    promised = sum(sound.announced or 0 for sound in announced)
    seconds = sum(sound.seconds_of(sound.announced or 0) for sound in announced)
    share = (seconds, sum(sound.size for sound in announced) / promised) if promised else None
    if len(sounds) <= 1 and all(sound.is_as_announced for sound in sounds):
        return Sections([recording], None, unknown_bytes, share, wav.options(sounds))
    sounds = [sound for sound in sounds if sound.end > sound.start]
    unknown_bytes += sum(sound.size for sound in sounds[MAX_SECTIONS:])
    files: list[Recording | Section] = [wav.section(recording, sound) for sound in sounds[:MAX_SECTIONS]]
    return Sections(files, None, unknown_bytes, share, wav.options(sounds))


def _of_movies(recording: Recording, size: int) -> Sections:
    """Divides MP4 and its relatives where a new movie begins after a complete one."""
    starts: list[int] = []
    seen: set[bytes] = set()
    place = 0
    for _ in range(MAX_BOXES):
        head = recording.read_at(place, 16)
        if len(head) < 8:
            break
        length, kind = int.from_bytes(head[:4]), head[4:8]
        length = int.from_bytes(head[8:16]) if length == 1 else length or size - place
        if length < 8 or not all(0x20 <= letter < 0x7F or letter == 0xA9 for letter in kind):
            break
        if kind == b"ftyp" and {b"moov", b"mdat"} <= seen:
            starts.append(place)
            seen.clear()
        seen.add(kind)
        place += length
    return _cut(recording, starts, size, unknown_bytes=max(0, size - place))


def _cut(recording: Recording, starts: list[int], size: int, unknown_bytes: int = 0) -> Sections:
    """Returns the file divided at these places. What is behind the last section that is read counts as unknown."""
    if not starts:
        return Sections([recording], None, unknown_bytes)
    end = starts[MAX_SECTIONS - 1] if len(starts) >= MAX_SECTIONS else size
    unknown_bytes += size - end
    edges = [0, *starts[: MAX_SECTIONS - 1], end]
    return Sections([Section(recording, start, end) for start, end in pairwise(edges)], None, unknown_bytes)
