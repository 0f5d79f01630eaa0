"""Finds recordings that are shorter than their header announces; pure.

It exists because a copy that was interrupted is well formed up to its end, so that decoding it raises no error.
"""

# The headers of these containers count samples. For other containers FFmpeg guesses from the bit rate, uses the
# timestamps of what is there, or reports the longest of several tracks. `decoder/wav.py` reads the headers of WAV.
COUNTING_CONTAINERS = frozenset({"aiff", "au", "flac", "mov"})
PLACEHOLDER_BYTES = 0x7F00_0000  # a recorder that cannot go back to the header writes this or more into it, or 0
TOLERATED_SECONDS = 2.0
TOLERATED_SHARE = 0.02


def announced_seconds(
    container: str, file_bytes: int, header_seconds: float | None, decoded_seconds: float
) -> float | None:
    """Returns how long the recording announces to be if clearly less of it was decoded, and None otherwise.

    It also returns None if the header cannot be believed.
    """
    if container not in COUNTING_CONTAINERS or not header_seconds:
        return None
    if decoded_seconds and file_bytes * header_seconds / decoded_seconds >= PLACEHOLDER_BYTES:
        return None
    return _if_clearly_more(header_seconds, decoded_seconds)


def announced_wav_seconds(wav: tuple[float, float] | None, decoded_seconds: float) -> float | None:
    """Does the same for WAV. `wav` has the seconds that its headers announce, and the share of them that is there.

    The share counts, because the headers of some codecs say only roughly how many bytes a second has.
    """
    if wav is None:
        return None
    seconds, share = wav
    return _if_clearly_more(decoded_seconds / share if share else seconds, decoded_seconds)


def _if_clearly_more(announced: float, decoded_seconds: float) -> float | None:
    clearly = announced - decoded_seconds > max(TOLERATED_SECONDS, TOLERATED_SHARE * announced)
    return announced if clearly else None
