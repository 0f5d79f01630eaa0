"""Headers of the WAV file that a live call is written to while its length is not known yet.

A crash may end the file anywhere. The header says the largest length then, which decoders take as "up to the end".
"""

import struct

from app.audio.live_sound import Sound

UNKNOWN_BYTES = 0xFFFFFFFF
TAGS = {"pcm_s16le": 1, "alaw": 6, "mulaw": 7}


def header(sound: Sound) -> bytes:
    """The header of a file whose length is not known."""
    return _header(sound, UNKNOWN_BYTES)


def complete_header(sound: Sound, data_bytes: int) -> bytes:
    """The header of a file with so many bytes of sound. It is as long as the one without a length."""
    return _header(sound, min(data_bytes, UNKNOWN_BYTES))


def _header(sound: Sound, data_bytes: int) -> bytes:
    frame = sound.bytes_per_frame
    form = struct.pack(
        "<4sIHHIIHHH",
        b"fmt ",
        18,
        TAGS[sound.encoding],
        sound.channels,
        sound.sample_rate,
        sound.sample_rate * frame,
        frame,
        8 * frame // sound.channels,
        0,
    )
    rest = b"WAVE" + form + struct.pack("<4sI", b"data", data_bytes)
    size = UNKNOWN_BYTES if data_bytes == UNKNOWN_BYTES else min(UNKNOWN_BYTES, len(rest) + data_bytes)
    return struct.pack("<4sI", b"RIFF", size) + rest
