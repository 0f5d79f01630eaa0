"""Finds all the sound in a WAV file, also where its header does not announce it.

It exists because FFmpeg reads as much of the first `data` chunk as its size says. Recorders write that size before they
know it and append more sound later, and people join files. Sizes that count are read here from the chunks themselves.
"""

import re
import struct
from collections.abc import Sequence
from typing import NamedTuple

from app.audio.decoder.recording import Recording, Section

FORMS = (b"RIFF", b"RF64", b"BW64")
JOINED = re.compile(rb"(?:RIFF|RF64|BW64)....WAVE(?:fmt |JUNK|ds64|LIST|bext|fact)", re.DOTALL)
JOINED_BYTES = 16
MAX_CHUNKS = 20_000
KNOWN_CHUNKS = frozenset(
    (b"LIST", b"id3 ", b"ID3 ", b"fact", b"cue ", b"bext", b"JUNK", b"junk", b"PAD ", b"data", b"iXML")
)
PLACEHOLDER_BYTES = 0x7000_0000
LONGEST_BELIEVED_SECONDS = 86_400.0
ROUND_BYTES = 100_000_000

# FFmpeg's packets of telephone sound are short (64 ms), so that the work for each packet is half of the decoding. A
# broken packet is lost as a whole. So only packets of encodings that cannot be broken are longer: PCM, A-law and μ-law.
PACKET_SECONDS = 0.25
LARGEST_PACKET_BYTES = 1 << 18
UNBREAKABLE = frozenset((b"\x01\x00", b"\x06\x00", b"\x07\x00"))


class Stretch(NamedTuple):
    """Sound of one format in consecutive bytes. `announced` is its size by the header, or None for a placeholder."""

    form: bytes
    start: int
    end: int
    announced: int | None

    @property
    def size(self) -> int:
        return self.end - self.start

    def seconds_of(self, size: int) -> float:
        """Returns how long so many bytes of this format are, or 0 if the header does not say it."""
        bytes_per_second = int.from_bytes(self.form[8:12], "little")
        return size / bytes_per_second if bytes_per_second else 0.0

    @property
    def is_as_announced(self) -> bool:
        """Whether FFmpeg finds the same sound. It reads to the end of the file where the header announces more."""
        return self.announced is None or self.size <= self.announced


def is_wav(head: bytes) -> bool:
    return head[:4] in FORMS and head[8:12] == b"WAVE"


def stretches(recording: Recording, size: int) -> tuple[list[Stretch], int]:
    """Returns all sound in the order of the file, and the number of bytes of which it is not known what they are."""
    found: list[Stretch] = []
    form, large, place, unknown = b"", None, 12, 0
    for _ in range(MAX_CHUNKS):
        head = recording.read_at(place, 12)
        if len(head) < 8:
            break
        name, announced, body = head[:4], int.from_bytes(head[4:8], "little"), place + 8
        end = body + announced
        if is_wav(head):
            place += 12
            form, large = b"", None
        elif name == b"data" and form:
            announced = large if large is not None and announced == 0xFFFF_FFFF else announced
            sound, place = _sound(recording, form, body, announced, size)
            found.append(sound)
        elif not _is_chunk(name, end, size):
            unknown = size - place
            break
        else:
            if name == b"fmt ":
                form = recording.read_at(body, min(announced, 1 << 16))
            elif name == b"ds64":
                large = int.from_bytes(recording.read_at(body + 8, 8), "little")
            place = _after(recording, end, size)
    else:
        unknown = max(0, size - place)
    return found, unknown


def options(sounds: Sequence[Stretch]) -> dict[str, str]:
    """Returns FFmpeg's options for a WAV file with this sound."""
    rates = {int.from_bytes(sound.form[8:12], "little") for sound in sounds}
    if not rates or any(sound.form[:2] not in UNBREAKABLE for sound in sounds):
        return {}
    longest = int(max(rates) * PACKET_SECONDS)
    return {"max_size": str(longest)} if 0 < longest <= LARGEST_PACKET_BYTES else {}


def section(recording: Recording, sound: Stretch) -> Section:
    """Returns the sound as a WAV file of its own, whose header announces exactly what there is."""
    size = min(sound.size, 0xFFFF_FFFF)
    return Section(recording, sound.start, sound.end, header(sound.form, size))


def header(form: bytes, size: int) -> bytes:
    chunks = (
        b"WAVEfmt " + struct.pack("<I", len(form)) + form + bytes(len(form) % 2) + b"data" + struct.pack("<I", size)
    )
    return b"RIFF" + struct.pack("<I", min(len(chunks) + size, 0xFFFF_FFFF)) + chunks


def _sound(recording: Recording, form: bytes, start: int, announced: int, size: int) -> tuple[Stretch, int]:
    """Returns the sound of a data chunk, and where the next chunk begins."""
    end = start + announced
    following = _after(recording, end, size)
    if end <= size and _continues(recording, following, size):
        return Stretch(form, start, end, announced), following
    if announced == 0 or (end > size and _is_placeholder(announced, int.from_bytes(form[8:12], "little"))):
        end = _next_header(recording, start, size)
        return Stretch(form, start, end, None), end
    if end > size:
        return Stretch(form, start, size, announced), size
    end = _next_header(recording, end, size)  # the header was written early, and more sound was appended
    return Stretch(form, start, end, announced), end


def _is_placeholder(announced: int, bytes_per_second: int) -> bool:
    """Returns whether a recorder that does not know the size yet wrote this one.

    It then writes almost the largest number, a round one, or one that means more than a day.
    """
    seconds = announced / bytes_per_second if bytes_per_second else 0.0
    return announced >= PLACEHOLDER_BYTES or announced % ROUND_BYTES == 0 or seconds > LONGEST_BELIEVED_SECONDS


def _after(recording: Recording, end: int, size: int) -> int:
    """Returns where the chunk after one that ends at `end` begins. Some recorders leave out the byte that pads."""
    padded = end + end % 2
    if padded != end and not _continues(recording, padded, size) and _continues(recording, end, size):
        return end
    return padded


def _continues(recording: Recording, place: int, size: int) -> bool:
    """Returns whether at this place the file ends, or another chunk or WAV file begins."""
    if size - place < 8:
        return True
    head = recording.read_at(place, 12)
    return is_wav(head) or _is_chunk(head[:4], place + 8 + int.from_bytes(head[4:8], "little"), size)


def _is_chunk(name: bytes, end: int, size: int) -> bool:
    fits = end <= size + 1 and all(0x20 <= letter < 0x7F for letter in name)
    return fits or name in KNOWN_CHUNKS


def _next_header(recording: Recording, start: int, size: int) -> int:
    """Returns where the next WAV file begins that was joined to this one, or the end of the recording."""
    return next(recording.find(JOINED, JOINED_BYTES, start), size)
