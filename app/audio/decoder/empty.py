"""Recognizes files that have the header of a recording and no sound: a call that ended before anybody spoke.

FFmpeg refuses some of them as it refuses noise. They are like silence to the client who recorded them. A file counts
only if it is whole, because an interrupted copy must not look like a silent call.
"""

import re
from typing import Any

from app.audio.decoder.recording import Recording

LARGEST_BYTES = 1 << 16
OGG_CODECS = re.compile(rb"OpusHead|\x01vorbis|Speex   |\x7fFLAC")
CLUSTER, TRACKS = b"\x1f\x43\xb6\x75", b"\x16\x54\xae\x6b"


def info_of(recording: Recording) -> dict[str, Any] | None:
    """Returns the fields of MediaInfo in `app/audio/decode.py` if the file is such a recording, or else None."""
    size = recording.size()
    if not 0 < size <= LARGEST_BYTES:
        return None
    content = recording.read_at(0, size)
    kinds = {"wav": _is_wav, "ogg": _is_ogg, "matroska": _is_matroska, "mov": _is_movie, "au": _is_au}
    name = next((name for name, is_empty in kinds.items() if is_empty(content)), None)
    if name is None:
        return None
    return {"container": name, "codec": None, "sample_rate": None, "channels": 1, "duration_seconds": 0.0}


def _is_wav(content: bytes) -> bool:
    """FFmpeg refuses a WAV file whose format it does not know yet."""
    return content[:4] == b"RIFF" and content[8:16] == b"WAVEfmt " and content[-8:-4] == b"data"


def _is_ogg(content: bytes) -> bool:
    """Whether the file consists of whole pages (RFC 3533, section 6), and none of them has sound."""
    place = 0
    while content[place : place + 4] == b"OggS" and len(content) >= place + 27:
        if content[place + 6 : place + 14] not in (bytes(8), b"\xff" * 8):
            return False
        sizes = content[place + 27 : place + 27 + content[place + 26]]
        place += 27 + len(sizes) + sum(sizes)
    return place == len(content) and OGG_CODECS.search(content) is not None


def _is_matroska(content: bytes) -> bool:
    return content[:4] == b"\x1a\x45\xdf\xa3" and TRACKS in content and CLUSTER not in content and b"A_" in content


def _is_movie(content: bytes) -> bool:
    """Whether all boxes are whole, and none has a track or media."""
    place, kinds = 0, set()
    while len(content) >= place + 8:
        length, kind = int.from_bytes(content[place : place + 4]), content[place + 4 : place + 8]
        if length < 8 or (kind in (b"mdat", b"moof") and length > 16):
            return False
        kinds.add(kind)
        place += length
    return place == len(content) and b"moov" in kinds and b"vide" not in content and b"trak" not in content


def _is_au(content: bytes) -> bool:
    return content[:4] == b".snd" and int.from_bytes(content[4:8]) == len(content)
